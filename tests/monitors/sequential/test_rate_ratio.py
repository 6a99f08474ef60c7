"""The rate ratio's evidence is an e-process: checked by exact sums over all outcomes, and by seeded simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import binom

from serinus.monitors.sequential.rate_ratio import harm, harm_since, interval, logsumexp, non_inferiority


def _share(weight: float, ratio: float) -> float:
    return weight * ratio / (weight * ratio + 1 - weight)


def _expectation(evidence: object, weight: float, ratio: float, events: int) -> float:
    """E[e] over all splits of so many events, when the true ratio is this."""
    candidate = np.arange(events + 1)
    log_e = evidence([weight], candidate[:, None], (events - candidate)[:, None])  # type: ignore[operator]
    return float((binom.pmf(candidate, events, _share(weight, ratio)) * np.exp(log_e)).sum())


@pytest.mark.parametrize("weight", [0.01, 0.25, 0.5])
def test_harm_is_one_on_average_at_the_boundary_and_less_below_it(weight: float) -> None:
    """The mean over all outcomes is exactly 1 where the candidate is just as bad as allowed."""
    assert _expectation(harm, weight, 1.1, 40) == pytest.approx(1.0, rel=1e-9)
    assert _expectation(harm, weight, 1.0, 40) < 1


@pytest.mark.parametrize("weight", [0.05, 0.5])
def test_non_inferiority_is_one_on_average_at_the_margin(weight: float) -> None:
    """And less where the candidate is worse than the margin."""
    assert _expectation(non_inferiority, weight, 1.5, 40) == pytest.approx(1.0, rel=1e-9)
    assert _expectation(non_inferiority, weight, 3.0, 40) < 1


def test_evidence_of_late_onsets_is_an_average_of_one_too() -> None:
    """Three buckets with three events each at the boundary: all 64 outcomes weighed."""
    weights, share = [0.1, 0.1, 0.5], [_share(0.1, 1.1), _share(0.1, 1.1), _share(0.5, 1.1)]
    outcomes = np.array(np.meshgrid(*[np.arange(4)] * 3)).reshape(3, -1).T
    chance = np.prod([binom.pmf(outcomes[:, step], 3, share[step]) for step in range(3)], axis=0)
    log_e = harm_since(weights, outcomes, 3 - outcomes)
    assert float((chance * np.exp(log_e)).sum()) == pytest.approx(1.0, rel=1e-9)


def test_the_evidence_by_hand() -> None:
    """Nine of ten at weight ½ and ratio 1: the weighted mean over ratios ρ of (2ρ/(1+ρ))⁹ (2/(1+ρ))."""
    ratios = np.geomspace(1, 20, 122)[1:]
    by_hand = np.average((2 * ratios / (1 + ratios)) ** 9 * (2 / (1 + ratios)),
                         weights=np.exp(-1.5 * np.abs(np.log(ratios / 2.5))))
    assert harm([0.5], [9], [1], ratio=1.0) == pytest.approx(math.log(by_hand))


def test_steps_add_up_and_leading_dimensions_are_kept() -> None:
    """Counts of many runs at once give what each gives alone."""
    candidate, stable = np.array([[3, 9], [0, 4]]), np.array([[50, 30], [20, 10]])
    together = harm([0.05, 0.25], candidate, stable)
    assert together.shape == (2,)
    assert together[1] == pytest.approx(harm([0.05, 0.25], candidate[1], stable[1]))


def test_no_events_are_no_evidence() -> None:
    """Neither of harm nor of its absence: 0 errors in both arms promote nothing by this route."""
    assert harm([0.5], [0], [0]) == pytest.approx(0)
    assert non_inferiority([0.5], [0], [0]) == pytest.approx(0)
    assert interval([0.5], [0], [0]) == (0.0, np.inf)


def test_evidence_far_out_does_not_overflow() -> None:
    """A million events in one arm only are finite, strong evidence."""
    assert 1e5 < harm([0.01], [10**6], [0]) < np.inf
    assert harm([0.99], [0], [10**6]) == pytest.approx(-1e6, rel=1)


def test_the_interval_narrows_around_the_truth() -> None:
    """1,000 to 500 events at equal weights: around 2, and what it excludes is what `harm` rejects."""
    low, high = interval([0.5], [1000], [500])
    assert low < 2 < high < 2.5
    assert low > 1.6


@pytest.mark.parametrize("weights", [[0.0], [1.0], [-0.1], 0.5])
def test_steps_without_two_arms_are_refused(weights: object) -> None:
    """They say nothing of the ratio, and their logarithms would be infinite."""
    with pytest.raises(ValueError, match="Leave out steps"):
        harm(weights, [1], [1])  # type: ignore[arg-type]


def test_looking_240_times_while_the_base_rate_swings_keeps_the_bound() -> None:
    """1,000 runs without a change, weights 1 to 50 %, base rate ±80 %: at most 5 % ever alarm (pilot: 2.5 %)."""
    rng, runs, looks = np.random.default_rng(7), 1_000, 240
    weights = np.repeat([0.01, 0.05, 0.25, 0.5], looks // 4)
    rate = 20 * (1 + 0.8 * np.sin(np.arange(looks) / 9))
    candidate = rng.poisson(weights * rate * 1.1, (runs, looks))  # as bad as allowed
    stable = rng.poisson((1 - weights) * rate, (runs, looks))
    steps = [slice(start, start + looks // 4) for start in range(0, looks, looks // 4)]
    alarmed = np.zeros(runs, bool)
    for look in range(12, looks + 1, 12):
        seen = np.arange(looks) < look
        sums = [np.stack([(arm * seen)[:, step].sum(1) for step in steps], -1) for arm in (candidate, stable)]
        alarmed |= harm([0.01, 0.05, 0.25, 0.5], *sums) >= math.log(20)
    assert alarmed.mean() <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / runs)


def test_errors_three_times_as_frequent_are_stopped_soon() -> None:
    """1 % to 3 % at a quarter of the traffic: in the median within 600 requests of the candidate, at α = 0.01."""
    rng, stops = np.random.default_rng(3), []
    for _ in range(200):
        candidate, stable = rng.random(4_000) < 0.03, rng.random(12_000) < 0.01
        for seen in range(50, 4_001, 50):
            if harm([0.25], [candidate[:seen].sum()], [stable[:3 * seen].sum()]) >= math.log(100):
                stops.append(seen)
                break
    assert len(stops) >= 199
    assert np.median(stops) <= 900


def test_a_late_onset_is_found_sooner_with_the_mixture() -> None:
    """After two good hours at 10 % weight a doubled rate is found about five times as fast."""
    rng, waits = np.random.default_rng(5), {"mixture": [], "plain": []}
    for _ in range(20):
        candidate = np.concatenate([rng.poisson(6, 120), rng.poisson(12, 120)])
        stable = rng.poisson(54, 240)
        for minute in range(120, 240):
            weights = np.full(minute // 10, 0.1)
            buckets = [arm[: minute // 10 * 10].reshape(-1, 10).sum(1) for arm in (candidate, stable)]
            if harm_since(weights, *buckets) >= math.log(100):
                waits["mixture"].append(minute - 120)
                break
        for minute in range(120, 240):
            if harm([0.1], [candidate[:minute].sum()], [stable[:minute].sum()]) >= math.log(100):
                waits["plain"].append(minute - 120)
                break
    assert np.median(waits["mixture"]) < np.median(waits["plain"])


def test_logsumexp_agrees_with_scipy() -> None:
    """Ours needs no scipy in the process that decides."""
    from scipy.special import logsumexp as theirs

    values = np.random.default_rng(1).normal(0, 300, (4, 9))
    assert logsumexp(values) == pytest.approx(theirs(values, axis=-1))
