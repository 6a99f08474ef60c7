"""The omnibus test: have the features of a window moved together, in a way that they do not move in the reference?

A fifth of new rows among old ones moves each changed feature a little, and no single one far enough. What the steps of
the reference say of how features move together tells such a window from chance: Hotelling's T² of the numbers'
locations and the categories' shares, along the directions in which the steps' correlations vary (principal components
of more than a tenth of one feature's variance, at most one for eight steps). Its distribution is F's, with as many
steps as the covariance is known from.

Only what steps of that size can show takes part: a bin, or what lies outside the most frequent one, with five rows in
the mean. Where the sums of neighbouring steps move further than chance lets them, in whatever number, the reference
wanders, and there is no such test.

Reference: H. Hotelling: The generalization of Student's ratio, Annals of Mathematical Statistics 2 (1931).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serinus.monitors.contrasts import LOCATION, contrasts, shares
from serinus.monitors.dead_zone import chi_squared_quantile
from serinus.monitors.packing import squeeze, unsqueeze

__all__ = ["Omnibus"]

Array = NDArray[Any]

_STEPS = 64
"""So many at least, or nothing is known of how features move together."""
_DIRECTIONS = 16
_LEAST = 5.0
_VARIANCE = 0.1


@dataclass(frozen=True)
class Omnibus:
    """Tests all features of a window at once.

    Attributes:
        directions: what a change of shares is multiplied with `[D, R, 18]`: of one row, each product has variance 1.
        steps: how many steps the covariance is known from.
    """

    directions: Array
    steps: int

    @classmethod
    def of(cls, tables: Sequence[Array], ordered: Array, watched: Array) -> Omnibus | None:
        """Learn from steps `[K, R, 18]` in time order and from the sums of 2, 4, … neighbours; None if they wander.

        Args:
            tables: the steps, then their sums.
            ordered: which features are numeric `[R]`.
            watched: which features take part `[R]`.
        """
        if not tables or len(tables[0]) < _STEPS:
            return None
        counts = tables[0].sum(0)
        found = cls(_directions(tables[0], counts, ordered, watched), len(tables[0]))
        if not len(found.directions):
            return None
        z = NormalDist().inv_cdf(1 - 0.05 / len(tables))
        squares = [sum(found._square(block, counts) for block in table) for table in tables]
        limits = [chi_squared_quantile(len(found.directions) * len(table), z) for table in tables]
        return found if np.less_equal(squares, limits).all() else None

    def p(self, window: Array, counts: Array) -> float:
        """Return the p-value of a window's counts `[R, 18]` against the reference's."""
        from scipy.special import fdtrc

        rows, others = (int(each.sum(-1).max(initial=0)) for each in (window, counts))
        if not rows or not others:
            return 1.0
        size, free = len(self.directions), self.steps - len(self.directions)
        square = self._square(window, counts) / (1 + rows / others)
        return float(fdtrc(size, free, square * free / (size * self.steps)))

    def _square(self, window: Array, counts: Array) -> float:
        """Return the squared length of what the window has moved, 1 a direction on average where nothing changed."""
        there = (window.sum(-1) > 0) & (counts.sum(-1) > 0)
        change = (shares(window) - shares(counts)) * there[:, None]
        moved = self.directions.reshape(len(self.directions), -1) @ change.ravel()
        return float(moved @ moved * window.sum(-1).max(initial=0))

    def to_json(self) -> dict[str, Any]:
        """Give what was learnt as JSON values."""
        return {"directions": squeeze(self.directions.astype(np.float32)), "steps": self.steps}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Omnibus:
        """Read what `to_json` wrote."""
        return cls(unsqueeze(document["directions"]).astype(float), int(document["steps"]))


def _directions(steps: Array, counts: Array, ordered: Array, watched: Array) -> Array:
    """Return the directions `[D, R, 18]` of the largest variance, each scaled to the variance 1 of one row."""
    rows, p, scores = steps.sum(-1).max(), shares(counts), contrasts(counts, ordered)[:, LOCATION]
    numbers = watched & ordered & ((1 - p.max(1)) * rows >= _LEAST)
    bins = (watched & ~ordered)[:, None] & (p * rows >= _LEAST) & ((1 - p) * rows >= _LEAST)
    change = shares(steps) - p
    locations = np.einsum("krb,rb->kr", change[:, numbers], scores[numbers])
    moved = np.concatenate([locations, change[:, bins]], 1) * np.sqrt(rows)
    deviations = np.sqrt((moved**2).mean(0))
    usable = np.where(deviations > 1e-9, deviations, np.inf)
    values, axes = np.linalg.svd(moved / usable / np.sqrt(len(moved)), full_matrices=False)[1:]
    kept = min(int((values**2 > _VARIANCE).sum()), _DIRECTIONS, len(steps) // 8)
    loadings = axes[:kept] / values[:kept, None] / usable
    directions = np.zeros((kept, *counts.shape))
    directions[:, numbers] = loadings[:, : locations.shape[1], None] * scores[numbers]
    directions[:, bins] = loadings[:, locations.shape[1] :]
    return directions
