"""Windows: the predictions of one version and role in one hour, and what became of them.

A truth belongs to the hour of its *prediction*, whenever it comes. A window is never closed: it has a revision, which
rises with everything that changes it. It is counted anew from log and truths for each segment, so it is the same after
any number of deaths and repetitions; what a segment gave stays when the segment is gone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from serinus.monitors.harm import loss_counts, losses_of
from serinus.monitors.label_delay import BINS, Cohort, bin_of
from serinus.monitors.performance import Outcomes
from serinus.serving.ground_truth.columns import HOUR_MS, Answers, Block, Ids, keys_of
from serinus.serving.ground_truth.resolution import ConflictPolicy, State, Truth, alike, resolve
from serinus.serving.ground_truth.sources import count_sources
from serinus.serving.store import GroundTruth

__all__ = ["COUNTS", "Matched", "Truths", "cohort", "count", "match", "merged", "truths"]

COUNTS = ("predictions", "labelled", "provisional", "late", "duplicates", "conflicts", "revised", "retracted",
          "quarantined")
"""What is counted in every window."""

_CLASSES = 20
_SCORE_BINS = 10


class Truths(NamedTuple):
    """What is held true of the predictions of an hour."""

    ids: list[str]
    keys: Ids
    truths: list[Truth]


class Matched(NamedTuple):
    """The predictions of one version and role in an hour of a segment, with what became of them.

    `truths[i]` is that of row `rows[i]`; `found` says which of an hour's truths these are.
    """

    block: Block
    rows: NDArray[np.int64]
    truths: list[Truth]
    found: NDArray[np.int64]


def truths(rows: Iterable[GroundTruth], policy: ConflictPolicy, sources: Sequence[str]) -> Truths:
    """Resolve outcomes, which come by prediction id."""
    ids, resolved = [], []
    for prediction_id, group in groupby(rows, key=itemgetter(0)):
        ids.append(prediction_id)
        resolved.append(resolve(list(group), policy, sources))
    return Truths(ids, keys_of(ids), resolved)


def match(block: Block, writer: int, hour: int, known: Truths) -> Matched:
    """Find the predictions that the truths speak of, among those of a block in that hour."""
    inside = block.times_ms // HOUR_MS == hour
    part = Block(block.model, block.version, block.role, block.keys[inside], block.times_ms[inside],
                 None if block.answers is None else block.answers[inside],
                 None if block.scores is None else block.scores[inside])
    mine = np.flatnonzero(known.keys.writers == np.uint64(writer))
    places = np.searchsorted(part.keys, known.keys.keys[mine])
    there = places < len(part.keys)
    there[there] = (part.keys[places[there]] == known.keys.keys[mine[there]]) & (
        part.times_ms[places[there]] == known.keys.times_ms[mine[there]])
    found = mine[there]
    return Matched(part, places[there], [known.truths[index] for index in found.tolist()], found)


def count(matched: Matched, answers: Answers | None, late_seconds: float) -> dict[str, Any]:
    """What a window keeps of these predictions, as JSON values."""
    block, everything = matched.block, matched.truths
    there = [index for index, truth in enumerate(everything) if truth.state is State.LABELLED]
    labelled = [everything[index] for index in there]
    rows = matched.rows[there]
    waited = np.array([truth.received for truth in labelled], float) - block.times_ms[rows] / 1000
    late = np.array([truth.updated for truth in labelled], float) - block.times_ms[rows] / 1000 > late_seconds
    found: dict[str, Any] = {
        "predictions": len(block.keys), "labelled": len(labelled), "late": int(late.sum()),
        "provisional": sum(truth.provisional for truth in labelled),
        "duplicates": sum(truth.duplicates for truth in everything),
        "conflicts": sum(truth.conflict for truth in everything),
        "revised": sum(truth.revised for truth in everything),
        "retracted": sum(truth.state is State.RETRACTED for truth in everything),
        "quarantined": sum(truth.state is State.QUARANTINED for truth in everything),
        "events": _events(everything)}
    said = None if answers is None else _answers(block, answers)
    classes = answers is not None and answers.definition.task == "classification"
    names = _names(said, len(block.keys)) if classes else np.zeros(len(block.keys), int).astype("U1")
    truths_named = np.array([alike(truth.value) if classes else "0" for truth in labelled], "U")
    found["totals"] = _totals(names)
    found["labels"] = _labels(names[rows], truths_named, bin_of(waited))
    found["scores"] = _by_score(block.scores, rows)
    if answers is not None and said is not None:
        values = np.array([truth.value for truth in labelled], object)
        weights = np.array([truth.weight for truth in labelled], float)
        right = names[rows] == truths_named if classes else None
        found["weights"] = _weighted(weights, right)
        if right is not None and block.scores is not None:
            found["sources"] = count_sources([truth.source for truth in labelled], right, block.scores[rows])
        outcomes = Outcomes(_numbers(values, classes), said[rows],
                            None if block.scores is None or not classes else block.scores[rows])
        found["sums"] = answers.definition.sums(outcomes).to_json()
        found["definition"] = answers.definition.digest
        found["losses"] = _losses(answers, outcomes)
    return found


def merged(parts: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Add what the segments of an hour, or the hours of a day, gave; but for the sums of performance."""
    whole: dict[str, Any] = dict.fromkeys(COUNTS, 0) | {"events": {}, "totals": {}, "labels": {},
                                                        "scores": [[0] * _SCORE_BINS, [0] * _SCORE_BINS],
                                                        "weights": [0.0, 0.0, 0.0]}
    for part in parts:
        for name in COUNTS:
            whole[name] += part[name]
        for name, number in part["totals"].items():
            whole["totals"][name] = whole["totals"].get(name, 0) + number
        for answer, label, counts in part["labels"]:
            before = whole["labels"].get((answer, label), np.zeros(BINS, np.int64))
            whole["labels"][answer, label] = before + np.array(counts, np.int64)
        for name, numbers in part["events"].items():
            before = whole["events"].get(name, [0, 0, 0.0])
            whole["events"][name] = [left + right for left, right in zip(before, numbers, strict=True)]
        whole["scores"] = [[left + right for left, right in zip(*both, strict=True)]
                           for both in zip(whole["scores"], part["scores"], strict=True)]
        whole["weights"] = [left + right for left, right in
                            zip(whole["weights"], part.get("weights", (0.0, 0.0, 0.0)), strict=True)]
    return whole


def cohort(whole: Mapping[str, Any], age_s: float) -> Cohort:
    """What `merged` gave, as the estimates of delay take it."""
    return Cohort(max(0.0, age_s), whole["totals"], whole["labels"])


def _answers(block: Block, answers: Answers) -> NDArray[Any] | None:
    if block.answers is not None:
        return block.answers
    if block.scores is None or block.scores.ndim != 2:
        return None
    labels = np.array(answers.definition.labels, object)
    best = block.scores.argmax(1)
    return labels[best] if block.scores.shape[1] == len(labels) else None


def _losses(answers: Answers, outcomes: Outcomes) -> dict[str, int]:
    """Rows by level of loss; of numbers only where it is known which error is large."""
    if answers.definition.task == "regression" and answers.scale is None:
        return {}
    counts = loss_counts(losses_of(answers.definition, outcomes, answers.scale or 1.0))
    return {str(level): int(counts[level]) for level in np.flatnonzero(counts)}


def _names(said: NDArray[Any] | None, rows: int) -> NDArray[Any]:
    """Answers as text; of more than twenty, the rare ones together."""
    if said is None or said.ndim != 1:
        return np.zeros(rows, int).astype("U1")
    values, places, counts = np.unique(said.astype("U") if said.dtype.hasobject else said, return_inverse=True,
                                       return_counts=True)
    texts = np.array([alike(value) for value in values.tolist()], object)
    texts[np.argsort(-counts, kind="stable")[_CLASSES:]] = "…"
    return np.asarray(texts[places.ravel()]).astype("U")


def _totals(names: NDArray[Any]) -> dict[str, int]:
    values, counts = np.unique(names, return_counts=True)
    return dict(zip(values.tolist(), counts.tolist(), strict=True))


def _labels(said: NDArray[Any], true: NDArray[Any], bins: NDArray[np.int64]) -> list[list[Any]]:
    found = []
    for answer in np.unique(said).tolist():
        for label in np.unique(true[said == answer]).tolist():
            counts = np.bincount(bins[(said == answer) & (true == label)], minlength=BINS)
            found.append([answer, label, counts.tolist()])
    return found


def _by_score(scores: NDArray[Any] | None, rows: NDArray[np.int64]) -> list[list[int]]:
    """How many truths are known and how many predictions there are, by the score of the last class."""
    if scores is None or not scores.size:
        return [[0] * _SCORE_BINS, [0] * _SCORE_BINS]
    score = np.nan_to_num(np.asarray(scores[:, -1] if scores.ndim == 2 else scores, float))
    bins = np.clip((score * _SCORE_BINS).astype(np.int64), 0, _SCORE_BINS - 1)
    return [np.bincount(some, minlength=_SCORE_BINS).tolist() for some in (bins[rows], bins)]


def _weighted(weights: NDArray[np.float64], right: NDArray[np.bool_] | None) -> list[float]:
    """Sums of weights, their squares, and the weights of right answers."""
    hits = 0.0 if right is None else float(weights[right].sum())
    return [float(weights.sum()), float((weights**2).sum()), hits]


def _numbers(values: NDArray[Any], classes: bool) -> NDArray[Any]:
    """Truths as performance takes them: of a regression, what is no number is missing."""
    if classes:
        return values
    return np.array([_number(value) for value in values.tolist()], float)


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return float("nan")


def _events(everything: Iterable[Truth]) -> dict[str, list[float]]:
    """By name: predictions with such an event, how many events, and the sum of their values."""
    found: dict[str, list[float]] = {}
    for truth in everything:
        for name, (number, total) in truth.events.items():
            before = found.setdefault(name, [0, 0, 0.0])
            found[name] = [before[0] + 1, before[1] + number, before[2] + total]
    return found
