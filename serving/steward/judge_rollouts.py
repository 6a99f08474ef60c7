"""Job: judge the rollouts that judge themselves, and let what was found happen."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

from serinus.serving.crashes import blame_all
from serinus.serving.rollout import controller, verdicts
from serinus.serving.rollout.analysis import Action, Verdict, judge
from serinus.serving.rollout.errors import TransitionRefused
from serinus.serving.rollout.evidence import Evidence
from serinus.serving.rollout.gathering import PAIRS, TRUTHS, Counted, gather, pairs_of
from serinus.serving.rollout.judgement import Judgement
from serinus.serving.rollout.signals import SIGNALS
from serinus.serving.rollout.state import Phase, RolloutRecord
from serinus.serving.rollout.transitions import Advance, Event, Hold, Resume, RollBack
from serinus.serving.steward.hold_signals import HoldSignals
from serinus.serving.steward.input_marks import InputMarks
from serinus.serving.steward.job import Shared
from serinus.serving.steward.preflight import ENOUGH, baseline_of, keep_baseline, loading, stables_answers
from serinus.serving.steward.ship_tallies import CALLER_COUNTS
from serinus.serving.store import Conflict, Fenced
from serinus.serving.veto import read_vetoes

__all__ = ["JudgeRollouts", "next_event"]

_log = logging.getLogger("serinus.steward")
_GAP_S = 30.0
"""After so long without a verdict the workers had taken the weight away."""
_OUTAGE = "outage"
_REFRESH_S = 10.0


class JudgeRollouts:
    """By the steward that holds the lease. It remembers nothing that matters: another one that takes over comes to the
    same decision from the same counts."""

    name = "judge_rollouts"
    period_s = 1.0

    def __init__(self, clock: Callable[[], float] = time.time, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._monotonic = monotonic
        self._marks = InputMarks()
        self._signals = HoldSignals()
        self._changed: dict[str, tuple[int, float]] = {}
        self._told: dict[str, tuple[tuple[Any, ...], float]] = {}

    def run(self, shared: Shared) -> None:
        """See `Job.run`."""
        if shared.lease is None or shared.is_behind():
            return
        records = [record for record in shared.store.records().values() if _is_judged(record)]
        if records:
            blame_all(shared.home, shared.run)  # no step is taken over a death that can be seen already
        vetoed = read_vetoes(shared.home.vetoes).by_model
        for record in records:
            if record.model not in vetoed:
                with suppress(Conflict, Fenced, TransitionRefused):  # somebody was faster: decided anew in a second
                    self._judge(shared, record, shared.lease.epoch)
        ids = {record.rollout_id for record in records}
        self._changed = {key: value for key, value in self._changed.items() if key in ids}

    def _judge(self, shared: Shared, record: RolloutRecord, epoch: int) -> None:
        assert record.plan is not None and record.plan.judgement is not None
        now, plan = self._clock(), record.plan.judgement
        self._marks.note(shared, record, now)
        verdict = self._verdict(shared, record, plan, self._evidence(shared, record, plan, now))
        event = next_event(record, plan, verdict, now, _gap(shared, record, now), shared.holder)
        told = verdicts.to_dict(record, plan, verdict, now)
        self._publish(shared, record, told, now, epoch)
        if isinstance(event, Advance):
            self._refresh(shared, record, now)
        if event is not None:
            _log.info("Rollout of %s:%s: %s (%s)", record.model, record.candidate, verdict.action, event.reason)
            controller.decide(shared.store, record.model, event, now=now, epoch=epoch,
                              details={"verdict": told})
            shared.publish()

    def _verdict(self, shared: Shared, record: RolloutRecord, plan: Judgement, evidence: Evidence) -> Verdict:
        """Before anybody is blamed, the arms' inputs are compared."""
        def look(seen: Evidence) -> Verdict:
            return judge(plan, record.held or record.phase, record.weight, seen, step_id=record.step_id,
                         approvers=record.approvers_missing)

        verdict = look(evidence)
        if verdict.action is not Action.ROLL_BACK or not record.weight:
            return verdict
        found = self._marks.differ(shared, record, evidence)
        return look(replace(evidence, inputs_differ=found)) if found else verdict

    def _refresh(self, shared: Shared, record: RolloutRecord, now: float) -> None:
        """The next step is measured by how fast stable was in this one."""
        known = baseline_of(shared, record)
        assert known is not None
        found = known.refreshed(stables_answers(shared, record)[0], enough=ENOUGH)
        if found != known:
            keep_baseline(shared, found, now)

    def _evidence(self, shared: Shared, record: RolloutRecord, plan: Judgement, now: float) -> Evidence:
        store = shared.store
        counted = Counted.of(record.rollout_id, store.counters(record.rollout_id), store.documents(CALLER_COUNTS),
                             store.documents(TRUTHS))
        pairs, died = pairs_of(record.rollout_id, store.documents(PAIRS))
        baseline = baseline_of(shared, record)
        assert baseline is not None  # nothing leaves its preflight without one
        return gather(record, counted, baseline, pairs=pairs, shadow_failed=died, elapsed_s=record.elapsed_at(now),
                      silent_s=self._silent(record, counted.total + pairs.pairs),
                      signals={"loading": _cannot_load(shared, record), **self._signals.of(shared, record, plan)})

    def _silent(self, record: RolloutRecord, total: int) -> float:
        """For how long nothing was counted, as far as this steward knows; pauses and steps begin anew."""
        now, known = self._monotonic(), self._changed.get(record.rollout_id)
        if known is None or known[0] != total:
            self._changed[record.rollout_id] = known = total, now
        return now - known[1]

    def _publish(self, shared: Shared, record: RolloutRecord, told: dict[str, Any], now: float, epoch: int) -> None:
        """When it says something new, and now and then that it is still so."""
        news = tuple(told[name] for name in ("rollout_id", "step_id", "phase", "action", "reason", "checks"))
        before, at = self._told.get(record.model, ((), float("-inf")))
        if news != before or now - at >= _REFRESH_S:
            verdicts.publish(shared.store, record.model, told, now, epoch=epoch)
            self._told[record.model] = news, now


def next_event(record: RolloutRecord, plan: Judgement, verdict: Verdict, now: float, gap: bool,
               actor: str) -> Event | None:
    """What follows from a verdict, None for nothing. `gap`: for long nobody could judge."""
    if record.phase is Phase.FROZEN:
        return None
    if verdict.action is Action.ROLL_BACK:
        return RollBack(actor=actor, reason=verdict.reason)
    if record.phase is Phase.HOLD:
        return _while_held(record, plan, verdict, now, actor)
    if gap:
        return Hold(_OUTAGE, record.step_id, actor=actor, reason="Nobody could judge for a while, and the workers took "
                                                                 "the candidate off: one step's time to settle.")
    if verdict.action is Action.HOLD:
        return Hold(verdict.cause, record.step_id, actor=actor, reason=verdict.reason)
    if verdict.action is Action.ADVANCE:
        return Advance(record.step_id, verdict.risk, actor=actor, reason=verdict.reason)
    return None


def _while_held(record: RolloutRecord, plan: Judgement, verdict: Verdict, now: float, actor: str) -> Event | None:
    """A person's pause is a person's to end; any other ends with its cause, or after too long, but for what proves
    nothing."""
    held_s = now - record.updated
    if not record.cause:
        return None
    gone = held_s >= plan.step_s if record.cause == _OUTAGE else verdict.action is not Action.HOLD
    if gone:
        return Resume(record.cause, actor=actor, reason=f"The cause of the hold is gone. {verdict.reason}")
    if held_s >= plan.hold_s and plan.after_hold == "roll_back" and not {record.cause, verdict.cause} & {*SIGNALS}:
        return RollBack(actor=actor, reason=f"Held for {held_s / 3600:.1f} h for {record.cause}, longer than the plan "
                                            f"allows. {verdict.reason}")
    return None


def _is_judged(record: RolloutRecord) -> bool:
    judged = record.plan is not None and record.plan.judgement is not None
    return judged and record.running and record.phase is not Phase.PREFLIGHT


def _cannot_load(shared: Shared, record: RolloutRecord) -> str:
    """Where most workers do not have the candidate, it is not what the record says that is tried."""
    failed, _, workers = loading(shared, record)
    return f"{failed} of {workers} workers cannot load it." if 2 * failed > workers else ""


def _gap(shared: Shared, record: RolloutRecord, now: float) -> bool:
    """Whether the last verdict on this rollout is so old that the workers had stopped to follow."""
    latest = verdicts.read(shared.store, record.model)
    judged = latest["time"] if latest is not None and latest["rollout_id"] == record.rollout_id else record.updated
    return now - max(judged, record.updated) > _GAP_S
