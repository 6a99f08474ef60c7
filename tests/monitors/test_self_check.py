"""The self-check replays the reference, says what it found in a sentence, and raises the dead zone of what wanders."""

from __future__ import annotations

import json

import numpy as np
import pytest

from serinus.monitors import Counts, DriftMonitor, Profile, Reference, SelfCheck
from serinus.monitors.errors import InvalidData
from serinus.monitors.self_check import count_steps, tables_of


def _profile(columns: dict[str, np.ndarray]) -> Profile:
    return Reference.from_arrays(columns, joint=False)


def _columns(rows: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Return a steady column, one that swings every 200 rows, and one that is sorted every 250."""
    rng = np.random.default_rng(seed)
    hour = np.sin(np.arange(rows) / 32)
    return {
        "steady": rng.normal(size=rows),
        "swinging": rng.normal(size=rows) + 3 * hour,
        "daily": np.arange(rows) % 250 + rng.normal(size=rows),
    }


def test_an_even_reference_is_quiet_and_says_so() -> None:
    """Half of 20,000 rows replayed: no alarm, 0.01 expected, nothing raised."""
    check = SelfCheck.of(_profile({"x": np.random.default_rng(0).normal(size=20_000)}))
    assert check.text == "Replayed 10,000 rows of your own reference: 0 alarms (expected ≤ 0.01)."
    assert check.raised == (1.0,)


def test_what_wanders_within_blocks_is_found_by_fine_steps() -> None:
    """Each block of 625 rows looks like the next, but hours do not: steps of 64 rows show it, and name the columns."""
    columns = _columns(20_000)
    profile = _profile(columns)
    check = SelfCheck.of(profile, count_steps(profile, [(columns, None)]))
    assert check.alarms > 10
    assert set(check.wandering) == set(check.unsupported) == {"swinging", "daily"}
    assert "Wandering in the reference, so less closely watched: swinging, daily." in check.text
    assert "only gross changes show in swinging, daily" in check.text


def test_with_the_check_further_rows_are_quiet_and_a_steady_column_is_still_watched() -> None:
    """20,000 rows that wander in the same way: alarms without the check, none with it; then the steady one moves."""
    columns = _columns(20_000)
    profile = _profile(columns)
    check = SelfCheck.of(profile, count_steps(profile, [(columns, None)]))
    live = count_steps(profile, [(_columns(20_000, 1), None)])
    moved = count_steps(profile, [({**_columns(640, 2), "steady": np.random.default_rng(3).normal(1, 1, 640)}, None)])
    plain, checked = DriftMonitor(profile), DriftMonitor(profile, check=check)
    for monitor, quiet in ((plain, False), (checked, True)):
        for table in live:
            monitor.observe(_counted(profile, table))
        assert (monitor.state.alarms == 0) == quiet
    for table in moved:
        state = checked.observe(_counted(profile, table))
    assert state.findings[0].features == ("steady",)
    reasons = {feature.name: feature.reason for feature in state.features}
    assert reasons["steady"] == "" and "wanders too much" in reasons["swinging"]


def _counted(profile: Profile, table: np.ndarray) -> Counts:
    counts = profile.empty()
    counts.rows = int(table[0].sum())
    counts.table += table
    return counts


def test_windows_learn_their_unrest_from_the_steps() -> None:
    """Windows of 64 rows of a swinging reference: coarse blocks call most of them changed, fine steps nearly none."""
    columns = _columns(20_000)
    profile = _profile(columns)
    fine = SelfCheck.of(profile, count_steps(profile, [(columns, None)])).test(profile)
    coarse = SelfCheck.of(profile).test(profile)
    windows = count_steps(profile, [(_columns(10_000, 4), None)], rows=64)
    assert np.mean([fine.test(window).alarm for window in windows]) <= 0.1
    assert np.mean([coarse.test(window).alarm for window in windows]) > 0.5


@pytest.mark.parametrize("rows", [1, 5, 60])
def test_a_small_reference_is_named_as_such(rows: int) -> None:
    """Nothing to replay, or too little; every feature is too small to monitor."""
    words = np.array((["a", "b"] * rows)[:rows], object)
    check = SelfCheck.of(_profile({"x": np.arange(rows, dtype=float), "y": words}))
    assert set(check.too_small) == {"x", "y"}
    assert "The reference is too small to monitor x, y." in check.text


def test_it_is_stored_as_json() -> None:
    """Through text and back it is equal, and the sentence stands in it for who reads the file."""
    check = SelfCheck.of(_profile(_columns(4_000)))
    document = json.loads(json.dumps(check.to_json(), allow_nan=False))
    assert SelfCheck.from_json(document) == check
    assert document["text"] == check.text
    with pytest.raises(InvalidData, match="format 7"):
        SelfCheck.from_json({**document, "format": 7})


def test_steps_are_counted_across_chunks() -> None:
    """Two chunks of 100 rows are three steps of 64; the last 8 rows are left out."""
    profile = _profile(_columns(300))
    chunks = [(_columns(100, seed), None) for seed in (1, 2)]
    steps = count_steps(profile, chunks)
    assert steps.shape == (3, 3, 18)
    assert (steps.sum(2) == 64).all()
    whole = {name: np.concatenate([chunk[0][name] for chunk in chunks]) for name in chunks[0][0]}
    assert (count_steps(profile, [(whole, None)]) == steps).all()
    assert count_steps(profile, []).shape == (0, 3, 18)


def test_tables_count_every_code_once() -> None:
    """By hand: four rows in steps of two."""
    tables = tables_of(np.array([[0, 1], [0, 2], [17, 1], [16, 1]], np.uint8), 2)
    assert tables[0, 0, 0] == 2 and tables[0, 1, 1] == tables[0, 1, 2] == 1
    assert tables[1, 0, 16] == tables[1, 0, 17] == 1 and tables[1, 1, 1] == 2
    assert tables.sum() == 8
