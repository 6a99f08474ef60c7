"""Two versions on the same rows: is one better? Fixed-size tests; `sequential.mcnemar` is for looking at any time."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from serinus.monitors.intervals import LEVEL, Interval, around

__all__ = ["Areas", "areas_under_curves", "mcnemar", "rows_needed"]

Array = NDArray[Any]


def mcnemar(only_first: int, only_second: int) -> float:
    """The two-sided exact p-value of "both are right equally often", of the rows that only one of them got right.

    Example:
        >>> round(mcnemar(10, 2), 4)
        0.0386
    """
    from scipy.special import bdtr

    differing = only_first + only_second
    return min(1.0, 2 * float(bdtr(min(only_first, only_second), differing, 0.5))) if differing else 1.0


def rows_needed(discordance: float, margin: float, level: float = LEVEL, power: float = 0.8) -> int:
    """How many rows tell a difference of `margin` from none, where two versions differ in this share of rows.

    Example:
        >>> rows_needed(0.05, 0.005)
        15698
    """
    reach = NormalDist().inv_cdf((1 + level) / 2) + NormalDist().inv_cdf(power)
    return math.ceil(reach**2 * max(discordance, margin) / margin**2)


class Areas(NamedTuple):
    """The areas under two ROC curves of the same rows, and what DeLong's method says of their difference."""

    first: float
    second: float
    covariance: Array
    """`[2, 2]`, of the two areas."""

    @property
    def variance(self) -> float:
        """The variance of the difference."""
        return float(self.covariance[0, 0] + self.covariance[1, 1] - 2 * self.covariance[0, 1])

    @property
    def p_value(self) -> float:
        """Two-sided, of "the areas are equal"."""
        difference, variance = self.first - self.second, self.variance
        if variance <= 0:
            return 1.0 if difference == 0 else 0.0
        return 2 * NormalDist().cdf(-abs(difference) / math.sqrt(variance))

    def difference(self, level: float = LEVEL) -> Interval:
        """The interval of first less second."""
        interval = around(self.first - self.second, self.variance, level)
        return interval or Interval(-1.0, 1.0)


def areas_under_curves(truth: Array, first: Array, second: Array) -> Areas | None:
    """The areas under the ROC curves of two scores, compared as DeLong et al. 1988, by ranks (Sun & Xu 2014).

    None where a class has fewer than two rows.

    Args:
        truth: which rows are positive.
        first, second: scores, higher where a positive row is more likely.
    """
    positive = np.asarray(truth, bool)
    if positive.sum() < 2 or (~positive).sum() < 2:
        return None
    parts = [_placements(np.asarray(scores, float), positive) for scores in (first, second)]
    above, below = (np.stack([part[side] for part in parts]) for side in (0, 1))
    covariance = np.cov(above) / above.shape[1] + np.cov(below) / below.shape[1]
    return Areas(float(above[0].mean()), float(above[1].mean()), covariance)


def _placements(scores: Array, positive: Array) -> tuple[Array, Array]:
    """Of each positive row the share of negatives below it, of each negative row the share of positives above it."""
    ours, theirs = scores[positive], scores[~positive]
    above = _share_below(ours, theirs)
    return above, 1 - _share_below(theirs, ours)


def _share_below(values: Array, among: Array) -> Array:
    rising = np.sort(among)
    places = np.searchsorted(rising, values, "left") + np.searchsorted(rising, values, "right")
    shares: Array = places / (2 * len(among))
    return shares
