"""Forgets what is known of predictions beside the log: their truths in spool and store, and the windows that held them.

Under the steward's lock, so no job has in hand what is forgotten; where no steward runs, by the command itself.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from typing import Any

import orjson

from serinus.serving.ground_truth.spool import leave_out, spooled
from serinus.serving.ground_truth.summary import WindowName
from serinus.serving.home import Home
from serinus.serving.ids import parse_prediction_id
from serinus.serving.steward.join_ground_truth import INTAKE, INTAKE_KEY, WINDOW
from serinus.serving.store import Conflict, Document, JournalEntry, Store

__all__ = ["forget"]

_HOUR_MS = 3_600_000
_ATTEMPTS = 20


def forget(store: Store, home: Home, request: Mapping[str, Any]) -> int:
    """Forget the truths of `ids` (of predictions and of keys) and what their windows took from `segments`; answers how
    many truths there were. It is journaled for each model of `predictions`. Raises `StoreError` or OSError."""
    ids = frozenset(map(str, request["ids"]))
    truths = sum(leave_out(path, ids) for path in spooled(home.spool))
    truths += store.forget_ground_truth(ids)
    hours = {parsed.time_ms // _HOUR_MS for each in ids if (parsed := parse_prediction_id(each)) is not None}
    if hours:
        _count_anew(store, hours, frozenset(map(str, request["segments"])))
    for model, number in request["predictions"].items():
        record = store.record(model)
        text = f"{number:,} predictions erased from the log, with what was known of them."
        store.append(JournalEntry(model, "log.erase", time.time(), record.generation if record else 0,
                                  str(request["actor"]), str(request["reason"]), {"text": text, "predictions": number}))
    store.scrub()
    return truths


def _count_anew(store: Store, hours: Collection[int], segments: Collection[str]) -> None:
    """Take out of windows what segments gave; what is left there is joined again."""
    for document in store.documents(WINDOW):
        if WindowName.of(document.key).hour not in hours:
            continue
        body = orjson.loads(document.body)
        parts = {name: part for name, part in body["parts"].items() if name not in segments}
        if len(parts) < len(body["parts"]):
            body = {**body, "revision": document.revision + 1, "parts": parts}
            store.put_document(Document(WINDOW, document.key, document.revision + 1, orjson.dumps(body), time.time()),
                               expected_revision=document.revision)
    for _ in range(_ATTEMPTS):  # another host's steward may lead
        found = store.document(INTAKE, INTAKE_KEY)
        if found is None:
            return
        intake = orjson.loads(found.body)
        intake["dirty"] = sorted(set(hours) | set(intake["dirty"]))
        try:
            store.put_document(Document(INTAKE, INTAKE_KEY, found.revision + 1, orjson.dumps(intake), time.time()),
                               expected_revision=found.revision)
            return
        except Conflict:
            continue
