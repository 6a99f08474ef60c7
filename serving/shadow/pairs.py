"""Pairs: what stable and the candidate answered to the same inputs, counted.

One row of each request is compared, chosen by its id, so that a request is one unit however many rows it has.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from serinus.models.signature import Signature
from serinus.monitors.record import PredictionRecord
from serinus.monitors.referral import confidence_output
from serinus.serving.router import class_output, value_output
from serinus.serving.shadow.histogram import Histogram

__all__ = ["NO_LABEL", "Answer", "Answers", "PairCounts", "chosen_row"]

Arrays = Mapping[str, NDArray[Any]]

FORMAT = 1
NO_LABEL = -1
_CLASSES = 20
_QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
OTHER = "other"


class Answer(NamedTuple):
    """A version's answer for one row: the number of its class, and its scores or its value, where it gives such."""

    label: int = NO_LABEL
    scores: NDArray[np.float64] | None = None
    value: float | None = None


class Answers:
    """Reads answers of versions whose outputs are those of `signature`. `labels` are its classes as text."""

    def __init__(self, signature: Signature) -> None:
        self._label, self._value = class_output(signature), value_output(signature)
        self._scores = confidence_output(signature)
        fields = {each.name: each for each in signature.outputs}
        self.labels = tuple(map(str, fields[self._label].labels or ())) if self._label is not None else ()
        self._numbers = {label: number for number, label in enumerate(self.labels)}

    def of(self, outputs: Arrays, row: int) -> Answer:
        """What was answered for a row; nothing where the caller did not ask for it."""
        found, scores = self._at(outputs, self._label, row), self._at(outputs, self._scores, row)
        value = self._at(outputs, self._value, row) if self._label is None else None
        return Answer(
            NO_LABEL if found is None else self._numbers.get(str(found), NO_LABEL),
            None if scores is None else np.asarray(scores, np.float64),
            None if value is None else float(np.asarray(value).ravel()[0]))

    @staticmethod
    def _at(outputs: Arrays, name: str | None, row: int) -> Any:
        array = outputs.get(name) if name is not None else None
        return None if array is None or array.ndim == 0 or len(array) <= row else array[row]


@dataclass
class PairCounts:
    """All pairs of one rollout. Numbers only grow."""

    rollout_id: str
    model: str
    stable: str
    candidate: str
    labels: tuple[str, ...]
    pairs: int = 0
    candidate_failed: int = 0
    stable_failed: int = 0
    both_failed: int = 0
    late: int = 0
    """Copies that were too old when their turn came."""
    compared: int = 0
    """Pairs in which both gave a class."""
    disagreements: int = 0
    flips: dict[str, list[int]] = field(default_factory=dict)
    slices: dict[str, list[int]] = field(default_factory=dict)
    """By slice: pairs, and disagreements among them."""
    scores: Histogram = field(default_factory=Histogram)
    latency: Histogram = field(default_factory=Histogram)

    def __post_init__(self) -> None:
        for label in self.labels[:_CLASSES]:
            self.flips.setdefault(label, [0, 0])
        if len(self.labels) > _CLASSES:
            self.flips.setdefault(OTHER, [0, 0])

    def add(self, stable: Answer | None, candidate: Answer | None, *, stable_ns: int = 0, candidate_ns: int = 0,
            slices: Iterable[str] = ()) -> None:
        """Count a pair; None where a version failed."""
        self.pairs += 1
        self.candidate_failed += candidate is None and stable is not None
        self.stable_failed += stable is None and candidate is not None
        self.both_failed += stable is None and candidate is None
        if stable is None or candidate is None:
            return
        if stable_ns > 0 and candidate_ns > 0:
            self.latency.add(candidate_ns / stable_ns)
        if (difference := _difference(stable, candidate)) is not None:
            self.scores.add(difference)
        if NO_LABEL not in (stable.label, candidate.label):
            self._compare(stable.label, candidate.label, slices)

    def _compare(self, stable: int, candidate: int, slices: Iterable[str]) -> None:
        differ = stable != candidate
        self.compared += 1
        self.disagreements += differ
        for name in slices:
            counts = self.slices.setdefault(name, [0, 0])
            counts[0] += 1
            counts[1] += differ
        given, kept = self._name(candidate), self._name(stable)
        if given != kept:
            self.flips[given][0] += 1
            self.flips[kept][1] += 1

    def _name(self, label: int) -> str:
        return self.labels[label] if label < _CLASSES else OTHER

    def to_json(self) -> dict[str, Any]:
        """All counts as JSON values."""
        plain = {name: getattr(self, name) for name in _PLAIN}
        return {"format": FORMAT, **plain, "labels": list(self.labels), "flips": self.flips,
                "disagreement_by_slice": self.slices, "scores": _told(self.scores), "latency": _told(self.latency)}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> PairCounts:
        """What `to_json` gave."""
        scores, latency = (Histogram([(bucket, number) for bucket, number in document[name]["counts"]],
                                     document[name]["sum"]) for name in ("scores", "latency"))
        return cls(**{name: document[name] for name in _PLAIN}, labels=tuple(document["labels"]),
                   flips=document["flips"], slices=document["disagreement_by_slice"], scores=scores, latency=latency)


_PLAIN = ("rollout_id", "model", "stable", "candidate", "pairs", "candidate_failed", "stable_failed", "both_failed",
          "late", "compared", "disagreements")


def chosen_row(record: PredictionRecord) -> int:
    """The row of a request that is compared."""
    return int.from_bytes(record.prediction_uuid[-5:]) * 0x9E3779B97F4A7C15 % (1 << 64) * record.rows >> 64


def _difference(stable: Answer, candidate: Answer) -> float | None:
    """How much more the candidate gives: of score to the class that stable prefers, or of value."""
    if stable.value is not None and candidate.value is not None:
        return candidate.value - stable.value
    if stable.scores is None or candidate.scores is None or stable.scores.shape != candidate.scores.shape:
        return None
    best = int(np.nanargmax(stable.scores)) if np.isfinite(stable.scores).any() else 0
    return float(candidate.scores[best] - stable.scores[best])


def _told(histogram: Histogram) -> dict[str, Any]:
    return {"number": histogram.number, "mean": histogram.mean, "sum": histogram.total,
            "quantiles": {f"{share:g}": histogram.quantile(share) for share in _QUANTILES},
            "counts": sorted(histogram.counts.items())}
