"""Bounds that hold at all times: formulas, coverage and width."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import beta, betabinom, binom

from serinus.monitors.sequential.confidence_sequences import BoundedMean, probability_bounds


@pytest.mark.parametrize(("events", "units"), [(0, 50), (3, 50), (25, 50), (50, 50), (7, 4_000), (0, 100_000)])
def test_the_bounds_are_where_the_mixture_meets_the_limit(events: int, units: int) -> None:
    """There the beta-binomial likelihood is 20 times the binomial one, to the last digits."""
    low, high = probability_bounds(events, units)
    assert 0 <= low <= events / units <= high <= 1
    for edge in {low, high} - {0.0, 1.0}:
        ratio = betabinom.logpmf(events, units, 0.5, 0.5) - binom.logpmf(events, units, edge)
        assert ratio == pytest.approx(math.log(20), abs=1e-4)


def test_they_are_wider_than_a_single_looks_interval_but_not_by_much() -> None:
    """The price of looking whenever one likes, against Clopper–Pearson: about twice the distance."""
    low, high = probability_bounds(30, 3_000)
    once = beta.ppf([0.025, 0.975], [30, 31], [2_971, 2_970])
    assert low < once[0] < once[1] < high
    assert high - 0.01 < 2.2 * (once[1] - 0.01)


def test_without_events_the_upper_bound_is_about_log_n_over_n() -> None:
    """The approximation that the documentation gives, and the closed form behind it."""
    _, high = probability_bounds(0, 3_000)
    assert high == pytest.approx((math.log(20) + math.log(math.pi * 3_000) / 2) / 3_000, rel=0.01)
    assert high == pytest.approx(1 - (betabinom.pmf(0, 3_000, 0.5, 0.5) / 20) ** (1 / 3_000), rel=1e-6)


def test_nothing_seen_bounds_nothing() -> None:
    """Zero of zero may be any probability."""
    assert probability_bounds(0, 0) == (0.0, 1.0)
    with pytest.raises(ValueError, match="from 0 to units"):
        probability_bounds(3, 2)


def test_at_most_one_in_twenty_sequences_ever_leaves_the_truth_outside() -> None:
    """400 sequences of 2,000 units at 3 %, looked at 100 times."""
    rng, missed = np.random.default_rng(8), 0
    for _ in range(400):
        events = (rng.random(2_000) < 0.03).cumsum()
        missed += any(not low <= 0.03 <= high for low, high in
                      (probability_bounds(int(events[n - 1]), n) for n in range(20, 2_001, 20)))
    assert missed / 400 <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 400)


def test_a_bounded_mean_is_covered_at_all_times() -> None:
    """200 sequences of skewed values in [−1, 1]: at most 5 % ever miss the mean."""
    rng, missed = np.random.default_rng(9), 0
    for _ in range(200):
        mean, bounds = BoundedMean(-1, 1), []
        for value in rng.beta(2, 8, 500) * 2 - 1:
            mean.observe(float(value))
            bounds.append(mean.bounds)
        missed += any(not low <= -0.6 <= high for low, high in bounds)
    assert missed / 200 <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 200)


def test_the_width_follows_the_spread_of_the_values() -> None:
    """Values that hardly vary are bounded much more tightly than a fair coin's; Hoeffding would not see the difference.
    """
    calm, wild = BoundedMean(0, 1), BoundedMean(0, 1)
    rng = np.random.default_rng(10)
    for _ in range(2_000):
        calm.observe(0.5 + 0.01 * rng.standard_normal())
        wild.observe(float(rng.random() < 0.5))
    assert calm.bounds.high - calm.bounds.low < 0.02 < wild.bounds.high - wild.bounds.low < 0.15


def test_values_outside_of_the_limits_are_refused() -> None:
    """The promise holds for bounded values only."""
    with pytest.raises(ValueError, match="outside"):
        BoundedMean(0, 1).observe(1.5)
    with pytest.raises(ValueError, match="low < high"):
        BoundedMean(1, 1)
