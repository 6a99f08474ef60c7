"""Estimated performance of a regression, before any truth comes: direct loss estimation (DLE).

Two second models learn, on reference rows whose truth is known, how large the first one's error is: |e| and e² given
the inputs and the answer. The mean of what they say of live rows estimates MAE and RMSE. They are boosted trees, kept
as arrays of numbers, so that they travel as JSON and need numpy alone to answer.

The interval is where the realised metric of the same rows will lie: errors are drawn, not certain (that of |e| has the
variance E[e²] − E[|e|]², that of e² what the reference's fourth powers say), and the estimate itself is as wrong as it
was on the reference's own five blocks of time, each estimated by models that were fitted to the others.

As in `estimation`, all holds while P(truth | row) stays what it was; `estimation.standing` withdraws it otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serinus.monitors.errors import InvalidData
from serinus.monitors.exact import ExactSum
from serinus.monitors.intervals import LEVEL, Interval
from serinus.monitors.metrics import Measure, Sums
from serinus.monitors.packing import squeeze, unsqueeze

__all__ = ["ErrorEstimator", "Trees", "fit_error_estimator"]

_BLOCKS = 5
_FEWEST = 500
_CROSSED = 15_000
"""Rows that models for a block of time are fitted to, at most."""
_SEED = 20_260_103
_LARGEST = 1e75
_AT_ONCE = 512

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Trees:
    """A sum of regression trees, as arrays `[trees, nodes]`; leaves lead to themselves.

    Attributes:
        start: what the sum begins with.
        feature, threshold: rows with `x[feature] <= threshold` go left.
        missing_left: whether missing values do.
        left, right: the next node.
        value: of each node.
        depth: of the deepest tree.
    """

    start: float
    feature: Array
    threshold: Array
    missing_left: Array
    left: Array
    right: Array
    value: Array
    depth: int

    def __call__(self, rows: Array) -> Array:
        """Give the sum for each row of `[n, F]`; NaN is missing."""
        table = np.asarray(rows, float)
        parts = [self._sum(table[start : start + _AT_ONCE]) for start in range(0, len(table), _AT_ONCE)]
        return np.concatenate([np.zeros(0), *parts])

    def _sum(self, rows: Array) -> Array:
        """All trees at once: a node per row and tree."""
        trees, nodes = self.feature.shape
        first = np.arange(trees) * nodes
        node = np.broadcast_to(first, (len(rows), trees))
        places = np.arange(len(rows))[:, None]
        feature, threshold, missing = self.feature.ravel(), self.threshold.ravel(), self.missing_left.ravel()
        left, right = ((side + first[:, None]).ravel() for side in (self.left, self.right))
        for _ in range(self.depth):
            x = rows[places, feature[node]]
            leftwards = np.where(np.isnan(x), missing[node], x <= threshold[node])
            node = np.where(leftwards, left[node], right[node])
        total: Array = self.start + self.value.ravel()[node].sum(1)
        return total

    def to_json(self) -> dict[str, Any]:
        """Give the trees as JSON values."""
        arrays = {name: squeeze(getattr(self, name)) for name in _ARRAYS}
        return {"start": self.start, "depth": self.depth, **arrays}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Trees:
        """Read what `to_json` wrote."""
        arrays = {name: unsqueeze(document[name]) for name in _ARRAYS}
        return cls(start=document["start"], depth=document["depth"], **arrays)


_ARRAYS = ("feature", "threshold", "missing_left", "left", "right", "value")


@dataclass(frozen=True, eq=False)
class ErrorEstimator:
    """Estimates MAE and RMSE of rows without truth. A value, made by `fit_error_estimator`.

    Attributes:
        columns: how many inputs a row has.
        absolute, square: what |e| and e² of a row are expected to be.
        tail: E[e⁴] / E[e²]² on the reference: how heavy the squares' tails are.
        wander: the standard deviation of realised less estimated metrics that drawing errors does not explain.
    """

    columns: int
    absolute: Trees
    square: Trees
    tail: float
    wander: Mapping[str, float]

    def sums(self, inputs: Array, answers: Array) -> Sums:
        """Sum up rows: inputs as numbers `[n, F]` (NaN where missing), answers `[n]`. Sums of parts add exactly."""
        rows = _joined(inputs, answers)
        if rows.shape[1] != self.columns + 1:
            raise InvalidData(f"This estimator was fitted to {self.columns} inputs, got {rows.shape[1] - 1}.")
        absolute = np.clip(self.absolute(rows), 0.0, _LARGEST)
        square = np.clip(self.square(rows), absolute**2, _LARGEST)
        columns = {"absolute": absolute, "square": square, "absolute²": absolute**2, "square²": square**2}
        return Sums({"rows": np.array([len(rows)], np.int64)},
                    {name: ExactSum.of(column) for name, column in columns.items()})

    def estimate(self, sums: Sums, level: float = LEVEL) -> dict[str, Measure]:
        """Estimate the metrics of the rows in these sums; empty where there are none."""
        n = sums.rows
        if not n:
            return {}
        values, deviations = self._expected(sums)
        return {name: _measure(values[name], math.hypot(deviations[name], self.wander.get(name, 0.0)), n, level)
                for name in values}

    def _expected(self, sums: Sums) -> tuple[dict[str, float], dict[str, float]]:
        n = sums.rows
        mae, mse = sums.total("absolute") / n, sums.total("square") / n
        spread = max(mse - sums.total("absolute²") / n, 0.0) / n
        square_spread = max(self.tail - 1, 0.0) * sums.total("square²") / n / n
        rmse = math.sqrt(mse)
        return ({"mae": mae, "rmse": rmse},
                {"mae": math.sqrt(spread), "rmse": math.sqrt(square_spread) / (2 * rmse) if rmse else 0.0})

    def to_json(self) -> dict[str, Any]:
        """Give the estimator as JSON values."""
        return {"columns": self.columns, "absolute": self.absolute.to_json(), "square": self.square.to_json(),
                "tail": self.tail, "wander": dict(self.wander)}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> ErrorEstimator:
        """Read what `to_json` wrote. Raises InvalidData where it cannot be read."""
        try:
            return cls(document["columns"], Trees.from_json(document["absolute"]), Trees.from_json(document["square"]),
                       document["tail"], document["wander"])
        except (KeyError, TypeError, ValueError) as error:
            raise InvalidData(f"An estimator cannot be read ({error!r}); fit it again.") from error


def fit_error_estimator(inputs: Array, answers: Array, truth: Array) -> ErrorEstimator:
    """Learn from a reference whose truth is known, its rows in the order of time.

    Args:
        inputs: numbers `[n, F]`, NaN where missing; categories as codes.
        answers, truth: `[n]`.

    Raises:
        InvalidData: there are fewer than 500 rows with an answer and the truth.
    """
    rows, errors = _joined(inputs, answers), np.asarray(answers, float) - np.asarray(truth, float)
    known = np.isfinite(errors)
    rows, errors = rows[known], np.clip(errors[known], -1e30, 1e30)
    if len(rows) < _FEWEST:
        raise InvalidData(f"Estimating errors without truths needs {_FEWEST} reference rows with truth or more, got "
                          f"{len(rows):,}.")
    whole = _fitted(rows, errors)
    return ErrorEstimator(whole.columns, whole.absolute, whole.square, whole.tail, _wander(rows, errors))


def _joined(inputs: Array, answers: Array) -> Array:
    return np.column_stack([np.asarray(inputs, float), np.asarray(answers, float)])


def _fitted(rows: Array, errors: Array) -> ErrorEstimator:
    square = _trees(rows, errors**2)
    expected = np.maximum(square(rows), errors.var() * 1e-6 + 1e-300)
    tail = float(np.mean((errors**2 / expected) ** 2) / np.mean(errors**2 / expected) ** 2) if errors.any() else 1.0
    return ErrorEstimator(rows.shape[1] - 1, _trees(rows, np.abs(errors)), square, tail, {})


def _trees(rows: Array, target: Array) -> Trees:
    from sklearn.ensemble import HistGradientBoostingRegressor

    scale = float(np.abs(target).max()) or 1.0
    fitted = HistGradientBoostingRegressor(early_stopping=False, random_state=_SEED)
    fitted.fit(rows, target / scale)
    trees = [stage[0].nodes for stage in fitted._predictors]
    most = max(map(len, trees))
    return Trees(start=float(np.ravel(fitted._baseline_prediction)[0]) * scale,
                 depth=max(int(nodes["depth"].max()) for nodes in trees), **_arrays(trees, most, scale))


def _arrays(trees: Sequence[Array], most: int, scale: float) -> dict[str, Array]:
    """The nodes of all trees side by side, filled up to the same number."""
    leaf = np.stack([_filled(nodes["is_leaf"], most, 1) for nodes in trees]).astype(bool)
    own = np.broadcast_to(np.arange(most), leaf.shape)
    sides = [np.where(leaf, own, np.stack([_filled(nodes[side], most, 0) for nodes in trees])).astype(np.int16)
             for side in ("left", "right")]
    feature, threshold, missing, value = (np.stack([_filled(nodes[name], most, 0) for nodes in trees])
                                          for name in ("feature_idx", "num_threshold", "missing_go_to_left", "value"))
    return {"feature": np.where(leaf, 0, feature).astype(np.int32), "threshold": threshold.astype(np.float64),
            "missing_left": missing.astype(bool), "left": sides[0], "right": sides[1],
            "value": value.astype(np.float64) * scale}


def _filled(column: Array, length: int, filling: int) -> Array:
    return np.concatenate([column, np.full(length - len(column), filling, column.dtype)])


def _wander(rows: Array, errors: Array) -> dict[str, float]:
    """Estimate each block of time from the others: by how much that is wrong beyond the draw of errors."""
    excess: dict[str, list[float]] = {"mae": [], "rmse": []}
    for block in np.array_split(np.arange(len(rows)), _BLOCKS):
        others = np.setdiff1d(np.arange(len(rows)), block, assume_unique=True)
        others = others[:: len(others) // _CROSSED + 1]
        part = _fitted(rows[others], errors[others])
        values, deviations = part._expected(part.sums(rows[block, :-1], rows[block, -1]))
        realised = {"mae": np.abs(errors[block]).mean(), "rmse": math.sqrt((errors[block] ** 2).mean())}
        for name, found in excess.items():
            found.append(float((values[name] - realised[name]) ** 2 - deviations[name] ** 2))
    return {name: math.sqrt(max(float(np.mean(found)), 0.0)) for name, found in excess.items()}


def _measure(value: float, deviation: float, rows: int, level: float) -> Measure:
    from scipy.special import stdtrit

    reach = float(stdtrit(_BLOCKS - 1, (1 + level) / 2)) * deviation
    return Measure(value, Interval(max(value - reach, 0.0), value + reach), rows)
