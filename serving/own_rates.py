"""Does a version fail more often, or answer more slowly, than it used to? Judged against its own first requests.

The first 2,000 requests that a host counts of a stable version say what is normal for it there: the share that fails
(status 500 and beyond; never taken for normal beyond 5 %), and the share that takes twice as long as 95 % of them did.
What both shares are at most, by a confidence bound of 99 %, is the promise that `serinus.monitors.harm` watches, with a
tolerance of one and of ten points: the mean number of requests until a false alarm is at least `run_length` while the
shares stay within promise and tolerance. Larger requests are slower ones: they are looked at as they come.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, Self

import numpy as np

from serinus.monitors.alerts import Condition
from serinus.monitors.harm import LEVELS, HarmAlarm, HarmEvidence
from serinus.monitors.sequential.confidence_sequences import probability_bounds
from serinus.serving.board import BOUNDS_NS, Labels, Series
from serinus.serving.router import STABLE

__all__ = ["KINDS", "LEARNS", "Counted", "OwnRates", "Watch", "counted"]

KINDS = ("error_rate", "latency")
LEARNS = 2_000
"""Requests that say what is normal."""
_ALPHA = 0.01
_MOST_FAIL = 0.05
_TOLERANCE = {"error_rate": 0.01, "latency": 0.1}
_USUAL, _SLOWER = 0.95, 2
_BEYOND = 5.0
"""Evidence is cut at the alarm and so much more, in logarithms: what is well again is seen before long."""
_RECENT = 300
_FAILED = 500


class Counted(NamedTuple):
    """Requests of one version: how many failed, and how long they all took, by the buckets of `BOUNDS_NS`."""

    failed: int
    took: tuple[int, ...]

    @property
    def requests(self) -> int:
        """All of them."""
        return sum(self.took)

    def less(self, before: Counted) -> Counted:
        """What came since; all of it where less was counted than before, as by a new server."""
        if before.requests > self.requests or before.failed > self.failed:
            return self
        return Counted(self.failed - before.failed, tuple(a - b for a, b in zip(self.took, before.took, strict=True)))


NOTHING = Counted(0, (0,) * (len(BOUNDS_NS) + 1))


def counted(series: Iterable[tuple[Labels, Series]], model: str, version: str) -> Counted:
    """What the boards counted of a stable version."""
    mine = [(labels.status, one.duration_buckets) for labels, one in series
            if (labels.model, labels.version, labels.role) == (model, version, STABLE)]
    took = tuple(sum(column) for column in zip(*(buckets for _, buckets in mine), strict=True)) or NOTHING.took
    return Counted(sum(sum(buckets) for status, buckets in mine if status >= _FAILED), took)


@dataclass(frozen=True)
class OwnRates:
    """What is normal for a version, as far as it was learnt.

    Attributes:
        learnt: its first requests.
    """

    learnt: Counted = NOTHING

    @property
    def is_known(self) -> bool:
        """Whether there were enough of them."""
        return self.learnt.requests >= LEARNS

    def learn(self, news: Counted) -> Self:
        """With more requests."""
        return replace(self, learnt=Counted(self.learnt.failed + news.failed, tuple(
            a + b for a, b in zip(self.learnt.took, news.took, strict=True))))

    @property
    def slow_ns(self) -> int | None:
        """What takes longer is slow; None where hardly anything could be slower than usual."""
        below = np.cumsum(self.learnt.took)
        usual = int(np.searchsorted(below, _USUAL * below[-1]))
        return next((bound for bound in BOUNDS_NS if usual < len(BOUNDS_NS)
                     and bound >= _SLOWER * BOUNDS_NS[usual]), None)

    def events(self, kind: str, of: Counted) -> int:
        """How many of these requests count for this kind."""
        if kind == "error_rate":
            return min(of.failed, of.requests)
        return 0 if self.slow_ns is None else sum(of.took[BOUNDS_NS.index(self.slow_ns) + 1:])

    def promised(self, kind: str) -> float:
        """What the share is at most while all is as it was."""
        high = probability_bounds(self.events(kind, self.learnt), self.learnt.requests, _ALPHA).high
        return min(high, _MOST_FAIL) if kind == "error_rate" else high

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {"failed": self.learnt.failed, "took": list(self.learnt.took)}

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Self:
        """What `to_json` gave."""
        return cls(Counted(document["failed"], tuple(document["took"])))


@dataclass
class Watch:
    """The evidence that one share of a version is higher than its own."""

    own: OwnRates
    kind: str
    run_length: float
    recent: list[tuple[int, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        promised, tolerance = self.own.promised(self.kind), _TOLERANCE[self.kind]
        self.alarm = HarmAlarm(promised, tolerance, self.run_length) if promised + tolerance < 1 else None
        self.evidence = None if self.alarm is None else self.alarm.start()

    def take(self, news: Counted) -> None:
        """Look at what came."""
        events, requests = self.own.events(self.kind, news), news.requests
        if self.alarm is None or self.evidence is None or not requests:
            return
        losses = np.zeros(LEVELS, np.int64)
        losses[0], losses[-1] = requests - events, events
        found = self.alarm.step(self.evidence, losses)
        most = math.log(self.run_length) + _BEYOND
        self.evidence = HarmEvidence(np.minimum(found.logs, most), found.rows, found.age)
        self.recent = [*self.recent, (events, requests)][-_RECENT:]

    def condition(self, model: str, version: str) -> Condition:
        """What alerts hear."""
        active = self.alarm is not None and self.evidence is not None and self.alarm.alarms(self.evidence)
        events, requests = (sum(column) for column in zip(*self.recent or [(0, 0)], strict=True))
        own = self.own.promised(self.kind)
        did = "failed" if self.kind == "error_rate" else f"took more than {(self.own.slow_ns or 0) / 1e6:g} ms"
        text = f"{events:,} of the latest {requests:,} requests {did}; of its first ones it was {own:.2%} at most."
        return Condition(model, version, self.kind, "alarm" if active else "warn", active, text,
                         {"requests": requests, "events": events, "own": round(own, 4)})
