"""A plan tried out before it is used: on made-up traffic, or on what an earlier rollout counted.

The state machine and the judgement are the real ones; only the requests are drawn at random. Seeded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from serinus.serving.rollout.analysis import Action, Verdict, judge
from serinus.serving.rollout.errors import PlanInvalid
from serinus.serving.rollout.evidence import NO_PAIRS, Arms, Evidence, Pairs, Window
from serinus.serving.rollout.judgement import Judgement
from serinus.serving.rollout.planner import Traffic
from serinus.serving.rollout.state import FULL_WEIGHT, Phase, Plan, RolloutRecord
from serinus.serving.rollout.transitions import Advance, Hold, RollBack, Start, advance

__all__ = ["Behaviour", "Decision", "Ending", "play", "replay"]

_BUCKET_S = 600.0
_LOOKS = 40
_LONGEST_S = 14 * 24 * 3600.0
_BOTH_WRONG = 0.5
_TAIL = 0.01
_ACTOR = "simulation"


@dataclass(frozen=True, slots=True)
class Behaviour:
    """How the candidate differs: each is a probability per request, None where it is like stable."""

    errors: float | None = None
    failures: float = 0.0
    """Exceptions and crashes."""
    tail: float = _TAIL
    """Requests slower than stable's 99th percentile."""
    wrong: float | None = None

    def __post_init__(self) -> None:
        for name in ("errors", "failures", "tail", "wrong"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 1:
                raise PlanInvalid(f"The candidate's {name}: expected a share from 0 to 1, got {value!r}.")


class Ending(NamedTuple):
    """How a simulated rollout ended: its last phase, when, and how many callers the candidate had answered."""

    phase: Phase
    seconds: float
    exposed: int
    reason: str


class Decision(NamedTuple):
    """What another judgement would have said at the end of a recorded window."""

    step_id: str
    window: int
    verdict: Verdict


@dataclass
class _World:
    """What was counted so far."""

    traffic: Traffic
    candidate: Behaviour
    rng: np.random.Generator
    windows: list[Window]
    pairs: Pairs = NO_PAIRS
    waiting: tuple[tuple[float, int, int, int], ...] = ()
    """Pairs whose ground truth is on its way: when it is due, how many, and how many only one version got wrong."""
    truths: tuple[tuple[float, int, Arms], ...] = ()
    """Ground truth of requests on its way: when it is due, of which window, and what it says."""

    def pass_shadow(self, share: float, seconds: float, now: float) -> None:
        """Pairs that are mirrored, and those whose ground truth arrives now."""
        pairs = int(self.rng.poisson(self.traffic.rate * share * seconds))
        failed = int(self.rng.binomial(pairs, self.candidate.failures))
        labelled = int(self.rng.binomial(pairs, self.traffic.labelled))
        worse, better = _one_wrong(self.traffic.wrong, self.candidate.wrong)
        only = self.rng.binomial(labelled, worse), self.rng.binomial(labelled, better)
        waiting = (*self.waiting, (now + self.traffic.labels_delay_s, labelled, int(only[0]), int(only[1])))
        known = [late for late in waiting if late[0] <= now]
        self.waiting = tuple(late for late in waiting if late[0] > now)
        old = self.pairs
        self.pairs = old._replace(
            pairs=old.pairs + pairs, candidate_failed=old.candidate_failed + failed,
            labelled=old.labelled + sum(late[1] for late in known),
            candidate_wrong=old.candidate_wrong + sum(late[2] for late in known),
            stable_wrong=old.stable_wrong + sum(late[3] for late in known))

    def pass_canary(self, weight: float, seconds: float, step_id: str, since: float, now: float) -> None:
        """Requests of both arms, in the window of the present ten minutes; their ground truth goes to it, too."""
        requests = int(self.rng.poisson(self.traffic.rate * seconds))
        theirs = int(self.rng.binomial(requests, weight))
        others = requests - theirs
        mine, errors = self.candidate, self.traffic.errors
        rates = {"errors": (errors if mine.errors is None else mine.errors, errors), "invalid": (0.0, 0.0),
                 "failures": (mine.failures, 0.0), "latency:p99": (mine.tail, _TAIL)}
        events = {name: Arms(int(self.rng.binomial(theirs, a)), theirs, int(self.rng.binomial(others, b)), others)
                  for name, (a, b) in rates.items()}
        fresh = Window(weight, theirs, others, events, step_id)
        if self.windows and self.windows[-1].step_id == step_id and since % _BUCKET_S >= seconds:
            fresh = _together(self.windows.pop(), fresh)
        self.windows.append(fresh)
        if self.traffic.labelled:
            due = now + self.traffic.labels_delay_s
            self.truths = (*self.truths, (due, len(self.windows) - 1, self._ground_truth(theirs, others)))
        for _, place, truth in (late for late in self.truths if late[0] <= now):
            told = Window(self.windows[place].weight, 0, 0, {"ground_truth": truth}, step_id)
            self.windows[place] = _together(self.windows[place], told)
        self.truths = tuple(late for late in self.truths if late[0] > now)

    def _ground_truth(self, theirs: int, others: int) -> Arms:
        labelled = [int(self.rng.binomial(units, self.traffic.labelled)) for units in (theirs, others)]
        stable = self.traffic.wrong
        mine = stable if self.candidate.wrong is None else self.candidate.wrong
        return Arms(int(self.rng.binomial(labelled[0], mine)), labelled[0],
                    int(self.rng.binomial(labelled[1], stable)), labelled[1])


def play(plan: Plan, traffic: Traffic, candidate: Behaviour, rng: np.random.Generator) -> Ending:
    """One rollout of a candidate that behaves so; persons who have to approve it do so at once. Raises PlanInvalid for
    a plan that a person takes."""
    judgement = plan.judgement
    if judgement is None:
        raise PlanInvalid("A person takes the steps of this plan, so it cannot be simulated. Give it a judgement.")
    plan = replace(plan, judgement=replace(judgement, approve=0))
    idle = RolloutRecord.initial("model", "1", 0.0, digest="one")
    record, _ = advance(idle, Start("simulated", "2", "two", plan, "salt", actor=_ACTOR), 0.0)
    record, _ = advance(record, Advance(record.step_id, actor=_ACTOR), 0.0)
    world, now, silent, exposed = _World(traffic, candidate, rng, []), 0.0, 0.0, 0
    while record.running and now < _LONGEST_S:
        since, look = now - record.updated, _look_s(judgement, record)
        now += look
        before = _seen(world)
        if record.phase is Phase.SHADOW:
            world.pass_shadow(record.shadow_weight / FULL_WEIGHT, look, now)
        elif record.weight < FULL_WEIGHT:
            world.pass_canary(record.weight / FULL_WEIGHT, look, record.step_id, since, now)
            exposed = sum(window.candidate for window in world.windows)
        silent = 0.0 if _seen(world) > before or record.weight == FULL_WEIGHT else silent + look
        evidence = Evidence(tuple(world.windows), world.pairs, elapsed_s=now - record.updated, silent_s=silent,
                            step_units=judgement.step_units if record.weight == FULL_WEIGHT else None)
        verdict = judge(judgement, record.phase, record.weight, evidence, step_id=record.step_id)
        record = _obey(record, verdict, now)
        if record.phase is Phase.HOLD:
            break
    return Ending(record.phase, now, exposed, record.reason)


def replay(plan: Judgement, windows: Sequence[Window], pairs: Pairs = NO_PAIRS) -> list[Decision]:
    """What `plan` would have said after each recorded window, as long as it says something new.

    It ends where the rollout would have.
    """
    told: list[Decision] = []
    for number in range(len(windows)):
        step_id = windows[number].step_id
        inside = sum(window.step_id == step_id for window in windows[: number + 1])
        evidence = Evidence(tuple(windows[: number + 1]), pairs, elapsed_s=_BUCKET_S * inside)
        verdict = judge(plan, Phase.CANARY, round(windows[number].weight * FULL_WEIGHT), evidence, step_id=step_id)
        if not told or (told[-1].verdict.action, told[-1].step_id) != (verdict.action, step_id):
            told.append(Decision(step_id, number, verdict))
        if verdict.action is Action.ROLL_BACK:
            break
    return told


def _obey(record: RolloutRecord, verdict: Verdict, now: float) -> RolloutRecord:
    match verdict.action:
        case Action.ADVANCE:
            event: Advance | RollBack | Hold = Advance(record.step_id, verdict.risk, actor=_ACTOR,
                                                       reason=verdict.risk or verdict.reason)
        case Action.ROLL_BACK:
            event = RollBack(actor=_ACTOR, reason=verdict.reason)
        case Action.HOLD:
            event = Hold(verdict.cause, record.step_id, actor=_ACTOR, reason=verdict.reason)
        case Action.WAIT:
            return record
    return advance(record, event, now)[0]


def _look_s(plan: Judgement, record: RolloutRecord) -> float:
    least = {Phase.SHADOW: plan.shadow_s, Phase.SOAK: plan.soak_s}.get(record.phase, plan.step_s)
    return min(_BUCKET_S / 2, max(1.0, least / _LOOKS))


def _seen(world: _World) -> int:
    return world.pairs.pairs + sum(window.candidate + window.stable for window in world.windows)


def _one_wrong(stable: float, candidate: float | None) -> tuple[float, float]:
    """How often only the candidate, and only stable, is wrong: half of stable's mistakes are everybody's."""
    both = _BOTH_WRONG * stable
    mine = stable if candidate is None else candidate
    return max(0.0, mine - both), stable - min(both, mine)


def _together(first: Window, second: Window) -> Window:
    names = {**first.events, **second.events}
    none = Arms(0, 0, 0, 0)
    events = {name: Arms(*(a + b for a, b in zip(first.events.get(name, none), second.events.get(name, none),
                                                 strict=True))) for name in names}
    return first._replace(candidate=first.candidate + second.candidate, stable=first.stable + second.stable,
                          events=events)
