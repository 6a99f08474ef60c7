"""The omnibus test sees features move together as they do not in the reference, and is silent where they wander."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from serinus.monitors.contrasts import LOCATION, contrasts, shares
from serinus.monitors.features import VALUES, WIDTH
from serinus.monitors.omnibus import Omnibus
from serinus.monitors.self_check import tables_of
from serinus.monitors.windows import WindowTest

FEATURES = 10
ALL = np.ones(FEATURES, bool)


def _codes(rng: np.random.Generator, rows: int, moved: float = 0.0) -> np.ndarray:
    """Return codes of ten features with correlation 0.9; every second one moves up, the others down."""
    values = np.sqrt(0.9) * rng.normal(size=(rows, 1)) + np.sqrt(0.1) * rng.normal(size=(rows, FEATURES))
    values += moved * (-1.0) ** np.arange(FEATURES)
    return np.floor(stats.norm.cdf(values) * VALUES).astype(np.uint8)


def _sums(steps: np.ndarray, times: int = 4) -> list[np.ndarray]:
    return [steps, *(np.add.reduceat(steps, np.arange(0, len(steps), 2**k), axis=0) for k in range(1, times))]


def _quarters(table: np.ndarray) -> np.ndarray:
    """Return counts with four neighbouring bins in one."""
    return np.concatenate([table[..., :VALUES].reshape(*table.shape[:-1], 4, 4).sum(-1), 0 * table[..., :14]], -1)


STEPS = tables_of(_codes(np.random.default_rng(0), 400 * 64), 64)
WINDOWS = [tables_of(_codes(np.random.default_rng(seed), 500), 500)[0] for seed in range(1, 201)]


def _learnt(steps: np.ndarray = STEPS, ordered: np.ndarray = ALL, watched: np.ndarray = ALL) -> Omnibus | None:
    return Omnibus.of(_sums(steps), ordered, watched)


def test_it_is_hotellings_t_squared() -> None:
    """Of two features both directions are kept: n·δᵀΣ⁻¹δ by linear algebra, and scipy's F."""
    steps, window = STEPS[:, :2], WINDOWS[0][:2]
    found = _learnt(steps, ALL[:2], ALL[:2])
    counts = steps.sum(0)
    scores = contrasts(counts, ALL[:2])[:, LOCATION]
    moved = ((shares(steps) - shares(counts)) * scores).sum(-1) * 8
    delta = ((shares(window) - shares(counts)) * scores).sum(-1)
    square = delta @ np.linalg.solve(moved.T @ moved / 400, delta) / (1 / 500 + 1 / 25_600)
    assert found is not None and found.directions.shape == (2, 2, WIDTH)
    assert found.p(window, counts) == pytest.approx(stats.f.sf(square * 398 / (2 * 400), 2, 398))


@pytest.mark.parametrize("ordered", [True, False])
def test_windows_of_the_same_population_are_beyond_a_level_as_often_as_it_says(ordered: bool) -> None:
    """200 windows of 500 rows at 5 %: 10 expected, more than 20 has a chance of 1 in 1,000."""
    steps, *windows = (table if ordered else _quarters(table) for table in (STEPS, *WINDOWS))
    found = _learnt(steps, np.full(FEATURES, ordered))
    assert found is not None
    assert 1 <= sum(found.p(window, steps.sum(0)) <= 0.05 for window in windows) <= 20


def test_a_move_that_no_feature_shows_alone_is_seen_and_the_likeliest_named() -> None:
    """Features that go hand in hand part by 0.16 sd: nearly every window alarms, without the test few do."""
    test = WindowTest.of(STEPS, ALL)
    alone = replace(test, omnibus=None)
    moved = tables_of(_codes(np.random.default_rng(7), 50 * 500, 0.08), 500)
    together, by_themselves = ([each.test(window) for window in moved] for each in (test, alone))
    assert np.mean([result.alarm for result in together]) > 0.9
    assert np.mean([result.alarm for result in by_themselves]) < 0.2
    named = [result.drifted.sum() for result, one in zip(together, by_themselves, strict=True) if not one.alarm]
    assert set(named) <= {0, 1}


def test_features_that_are_not_watched_say_nothing() -> None:
    """With the first feature left out, what becomes of it is of no weight."""
    watched = ALL.copy()
    watched[0] = False
    found, window = _learnt(watched=watched), WINDOWS[0].copy()
    assert found is not None
    window[0] = 500 * np.eye(WIDTH, dtype=int)[0]
    assert found.p(window, STEPS.sum(0)) == found.p(WINDOWS[0], STEPS.sum(0))


def test_a_reference_that_wanders_or_is_short_has_none() -> None:
    """Steps in the order of their first feature wander; 63 steps are too few; constants move nowhere."""
    ranked = STEPS[np.argsort(STEPS[:, 0, :8].sum(1))]
    constant = np.zeros((100, 1, WIDTH), int)
    constant[:, 0, 0] = 64
    assert _learnt(ranked) is None
    assert _learnt(STEPS[:63]) is None
    assert _learnt(constant, ALL[:1], ALL[:1]) is None
    assert Omnibus.of([], ALL, ALL) is None


def test_no_rows_on_either_side_are_no_evidence() -> None:
    """An empty window, and a feature that has no rows."""
    found, none = _learnt(), np.zeros((FEATURES, WIDTH), int)
    half = WINDOWS[0].copy()
    half[0] = 0
    assert found is not None
    assert found.p(none, STEPS.sum(0)) == found.p(WINDOWS[0], none) == 1
    assert found.p(half, STEPS.sum(0)) > 1e-3


def test_it_survives_as_json() -> None:
    """Through text and back p is the same to six digits: directions are kept as 32-bit numbers."""
    found = _learnt()
    assert found is not None
    again = Omnibus.from_json(json.loads(json.dumps(found.to_json())))
    assert again.p(WINDOWS[0], STEPS.sum(0)) == pytest.approx(found.p(WINDOWS[0], STEPS.sum(0)), rel=1e-4)
