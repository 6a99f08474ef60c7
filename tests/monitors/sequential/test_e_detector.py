"""The e-detector alarms within its stated run length, whatever is fed, and soon after a change."""

from __future__ import annotations

import math

import numpy as np
import pytest

from serinus.monitors.contrasts import CONTRASTS, LOCATION, SCALE, contrasts
from serinus.monitors.dead_zone import dead_zone
from serinus.monitors.features import MISSING, UNSEEN, VALUES, WIDTH
from serinus.monitors.sequential import EDetector, Evidence
from serinus.monitors.sequential.e_detector import STAKES
from tests.statistics.simulation import Normals, alarms, delay

EVEN = np.array([[500] * VALUES + [10, 5], [2_000] * 4 + [0] * 14])
ORDERED = np.array([True, False])


def _even(run_length: float = 1_000_000.0) -> EDetector:
    return EDetector(EVEN, ORDERED, dead_zone(EVEN[None], ORDERED), np.array([0.5, 0.5]), run_length)


def _rows(detector: EDetector, *counts: np.ndarray) -> Evidence:
    evidence = detector.start()
    for table in counts:
        evidence = detector.step(evidence, table)
    return evidence


def test_every_bet_is_the_product_of_its_rows() -> None:
    """By hand: M ← (M + n)·Π (1 + λ(±g − ε)) over two steps, for all contrasts, signs and stakes of a feature."""
    zone, detector = dead_zone(EVEN[None], ORDERED), _even()
    steps = np.random.default_rng(0).multinomial(64, np.full(WIDTH, 1 / WIDTH), size=(2, 2))
    wanted = np.zeros((CONTRASTS, 2, len(STAKES)))
    for step in steps:
        for contrast, sign in np.ndindex(CONTRASTS, 2):
            gain = (1, -1)[sign] * contrasts(EVEN, ORDERED)[0, contrast] - zone[0, contrast, sign]
            bets = 1 + np.array(STAKES) / max(-gain.min(), 1e-9) * gain[:, None]
            wanted[contrast, sign] = (wanted[contrast, sign] + 64) * (bets ** step[0][:, None]).prod(0)
    found = _rows(detector, *steps).bets[0]
    assert found == pytest.approx(wanted, rel=2e-4)


def test_no_bet_gains_on_average_at_the_edge_of_the_dead_zone() -> None:
    """The supermartingale: where the mean of ±g is ε or less, the mean of a row's factor is 1 or less."""
    zone = dead_zone(EVEN[None], ORDERED)
    g = contrasts(EVEN, ORDERED)
    rng = np.random.default_rng(1)
    one = np.array([_factor(np.eye(WIDTH, dtype=int)[b]) for b in range(WIDTH)])
    tried = 0
    for _ in range(300):
        p = EVEN[0] / EVEN[0].sum() * rng.gamma(4, 1 / 4, WIDTH)
        p /= p.sum()
        means = g[0] @ p
        factor = np.einsum("b,bcsl->csl", p, one)
        inside = np.stack([means, -means], -1) <= zone[0]
        tried += int(inside.sum())
        assert factor[inside].max() <= 1 + 1e-6
    assert tried > 1_000


def _factor(row: np.ndarray) -> np.ndarray:
    """Return the factors of one row for all bets of the first feature: M after it, from 0."""
    factors: np.ndarray = _rows(_even(), np.stack([row, row])).bets[0].astype(float)
    return factors


def test_rows_of_the_reference_alarm_less_often_than_promised() -> None:
    """10 features, promised 1 in 20,000 rows: 3 references × 50,000 rows allow 7.5, and more than 15 is no chance."""
    found = 0
    for seed in range(3):
        rng = np.random.default_rng(seed)
        drawn = Normals.draw(rng, 2_000, features=10)
        found += alarms(drawn.detector(20_000.0), rng, drawn.shares(), 50_000)
    assert found <= 15


def test_the_bound_holds_without_any_slack() -> None:
    """One feature, the reference's shares the truth and ε nearly 0, where M grows by the rows: 4,000 rows promised."""
    rng = np.random.default_rng(5)
    counts = np.array([[1_000] * VALUES + [0, 0]])
    detector = EDetector(counts, np.array([True]), np.full((1, CONTRASTS, 2), 1e-6), np.ones(1), 4_000.0)
    shares = counts / counts.sum()
    rows = 400_000
    assert alarms(detector, rng, shares, rows) <= rows / 4_000 * 1.2


@pytest.mark.parametrize(
    ("mean", "sd", "features", "rows"),
    [(1.0, 1.0, 1, 140), (0.5, 1.0, 1, 300), (0.0, 1.3, 1, 750), (0.2, 1.0, 30, 700)],
)
def test_changes_are_seen_soon(mean: float, sd: float, features: int, rows: int) -> None:
    """Median of 9 seeded runs with 30 features and a reference of 10,000 rows; `tests/statistics` measures it well."""
    delays = []
    for seed in range(9):
        rng = np.random.default_rng(seed)
        drawn = Normals.draw(rng, 10_000)
        delays.append(delay(drawn.detector(), rng, drawn.shares(), drawn.changed(mean, sd, features), 2_000))
    assert np.median(delays) <= rows


def test_larger_steps_do_not_change_what_is_promised() -> None:
    """A restart counts its rows, so steps of 1,000 rows alarm no more often than steps of 64."""
    rng = np.random.default_rng(3)
    drawn = Normals.draw(rng, 2_000, features=10)
    assert alarms(drawn.detector(20_000.0), rng, drawn.shares(), 400_000, step=1_000) <= 20 * 1.5


def test_the_detector_names_what_changed() -> None:
    """All missing in the second feature: certain, its best bet is that more is missing, since the change."""
    before = np.random.default_rng(2).multinomial(64, EVEN / EVEN.sum(1, keepdims=True), size=(20, 2))
    gone = before[0].copy()
    gone[1] = 64 * np.eye(WIDTH, dtype=int)[MISSING]
    detector = _even()
    evidence = _rows(detector, *before, gone, gone)
    contrast, sign, age = detector.best_bets(evidence)
    assert detector.alarms(evidence)
    assert detector.certain(evidence).tolist() == [False, True]
    assert (contrast[1], sign[1], age[1]) == (2 + MISSING, 1, 128)


@pytest.mark.parametrize(("contrast", "bins"), [(LOCATION, range(8, 16)), (SCALE, [0, 1, 14, 15])])
def test_moves_and_spreads_are_told_apart(contrast: int, bins: list[int]) -> None:
    """Only upper bins: a move up. Only outer bins: a wider spread."""
    counts = np.zeros((2, WIDTH), int)
    counts[0, list(bins)] = 128 // len(bins)
    counts[1, :4] = 32
    detector = _even()
    best, sign, _ = detector.best_bets(_rows(detector, counts))
    assert (best[0], sign[0]) == (contrast, 1)


def test_evidence_is_0_where_nothing_happens_and_1_at_the_alarm() -> None:
    """The meter starts at what M is for rows of the reference, and reaches 1 as the mean reaches the run length."""
    rng, detector = np.random.default_rng(4), _even()
    quiet = rng.multinomial(64, EVEN / EVEN.sum(1, keepdims=True), size=(200, 2))
    meters = []
    evidence = detector.start()
    for counts in quiet:
        evidence = detector.step(evidence, counts)
        meters.append(detector.meter(evidence))
    assert np.median(meters) < 0.05
    assert detector.meter(detector.start()) == 0
    loud = quiet[0].copy()
    loud[0] = 64 * np.eye(WIDTH, dtype=int)[UNSEEN]
    evidence = _rows(detector, loud, loud)
    assert detector.meter(evidence) == 1 and detector.alarms(evidence)
    assert detector.log_mean(evidence) >= math.log(1_000_000)


def test_a_feature_without_rows_says_nothing() -> None:
    """Where a feature is not observed its evidence neither grows nor restarts."""
    detector = _even()
    counts = np.zeros((2, WIDTH), int)
    counts[0, :VALUES] = 4
    evidence = _rows(detector, counts, counts)
    assert detector.log_features(evidence)[1] == -math.inf


@pytest.mark.parametrize("reference", [np.zeros((2, WIDTH), int), np.tile(np.eye(WIDTH, dtype=int)[3], (2, 1)) * 5])
def test_degenerate_references_alarm_at_nothing_and_crash_at_nothing(reference: np.ndarray) -> None:
    """No rows, or five equal ones: there is nothing to be sure of, and numbers stay finite."""
    detector = EDetector(reference, ORDERED, dead_zone(reference[None], ORDERED), np.array([0.5, 0.5]))
    evidence = _rows(detector, *np.random.default_rng(0).multinomial(64, np.full(WIDTH, 1 / WIDTH), size=(5, 2)))
    assert np.isfinite(evidence.bets).all()
    assert 0 <= detector.meter(evidence) <= 1


def test_overwhelming_evidence_stays_finite() -> None:
    """A million rows that were never in the reference, in one step and in ten."""
    detector = _even()
    odd = np.zeros((2, WIDTH), int)
    odd[:, UNSEEN] = 100_000
    for steps in (odd * 10,), (odd,) * 10:
        evidence = _rows(detector, *steps)
        assert np.isfinite(evidence.bets).all() and detector.alarms(evidence)


def test_evidence_that_was_given_is_not_touched() -> None:
    """A step makes new evidence, so that a caller can go back."""
    detector = _even()
    before = detector.start()
    detector.step(before, np.full((2, WIDTH), 4))
    assert not before.bets.any()
