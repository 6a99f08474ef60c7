"""A difference of shares over pairs: expectation, error rate, power."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import multinomial

from serinus.monitors.sequential.paired_share import log_evidence, log_evidence_both_ways


@pytest.mark.parametrize("tolerance", [0.0, 0.05, -0.05])
def test_it_is_one_on_average_at_the_tolerance(tolerance: float) -> None:
    """Exactly, over all outcomes of 30 pairs whose shares differ by just what is tolerated; less below."""
    def mean(up: float, down: float) -> float:
        outcomes = [(a, b, 30 - a - b) for a in range(31) for b in range(31 - a)]
        chances = multinomial.pmf(outcomes, 30, [up, down, 1 - up - down])
        evidence = [log_evidence(a, b, 30, tolerance=tolerance) for a, b, _ in outcomes]
        return float((chances * np.exp(evidence)).sum())

    assert mean(0.1 + tolerance, 0.1) == pytest.approx(1.0)
    assert mean(0.05, 0.15) < 1


def test_a_tolerated_difference_hardly_ever_alarms() -> None:
    """400 courses of 3,000 pairs at exactly 2 points, looked at 60 times: at most 5 %."""
    rng, alarms = np.random.default_rng(1), 0
    for _ in range(400):
        kinds = rng.choice(3, 3_000, p=[0.06, 0.04, 0.9])
        up, down = (kinds == 0).cumsum(), (kinds == 1).cumsum()
        alarms += any(log_evidence_both_ways(int(up[n - 1]), int(down[n - 1]), n, tolerance=0.02) >= math.log(20)
                      for n in range(50, 3_001, 50))
    assert alarms / 400 <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 400)


def test_twenty_to_twenty_four_percent_is_found_within_the_first_thousand_pairs() -> None:
    """With a tolerance of one point; median over 60 courses."""
    rng, stops = np.random.default_rng(2), []
    for _ in range(60):
        kinds = rng.choice(3, 6_000, p=[0.05, 0.01, 0.94])
        up, down = (kinds == 0).cumsum(), (kinds == 1).cumsum()
        stops.append(next((n for n in range(20, 6_001, 20) if log_evidence_both_ways(
            int(up[n - 1]), int(down[n - 1]), n, tolerance=0.01) >= math.log(200)), 6_001))
    assert np.median(stops) < 1_000


@pytest.mark.parametrize("counts", [(5, 6, 10), (-1, 0, 10)])
def test_counts_that_do_not_fit_are_refused(counts: tuple[int, int, int]) -> None:
    """There cannot be more differing pairs than pairs."""
    with pytest.raises(ValueError, match="fit together"):
        log_evidence(*counts)
