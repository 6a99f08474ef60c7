"""Job: add up what the custom monitors of all workers counted, let them judge it, and keep what they found."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import orjson

from serinus.models.errors import ModelError
from serinus.models.signature import Signature
from serinus.monitors.alerts import Condition
from serinus.monitors.monitor import Finding, Monitor
from serinus.monitors.plugins import Judge, digest_of, monitors_for
from serinus.serving.alerting import report
from serinus.serving.custom_monitors import places_of, sums_of
from serinus.serving.steward.job import Shared
from serinus.serving.steward.judge_drift import watched_versions
from serinus.serving.store import Conflict, Document, Fenced, Store, Tick
from serinus.serving.ticks import Ledger, Told, of_ticks

__all__ = ["STATE", "VIEW", "JudgeCustomMonitors"]

STATE, VIEW = "custom_monitors.state", "custom_monitors.view"
"""Kinds of documents, with keys MODEL:VERSION: all that was judged, and what is published of it."""

FORMAT = 1
_log = logging.getLogger("serinus.steward")
_PATIENCE_S = 3
_REPORT_S = 300.0
_KEEP_S = 600
"""Ticks that nobody wanted for so long are removed where no drift is judged."""

Find = Callable[[Signature], Sequence[Monitor]]


@dataclass
class _Kept:
    """The monitors of one version, and how far they are."""

    model: str
    version: str
    judge: Judge
    digest: str
    ledger: Ledger = field(default_factory=Ledger)
    revision: int = 0
    reported_at: float = float("-inf")

    @property
    def key(self) -> str:
        return f"{self.model}:{self.version}"

    def take(self, ticks: Iterable[Told], closed: int) -> list[Finding]:
        """Judge what the ticks of closed intervals add, interval by interval."""
        new = [tick for tick in ticks if tick.digest == self.digest and f"{tick.model}:{tick.version}" == self.key
               and tick.interval <= closed and self.ledger.is_new(tick)]
        found = []
        for interval in sorted({tick.interval for tick in new}):
            news = self.ledger.news([tick for tick in new if tick.interval == interval],
                                    places_of(self.judge.monitors))
            found += self.judge.add(sums_of(news.counts, self.judge.monitors))
        self.ledger.forget(closed)
        return found

    def to_bytes(self) -> bytes:
        return orjson.dumps({"format": FORMAT, "digest": self.digest, "ledger": self.ledger.to_json(),
                             "judge": self.judge.to_json()})

    def restore(self, document: Document) -> None:
        """Go on from a document; what other monitors counted is forgotten."""
        self.revision = document.revision
        stored = orjson.loads(document.body)
        if stored["format"] == FORMAT:
            self.judge.restore(stored["judge"])
            if stored["digest"] == self.digest:
                self.ledger = Ledger.from_json(stored["ledger"])


class JudgeCustomMonitors:
    """By the steward that holds the lease; another one that takes over goes on with what is in the store."""

    name = "judge_custom_monitors"
    period_s = 1.0

    def __init__(self, clock: Callable[[], float] = time.time, find: Find = monitors_for) -> None:
        self._clock, self._find = clock, find
        self._kept: dict[str, _Kept | None] = {}

    def run(self, shared: Shared) -> None:
        """See `Job.run`."""
        if shared.lease is None or not shared.settings.monitors.enabled:
            self._kept.clear()
            return
        now, store, epoch = self._clock(), shared.store, shared.lease.epoch
        try:
            self._follow(shared)
            judged = [kept for kept in self._kept.values() if kept is not None]
            ticks = of_ticks(_ticks(store)) if judged else []
            for kept in judged:
                self._judge(store, kept, ticks, now, epoch)
        except (Conflict, Fenced):  # somebody else leads: read again
            self._kept.clear()

    def _judge(self, store: Store, kept: _Kept, ticks: list[Told], now: float, epoch: int) -> None:
        before = kept.to_bytes()
        found = kept.take(ticks, int(now) - _PATIENCE_S - 1)
        state = kept.to_bytes()
        if state != before or not kept.revision:
            _show(store, kept, now, epoch)
            document = Document(STATE, kept.key, kept.revision + 1, state, now)
            store.put_document(document, expected_revision=kept.revision, epoch=epoch)
            kept.revision += 1
        if found or now - kept.reported_at >= _REPORT_S:
            for finding in kept.judge.findings:
                report(store, _condition(kept, finding), now, epoch=epoch)
            kept.reported_at = now
            store.prune_ticks(int(now) - _KEEP_S)

    def _follow(self, shared: Shared) -> None:
        """The monitors of the versions that are served."""
        found: dict[str, _Kept | None] = {}
        for model, version, _ in watched_versions(shared):
            key = f"{model}:{version}"
            found[key] = self._kept[key] if key in self._kept else self._begin(shared, model, version)
        self._kept = found

    def _begin(self, shared: Shared, model: str, version: str) -> _Kept | None:
        try:
            monitors = self._find(shared.registry.get(model, version).signature)
        except ModelError as error:  # a version that lives in another host's registry only
            _log.warning("Custom monitors of %s:%s are not judged here: %s", model, version, error)
            return None
        if not monitors:
            return None
        kept = _Kept(model, version, Judge(monitors), digest_of(monitors))
        document = shared.store.document(STATE, kept.key)
        if document is not None:
            kept.restore(document)
        return kept


def _ticks(store: Store) -> Iterator[Tick]:
    after = -1
    while page := store.ticks(after):
        yield from page
        after = page[-1].interval


def _show(store: Store, kept: _Kept, now: float, epoch: int) -> None:
    body = orjson.dumps(kept.judge.status())
    known = store.document(VIEW, kept.key)
    if known is None or known.body != body:
        revision = known.revision if known else 0
        store.put_document(Document(VIEW, kept.key, revision + 1, body, now), expected_revision=revision, epoch=epoch)


def _condition(kept: _Kept, finding: Finding) -> Condition:
    return Condition(kept.model, kept.version, finding.kind, finding.severity, finding.active, finding.text,
                     finding.facts)
