"""The values that go into a store and come out of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

STEWARD_LEASE = "steward"
"""Name of the lease whose epoch `Store.swap` checks: its holder advances rollouts."""


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """One event in a model's rollouts, never changed once written.

    `time` is in Unix seconds. `generation` is the record's after the event. `body` holds JSON values. `seq` is given
    by the store, rises with time and is None before that.
    """

    model: str
    kind: str
    time: float
    generation: int
    actor: str
    reason: str = ""
    body: Mapping[str, Any] = field(default_factory=dict)
    seq: int | None = None


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to lead until `expires`, in seconds of the store's clock.

    `holder` must be unique to one process life. `epoch` rises by one whenever the lease passes to another holder.
    """

    name: str
    holder: str
    epoch: int
    expires: float


@dataclass(frozen=True, slots=True)
class Tick:
    """What one worker counted in one interval.

    `incarnation` names one life of one worker, `sequence` counts its ticks, `interval` is the Unix time in whole
    seconds at which the interval began, `body` holds JSON values. (incarnation, sequence) names a tick.
    """

    incarnation: str
    sequence: int
    interval: int
    body: Mapping[str, Any]


class CounterRow(NamedTuple):
    """What one worker's cumulative count counts, within one step of a rollout.

    `arm` is a role. `bucket` is the stretch of time in which the request was assigned.
    """

    bucket: int
    check: str
    slice: str
    arm: str
    incarnation: str


class CounterKey(NamedTuple):
    """What a total over all workers counts."""

    step_id: str
    bucket: int
    check: str
    slice: str
    arm: str


class GroundTruth(NamedTuple):
    """What somebody says really became of one prediction: a truth, or an event that followed it.

    `source` says who sent it. `kind` is final, provisional, revision, retract, or event, whose `name` says of what
    (click, revenue). `value` is JSON. Times are Unix seconds: when it happened (0: the sender did not say), and when we
    got it first. `copies` counts how often it came. A named tuple, not a dataclass: they come by the hundred thousand.
    """

    prediction_id: str
    source: str
    kind: str
    value: Any
    event_time: float
    received_time: float
    name: str = ""
    weight: float = 1.0
    copies: int = 1


@dataclass(frozen=True, slots=True)
class Document:
    """A piece of state that no other table has a place for, such as a monitor's evidence or an alert.

    (kind, key) names it. `revision` is 1 or more and rises with each change, `updated` is in Unix seconds, `body` is
    opaque to the store and carries a format of its own.
    """

    kind: str
    key: str
    revision: int
    body: bytes
    updated: float
