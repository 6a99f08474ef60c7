"""First hard failures: an e-process in constant memory."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from serinus.monitors.sequential.hard_failures import HardFailures


def _by_definition(outcomes: tuple[bool, ...], expected: float) -> float:
    """The mixture over onsets, written out."""
    factors = [0.5 / expected if failed else 0.5 / (1 - expected) for failed in outcomes]
    started = sum(math.prod(factors[onset:]) / ((onset + 1) * (onset + 2)) for onset in range(len(factors)))
    return started + 1 / (len(factors) + 1)


def _evidence(outcomes: tuple[bool, ...], expected: float) -> float:
    failures = HardFailures(expected)
    for failed in outcomes:
        failures.observe(failed)
    return failures.log_evidence


@pytest.mark.parametrize("outcomes", list(itertools.product([False, True], repeat=5)))
def test_the_recursion_is_the_mixture(outcomes: tuple[bool, ...]) -> None:
    """Every course of five calls agrees with the definition."""
    assert _evidence(outcomes, 0.03) == pytest.approx(math.log(_by_definition(outcomes, 0.03)))


def test_it_is_one_on_average_when_failures_are_as_expected() -> None:
    """Exactly, over all courses of ten calls."""
    mean = sum(math.exp(_evidence(course, 0.05)) * 0.05 ** sum(course) * 0.95 ** (10 - sum(course))
               for course in itertools.product([False, True], repeat=10))
    assert mean == pytest.approx(1.0)


def test_three_failures_in_a_row_are_enough() -> None:
    """Evidence of more than ten thousand to one at an expected rate of 1 %."""
    assert _evidence((True,) * 3, 0.01) > math.log(10_000)


def test_good_behaviour_long_ago_does_not_excuse() -> None:
    """After 10,000 good calls a version that always fails is found within eight."""
    assert _evidence((False,) * 10_000 + (True,) * 8, 0.01) > math.log(1_000)


def test_it_alarms_no_more_often_than_promised() -> None:
    """500 courses of 2,000 calls at the expected rate, looked at after every call: at most 1 % reach 100 to one."""
    rng, alarms = np.random.default_rng(11), 0
    for _ in range(500):
        failures = HardFailures(0.02)
        for failed in rng.random(2_000) < 0.02:
            failures.observe(bool(failed))
            if failures.log_evidence >= math.log(100):
                alarms += 1
                break
    assert alarms / 500 <= 0.01 + 3 * math.sqrt(0.01 / 500)


@pytest.mark.parametrize("expected", [0.0, 0.5, -1.0, float("nan")])
def test_impossible_expectations_are_refused(expected: float) -> None:
    """A version that is expected to fail every other time cannot be told from a broken one."""
    with pytest.raises(ValueError, match="above 0 and below"):
        HardFailures(expected)
