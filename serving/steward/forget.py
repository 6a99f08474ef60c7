"""Forgets what is known of predictions beside the log: their truths in spool and store, the windows that held them, and
references that may have been learnt from them.

Under the steward's lock, so no job has in hand what is forgotten; where no steward runs, by the command itself.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any

import orjson

from serinus.serving.ground_truth.spool import leave_out, spooled
from serinus.serving.ground_truth.summary import WindowName
from serinus.serving.home import Home
from serinus.serving.ids import parse_prediction_id
from serinus.serving.monitoring import MonitorFiles, View
from serinus.serving.references import KIND
from serinus.serving.steward.join_ground_truth import INTAKE, INTAKE_KEY, WINDOW
from serinus.serving.steward.judge_drift import STATE, VIEW
from serinus.serving.store import Conflict, Document, JournalEntry, Store

__all__ = ["forget"]

_HOUR_MS = 3_600_000
_ATTEMPTS = 20
_SLACK_S = 300.0
"""A request may have come so long before its answer was logged."""


def forget(store: Store, home: Home, request: Mapping[str, Any]) -> int:
    """Forget the truths of `ids` (of predictions and of keys) and what their windows took from `segments`; answers how
    many truths there were. It is journaled for each model of `predictions`. Raises `StoreError` or OSError."""
    ids = frozenset(map(str, request["ids"]))
    truths = sum(leave_out(path, ids) for path in spooled(home.spool))
    truths += store.forget_ground_truth(ids)
    hours = {parsed.time_ms // _HOUR_MS for each in ids if (parsed := parse_prediction_id(each)) is not None}
    if hours:
        _count_anew(store, hours, frozenset(map(str, request["segments"])))
        _learn_anew(store, home, ids, str(request["actor"]), str(request["reason"]))
    for model, number in request["predictions"].items():
        record = store.record(model)
        text = f"{number:,} predictions erased from the log, with what was known of them."
        store.append(JournalEntry(model, "log.erase", time.time(), record.generation if record else 0,
                                  str(request["actor"]), str(request["reason"]), {"text": text, "predictions": number}))
    store.scrub()
    return truths


def _learn_anew(store: Store, home: Home, ids: Collection[str], actor: str, reason: str) -> None:
    """Forget references that were learnt from live rows at the time of some of these predictions: an extreme value or a
    rare category may be theirs. They are learnt again from what the log has then."""
    moments = [parsed.time_ms / 1000 for each in ids if (parsed := parse_prediction_id(each)) is not None]
    for document in list(store.documents(KIND)):
        choice = orjson.loads(document.body)["chosen"]
        profile = store.document("profile", choice["digest"])
        if choice["origin"] != "learnt" or profile is None or not _may_rest_on(profile, moments):
            continue
        for each in (document, profile, *_resting_on(store, choice["digest"])):
            with suppress(Conflict):  # its job has told something new, of which nothing is left when it looks again
                store.delete_document(each.kind, each.key, expected_revision=each.revision)
        MonitorFiles(home.monitors).forget(choice["digest"])
        model, _, version = document.key.rpartition(":")
        record = store.record(model)
        text = f"The reference that version {version} had learnt is forgotten, and learnt anew."
        store.append(JournalEntry(model, "monitor.reset", time.time(), record.generation if record else 0, actor,
                                  reason, {"text": text, "version": version}))


def _resting_on(store: Store, digest: str) -> Iterator[Document]:
    """What is said and counted by a reference, and its self-check."""
    for view in store.documents(VIEW):
        if View(orjson.loads(view.body)).digest == digest:
            state = store.document(STATE, view.key)
            yield from (view, state) if state is not None else (view,)
    check = store.document("self-check", digest)
    if check is not None:
        yield check


def _may_rest_on(profile: Document, moments: Collection[float]) -> bool:
    """Whether it was learnt while some of these requests came."""
    span = orjson.loads(profile.body)["span"]
    if span is None:
        return True
    first, last = (datetime.fromisoformat(end).timestamp() for end in span)
    return any(first - _SLACK_S <= moment <= last + _SLACK_S for moment in moments)


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
