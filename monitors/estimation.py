"""Estimated performance of a classifier, before any truth comes: confidence-based performance estimation (CBPE).

What a score is worth as a probability is learnt from the reference's rows whose truth is known (`calibrators`). A live
row with calibrated probability q is then positive q times; so the confusion table, the area under the ROC curve and
all that follows from them have expectations:

```
accuracy ≈ mean(q where the answer is positive, 1 − q elsewhere)      precision ≈ mean(q | positive answer)
roc_auc  ≈ Σ_bins q_b·(Σ_below (1 − q) + ½(1 − q_b)) / (Σq·Σ(1 − q))  recall ≈ Σ(q | positive answer) / Σq
```

The interval is where the *realised* metric of the same rows will lie. It has three parts: truths are drawn, not
certain; the calibration is itself an estimate (it is refitted to resampled reference rows); and a stream wanders by
itself, which is read from the reference's own ten blocks of time, each estimated from the others (so the reach is
Student's with nine degrees of freedom).

All this holds while what a score is worth stays what it was: rows may change, P(truth | row) may not. Nobody can see
that without truths; so each estimate is compared with what its cohort turned out to be, and `standing` withdraws the
estimates when they were wrong too often, or when live rows are unlike the reference.

Reference: Garg et al. 2022 (arXiv 2201.04234); Białek et al. 2024 (arXiv 2401.08348) for the name and its limits.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from serinus.monitors.calibrators import Calibrator, calibrator_from_json, fit_calibrator
from serinus.monitors.errors import InvalidData
from serinus.monitors.intervals import LEVEL, Interval
from serinus.monitors.metrics import FINE, Measure, Sums
from serinus.monitors.packing import pack, squeeze, unpack, unsqueeze

__all__ = ["COHORTS", "COVERAGE", "METRICS", "NOVEL_SHARE", "Comparison", "Estimator", "Standing", "fit_estimator",
           "standing", "standings"]

METRICS = ("accuracy", "precision", "recall", "f1", "roc_auc")
"""What is estimated; averaged over classes where there are more than two."""

COVERAGE = 0.8
"""Estimates whose intervals held less often than this are withdrawn …"""
COHORTS = 5
"""… once so many cohorts are mature."""
NOVEL_SHARE = 0.1
"""Estimates are withdrawn while more than this share of the rows is unlike the reference."""

_BINS = 1_024
_REFITS = 40
_DRAWS = 200
_BLOCKS = 10
_FEWEST = 200
_SEED = 20_260_101

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Estimator:
    """Estimates metrics of rows without truth. A value, made by `fit_estimator`.

    Attributes:
        labels: how many classes there are.
        positive: which is the positive one of two; None with more.
        calibrators: of each class that is looked at.
        edges: inner edges of the score bins of each of them `[S, 1023]`.
        errors: by how much refitted calibrators differ, at each bin `[40, S, 1024]`.
        wander: the standard deviation of realised less estimated metrics that neither draws nor refits explain.
    """

    labels: int
    positive: int | None
    calibrators: tuple[Calibrator, ...]
    edges: Array
    errors: Array
    wander: Mapping[str, float]

    def sums(self, scores: Array, answers: Array) -> Sums:
        """Sum up rows: scores `[n]` of the positive class or `[n, K]`, answers as places of labels `[n]`.

        The table `[S, 1024, 2, 2]` has rows and Σq (in 2⁻²⁰) by class, score bin, and whether the answer was it. Rows
        whose scores are no numbers are left out.
        """
        columns = _columns(scores, self.positive)
        usable = np.isfinite(columns).all(1)
        columns, said = columns[usable], np.asarray(answers)[usable]
        worth = self._worth(columns)
        classes = [self.positive] if self.positive is not None else range(self.labels)
        table = np.stack([self._table(place, columns[:, place], worth[:, place], said == k)
                          for place, k in enumerate(classes)])
        return Sums({"rows": np.array([len(said)], np.int64), "expected": table}, {})

    def _worth(self, columns: Array) -> Array:
        """Calibrated probabilities; those of several classes add up to 1."""
        pairs = zip(self.calibrators, columns.T, strict=True)
        worth = np.column_stack([calibrate(column) for calibrate, column in pairs])
        if self.positive is not None:
            return worth
        total = worth.sum(1, keepdims=True)
        return np.where(total > 0, worth / np.where(total > 0, total, 1.0), 1 / self.labels)

    def _table(self, place: int, scores: Array, worth: Array, said: Array) -> Array:
        cells = np.searchsorted(self.edges[place], scores, "right") * 2 + said
        fine = np.zeros(2 * _BINS, np.int64)
        np.add.at(fine, cells, np.rint(worth * FINE).astype(np.int64))
        return np.stack([np.bincount(cells, minlength=2 * _BINS), fine], -1).reshape(_BINS, 2, 2)

    def estimate(self, sums: Sums, level: float = LEVEL) -> dict[str, Measure]:
        """Estimate the metrics of the rows in these sums; empty where there are none."""
        if not sums.rows:
            return {}
        table = sums.table("expected")
        rows, worth = table[..., 0].astype(float), table[..., 1] / FINE
        values = _metrics(rows, worth, self.positive is not None)
        deviations = self._deviations(rows, worth)
        return {name: _measure(float(value), math.hypot(deviations[name], self.wander.get(name, 0.0)), sums.rows, level)
                for name, value in values.items()}

    def _deviations(self, rows: Array, worth: Array) -> dict[str, float]:
        """Standard deviations of the realised metrics, by drawing truths under refitted calibrations."""
        rng = np.random.default_rng(_SEED)
        used = rows.sum((0, 2)) > 0
        rows, worth, errors = rows[:, used], worth[:, used], self.errors[:, :, used, None]
        refits = np.resize(np.arange(_REFITS), _DRAWS)
        shares = np.clip((worth / np.maximum(rows, 1))[None] + errors[refits], 0.0, 1.0)
        truths = rng.binomial(rows.astype(np.int64), shares).astype(float)
        drawn = _metrics(rows, truths, self.positive is not None)
        return {name: _deviation(values[np.isfinite(values)]) for name, values in drawn.items()}

    def to_json(self) -> dict[str, Any]:
        """Give the estimator as JSON values."""
        return {"labels": self.labels, "positive": self.positive, "edges": pack(self.edges),
                "calibrators": [one.to_json() for one in self.calibrators],
                "errors": squeeze(self.errors.astype(np.float32)), "wander": dict(self.wander)}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Estimator:
        """Read what `to_json` wrote. Raises InvalidData where it cannot be read."""
        try:
            return cls(document["labels"], document["positive"],
                       tuple(calibrator_from_json(one) for one in document["calibrators"]), unpack(document["edges"]),
                       unsqueeze(document["errors"]).astype(float), document["wander"])
        except (KeyError, TypeError, ValueError) as error:
            raise InvalidData(f"An estimator cannot be read ({error!r}); fit it again.") from error


def fit_estimator(scores: Array, answers: Array, truth: Array, labels: int, positive: int | None = None) -> Estimator:
    """Learn from a reference whose truth is known, its rows in the order of time.

    Args:
        scores: the model's probabilities, `[n]` of the positive class of two, or `[n, labels]`.
        answers, truth: places of labels `[n]`.
        labels: how many classes there are.
        positive: which is the positive one of two; by default the second.

    Raises:
        InvalidData: there are fewer than 200 rows, or a class is missing.
    """
    positive = (1 if positive is None else positive) if labels == 2 else None
    columns = _columns(scores, positive)
    usable = np.isfinite(columns).all(1)
    columns, said, true = columns[usable], np.asarray(answers)[usable], np.asarray(truth)[usable]
    if len(columns) < _FEWEST:
        raise InvalidData(f"Estimating without labels needs {_FEWEST} reference rows with truth and scores or more, "
                          f"got {len(columns):,}.")
    whole = _fitted(columns, true, labels, positive)
    return Estimator(whole.labels, whole.positive, whole.calibrators, whole.edges,
                     _refitted(whole, columns, true), _wander(columns, said, true, labels, positive))


def _columns(scores: Array, positive: int | None) -> Array:
    table = np.asarray(scores, float)
    if table.ndim == 1:
        return table[:, None]
    return table if positive is None else table[:, positive : positive + 1]


def _fitted(columns: Array, true: Array, labels: int, positive: int | None) -> Estimator:
    classes = [positive] if positive is not None else list(range(labels))
    calibrators = tuple(fit_calibrator("isotonic", column, true == k)
                        for column, k in zip(columns.T, classes, strict=True))
    edges = np.quantile(columns, np.arange(1, _BINS) / _BINS, axis=0).T
    return Estimator(labels, positive, calibrators, edges, np.zeros((_REFITS, len(classes), _BINS)), {})


def _refitted(whole: Estimator, columns: Array, true: Array) -> Array:
    """Refit to rows that count a random number of times each (Poisson), and give the difference at each bin."""
    rng = np.random.default_rng(_SEED)
    classes = [whole.positive] if whole.positive is not None else list(range(whole.labels))
    errors = np.zeros((_REFITS, len(classes), _BINS))
    middles = np.stack([_middles(edges, column) for edges, column in zip(whole.edges, columns.T, strict=True)])
    for refit in range(_REFITS):
        weights = rng.poisson(1.0, len(true)).astype(float)
        for place, k in enumerate(classes):
            hits = (true == k).astype(float)
            if 0 < (hits * weights).sum() < weights.sum():
                again = fit_calibrator("isotonic", columns[:, place], hits, weights)
                errors[refit, place] = again(middles[place]) - whole.calibrators[place](middles[place])
    return errors


def _middles(edges: Array, column: Array) -> Array:
    ends = np.concatenate([[column.min()], edges, [column.max()]])
    middles: Array = (ends[:-1] + ends[1:]) / 2
    return middles


def _wander(columns: Array, said: Array, true: Array, labels: int, positive: int | None) -> dict[str, float]:
    """Estimate each block of time from the others; what is left beyond draws and refits is the stream's own."""
    blocks = np.array_split(np.arange(len(true)), _BLOCKS)
    excess: dict[str, list[float]] = {name: [] for name in METRICS}
    for rows in blocks:
        others = np.setdiff1d(np.arange(len(true)), rows, assume_unique=True)
        try:
            part = _fitted(columns[others], true[others], labels, positive)
        except InvalidData:
            continue
        sums = part.sums(columns[rows, 0] if positive is not None else columns[rows], said[rows])
        table = sums.table("expected")
        counts, worth = table[..., 0].astype(float), table[..., 1] / FINE
        estimated, realised = (_metrics(counts, one, positive is not None)
                               for one in (worth, _realised(part, columns[rows], said[rows], true[rows])))
        deviations = part._deviations(counts, worth)
        for name in METRICS:
            ours, theirs = float(estimated[name]), float(realised[name])
            if math.isfinite(ours) and math.isfinite(theirs):
                excess[name].append((ours - theirs) ** 2 - deviations[name] ** 2)
    return {name: math.sqrt(max(float(np.mean(values)), 0.0)) if values else 0.0 for name, values in excess.items()}


def _realised(part: Estimator, columns: Array, said: Array, true: Array) -> Array:
    """The true positives in the same cells."""
    classes = [part.positive] if part.positive is not None else range(part.labels)
    return np.stack([part._table(place, columns[:, place], (true == k).astype(float), said == k)[..., 1] / FINE
                     for place, k in enumerate(classes)])


def _metrics(rows: Array, positives: Array, two: bool) -> dict[str, Array]:
    """Metrics of cells, NaN where one is not defined.

    Args:
        rows: `[S, bins, 2]`: rows by class, bin, and whether the answer was it.
        positives: how many of them are of the class, `[…, S, bins, 2]`.
        two: whether there are two classes, of which one is looked at.
    """
    hits, answered = positives[..., 1].sum(-1), rows[..., 1].sum(-1)
    true, every = positives.sum((-1, -2)), rows[0].sum()
    refused = (rows[0, :, 0] - positives[..., 0, :, 0]).sum(-1) if two else 0.0
    of_class = positives.sum(-1)
    others = rows.sum(-1) - of_class
    pairs = of_class.sum(-1) * others.sum(-1)
    below = (of_class * (np.cumsum(others, -1) - others / 2)).sum(-1)
    return {"accuracy": (hits.sum(-1) + refused) / every, "precision": _averaged(hits, answered),
            "recall": _averaged(hits, true), "f1": _averaged(2 * hits, true + answered),
            "roc_auc": _averaged(below, pairs)}


def _averaged(above: Array, below: Array) -> Array:
    """Ratios averaged over the classes (the last axis) that have one."""
    known = np.broadcast_to(below > 0, above.shape)
    ratios = np.where(known, above / np.where(below > 0, below, 1.0), 0.0)
    number = known.sum(-1)
    averages: Array = np.where(number > 0, ratios.sum(-1) / np.maximum(number, 1), np.nan)
    return averages


def _deviation(values: Array) -> float:
    return float(np.std(values, ddof=1)) if len(values) > 1 else 0.0


def _measure(value: float, deviation: float, rows: int, level: float) -> Measure:
    if not math.isfinite(value):
        return Measure(None, None, rows, "no answer or no truth of these rows is expected to be positive")
    from scipy.special import stdtrit

    reach = float(stdtrit(_BLOCKS - 1, (1 + level) / 2)) * deviation
    return Measure(value, Interval(max(value - reach, 0.0), min(value + reach, 1.0)), rows)


class Comparison(NamedTuple):
    """What was estimated for a cohort, and what it turned out to be."""

    window: str
    estimated: Measure
    realised: float

    @property
    def held(self) -> bool:
        """Whether the interval held the realised value."""
        return self.estimated.interval is not None and self.estimated.interval.holds(self.realised)


class Standing(NamedTuple):
    """Whether estimates are to be believed, and how good they were.

    Attributes:
        withdrawn: they are not shown as estimates any more.
        reason: why, as a sentence; "" where they are not.
        cohorts: how many are mature.
        coverage: how often the interval held, None before there is a cohort.
        error: mean absolute error of the estimates.
        bias: mean of estimated less realised.
    """

    withdrawn: bool
    reason: str
    cohorts: int
    coverage: float | None = None
    error: float | None = None
    bias: float | None = None


def standing(comparisons: Sequence[Comparison], novel_share: float | None = None) -> Standing:
    """Judge estimates by the cohorts whose truth is in.

    Args:
        comparisons: of mature cohorts.
        novel_share: share of the recent rows that are unlike the reference (conformal p of 1 in 100 or below).

    Example:
        >>> wrong = Comparison("2026-01", Measure(0.9, Interval(0.88, 0.92), 500), 0.7)
        >>> standing([wrong] * 4).withdrawn, standing([wrong] * 5).withdrawn
        (False, True)
    """
    known = [one for one in comparisons if one.estimated.value is not None]
    novel = novel_share is not None and novel_share > NOVEL_SHARE
    reason = f"{novel_share:.0%} of the rows are unlike the reference, where nothing can be estimated." if novel else ""
    if not known:
        return Standing(novel, reason, 0)
    errors = np.array([one.estimated.value - one.realised for one in known if one.estimated.value is not None])
    coverage = float(np.mean([one.held for one in known]))
    if len(known) >= COHORTS and coverage < COVERAGE:
        reason = (f"The intervals of {len(known)} cohorts held the realised value in {coverage:.0%}, at least "
                  f"{COVERAGE:.0%} are wanted.")
    return Standing(bool(reason), reason, len(known), coverage, float(np.abs(errors).mean()), float(errors.mean()))


def standings(by_metric: Mapping[str, Sequence[Comparison]], novel_share: float | None = None) -> dict[str, Standing]:
    """Judge the estimates of several metrics: they share one calibration, so where one is withdrawn, all are.

    Example:
        >>> wrong = [Comparison("2026-01", Measure(0.9, Interval(0.88, 0.92), 500), 0.7)] * 5
        >>> right = [Comparison("2026-01", Measure(0.9, Interval(0.88, 0.92), 500), 0.9)] * 5
        >>> standings({"accuracy": wrong, "roc_auc": right})["roc_auc"].withdrawn
        True
    """
    judged = {metric: standing(comparisons, novel_share) for metric, comparisons in by_metric.items()}
    first = next((f"{metric}: {one.reason}" for metric, one in judged.items() if one.withdrawn), None)
    return {metric: one if one.withdrawn or first is None else one._replace(withdrawn=True, reason=first)
            for metric, one in judged.items()}
