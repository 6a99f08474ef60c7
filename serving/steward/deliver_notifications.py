"""Job: send what people should be told, each notifier by itself, until it arrived or its time is over.

A message is a document of the store until it arrived. Before each attempt the steward that holds the lease claims it
by a compare-and-swap under its epoch; the attempt runs in the notifier's own thread, so that neither a slow receiver
nor a dead one holds up another, or the steward. A claim whose steward died is free under the next epoch: messages
arrive at least once, and those that arrive twice carry the same id.
"""

from __future__ import annotations

import logging
import queue
import random
import threading
import time
from collections.abc import Callable
from dataclasses import replace

from serinus.monitors.alerts import Alert, AlertState
from serinus.monitors.notifiers import DeliveryFailed, Notification, Notifier
from serinus.serving.alerting import LOG, Waiting, count_message, make_configured, read_book, waiting
from serinus.serving.errors import SettingsError
from serinus.serving.steward.job import Shared
from serinus.serving.store import Conflict, JournalEntry, Store

__all__ = ["DeliverNotifications", "pause_s"]

_log = logging.getLogger("serinus.alerts")
_QUEUE = 32
_CLAIM_S = 120.0
_FIRST_PAUSE_S = 2.0
_LONGEST_PAUSE_S = 600.0


class DeliverNotifications:
    """By the steward that holds the lease. A notifier that cannot be made is told once in the log, and its messages
    wait: a start with better options sends them."""

    name = "deliver_notifications"
    period_s = 0.5

    def __init__(self, clock: Callable[[], float] = time.time, chance: Callable[[], float] = random.random) -> None:
        self._clock = clock
        self._chance = chance
        self._senders: dict[str, _Sender] | None = None
        self._done: queue.SimpleQueue[_Outcome] = queue.SimpleQueue()

    def run(self, shared: Shared) -> None:
        """See `Job.run`."""
        if self._senders is None:
            self._senders = dict(self._made(shared))
        if shared.lease is None:
            return
        now, epoch = self._clock(), shared.lease.epoch
        while not self._done.empty():
            self._settle(shared, self._done.get(), now, epoch)
        messages = waiting(shared.store)
        self._send_due(shared, messages, now, epoch)
        self._refresh(shared.store, {message.key.rpartition("-")[0] for message, _ in messages}, now)

    def _made(self, shared: Shared) -> list[tuple[str, _Sender]]:
        made = []
        for name in (LOG, *shared.settings.alerts.notifiers):
            try:
                made.append((name, _Sender(name, make_configured(name, shared.settings.alerts), self._done)))
            except SettingsError as error:
                _log.error("%s Its messages wait.", error)
        return made

    def _send_due(self, shared: Shared, messages: list[tuple[Waiting, int]], now: float, epoch: int) -> None:
        """The first message about each alert, in the order in which things happened; the next when it arrived."""
        assert self._senders is not None
        begun: set[tuple[str, str]] = set()
        for message, revision in messages:
            about = message.notifier, message.notification.alert
            if about in begun or (now < message.due and message.epoch in (0, epoch)):
                begun.add(about)
                continue
            begun.add(about)
            if now >= message.deadline:
                self._give_up(shared, message, revision, epoch)
            elif (sender := self._senders.get(message.notifier)) is not None and sender.has_room(message.key):
                claimed = replace(message, due=now + _CLAIM_S, attempts=message.attempts + 1, epoch=epoch)
                _put(shared.store, claimed, revision, now, epoch)
                sender.take(claimed, revision + 1)

    def _settle(self, shared: Shared, outcome: _Outcome, now: float, epoch: int) -> None:
        message, revision, error = outcome
        assert self._senders is not None
        self._senders[message.notifier].forget(message.key)
        count_message(shared.store, message.notifier, "delivered" if error is None else "failures", epoch=epoch)
        if error is not None:
            _log.warning("Notifier %s, attempt %d: %s", message.notifier, message.attempts, error)
        if revision == 0:  # a refreshed one has no document: the next comes by itself
            return
        try:
            if error is None:
                shared.store.delete_document("notification", message.key, expected_revision=revision)
            else:
                pause = max(pause_s(message.attempts, self._chance()), getattr(error, "retry_after", None) or 0.0)
                later = replace(message, due=now + pause, epoch=0, error=str(error))
                _put(shared.store, later, revision, now, epoch)
        except Conflict:  # another steward took it over
            _log.info("Notifier %s: message %s is sent by another steward too.", message.notifier, message.key)

    def _give_up(self, shared: Shared, message: Waiting, revision: int, epoch: int) -> None:
        shared.store.delete_document("notification", message.key, expected_revision=revision)
        count_message(shared.store, message.notifier, "given_up", epoch=epoch)
        why = message.error or "It was never tried."
        _log.error("Notifier %s: message %s is given up after %d attempts. %s", message.notifier,
                   message.notification.id, message.attempts, why)
        text = f"A message about alert {message.notification.alert} to {message.notifier} was given up."
        shared.store.append(JournalEntry(message.notification.model, "alert.undelivered", self._clock(), 0,
                                         shared.holder, why, {"text": text, "notifier": message.notifier}))

    def _refresh(self, store: Store, busy: set[str], now: float) -> None:
        """Tell those who forget that what fires still does."""
        assert self._senders is not None
        for sender in self._senders.values():
            if sender.is_due(now):
                sender.refreshed = now
                book, _ = read_book(store)
                for alert in book.alerts:
                    told = alert.state is AlertState.FIRING and alert.told_at is not None
                    if told and not book.is_silenced(alert, now) and f"{sender.name}/{alert.id}" not in busy:
                        sender.take(_refreshed(sender.name, alert, now), 0)


def pause_s(attempts: int, chance: float) -> float:
    """How long to wait after so many attempts: twice as long each time, up to ten minutes, and by chance between half
    and the whole of it, so that many do not come back together."""
    return float(min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2.0 ** min(attempts - 1, 20))) * (0.5 + chance / 2)


def _put(store: Store, message: Waiting, revision: int, now: float, epoch: int) -> None:
    store.put_document(message.document(revision + 1, now), expected_revision=revision, epoch=epoch)


def _refreshed(notifier: str, alert: Alert, now: float) -> Waiting:
    since = alert.pending_since if alert.firing_since is None else alert.firing_since
    message = Notification(f"{alert.id}-{alert.changes}-{now:.0f}", "refreshed", alert.id, *alert.subject,
                           alert.severity, alert.summary, alert.features, alert.facts, since, now)
    return Waiting(notifier, message, now, now, 1)


_Outcome = tuple[Waiting, int, Exception | None]


class _Sender:
    """One notifier in a thread of its own, with a short queue before it."""

    def __init__(self, name: str, notifier: Notifier, done: queue.SimpleQueue[_Outcome]) -> None:
        self.name = name
        self.refreshed = 0.0
        self._notifier = notifier
        self._done = done
        self._under_way: set[str] = set()
        self._queue: queue.SimpleQueue[tuple[Waiting, int]] = queue.SimpleQueue()
        threading.Thread(target=self._run, name=f"serinus-notify-{name}", daemon=True).start()

    def has_room(self, key: str) -> bool:
        """Whether one more can wait here, which is not here already."""
        return len(self._under_way) < _QUEUE and key not in self._under_way

    def is_due(self, now: float) -> bool:
        """Whether it is time to tell again what fires, and the last time is over."""
        period_s = self._notifier.resend_seconds
        return period_s > 0 and now - self.refreshed >= period_s and not self._under_way

    def take(self, message: Waiting, revision: int) -> None:
        """Send it when its turn comes."""
        self._under_way.add(message.key)
        self._queue.put((message, revision))

    def forget(self, key: str) -> None:
        """Its outcome was taken down."""
        self._under_way.discard(key)

    def _run(self) -> None:
        while True:
            message, revision = self._queue.get()
            self._done.put((message, revision, self._sent(message.notification)))

    def _sent(self, notification: Notification) -> Exception | None:
        try:
            self._notifier.send(notification.attempt(time.time()))
        except DeliveryFailed as error:
            return error
        except Exception as error:  # a notifier may be anybody's; its next message is sent all the same
            _log.debug("Notifier %s failed", self.name, exc_info=True)
            return DeliveryFailed(f"{self._notifier.target} failed: {type(error).__name__}: {error}")
        return None
