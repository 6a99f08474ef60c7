"""What an answer costs: quantiles of a clock that is told, and limits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from numpy.typing import NDArray

from serinus.monitors.evaluation.check import Status
from serinus.monitors.evaluation.latency import Cost, check_latency, measure
from serinus.monitors.evaluation.policy import Latency, Policy
from tests.monitors.evaluation.trials import Scorer, inputs_of

COST = Cost(12.0, 3.0, 1.5, 1.0, {"processor": "paper"})


class Clock:
    """Seconds that only calls take."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Slow(Scorer):
    """Takes so many milliseconds a call, one in fifty ten times as long."""

    def __init__(self, clock: Clock, milliseconds: float) -> None:
        super().__init__()
        self.clock, self.milliseconds, self.calls = clock, milliseconds, 0

    def predict(self, inputs: Mapping[str, NDArray[Any]], outputs: Sequence[str] | None = None) -> dict[str, Any]:
        self.calls += 1
        self.clock.now += self.milliseconds / 1e3 * (10 if self.calls % 50 == 0 else 1)
        return super().predict(inputs, outputs)


def checked(latency: Latency, ours: float = 2.0, theirs: float = 1.0) -> Any:
    clock = Clock()
    return check_latency(inputs_of(50), Policy(latency=latency), Slow(clock, ours), Slow(clock, theirs), COST, clock)


def test_quantiles_and_ratio_are_those_of_the_clock() -> None:
    """A median of 2 ms, a tail of 20, twice the other's."""
    clock = Clock()
    found = measure(inputs_of(50), 1, Slow(clock, 2.0), Slow(clock, 1.0), clock)
    assert (found.p50, found.current_p50) == (pytest.approx(2.0), pytest.approx(1.0))
    assert found.p99 == pytest.approx(20.0, rel=0.01)
    assert found.ratio == pytest.approx(2.0) and found.interval == pytest.approx((2.0, 2.0))


@pytest.mark.parametrize(("latency", "status", "sentence"), [
    (Latency(max_ratio=3.0), Status.PASS, "1 row 2 ms, 2 times"),
    (Latency(max_ratio=1.5), Status.FAIL, "times as long"),
    (Latency(max_ratio=3.0, p99_ms=10.0), Status.FAIL, "1 rows take 20 ms in 1 of 100 calls, and 10 are allowed."),
    (Latency(max_ratio=3.0, max_mb=1.0), Status.FAIL, "The artifact has 1.5 MB, and 1 are allowed."),
])
def test_limits(latency: Latency, status: Status, sentence: str) -> None:
    """Of time, ratio and size."""
    check = checked(latency)
    assert check.status is status and sentence in check.reason


def test_a_first_version_has_no_ratio() -> None:
    """There is nothing to hold it against."""
    clock = Clock()
    found = measure(inputs_of(50), 32, Slow(clock, 1.0), None, clock)
    assert (found.rows, found.ratio, found.current_p50) == (32, None, None)
