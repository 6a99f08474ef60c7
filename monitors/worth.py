"""What answers are worth to those who act on them: the positive class, and a value for each truth and answer.

It is declared, not learnt. Nothing that is counted depends on it: declared late, it holds for what was counted before.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from serinus.models.signature import Label
from serinus.monitors.errors import InvalidData
from serinus.monitors.performance import Definition, label_places

__all__ = ["UNDECLARED", "Worth"]


@dataclass(frozen=True)
class Worth:
    """What is declared of a classifier, its classes named by text.

    Attributes:
        positive: the class that precision and recall are of; empty: of two classes the last one.
        values: what a row is worth, by its truth and then by its answer; costs are negative, what is left out is 0.
        unit: of these numbers, such as "EUR".

    Example:
        >>> worth = Worth("late", {"late": {"paid": -20.0, "late": 5.0}, "paid": {"late": -1.0}}, "EUR")
        >>> worth.matrix(("late", "paid"))
        ((5.0, -20.0), (-1.0, 0.0))
    """

    positive: str = ""
    values: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    unit: str = ""

    def place(self, labels: tuple[Label, ...]) -> int | None:
        """The place of the positive class, None where none is declared. Raises InvalidData where it is no class."""
        return _place(self.positive, labels, "The positive class") if self.positive else None

    def matrix(self, labels: tuple[Label, ...]) -> tuple[tuple[float, ...], ...] | None:
        """The values by truth and answer in the order of labels; None where none are declared.

        Raises InvalidData where a name is no class.
        """
        if not self.values:
            return None
        table = [[0.0] * len(labels) for _ in labels]
        for truth, row in self.values.items():
            for answer, value in row.items():
                table[_place(truth, labels, "A truth")][_place(answer, labels, "An answer")] = float(value)
        return tuple(map(tuple, table))

    def of(self, definition: Definition) -> Definition:
        """What is measured, with what is declared here. Raises InvalidData where that does not fit the classes."""
        if not self.positive and not self.values:
            return definition
        if definition.task != "classification":
            raise InvalidData("A positive class and values by truth and answer are a classifier's; this is none.")
        place = self.place(definition.labels)
        positive = definition.positive if place is None else definition.labels[place]
        return replace(definition, positive=positive, values=self.matrix(definition.labels), unit=self.unit)


UNDECLARED = Worth()
"""Nothing is declared."""


def _place(name: str, labels: tuple[Label, ...], what: str) -> int:
    found = label_places(labels).get(name)
    if found is None:
        raise InvalidData(f"{what} {name!r} of the declared worth is no class; there are "
                          f"{', '.join(map(str, labels))}.")
    return found
