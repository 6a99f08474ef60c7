"""A drift monitor alarms at changes, names them, says since when, and gives the same verdict however counts arrive."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serinus.monitors import Counts, DriftMonitor, DriftState, FeatureState, Profile, Reference, SelfCheck
from serinus.monitors.drift_state import WARM_UP
from serinus.monitors.errors import InvalidData


def _frame(rows: int, seed: int, **changed: Any) -> pd.DataFrame:
    """Return an amount, a rate that is 0 for most, a colour and a flag; `changed` columns replace some."""
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "amount": rng.normal(100, 20, rows),
            "rate": np.where(rng.random(rows) < 0.7, 0.0, rng.exponential(1, rows)),
            "colour": rng.choice(["red", "green", "blue"], rows, p=[0.5, 0.3, 0.2]),
            "flag": rng.random(rows) < 0.2,
            **{name: value(rng, rows) for name, value in changed.items()},
        }
    )


@pytest.fixture(scope="module")
def reference() -> Profile:
    """Return the profile of 8,000 rows."""
    return Reference.from_frame(_frame(8_000, 0))


def _change(**changed: Any) -> pd.DataFrame:
    return pd.concat([_frame(2_048, 1), _frame(2_048, 2, **changed)], ignore_index=True)


CHANGES = {
    "amount": (lambda rng, rows: rng.normal(120, 20, rows), "up"),
    "rate": (lambda rng, rows: np.where(rng.random(rows) < 0.3, 0.0, rng.exponential(1, rows)), ""),
    "colour": (lambda rng, rows: rng.choice(["red", "green", "blue"], rows, p=[0.1, 0.3, 0.6]), "'"),
    "flag": (lambda rng, rows: rng.random(rows) < 0.6, "'"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_is_alarmed_named_and_dated(name: str, reference: Profile) -> None:
    """2,048 quiet rows, then one column changes: it is the first feature, and it began about there."""
    change, word = CHANGES[name]
    state = DriftMonitor(reference).observe(_change(**{name: change}))
    top = state.features[0]
    assert state.alarm and state.evidence == 1 and state.severity == "act"
    assert (top.name, top.drifted) == (name, True)
    assert word in top.direction
    assert state.since_row == pytest.approx(2_048, abs=192)
    assert state.findings[0].features[0] == name and name in state.text


def test_rows_of_the_reference_are_no_drift(reference: Profile) -> None:
    """20,000 further rows of the same population: evidence stays low, and no feature is marked."""
    state = DriftMonitor(reference).observe(_frame(20_000, 5))
    assert (state.alarm, state.severity, state.alarms, state.findings) == (False, "ok", 0, ())
    assert state.evidence < 0.5
    assert state.rows == state.rows_since_alarm == 20_000


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("amount", lambda rng, rows: np.full(rows, np.nan)),
        ("amount", lambda rng, rows: np.full(rows, np.inf)),
        ("amount", lambda rng, rows: np.full(rows, 1e300)),
        ("amount", lambda rng, rows: np.full(rows, 3.0)),
        ("colour", lambda rng, rows: [f"colour {i}" for i in range(rows)]),
        ("colour", lambda rng, rows: [None] * rows),
    ],
)
def test_broken_columns_are_alarms_and_never_errors(column: str, values: Any, reference: Profile) -> None:
    """All missing, infinite, huge, constant, a thousand unseen categories."""
    state = DriftMonitor(reference).observe(_change(**{column: values}))
    assert state.alarm
    assert column in state.findings[0].features
    assert json.dumps(state.to_json(), allow_nan=False)


def test_a_lost_column_says_so(reference: Profile) -> None:
    """Direction, rates and Wilson's interval of a column that goes missing."""
    state = DriftMonitor(reference).observe(_change(amount=lambda rng, rows: np.full(rows, np.nan)))
    top = next(feature for feature in state.features if feature.name == "amount")
    assert top.direction == "missing 0 % → 100 %"
    assert (top.missing, top.missing_reference) == (1.0, 0.0)
    assert top.missing_interval[0] > 0.9


def test_a_column_that_is_lost_is_an_alarm_however_restless_the_reference() -> None:
    """The reference itself had days without a value, so the dead zone covers all; 256 rows of nothing still alarm."""
    restless = _frame(8_000, 0)
    restless.loc[(restless.index // 250) % 4 == 0, "amount"] = np.nan
    live = _change(amount=lambda rng, rows: np.full(rows, np.nan))
    state = DriftMonitor(Reference.from_frame(restless, joint=False)).observe(live)
    assert state.alarm and state.findings[0].features == ("amount",)


def test_one_wild_value_neither_alarms_nor_hides_a_change(reference: Profile) -> None:
    """1e300 in one row moves one count; the drift beside it is still seen."""
    quiet, loud = _frame(1_024, 3), _change(amount=lambda rng, rows: rng.normal(120, 20, rows))
    quiet.loc[10, "amount"] = loud.loc[3_000, "amount"] = 1e300
    assert not DriftMonitor(reference).observe(quiet).alarm
    assert DriftMonitor(reference).observe(loud).features[0].name == "amount"


def test_an_alarm_stays_open_until_a_long_window_is_quiet(reference: Profile) -> None:
    """Hysteresis: not before 4,096 rows in a row are as they were."""
    monitor = DriftMonitor(reference)
    assert monitor.observe(_change(amount=lambda rng, rows: rng.normal(120, 20, rows))).alarm
    assert monitor.observe(_frame(2_048, 7)).alarm
    state = monitor.observe(_frame(3 * 4_096, 8))
    assert not state.alarm and state.alarms >= 1


def test_an_alarm_that_lasts_is_one_alarm_with_all_its_features(reference: Profile) -> None:
    """A second column that changes later is added; when it began stays what it was."""
    monitor = DriftMonitor(reference)
    first = monitor.observe(_change(amount=lambda rng, rows: rng.normal(120, 20, rows)))
    both = {name: CHANGES[name][0] for name in ("amount", "colour")}
    state = monitor.observe(_frame(4_096, 9, **both))
    assert {"amount", "colour"} <= set(state.findings[0].features)
    assert state.since_row == first.since_row
    assert len([finding for finding in state.findings if finding.kind == "drift"]) == 1


def test_what_changed_just_now_is_told_beside_what_differs_from_the_reference() -> None:
    """The trailing reference: drifted rows become its norm, and a second change stands out."""
    profile = Reference.from_frame(_frame(8_000, 0), joint=False)
    monitor = DriftMonitor(profile)
    amount = {"amount": lambda rng, rows: rng.normal(120, 20, rows)}
    settled = monitor.observe(_frame(12 * 1_024, 1, **amount))
    assert [finding.kind for finding in settled.findings] == ["drift"]
    later = monitor.observe(_frame(1_024, 2, **amount, flag=CHANGES["flag"][0]))
    sudden = next(finding for finding in later.findings if finding.kind == "sudden_change")
    assert sudden.features == ("flag",) and sudden.since_row == 12 * 1_024


def test_warm_up_is_said_and_the_smallest_shift_falls(reference: Profile) -> None:
    """Below 200 rows: how many are there; with more rows smaller shifts would show."""
    monitor = DriftMonitor(reference)
    assert monitor.observe(_frame(0, 1)).text == f"collecting 0/{WARM_UP}"
    few = monitor.observe(_frame(137, 1))
    many = monitor.observe(_frame(1_000, 2))
    assert few.text == f"collecting 137/{WARM_UP}"
    assert many.text.startswith("No drift in 1,137 rows")
    assert many.smallest_shift < few.smallest_shift


def test_times_come_from_the_references_time_column() -> None:
    """Since when, as Unix time, and windows by hour and day."""
    times = pd.date_range("2024-01-01", periods=8_000, freq="10min")
    profile = Reference.from_frame(_frame(8_000, 0).assign(at=times), time="at")
    live = _change(amount=CHANGES["amount"][0])
    live["at"] = pd.date_range("2024-06-01", periods=len(live), freq="min")
    state = DriftMonitor(profile).observe(live)
    changed = live["at"][2_048].timestamp()
    assert state.since == pytest.approx(changed, abs=192 * 60)
    kinds = {window.kind for window in state.windows}
    assert {"64", "256", "1024", "4096", "hour", "day"} <= kinds
    days = [window for window in state.windows if window.kind == "day"]
    assert days[0].drifted == () and "amount" in days[-1].drifted
    assert all(window.start % 86_400 == 0 for window in days)


def _ticks(profile: Profile, workers: int, seconds: int = 60) -> list[tuple[int, Counts]]:
    """Return each second's counts, counted by so many workers; the last third has drifted."""
    rows = 48
    frame = pd.concat([_frame(40 * rows, 1), _frame(20 * rows, 2, amount=CHANGES["amount"][0])], ignore_index=True)
    codes = profile.encoder.observe({name: frame[name].to_numpy() for name in frame})
    ticks = []
    for second in range(seconds):
        here = np.arange(second * rows, (second + 1) * rows)
        added = profile.empty()
        for worker in range(workers):
            mine = here[here % workers == worker]
            counts = profile.empty()
            counts.add(codes.codes[mine], codes.deviations[mine])
            added = added + counts
        ticks.append((second, added))
    return ticks


def _applied(profile: Profile, ticks: list[tuple[int, Counts]]) -> dict[str, Any]:
    monitor = DriftMonitor(profile)
    for interval, counts in ticks:
        monitor.apply(interval, counts, 1_700_000_000.0 + interval)
    return monitor.to_json()


@pytest.mark.parametrize("workers", [1, 2, 8])
def test_the_number_of_workers_does_not_matter(workers: int, reference: Profile) -> None:
    """Counts are added before anything is decided, so the whole state is the same to the last bit."""
    assert _applied(reference, _ticks(reference, workers)) == _applied(reference, _ticks(reference, 3))


@settings(max_examples=5, deadline=None)
@given(st.randoms(use_true_random=False))
def test_ticks_in_any_order_give_one_verdict(random: Any) -> None:
    """Sorted by interval, repeated or not: a tick that was taken before changes nothing."""
    profile = _SMALL
    ticks = _ticks(profile, 2)
    shuffled = ticks + random.sample(ticks, 10)
    random.shuffle(shuffled)
    assert _applied(profile, sorted(shuffled, key=lambda tick: tick[0])) == _applied(profile, ticks)


_SMALL = Reference.from_frame(_frame(2_000, 0), joint=False)


@pytest.mark.parametrize("cut", [1, 17, 45, 59])
def test_evidence_survives_a_restart(cut: int, reference: Profile) -> None:
    """Stored as JSON after any tick and read again, the monitor goes on as if nothing had been."""
    ticks = _ticks(reference, 1)
    monitor = DriftMonitor(reference)
    for interval, counts in ticks[:cut]:
        monitor.apply(interval, counts, 1_700_000_000.0 + interval)
    monitor = DriftMonitor.from_json(json.loads(json.dumps(monitor.to_json())), reference)
    for interval, counts in ticks[cut:]:
        monitor.apply(interval, counts, 1_700_000_000.0 + interval)
    assert monitor.to_json() == _applied(reference, ticks)
    assert monitor.state.alarm


def test_reset_forgets_all_but_the_reference(reference: Profile) -> None:
    """After it the monitor is as new."""
    monitor = DriftMonitor(reference)
    monitor.observe(_change(amount=CHANGES["amount"][0]))
    monitor.reset()
    assert monitor.to_json() == DriftMonitor(reference).to_json()


def test_a_window_can_be_tested_by_itself(reference: Profile) -> None:
    """500 rows of each kind; the monitor remembers nothing of them."""
    monitor = DriftMonitor(reference)
    assert not monitor.test_window(_frame(500, 4)).alarm
    result = monitor.test_window(_frame(500, 4, flag=CHANGES["flag"][0]))
    assert [name for name, found in zip(reference.names, result.drifted, strict=True) if found][:1] == ["flag"]
    assert monitor.state.rows == 0


def test_a_prediction_is_not_drowned_by_many_inputs() -> None:
    """300 inputs and one score: the score has a quarter of the weight, and its change is alarmed."""
    rng = np.random.default_rng(0)
    inputs = {f"x{i}": rng.normal(size=3_000) for i in range(300)}
    profile = Reference.from_arrays(inputs, {"score": rng.normal(size=3_000)}, joint=False)
    live = {name: rng.normal(size=640) for name in inputs}
    monitor = DriftMonitor(profile)
    counts = profile.empty()
    found = profile.encoder.observe(live, {"score": rng.normal(1.0, 1, 640)})
    counts.add(found.codes, found.deviations)
    state = monitor.observe(counts)
    assert state.alarm and state.features[0].name == "score"
    assert state.groups["output"] == 1 and state.groups["input"] < 0.5


def test_seasons_are_expected() -> None:
    """Amounts that double at night are normal at night, and drift at noon."""
    times = pd.date_range("2024-01-01", periods=48 * 7 * 60, freq="min")
    rng = np.random.default_rng(0)
    night = np.asarray(times.hour < 12)
    frame = pd.DataFrame({"amount": rng.normal(np.where(night, 200, 100), 10), "at": times})
    profile = Reference.from_frame(frame, time="at", seasons=True, joint=False)
    live = pd.date_range("2024-03-04", periods=24 * 60, freq="min")
    usual = pd.DataFrame({"amount": rng.normal(np.where(live.hour < 12, 200, 100), 10), "at": live})
    swapped = usual.assign(amount=rng.normal(np.where(live.hour < 12, 100, 200), 10))
    assert not DriftMonitor(profile).observe(usual).alarm
    assert DriftMonitor(profile).observe(swapped).alarm
    days = [window for window in DriftMonitor(profile).observe(usual).windows if window.kind == "1024"]
    assert days and not any(window.drifted for window in days)


@pytest.mark.parametrize("rows", [5, 40])
def test_a_tiny_reference_says_so(rows: int) -> None:
    """Five rows: every feature is named as too small to monitor, and a live stream of the same is no alarm."""
    profile = Reference.from_frame(_frame(rows, 0))
    state = DriftMonitor(profile).observe(_frame(300, 1))
    assert not any(feature.monitorable for feature in state.features if feature.side == "input")
    assert "too small" in state.features[0].reason
    assert json.dumps(state.to_json(), allow_nan=False)


def test_a_state_of_another_reference_is_refused(reference: Profile) -> None:
    """Evidence against one reference says nothing of another; the sentence names both and what to do."""
    document = DriftMonitor(_SMALL).to_json()
    with pytest.raises(InvalidData, match=r"gathered against profile sha256:\w+, not sha256:\w+; begin anew"):
        DriftMonitor.from_json(document, reference)
    with pytest.raises(InvalidData, match="format 99"):
        DriftMonitor.from_json({**document, "format": 99}, _SMALL)
    with pytest.raises(InvalidData, match=r"This self-check is of profile"):
        DriftMonitor(reference, check=SelfCheck.of(_SMALL))
    with pytest.raises(InvalidData, match="wanted 64 rows or more"):
        DriftMonitor(reference, 1)
    with pytest.raises(InvalidData, match="These counts have 3 features"):
        DriftMonitor(reference).observe(Counts(3))


def test_states_are_values(reference: Profile) -> None:
    """Nobody edits them; JSON has what they have."""
    state = DriftMonitor(reference).observe(_frame(100, 1))
    assert isinstance(state, DriftState) and isinstance(state.features[0], FeatureState)
    with pytest.raises(AttributeError):
        state.alarm = True  # type: ignore[misc]
    assert json.loads(json.dumps(state.to_json()))["features"][0]["name"] == state.features[0].name
