"""Job: make alerts of what watchers see, and put what people should be told on its way."""

from __future__ import annotations

import time
from collections.abc import Callable

from serinus.monitors.notifiers import Notification
from serinus.serving.alerting import (
    LOG,
    change_book,
    conditions,
    enqueue,
    journal,
    message_counts,
    policy,
    read_book,
)
from serinus.serving.published_alerts import as_document, publish
from serinus.serving.steward.job import Shared


class EvaluateAlerts:
    """By the steward that holds the lease; each steward lets its own host know.

    What happened is kept in the book until it is in the journal and on its way to every notifier, so that a death in
    between repeats it under the same names, and loses nothing.
    """

    name = "evaluate_alerts"
    period_s = 1.0

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock

    def run(self, shared: Shared) -> None:
        """See `Job.run`."""
        now = self._clock()
        if shared.lease is not None:
            self._evaluate(shared, now, shared.lease.epoch)
        book, _ = read_book(shared.store)
        publish(shared.home.run, as_document(book, message_counts(shared.store), now))

    def _evaluate(self, shared: Shared, now: float, epoch: int) -> None:
        settings = shared.settings.alerts
        seen = conditions(shared.store, now)
        book = change_book(shared.store, lambda found: found.evaluate(seen, now, policy(settings)), epoch=epoch)
        if not book.outbox:
            return
        journal(shared.store, book.outbox, shared.holder)
        for change in book.outbox:
            if change.tell:
                enqueue(shared.store, Notification.of(change), [LOG, *settings.notifiers], now,
                        settings.deadline_seconds)
        change_book(shared.store, lambda found: found.without(book.outbox), epoch=epoch)
