"""What is remembered about the rollouts of one model: the phase, the plan and the record."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from itertools import pairwise
from typing import Any

from serinus.serving.rollout.errors import FormatUnknown, PlanInvalid, RolloutError
from serinus.serving.rollout.judgement import Judgement

FORMAT = 2
"""The highest format number of stored records and plans. What judges itself, or is held for a cause, has it; what a
person leads step by step has format 1, as before."""

_READABLE = (1, 2)

FULL_WEIGHT = 10_000
"""All of the traffic, in basis points."""

DEFAULT_ROLLBACK_WINDOW_S = 7 * 24 * 3600.0
"""How long the previous stable version stays loaded after a promotion, in seconds."""


class Phase(StrEnum):
    """Where a model's rollout stands."""

    IDLE = "idle"
    """No rollout has run since the stable version was set."""
    PREFLIGHT = "preflight"
    """The candidate is checked and loaded, and gets no request yet."""
    SHADOW = "shadow"
    """The candidate gets copies of requests, and its answers are dropped."""
    CANARY = "canary"
    """The candidate answers the share of requests that the present step gives it."""
    SOAK = "soak"
    """The candidate answers all but a small holdback that stays on stable."""
    HOLD = "hold"
    """The rollout is paused: the weight stays as it is, and nothing advances."""
    FROZEN = "frozen"
    """The weight is kept, and nothing automatic happens until a person acts."""
    ROLLING_BACK = "rolling_back"
    """The weight is 0 on record, and some live worker has not yet confirmed it."""
    ROLLED_BACK = "rolled_back"
    """Every live worker confirmed that the version that was taken off gets nothing."""
    PROMOTED = "promoted"
    """The candidate became stable, and the version before it can come back until its window ends."""
    REJECTED = "rejected"
    """The candidate failed its preflight and never got a request."""


RUNNING = frozenset({Phase.PREFLIGHT, Phase.SHADOW, Phase.CANARY, Phase.SOAK, Phase.HOLD, Phase.FROZEN})
"""The phases in which a rollout is under way."""

TICKING = frozenset({Phase.PREFLIGHT, Phase.SHADOW, Phase.CANARY, Phase.SOAK})
"""The phases in which a step's time runs."""


def canonical_json(value: object) -> str:
    """The one text of a JSON value: sorted keys, no spaces, no NaN; ValueError or TypeError if it has none."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


@dataclass(frozen=True, slots=True)
class Plan:
    """The steps a rollout takes; never changed once the rollout has started.

    `steps` are candidate weights in basis points, 1 to 10000, rising. `manual` means that a person takes each
    step, and that there is no `judgement`, which says how the rollout judges itself. `rollback_window_s` is how many
    seconds the old stable version stays ready after a promotion. Raises PlanInvalid.
    """

    steps: tuple[int, ...]
    manual: bool = True
    rollback_window_s: float = DEFAULT_ROLLBACK_WINDOW_S
    judgement: Judgement | None = None

    def __post_init__(self) -> None:
        _check_steps(self.steps)
        if not 0 <= self.rollback_window_s < float("inf"):
            raise PlanInvalid(
                f"A plan's rollback window must be a finite number of seconds, 0 or more, got {self.rollback_window_s}."
            )
        if self.manual == (self.judgement is not None):
            raise PlanInvalid("A plan is either manual or has a judgement. Leave one of them out.")

    @classmethod
    def from_percents(
        cls, text: str, *, manual: bool = True, rollback_window_s: float = DEFAULT_ROLLBACK_WINDOW_S
    ) -> Plan:
        """Read steps given as percents, such as "5,25,50"; at most two decimals. Raises PlanInvalid."""
        steps = tuple(_basis_points(part.strip(), text) for part in text.split(","))
        return cls(steps, manual, rollback_window_s)

    @property
    def digest(self) -> str:
        """SHA-256 of the canonical JSON, in hexadecimal: equal plans have equal digests."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    def to_dict(self) -> dict[str, Any]:
        """The plan as JSON values, with its format number."""
        document = {
            "format": 1,
            "manual": self.manual,
            "rollback_window_s": float(self.rollback_window_s),
            "steps": list(self.steps),
        }
        return document if self.judgement is None else document | {"format": 2, "judgement": self.judgement.to_dict()}

    def to_json(self) -> str:
        """The plan as canonical JSON text."""
        return canonical_json(self.to_dict())

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Plan:
        """The plan that `to_dict` gave. Raises FormatUnknown or PlanInvalid."""
        _check_format(data, "plan")
        values = _known_fields(cls, data, "plan")
        steps: Any = values.get("steps")
        manual = values.get("manual", True)
        window, judgement = values.get("rollback_window_s", DEFAULT_ROLLBACK_WINDOW_S), values.get("judgement")
        sound = isinstance(steps, list) and isinstance(manual, bool) and _is_number(window)
        if not sound or not isinstance(judgement, dict | None):
            raise FormatUnknown(f"A stored plan is damaged: {canonical_json(dict(data))[:200]}. Abort and start anew.")
        return cls(tuple(steps), manual, float(window), None if judgement is None else Judgement.from_dict(judgement))

    @classmethod
    def from_json(cls, text: str | bytes) -> Plan:
        """The plan that `to_json` wrote. Raises FormatUnknown or PlanInvalid."""
        return cls.from_dict(_parse_object(text, "plan"))


@dataclass(frozen=True, slots=True)
class RolloutRecord:
    """All that is durable about one model's rollouts; changed only by compare-and-swap on `generation`.

    `generation` is the fencing token: 0 before anything is stored, one more with each accepted event. Weights are
    in basis points, times are Unix seconds, durations are seconds. A digest beside a version is that of its
    artifact, None when unknown. Raises RolloutError when the values contradict each other.
    """

    model: str
    """The model's name."""
    generation: int = 0
    """The fencing token."""
    rollout_id: str = ""
    """The present or latest rollout, empty before the first."""
    phase: Phase = Phase.IDLE
    """Where the rollout stands."""
    plan: Plan | None = None
    """The plan of the present or latest rollout."""
    plan_hash: str = ""
    """The plan's digest, empty without one."""
    step: int = 0
    """Index of the present step in the plan."""
    step_id: str = ""
    """Name of the present step, never used again by another; empty when no step is being taken."""
    weight: int = 0
    """Share of the requests that the candidate answers, 0 to 10000; stable answers the rest."""
    shadow_weight: int = 0
    """Share of the requests that a shadow gets copies of, 0 to 10000."""
    stable: str | None = None
    """The version that answers by default; None before the first was set."""
    stable_digest: str | None = None
    """The stable version's digest."""
    candidate: str | None = None
    """The version on trial; it stays named while it is being rolled back."""
    candidate_digest: str | None = None
    """The candidate's digest."""
    previous_stable: str | None = None
    """The version that was stable before, for a rollback."""
    previous_digest: str | None = None
    """The previous stable version's digest."""
    previous_until: float | None = None
    """When the rollback window ends and the previous stable version may be unloaded."""
    salt: str = ""
    """What makes this rollout's choice of callers its own."""
    quarantined: tuple[str, ...] = ()
    """Digests that were rolled back and start again only by force."""
    elapsed_in_step_s: float = 0.0
    """Time spent in the present step up to `updated`, pauses left out."""
    reason: str = ""
    """Why the latest event happened, in its actor's words."""
    actor: str = ""
    """Who caused the latest event."""
    updated: float = 0.0
    """When the latest event was accepted."""
    held: Phase | None = None
    """The phase that a held or frozen rollout goes back to; None for any other."""
    approvals: tuple[str, ...] = ()
    """Who approved the end of the present step."""
    cause: str = ""
    """Why a rollout is held, in one word; empty when a person holds it, and then only a person lets it go on."""

    def __post_init__(self) -> None:
        for problem in _contradictions(self):
            raise RolloutError(f"The rollout record of model '{self.model}' contradicts itself: {problem}.")

    @classmethod
    def initial(cls, model: str, stable: str | None, now: float, *, digest: str | None = None) -> RolloutRecord:
        """The record of a model before any event, at generation 0: it is where `advance` starts, and never stored."""
        return cls(model, stable=stable, stable_digest=digest, updated=now)

    @property
    def running(self) -> bool:
        """Whether a rollout is under way."""
        return self.phase in RUNNING

    def elapsed_at(self, now: float) -> float:
        """Seconds spent in the present step until Unix time `now`, pauses left out.

        A clock that was set back delays the step; it never shortens what was spent.
        """
        return self.elapsed_in_step_s + (max(0.0, now - self.updated) if self.phase in TICKING else 0.0)

    @property
    def is_last_step(self) -> bool:
        """Whether the candidate becomes stable after this step."""
        phase, plan = self.held or self.phase, self.plan
        if plan is None:
            return False
        soaks = plan.judgement is not None and plan.judgement.soak_s > 0
        return phase is Phase.SOAK or (phase is Phase.CANARY and self.step + 1 == len(plan.steps) and not soaks)

    @property
    def approvers_missing(self) -> int:
        """How many more persons have to approve the end of this step."""
        judgement = self.plan.judgement if self.plan is not None else None
        if judgement is None:
            return 0
        return max(0, judgement.approvers_at(self.weight, last=self.is_last_step) - len(self.approvals))

    def previous_at(self, now: float) -> str | None:
        """The version a rollback returns to at Unix time `now`; None without one or after its window."""
        if self.previous_until is None or now >= self.previous_until:
            return None
        return self.previous_stable

    def to_dict(self) -> dict[str, Any]:
        """The record as JSON values, with its format number."""
        values = asdict(self)
        values["plan"] = self.plan.to_dict() if self.plan else None
        values["phase"] = str(self.phase)
        values["held"] = str(self.held) if self.held else None
        values["quarantined"] = list(self.quarantined)
        values["approvals"] = list(self.approvals)
        if not self.approvals:
            del values["approvals"]  # earlier releases know of none
        by_hand = self.plan is None or self.plan.judgement is None
        if by_hand and not self.cause and self.held == (Phase.CANARY if self.phase is Phase.HOLD else None):
            del values["held"], values["cause"]
            return {"format": 1, **values}
        return {"format": FORMAT, **values}

    def to_json(self) -> str:
        """The record as canonical JSON text."""
        return canonical_json(self.to_dict())

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> RolloutRecord:
        """The record that `to_dict` gave. Raises FormatUnknown or RolloutError."""
        _check_format(data, "rollout record")
        values = _known_fields(cls, data, "rollout record")
        _check_types(values)
        values["phase"] = _phase(values.get("phase", Phase.IDLE))
        if values["phase"] is Phase.HOLD and "held" not in values:
            values["held"] = Phase.CANARY  # format 1 knew no other
        values["held"] = None if values.get("held") is None else _phase(values["held"])
        for name in ("quarantined", "approvals"):
            values[name] = tuple(values.get(name, ()))
        if values.get("plan") is not None:
            values["plan"] = Plan.from_dict(values["plan"])
        return cls(**values)

    @classmethod
    def from_json(cls, text: str | bytes) -> RolloutRecord:
        """The record that `to_json` wrote. Raises FormatUnknown or RolloutError."""
        return cls.from_dict(_parse_object(text, "rollout record"))


def _check_steps(steps: tuple[int, ...]) -> None:
    if not steps:
        raise PlanInvalid("A plan needs at least one step, got none. Give weights such as 5,25,50 percent.")
    for step in steps:
        if not isinstance(step, int) or isinstance(step, bool) or not 1 <= step <= FULL_WEIGHT:
            raise PlanInvalid(f"A plan's step must be 1 to {FULL_WEIGHT} basis points (0.01 to 100 %), got {step!r}.")
    if any(later <= earlier for earlier, later in pairwise(steps)):
        shown = ", ".join(f"{step / 100:g}" for step in steps)
        raise PlanInvalid(f"A plan's steps must rise from one to the next, got {shown} percent. Sort them.")


def _basis_points(part: str, text: str) -> int:
    try:
        points = Decimal(part.removesuffix("%")) * 100
    except InvalidOperation:
        raise PlanInvalid(
            f"Step '{part}' of '{text}' is not a number. Give percents separated by commas, such as 5,25,50."
        ) from None
    if not points.is_finite() or points != points.to_integral_value():
        raise PlanInvalid(f"Step '{part}' of '{text}' is finer than 0.01 percent. Give at most two decimals.")
    return int(points)


def _contradictions(record: RolloutRecord) -> list[str]:
    found = []
    for name in ("weight", "shadow_weight"):
        if not 0 <= getattr(record, name) <= FULL_WEIGHT:
            found.append(f"{name} is {getattr(record, name)}, outside 0 to {FULL_WEIGHT}")
    if record.weight and (record.candidate is None or not record.running):
        found.append(f"weight is {record.weight} in phase {record.phase} with candidate {record.candidate}")
    if record.candidate is not None and record.candidate == record.stable:
        found.append(f"version {record.stable} is both stable and candidate")
    if record.generation < 0:
        found.append(f"generation is {record.generation}")
    return found


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _parse_object(text: str | bytes, what: str) -> dict[str, Any]:
    try:
        data = json.loads(text)
    except ValueError as error:
        raise FormatUnknown(f"A stored {what} is not JSON ({error}). Restore it from a copy.") from None
    if not isinstance(data, dict):
        raise FormatUnknown(f"A stored {what} is a JSON {type(data).__name__}, wanted an object.")
    return data


def _check_format(data: Mapping[str, Any], what: str) -> None:
    if data.get("format") not in _READABLE:
        raise FormatUnknown(
            f"A stored {what} has format {data.get('format')!r}, this release reads format {FORMAT} and before. "
            "Use the release that wrote it, or a newer one."
        )


def _known_fields(cls: type[Any], data: Mapping[str, Any], what: str) -> dict[str, Any]:
    """A format's fields are fixed, so an unknown one means text from elsewhere, not a newer release's."""
    known = {field.name for field in fields(cls)}
    values = {name: value for name, value in data.items() if name != "format"}
    if unknown := sorted(values.keys() - known):
        raise FormatUnknown(f"A stored {what} has fields that format {FORMAT} does not know: {', '.join(unknown)}.")
    return values


def _phase(value: object) -> Phase:
    try:
        return Phase(str(value))
    except ValueError:
        raise FormatUnknown(
            f"A stored rollout record is in phase '{value}', which this release does not know; "
            f"it knows {', '.join(Phase)}."
        ) from None


_KINDS: dict[str, tuple[str, type[Any] | tuple[type[Any], ...]]] = {
    **dict.fromkeys(("model", "rollout_id", "phase", "plan_hash", "step_id", "salt", "reason", "actor", "cause"),
                    ("text", str)),
    **dict.fromkeys(("generation", "step", "weight", "shadow_weight"), ("a whole number", int)),
    **dict.fromkeys(("elapsed_in_step_s", "updated"), ("a number", (int, float))),
    **dict.fromkeys(
        ("stable", "stable_digest", "candidate", "candidate_digest", "previous_stable", "previous_digest", "held"),
        ("text or null", (str, type(None))),
    ),
    "previous_until": ("a number or null", (int, float, type(None))),
    "quarantined": ("a list", list),
    "approvals": ("a list", list),
    "plan": ("an object or null", (dict, type(None))),
}


def _check_types(values: Mapping[str, Any]) -> None:
    if "model" not in values:
        raise FormatUnknown("A stored rollout record names no model. Restore it from a copy.")
    for name, value in values.items():
        wanted, kinds = _KINDS[name]
        if not isinstance(value, kinds) or isinstance(value, bool):
            raise FormatUnknown(f"Field '{name}' of a stored rollout record must be {wanted}, got {value!r}.")
