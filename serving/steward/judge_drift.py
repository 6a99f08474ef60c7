"""Job: add up what all workers counted, judge it, and keep what was found."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import orjson

from serinus.monitors.errors import MonitorError
from serinus.monitors.profile import Profile
from serinus.serving.alerting import report
from serinus.serving.references import Chosen, check_of, chosen, profile_bytes
from serinus.serving.rollout.state import RolloutRecord
from serinus.serving.steward.job import Shared
from serinus.serving.store import Conflict, Document, Fenced, JournalEntry, Store, Tick
from serinus.serving.stream import Stream
from serinus.serving.ticks import of_ticks

__all__ = ["STATE", "VIEW", "JudgeDrift", "forget_evidence", "watched_versions"]

STATE, VIEW = "monitor.state", "monitor.view"
"""Kinds of documents, with keys MODEL:VERSION: all of a stream, and what is published of it."""

_log = logging.getLogger("serinus.steward")
_PATIENCE_S = 3
"""An interval is closed so many seconds after its end."""
_KEEP_S = 60
"""Ticks stay in the store for so long after they were judged, for those that come late."""
_SAVE_S = 5.0
_CHOOSE_S = 2.0
_REPORT_S = 300.0


@dataclass
class _Kept:
    """A stream, and how much of it others know."""

    stream: Stream
    revision: int
    """Of its state in the store; 0: none."""
    saved_interval: int
    saved_at: float = float("-inf")
    reported_at: float = float("-inf")
    reported: tuple[tuple[bool, str], ...] = ()
    dirty: bool = False
    shown: Chosen | None = None
    """The choice that is in the published view."""


class JudgeDrift:
    """By the steward that holds the lease; another one that takes over goes on with what is in the store."""

    name = "judge_drift"
    period_s = 1.0

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._kept: dict[str, _Kept] = {}
        self._chosen_at = float("-inf")
        self._refused: dict[str, str] = {}

    def run(self, shared: Shared) -> None:
        """See `Job.run`."""
        if shared.lease is None or not shared.settings.monitors.enabled:
            self._kept.clear()
            self._chosen_at = float("-inf")
            return
        now, closed = self._clock(), int(self._clock()) - _PATIENCE_S - 1
        try:
            if now - self._chosen_at >= _CHOOSE_S:
                self._choose(shared)
                self._chosen_at = now
            self._judge(shared.store, now, closed, shared.lease.epoch)
        except (Conflict, Fenced):  # somebody else leads, or a person has reset a stream: read again
            self._kept.clear()
            self._chosen_at = float("-inf")

    def _judge(self, store: Store, now: float, closed: int, epoch: int) -> None:
        ticks = of_ticks(self._ticks(store))
        for key, kept in self._kept.items():
            mine = [tick for tick in ticks if f"{tick.model}:{tick.version}" == key]
            changed = kept.stream.take(mine, closed)
            kept.dirty |= changed
            if changed or kept.shown != kept.stream.chosen:
                _show(store, key, kept, now, epoch)
            self._report(store, kept, now, epoch)
            if kept.dirty and now - kept.saved_at >= _SAVE_S:
                _save(store, key, kept, now, epoch)
        behind = [kept.saved_interval for kept in self._kept.values() if kept.dirty]
        if self._kept:
            store.prune_ticks(min([*behind, closed]) - _KEEP_S)

    def _ticks(self, store: Store) -> Iterator[Tick]:
        after = -1
        while page := store.ticks(after):
            yield from page
            after = page[-1].interval

    def _choose(self, shared: Shared) -> None:
        """Streams of the versions that are served, each against the reference that is chosen for it now."""
        found = {}
        for model, version, stable in watched_versions(shared):
            key = f"{model}:{version}"
            choice = chosen(shared.store, shared.registry, model, version, stable)
            if choice is None:
                continue
            kept = self._kept.get(key)
            if kept is None or kept.stream.chosen.digest != choice.digest:
                stream = self._open(shared, model, version, stable)
                kept = None if stream is None else _restored(shared.store, key, stream)
            if kept is not None:
                kept.stream.chosen = choice
                found[key] = kept
        self._kept = found

    def _open(self, shared: Shared, model: str, version: str, stable: str | None) -> Stream | None:
        choice = chosen(shared.store, shared.registry, model, version, stable)
        assert choice is not None
        data = profile_bytes(shared.store, shared.registry, model, choice.digest)
        try:
            if data is None:
                raise MonitorError("it is nowhere in registry and store")
            return Stream(model, version, choice, Profile.from_bytes(data),
                          check_of(shared.store, shared.registry, model, choice.digest),
                          shared.settings.monitors.run_length)
        except MonitorError as error:
            if self._refused.get(f"{model}:{version}") != choice.digest:
                self._refused[f"{model}:{version}"] = choice.digest
                _log.error("The reference of %s:%s (%s) cannot be used: %s", model, version, choice.digest[:19], error)
            return None

    def _report(self, store: Store, kept: _Kept, now: float, epoch: int) -> None:
        """Let alerts hear of every change, and now and then that all is as it was."""
        conditions = kept.stream.conditions()
        heard = tuple((condition.active, str(condition.severity)) for condition in conditions)
        if heard != kept.reported or now - kept.reported_at >= _REPORT_S:
            for condition in conditions:
                report(store, condition, now, epoch=epoch)
            kept.reported, kept.reported_at = heard, now


def _show(store: Store, key: str, kept: _Kept, now: float, epoch: int) -> None:
    body = orjson.dumps(dict(kept.stream.view().document))
    known = store.document(VIEW, key)
    if known is None or known.body != body:
        revision = known.revision if known else 0
        store.put_document(Document(VIEW, key, revision + 1, body, now), expected_revision=revision, epoch=epoch)
    kept.shown = kept.stream.chosen


def forget_evidence(store: Store, model: str, version: str, by: str, reason: str, now: float | None = None) -> None:
    """Begin a version's evidence anew, with rows that come after `now`, and take that down in the model's journal.
    Raises LookupError where there is none."""
    key, now = f"{model}:{version}", time.time() if now is None else now
    while True:
        found = store.document(STATE, key)
        if found is None:
            raise LookupError(f"There is no evidence about {key} yet.")
        changed = Document(STATE, key, found.revision + 1, Stream.forgotten(found.body, int(now)), now)
        try:
            store.put_document(changed, expected_revision=found.revision)
            break
        except Conflict:
            continue
    record = store.record(model)
    store.append(JournalEntry(model, "monitor.reset", now, record.generation if record else 0, by, reason,
                              {"text": f"The evidence about version {version} begins anew.", "version": version}))


def watched_versions(shared: Shared) -> Iterator[tuple[str, str, str | None]]:
    """Model, version and stable version of everything that may be answering."""
    now = time.time()
    for model, record in sorted(shared.store.records().items()):
        for version in _answering(record, now):
            yield model, version, record.stable


def _answering(record: RolloutRecord, now: float) -> list[str]:
    versions = [record.stable, record.candidate if record.running else None, record.previous_at(now)]
    return list(dict.fromkeys(version for version in versions if version is not None))


def _restored(store: Store, key: str, stream: Stream) -> _Kept:
    found = store.document(STATE, key)
    if found is None:
        return _Kept(stream, 0, -1)
    stream.restore(found.body)
    return _Kept(stream, found.revision, stream.interval)


def _save(store: Store, key: str, kept: _Kept, now: float, epoch: int) -> None:
    document = Document(STATE, key, kept.revision + 1, kept.stream.to_bytes(), now)
    store.put_document(document, expected_revision=kept.revision, epoch=epoch)
    kept.revision, kept.saved_interval, kept.saved_at, kept.dirty = (
        document.revision, kept.stream.interval, now, False)
