"""Alerts: what is wrong and lasts, told once, until it is over.

```
            active                 for `for_seconds`                quiet for `keep_firing_seconds`
inactive ───────────▶ pending ─────────────────────▶ firing ────────────────────────────────────────▶ resolved
    ▲                    │ quiet                       ▲   │ active again before that
    └────────────────────┘                             └───┘
```

A watcher says what it sees as `Condition`s; `AlertBook.evaluate` takes them with the time and gives the next book. All
values are frozen, time comes in, and nothing goes out: what happened stands in the book's `outbox` until somebody has
passed it on, so that a book that was stored and read again goes on as if nothing had been.

No word is no good news: an alert of which nothing is heard stays as it is, until `forget_seconds` have passed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from itertools import chain
from typing import Any, Literal, Self

__all__ = ["SEVERITIES", "Alert", "AlertBook", "AlertPolicy", "AlertState", "Change", "Condition", "Event", "Fact",
           "Severity", "Silence", "UnknownAlert"]

FORMAT = 1
Severity = Literal["warn", "alarm", "act"]
SEVERITIES: tuple[Severity, ...] = ("warn", "alarm", "act")
"""From a remark to what asks for an action."""
Event = Literal["pending", "withdrawn", "firing", "escalated", "repeated", "resolved", "acknowledged"]
Fact = str | int | float | bool
_LONGEST = 300
_HEARD_TO_S = 60.0


class UnknownAlert(LookupError):
    """No open alert, or no silence, has this id; the text is one sentence."""


class AlertState(StrEnum):
    """Where an alert stands. Inactive is no state: there is no alert then."""

    PENDING = "pending"
    """Something is wrong, but not for long enough to tell anybody."""
    FIRING = "firing"
    """It lasts, and was told unless it is silenced."""
    RESOLVED = "resolved"
    """It was quiet for long enough, or nothing was heard of it for very long."""


@dataclass(frozen=True, slots=True)
class Condition:
    """What one watcher sees in one model version now. It says nothing of single rows: no value of a request is in it.

    An inactive condition says that all is well with this kind; none at all says nothing.
    """

    model: str
    version: str
    kind: str
    """drift, missing, unit_slip, error_rate … a low-cardinality word."""
    severity: Severity
    active: bool
    summary: str
    """One sentence for a person."""
    facts: Mapping[str, Fact] = field(default_factory=dict)
    features: tuple[str, ...] = ()
    """What it is about; conditions of a kind that share a feature are one alert."""

    @property
    def subject(self) -> tuple[str, str, str]:
        """Model, version and kind."""
        return self.model, self.version, self.kind

    def to_json(self) -> dict[str, Any]:
        """As a JSON object."""
        return asdict(self)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """What `to_json` gave."""
        return cls(**{**document, "features": tuple(document["features"])})


@dataclass(frozen=True, slots=True)
class AlertPolicy:
    """How long is long enough, in seconds."""

    severity: Severity = "alarm"
    """The least severity of a condition that counts as active."""
    for_seconds: float = 60.0
    keep_firing_seconds: float = 900.0
    repeat_seconds: float = 4 * 3600.0
    forget_seconds: float = 24 * 3600.0
    """After so long without a word an open alert ends; resolved ones are shown for as long."""
    at_once: frozenset[str] = frozenset()
    """Kinds that fire when they are first seen: what has happened need not last."""


@dataclass(frozen=True, slots=True)
class Alert:
    """One thing that is, or was, wrong with one model version. Times are Unix seconds."""

    id: str
    model: str
    version: str
    kind: str
    severity: Severity
    """The last that was seen."""
    state: AlertState
    summary: str
    facts: Mapping[str, Fact]
    features: tuple[str, ...]
    """All that were part of it since it began."""
    pending_since: float
    heard: float
    """When a watcher last said anything about it, to the minute: a book need not be kept anew for every word."""
    firing_since: float | None = None
    quiet_since: float | None = None
    resolved_since: float | None = None
    told_at: float | None = None
    """When people were last told that it fires; None while nobody was."""
    told_severity: Severity | None = None
    acknowledged_by: str = ""
    changes: int = 0
    """How many there were; with the id it names each one."""

    @property
    def subject(self) -> tuple[str, str, str]:
        """Model, version and kind."""
        return self.model, self.version, self.kind

    @property
    def is_open(self) -> bool:
        """Pending or firing."""
        return self.state is not AlertState.RESOLVED

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """What `dataclasses.asdict` gave, after a way through JSON."""
        return cls(**{**document, "state": AlertState(document["state"]), "features": tuple(document["features"])})


@dataclass(frozen=True, slots=True)
class Change:
    """One event in the life of an alert, with the alert as it was then."""

    event: Event
    alert: Alert
    at: float
    tell: bool
    """Whether people are to be told; the journal takes every change."""
    reason: str = ""

    @property
    def id(self) -> str:
        """Names this change for good, so that who gets it twice can tell."""
        return f"{self.alert.id}-{self.alert.changes}"

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """What `dataclasses.asdict` gave, after a way through JSON."""
        return cls(**{**document, "alert": Alert.from_json(document["alert"])})


@dataclass(frozen=True, slots=True)
class Silence:
    """Nobody is told of matching alerts until then. None matches everything.

    A maintenance is a silence during which nothing is started either (`serinus.monitors.retraining`).
    """

    id: str
    since: float
    until: float
    by: str
    reason: str = ""
    model: str | None = None
    version: str | None = None
    kind: str | None = None
    maintenance: bool = False

    def covers(self, alert: Alert, now: float) -> bool:
        """Whether it keeps this alert quiet now."""
        wanted = zip((self.model, self.version, self.kind), alert.subject, strict=True)
        return self.since <= now < self.until and all(mine is None or mine == its for mine, its in wanted)


@dataclass(frozen=True, slots=True)
class AlertBook:
    """All alerts and silences, and the changes that nobody has passed on yet."""

    alerts: tuple[Alert, ...] = ()
    silences: tuple[Silence, ...] = ()
    outbox: tuple[Change, ...] = ()

    def evaluate(self, conditions: Iterable[Condition], now: float, policy: AlertPolicy) -> AlertBook:
        """The next book, after what watchers say at `now`. The order of conditions does not matter."""
        given = sorted(conditions, key=lambda one: (one.subject, one.features, one.summary))
        heard = {one.subject for one in given}
        active = [one for one in given if one.active and _rank(one.severity) >= _rank(policy.severity)]
        silences = tuple(silence for silence in self.silences if now < silence.until)
        alerts: list[Alert] = []
        changes: list[Change] = []
        for known, seen in _matched([alert for alert in self.alerts if alert.is_open], active):
            for alert, change in _steps(known, seen, heard, now, policy, silences):
                alerts += [alert] if alert is not None else []
                changes += change
        over = [alert for alert in self.alerts if not alert.is_open and now - _ended(alert) < policy.forget_seconds]
        return AlertBook((*sorted(alerts, key=lambda one: (one.pending_since, one.id)), *over), silences,
                         (*self.outbox, *changes))

    def without(self, changes: Iterable[Change]) -> AlertBook:
        """The book after these changes were passed on."""
        passed = {change.id for change in changes}
        return replace(self, outbox=tuple(change for change in self.outbox if change.id not in passed))

    def acknowledge(self, alert_id: str, by: str, now: float) -> AlertBook:
        """Somebody looks after it: it is not repeated, unless it gets worse. Raises `UnknownAlert`."""
        alert = self.find(alert_id)
        seen = replace(alert, acknowledged_by=by, changes=alert.changes + 1)
        alerts = tuple(seen if one.id == alert.id else one for one in self.alerts)
        return replace(self, alerts=alerts, outbox=(*self.outbox, Change("acknowledged", seen, now, False, by)))

    def find(self, alert_id: str) -> Alert:
        """The open alert whose id begins so. Raises `UnknownAlert` unless there is exactly one."""
        found = [alert for alert in self.alerts if alert.is_open and alert_id and alert.id.startswith(alert_id)]
        if len(found) != 1:
            known = ", ".join(alert.id for alert in self.alerts if alert.is_open) or "none"
            raise UnknownAlert(f"Alert {alert_id!r}: expected the id of one open alert, got {len(found)} matches; "
                               f"open: {known}.")
        return found[0]

    def silenced(self, silence: Silence) -> AlertBook:
        """The book with one more silence."""
        return replace(self, silences=(*self.silences, silence))

    def unsilenced(self, silence_id: str) -> AlertBook:
        """The book without that silence. Raises `UnknownAlert`."""
        kept = tuple(silence for silence in self.silences if silence.id != silence_id)
        if len(kept) == len(self.silences):
            known = ", ".join(silence.id for silence in self.silences) or "none"
            raise UnknownAlert(f"Silence {silence_id!r}: expected the id of a silence; there are: {known}.")
        return replace(self, silences=kept)

    def is_silenced(self, alert: Alert, now: float) -> bool:
        """Whether a silence covers it now."""
        return _is_silenced(alert, now, self.silences)

    def maintenance(self, model: str, now: float) -> Silence | None:
        """The maintenance that this model is in, if it is."""
        under_way = (one for one in self.silences if one.maintenance and one.since <= now < one.until)
        return next((one for one in under_way if one.model in (None, model)), None)

    def count(self) -> dict[str, int]:
        """How many alerts are in each state."""
        return {state.value: sum(alert.state is state for alert in self.alerts) for state in AlertState}

    def to_json(self) -> dict[str, Any]:
        """As a JSON object."""
        return {"format": FORMAT, **asdict(self)}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """What `to_json` gave. Raises ValueError for a format of another release."""
        if document.get("format") != FORMAT:
            raise ValueError(f"Alert book: expected format {FORMAT}, got {document.get('format')!r}; run the release "
                             "that wrote it.")
        return cls(tuple(map(Alert.from_json, document["alerts"])),
                   tuple(Silence(**silence) for silence in document["silences"]),
                   tuple(map(Change.from_json, document["outbox"])))


_Step = tuple[Alert | None, list[Change]]
_Group = list[Alert | Condition]


def _matched(alerts: Sequence[Alert], conditions: Sequence[Condition]) -> Iterator[
        tuple[list[Alert], list[Condition]]]:
    """Alerts and conditions that are about the same thing, together."""
    groups: list[_Group] = []
    every: _Group = [*alerts, *conditions]
    for one in every:
        touching: list[_Group] = []
        apart: list[_Group] = []
        for group in groups:
            (touching if any(_overlap(one, other) for other in group) else apart).append(group)
        groups = [*apart, [*chain(*touching), one]]
    for group in groups:
        yield [one for one in group if isinstance(one, Alert)], [one for one in group if isinstance(one, Condition)]


def _overlap(one: Alert | Condition, other: Alert | Condition) -> bool:
    if one.subject != other.subject:
        return False
    return one.features == other.features or not set(one.features).isdisjoint(other.features)


def _steps(known: list[Alert], seen: list[Condition], heard: set[tuple[str, str, str]], now: float,
           policy: AlertPolicy, silences: Sequence[Silence]) -> Iterator[_Step]:
    """What becomes of one group: the oldest alert that fires goes on, the others are joined to it."""
    oldest = sorted(known, key=lambda one: (one.state is not AlertState.FIRING, one.pending_since, one.id))
    lead = oldest[0] if oldest else None
    for other in oldest[1:]:
        yield _end(other, now, f"It is part of alert {oldest[0].id} now.")
    if seen:
        features = {name for group in (known, seen) for one in group for name in one.features}
        worst = max(seen, key=lambda one: (_rank(one.severity), one.summary))
        yield _active(lead or _opened(worst, now), worst, tuple(sorted(features)), now, policy, silences, not lead)
    elif lead is not None:
        yield _quiet(lead, lead.subject in heard, now, policy, silences)


def _opened(condition: Condition, now: float) -> Alert:
    text = json.dumps([*condition.subject, *condition.features, repr(now)])
    return Alert(hashlib.sha256(text.encode()).hexdigest()[:12], *condition.subject, condition.severity,
                 AlertState.PENDING, "", {}, condition.features, now, now)


def _active(alert: Alert, condition: Condition, features: tuple[str, ...], now: float, policy: AlertPolicy,
            silences: Sequence[Silence], is_new: bool) -> _Step:
    alert = replace(alert, severity=condition.severity, summary=str(_short(condition.summary)),
                    facts={key: _short(value) for key, value in condition.facts.items()}, features=features,
                    heard=_heard(alert, now), quiet_since=None)
    changes: list[Change] = []
    if is_new:
        alert = _note("pending", alert, changes, now)
    lasts = alert.kind in policy.at_once or now - alert.pending_since >= policy.for_seconds
    if alert.state is AlertState.PENDING and lasts:
        alert = replace(alert, state=AlertState.FIRING, firing_since=now)
        if _is_silenced(alert, now, silences):
            alert = _note("firing", alert, changes, now, reason="silenced")
    return _told(alert, changes, now, policy, silences), changes


def _quiet(alert: Alert, heard: bool, now: float, policy: AlertPolicy, silences: Sequence[Silence]) -> _Step:
    if not heard:
        forgotten = now - alert.heard >= policy.forget_seconds
        changes: list[Change] = []
        return _end(alert, now, "Nothing was heard of it any more.") if forgotten else (
            _told(alert, changes, now, policy, silences), changes)
    since = now if alert.quiet_since is None else alert.quiet_since
    alert = replace(alert, heard=_heard(alert, now), quiet_since=since)
    if alert.state is AlertState.PENDING or now - since >= policy.keep_firing_seconds:
        return _end(alert, now, "")
    return alert, []


def _heard(alert: Alert, now: float) -> float:
    return now if abs(now - alert.heard) >= _HEARD_TO_S else alert.heard


def _end(alert: Alert, now: float, reason: str) -> _Step:
    """A pending alert is withdrawn and leaves no trace but in the journal; one that fired is resolved."""
    alert = replace(alert, changes=alert.changes + 1)
    if alert.state is AlertState.PENDING:
        return None, [Change("withdrawn", alert, now, False, reason)]
    over = replace(alert, state=AlertState.RESOLVED, resolved_since=now)
    return over, [Change("resolved", over, now, alert.told_at is not None, reason)]


def _told(alert: Alert, changes: list[Change], now: float, policy: AlertPolicy,
          silences: Sequence[Silence]) -> Alert:
    """Tell people that it fires, that it got worse, or after a while that it still fires."""
    event = _news(alert, now, policy)
    if event is None or _is_silenced(alert, now, silences):
        return alert
    seen_by = "" if event == "escalated" else alert.acknowledged_by
    told = replace(alert, told_at=now, told_severity=alert.severity, acknowledged_by=seen_by)
    return _note(event, told, changes, now, tell=True)


def _news(alert: Alert, now: float, policy: AlertPolicy) -> Event | None:
    if alert.state is not AlertState.FIRING:
        return None
    if alert.told_at is None or alert.told_severity is None:
        return "firing"
    if _rank(alert.severity) > _rank(alert.told_severity):
        return "escalated"
    return "repeated" if not alert.acknowledged_by and now - alert.told_at >= policy.repeat_seconds else None


def _note(event: Event, alert: Alert, changes: list[Change], now: float, *, tell: bool = False,
          reason: str = "") -> Alert:
    alert = replace(alert, changes=alert.changes + 1)
    changes.append(Change(event, alert, now, tell, reason))
    return alert


def _is_silenced(alert: Alert, now: float, silences: Sequence[Silence]) -> bool:
    return any(silence.covers(alert, now) for silence in silences)


def _ended(alert: Alert) -> float:
    return alert.heard if alert.resolved_since is None else alert.resolved_since


def _rank(severity: Severity) -> int:
    return SEVERITIES.index(severity)


def _short(value: Fact) -> Fact:
    return value if not isinstance(value, str) or len(value) <= _LONGEST else value[:_LONGEST - 1] + "…"
