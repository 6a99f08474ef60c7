"""Whether two models give the same answers to the same rows, in numbers."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serinus.models.signature import Field, Signature

__all__ = ["Parity", "compare"]

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Parity:
    """How far the answers of two models are apart.

    Attributes:
        rows: how many rows were compared.
        changed_labels: in how many of them a label (a class, a cluster, a whole number) is another one; None where
            no output holds labels.
        differences: the largest absolute difference of each numeric output, by the output's name; infinite where one
            is missing or of another shape.
        excess: the largest difference over all, relative where values are larger than 1, as `tolerance` means it.
    """

    rows: int
    changed_labels: int | None
    differences: Mapping[str, float]
    excess: float

    def within(self, tolerance: float) -> bool:
        """Tell whether no label changed, and no number by more than `tolerance` (of its size, where above 1)."""
        return not self.changed_labels and self.excess <= tolerance

    @property
    def changed_share(self) -> float:
        """The share of rows whose label changed."""
        return (self.changed_labels or 0) / max(self.rows, 1)

    def to_json(self) -> dict[str, Any]:
        """Give the numbers as JSON values; infinite ones are null."""
        return {
            "rows": self.rows,
            "changed_labels": self.changed_labels,
            "changed_share": self.changed_share,
            "max_absolute_difference": {name: _finite(value) for name, value in self.differences.items()},
            "excess": _finite(self.excess),
        }

    def __str__(self) -> str:
        phrases = [f"{name} differs by at most {value:.2g}" for name, value in self.differences.items()]
        if self.changed_labels is None:
            return f"over {self.rows} rows {', '.join(phrases)}"
        share = f" ({self.changed_share:.2%})" if self.changed_labels else ""
        return ", ".join([f"{self.changed_labels} of {self.rows} labels changed{share}", *phrases])


def compare(signature: Signature, before: Arrays, after: Arrays) -> Parity:
    """Compare the answers of two models to the same rows, over the outputs of a signature."""
    rows = len(before[signature.outputs[0].name])
    changed: NDArray[np.bool_] | None = None
    differences: dict[str, float] = {}
    excess = 0.0
    for field in signature.outputs:
        one, other = before[field.name], after.get(field.name)
        if other is None or one.shape != other.shape:
            differences[field.name] = excess = math.inf
        elif is_label(field):
            unequal = np.asarray(one != other, dtype=bool).reshape(rows, -1).any(axis=1)
            changed = np.asarray(unequal if changed is None else changed | unequal)
        else:
            apart = _apart(one, other)
            differences[field.name] = float(apart.max(initial=0))
            size = np.where(np.isfinite(one), np.fmax(1, np.abs(one)), 1)
            excess = max(excess, float((apart / size).max(initial=0)))
    return Parity(rows, None if changed is None else int(changed.sum()), differences, excess)


def is_label(field: Field) -> bool:
    """Tell whether an output holds labels, which are the same or not, rather than numbers, which are near or far."""
    return not field.datatype.startswith("FP") or (field.labels is not None and len(field.shape) == 1)


def _apart(one: NDArray[Any], other: NDArray[Any]) -> NDArray[np.float64]:
    """Absolute differences; 0 where both are missing or the same infinity, infinite where only one is."""
    one, other = one.astype(float), other.astype(float)
    with np.errstate(invalid="ignore"):
        apart = np.abs(one - other)
    same = (one == other) | (np.isnan(one) & np.isnan(other))
    result: NDArray[np.float64] = np.where(same, 0.0, np.where(np.isnan(apart), math.inf, apart))
    return result


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
