"""Job: say what a model's answers turned out to be worth, by version and hour, and let this host know."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import orjson

from serinus.models.errors import ModelError
from serinus.monitors.performance import Definition
from serinus.serving.alerting import report
from serinus.serving.ground_truth.columns import HOUR_MS, answers_of
from serinus.serving.ground_truth.published import published as published_ground_truth
from serinus.serving.ground_truth.summary import WindowName
from serinus.serving.performance import document as documents
from serinus.serving.performance.harm import HarmWatch, alarm_of, condition
from serinus.serving.performance.promise import Promise, promise_of
from serinus.serving.performance.published import keep_only, publish
from serinus.serving.performance.realised import Realised, Window, together
from serinus.serving.steward.job import Shared
from serinus.serving.steward.join_ground_truth import WINDOW
from serinus.serving.steward.judge_drift import watched_versions
from serinus.serving.store import Conflict, Document, Fenced

__all__ = ["HARM", "VIEW", "MeasurePerformance"]

VIEW, HARM = "performance.view", "performance.harm"
"""Kinds of documents: what is published, by model; what a harm alarm has counted, by MODEL:VERSION:ROLE."""

_log = logging.getLogger("serinus.steward")
_REPORT_S = 300.0
_SHOWN_HOURS = 7 * 24
_LOOK_S = 2.0
_REST = 19.0
"""After each look, so many times as long as it took."""


class _Who(NamedTuple):
    """A version in a role."""

    model: str
    version: str
    role: str


class _Known(NamedTuple):
    """What does not change of a version."""

    definition: Definition | None
    promise: Promise | None


class MeasurePerformance:
    """By the steward that holds the lease; each steward lets its own host know, from the store."""

    name = "measure_performance"
    period_s = 1.0

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._published: dict[str, int] = {}
        self._versions: dict[tuple[str, str], _Known] = {}
        self._forget()

    def _forget(self) -> None:
        self._realised = Realised()
        self._harm: dict[_Who, tuple[int, HarmWatch]] = {}
        self._reported: dict[_Who, tuple[str, float]] = {}
        self._look_at = float("-inf")

    def run(self, shared: Shared) -> None:
        """See `Job.run`."""
        if shared.lease is None:
            self._forget()
        elif time.monotonic() >= self._look_at:
            began = time.monotonic()
            try:
                self._look(shared, shared.lease.epoch)
            except (Conflict, Fenced):  # another steward led meanwhile
                self._forget()
            self._look_at = time.monotonic() + max(_LOOK_S, _REST * (time.monotonic() - began))
        self._publish(shared)

    def _look(self, shared: Shared, epoch: int) -> None:
        self._realised.take(shared.store.documents(WINDOW))
        now = self._clock()
        for model, who in sorted(self._watched(shared, now).items()):
            _keep(shared, model, self._document(shared, model, sorted(who), now, epoch), now, epoch)

    def _watched(self, shared: Shared, now: float) -> dict[str, set[_Who]]:
        """What answers now, and what answered lately and has a truth."""
        found: dict[str, set[_Who]] = {}
        for model, version, stable in watched_versions(shared):
            found.setdefault(model, set()).add(_Who(model, version, "stable" if version == stable else "candidate"))
        for name in self._realised.windows:
            if name.hour > _hour(now) - _SHOWN_HOURS:
                found.setdefault(name.model, set()).add(_Who(*name[:3]))
        return found

    def _document(self, shared: Shared, model: str, who: list[_Who], now: float, epoch: int) -> dict[str, Any]:
        mature = _mature(shared, model)
        versions = [self._version(shared, one, mature, now, epoch) for one in who]
        latest = self._known(shared, model, who[-1].version).definition
        return {"model": model, "task": latest.task if latest else None, "measure": documents.main_measure(latest),
                "verdict": documents.sentences(told["text"] for told in versions), "versions": versions}

    def _version(self, shared: Shared, who: _Who, mature: set[tuple[str, str, str]], now: float,
                 epoch: int) -> dict[str, Any]:
        definition, promise = self._known(shared, who.model, who.version)
        windows = {hour: window for hour, window in self._realised.of(*who).items()
                   if hour > _hour(now) - _SHOWN_HOURS}
        ripe = {hour for hour in windows if (who.version, who.role, _begins(hour)) in mature}
        told = [self._window(hour, window, definition, hour in ripe) for hour, window in windows.items()]
        sums = together((windows[hour] for hour in ripe), definition.digest) if definition is not None else None
        whole = definition.measure(sums) if definition is not None and sums is not None else {}
        harm = self._watch_harm(shared, who, promise, self._realised.of(*who), now, epoch) if promise else None
        calibrated = documents.calibration(sums, definition) if definition is not None and sums is not None else None
        return {"version": who.version, "role": who.role,
                "rows": sum(window.predictions for window in windows.values()),
                "labelled": sum(window.labelled for window in windows.values()),
                "measures": documents.measures(documents.judged(whole)), "windows": told, "calibration": calibrated,
                "slices": [], "fairness": [], "harm": harm, "estimates": None, "change": None, "quality": [],
                "text": documents.sentences(part["text"] for part in (harm, calibrated) if part is not None)}

    def _window(self, hour: int, window: Window, definition: Definition | None, ripe: bool) -> dict[str, Any]:
        found = definition.measure(together([window], definition.digest)) if definition is not None and ripe else {}
        return {"hour": _begins(hour), "rows": window.predictions, "labelled": window.labelled, "mature": ripe,
                "measures": documents.measures(documents.judged(found)), "estimate": None, "withdrawn": None}

    def _watch_harm(self, shared: Shared, who: _Who, promise: Promise, windows: Mapping[int, Window],
                    now: float, epoch: int) -> dict[str, Any] | None:
        """Take new truths in, keep the evidence, and let alerts hear of it."""
        chosen = shared.settings.performance
        alarm = alarm_of(promise, chosen.tolerance, chosen.run_length)
        if alarm is None:
            return None
        key = ":".join(who)
        if who not in self._harm:
            found = shared.store.document(HARM, key)
            self._harm[who] = (0, HarmWatch.begin(alarm)) if found is None else (
                found.revision, HarmWatch.from_json(alarm, orjson.loads(found.body)))
        revision, watch = self._harm[who]
        after = watch.step(windows)
        if after is not watch:
            document = Document(HARM, key, revision + 1, orjson.dumps(after.to_json()), now)
            shared.store.put_document(document, expected_revision=revision, epoch=epoch)
            self._harm[who] = revision + 1, after
        told = after.told()
        state, at = self._reported.get(who, ("", float("-inf")))
        if who.role != "shadow" and told["rows"] and (state != told["state"] or now - at >= _REPORT_S):
            report(shared.store, condition(who.model, who.version, told), now, watcher=who.role, epoch=epoch)
            self._reported[who] = told["state"], now
        return told

    def _known(self, shared: Shared, model: str, version: str) -> _Known:
        key = model, version
        if key not in self._versions:
            try:
                found = shared.registry.get(model, version)
                answers = answers_of(found.signature)
                self._versions[key] = _Known(answers.definition if answers else None,
                                             promise_of(shared.registry, found))
            except ModelError:  # removed since
                self._versions[key] = _Known(None, None)
        return self._versions[key]

    def _publish(self, shared: Shared) -> None:
        found = {document.key: document for document in shared.store.documents(VIEW)}
        for model, document in found.items():
            if self._published.get(model) != document.revision:
                publish(shared.home.performance, {**orjson.loads(document.body), "at": document.updated})
                self._published[model] = document.revision
        if self._published.keys() - found.keys():
            self._published = {model: revision for model, revision in self._published.items() if model in found}
        keep_only(shared.home.performance, set(found))


def _keep(shared: Shared, model: str, told: Mapping[str, Any], now: float, epoch: int) -> None:
    """Only where something changed."""
    body = orjson.dumps(dict(told), option=orjson.OPT_SERIALIZE_NUMPY)
    known = shared.store.document(VIEW, model)
    if known is None or known.body != body:
        revision = known.revision if known else 0
        shared.store.put_document(Document(VIEW, model, revision + 1, body, now), expected_revision=revision,
                                  epoch=epoch)


def _mature(shared: Shared, model: str) -> set[tuple[str, str, str]]:
    """Version, role and hour of the windows of which enough is known to judge."""
    models = published_ground_truth(shared.home.run)["models"]
    return {(window["version"], window["role"], window["window"])
            for window in models.get(model, {"windows": []})["windows"] if window["mature"]}


def _hour(now: float) -> int:
    return int(now * 1000) // HOUR_MS


def _begins(hour: int) -> str:
    return WindowName("", "", "", hour).begins
