"""Calibrators: what a score is worth as a probability, learnt from rows whose truth is known.

*Isotonic* regression gives the best rising step function (Ayer et al. 1955; pool adjacent violators), *Platt*'s a
straight line on the logit scale (Platt 1999, with its targets pulled in so that separable rows have an answer). Both
are functions of a few numbers: they travel as JSON and need numpy alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from serinus.monitors.errors import InvalidData

__all__ = ["Calibrator", "Isotonic", "Method", "Platt", "calibrator_from_json", "fit_calibrator", "fit_isotonic",
           "fit_platt"]

Array = NDArray[Any]
Method = Literal["isotonic", "platt"]

_CLOSEST = 1e-6
"""Scores are at least this far from 0 and 1 on the logit scale."""


@dataclass(frozen=True, eq=False)
class Isotonic:
    """A rising function through some points, straight between them and level beyond.

    Attributes:
        scores: of the points, rising.
        probabilities: at the points, not falling.
    """

    scores: Array
    probabilities: Array

    def __call__(self, scores: Array) -> Array:
        """Give the probability of each score."""
        return np.interp(scores, self.scores, self.probabilities)

    def to_json(self) -> dict[str, Any]:
        """Give the calibrator as JSON values."""
        return {"method": "isotonic", "scores": self.scores.tolist(), "probabilities": self.probabilities.tolist()}


@dataclass(frozen=True)
class Platt:
    """A logistic function of the score's logit; slope 1 and intercept 0 change nothing.

    Attributes:
        slope: below 1 where scores were too sure of themselves.
        intercept: above 0 where the event is more frequent than they said.
    """

    slope: float
    intercept: float

    def __call__(self, scores: Array) -> Array:
        """Give the probability of each score."""
        return _logistic(self.slope * _logit(scores) + self.intercept)

    def to_json(self) -> dict[str, Any]:
        """Give the calibrator as JSON values."""
        return {"method": "platt", "slope": self.slope, "intercept": self.intercept}


Calibrator = Isotonic | Platt


def calibrator_from_json(document: Mapping[str, Any]) -> Calibrator:
    """Read what `to_json` of a calibrator wrote. Raises InvalidData where it is none."""
    try:
        if document["method"] == "platt":
            return Platt(float(document["slope"]), float(document["intercept"]))
        return Isotonic(np.array(document["scores"], float), np.array(document["probabilities"], float))
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidData(f"A calibrator cannot be read ({error!r}); fit it again.") from error


def fit_calibrator(method: Method, scores: Array, truth: Array, weights: Array | None = None) -> Calibrator:
    """Fit a calibrator to scores in [0, 1] and what was true (0 or 1).

    Raises InvalidData without a row of each class.
    """
    scores, truth = np.asarray(scores, float).ravel(), np.asarray(truth, float).ravel()
    if not (np.isfinite(scores).all() and 0 < truth.sum() < len(truth)):
        raise InvalidData(f"A calibrator needs finite scores and rows of both classes; got {len(truth):,} rows, "
                          f"{int(truth.sum()):,} of them positive.")
    return (fit_isotonic if method == "isotonic" else fit_platt)(scores, truth, weights)


def fit_isotonic(scores: Array, truth: Array, weights: Array | None = None) -> Isotonic:
    """Fit the rising function with the least squared error; equal scores are one point.

    Example:
        >>> fit_isotonic(np.array([0.1, 0.4, 0.6, 0.9]), np.array([0, 1, 0, 1])).probabilities.tolist()
        [0.0, 0.5, 0.5, 1.0]
    """
    points, inverse = np.unique(scores, return_inverse=True)
    mass = np.bincount(inverse, weights)
    hits = np.bincount(inverse, truth if weights is None else truth * weights)
    kept = mass > 0
    points, mass, hits = points[kept], mass[kept].astype(float), hits[kept]
    starts, level = _pooled(hits, mass)
    ends = np.append(starts[1:], len(points)) - 1
    places = np.unique(np.concatenate([starts, ends]))
    return Isotonic(points[places], level[np.searchsorted(starts, places, "right") - 1])


def _pooled(hits: Array, mass: Array) -> tuple[Array, Array]:
    """Pool adjacent violators: where each level starts, and what it is."""
    from sklearn.isotonic import isotonic_regression

    levels = np.asarray(isotonic_regression(hits / mass, sample_weight=mass), float)
    starts = np.flatnonzero(np.diff(levels, prepend=-1.0) > 0)
    return starts, np.clip(levels[starts], 0.0, 1.0)


def fit_platt(scores: Array, truth: Array, weights: Array | None = None) -> Platt:
    """Fit Platt's line by Newton's method, a step halved while it does not help."""
    mass = np.ones(len(truth)) if weights is None else np.asarray(weights, float)
    many = float((truth * mass).sum())
    others = float(mass.sum()) - many
    target = np.where(truth > 0, (many + 1) / (many + 2), 1 / (others + 2))
    x = _logit(scores)
    fitted = np.array([1.0, math.log((many + 1) / (others + 1)) - float((x * mass).sum() / mass.sum())])
    loss = _loss(fitted, x, target, mass)
    for _ in range(100):
        step = _newton(fitted, x, target, mass)
        tried = next((fitted - part * step for part in _HALVES
                      if _loss(fitted - part * step, x, target, mass) < loss), None)
        if tried is None:
            break
        fitted, before, loss = tried, loss, _loss(tried, x, target, mass)
        if before - loss < 1e-12 * (1 + loss):
            break
    return Platt(float(fitted[0]), float(fitted[1]))


_HALVES = tuple(2.0**-k for k in range(20))


def _newton(fitted: Array, x: Array, target: Array, mass: Array) -> Array:
    p = _logistic(fitted[0] * x + fitted[1])
    columns = np.stack([x, np.ones(len(x))])
    gradient = columns @ (mass * (p - target))
    curvature = (columns * (mass * p * (1 - p))) @ columns.T + 1e-9 * mass.sum() * np.eye(2)
    return np.linalg.solve(curvature, gradient)


def _loss(fitted: Array, x: Array, target: Array, mass: Array) -> float:
    logits = fitted[0] * x + fitted[1]
    return float((mass * (np.logaddexp(0.0, logits) - target * logits)).sum())


def _logit(scores: Array) -> Array:
    p = np.clip(np.asarray(scores, float), _CLOSEST, 1 - _CLOSEST)
    logits: Array = np.log(p / (1 - p))
    return logits


def _logistic(logits: Array) -> Array:
    p: Array = 1 / (1 + np.exp(-np.clip(logits, -700, 700)))
    return p
