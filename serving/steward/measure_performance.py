"""Job: say what a model's answers turned out to be worth, by version and hour, and let this host know."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from serinus.models.errors import ModelError
from serinus.monitors.profile import Profile
from serinus.serving.alerting import report
from serinus.serving.expectations import expectations_of
from serinus.serving.ground_truth import State, resolve, sources
from serinus.serving.ground_truth.columns import HOUR_MS, answers_of, worth_answers
from serinus.serving.ground_truth.published import published as published_ground_truth
from serinus.serving.ground_truth.summary import WindowName
from serinus.serving.performance import document as documents
from serinus.serving.performance import harm
from serinus.serving.performance.estimates import Estimates
from serinus.serving.performance.harm import HarmWatch
from serinus.serving.performance.live import Known, Live
from serinus.serving.performance.promise import Promise, promise_of, watched_features
from serinus.serving.performance.published import keep_only, publish
from serinus.serving.performance.quality import quality_of
from serinus.serving.performance.realised import Realised, Window
from serinus.serving.performance.sample import EVENT, LiveSample, Looker, Rows, Who
from serinus.serving.references import profile_bytes_of
from serinus.serving.steward.job import Shared
from serinus.serving.steward.join_ground_truth import JoinGroundTruth
from serinus.serving.steward.judge_drift import watched_versions
from serinus.serving.store import Conflict, Document, Fenced

__all__ = ["ESTIMATES", "HARM", "VIEW", "MeasurePerformance"]

VIEW, HARM, ESTIMATES = "performance.view", "performance.harm", "performance.estimates"
"""Kinds of documents: what is published, by model; by MODEL:VERSION:ROLE what a harm alarm has counted, and what was
estimated."""

_SHOWN_HOURS = 7 * 24
_KEPT_HOURS = 35 * 24
"""Truths may be so late; estimates wait for them."""
_SAMPLED_HOURS = 48
_LOOK_S = 2.0
_READ_S = 0.1
"""Of reading the log in one turn: a long one is read in many."""
_REST = 9.0
"""After each look, so many times as long as it took of the processor."""
_REPORT_S = 300.0
_SAVE_S = 15.0


class MeasurePerformance:
    """By the steward that holds the lease, from its host's log; each steward lets its own host know, from the store.

    Args:
        joined: the job that knows the windows of truths.
        clock: Unix time.
    """

    name = "measure_performance"
    period_s = 1.0

    def __init__(self, joined: JoinGroundTruth, clock: Callable[[], float] = time.time) -> None:
        self._joined = joined
        self._clock = clock
        self._published: dict[str, int] = {}
        self._forget()

    def _forget(self) -> None:
        self._realised = Realised()
        self._sample: LiveSample | None = None
        self._live: dict[Who, Live] = {}
        self._harm: dict[Who, tuple[int, HarmWatch]] = {}
        self._saved: dict[Who, tuple[int, Estimates, float]] = {}
        self._reported: dict[tuple[Who, str], tuple[bool, float]] = {}
        self._look_at = float("-inf")

    def run(self, shared: Shared) -> None:
        """See `Job.run`."""
        if shared.lease is None:
            self._forget()
        else:
            self._read(shared, _hour(self._clock()) - _SAMPLED_HOURS)
        if shared.lease is not None and time.monotonic() >= self._look_at:
            began = time.thread_time()
            try:
                self._look(shared, shared.lease.epoch)
            except (Conflict, Fenced):  # another steward led meanwhile
                self._forget()
            self._look_at = time.monotonic() + max(_LOOK_S, _REST * (time.thread_time() - began))
        self._publish(shared)

    def _look(self, shared: Shared, epoch: int) -> None:
        now, windows = self._clock(), self._joined.windows
        if windows is None:  # not read yet
            return
        self._realised.take(windows, _hour(now) - _KEPT_HOURS)
        for model, who in sorted(self._watched(shared, now).items()):
            mature = _mature(shared, model)
            versions = [self._version(shared, one, mature, now, epoch) for one in sorted(who)]
            _keep(shared, VIEW, model, documents.of_model(model, versions), now, epoch)

    def _read(self, shared: Shared, oldest_hour: int) -> None:
        if self._sample is None:
            self._sample = LiveSample(shared.home.log, lambda who: self._looker(shared, who),
                                      shared.settings.performance.sample_rows)
        self._sample.read(time.monotonic() + _READ_S, oldest_hour)
        self._sample.forget(oldest_hour)

    def _watched(self, shared: Shared, now: float) -> dict[str, set[Who]]:
        """What answers now, and what answered lately and is known of."""
        found: dict[str, set[Who]] = {}
        for model, version, stable in watched_versions(shared):
            found.setdefault(model, set()).add(Who(model, version, "stable" if version == stable else "candidate"))
        sampled = self._sample.hours if self._sample is not None else {}
        for who in [*(Who(*name[:3]) for name in self._realised.windows if name.hour > _hour(now) - _SHOWN_HOURS),
                    *(who for who, hours in sampled.items() if hours)]:
            found.setdefault(who.model, set()).add(who)
        return found

    def _version(self, shared: Shared, who: Who, mature: set[tuple[str, str, str]], now: float,
                 epoch: int) -> dict[str, Any]:
        every, live = self._realised.of(*who), self._followed(shared, who)
        windows = {hour: window for hour, window in every.items() if hour > _hour(now) - _SHOWN_HOURS}
        ripe = {hour for hour in windows if (who.version, who.role, _begins(hour)) in mature}
        hours = self._sample.hours.get(who, {}) if self._sample is not None else {}
        chosen = shared.settings.performance
        live.estimate(hours)
        share = shared.settings.ground_truth.mature_share
        late = {hour for hour, window in every.items() if window.labelled >= share * window.predictions > 0}
        live.judge(hours, every, ripe | late, lambda rows: _became(shared, rows))
        live.look_for_causes(chosen.slices, chosen.groups)
        live.look_at_quality(hours)
        live.estimates = live.estimates.since(_hour(now) - _KEPT_HOURS)
        self._save(shared, who, live.estimates, now, epoch)
        promise = live.known.promise
        watched = self._watch_harm(shared, who, promise, every, now, epoch) if promise is not None else None
        names = {_begins(hour): hour for hour in sorted({*windows, *live.estimates.hours})
                 if hour > _hour(now) - _SHOWN_HOURS}
        told = documents.of_version(who, live, names, windows, ripe, live.novel_share(hours), watched)
        for condition in documents.conditions(who, told, promise, chosen.tolerance):
            self._report(shared, who, condition, now, epoch)
        by_source = sources.condition(who.model, who.version, [window.sources for _, window in sorted(windows.items())])
        if by_source is not None:
            self._report(shared, who, by_source, now, epoch)
        return told

    def _followed(self, shared: Shared, who: Who) -> Live:
        if who not in self._live:
            found = shared.store.document(ESTIMATES, ":".join(who))
            known = Estimates() if found is None else Estimates.from_json(orjson.loads(found.body))
            self._live[who] = Live(_known(shared, who), known)
            self._saved[who] = 0 if found is None else found.revision, known, float("-inf")
        return self._live[who]

    def _looker(self, shared: Shared, who: Who) -> Looker | None:
        known = self._followed(shared, who).known
        if known.definition is None and known.quality is None:
            return None
        answers = answers_of(shared.registry.get(who.model, who.version).signature)
        return Looker(answers, known.profile, known.features, _personal(shared, who), _declared(shared),
                      known.quality.output if known.quality is not None else "")

    def _save(self, shared: Shared, who: Who, estimates: Estimates, now: float, epoch: int) -> None:
        revision, saved, at = self._saved[who]
        if estimates == saved or now - at < _SAVE_S:
            return
        document = Document(ESTIMATES, ":".join(who), revision + 1, orjson.dumps(estimates.to_json()), now)
        shared.store.put_document(document, expected_revision=revision, epoch=epoch)
        self._saved[who] = revision + 1, estimates, now

    def _watch_harm(self, shared: Shared, who: Who, promise: Promise, windows: Mapping[int, Window], now: float,
                    epoch: int) -> HarmWatch | None:
        """Take new truths in, and keep the evidence."""
        chosen = shared.settings.performance
        alarm = harm.alarm_of(promise, chosen.tolerance, chosen.run_length)
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
        return after

    def _report(self, shared: Shared, who: Who, condition: Any, now: float, epoch: int) -> None:
        """Let alerts hear of every change, and now and then that all is as it was."""
        active, at = self._reported.get((who, condition.kind), (None, float("-inf")))
        if who.role != "shadow" and (active != condition.active or now - at >= _REPORT_S):
            report(shared.store, condition, now, watcher=who.role, epoch=epoch)
            self._reported[who, condition.kind] = condition.active, now

    def _publish(self, shared: Shared) -> None:
        found = {document.key: document for document in shared.store.documents(VIEW)}
        for model, document in found.items():
            if self._published.get(model) != document.revision:
                publish(shared.home.performance, {**orjson.loads(document.body), "at": document.updated})
                self._published[model] = document.revision
        if self._published.keys() - found.keys():
            self._published = {model: revision for model, revision in self._published.items() if model in found}
        keep_only(shared.home.performance, set(found))


def _known(shared: Shared, who: Who) -> Known:
    try:
        version = shared.registry.get(who.model, who.version)
        answers = worth_answers(version, shared.settings.performance)
        promise = promise_of(shared.registry, version)
        quality = quality_of(shared.registry, version)
        definition, reference = answers.definition if answers else None, promise or quality
        if reference is None:
            return Known(definition)
        profile = Profile.from_bytes(profile_bytes_of(shared.registry, version, reference.reference))
        return Known(definition, promise, quality, profile, watched_features(profile, _personal(shared, who)))
    except ModelError:  # removed since
        return Known()


def _personal(shared: Shared, who: Who) -> frozenset[str]:
    expected = expectations_of(shared.registry.get(who.model, who.version), shared.registry)
    return frozenset([*expected.personal, *expected.outputs])


def _declared(shared: Shared) -> tuple[str, ...]:
    """What makes slices and groups: inputs, and outcome events."""
    chosen = shared.settings.performance
    named = [part.strip() for key in (*chosen.slices, *chosen.groups) for part in key.split("×")]
    return tuple(dict.fromkeys(named))


def _became(shared: Shared, rows: Rows) -> tuple[Rows, NDArray[Any]]:
    """The rows with the declared events that they had, and what is held true of each; None where nothing is."""
    settings, found = shared.settings.ground_truth, shared.store.ground_truth(rows.ids)
    events = {name: np.full(len(rows), "no", object) for name in _declared(shared) if name.startswith(EVENT)}
    truth = np.empty(len(rows), object)
    for place, prediction in enumerate(rows.ids):
        if prediction in found:
            known = resolve(found[prediction], settings.conflict, settings.sources)
            truth[place] = known.value if known.state is State.LABELLED else None
            for name in events:
                if name.removeprefix(EVENT) in known.events:
                    events[name][place] = "yes"
    return rows.declaring(events), truth


def _keep(shared: Shared, kind: str, key: str, told: Mapping[str, Any], now: float, epoch: int) -> None:
    """Only where something changed."""
    body = orjson.dumps(dict(told), option=orjson.OPT_SERIALIZE_NUMPY)
    known = shared.store.document(kind, key)
    if known is None or known.body != body:
        revision = known.revision if known else 0
        shared.store.put_document(Document(kind, key, revision + 1, body, now), expected_revision=revision, epoch=epoch)


def _mature(shared: Shared, model: str) -> set[tuple[str, str, str]]:
    """Version, role and hour of the windows of which enough is known to judge."""
    models = published_ground_truth(shared.home.run)["models"]
    return {(window["version"], window["role"], window["window"])
            for window in models.get(model, {"windows": []})["windows"] if window["mature"]}


def _hour(now: float) -> int:
    return int(now * 1000) // HOUR_MS


def _begins(hour: int) -> str:
    return WindowName("", "", "", hour).begins
