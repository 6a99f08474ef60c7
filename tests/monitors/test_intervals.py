"""Intervals: scipy's and published numbers, and the promised coverage by simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from serinus.monitors.intervals import (
    Interval,
    area_under_curve,
    around,
    hanley_mcneil,
    macro_difference,
    mean,
    paired_difference,
    proportion,
    proportion_difference,
    within_unit,
)

TRIALS = 2_000


@pytest.mark.parametrize("level", [0.8, 0.95, 0.99])
def test_a_proportion_has_wilsons_interval(level: float) -> None:
    """As scipy has it, at other levels too."""
    wanted = stats.binomtest(7, 50).proportion_ci(level, method="wilson")
    assert proportion(7, 50, level) == pytest.approx((wanted.low, wanted.high))


@pytest.mark.parametrize(
    ("counts", "wanted"),
    [((56, 70, 48, 80), (0.0524, 0.3339)), ((9, 10, 3, 10), (0.1705, 0.8090)), ((5, 56, 0, 29), (-0.0381, 0.1926)),
     ((0, 10, 0, 20), (-0.1611, 0.2775)), ((10, 10, 0, 20), (0.6791, 1.0))],
)  # fmt: skip
def test_a_difference_of_proportions_is_newcombes(counts: tuple[int, ...], wanted: tuple[float, float]) -> None:
    """Statistics in Medicine 1998, 17: 873–890, table II, method 10 of both the columns."""
    assert proportion_difference(*counts) == pytest.approx(wanted, abs=6e-5)


@pytest.mark.parametrize(
    ("cells", "wanted"),
    [((36, 12, 2, 0), (0.0569, 0.3404)), ((0, 0, 0, 50), (-0.0713, 0.0713))],
)
def test_a_paired_difference_is_newcombes(cells: tuple[int, ...], wanted: tuple[float, float]) -> None:
    """Statistics in Medicine 1998, 17: 2635–2650, method 10; without any event, both limits of 0/50 are the reach."""
    assert paired_difference(*cells) == pytest.approx(wanted, abs=6e-5)


@pytest.mark.parametrize(("ours", "theirs", "units"), [
    ((0.9, 0.7, 0.5), (0.9, 0.7, 0.5), 60), ((0.95, 0.99, 0.9), (0.8, 0.9, 0.6), 80)])
def test_a_difference_of_means_of_proportions_holds_as_often_as_it_says(
    ours: tuple[float, ...], theirs: tuple[float, ...], units: int
) -> None:
    """Of 1,000 draws; near one, too. Of one proportion each it is Newcombe's; none has none."""
    draw, held = np.random.default_rng(0), 0
    for _ in range(1_000):
        cells = [(draw.binomial(units, p), units) for p in ours]
        others = [(draw.binomial(2 * units, p), 2 * units) for p in theirs]
        ends = macro_difference(cells, others)
        held += ends is not None and ends.holds(sum(ours) / 3 - sum(theirs) / 3)
    assert 0.93 <= held / 1_000 <= 0.98
    assert macro_difference([(56, 70)], [(48, 80)]) == proportion_difference(56, 70, 48, 80)
    assert macro_difference([(0, 0)], [(1, 2)]) is None and macro_difference([], []) is None


def test_a_mean_has_students_interval() -> None:
    """As scipy has it, from three sums."""
    values = np.random.default_rng(0).lognormal(size=40)
    wanted = stats.t.interval(0.95, 39, values.mean(), stats.sem(values))
    assert mean(40, values.sum(), values @ values) == pytest.approx(wanted)


def test_an_area_is_scikit_learns() -> None:
    """Counts by score bin give the area of the binned scores, ties counting one half."""
    rng = np.random.default_rng(1)
    truth, scores = rng.random(500) < 0.3, rng.integers(0, 20, 500)
    positives, negatives = (np.bincount(scores[rows], minlength=20) for rows in (truth, ~truth))
    area = area_under_curve(positives, negatives)
    assert area is not None and area.value == pytest.approx(roc_auc_score(truth, scores))


def test_the_published_ct_images_have_the_published_error() -> None:
    """Hanley & McNeil 1982, Radiology 143: an area of 0.893; DeLong's error is 0.0307, as Stata's manual prints it."""
    area = area_under_curve(np.array([3, 2, 2, 11, 33]), np.array([33, 6, 6, 11, 2]))
    assert area is not None
    assert (round(area.value, 4), round(math.sqrt(area.variance), 4)) == (0.8932, 0.0307)


def test_hanley_and_mcneil_are_exact_for_exponential_scores() -> None:
    """The law that their formula assumes, simulated."""
    rng = np.random.default_rng(2)
    areas = []
    for _ in range(TRIALS):
        ours, theirs = rng.exponential(3.0, 40), rng.exponential(1.0, 60)
        areas.append(stats.mannwhitneyu(ours, theirs).statistic / 2_400)
    assert hanley_mcneil(0.75, 40, 60) == pytest.approx(np.var(areas), rel=0.1)


@pytest.mark.parametrize(("p", "units"), [(0.5, 30), (0.05, 60), (0.97, 200)])
def test_a_proportions_interval_holds_as_often_as_it_says(p: float, units: int) -> None:
    """The average over all outcomes, exactly: between 93 and 98 of 100."""
    events = np.arange(units + 1)
    holds = [found is not None and found.holds(p) for found in (proportion(k, units) for k in events)]
    assert 0.92 < stats.binom.pmf(events, units, p) @ holds < 0.985


def test_an_areas_interval_holds_as_often_as_it_says() -> None:
    """Normal scores one standard deviation apart: an area of 0.76, held by about 95 of 100 intervals."""
    rng, held = np.random.default_rng(3), 0
    for _ in range(TRIALS):
        ours, theirs = np.round(rng.normal(1, 1, 60) * 8).astype(int), np.round(rng.normal(0, 1, 90) * 8).astype(int)
        positives, negatives = (np.bincount(np.clip(codes + 40, 0, 80), minlength=81) for codes in (ours, theirs))
        area = area_under_curve(positives, negatives)
        interval = within_unit(*area, 150) if area else None
        held += interval is not None and interval.holds(stats.norm.cdf(1 / math.sqrt(2)))
    assert held / TRIALS == pytest.approx(0.95, abs=0.02)


def test_nothing_seen_has_no_interval() -> None:
    """No rows, one row, and sums that ran over say nothing, and nothing is what is said."""
    assert proportion(0, 0) is None and proportion_difference(0, 0, 1, 2) is None
    assert mean(1, 3.0, 9.0) is None and mean(5, math.inf, math.inf) is None
    assert around(math.nan, 1.0) is None and within_unit(0.5, math.inf, 10) is None
    assert area_under_curve(np.zeros(5), np.ones(5)) is None


def test_an_interval_within_the_unit_stays_there() -> None:
    """Near 1 it is not symmetric; at 1 it is Wilson's."""
    interval = within_unit(0.99, 0.01, 20)
    assert interval is not None and 0 < interval.low < 0.99 < interval.high < 1
    assert within_unit(1.0, 0.0, 20) == proportion(20, 20)
    assert within_unit(0.5, 1e6, 20) == Interval(0.0, 1.0)
