"""Sequential McNemar: the formula, its expectation, its error rate and its power."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import binom

from serinus.monitors.sequential.mcnemar import log_evidence, log_evidence_of_flips


@pytest.mark.parametrize(("worse", "better"), [(0, 0), (10, 0), (3, 7), (40, 25), (0, 30)])
def test_it_is_the_mixture_integral(worse: int, better: int) -> None:
    """2 ∫ q^b (1−q)^c dq over (½, 1), relative to 2^−(b+c)."""
    integral, _ = quad(lambda q: (2 * q) ** worse * (2 * (1 - q)) ** better, 0.5, 1)
    assert log_evidence(worse, better) == pytest.approx(math.log(2 * integral), abs=1e-6)


def test_it_is_one_on_average_for_a_fair_coin() -> None:
    """Exactly at one half, less below it."""
    worse = np.arange(61)
    evidence = np.exp([log_evidence(int(b), int(60 - b)) for b in worse])
    assert (binom.pmf(worse, 60, 0.5) * evidence).sum() == pytest.approx(1.0)
    assert (binom.pmf(worse, 60, 0.4) * evidence).sum() < 1
    flips = np.exp([log_evidence_of_flips(int(b), int(60 - b)) for b in worse])
    assert (binom.pmf(worse, 60, 0.5) * flips).sum() == pytest.approx(1.0)


def test_thousands_of_pairs_in_favour_neither_overflow_nor_vanish() -> None:
    """Where the tail is too small for a float, its asymptotic form joins on."""
    assert log_evidence(0, 900) == pytest.approx(-math.log(900), rel=1e-3)
    assert log_evidence(100, 20_000) == pytest.approx(-math.log(19_900), rel=1e-3)
    assert log_evidence(20_000, 100) > 10_000


def test_looking_after_every_pair_keeps_the_bound() -> None:
    """1,000 courses of 300 pairs without a difference: at most 5 % ever reach 20 to one (pilot: 4.3 %)."""
    rng = np.random.default_rng(2)
    table = np.array([[log_evidence(b, n - b) if b <= n else 0.0 for b in range(301)] for n in range(301)])
    worse = (rng.random((1_000, 300)) < 0.5).cumsum(1)
    reached = (table[np.arange(1, 301), worse] >= math.log(20)).any(1)
    assert reached.mean() <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 1_000)


def test_eight_against_three_percent_wrong_is_found_after_some_forty_pairs_that_differ() -> None:
    """Median over 200 courses; the pilot says 44."""
    rng, stops = np.random.default_rng(4), []
    for _ in range(200):
        worse = (rng.random(400) < 8 / 11).cumsum()
        stops.append(next(n for n in range(1, 401) if log_evidence(int(worse[n - 1]), int(n - worse[n - 1]))
                          >= math.log(100)))
    assert np.median(stops) <= 60


def test_negative_counts_are_refused() -> None:
    """Pairs are counted."""
    with pytest.raises(ValueError, match="counted"):
        log_evidence(-1, 3)
