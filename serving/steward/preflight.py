"""Job: check a candidate before it gets any request, or turn it away with the reason."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import suppress

import orjson

from serinus.models.errors import ModelError
from serinus.serving.board import Reading, read_all
from serinus.serving.gates import last_gate, objection
from serinus.serving.home import RunFolder
from serinus.serving.memory import Admissions
from serinus.serving.rollback import live_boards
from serinus.serving.rollout import controller, verdicts
from serinus.serving.rollout.analysis import Action, Verdict
from serinus.serving.rollout.baseline import (
    BASELINE,
    Baseline,
    Buckets,
    answered,
    class_labels,
    freeze,
    publish_baselines,
)
from serinus.serving.rollout.state import Phase, RolloutRecord
from serinus.serving.rollout.transitions import Advance, Reject
from serinus.serving.steward.job import Shared
from serinus.serving.steward.replay import Replay
from serinus.serving.store import Conflict, Document, Fenced

__all__ = ["ENOUGH", "Preflight", "baseline_of", "keep_baseline", "loading", "stables_answers"]

_log = logging.getLogger("serinus.steward")
ENOUGH = 200
"""Answers of stable that a baseline of its latency rests on."""
_MOST = 1_000_000
_PATIENCE_S = 300.0
"""So long they are waited for."""


class Preflight:
    """By the steward that holds the lease; every steward tells its workers the baselines."""

    name = "preflight"
    period_s = 0.5

    def __init__(self, clock: Callable[[], float] = time.time, enough: int = ENOUGH) -> None:
        self._clock = clock
        self._enough = enough
        self._replays: dict[str, Replay] = {}
        self._before: dict[str, Buckets] = {}

    def run(self, shared: Shared) -> None:
        """See `Job.run`."""
        judged = [record for record in shared.store.records().values()
                  if record.running and record.plan is not None and record.plan.judgement is not None]
        waiting = [record for record in judged if record.phase is Phase.PREFLIGHT]
        self._let_go({record.rollout_id for record in waiting})
        if shared.lease is not None and not shared.is_behind():
            for record in waiting:
                with suppress(Conflict, Fenced):  # somebody else was faster
                    self._check(shared, record, shared.lease.epoch)
        known = [baseline_of(shared, record) for record in judged]
        publish_baselines(shared.home.baselines, [baseline for baseline in known if baseline is not None])

    def _check(self, shared: Shared, record: RolloutRecord, epoch: int) -> None:
        problem, waits_for = self._findings(shared, record)
        now = self._clock()
        if problem:
            _log.error("The candidate %s of %s was turned away: %s", record.candidate, record.model, problem)
            controller.decide(shared.store, record.model, Reject(record.step_id, actor=shared.holder, reason=problem),
                              now=now, epoch=epoch)
            shared.publish()
        elif waits_for:
            _tell(shared, record, Action.WAIT, waits_for, now, epoch)
        else:
            self._advance(shared, record, now, epoch)

    def _findings(self, shared: Shared, record: RolloutRecord) -> tuple[str, str]:
        """Why the candidate is turned away, or else what is waited for: the cheap questions first."""
        problem = _unfit(shared, record) or _objection(shared, record)
        if problem:
            return problem, ""
        problem, waits_for = _loaded(shared, record)
        if problem or waits_for:
            return problem, waits_for
        replay = self._replays.get(record.rollout_id)
        if replay is None:
            replay = self._replays[record.rollout_id] = Replay.begin(shared.run, record.model, str(record.stable),
                                                                     str(record.candidate))
        if not replay.done:
            return "", "The latest requests are being replayed."
        if replay.problem:
            return replay.problem, ""
        return "", self._baseline(shared, record)

    def _baseline(self, shared: Shared, record: RolloutRecord) -> str:
        """Freeze what stable is like, once; what is still needed for it."""
        if baseline_of(shared, record) is not None:
            return ""
        buckets, errors = stables_answers(shared, record)
        before = self._before.setdefault(record.rollout_id, buckets)
        found = freeze(record.model, record.rollout_id, before, buckets, errors, _labels(shared, record),
                       enough=self._enough)
        if not found.thresholds_ns and record.elapsed_at(self._clock()) < _PATIENCE_S:
            return (f"Stable has answered {sum(buckets) - sum(before):,} of the {self._enough:,} requests that tell "
                    "how fast it is at present.")
        keep_baseline(shared, found, self._clock())
        return ""

    def _advance(self, shared: Shared, record: RolloutRecord, now: float, epoch: int) -> None:
        """The workers must know the baseline before they see the candidate's first request."""
        baseline = baseline_of(shared, record)
        assert baseline is not None
        replayed = self._replays[record.rollout_id]
        risks = ["" if baseline.thresholds_ns else "latency: stable had answered too little to compare with",
                 _not_evaluated(shared, record)]
        event = Advance(record.step_id, "; ".join(filter(None, risks)), actor=shared.holder,
                        reason=f"Checked and loaded everywhere. {replayed.report}".strip())
        others = [baseline_of(shared, other) for other in shared.store.records().values() if other.running]
        publish_baselines(shared.home.baselines, [each for each in others if each is not None])
        controller.decide(shared.store, record.model, event, now=now, epoch=epoch,
                          details={"baseline": baseline.to_dict(), "replay": replayed.document})
        shared.publish()

    def _let_go(self, waiting: set[str]) -> None:
        for rollout_id in self._replays.keys() - waiting:
            self._replays.pop(rollout_id).end()
        self._before = {key: value for key, value in self._before.items() if key in waiting}


def baseline_of(shared: Shared, record: RolloutRecord) -> Baseline | None:
    """What was frozen for this rollout; None before."""
    document = shared.store.document(BASELINE, record.model)
    baseline = None if document is None else Baseline.from_dict(orjson.loads(document.body))
    return baseline if baseline is not None and baseline.rollout_id == record.rollout_id else None


def keep_baseline(shared: Shared, baseline: Baseline, now: float) -> None:
    """Replace what was frozen before. Raises Conflict."""
    known = shared.store.document(BASELINE, baseline.model)
    revision = known.revision if known else 0
    shared.store.put_document(Document(BASELINE, baseline.model, revision + 1, orjson.dumps(baseline.to_dict()), now),
                              expected_revision=revision)


def stables_answers(shared: Shared, record: RolloutRecord) -> tuple[Buckets, int]:
    """The histogram of stable's answers on this host, and its errors."""
    series = [item for folder in shared.home.servers() for item in read_all(folder.boards)[0][1].items()]
    return answered(record.model, str(record.stable), series)


def _unfit(shared: Shared, record: RolloutRecord) -> str:
    """What artifact and signature say against the candidate."""
    try:
        stable = shared.registry.get(record.model, str(record.stable))
        candidate = shared.registry.get(record.model, str(record.candidate))
    except ModelError as error:
        return str(error)
    if candidate.digest != record.candidate_digest:
        return (f"{candidate.tag} has digest {candidate.digest}, the rollout was started with "
                f"{record.candidate_digest}: it was replaced meanwhile. Start anew.")
    problems = candidate.signature.incompatibilities(stable.signature)
    return f"It cannot answer every request that {stable.tag} answers: {' '.join(problems)}" if problems else ""


def _objection(shared: Shared, record: RolloutRecord) -> str:
    """What its evaluation says against the candidate, unless a person answers for it."""
    assert record.plan is not None
    against = objection(shared.registry, shared.registry.get(record.model, str(record.candidate)), record.plan)
    if not against:
        return ""
    starts = [entry for entry in shared.store.journal(record.model, limit=_MOST) if entry.kind == "start"]
    return "" if starts and starts[-1].body.get("objection") else against


def _not_evaluated(shared: Shared, record: RolloutRecord) -> str:
    gate = last_gate(shared.registry, shared.registry.get(record.model, str(record.candidate)))
    known = {None: "it was never evaluated", "undecided": "its evaluation does not decide",
             "fail": "its evaluation fails, and a person or its plan answers for it"}
    return known.get(None if gate is None else gate["verdict"], "")


def _loaded(shared: Shared, record: RolloutRecord) -> tuple[str, str]:
    """Whether every living worker has the candidate in memory, warm."""
    failed, ready, workers = loading(shared, record)
    if failed:
        return f"{_why_not(shared, record)} ({failed} of {workers} workers.)", ""
    return "", "" if workers and ready == workers else f"{ready} of {workers} workers have loaded it."


def loading(shared: Shared, record: RolloutRecord) -> tuple[int, int, int]:
    """How many living workers of this host could not load the candidate, how many have it, and how many there are."""
    boards = live_boards(shared.home)
    failed, ready = (sum(_says(board, what, record) for board in boards) for what in ("unloadable", "loaded"))
    return failed, ready, len(boards)


def _says(board: Reading, what: str, record: RolloutRecord) -> bool:
    return board.counters.get(orjson.dumps([what, record.model, record.candidate]).decode(), 0) > 0


def _why_not(shared: Shared, record: RolloutRecord) -> str:
    tag = f"{record.model}:{record.candidate}"
    refused = [Admissions(RunFolder(folder.path).admissions, 0).refusal(tag) for folder in shared.home.servers()]
    return next((text for text in refused if text), f"{tag} could not be loaded; the server's log says why.")


def _labels(shared: Shared, record: RolloutRecord) -> tuple[object, ...]:
    return class_labels(*(shared.registry.get(record.model, str(version)).signature
                          for version in (record.stable, record.candidate)))


def _tell(shared: Shared, record: RolloutRecord, action: Action, reason: str, now: float, epoch: int) -> None:
    assert record.plan is not None and record.plan.judgement is not None
    latest = verdicts.read(shared.store, record.model)
    if latest is None or latest["reason"] != reason or latest["step_id"] != record.step_id:
        body = verdicts.to_dict(record, record.plan.judgement, Verdict(action, reason), now)
        verdicts.publish(shared.store, record.model, body, now, epoch=epoch)
