"""Trials in a worker: the requests of each rollout that judges itself are counted, and a candidate that fails too
often is taken off at once.

Assignments are counted before their outcome. What is counted lies in a tally (`serinus.serving.rollout.tally`), from
where the steward takes it; the worker itself judges nothing but hard failures.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from math import exp, isfinite, log
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serinus.monitors.sequential.hard_failures import HardFailures
from serinus.serving.errors import Cancelled, PredictionFailed
from serinus.serving.request import InferenceRequest
from serinus.serving.rollout.answers import NO_CLASS, AnswerWriter, Given
from serinus.serving.rollout.baseline import Baseline
from serinus.serving.rollout.judgement import Judgement
from serinus.serving.rollout.state import Phase, RolloutRecord
from serinus.serving.rollout.tally import Part, Tally, is_fresh, step_number
from serinus.serving.router import CANDIDATE, Arm, Choice, Route, Router
from serinus.serving.shadow.slices import values_at

__all__ = ["Trial", "Trials"]

_log = logging.getLogger("serinus.rollout")

Outputs = Mapping[str, NDArray[Any]]
Veto = Callable[[str, str], None]
"""Takes the model's candidate off this host, and says why."""
_FEW = 32


class Trial:
    """One rollout as this worker sees it. `limit` is how much evidence of hard failures makes it cast a veto; `answers`
    keeps what truths are held against."""

    def __init__(self, tally: Tally, answers: AnswerWriter, baseline: Baseline, limit: float,
                 veto: Callable[[str], None]) -> None:
        self.tally = tally
        self.answers = answers
        self.watches = True
        """Whether hard failures have consequences; not while the rollout is frozen."""
        self.arms: tuple[Arm, ...] = ()
        """Those that are compared."""
        self._failures = HardFailures(baseline.expected_failures)
        self._expected = baseline.expected_failures
        self._limit = limit
        self._veto = veto

    def expected_ns(self, size: int, unknown: float) -> float:
        """How long the slower arm takes for so many rows (their bit length)."""
        return max(arm.expected_ns.get(size, unknown) for arm in self.arms)

    def assign(self, choice: Choice, now_ns: int) -> int:
        """Count that a request was given to an arm; what its outcome is to be told with."""
        return self.tally.assign(choice.arm.role == CANDIDATE, choice.key_hash, now_ns)

    def answered(self, assigned: int, choice: Choice, request: InferenceRequest, outputs: Outputs, uuid: bytes,
                 now_ns: int) -> None:
        """Count what was answered: its class (of the first row), and whether it is an answer at all."""
        if not assigned:
            return
        arm, name, rows = choice.arm.role == CANDIDATE, choice.arm.class_output, request.rows
        valid = True
        for output, array in outputs.items():
            if output == name and array.shape == (rows,):
                valid &= self.tally.classify(arm, choice.key_hash, assigned, array[0])
            elif not _is_valid(array, rows):
                valid = False
        if not valid:
            self.tally.count(arm, choice.key_hash, assigned, Part.INVALID)
        elif self.answers.wants(now_ns):
            label = outputs[name][0] if name is not None and name in outputs else None
            self._keep(assigned, choice, request, self.answers.labels.get(label, NO_CLASS), uuid)

    def _keep(self, assigned: int, choice: Choice, request: InferenceRequest, label: int, uuid: bytes) -> None:
        """For a truth or an event that comes later. What is personal makes no slice."""
        if label == NO_CLASS and not self.answers.any_answer:
            return
        inputs = request.inputs
        for arm in self.arms:
            if arm.guard is not None and arm.guard.personal:
                hidden = arm.guard.hidden(inputs, {})[0]
                inputs = {name: array for name, array in inputs.items() if hidden.get(name) is array}
        window = self.tally.window_of(choice.key_hash, assigned)
        self.answers.add(Given(uuid, choice.key_hash, label, window, int(choice.arm.role == CANDIDATE)),
                         values_at(inputs, 0))

    def settle(self, assigned: int, choice: Choice, error: str, took_ns: int) -> None:
        """Count how a request ended: `error` is its kind, empty for an answer."""
        if not assigned or error == Cancelled.kind:
            return
        arm, key, failed = choice.arm.role == CANDIDATE, choice.key_hash, error == PredictionFailed.kind
        self.tally.time(arm, key, assigned, took_ns)
        if error:
            self.tally.count(arm, key, assigned, Part.ERRORS)
            if failed:
                self.tally.count(arm, key, assigned, Part.FAILURES)
        if arm and is_fresh(assigned):
            self._failures.observe(failed)
            if failed and self.watches and self._failures.log_evidence >= self._limit:
                self.watches = False  # once is enough
                self._veto(f"It fails too often, as one worker saw by itself: evidence {self._odds()} to one that more "
                           f"than {100 * self._expected:.2g} % of its calls fail, needed {exp(self._limit):,.0f}.")

    def close(self) -> None:
        """Give its files up."""
        self.tally.close()
        self.answers.close()

    def _odds(self) -> str:
        return f"{exp(min(self._failures.log_evidence, 30.0)):,.0f}"


class Trials:
    """All trials of one worker, by rollout. `incarnation` names the worker's life, `workers` is how many there are."""

    def __init__(self, tallies: Path, answers: Path, incarnation: str, workers: int, veto: Veto) -> None:
        self._tallies, self._answers, self._incarnation = tallies, answers, incarnation
        self._workers, self._veto = workers, veto
        self._trials: dict[str, Trial] = {}
        self._hopeless: set[str] = set()

    def attach(self, router: Router, records: Mapping[str, RolloutRecord], baselines: Mapping[str, Baseline]) -> None:
        """Let every arm know its trial; trials of rollouts that are over end."""
        wanted = set()
        for name, route in router.routes.items():
            record = records.get(name)
            trial = None if record is None else self._of(route, record, baselines.get(name))
            for arm in route.arms:
                arm.trial = trial if trial is not None and arm in trial.arms else None
            if trial is not None and record is not None:
                wanted.add(record.rollout_id)
        for rollout_id in self._trials.keys() - wanted:
            self._trials.pop(rollout_id).close()

    def _of(self, route: Route, record: RolloutRecord, baseline: Baseline | None) -> Trial | None:
        judgement = record.plan.judgement if record.plan is not None else None
        if judgement is None or baseline is None or baseline.rollout_id != record.rollout_id:
            return None
        if not record.running or route.candidate is None or record.weight == 0:
            return self._trials.get(record.rollout_id) if record.running else None
        trial = self._trials.get(record.rollout_id) or self._begin(record, judgement, baseline, route.candidate)
        if trial is not None:
            trial.arms = route.stable, route.candidate
            trial.tally.begin_step(step_number(record.step_id))
            trial.tally.measure_by(baseline.thresholds_ns)
            trial.watches = record.phase is not Phase.FROZEN
        return trial

    def _begin(self, record: RolloutRecord, judgement: Judgement, baseline: Baseline, candidate: Arm) -> Trial | None:
        if record.rollout_id in self._hopeless:
            return None
        try:
            tally = Tally(self._tallies, self._incarnation, record.model, record.rollout_id,
                          thresholds_ns=baseline.thresholds_ns, labels=baseline.labels)
        except OSError:
            self._hopeless.add(record.rollout_id)
            _log.exception("The rollout of %s:%s has no room for its counts in this worker", record.model,
                           candidate.version)
            return None
        limit = log(judgement.judges_of("failures") * self._workers / judgement.alpha_of("failures"))
        answers = AnswerWriter(self._answers, record.rollout_id, self._incarnation, record.model, baseline.labels,
                               any_answer=bool(judgement.all_events))
        trial = Trial(tally, answers, baseline, limit, lambda reason: self._veto(record.model, reason))
        self._trials[record.rollout_id] = trial
        return trial

    def close(self) -> None:
        """Give all tallies up."""
        for trial in self._trials.values():
            trial.close()
        self._trials.clear()


def _is_valid(array: NDArray[Any], rows: int) -> bool:
    """Whether an output has its rows, and numbers that are finite."""
    shape = array.shape
    if not shape or shape[0] != rows:
        return False
    if array.dtype.kind != "f":
        return True
    if rows == 1 and len(shape) == 2 and shape[1] <= _FEW:
        numbers = array.tolist()[0]  # for few this is five times as fast as numpy
    elif len(shape) == 1 and rows <= _FEW:
        numbers = array.tolist()
    else:
        return bool(np.isfinite(array).all())
    return isfinite(sum(numbers)) or all(map(isfinite, numbers))  # the sum of finite numbers may be infinite
