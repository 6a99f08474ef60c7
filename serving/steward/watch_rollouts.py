"""Job: let people hear of rollouts: alerts of those that need somebody, and a message when one was promoted."""

from __future__ import annotations

import time
from collections.abc import Callable

import orjson

from serinus.monitors.alerts import Condition
from serinus.serving.alerting import LOG, conditions, enqueue, read_book, report
from serinus.serving.rollout import verdicts
from serinus.serving.rollout.conditions import KINDS, TURNS, news_of, of_rollout
from serinus.serving.steward.job import Shared
from serinus.serving.store import Document, JournalEntry, Store

__all__ = ["WatchRollouts"]

_READ = "rollout.read"
"""Kind of the documents that say up to which entry a model's journal was read for news."""
_REPORT_S = 300.0


class WatchRollouts:
    """By the steward that holds the lease. An alert is about what holds now; a promotion is told once, by how far the
    journal was read, so that a steward that takes over tells what happened meanwhile."""

    name = "watch_rollouts"
    period_s = 1.0

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._read: dict[str, int] = {}
        self._turns: dict[str, JournalEntry] = {}
        self._reported: dict[tuple[str, str, str], tuple[bool, str, float]] = {}

    def run(self, shared: Shared) -> None:
        """See `Job.run`."""
        if shared.lease is None:
            self._read.clear()
            return
        now, store = self._clock(), shared.store
        found: dict[tuple[str, str, str], Condition] = {}
        for model, record in sorted(store.records().items()):
            self._follow(shared, model, now)
            seen = of_rollout(record, self._turns.get(model), verdicts.read(store, model), now)
            found |= {condition.subject: condition for condition in seen}
        for subject in _open(store, now) - found.keys():
            found[subject] = Condition(*subject, "warn", False, "It is over.")
        for condition in found.values():
            self._report(store, condition, now, shared.lease.epoch)

    def _follow(self, shared: Shared, model: str, now: float) -> None:
        """Read the journal from where it was left, and tell what nobody was told."""
        told = _told(shared.store, model)
        if told is None:  # the first look, or the first since the store was lost
            self._turns.pop(model, None)
        after = 0 if told is None else self._read.get(model, 0)
        while entries := shared.store.journal(model, after=after):
            after = entries[-1].seq or after
            for entry in entries:
                if entry.kind in TURNS:
                    self._turns[model] = entry
                    if told is not None and (entry.seq or 0) > told:
                        _tell(shared, entry, now)
        if after != told:
            _keep(shared.store, model, after, now)
        self._read[model] = after

    def _report(self, store: Store, condition: Condition, now: float, epoch: int) -> None:
        """Let alerts hear of every change, and now and then that it is so still."""
        active, severity, at = self._reported.get(condition.subject, (None, "", 0.0))
        if (active, severity) != (condition.active, condition.severity) or now - at >= _REPORT_S:
            report(store, condition, now, epoch=epoch)
            self._reported[condition.subject] = condition.active, condition.severity, now


def _open(store: Store, now: float) -> set[tuple[str, str, str]]:
    """What was said to be so, or is an alert."""
    said = {condition.subject for condition in conditions(store, now) if condition.active}
    alerts = {alert.subject for alert in read_book(store)[0].alerts if alert.is_open}
    return {subject for subject in said | alerts if subject[2] in KINDS}


def _tell(shared: Shared, entry: JournalEntry, now: float) -> None:
    settings, news = shared.settings.alerts, news_of(entry)
    if news is not None and now - entry.time < settings.deadline_seconds:
        enqueue(shared.store, news, [LOG, *settings.notifiers], now, settings.deadline_seconds)


def _told(store: Store, model: str) -> int | None:
    """Up to which entry of the journal people were told; None where this was never looked at."""
    found = store.document(_READ, model)
    return None if found is None else int(orjson.loads(found.body)["seq"])


def _keep(store: Store, model: str, seq: int, now: float) -> None:
    found = store.document(_READ, model)
    revision = found.revision if found else 0
    store.put_document(Document(_READ, model, revision + 1, orjson.dumps({"seq": seq}), now),
                       expected_revision=revision)
