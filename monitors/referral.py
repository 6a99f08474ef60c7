"""Referral to a person: answers that the model is not sure of, or gives to rows unlike its reference, are marked.

Chow 1970, On optimum recognition error and reject tradeoff: below a confidence it is better to abstain. The share of
marked answers is the price, so it is counted; `expected` says beforehand what it will be on honest rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serinus.models.signature import Signature

__all__ = ["NOVEL", "REASONS", "UNSURE", "Referral", "confidence_output", "confidences"]

UNSURE, NOVEL = 1, 2
REASONS = ("", "low_confidence", "novel_row", "low_confidence, novel_row")
"""What each mark means."""


@dataclass(frozen=True, slots=True)
class Referral:
    """When an answer is a person's to give. None switches a rule off.

    Attributes:
        confidence: answers whose largest class probability is below this are referred.
        novelty_p: rows whose novelty p-value is at or below this are referred; of rows like the reference it refers
            this share.
    """

    confidence: float | None = None
    novelty_p: float | None = None

    @property
    def active(self) -> bool:
        """Whether any answer may be referred."""
        return self.confidence is not None or self.novelty_p is not None

    def marks(self, rows: int, confidences: NDArray[np.float64] | None = None,
              p_values: NDArray[np.float64] | None = None) -> NDArray[np.uint8]:
        """A mark for each row: 0, or UNSURE, NOVEL or their sum, an index of `REASONS`.

        What is not known refers nobody; a confidence that is no number is none, and refers.
        """
        marks = np.zeros(rows, np.uint8)
        if self.confidence is not None and confidences is not None:
            marks[~(confidences >= self.confidence)] |= UNSURE
        if self.novelty_p is not None and p_values is not None:
            marks[p_values <= self.novelty_p] |= NOVEL
        return marks

    def expected(self, confidences: NDArray[np.float64] | None = None,
                 p_values: NDArray[np.float64] | None = None) -> float:
        """The share of reference rows that would be referred, given what was found for them."""
        known = confidences if confidences is not None else p_values
        if known is None or not len(known):
            return 0.0
        return float(np.mean(self.marks(len(known), confidences, p_values) > 0))


def confidence_output(signature: Signature) -> str | None:
    """The output that holds one probability per class and row, if a signature has one: floats [-1, classes] with
    labels, or the only ones of this shape beside labelled answers."""
    tables = [field for field in signature.outputs if field.dtype.kind == "f" and len(field.shape) == 2
              and field.shape[0] == -1 and field.shape[1] != 1 and not field.sequence]
    labelled = [field.name for field in tables if field.labels]
    classes = any(field.labels and len(field.shape) == 1 for field in signature.outputs)
    if labelled:
        return labelled[0]
    return tables[0].name if classes and len(tables) == 1 else None


def confidences(outputs: Mapping[str, NDArray[Any]], name: str | None) -> NDArray[np.float64] | None:
    """The largest class probability of each row; None where the output is not there or holds no probabilities."""
    table = outputs.get(name) if name is not None else None
    if table is None or table.ndim != 2 or not table.size or table.dtype.kind != "f":
        return None
    largest = table.max(axis=1)
    return None if bool((largest > 1 + 1e-6).any() or (table < -1e-6).any()) else np.asarray(largest, np.float64)
