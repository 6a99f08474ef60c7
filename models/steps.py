"""When the steps inside a model's call ended, for whoever wants to know where its time went.

A model that has steps calls `tell` after each. What is told in a call is heard by `told_by` only, in the same thread.
"""

from collections.abc import Callable
from contextvars import ContextVar
from time import time_ns
from typing import Any, TypeVar

__all__ = ["Steps", "tell", "tells_steps", "told_by"]

Steps = tuple[tuple[str, int], ...]
"""Names, and when each ended (Unix ns), in order."""

_Result = TypeVar("_Result")
_told: ContextVar[list[tuple[str, int]] | None] = ContextVar("told", default=None)


def tell(step: str) -> None:
    """Say that a step has just ended; nothing happens where nobody listens."""
    told = _told.get()
    if told is not None:
        told.append((step, time_ns()))


def told_by(function: Callable[..., _Result], *arguments: Any) -> tuple[_Result, Steps]:
    """Call a function: its result, and what was told meanwhile."""
    told: list[tuple[str, int]] = []
    token = _told.set(told)
    try:
        return function(*arguments), tuple(told)
    finally:
        _told.reset(token)


def tells_steps(model: Any) -> bool:
    """Whether a model's calls have steps: it says so by the attribute `tells_steps`."""
    return bool(getattr(model, "tells_steps", False))
