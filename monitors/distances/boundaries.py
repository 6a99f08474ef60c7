"""Where the value bins begin and end, in a feature's own unit: what the Wasserstein distance measures along."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from serinus.monitors.features import VALUES, Feature

__all__ = ["boundaries_of", "unit_boundaries"]

_FARTHEST = 10.0
"""Standard deviations from the mean at which an outermost bin ends at the latest: one wild value sets no scale."""


def boundaries_of(features: Sequence[Feature]) -> NDArray[np.float64]:
    """Give the ends of the 16 bins, `[R, 17]`; bins that a feature does not have are 0 wide, categories' bins 1."""
    return np.array([_ends(feature) for feature in features], dtype=np.float64).reshape(-1, VALUES + 1)


def unit_boundaries(features: int) -> NDArray[np.float64]:
    """Give boundaries that make every bin one wide, for those who know none."""
    return np.tile(np.arange(VALUES + 1, dtype=np.float64), (features, 1))


def _ends(feature: Feature) -> list[float]:
    if feature.kind == "categorical":
        return [float(end) for end in range(VALUES + 1)]
    low, high = (feature.low, feature.high) if feature.low <= feature.high else (0.0, 0.0)
    reach = _FARTHEST * feature.scale
    first = min(max(low, feature.centre - reach), *feature.edges[:1], high)
    last = max(min(high, feature.centre + reach), *feature.edges[-1:], first)
    return [first, *feature.edges, *[last] * (VALUES - len(feature.edges))]
