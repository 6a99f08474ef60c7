"""What a rollout can find and prove, and how long it takes, before it is started.

Each event that both arms may have tells something: if it is ρ times as likely in the candidate, which gets the share
w, it is the candidate's with probability p(ρ) = wρ / (wρ + 1 − w). The evidence against a ratio ρ₀ then grows, for
each event, by the divergence of p(ρ) from p(ρ₀), on average; it is enough at log(1/α), and the mixture over ratios
costs a little more. So

    harm of ratio ρ is found when     Σ_j events_j(ρ) · KL(p_j(ρ), p_j(ratio))  ≥ log(1/α) + 1.5
    no harm is certified when         Σ_j events_j(1) · KL(p_j(1), p_j(margin)) ≥ log(1/β) + 1

over all steps j so far, or when the candidate's own rate is surely a rare one (`Judgement.rare`). These are means:
half of the rollouts need less, half more. The tests hold them against simulated rollouts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import inf, log
from typing import NamedTuple

from serinus.monitors.sequential.confidence_sequences import probability_bounds
from serinus.serving.rollout.errors import PlanInvalid
from serinus.serving.rollout.judgement import Judgement
from serinus.serving.rollout.state import FULL_WEIGHT, Phase, Plan

__all__ = ["Outlook", "Step", "Traffic", "divergence", "events_to_certify", "events_to_find", "outlook"]

_FINDING, _CERTIFYING, _PAIRING = 1.5, 1.0, 1.5
_LARGEST = 20.0
_SLOW = {"p50": 0.5, "p95": 0.05, "p99": 0.01}
_DISCORDANT = 0.05
_NEVER = 1e9


@dataclass(frozen=True, slots=True)
class Traffic:
    """What comes in. Raises PlanInvalid."""

    rate: float
    """Requests per second, of the whole model."""
    errors: float = 0.01
    """Share of stable's answers that are errors."""
    wrong: float = 0.1
    """Share of stable's predictions that turn out wrong."""
    labelled: float = 0.0
    """Share of the requests whose ground truth arrives."""
    labels_delay_s: float = 0.0
    """How late it is."""

    def __post_init__(self) -> None:
        if not 0 < self.rate < inf:
            raise PlanInvalid(f"The rate: expected requests per second, more than 0, got {self.rate!r}.")
        for name in ("errors", "wrong", "labelled"):
            if not 0 <= getattr(self, name) <= 1:
                raise PlanInvalid(f"{name}: expected a share from 0 to 1, got {getattr(self, name)!r}.")
        if not 0 <= self.labels_delay_s < inf:
            raise PlanInvalid(f"The delay of labels: expected seconds, got {self.labels_delay_s!r}.")


class Step(NamedTuple):
    """What is to be expected of one step. Ratios are the smallest that are found by its end; infinite: none is."""

    phase: Phase
    weight: float
    """The candidate's share; in the shadow, the share that is mirrored."""
    seconds: float
    """How long it lasts if nothing is wrong."""
    candidate_requests: float
    """That the candidate has answered by its end, or that were mirrored to it."""
    errors: float
    tail: float
    """Of requests slower than stable's 99th percentile."""
    wrong: float
    ends: str
    """How: `detects only`, `certified`, `risk stated` or `waits for a person`."""


class Outlook(NamedTuple):
    """What is to be expected of a plan."""

    steps: tuple[Step, ...]
    seconds: float
    verdict: str
    """The words with which it will end, if nothing is wrong."""
    remarks: tuple[str, ...] = ()
    """What could be better about the plan, at this traffic."""


@dataclass(frozen=True, slots=True)
class _Course:
    """What has happened so far: the candidate's share and the units, step by step."""

    weights: tuple[float, ...] = ()
    units: tuple[float, ...] = ()
    ends: tuple[float, ...] = ()
    paired: bool = True
    """Whether the pairs of the shadow certify it, if ground truth came for any."""

    def then(self, weight: float, units: float, seconds: float) -> _Course:
        now = self.ends[-1] if self.ends else 0.0
        return _Course((*self.weights, weight), (*self.units, units), (*self.ends, now + seconds), self.paired)

    def known(self, traffic: Traffic) -> _Course:
        """The units whose ground truth is there."""
        starts, until = (0.0, *self.ends), self.ends[-1] - traffic.labels_delay_s
        shares = [min(1.0, max(0.0, (until - start) / (end - start))) if end > start else 0.0
                  for start, end in zip(starts, self.ends, strict=False)]
        units = (units * share * traffic.labelled for units, share in zip(self.units, shares, strict=True))
        return _Course(self.weights, tuple(units), self.ends)

    @property
    def exposed(self) -> float:
        return sum(weight * units for weight, units in zip(self.weights, self.units, strict=True))


def divergence(p: float, q: float) -> float:
    """How much a coin of probability `p` tells, for each toss, against one of `q` (Kullback and Leibler)."""
    return p * log(p / q) + (1 - p) * log((1 - p) / (1 - q))


def events_to_find(weight: float, ratio: float, *, alpha: float, harmless: float = 1.1) -> float:
    """How many events in both arms it takes, on average, until harm of `ratio` is found."""
    return (log(1 / alpha) + _FINDING) / divergence(_share(weight, ratio), _share(weight, harmless))


def events_to_certify(weight: float, *, beta: float, margin: float = 1.5) -> float:
    """How many events in both arms it takes, on average, until a candidate that is no worse is certified."""
    return (log(1 / beta) + _CERTIFYING) / divergence(weight, _share(weight, margin))


def outlook(plan: Plan, traffic: Traffic) -> Outlook:
    """What each step can find, how it ends, and how long all of it takes. Raises PlanInvalid for a manual plan."""
    judgement = plan.judgement
    if judgement is None:
        raise PlanInvalid("A person takes the steps of this plan, so it has no outlook. Give it a judgement.")
    steps = [_shadow(judgement, traffic)] if judgement.shadow else []
    course = _Course(paired=not steps or steps[0].ends != "risk stated")
    for weight in plan.steps:
        step, course = _step(judgement, traffic, course, Phase.CANARY, weight)
        steps.append(step)
    if judgement.soak_s:
        step, course = _step(judgement, traffic, course, Phase.SOAK, FULL_WEIGHT - judgement.holdback)
        steps.append(step)
    return Outlook(tuple(steps), sum(step.seconds for step in steps), _words(judgement, traffic, course, steps),
                   tuple(_remarks(judgement, traffic, steps)))


def _step(plan: Judgement, traffic: Traffic, before: _Course, phase: Phase, points: int) -> tuple[Step, _Course]:
    """At full weight nothing can be compared: what was known before decides."""
    weight = points / FULL_WEIGHT
    compared = min(weight, 1 - 1 / FULL_WEIGHT)
    least = plan.soak_s if phase is Phase.SOAK else max(plan.step_s, plan.step_units / (traffic.rate * weight))

    def after(seconds: float) -> _Course:
        return before.then(compared, traffic.rate * seconds, seconds)

    if points < plan.certify_from:
        seconds, ends = least, "detects only"
    else:
        seconds = max(least, _first(lambda s: _certified(plan, traffic, after(s)), least, plan.patience_s))
        ends = "certified" if seconds <= max(least, plan.patience_s) else "risk stated"
        if ends == "risk stated":
            seconds = max(least, plan.patience_s)
            ends = "waits for a person" if plan.unproven == "stay" else ends
    course = after(seconds)
    return Step(
        phase, weight, seconds, course.exposed, _smallest(plan, "errors", course, traffic.errors),
        _smallest(plan, "latency", course, _SLOW["p99"], parts=len(_SLOW)),
        _smallest(plan, "ground_truth", course.known(traffic), traffic.wrong), ends), course


def _shadow(plan: Judgement, traffic: Traffic) -> Step:
    weight = plan.shadow / FULL_WEIGHT
    pairs_per_s = traffic.rate * weight
    seconds = max(plan.shadow_s, plan.shadow_pairs / pairs_per_s)
    ends = "detects only"
    if traffic.labelled and traffic.labels_delay_s < seconds:
        labelled = 2 * _DISCORDANT * (log(1 / plan.beta) + _PAIRING) / plan.accuracy_margin**2
        proved = traffic.labels_delay_s + labelled / (pairs_per_s * traffic.labelled)
        seconds, ends = max(seconds, min(proved, plan.patience_s)), (
            "certified" if proved <= plan.patience_s else "risk stated")
    found = pairs_per_s * max(0.0, seconds - traffic.labels_delay_s) * traffic.labelled
    return Step(Phase.SHADOW, weight, seconds, pairs_per_s * seconds, inf, inf, _smallest_pairs(plan, found, traffic),
                ends)


def _certified(plan: Judgement, traffic: Traffic, course: _Course) -> bool:
    """Whether everything that a certificate covers, as far as anything is known of it, is proved on average."""
    compared = [(rate, course) for rate in (traffic.errors, 0.0, *_SLOW.values())]
    truth = course.known(traffic)
    compared += [(traffic.wrong, truth)] if sum(truth.units) >= 1 else []
    proved = (_by_ratio(plan, known, rate) or _by_bound(plan, known, rate) for rate, known in compared)
    return course.paired and all(proved)


def _by_ratio(plan: Judgement, course: _Course, rate: float) -> bool:
    told = sum(units * rate * divergence(weight, _share(weight, plan.margin))
               for weight, units in zip(course.weights, course.units, strict=True))
    return told >= log(1 / plan.beta) + _CERTIFYING


def _by_bound(plan: Judgement, course: _Course, rate: float) -> bool:
    theirs = int(min(_NEVER, course.exposed))
    others = int(min(_NEVER, sum(course.units) - course.exposed))
    bound = probability_bounds(round(theirs * rate), theirs, plan.beta).high
    stables = probability_bounds(round(others * rate), others, plan.beta).high
    return bound < plan.rare(stables)


def _smallest(plan: Judgement, check: str, course: _Course, rate: float, *, parts: int = 1) -> float:
    """The smallest ratio that is found by the end of the course, if it was there from the beginning."""
    needed = log(plan.judges_of(check) * parts / plan.alpha_of(check)) + _FINDING

    def found(ratio: float) -> bool:
        told = sum(units * rate * (weight * ratio + 1 - weight)
                   * divergence(_share(weight, ratio), _share(weight, plan.ratio))
                   for weight, units in zip(course.weights, course.units, strict=True))
        return told >= needed

    return _edge(found, plan.ratio, min(_LARGEST, 1 / rate if rate else _LARGEST))


def _smallest_pairs(plan: Judgement, pairs: float, traffic: Traffic) -> float:
    """The same for wrong predictions on the same inputs, of which both get some wrong together."""
    needed = log(plan.judges_of("ground_truth") / plan.alpha_of("ground_truth")) + _FINDING

    def found(ratio: float) -> bool:
        more = traffic.wrong * (ratio - 1)
        discordant = _DISCORDANT + more
        return pairs * discordant * divergence((_DISCORDANT / 2 + more) / discordant, 0.5) >= needed

    return _edge(found, 1.0, min(_LARGEST, 1 / traffic.wrong if traffic.wrong else _LARGEST))


def _edge(found: Callable[[float], bool], low: float, high: float) -> float:
    """The smallest ratio that is found; infinite when not even the largest is."""
    if high <= low or not found(high):
        return inf
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (low, middle) if found(middle) else (middle, high)
    return high


def _first(is_over: Callable[[float], bool], low: float, high: float) -> float:
    """When it is over; infinite when not by `high`."""
    if is_over(low):
        return low
    if high <= low or not is_over(high):
        return inf
    for _ in range(30):
        middle = (low + high) / 2
        low, high = (low, middle) if is_over(middle) else (middle, high)
    return high


def _share(weight: float, ratio: float) -> float:
    return weight * ratio / (weight * ratio + 1 - weight)


def _remarks(plan: Judgement, traffic: Traffic, steps: Sequence[Step]) -> Iterator[str]:
    if traffic.labelled and plan.shadow and traffic.labels_delay_s >= steps[0].seconds:
        yield (f"The shadow ends before the first ground truth arrives. Set shadow_s to more than "
               f"{traffic.labels_delay_s:g} s, and a loss of accuracy is found before any caller meets it.")
    blind = [step for step in steps if step.phase is Phase.CANARY and step.errors == inf]
    if blind and traffic.errors:
        shares = ", ".join(f"{100 * step.weight:g}" for step in blind)
        yield f"At this rate no ratio of errors is found in the step of {shares} %: only hard failures are."
    if not plan.soak_s and steps[-1].weight == 1:
        yield "The last step leaves nothing to compare with: end with less than 100 %, or with a soak."


def _words(plan: Judgement, traffic: Traffic, course: _Course, steps: Sequence[Step]) -> str:
    last, judged = steps[-1], steps[0].phase is Phase.SHADOW and steps[0].ends == "certified"
    judged = judged or sum(course.known(traffic).units) >= 1
    truth = "" if judged else " Accuracy is not judged: no ground truth in time."
    person = f" Persons who have to approve it: {plan.approve}." if plan.approve else ""
    if last.ends == "certified":
        return f"Certified to be no worse, if nothing is wrong.{truth}{person}"
    units = int(min(_NEVER, course.exposed))
    bound = 100 * probability_bounds(round(units * traffic.errors), units, plan.beta).high
    what = f"no hard failures; errors below {bound:.2g} %"
    if last.ends == "waits for a person":
        return f"Not certified ({what}): it stays where it is until a person promotes it.{truth}"
    return f"Promoted with the risk stated ({what}), if nothing is wrong.{truth}{person}"
