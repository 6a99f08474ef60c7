"""What the gate says of one thing it looked at: passed, passed with a remark, failed, or could not be told."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, is_dataclass
from enum import StrEnum
from typing import Any

import numpy as np

from serinus.monitors.intervals import Interval

__all__ = ["Check", "Status", "plain", "worst"]


class Status(StrEnum):
    """How a check ended."""

    PASS = "pass"
    """It was looked at, and nothing speaks against the version."""
    WARN = "warn"
    """Somebody should look, and nothing forbids the version."""
    FAIL = "fail"
    """The version breaks what the policy asks for."""
    NOT_RUN = "not-run"
    """It could not be told; the reason says why. This is never a pass."""


@dataclass(frozen=True)
class Check:
    """One of the gate's checks.

    Attributes:
        name: which one.
        status: how it ended.
        reason: why, in a sentence or two.
        details: what was measured; a frozen value of the check's own kind, or None.
        undecided: whether more rows would tell; then the reason says how many.
    """

    name: str
    status: Status
    reason: str
    details: Any = None
    undecided: bool = False

    def to_json(self) -> dict[str, Any]:
        """Give the check as JSON values."""
        return {"name": self.name, "status": str(self.status), "reason": self.reason, "undecided": self.undecided,
                "details": plain(self.details)}


def worst(statuses: Iterable[Status]) -> Status:
    """Give the status of a whole by that of its parts; what could not be told outweighs a remark."""
    order = (Status.PASS, Status.WARN, Status.NOT_RUN, Status.FAIL)
    return max(statuses, key=order.index, default=Status.NOT_RUN)


def plain(value: Any) -> Any:
    """Give a value as JSON has it: named values as objects, numbers that are none as null."""
    if is_dataclass(value) and not isinstance(value, type):
        return plain(asdict(value))
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, Interval):
        return [plain(end) for end in value]
    if hasattr(value, "_asdict"):
        return plain(value._asdict())
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        return plain(value.item())
    return None if isinstance(value, float) and not math.isfinite(value) else value
