"""The interface of a custom monitor: named sums in the worker, one judgement for each window in the steward.

A record adds numbers to named sums, and sums of several workers add up to one, in any order: that is all that
merging needs. What is a mean, a rate, a variance or a histogram is a few sums, so it can be a monitor.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from serinus.models.signature import Signature
from serinus.monitors.record import PredictionRecord

__all__ = ["Finding", "Monitor", "Sums"]

Sums = Mapping[str, float]
"""The sums of a window by name; `rows` is always among them."""


@dataclass(frozen=True)
class Finding:
    """What a monitor says of one window. It names no row and holds no value of a request.

    Attributes:
        kind: the monitor's name.
        active: whether something is wrong; false says that all is well.
        text: one sentence for a person, with numbers.
        severity: how wrong: "warn", "alarm", or "act" for what asks for an action.
        facts: the numbers of the sentence, for programs.
    """

    kind: str
    active: bool
    text: str
    severity: Literal["warn", "alarm", "act"] = "alarm"
    facts: Mapping[str, str | int | float | bool] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Give the finding as JSON values."""
        return {"kind": self.kind, "active": self.active, "text": self.text, "severity": self.severity,
                "facts": dict(self.facts)}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Finding:
        """Read what `to_json` wrote."""
        return cls(**document)


class Monitor(Protocol):
    """Watches the predictions of a model version. It keeps nothing: what it counted is in its sums.

    The same monitor is made in every worker, where it observes, and in the steward, where it judges.

    Attributes:
        name: a word such as `approved_amount`.
        about: what it watches, in one sentence.
        sums: the names of its sums; `rows` is counted for it.
        window: rows after which a window is judged.
        learns: how many windows come first and say what is normal; 0 where `finding` needs none.
    """

    name: str = ""
    about: str = ""
    sums: tuple[str, ...] = ()
    window: int = 1_000
    learns: int = 20

    def watches(self, signature: Signature) -> bool:
        """Tell whether a model of this signature is any business of this monitor."""
        return True

    def observe(self, record: PredictionRecord) -> Sums:
        """Say what one answered request adds to the sums; a sum that is left out gets nothing.

        It runs in the worker for each request and must be cheap. The record's arrays are not to be changed.
        """
        ...

    def finding(self, window: Sums, reference: Sequence[Sums]) -> Finding:
        """Judge the sums of one window; `reference` has those of the first `learns` windows."""
        ...
