"""Job: learn what is normal from the first live rows of a version that came without a reference."""

from __future__ import annotations

import hmac
import logging
import time
from collections.abc import Callable

import numpy as np
import orjson

from serinus.models.errors import ModelError
from serinus.monitors.errors import MonitorError
from serinus.monitors.record import PredictionRecord
from serinus.monitors.reference import Learner, Reference
from serinus.monitors.self_check import SelfCheck
from serinus.serving.expectations import deployment_key, expectations_of
from serinus.serving.monitoring import FORMAT, View
from serinus.serving.prediction_log import Follower
from serinus.serving.references import Chosen, choose, chosen
from serinus.serving.steward.job import Shared
from serinus.serving.steward.judge_drift import VIEW, watched_versions
from serinus.serving.store import Document, Store

_log = logging.getLogger("serinus.steward")
_PATIENCE_S = 0.2
"""Of reading in one turn: a long log is read in many."""
_GIVE = "Give a reference: serinus monitor reference {tag} --set FILE"
_NO_LOG = f"Not watched: it has no reference, and the prediction log, from which one could be learnt, is off. {_GIVE}"
_OFF = f"Not watched: it has no reference, and learning one is off. {_GIVE}"
_LEARNING = ("Learning what is normal from the first {wanted:,} rows, whatever they are: {rows:,} so far. Rows that "
             f"are broken already would become the norm. {_GIVE}")


class LearnReferences:
    """By the steward that holds the lease, from this host's log. The profile goes to the store, for every host."""

    name = "learn_references"
    period_s = 2.0

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._follower: Follower | None = None
        self._learners: dict[tuple[str, str], Learner] = {}
        self._failed: dict[tuple[str, str], str] = {}

    def run(self, shared: Shared) -> None:
        """See `Job.run`."""
        settings = shared.settings.monitors
        if shared.rows_forgotten:
            shared.rows_forgotten = False
            self._learners.clear()
        if shared.lease is None or not settings.enabled:
            self._learners.clear()
            return
        wanted = {(model, version) for model, version, stable in watched_versions(shared)
                  if chosen(shared.store, shared.registry, model, version, stable) is None}
        if settings.learn_rows and shared.settings.log.enabled:
            self._prepare(shared, wanted - self._failed.keys())
            self._read()
        for key in sorted(wanted):
            if key in self._learners and self._learners[key].complete:
                self._finish(shared, key)
            else:
                self._tell(shared, key)

    def _prepare(self, shared: Shared, wanted: set[tuple[str, str]]) -> None:
        """Learners of what is wanted; where there is a new one, the log is read from its beginning."""
        if wanted == self._learners.keys():
            return
        if wanted - self._learners.keys():
            self._learners = {key: self._learner(shared, *key) for key in wanted}
            self._follower = Follower(shared.home.log)
        self._learners = {key: self._learners[key] for key in wanted}

    def _learner(self, shared: Shared, model: str, version: str) -> Learner:
        """Personal fields stand in the log as hashes or coarsened, unlike in requests: they are left out."""
        found = shared.registry.get(model, version)
        expected = expectations_of(found, shared.registry)
        salt = hmac.new(deployment_key(shared.home.path), found.digest.encode(), "sha256").digest()[:16]
        return Reference.learn(shared.settings.monitors.learn_rows, signature=found.signature, salt=salt,
                               personal=dict.fromkeys([*expected.personal, *expected.outputs], "drop"))

    def _read(self) -> None:
        if self._follower is None or all(learner.complete for learner in self._learners.values()):
            return
        deadline = time.monotonic() + _PATIENCE_S
        for record in self._follower.read():
            learner = self._learners.get((record.model, record.version))
            if learner is not None and record.rows:
                _learn(learner, record)
            if time.monotonic() > deadline:
                return

    def _finish(self, shared: Shared, key: tuple[str, str]) -> None:
        model, version = key
        try:
            profile = self._learners[key].profile()
            check = SelfCheck.of(profile, run_length=shared.settings.monitors.run_length)
        except (MonitorError, ModelError) as error:
            self._failed[key] = f"What the first rows look like cannot be watched: {error}"
            self._learners.pop(key)
            return
        now, digest = self._clock(), profile.digest
        _keep(shared.store, "profile", digest, profile.to_bytes(), now)
        _keep(shared.store, "self-check", digest, orjson.dumps(check.to_json()), now)
        choose(shared.store, model, version,
               Chosen(digest, "learnt", shared.holder, str(profile.source.get("reason", "")), now))
        self._learners.pop(key)
        _log.warning("%s:%s is compared with its own first %d live rows from now on; nobody has said that they were in "
                     "order. %s", model, version, profile.rows, check.text)

    def _tell(self, shared: Shared, key: tuple[str, str]) -> None:
        """Publish that a version is not watched yet, and why."""
        model, version = key
        learner, wanted = self._learners.get(key), shared.settings.monitors.learn_rows
        rows = learner.rows if learner is not None else 0
        text = _LEARNING if learner is not None else _OFF if not wanted else _NO_LOG
        document = {
            "format": FORMAT, "model": model, "version": version, "state": "learning" if learner is not None else "off",
            "text": self._failed.get(key) or text.format(wanted=wanted, rows=rows, tag=f"{model}:{version}"),
            "judged": 0, "rows": rows, "wanted_rows": wanted, "seen": rows, "observed_share": None, "evidence": None,
            "run_length": shared.settings.monitors.run_length, "reference": None, "self_check": None, "drift": None,
            "features_watched": 0, "novelty": None, "examples": []}
        _keep(shared.store, VIEW, f"{model}:{version}", orjson.dumps(dict(View(document).document)), self._clock())


def _learn(learner: Learner, record: PredictionRecord) -> None:
    """Copies, so that the rest of what was read can go; rows whose arrays do not fit are no help."""
    inputs, outputs = ({name: array.copy() for name, array in side.items() if array.shape[:1] == (record.rows,)}
                       for side in (record.inputs, record.outputs))
    learner.add(inputs, outputs, np.full(record.rows, record.received_ns / 1e9))


def _keep(store: Store, kind: str, key: str, body: bytes, now: float) -> None:
    known = store.document(kind, key)
    if known is None or known.body != body:
        revision = known.revision if known else 0
        store.put_document(Document(kind, key, revision + 1, body, now), expected_revision=revision)
