"""The policies: each reads a course of events minute by minute and says when it rolls back, if it does.

The rules of others are written from their public documentation: Argo Rollouts' analysis sample and a tuned set of the
kind that people share, Flagger's sample, and the published rule of Kayenta's judge (a 98 % Mann–Whitney interval
against a tolerance of 25 %). Ours is the library's own judgement, step by step, nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.stats import norm

from serinus.serving.rollout import Judgement, Phase
from serinus.serving.rollout.analysis import Action, judge
from serinus.serving.rollout.evidence import Arms, Evidence, Pairs, Window
from tests.benchmarks.rollouts.scenarios import MINUTES, SHADOW_MINUTES, STEP_MINUTES, STEPS, Course, Floats

PROMOTED, ROLLED_BACK, HELD = "promoted", "rolled back", "held"


class Ending(NamedTuple):
    """How a rollout ended: how, after how many minutes, and how many requests the candidate answered."""

    how: str
    minutes: int
    exposed: int


def always_promote(course: Course) -> Ending:
    """No analysis at all."""
    return _ending(course, PROMOTED, MINUTES)


def argo_sample(course: Course) -> Ending:
    """Argo Rollouts' documented sample: success rate ≥ 95 % every 5 minutes, three failures allowed."""
    success = [_success(course, minute - 5, minute) for minute in range(5, MINUTES + 1, 5)]
    return _count_failures(course, [rate < 0.95 for rate in success], every=5, allowed=3)


def argo_tuned(course: Course) -> Ending:
    """A tuned set: success ≥ 98 % and p99 ≤ 1.2 × stable's every minute, three failures allowed."""
    failed = [_success(course, minute, minute + 1) < 0.98 or course.p99[0][minute] > 1.2 * course.p99[1][minute]
              for minute in range(MINUTES)]
    return _count_failures(course, failed, every=1, allowed=3)


def flagger_sample(course: Course) -> Ending:
    """Flagger's documented sample: success ≥ 99 %, p99 ≤ 500 ms every minute, ten failures in a row of checks."""
    failed = [_success(course, minute, minute + 1) < 0.99 or course.p99[0][minute] > 500 for minute in range(MINUTES)]
    return _count_failures(course, failed, every=1, allowed=9)


def kayenta(course: Course) -> Ending:
    """Kayenta's judge every minute over all minutes of the step so far: fail below a score of 75."""
    rates = [course.errors[arm] / np.maximum(1, course.units[arm]) for arm in (0, 1)]
    bodies = [course.slow["p50"][arm] / np.maximum(1, course.units[arm]) for arm in (0, 1)]
    for minute in range(MINUTES):
        start = minute // STEP_MINUTES * STEP_MINUTES
        if minute - start < 5:
            continue
        metrics = [(rates[0][start : minute + 1], rates[1][start : minute + 1])]
        metrics += [(course.p99[0][start : minute + 1], course.p99[1][start : minute + 1])]
        metrics += [(bodies[0][start : minute + 1], bodies[1][start : minute + 1])]
        passed = [not _is_high(theirs, others) for theirs, others in metrics]
        if 100 * np.mean(passed) < 75:
            return _ending(course, ROLLED_BACK, minute + 1)
    return _ending(course, PROMOTED, MINUTES)


def serinus_canary(course: Course) -> Ending:
    """Our judgement, without a shadow."""
    return _judge_canary(course, Judgement(shadow=0, step_s=60.0 * STEP_MINUTES, patience_s=3600.0), Pairs())


def serinus_shadow(course: Course) -> Ending:
    """Our judgement, with a shadow of 10 % before the canary."""
    plan = Judgement(shadow=1000, shadow_s=60.0 * SHADOW_MINUTES, step_s=60.0 * STEP_MINUTES, patience_s=3600.0)
    pairs = Pairs()
    for minute in range(SHADOW_MINUTES):
        pairs = _pairs(course, minute + 1)
        verdict = judge(plan, Phase.SHADOW, 0, Evidence(pairs=pairs, elapsed_s=60.0 * (minute + 1)))
        if verdict.action is Action.ROLL_BACK:
            return Ending(ROLLED_BACK, minute + 1, 0)
    ended = _judge_canary(course, plan, pairs)
    return ended._replace(minutes=ended.minutes + SHADOW_MINUTES)


POLICIES: dict[str, Callable[[Course], Ending]] = {
    "always promote": always_promote,
    "Argo docs sample": argo_sample,
    "Argo tuned": argo_tuned,
    "Flagger docs sample": flagger_sample,
    "Kayenta's rule, every minute": kayenta,
    "Serinus, canary only": serinus_canary,
    "Serinus, shadow 10 % first": serinus_shadow,
}

OURS = tuple(name for name in POLICIES if name.startswith("Serinus"))


def _judge_canary(course: Course, plan: Judgement, pairs: Pairs) -> Ending:
    """Every minute; a step that may not end yet goes on (events go on as in its last minute's weight), a hold waits."""
    for minute in range(MINUTES):
        step = minute // STEP_MINUTES
        evidence = _evidence(course, minute, pairs)
        verdict = judge(plan, Phase.CANARY, int(STEPS[step] * 10_000), evidence, step_id=str(step))
        if verdict.action is Action.ROLL_BACK:
            return _ending(course, ROLLED_BACK, minute + 1)
        if verdict.action is Action.HOLD and verdict.cause != "silence":
            return _ending(course, HELD, minute + 1)
    return _ending(course, PROMOTED if verdict.action is Action.ADVANCE else HELD, MINUTES)


def _evidence(course: Course, minute: int, pairs: Pairs) -> Evidence:
    """What the workers' counts say after a minute, in stretches of ten minutes; uncounted minutes are missing."""
    windows = []
    for step, weight in enumerate(STEPS[: minute // STEP_MINUTES + 1]):
        span = slice(step * STEP_MINUTES, min(minute + 1, (step + 1) * STEP_MINUTES))
        seen = course.counted[span]
        units = [int(arm[span][seen].sum()) for arm in course.units]
        callers = [int(arm[span][seen].sum()) for arm in course.callers]
        events = {"errors": (course.failed_callers, callers), "mix:watched": (course.watched, units)}
        events |= {f"latency:{name}": (arms, units) for name, arms in course.slow.items()}
        labelled = [int(arm[span][seen].sum()) for arm in course.labelled]
        if any(labelled):
            events["ground_truth"] = (course.wrong, labelled)
            events["slices:small"] = (course.slice_wrong, [int(arm[span][seen].sum()) for arm in course.slice_labelled])
        counts = {name: Arms(int(arms[0][span][seen].sum()), of[0], int(arms[1][span][seen].sum()), of[1])
                  for name, (arms, of) in events.items()}
        counts["failures"] = Arms(int(course.crashes[span][seen].sum()), units[0], 0, units[1])
        windows.append(Window(weight, callers[0], callers[1], counts, str(step)))
    silent = 0
    while silent <= minute and not course.counted[minute - silent]:
        silent += 1
    return Evidence(tuple(windows), pairs, elapsed_s=60.0 * (minute % STEP_MINUTES + 1), silent_s=60.0 * silent)


def _pairs(course: Course, minutes: int) -> Pairs:
    def total(counts: object) -> int:
        return int(np.asarray(counts)[:minutes].sum())

    return Pairs(total(course.pairs), total(course.pair_labelled), total(course.pair_wrong[0]),
                 total(course.pair_wrong[1]), total(course.pair_failed[0]), total(course.pair_failed[1]),
                 {"watched": (total(course.pair_flips[0]), total(course.pair_flips[1]))},
                 {"small": (total(course.pair_slice_wrong[0]), total(course.pair_slice_wrong[1]))})


def _success(course: Course, start: int, end: int) -> float:
    units = course.units[0][start:end][course.counted[start:end]].sum()
    errors = course.errors[0][start:end][course.counted[start:end]].sum()
    return float(1 - errors / units) if units else 1.0


def _count_failures(course: Course, failed: list[bool], *, every: int, allowed: int) -> Ending:
    counts = np.cumsum(failed)
    over = np.flatnonzero(counts > allowed)
    return _ending(course, ROLLED_BACK, int(over[0] + 1) * every) if over.size else _ending(course, PROMOTED, MINUTES)


def _is_high(theirs: Floats, others: Floats) -> bool:
    """The 98 % interval of the shift (Hodges–Lehmann, normal approximation) lies beyond 25 % of the control's mean."""
    theirs, others = theirs[np.isfinite(theirs)], others[np.isfinite(others)]
    if len(theirs) < 2 or len(others) < 2:
        return False
    shifts = np.sort((theirs[:, None] - others).ravel())
    n, m = len(theirs), len(others)
    rank = int(np.floor(n * m / 2 - norm.ppf(0.99) * np.sqrt(n * m * (n + m + 1) / 12)))
    return bool(shifts[max(0, rank)] > 0.25 * others.mean())


def _ending(course: Course, how: str, minutes: int) -> Ending:
    return Ending(how, minutes, int(course.units[0][:minutes].sum()))
