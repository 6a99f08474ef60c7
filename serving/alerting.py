"""Alerts in a server: what the monitors' side of them (`serinus.monitors.alerts`, `….notifiers`) knows by value, as
settings and documents of the store.

| document | key | is |
|---|---|---|
| `condition` | `MODEL/VERSION/KIND/WATCHER` | what one watcher sees now; written by whoever watches (`report`) |
| `alert` | `book` | all alerts and silences |
| `notification` | `NOTIFIER/ID` | one message that did not arrive yet |
| `delivery` | `NOTIFIER` | how many messages arrived, how many attempts failed, how many messages were given up |
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Self

import orjson

from serinus.monitors.alerts import AlertBook, AlertPolicy, Change, Condition
from serinus.monitors.notifiers import Log, Notification, Notifier, NotifierMisconfigured, make_notifier
from serinus.serving.errors import SettingsError
from serinus.serving.rollout.conditions import AT_ONCE
from serinus.serving.settings import AlertSettings, Settings
from serinus.serving.store import Conflict, Document, JournalEntry, Store

__all__ = ["LOG", "Waiting", "change_book", "check_alerting", "conditions", "count_message", "enqueue", "journal",
           "make_configured", "message_counts", "policy", "read_book", "report", "waiting"]

LOG = "log"
"""The notifier that is always there."""
FORMAT = 1
_ATTEMPTS = 20
_BOOK = ("alert", "book")
_FRESH_S = 3600.0
_COUNTS = ("delivered", "failures", "given_up")


def policy(settings: AlertSettings) -> AlertPolicy:
    """The part of the settings that decides about alerts."""
    return AlertPolicy(settings.severity, settings.for_seconds, settings.keep_firing_seconds, settings.repeat_seconds,
                       at_once=AT_ONCE)


def make_configured(name: str, settings: AlertSettings) -> Notifier:
    """The notifier of this name. Raises `SettingsError` in a sentence that names it."""
    if name == LOG:
        return Log()
    if name not in settings.notifiers:
        known = ", ".join(sorted({LOG, *settings.notifiers}))
        raise SettingsError(f"Notifier {name!r}: expected one of {known}; alerts.notifiers has no such name.")
    options = dict(settings.notifiers[name])
    kind = options.pop("kind", None)
    if not isinstance(kind, str):
        raise SettingsError(f"Setting 'alerts.notifiers.{name}': expected a kind, such as \"slack\", got {kind!r}.")
    try:
        return make_notifier(kind, options)
    except NotifierMisconfigured as error:
        raise SettingsError(f"Setting 'alerts.notifiers.{name}': {error}") from None


def check_alerting(settings: Settings) -> None:
    """Return when alerts and retraining can work as they are set. Raises `SettingsError`."""
    if LOG in settings.alerts.notifiers:
        raise SettingsError(f"Setting 'alerts.notifiers.{LOG}': expected another name; the log is always told.")
    for name in settings.alerts.notifiers:
        if not name.replace("-", "").replace("_", "").isalnum():
            raise SettingsError(f"Setting 'alerts.notifiers': expected names of letters, digits, '-' and '_', got "
                                f"{name!r}.")
        make_configured(name, settings.alerts)
    chosen = settings.retraining
    if chosen.notifier is not None:
        make_configured(chosen.notifier, settings.alerts)
    if chosen.enabled and not chosen.command and chosen.notifier is None:
        raise SettingsError("Setting 'retraining.enabled': expected a retraining.command or a retraining.notifier "
                            "beside it, got neither.")


def report(store: Store, condition: Condition, now: float, *, watcher: str = "", epoch: int | None = None) -> None:
    """Let the alerts know what a watcher sees, as often as it looks. `watcher` tells several of one kind apart, each
    of which sees another part. Raises `StoreError`."""
    key = "/".join((*condition.subject, watcher))
    found = store.document("condition", key)
    revision = found.revision if found else 0
    body = orjson.dumps({"format": FORMAT, "condition": condition.to_json()})
    store.put_document(Document("condition", key, revision + 1, body, now), expected_revision=revision, epoch=epoch)


def conditions(store: Store, now: float) -> list[Condition]:
    """What watchers said within the last hour."""
    found = []
    for document in store.documents("condition"):
        stored = orjson.loads(document.body)
        if now - document.updated < _FRESH_S and stored["format"] == FORMAT:
            found.append(Condition.from_json(stored["condition"]))
    return found


def read_book(store: Store) -> tuple[AlertBook, int]:
    """The alerts and their revision; an empty book at 0 where there was none yet."""
    found = store.document(*_BOOK)
    return (AlertBook.from_json(orjson.loads(found.body)), found.revision) if found else (AlertBook(), 0)


def change_book(store: Store, change: Callable[[AlertBook], AlertBook], *, epoch: int | None = None) -> AlertBook:
    """Keep what `change` makes of the book, whoever else changes it meanwhile. Raises `StoreError`, and what `change`
    raises."""
    for attempt in range(_ATTEMPTS):
        book, revision = read_book(store)
        if (new := change(book)) == book:
            return book
        document = Document(*_BOOK, revision + 1, orjson.dumps(new.to_json()), time.time())
        try:
            store.put_document(document, expected_revision=revision, epoch=epoch)
            return new
        except Conflict:
            if attempt == _ATTEMPTS - 1:
                raise
    raise AssertionError("unreachable")


def journal(store: Store, changes: Iterable[Change], actor: str) -> None:
    """Take down what happened to alerts, as entries `alert.EVENT` of their models."""
    for change in changes:
        alert = change.alert
        about = f"Alert {alert.id} ({alert.kind} of version {alert.version}): {change.event}."
        body = {"text": about, "alert": alert.id, "version": alert.version, "alert_kind": alert.kind,
                "severity": alert.severity, "summary": alert.summary, "told": change.tell}
        record = store.record(alert.model)
        by = change.reason if change.event == "acknowledged" else actor
        reason = "" if change.event == "acknowledged" else change.reason
        store.append(JournalEntry(alert.model, f"alert.{change.event}", change.at, record.generation if record else 0,
                                  by, reason, body))


@dataclass(frozen=True, slots=True)
class Waiting:
    """A message on its way to one notifier, with what was tried. Times are Unix seconds."""

    notifier: str
    notification: Notification
    deadline: float
    due: float
    attempts: int = 0
    epoch: int = 0
    """Of the lease under which it is being sent now; 0 while it is not."""
    error: str = ""

    @property
    def key(self) -> str:
        """Names its document."""
        return f"{self.notifier}/{self.notification.id}"

    def document(self, revision: int, now: float) -> Document:
        """As a document of the store."""
        body = {"format": FORMAT, **asdict(self), "notification": self.notification.to_json()}
        return Document("notification", self.key, revision, orjson.dumps(body), now)

    @classmethod
    def of(cls, document: Document) -> Self:
        """What `document` gave."""
        stored = orjson.loads(document.body)
        stored.pop("format")
        return cls(**{**stored, "notification": Notification.from_json(stored["notification"])})


def waiting(store: Store) -> list[tuple[Waiting, int]]:
    """All messages that did not arrive yet, with their documents' revisions, by notifier and age."""
    found = [(Waiting.of(document), document.revision) for document in store.documents("notification")]
    return sorted(found, key=lambda one: (one[0].notifier, one[0].notification.at, len(one[0].key), one[0].key))


def enqueue(store: Store, notification: Notification, notifiers: Iterable[str], now: float, deadline_s: float) -> None:
    """Put a message on its way to each notifier, unless it is."""
    for name in notifiers:
        message = Waiting(name, notification, now + deadline_s, now)
        if store.document("notification", message.key) is None:
            store.put_document(message.document(1, now), expected_revision=0)


def count_message(store: Store, notifier: str, what: str, *, epoch: int | None = None) -> None:
    """One more of `delivered`, `failures` or `given_up`."""
    found = store.document("delivery", notifier)
    revision, counts = (found.revision, orjson.loads(found.body)) if found else (0, dict.fromkeys(_COUNTS, 0))
    body = orjson.dumps({**counts, what: counts[what] + 1})
    store.put_document(Document("delivery", notifier, revision + 1, body, time.time()), expected_revision=revision,
                       epoch=epoch)


def message_counts(store: Store) -> dict[str, dict[str, int]]:
    """Of each notifier, how many messages arrived, were tried in vain, were given up, and wait."""
    found = {document.key: {**orjson.loads(document.body), "waiting": 0} for document in store.documents("delivery")}
    for message, _ in waiting(store):
        found.setdefault(message.notifier, {**dict.fromkeys(_COUNTS, 0), "waiting": 0})["waiting"] += 1
    return found
