"""What a judgement looks at: counts of both arms, stretch by stretch, and of pairs. Nothing but numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

__all__ = ["NO_PAIRS", "Arms", "Evidence", "Pairs", "Window"]


class Arms(NamedTuple):
    """Events among units, in the candidate's arm and in stable's."""

    candidate: int
    candidate_units: int
    stable: int
    stable_units: int


class Window(NamedTuple):
    """What happened in one stretch of time in which the weight stayed the same.

    `weight` is the candidate's share of the units, between 0 and 1. `candidate` and `stable` are the units (callers,
    or requests without routing keys) that each arm got. `events` has an entry for each thing compared: its name is a
    check, or `check:part` (`latency:p95`, `mix:setosa`, `slices:region=north`).
    """

    weight: float
    candidate: int
    stable: int
    events: Mapping[str, Arms]
    step_id: str = ""


class Pairs(NamedTuple):
    """Answers of both versions to the same inputs."""

    pairs: int = 0
    labelled: int = 0
    candidate_wrong: int = 0
    """Pairs with ground truth in which only the candidate was wrong."""
    stable_wrong: int = 0
    """Pairs with ground truth in which only stable was wrong."""
    candidate_failed: int = 0
    """Pairs in which only the candidate failed."""
    stable_failed: int = 0
    """Pairs in which only stable failed."""
    flips: Mapping[str, tuple[int, int]] = {}
    """By class: pairs in which only the candidate gave it, and in which only stable did."""
    slices: Mapping[str, tuple[int, int]] = {}
    """By slice: pairs with ground truth in which only the candidate was wrong, and in which only stable was."""


NO_PAIRS = Pairs()


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that is known of a rollout at one moment."""

    windows: tuple[Window, ...] = ()
    """In the order of time; those of the present step bear its `step_id`."""
    pairs: Pairs = NO_PAIRS
    shadow_failed: int = 0
    """How often the shadow's own process died."""
    elapsed_s: float = 0.0
    """Time spent in the present step, pauses left out."""
    silent_s: float = 0.0
    """Time since anything was counted."""
    baseline_errors: tuple[int, int] = (0, 0)
    """Errors among stable's units before the rollout began."""
    inputs_differ: str = ""
    """Why the arms' inputs cannot be compared; empty when they can."""
    step_units: int | None = None
    """Callers, or requests without routing keys, that the candidate answered in the present step, where some of them
    are counted in earlier windows already: a caller counts once in a rollout. None: those of the step's windows."""
    signals: Mapping[str, str] = field(default_factory=dict)
    """Reasons to hold from elsewhere, by cause: a candidate that workers cannot load, drift of the model's inputs,
    estimated performance."""
