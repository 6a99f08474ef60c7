"""What a rollout that judges itself asks for: how long, on how much, and how sure. Part of its plan, so never changed.

    alpha       the chance that a version which is no worse is ever rolled back by the statistics, over all checks
    beta        the chance that a version which is worse by more than `margin` passes a check
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from math import isfinite
from typing import Any, Literal

from serinus.serving.rollout.errors import PlanInvalid

__all__ = ["BUDGET", "CHECKS", "LIMITS", "LONGEST_EVENT", "MOST_EVENTS", "RARE", "Judgement"]

CHECKS = {
    "failures": "Hard failures: the version raised an exception, or its process died.",
    "errors": "Answers that were errors, for whatever reason.",
    "latency": "Requests slower than stable's median, 95th and 99th percentile were when the rollout began.",
    "invalid": "Answers that are no numbers, or not what the signature says.",
    "mix": "Each class's share of the predictions, more or less often than stable gives it.",
    "ground_truth": "Predictions that turned out wrong.",
    "slices": "Errors and wrong predictions within each slice: a value of a text or boolean input that is common.",
    "events": "Predictions that had an outcome event which the plan names: one of `events` more often than stable's, "
              "one of `wanted_events` less often.",
}
"""What is compared between the arms, and what it means."""

BUDGET: Mapping[str, float] = {"failures": 0.1, "errors": 0.3, "latency": 0.2, "invalid": 0.05, "mix": 0.1,
                               "ground_truth": 0.2, "slices": 0.05, "events": 0.1}
"""How `alpha` is shared among the checks that a plan asks for; events only where it names some."""

RARE = 0.02
"""A larger rate is not rare: a candidate is certified by its own rate below this only, else by comparison."""

_SHARE, _NUMBER, _SECONDS, _CHANCE = (0, 10_000), (1, 10**9), (0, 10**9), (1e-6, 0.5)
LIMITS: Mapping[str, tuple[float, float]] = {
    "shadow": _SHARE, "certify_from": (1, 10_000), "holdback": (1, 5_000), "shadow_pairs": _NUMBER,
    "step_units": _NUMBER, "shadow_s": _SECONDS, "step_s": _SECONDS, "patience_s": _SECONDS, "soak_s": _SECONDS,
    "approve": (0, 5), "approve_from": (1, 10_000), "hold_s": _SECONDS, "alpha": _CHANCE, "beta": _CHANCE,
    "tolerance": _CHANCE, "accuracy_margin": _CHANCE, "mix_tolerance": _CHANCE, "ratio": (1, 10), "margin": (1.01, 10)}
"""The smallest and the largest value of each number."""
LONGEST_EVENT, MOST_EVENTS = 256, 10
"""The longest name of an event, and how many a plan may name in each list."""
_WHOLE = ("approve", "approve_from", "shadow", "certify_from", "holdback", "shadow_pairs", "step_units")

_HOUR_S = 3600.0
_DAY_S = 24 * _HOUR_S


@dataclass(frozen=True, slots=True)
class Judgement:
    """How a rollout judges itself. Shares are in basis points, durations in seconds. Raises PlanInvalid."""

    shadow: int = 1000
    """Share of the requests that the candidate gets copies of, before it answers any; 0 leaves the shadow out."""
    shadow_pairs: int = 500
    """Pairs that the shadow needs at least."""
    shadow_s: float = 600.0
    """How long the shadow lasts at least."""
    step_s: float = 600.0
    """How long each step lasts at least."""
    step_units: int = 200
    """Callers (or, without routing keys, requests) that the candidate must have answered in each step."""
    certify_from: int = 2500
    """From this weight on a step ends only when the candidate is certified to be no worse; smaller ones only detect."""
    patience_s: float = 2 * _HOUR_S
    """How long a step waits for its certificate before `unproven` decides."""
    unproven: Literal["promote", "stay"] = "promote"
    """What follows when the certificate does not come although nothing is wrong: go on with the risk stated in the
    journal, or wait for a person."""
    approve: int | bool = 0
    """How many persons have to approve, besides the evidence, before the candidate becomes stable; true is one."""
    approve_from: int = 10_000
    """From this weight on they have to approve the end of each step, not of the last one only."""
    gate: Literal["no_fail", "pass", "ignore"] = "no_fail"
    """What the evaluation of the candidate must have said before it is tried: not that it fails, that it passes, or
    anything."""
    holdback: int = 1000
    """Share that stays on stable in the soak, so that there is something to compare with."""
    soak_s: float = 0.0
    """How long the soak lasts: at least as long as ground truth takes. 0 leaves the soak out."""
    hold_s: float = _DAY_S
    """How long a rollout may be held for want of data before `after_hold` decides."""
    after_hold: Literal["roll_back", "stay"] = "roll_back"
    """What follows a hold that lasts too long; one for drift, estimate or monitor stays, for these prove nothing."""
    hold_on_drift: bool = True
    """Whether it is held when the model's inputs begin to drift while it runs."""
    hold_on_estimate: bool = True
    """Whether it is held when the candidate is estimated, without truths, to be clearly worse than stable."""
    hold_on_monitors: bool = True
    """Whether it is held when an installed monitor, such as a business metric, finds the candidate unlike stable."""
    alpha: float = 0.05
    """The chance that a version which is no worse is ever rolled back by the statistics, over all checks."""
    beta: float = 0.05
    """The chance that a version which is worse by more than `margin` passes a check."""
    ratio: float = 1.1
    """A rate at most this many times stable's is no harm."""
    margin: float = 1.5
    """A rate this many times stable's is what a certificate excludes."""
    tolerance: float = 0.005
    """Or the certificate says that the candidate's own rate is rare: below this, or below 2 % and below `margin` times
    what stable's may be at most."""
    accuracy_margin: float = 0.01
    """In a shadow: the loss of accuracy that the certificate by pairs with ground truth excludes."""
    mix_tolerance: float = 0.02
    """In a shadow: how much a class's share may differ, as a difference of shares."""
    events: tuple[str, ...] = ()
    """Outcome events, such as complaint or override, of which more than stable's predictions have are harm."""
    wanted_events: tuple[str, ...] = ()
    """Outcome events, such as click, of which fewer than stable's predictions have are harm."""

    def __post_init__(self) -> None:
        if isinstance(self.approve, bool):
            object.__setattr__(self, "approve", int(self.approve))
        for name in ("hold_on_drift", "hold_on_estimate", "hold_on_monitors"):
            if not isinstance(getattr(self, name), bool):
                raise PlanInvalid(f"A plan's {name} must be true or false, got {getattr(self, name)!r}.")
        for name in ("events", "wanted_events"):
            object.__setattr__(self, name, _names(name, getattr(self, name)))
        if twice := set(self.events) & set(self.wanted_events):
            raise PlanInvalid(f"A plan's event is harm or wanted, not both: {', '.join(sorted(twice))}.")
        for name, (low, high) in LIMITS.items():
            _check(name, getattr(self, name), low, high, whole=name in _WHOLE)
        if self.margin <= self.ratio:
            raise PlanInvalid(f"A plan's margin must be larger than its ratio, got {self.margin:g} and {self.ratio:g}.")
        if self.unproven not in ("promote", "stay") or self.after_hold not in ("roll_back", "stay"):
            raise PlanInvalid(f"A plan's unproven is promote or stay, its after_hold roll_back or stay, got "
                              f"{self.unproven!r} and {self.after_hold!r}.")
        if self.gate not in ("no_fail", "pass", "ignore"):
            raise PlanInvalid(f"A plan's gate is no_fail, pass or ignore, got {self.gate!r}.")

    def alpha_of(self, check: str) -> float:
        """The share of `alpha` that a check may spend in all."""
        if self.all_events:
            return self.alpha * BUDGET[check] / sum(BUDGET.values())
        return self.alpha * BUDGET[check] if check != "events" else 0.0

    @property
    def all_events(self) -> tuple[str, ...]:
        """The outcome events that are compared."""
        return self.events + self.wanted_events

    def rare(self, stable: float) -> float:
        """Below which rate of its own a candidate is certified, where stable's may be as high as `stable`."""
        return max(self.tolerance, min(RARE, self.margin * stable))

    def approvers_at(self, weight: int, *, last: bool) -> int:
        """How many persons have to approve the end of a step at this weight."""
        return self.approve if last or weight >= self.approve_from else 0

    def judges_of(self, check: str) -> int:
        """Among how many a check's budget is shared: the arms, the shadow's pairs, and the workers, who look at hard
        failures by themselves."""
        paired = self.shadow > 0 and check in ("failures", "mix", "ground_truth", "slices")
        return 1 + paired + (check == "failures")

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self) | {"events": list(self.events), "wanted_events": list(self.wanted_events)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Judgement:
        """What `to_dict` gave, or what a person wrote. Raises PlanInvalid."""
        known = {field.name for field in fields(cls)}
        if unknown := sorted(set(data) - known):
            raise PlanInvalid(f"A plan has no {', '.join(map(repr, unknown))}. It knows: {', '.join(sorted(known))}.")
        return cls(**data)


def _names(name: str, value: object) -> tuple[str, ...]:
    names = tuple(value) if isinstance(value, list | tuple) else ()
    sound = all(isinstance(each, str) and 0 < len(each) <= LONGEST_EVENT for each in names)
    if not isinstance(value, list | tuple) or not sound or len(set(names)) < len(names) or len(names) > MOST_EVENTS:
        raise PlanInvalid(f"A plan's {name} must be a list of at most {MOST_EVENTS} different names such as "
                          f"complaint, got {value!r}.")
    return names


def _check(name: str, value: object, low: float, high: float, *, whole: bool = False) -> None:
    kinds = int if whole else (int, float)
    if isinstance(value, bool) or not isinstance(value, kinds) or not isfinite(value) or not low <= value <= high:
        what = "a whole number" if whole else "a number"
        raise PlanInvalid(f"A plan's {name} must be {what} from {low:g} to {high:g}, got {value!r}.")
