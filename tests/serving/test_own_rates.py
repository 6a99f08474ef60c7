"""A version's own rates: what is normal is learnt, a rise is seen, and false alarms keep their distance."""

from __future__ import annotations

import numpy as np
import pytest

from serinus.serving.board import BOUNDS_NS, EMPTY, Labels
from serinus.serving.own_rates import KINDS, LEARNS, NOTHING, Counted, OwnRates, Watch, counted

DRAW = np.random.default_rng(7)


def requests(number: int, failing: float = 0.002, slow: float = 0.01) -> Counted:
    """Of 5 ms each; some fail, some take half a second."""
    took = list(NOTHING.took)
    late = int(DRAW.binomial(number, slow))
    took[BOUNDS_NS.index(5_000_000)], took[BOUNDS_NS.index(500_000_000)] = number - late, late
    return Counted(int(DRAW.binomial(number, failing)), tuple(took))


def after(kind: str, run_length: float = 1e6, steps: int = 200, **changed: float) -> Watch:
    """What a watch of the usual version says of steps of 50 requests."""
    watch = Watch(OwnRates().learn(requests(LEARNS)), kind, run_length)
    for _ in range(steps):
        watch.take(requests(50, **changed))
    return watch


@pytest.mark.parametrize(("kind", "changed"), [("error_rate", {"failing": 0.06}), ("latency", {"slow": 0.3})])
def test_a_rise_is_seen_and_its_end_too(kind: str, changed: dict[str, float]) -> None:
    """In words with counts; the other kind stays quiet."""
    watch = after(kind, steps=40, **changed)
    found = watch.condition("wine", "1")
    assert found.active and found.severity == "alarm" and "of the latest 2,000 requests" in found.summary
    assert not after(next(other for other in KINDS if other != kind), **changed).condition("wine", "1").active
    for _ in range(100):
        watch.take(requests(50))
    assert not watch.condition("wine", "1").active


@pytest.mark.parametrize("kind", KINDS)
def test_false_alarms_are_as_far_apart_as_promised(kind: str) -> None:
    """At a run length of 5,000 requests at most a tenth of all watches alarms within 500 (Ville's inequality), at rates
    on the very edge of promise and tolerance."""
    learnt = OwnRates().learn(requests(LEARNS))
    tolerance = {"error_rate": 0.01, "latency": 0.1}[kind]
    edge = learnt.promised(kind) + tolerance
    early = 0
    for _ in range(200):
        watch = Watch(learnt, kind, 5_000.0)
        for _ in range(10):
            watch.take(requests(50, **{"failing" if kind == "error_rate" else "slow": edge}))
            if watch.condition("wine", "1").active:
                early += 1
                break
    assert early <= 20


def test_what_fails_from_the_start_is_not_normal() -> None:
    """Beyond five of a hundred; a version without any slow request is judged by its bound."""
    own = OwnRates().learn(requests(LEARNS, failing=0.5))
    assert own.promised("error_rate") == 0.05
    watch = Watch(own, "error_rate", 1e6)
    for _ in range(10):
        watch.take(requests(50, failing=0.5))
    assert watch.condition("wine", "1").active
    assert OwnRates.from_json(own.to_json()) == own and not OwnRates().is_known


def test_what_is_slow_already_cannot_be_slower() -> None:
    """Beyond the last bound nothing is told apart: no alarm, and no error."""
    never = Counted(0, (*NOTHING.took[:-1], LEARNS))
    watch = Watch(OwnRates(never), "latency", 1e6)
    watch.take(never)
    assert OwnRates(never).slow_ns is None and not watch.condition("wine", "1").active


def test_only_a_stable_version_is_counted() -> None:
    """By status; what was counted less than before is a new server's."""
    labels = Labels("wine", "1", "stable", "/predict", "POST", 200, "")
    one = EMPTY._replace(duration_buckets=(3, *EMPTY.duration_buckets[1:]))
    series = [(labels, one), (labels._replace(status=500), one), (labels._replace(status=422), one),
              (labels._replace(role="candidate"), one), (labels._replace(version="2"), one)]
    found = counted(series, "wine", "1")
    assert (found.failed, found.requests) == (3, 9)
    assert found.less(Counted(1, (4, *NOTHING.took[1:]))) == Counted(2, (5, *NOTHING.took[1:]))
    assert found.less(Counted(4, (99, *NOTHING.took[1:]))) == found
    assert counted([], "wine", "1") == NOTHING
