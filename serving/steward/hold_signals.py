"""What holds a rollout and proves nothing, out of the store: see `serinus.serving.rollout.signals`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson

from serinus.serving.rollout.judgement import Judgement
from serinus.serving.rollout.signals import DRIFT, ESTIMATE, Looked, drift, estimate, looked
from serinus.serving.rollout.state import RolloutRecord
from serinus.serving.steward.job import Shared
from serinus.serving.steward.judge_drift import VIEW as MONITORS
from serinus.serving.steward.measure_performance import VIEW as PERFORMANCE
from serinus.serving.store import Document, JournalEntry, Store

__all__ = ["HoldSignals"]


class HoldSignals:
    """The signals of all rollouts. The journal is read anew when a record has changed, and only while something is
    said."""

    def __init__(self) -> None:
        self._looked: dict[str, tuple[int, Looked]] = {}

    def of(self, shared: Shared, record: RolloutRecord, plan: Judgement) -> dict[str, str]:
        """By cause, why the rollout is to be held; what a person saw and let go on is left out."""
        store, tolerance = shared.store, shared.settings.performance.tolerance
        view = _body(store.document(MONITORS, f"{record.model}:{record.stable}")) if plan.hold_on_drift else None
        measured = _body(store.document(PERFORMANCE, record.model)) if plan.hold_on_estimate else None
        if not (drift(view, 0.0) or estimate(measured, record, 0.0, tolerance)):
            return {}
        seen = self._looked_at(store, record)
        found = {DRIFT: drift(view, seen.at)}
        if ESTIMATE not in seen.waived:
            found[ESTIMATE] = estimate(measured, record, seen.at, tolerance)
        return found

    def _looked_at(self, store: Store, record: RolloutRecord) -> Looked:
        generation, known = self._looked.get(record.model, (-1, Looked(0.0)))
        if generation != record.generation:
            known = looked(_journal(store, record.model), record)
            self._looked[record.model] = record.generation, known
        return known


def _body(document: Document | None) -> dict[str, Any] | None:
    return None if document is None else dict(orjson.loads(document.body))


def _journal(store: Store, model: str) -> Iterator[JournalEntry]:
    after = 0
    while page := store.journal(model, after=after):
        yield from page
        after = page[-1].seq or after
