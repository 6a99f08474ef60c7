"""What a notifier is: it carries one notification to people, or says in a sentence why it could not.

A notifier is a class made from its options (`[alerts.notifiers.NAME]` in the settings) that raises
`NotifierMisconfigured` when they cannot work. Installed packages offer theirs under the entry point group
`serinus.notifiers`; `serinus.monitors.notifiers.testing.check_notifier` tries the rules on it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Literal, Protocol, Self, runtime_checkable

from serinus.monitors.alerts import AlertState, Change, Fact, Severity

__all__ = ["DeliveryFailed", "Notification", "NotificationEvent", "Notifier", "NotifierMisconfigured", "moment"]

NotificationEvent = Literal["firing", "escalated", "repeated", "resolved", "refreshed", "retraining", "promoted",
                            "test"]


class NotifierMisconfigured(Exception):
    """Options that cannot work; the text is one sentence that says what was wanted and what came."""


class DeliveryFailed(Exception):
    """A notification did not arrive, as far as anybody knows; it is tried again.

    Attributes:
        retry_after: seconds after which the receiver would like to be asked again, if it said so.
    """

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True)
class Notification:
    """One message to people. It holds names, counts and sentences, never a value out of a request.

    Times are Unix seconds.
    """

    id: str
    """The same at every attempt, and at no other message: whoever gets it twice can tell."""
    event: NotificationEvent
    alert: str
    """The alert's id, the same from its beginning to its end."""
    model: str
    version: str
    kind: str
    severity: Severity
    summary: str
    features: tuple[str, ...]
    facts: Mapping[str, Fact]
    since: float
    """When the alert began to fire."""
    at: float
    """When that was which is told."""
    ended: float | None = None
    """When the alert was resolved; None while it fires."""
    sent: float = field(default=0.0, compare=False)
    """The time of this attempt."""

    @classmethod
    def of(cls, change: Change) -> Self:
        """What people are told of a change."""
        alert = change.alert
        since = alert.pending_since if alert.firing_since is None else alert.firing_since
        event: Any = change.event
        return cls(change.id, event, alert.id, *alert.subject, alert.severity, alert.summary, alert.features,
                   alert.facts, since, change.at, alert.resolved_since if alert.state is AlertState.RESOLVED else None)

    @classmethod
    def test(cls, now: float) -> Self:
        """A message that says only that messages arrive."""
        return cls(f"test-{now:.3f}", "test", "test", "example", "1", "test", "warn",
                   "This is a test: messages of Serinus arrive here.", (), {}, now, now, now, now)

    @property
    def title(self) -> str:
        """The first line of a message: event, model and kind."""
        told = {"refreshed": "firing", "escalated": "got worse", "repeated": "still firing"}.get(self.event, self.event)
        return f"[{told}] {self.model}:{self.version} {self.kind.replace('_', ' ')} ({self.severity})"

    @property
    def lines(self) -> list[str]:
        """The rest of a message for people: the sentence, what it is about, the facts, the times; each one line."""
        about = [f"Features: {', '.join(self.features[:20])}{' …' if len(self.features) > 20 else ''}."]
        facts = [", ".join(f"{key.replace('_', ' ')} {_shown(value)}" for key, value in self.facts.items()) + "."]
        ended = f", over since {moment(self.ended)}" if self.ended is not None else ""
        lines = [self.summary, *(about if self.features else []), *(facts if self.facts else []),
                 f"Since {moment(self.since)}{ended}. Alert {self.alert}."]
        return ["".join(letter if letter.isprintable() else " " for letter in line) for line in lines]

    def attempt(self, now: float) -> Notification:
        """The same message, sent at this time."""
        return replace(self, sent=now)

    def to_json(self) -> dict[str, Any]:
        """As a JSON object."""
        return asdict(self)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """What `to_json` gave."""
        return cls(**{**document, "features": tuple(document["features"])})


@runtime_checkable
class Notifier(Protocol):
    """Carries notifications to one place. Called in a thread of its own, one call at a time."""

    @property
    def target(self) -> str:
        """Where they go, for a person: an address without anything secret."""

    @property
    def resend_seconds(self) -> float:
        """How often an alert that fires is to be told again (`refreshed`) lest the receiver takes it for over; 0
        never."""

    def send(self, notification: Notification) -> None:
        """Return when it arrived, within the time that the notifier's own options allow.

        Raises `DeliveryFailed`.
        """


def moment(seconds: float) -> str:
    """Unix time as ISO 8601 in UTC, in seconds."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _shown(value: Fact) -> str:
    return f"{value:.4g}" if isinstance(value, float) else f"{value:,}" if type(value) is int else str(value)
