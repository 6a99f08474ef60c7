"""The judgement of a rollout: a pure function of its counts.

`judge` looks at everything that both arms counted so far and says what to do: wait, go on, hold or roll back, and why
in words. It may be asked as often as one likes: each check's evidence is an e-process, and the checks share the
plan's `alpha` (Bonferroni), so the chance that a candidate which is no worse is *ever* rolled back is at most alpha.
It assumes that callers are assigned at random, that units are independent, and that events are seen alike in both arms.
Missing data is never a pass: it holds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import groupby
from math import exp, inf, log

from serinus.monitors.sequential import mcnemar, paired_share, rate_ratio
from serinus.monitors.sequential.confidence_sequences import probability_bounds
from serinus.monitors.sequential.rate_ratio import Interval
from serinus.monitors.sequential.sample_ratio import log_bayes_factor
from serinus.serving.rollout.evidence import Arms, Evidence, Pairs, Window
from serinus.serving.rollout.judgement import Judgement
from serinus.serving.rollout.state import Phase

__all__ = ["APPROVAL", "Action", "Check", "Verdict", "judge"]

APPROVAL = "approval"
"""The cause of waiting where all that is missing is a person's approval."""
_SILENT_S = 300.0
_MISMATCH_ALPHA = 0.01
_BROKEN_RATIO = 3.0
_MANY = log(1_000_000)
_CERTIFIED = ("errors", "latency", "invalid", "ground_truth")
"""What a certificate has to cover, as far as there is anything to count."""


class Action(StrEnum):
    """What a judgement asks for."""

    WAIT = "wait"
    """Nothing yet: more time or more units are needed."""
    ADVANCE = "advance"
    """Take the next step; after the last one, make the candidate stable."""
    HOLD = "hold"
    """Stop where it is: nothing may be concluded at present."""
    ROLL_BACK = "roll_back"
    """Take the candidate off at once."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing compared between the arms.

    `evidence` is the natural log of the evidence of harm, which rolls back when it reaches `limit`. What a look does
    not need is worked out when it is asked for: a rollout is looked at every second.
    """

    name: str
    arms: Arms
    evidence: float
    limit: float
    weights: tuple[float, ...] = ()
    """The candidate's share in each stretch of time; empty for pairs."""
    candidate: tuple[int, ...] = ()
    stable: tuple[int, ...] = ()
    certified: bool = False
    """Of pairs: whether they certify the candidate."""

    @property
    def kind(self) -> str:
        """Which of `CHECKS` it belongs to."""
        return self.name.split(":")[0]

    @property
    def harmful(self) -> bool:
        """Whether the evidence of harm is enough."""
        return self.evidence >= self.limit

    @property
    def meter(self) -> float:
        """How much of the evidence that would roll back is there, from 0 to 1."""
        return min(1.0, max(0.0, self.evidence / self.limit))

    def interval(self, alpha: float = 0.05) -> Interval:
        """The ratios of the rates that are still possible; no bounds where pairs were compared."""
        if not self.weights:
            return Interval(0.0, inf)
        return rate_ratio.interval(self.weights, self.candidate, self.stable, alpha=alpha)

    def route(self, plan: Judgement) -> str:
        """How the candidate is certified to be no worse; empty while it is not.

        `ratio`: its rate is below `margin` times stable's. `absolute`: its own rate is surely a rare one. `paired`.
        Outcome events have none: they come late, so few of them prove nothing.
        """
        if self.kind == "events":
            return ""
        if not self.weights:
            return "paired" if self.certified else ""
        ratio = rate_ratio.non_inferiority(self.weights, self.candidate, self.stable, margin=plan.margin)
        if float(ratio) >= log(1 / plan.beta):
            return "ratio"
        others = probability_bounds(self.arms.stable, self.arms.stable_units, plan.beta).high
        return "absolute" if self.upper(plan.beta) < plan.rare(others) else ""

    def upper(self, beta: float) -> float:
        """What the candidate's own rate is at most."""
        return probability_bounds(min(self.arms[0], self.arms[1]), self.arms[1], beta).high

    def text(self) -> str:
        """The counts in words: `errors: 12 of 400 against 4 of 3,600 (ratio 8.1 to 41)`."""
        arms, (low, high) = self.arms, self.interval()
        bounds = "" if low == 0 and high == inf else f" (ratio {low:.2g} to {high:.2g})"
        return (f"{self.name}: {arms.candidate:,} of {arms.candidate_units:,} against {arms.stable:,} of "
                f"{arms.stable_units:,}{bounds}")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to do, why in one sentence, and each check on which it rests."""

    action: Action
    reason: str
    checks: tuple[Check, ...] = ()
    cause: str = ""
    """Of a hold: its cause in one word, so that it can be seen to be gone; `APPROVAL` where only that is missing."""
    risk: str = ""
    """Of an advance without a certificate: what is not known."""


def judge(plan: Judgement, phase: Phase, weight: int, evidence: Evidence, *, step_id: str = "",
          approvers: int = 0) -> Verdict:
    """Say what is to be done.

    Args:
        plan: what the rollout asks for.
        phase: where it stands; a held one is judged as what it was before.
        weight: the candidate's share in basis points.
        evidence: all counts so far.
        step_id: the present step.
        approvers: how many persons have yet to approve the end of this step.
    """
    checks = (*_checks(plan, evidence.windows), *_paired_checks(plan, evidence.pairs))
    for obstacle in (_silence(evidence), _mismatch(evidence.windows)):
        if obstacle is not None and not any(check.harmful and check.name == "failures" for check in checks):
            return Verdict(Action.HOLD, obstacle[1], checks, cause=obstacle[0])
    harmful = [check for check in checks if check.harmful]
    if harmful:
        return _blame(harmful, evidence, checks)
    signals = ("stable", _stable_broken(evidence)), ("crash", _crashed(phase, evidence))
    for cause, why in (*signals, *evidence.signals.items()):
        if why:
            return Verdict(Action.HOLD, why, checks, cause=cause)
    missing = _missing(plan, phase, evidence, step_id)
    if missing:
        return Verdict(Action.WAIT, missing, checks)
    verdict = _certificate(plan, phase, weight, evidence, checks)
    if approvers and verdict.action is Action.ADVANCE:
        who = "A person has" if approvers == 1 else f"{approvers} persons have"
        return Verdict(Action.WAIT, f"{who} to approve it (`serinus rollout approve`). {verdict.reason}", checks,
                       cause=APPROVAL, risk=verdict.risk)
    return verdict


def _blame(harmful: Sequence[Check], evidence: Evidence, checks: tuple[Check, ...]) -> Verdict:
    """Roll back, unless the arms cannot be compared: then nobody is to blame yet, but for pairs, which had the same
    inputs, and for hard failures, whatever brought them on."""
    sure = [check for check in harmful if not evidence.inputs_differ or ":pairs" in check.name
            or check.kind == "failures"]
    worst = max(sure or harmful, key=lambda check: check.evidence - check.limit)
    if not sure:
        return Verdict(Action.HOLD, f"{worst.text()}, but the arms did not get the same inputs: "
                                    f"{evidence.inputs_differ}.", checks, cause="inputs")
    odds = f"{exp(worst.evidence):,.0f}" if worst.evidence < _MANY else f"more than {exp(_MANY):,.0f}"
    return Verdict(Action.ROLL_BACK, f"The candidate is worse by {worst.text()}; evidence {odds} to one, needed "
                                     f"{exp(worst.limit):,.0f}.", checks)


def _silence(evidence: Evidence) -> tuple[str, str] | None:
    if evidence.silent_s < _SILENT_S:
        return None
    return "silence", f"Nothing was counted for {evidence.silent_s / 60:.0f} minutes."


def _mismatch(windows: Sequence[Window]) -> tuple[str, str] | None:
    """A broken assignment: by step, multiplied."""
    total, said = 0.0, ""
    for weight, group in groupby(windows, key=lambda window: window.weight):
        if not 0 < weight < 1:
            continue
        units = [(window.candidate, window.stable) for window in group]
        theirs, others = (sum(column) for column in zip(*units, strict=True))
        found = log_bayes_factor((theirs, others), (weight, 1 - weight))
        total += found
        if found > 0:
            said = (f"the candidate got {theirs:,} of {theirs + others:,} units, "
                    f"{100 * theirs / (theirs + others):.2f} instead of {100 * weight:g} %")
    if total < log(1 / _MISMATCH_ALPHA):
        return None
    return "mismatch", f"The assignment is broken: {said}. Nothing can be concluded from such arms."


def _stable_broken(evidence: Evidence) -> str:
    """Whether stable itself fails much more often than before: then neither arm tells anything of the other."""
    events, units = evidence.baseline_errors
    if not units or not evidence.windows:
        return ""
    before = max(probability_bounds(events, units).high, 1e-3)
    latest = [window.events["errors"] for window in evidence.windows[-3:] if "errors" in window.events]
    failed, seen = sum(arms.stable for arms in latest), sum(arms.stable_units for arms in latest)
    now = probability_bounds(failed, seen).low
    if now <= _BROKEN_RATIO * before:
        return ""
    return f"Stable itself fails: {failed:,} of {seen:,} of late, at most {100 * before:.2g} % before."


def _crashed(phase: Phase, evidence: Evidence) -> str:
    """A candidate that took its shadow down would take a worker down, with the requests that are under way in it."""
    if phase is not Phase.SHADOW or not evidence.shadow_failed:
        return ""
    times = "once" if evidence.shadow_failed == 1 else f"{evidence.shadow_failed:,} times"
    return (f"The shadow's process died {times} in a call of the candidate, so it gets no request by itself. If "
            "something else killed that process, abort and retry.")


def _missing(plan: Judgement, phase: Phase, evidence: Evidence, step_id: str) -> str:
    """What the step still needs before it can end; empty when it has all."""
    if phase is Phase.SHADOW:
        left = plan.shadow_s - evidence.elapsed_s
        if evidence.pairs.pairs < plan.shadow_pairs:
            return f"The shadow has {evidence.pairs.pairs:,} pairs of {plan.shadow_pairs:,}."
    elif phase is Phase.SOAK:
        left = plan.soak_s - evidence.elapsed_s
    else:
        left = plan.step_s - evidence.elapsed_s
        units = evidence.step_units
        if units is None:
            units = sum(window.candidate for window in evidence.windows if window.step_id == step_id)
        if units < plan.step_units:
            return f"The candidate answered {units:,} units of {plan.step_units:,} in this step."
    return f"The step has {left:.0f} s to go." if left > 0 else ""


def _certificate(plan: Judgement, phase: Phase, weight: int, evidence: Evidence,
                 checks: tuple[Check, ...]) -> Verdict:
    if phase is not Phase.SHADOW and weight < plan.certify_from:
        return Verdict(Action.ADVANCE, "Nothing is wrong so far; a step of this size can only detect.", checks)
    wanted = [check for check in checks if check.kind in _CERTIFIED]
    routes = {check.name: check.route(plan) for check in wanted}
    missing = [check for check in wanted if not routes[check.name]]
    if phase is Phase.SHADOW:
        return _end_of_shadow(plan, evidence, checks, missing)
    if not wanted:
        return Verdict(Action.WAIT, "Nothing that a certificate rests on was counted yet.", checks)
    truth = any(check.kind == "ground_truth" for check in wanted)
    unknown = [] if truth else ["accuracy not judged: no ground truth"]
    if not missing:
        how = ", ".join(f"{name} ({route})" for name, route in routes.items())
        return Verdict(Action.ADVANCE, f"Certified to be no worse: {how}.", checks, risk="; ".join(unknown))
    if evidence.elapsed_s < plan.patience_s or plan.unproven == "stay":
        names = ", ".join(check.name for check in missing)
        return Verdict(Action.WAIT, f"Nothing is wrong, but not yet certified: {names}.", checks)
    bounds = [f"{check.name} below {100 * check.upper(plan.beta):.2g} %" for check in missing]
    return Verdict(Action.ADVANCE, f"Nothing was wrong for {evidence.elapsed_s / 3600:.1f} h: it goes on with the risk "
                                   "stated.", checks, risk="; ".join((*bounds, *unknown)))


def _end_of_shadow(plan: Judgement, evidence: Evidence, checks: tuple[Check, ...],
                   missing: Sequence[Check]) -> Verdict:
    paired = [check for check in missing if check.name == "ground_truth:pairs"]
    if paired and evidence.elapsed_s < plan.patience_s:
        return Verdict(Action.WAIT, "Nothing is wrong, but the pairs with ground truth do not certify it yet.", checks)
    risk = "accuracy not certified by pairs with ground truth" if paired else ""
    risk = risk if evidence.pairs.labelled else "no ground truth in the shadow"
    return Verdict(Action.ADVANCE, f"{evidence.pairs.pairs:,} pairs in the shadow without harm.", checks, risk=risk)


_NONE = Arms(0, 0, 0, 0)


def _checks(plan: Judgement, windows: Sequence[Window]) -> list[Check]:
    """Every rate that is counted in both arms."""
    compared = [window for window in windows if 0 < window.weight < 1]
    names = sorted({name for window in compared for name in window.events})
    weights = tuple(window.weight for window in compared)
    counts = {name: [window.events.get(name, _NONE) for window in compared] for name in names}
    parts = Counter(name.split(":")[0] for name in names)
    checks = []
    for name, evidence in _evidence(plan, weights, counts).items():
        kind, arms = name.split(":")[0], counts[name]
        total, limit = Arms(*map(sum, zip(*arms, strict=True))), _limit(plan, kind, parts[kind])
        checks.append(Check(name, total, evidence, limit, weights, _theirs(arms), _others(arms)))
    return checks


def _evidence(plan: Judgement, weights: Sequence[float], counts: Mapping[str, Sequence[Arms]]) -> dict[str, float]:
    """The evidence of harm, of all checks at once: more of it, of a wanted event less, of a class either."""
    rarer = [name for name in counts if _is_wanted(plan, name) or name.startswith("mix:")]
    found = dict(zip(counts, _harm(plan, weights, [*map(_theirs, counts.values())], [*map(_others, counts.values())]),
                     strict=True))
    turned = _harm(plan, [1 - weight for weight in weights], [_others(counts[name]) for name in rarer],
                   [_theirs(counts[name]) for name in rarer])
    for name, less in zip(rarer, turned, strict=True):
        found[name] = less if _is_wanted(plan, name) else max(found[name], less) - log(2)
    return found


def _is_wanted(plan: Judgement, name: str) -> bool:
    kind, _, part = name.partition(":")
    return kind == "events" and part in plan.wanted_events


def _harm(plan: Judgement, weights: Sequence[float], ours: list[tuple[int, ...]],
          others: list[tuple[int, ...]]) -> list[float]:
    return [float(value) for value in rate_ratio.harm_since(weights, ours, others, ratio=plan.ratio)] if ours else []


def _theirs(counts: Sequence[Arms]) -> tuple[int, ...]:
    return tuple(arms.candidate for arms in counts)


def _others(counts: Sequence[Arms]) -> tuple[int, ...]:
    return tuple(arms.stable for arms in counts)


def _limit(plan: Judgement, kind: str, parts: int = 1) -> float:
    """How much evidence rolls back: the budget of a kind is shared by its parts, and by all who judge it."""
    return log(plan.judges_of(kind) * max(1, parts) / plan.alpha_of(kind))


def _paired_checks(plan: Judgement, pairs: Pairs) -> list[Check]:
    """What the shadow saw: the same inputs, answered by both."""
    if not pairs.pairs:
        return []
    failed = Arms(pairs.candidate_failed, pairs.pairs, pairs.stable_failed, pairs.pairs)
    found = [Check("failures:pairs", failed, mcnemar.log_evidence(pairs.candidate_failed, pairs.stable_failed),
                   _limit(plan, "failures"))]
    if pairs.labelled:
        wrong = Arms(pairs.candidate_wrong, pairs.labelled, pairs.stable_wrong, pairs.labelled)
        fine = paired_share.log_evidence(pairs.stable_wrong, pairs.candidate_wrong, pairs.labelled,
                                         tolerance=-plan.accuracy_margin)
        found.append(Check("ground_truth:pairs", wrong, mcnemar.log_evidence(pairs.candidate_wrong, pairs.stable_wrong),
                           _limit(plan, "ground_truth"), certified=fine >= log(1 / plan.beta)))
    limit = _limit(plan, "slices", len(pairs.slices))
    for name, (worse, better) in sorted(pairs.slices.items()):
        found.append(Check(f"slices:pairs:{name}", Arms(worse, pairs.labelled, better, pairs.labelled),
                           mcnemar.log_evidence(worse, better), limit))
    limit = _limit(plan, "mix", len(pairs.flips))
    for label, (more, less) in sorted(pairs.flips.items()):
        evidence = paired_share.log_evidence_both_ways(more, less, pairs.pairs, tolerance=plan.mix_tolerance)
        found.append(Check(f"mix:pairs:{label}", Arms(more, pairs.pairs, less, pairs.pairs), evidence, limit))
    return found
