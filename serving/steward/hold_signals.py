"""What holds a rollout and proves nothing, out of the store: see `serinus.serving.rollout.signals`."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import orjson

from serinus.models.errors import ModelError
from serinus.models.signature import Signature
from serinus.monitors.monitor import Monitor
from serinus.monitors.plugins import monitors_for
from serinus.serving.rollout.judgement import Judgement
from serinus.serving.rollout.signals import DRIFT, ESTIMATE, MONITOR, Looked, drift, estimate, looked, monitored
from serinus.serving.rollout.state import RolloutRecord
from serinus.serving.steward.job import Shared
from serinus.serving.steward.judge_custom_monitors import STATE as CUSTOM
from serinus.serving.steward.judge_drift import VIEW as MONITORS
from serinus.serving.steward.measure_performance import VIEW as PERFORMANCE
from serinus.serving.store import Document, JournalEntry, Store

__all__ = ["HoldSignals"]

_log = logging.getLogger("serinus.steward")
Find = Callable[[Signature], Sequence[Monitor]]


class HoldSignals:
    """The signals of all rollouts. The journal is read anew when a record has changed, and only while something is
    said. `find` gives the installed monitors that watch a signature."""

    def __init__(self, find: Find = monitors_for) -> None:
        self._find = find
        self._looked: dict[str, tuple[int, Looked]] = {}
        self._monitors: dict[str, tuple[str, Sequence[Monitor]]] = {}

    def of(self, shared: Shared, record: RolloutRecord, plan: Judgement) -> dict[str, str]:
        """By cause, why the rollout is to be held; what a person saw and let go on is left out."""
        store, tolerance = shared.store, shared.settings.performance.tolerance
        view = _body(store.document(MONITORS, f"{record.model}:{record.stable}")) if plan.hold_on_drift else None
        measured = _body(store.document(PERFORMANCE, record.model)) if plan.hold_on_estimate else None
        told = self._monitored(shared, record) if plan.hold_on_monitors else ""
        if not (told or drift(view, 0.0) or estimate(measured, record, 0.0, tolerance)):
            return {}
        seen = self._looked_at(store, record)
        found = {DRIFT: drift(view, seen.at), ESTIMATE: estimate(measured, record, seen.at, tolerance), MONITOR: told}
        return {cause: why for cause, why in found.items() if cause == DRIFT or cause not in seen.waived}

    def _monitored(self, shared: Shared, record: RolloutRecord) -> str:
        """See `monitored`. A monitor that raises is somebody else's bug, and holds nothing."""
        monitors = self._monitors_of(shared, record)
        if not monitors or not record.weight:
            return ""
        states = [_body(shared.store.document(CUSTOM, f"{record.model}:{version}"))
                  for version in (record.candidate, record.stable)]
        candidate, stable = ({} if state is None else state["judge"] for state in states)
        try:
            return monitored(monitors, candidate, stable)
        except Exception:
            _log.exception("A monitor of %s could not compare the versions of its rollout", record.model)
            return ""

    def _monitors_of(self, shared: Shared, record: RolloutRecord) -> Sequence[Monitor]:
        """Those of the candidate's signature, found once in a rollout."""
        rollout_id, monitors = self._monitors.get(record.model, ("", ()))
        if rollout_id != record.rollout_id:
            try:
                monitors = self._find(shared.registry.get(record.model, str(record.candidate)).signature)
            except ModelError:  # it lives in another host's registry only
                monitors = ()
            self._monitors[record.model] = record.rollout_id, monitors
        return monitors

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
