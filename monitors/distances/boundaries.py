"""Where the value bins begin and end, in a feature's own unit: what the Wasserstein distance measures along."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from serinus.monitors.features import VALUES, Feature

__all__ = ["boundaries_of", "unit_boundaries"]

_REACH = 3.0
"""An outermost bin is taken to be at most this many times as wide as its neighbour (or a standard deviation): about
twice the mean excess of normal, exponential and log-normal values there, and no wild value sets the scale."""


def boundaries_of(features: Sequence[Feature]) -> NDArray[np.float64]:
    """Give the ends of the 16 bins, `[R, 17]`; bins that a feature does not have are 0 wide, categories' bins 1."""
    return np.array([_ends(feature) for feature in features], dtype=np.float64).reshape(-1, VALUES + 1)


def unit_boundaries(features: int) -> NDArray[np.float64]:
    """Give boundaries that make every bin one wide, for those who know none."""
    return np.tile(np.arange(VALUES + 1, dtype=np.float64), (features, 1))


def _ends(feature: Feature) -> list[float]:
    if feature.kind == "categorical":
        return [float(end) for end in range(VALUES + 1)]
    if not feature.edges:  # one bin: nothing moves
        return [0.0] * (VALUES + 1)
    edges = feature.edges
    below, above = (max(_REACH * (other - one), feature.scale) for one, other in (edges[:2], edges[-2:])) \
        if len(edges) > 1 else (feature.scale, feature.scale)
    first, last = max(feature.low, edges[0] - below), min(feature.high, edges[-1] + above)
    return [first, *edges, *[last] * (VALUES - len(edges))]
