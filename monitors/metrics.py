"""Performance metrics with intervals, all from sums that add exactly: what is known of answers whose truth came.

| metric | from | interval |
|---|---|---|
| accuracy; precision, recall of two classes | counts | Wilson |
| f1; precision, recall, f1 averaged over more classes | confusion table | multinomial delta method, logit scale |
| roc_auc | counts in 256 score bins by class | DeLong on the bins, logit scale; over classes the widest case |
| pr_auc | the same | logit (Boyd, Eng & Page 2013) |
| log_loss, brier, mae, bias, mape, value, your own | n, Σx, Σx² | Student's t |
| rmse | n, Σe², Σe⁴ | the root of the interval of the mean square |
| r2 | moments of e and y to the fourth order | delta method |

Names and definitions are scikit-learn's; with more than two classes they are macro averages, one class against all.
Score bins are even on the scale arcsin √p, on which an estimated probability has the same error everywhere.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from serinus.monitors import intervals
from serinus.monitors.exact import ExactSum
from serinus.monitors.intervals import LEVEL, Interval
from serinus.monitors.packing import squeeze, unsqueeze

__all__ = ["BINS", "FINE", "HIGHER", "Measure", "Sums", "average_precision", "classification", "mean_measure",
           "regression", "score_bins", "share_measure"]

BINS = 256
"""Score bins of every class."""

FINE = 1 << 20
"""Probabilities and losses are rounded to one part in this many, so that their sums are integers."""

HIGHER = frozenset({"accuracy", "precision", "recall", "f1", "roc_auc", "pr_auc", "r2", "value"})
"""The metrics of which more is better; of all others less is."""

_VARIES = 1e-9
"""Below this part of the mean square, what is left of a variance is rounding."""

Array = NDArray[Any]


class Measure(NamedTuple):
    """A metric's value, where the true one may lie, and of how many rows it was taken.

    `value` is None, and `reason` a sentence, where nothing can be said.
    """

    value: float | None
    interval: Interval | None
    rows: int
    reason: str = ""

    def to_json(self) -> dict[str, Any]:
        """Give the measure as JSON values."""
        low, high = self.interval or (None, None)
        return {"value": self.value, "low": low, "high": high, "rows": self.rows, "reason": self.reason}


@dataclass(frozen=True, eq=False)
class Sums:
    """Tables of counts and exact totals by name: a value that `+` merges, in any order, without losing a bit.

    A name that only one side has counts as zero on the other.
    """

    tables: Mapping[str, NDArray[np.int64]]
    totals: Mapping[str, ExactSum]

    def __add__(self, other: Sums) -> Sums:
        return Sums(_added(self.tables, other.tables), _added(self.totals, other.totals))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sums) and self.to_json() == other.to_json()

    def __hash__(self) -> int:
        return hash(tuple(sorted(self.totals.items(), key=lambda item: item[0])))

    def table(self, name: str) -> NDArray[np.int64]:
        """Give a table; one zero where nothing was counted."""
        return self.tables.get(name, np.zeros(1, np.int64))

    def total(self, name: str) -> float:
        """Give a total; 0 where nothing was added."""
        return self.totals.get(name, ExactSum()).value

    @property
    def rows(self) -> int:
        """How many rows were taken."""
        return int(self.table("rows")[0])

    def to_json(self) -> dict[str, Any]:
        """Give the sums as JSON values."""
        return {"tables": {name: squeeze(table) for name, table in sorted(self.tables.items())},
                "totals": {name: total.to_json() for name, total in sorted(self.totals.items())}}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Sums:
        """Read what `to_json` wrote."""
        return cls({name: unsqueeze(table) for name, table in document["tables"].items()},
                   {name: ExactSum.from_json(total) for name, total in document["totals"].items()})


def _added(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> dict[str, Any]:
    both = {name: ours[name] + theirs[name] for name in ours.keys() & theirs.keys()}
    return {**ours, **theirs, **both}


def score_bins(scores: Array) -> NDArray[np.int64]:
    """The bin of each probability, 0 to 255; what lies outside of [0, 1] is in the outermost."""
    angles = np.arcsin(np.sqrt(np.clip(scores, 0.0, 1.0))) * (2 * BINS / math.pi)
    bins: NDArray[np.int64] = np.minimum(angles.astype(np.int64), BINS - 1)
    return bins


def average_precision(positives: Array, negatives: Array) -> float | None:
    """Precision averaged over the recall steps of counts by rising score; None without positives."""
    ours, all_above = np.asarray(positives, float)[::-1], np.cumsum((positives + negatives)[::-1])
    if not ours.sum():
        return None
    return float(ours @ (np.cumsum(ours) / np.maximum(all_above, 1)) / ours.sum())


def mean_measure(rows: int, total: float, squares: float, level: float = LEVEL) -> Measure:
    """Measure the mean of values of which these are the sums."""
    if not rows:
        return Measure(None, None, 0, "no row has it")
    value = total / rows
    if not math.isfinite(value):
        return Measure(None, None, rows, "its sum is too large for a number")
    interval = intervals.mean(rows, total, squares, level)
    return Measure(value, interval, rows, "" if interval else "of one row there is no interval")


def classification(
    sums: Sums, positive: int | None, values: Array | None = None, level: float = LEVEL
) -> dict[str, Measure]:
    """Measure a classifier of K classes.

    Args:
        sums: `confusion` [K+1, K+1] (truth by answer, the last for other labels), `scores` [S, 256, 3] of the last of
            two classes or of all, `losses` [5].
        positive: which class is the positive one; None averages over classes.
        values: what a row is worth, by truth and answer [K, K].
        level: of the intervals.
    """
    table = sums.table("confusion")
    if not table.sum():
        return {}
    found = {"accuracy": share_measure(np.trace(table[:-1, :-1]), table.sum(), level)}
    found |= _of_two(table, positive, level) if positive is not None else _averaged(table, level)
    if "scores" in sums.tables and sums.table("scores")[..., 0].any():
        found |= _of_scores(sums, positive, level)
    if values is not None:
        found["value"] = _worth(table[:-1, :-1], values, level)
    return found


def share_measure(events: float, units: float, level: float = LEVEL, nothing: str = "no row has it") -> Measure:
    """Measure a share, with Wilson's interval; `nothing` says why there is none of no rows."""
    if not units:
        return Measure(None, None, 0, nothing)
    return Measure(float(events / units), intervals.proportion(float(events), float(units), level), int(units))


def _of_two(table: Array, positive: int, level: float) -> dict[str, Measure]:
    hits, answered, true = table[positive, positive], table[:, positive].sum(), table[positive].sum()
    f1 = _delta(table, [_f1_gradient(table, positive)], level, "neither truth nor answers are ever positive")
    return {"precision": share_measure(hits, answered, level, "no answer was positive"),
            "recall": share_measure(hits, true, level, "no truth was positive"), "f1": f1}


def _averaged(table: Array, level: float) -> dict[str, Measure]:
    present = [k for k in range(len(table) - 1) if table[k].any() or table[:, k].any()]
    gradients: dict[str, Callable[[Array, int], tuple[float, Array] | None]] = {
        "precision": _precision_gradient, "recall": _recall_gradient, "f1": _f1_gradient}
    return {name: _delta(table, [gradient(table, k) for k in present], level, "no class has it")
            for name, gradient in gradients.items()}


def _delta(table: Array, parts: list[tuple[float, Array] | None], level: float, nothing: str) -> Measure:
    """Average functions of multinomial cells; their variance by the delta method."""
    known = [part for part in parts if part is not None]
    rows = int(table.sum())
    if not known:
        return Measure(None, None, rows, nothing)
    value = float(np.mean([part[0] for part in known]))
    gradient = np.sum([part[1] for part in known], axis=0) / len(known)
    shares = table / rows
    variance = float((shares * gradient**2).sum() - (shares * gradient).sum() ** 2) * rows
    return Measure(value, intervals.within_unit(value, variance, rows, level), rows)


def _ratio_gradient(table: Array, k: int, per_row: float, per_column: float) -> tuple[float, Array] | None:
    """Value and gradient of C_kk / (a·row + b·column) with a + b = 1: recall, precision, and F1 in the middle."""
    below = per_row * table[k].sum() + per_column * table[:, k].sum()
    if not below:
        return (0.0, np.zeros(table.shape))
    value = table[k, k] / below
    gradient = np.zeros(table.shape)
    gradient[k] -= per_row * value
    gradient[:, k] -= per_column * value
    gradient[k, k] += 1.0
    return float(value), gradient / below


def _f1_gradient(table: Array, k: int) -> tuple[float, Array] | None:
    seen = table[k].any() or table[:, k].any()
    return _ratio_gradient(table, k, 0.5, 0.5) if seen else None


def _precision_gradient(table: Array, k: int) -> tuple[float, Array] | None:
    return _ratio_gradient(table, k, 0.0, 1.0)


def _recall_gradient(table: Array, k: int) -> tuple[float, Array] | None:
    return _ratio_gradient(table, k, 1.0, 0.0)


def _of_scores(sums: Sums, positive: int | None, level: float) -> dict[str, Measure]:
    scores, losses = _looked_at(sums.table("scores"), positive), sums.table("losses") / FINE
    rows = int(losses[0] * FINE)
    return {"roc_auc": _roc(scores, rows, level), "pr_auc": _pr(scores, rows, level),
            "log_loss": mean_measure(rows, losses[1], losses[2], level),
            "brier": mean_measure(rows, losses[3], losses[4], level)}


def _looked_at(scores: Array, positive: int | None) -> Array:
    """The tables of the positive class. Of two classes the first one's is the last one's from its other end."""
    if positive is None or (len(scores) == 1 and positive == 1):
        return scores
    if len(scores) > 1:
        return scores[positive : positive + 1]
    rows, positives, total = scores[0, ::-1].T
    return np.column_stack([rows, rows - positives, rows * int(FINE) - total])[None]


def _roc(scores: Array, rows: int, level: float) -> Measure:
    found = [intervals.area_under_curve(table[:, 1], table[:, 0] - table[:, 1]) for table in scores]
    areas = [area for area in found if area is not None]
    if not areas:
        return Measure(None, None, rows, "all rows are of one class")
    value = float(np.mean([area.value for area in areas]))
    # However the classes' areas depend on one another, the error of their mean is at most the mean of their errors.
    error = float(np.mean([math.sqrt(area.variance) for area in areas]))
    return Measure(value, intervals.within_unit(value, error**2, rows, level), rows)


def _pr(scores: Array, rows: int, level: float) -> Measure:
    many = [int(table[:, 1].sum()) for table in scores]
    found = [average_precision(table[:, 1], table[:, 0] - table[:, 1]) for table in scores]
    areas = [(area, n) for area, n in zip(found, many, strict=True) if area is not None]
    if not areas:
        return Measure(None, None, rows, "no row is positive")
    value = float(np.mean([area for area, _ in areas]))
    error = float(np.mean([math.sqrt(area * (1 - area) / n) for area, n in areas]))
    return Measure(value, intervals.within_unit(value, error**2, min(n for _, n in areas), level), rows)


def _worth(table: Array, values: Array, level: float) -> Measure:
    worth = np.asarray(values, float)
    return mean_measure(int(table.sum()), float((table * worth).sum()), float((table * worth**2).sum()), level)


def regression(sums: Sums, level: float = LEVEL) -> dict[str, Measure]:
    """Measure a regression of totals `e`, `e2`, `e4`, `a`, `m`, `m2`, `y` … `y4`, `e2y`, `e2y2` (`performance`)."""
    rows = sums.rows
    if not rows:
        return {}
    square = mean_measure(rows, sums.total("e2"), sums.total("e4"), level)
    return {"mae": mean_measure(rows, sums.total("a"), sums.total("e2"), level), "rmse": _rooted(square),
            "r2": _r_squared(sums, level), "mape": mean_measure(rows, sums.total("m"), sums.total("m2"), level),
            "bias": mean_measure(rows, sums.total("e"), sums.total("e2"), level)}


def _rooted(square: Measure) -> Measure:
    if square.value is None or square.interval is None:
        return square._replace(value=None if square.value is None else math.sqrt(square.value))
    low, high = (math.sqrt(max(end, 0.0)) for end in square.interval)
    return Measure(math.sqrt(square.value), Interval(low, high), square.rows)


def _r_squared(sums: Sums, level: float) -> Measure:
    """1 − E[e²]/Var[y]; the influence of a row is ((y − μ)²·ρ − e²)/Var[y] with ρ the ratio."""
    rows = sums.rows
    e2, e4, y, y2, y3, y4, e2y, e2y2 = (
        sums.totals[name].exact / rows for name in ("e2", "e4", "y", "y2", "y3", "y4", "e2y", "e2y2"))
    spread = y2 - y * y
    if rows < 2 or spread <= _VARIES * y2:
        return Measure(None, None, rows, "the truth hardly varies, or only far from the definition's centre")
    ratio = e2 / spread
    fourth = y4 - 4 * y * y3 + 6 * y * y * y2 - 3 * y**4
    crossed = e2y2 - 2 * y * e2y + y * y * e2
    variance = (ratio**2 * fourth - 2 * ratio * crossed + e4) / spread**2 / rows
    try:
        value, error = float(1 - ratio), float(variance)
    except OverflowError:
        return Measure(None, None, rows, "its sum is too large for a number")
    interval = intervals.around(value, error, level)
    return Measure(value, interval and Interval(interval.low, min(interval.high, 1.0)), rows)
