"""What may happen in a rollout, minute by minute: the counts that any policy could have seen.

Every policy raises the candidate's weight through the same steps, so one course of events serves them all until each
stops; what they would have seen is the same to the last request.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

STEPS = (0.01, 0.05, 0.25, 0.50)
STEP_MINUTES = 10
MINUTES = len(STEPS) * STEP_MINUTES
SHADOW_MINUTES = 45
SHADOW = 0.10
LATENCY_SPREAD = 0.5
"""Of the logarithm of the latency, around a median of 20 ms."""
QUANTILES = {"p50": 0.0, "p95": 1.6449, "p99": 2.3263}

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Scenario:
    """How stable and candidate behave. Rates are probabilities per request."""

    name: str
    bad: bool
    """Whether the candidate should be stopped."""
    rate: float = 100.0
    """Requests per second."""
    errors: float = 0.01
    candidate_errors: float = 0.01
    body: float = 1.0
    """The candidate's latency as a multiple of stable's."""
    tail: float = 1.0
    """The same beyond the 95th percentile only."""
    share: float = 0.20
    """Predictions of the class that is watched."""
    candidate_share: float = 0.20
    wrong: float = 0.10
    candidate_wrong: float = 0.10
    slice_worse: float = 0.0
    """How many points worse the candidate is on a slice of 5 % of the inputs."""
    wrong_by_both: float = 0.07
    """Share of inputs that both get wrong."""
    labelled: float = 0.0
    """Share of requests whose ground truth arrives."""
    label_minutes: int = 30
    onset: int = 0
    """Minute in which the candidate turns bad."""
    swing: float = 0.0
    """Relative amplitude of stable's and the candidate's common error rate."""
    heavy: float = 0.0
    """Share of the traffic from a few callers whose requests fail together; they stick to their arm."""
    autocorrelation: float = 0.0
    """Of failures of consecutive requests: one is followed by another with this chance."""
    runs_apart: bool = False
    """Whether each arm has such runs of its own; else they are of the traffic, and assigned like all of it."""
    assigned: float = 1.0
    """The candidate's real share as a multiple of the intended one."""
    blackout: tuple[int, int] = (0, 0)
    """Minutes in which nothing is counted."""
    crashes: float = 0.0
    """The candidate's calls that kill its process."""


@dataclass(frozen=True)
class Course:
    """One course of events: `[minutes]` each, for candidate and stable."""

    weights: Floats
    units: tuple[Ints, Ints]
    errors: tuple[Ints, Ints]
    slow: Mapping[str, tuple[Ints, Ints]]
    p99: tuple[Floats, Floats]
    watched: tuple[Ints, Ints]
    wrong: tuple[Ints, Ints]
    """By the minute in which the ground truth is known, as are `labelled`."""
    labelled: tuple[Ints, Ints]
    slice_wrong: tuple[Ints, Ints]
    """Of them, in the slice; `slice_labelled` likewise."""
    slice_labelled: tuple[Ints, Ints]
    callers: tuple[Ints, Ints]
    """What is assigned: callers where they are sticky, else requests."""
    failed_callers: tuple[Ints, Ints]
    """Callers with at least one error in this minute."""
    crashes: Ints
    counted: NDArray[np.bool_]
    pairs: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    """The shadow's, before the canary: `[shadow minutes]`, as are the following."""
    pair_labelled: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    pair_wrong: tuple[Ints, Ints] = (np.zeros(0, np.int64),) * 2
    pair_flips: tuple[Ints, Ints] = (np.zeros(0, np.int64),) * 2
    pair_failed: tuple[Ints, Ints] = (np.zeros(0, np.int64),) * 2
    pair_slice_wrong: tuple[Ints, Ints] = (np.zeros(0, np.int64),) * 2


SCENARIOS = (
    Scenario("no change", bad=False),
    Scenario("no change, heavy sticky callers", bad=False, heavy=0.3),
    Scenario("no change, error rate swings ±80 %", bad=False, swing=0.8),
    Scenario("no change, 2 requests/s", bad=False, rate=2.0),
    Scenario("errors 1 → 1.5 %", bad=True, candidate_errors=0.015),
    Scenario("errors 1 → 2 %", bad=True, candidate_errors=0.02),
    Scenario("errors 1 → 3 %", bad=True, candidate_errors=0.03),
    Scenario("errors 1 → 10 %", bad=True, candidate_errors=0.10),
    Scenario("errors 1 → 3 %, 2 requests/s", bad=True, candidate_errors=0.03, rate=2.0),
    Scenario("errors 1 → 3 % after 25 min", bad=True, candidate_errors=0.03, onset=25),
    Scenario("latency +5 %", bad=True, body=1.05),
    Scenario("latency +10 %", bad=True, body=1.10),
    Scenario("latency +30 %", bad=True, body=1.30),
    Scenario("tail +30 %", bad=True, tail=1.30),
    Scenario("prediction 20 → 24 %", bad=True, candidate_share=0.24),
    Scenario("accuracy −1, labels 30 min late on 20 %", bad=True, candidate_wrong=0.11, labelled=0.2),
    Scenario("accuracy −2, labels 30 min late on 20 %", bad=True, candidate_wrong=0.12, labelled=0.2),
    Scenario("accuracy −5, labels 30 min late on 20 %", bad=True, candidate_wrong=0.15, labelled=0.2),
    Scenario("accuracy −5, labels at once on all", bad=True, candidate_wrong=0.15, labelled=1.0, label_minutes=0),
    Scenario("accuracy −5, labels a day late", bad=True, candidate_wrong=0.15, labelled=1.0, label_minutes=1440),
    Scenario("one slice of 5 % is 20 points worse", bad=True, candidate_wrong=0.11, labelled=0.2,
             slice_worse=0.20),
    Scenario("broken assignment", bad=False, assigned=1.25),
    Scenario("blackout of 5 min", bad=False, blackout=(12, 17)),
    Scenario("crashes, 1 of 200", bad=True, crashes=0.005),
    Scenario("no change, failures of autocorrelation 0.3", bad=False, autocorrelation=0.3),
    Scenario("no change, failures of autocorrelation 0.3 within each arm", bad=False, autocorrelation=0.3,
             runs_apart=True),
)


def play(scenario: Scenario, rng: np.random.Generator) -> Course:
    """One course of the scenario."""
    minutes = np.arange(MINUTES)
    weights = np.repeat(STEPS, STEP_MINUTES)
    requests = rng.poisson(60 * scenario.rate, MINUTES)
    candidate = rng.binomial(requests, np.minimum(1.0, weights * scenario.assigned))
    units = (candidate, requests - candidate)
    wave = 1 + scenario.swing * np.sin(minutes / 6)
    turned = minutes >= scenario.onset
    rates = (np.where(turned, scenario.candidate_errors, scenario.errors) * wave, scenario.errors * wave)
    if scenario.autocorrelation and not scenario.runs_apart:
        failed = _in_runs(scenario, rng, requests, rates[1])
        theirs = np.minimum(candidate, rng.binomial(failed, weights))
        errors = failed_callers = theirs, np.minimum(units[1], failed - theirs)
        callers = units
    else:
        found = [_errors(scenario, rng, count, rate) for count, rate in zip(units, rates, strict=True)]
        errors, callers, failed_callers = zip(*found, strict=True)
    slow, p99 = _latencies(scenario, rng, units)
    shares = (scenario.candidate_share, scenario.share)
    watched = tuple(rng.binomial(count, share) for count, share in zip(units, shares, strict=True))
    labelled = tuple(_later(rng.binomial(count, scenario.labelled), scenario.label_minutes) for count in units)
    wrongs = (scenario.candidate_wrong, scenario.wrong)
    wrong = tuple(rng.binomial(count, share) for count, share in zip(labelled, wrongs, strict=True))
    in_slice = tuple(rng.binomial(count, 0.05) for count in labelled)
    slice_rates = (scenario.wrong + scenario.slice_worse, scenario.wrong)
    slice_wrong = tuple(rng.binomial(count, share) for count, share in zip(in_slice, slice_rates, strict=True))
    start, end = scenario.blackout
    counted = (minutes < start) | (minutes >= end)
    return Course(weights, units, errors, slow, p99, watched, wrong, labelled, slice_wrong,  # type: ignore[arg-type]
                  in_slice, callers, failed_callers, rng.binomial(candidate, scenario.crashes), counted,
                  *_shadow(scenario, rng))


def _errors(scenario: Scenario, rng: np.random.Generator, units: Ints, rate: Floats) -> tuple[Ints, Ints, Ints]:
    """Errors, callers and callers with errors; a heavy caller makes 400 requests, and fails 40 times if at all."""
    if scenario.autocorrelation:
        errors = _in_runs(scenario, rng, units, rate)
        return errors, units, errors
    if not scenario.heavy:
        errors = rng.binomial(units, rate)
        return errors, units, errors
    heavy = (units * scenario.heavy).astype(int)
    light = rng.binomial(units - heavy, rate)
    bursts = rng.poisson(heavy * rate / 40)
    return np.minimum(units, light + 40 * bursts), units - heavy + heavy // 400, light + bursts


def _in_runs(scenario: Scenario, rng: np.random.Generator, units: Ints, rate: Floats) -> Ints:
    """Failures that come in runs of geometric length, as in a Markov chain."""
    alone = 1 - scenario.autocorrelation
    runs = rng.poisson(units * rate * alone)
    further = np.where(runs > 0, rng.negative_binomial(np.maximum(runs, 1), alone), 0)
    return np.minimum(units, runs + further)


def _latencies(scenario: Scenario, rng: np.random.Generator,
               units: tuple[Ints, Ints]) -> tuple[dict[str, tuple[Ints, Ints]], tuple[Floats, Floats]]:
    """Requests over stable's frozen quantiles, and each minute's 99th percentile (in ms): both drawn from their exact
    distributions, binomial and beta (order statistic)."""
    slow: dict[str, list[Ints]] = {name: [] for name in QUANTILES}
    p99 = []
    for count, body, tail in zip(units, (scenario.body, 1.0), (scenario.tail, 1.0), strict=True):
        over, before = count, 1.0
        for name, quantile in QUANTILES.items():
            chance = _exceeds(quantile, body, tail)
            over, before = rng.binomial(over, chance / before), chance
            slow[name].append(over)
        place = np.maximum(1, np.ceil(0.99 * count))
        z = norm.ppf(rng.beta(place, np.maximum(1, count + 1 - place)))
        logs = LATENCY_SPREAD * z + np.log(body) + np.where(z > QUANTILES["p95"], np.log(tail), 0.0)
        p99.append(np.where(count > 0, 20 * np.exp(logs), np.nan))
    return {name: (both[0], both[1]) for name, both in slow.items()}, (p99[0], p99[1])


def _exceeds(quantile: float, body: float, tail: float) -> float:
    """The chance that a latency is over stable's quantile (of the standard normal)."""
    usual = quantile - np.log(body) / LATENCY_SPREAD
    stretched = max(usual - np.log(tail) / LATENCY_SPREAD, QUANTILES["p95"])
    return float(norm.sf(min(usual, stretched)))


def _shadow(scenario: Scenario, rng: np.random.Generator) -> tuple[object, ...]:
    pairs = rng.poisson(60 * scenario.rate * SHADOW, SHADOW_MINUTES)
    labelled = _later(rng.binomial(pairs, scenario.labelled), scenario.label_minutes)
    both = scenario.wrong_by_both
    wrong = (rng.binomial(labelled, scenario.candidate_wrong - both), rng.binomial(labelled, scenario.wrong - both))
    flip = 0.01
    gain = scenario.candidate_share - scenario.share
    flips = rng.binomial(pairs, flip + max(0.0, gain)), rng.binomial(pairs, flip + max(0.0, -gain))
    failed = rng.binomial(pairs, scenario.crashes), np.zeros_like(pairs)
    in_slice = rng.binomial(labelled, 0.05)
    slice_wrong = rng.binomial(in_slice, 0.03 + scenario.slice_worse), rng.binomial(in_slice, 0.03)
    return pairs, labelled, wrong, flips, failed, slice_wrong


def _later(counts: Ints, minutes: int) -> Ints:
    """Counts in the minute in which they are known; those of the end never are."""
    known = np.zeros_like(counts)
    if minutes < len(counts):
        known[minutes:] = counts[: len(counts) - minutes]
    return known
