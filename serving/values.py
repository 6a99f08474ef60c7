"""Numeric predictions, sorted into the buckets of the board's histogram."""

from __future__ import annotations

from bisect import bisect_left
from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serinus.serving.board import VALUE_BOUNDS

__all__ = ["binned"]

_BOUNDS = np.array(VALUE_BOUNDS)


def binned(values: NDArray[np.floating[Any]]) -> list[tuple[int, int]]:
    """The buckets in which there are values, and how many; values that are not finite are left out."""
    if values.size == 1:
        value = values.item()
        return [(bisect_left(VALUE_BOUNDS, value), 1)] if isfinite(value) else []
    finite = values[np.isfinite(values)].astype(np.float64, copy=False)
    numbers = np.bincount(_BOUNDS.searchsorted(finite))
    return [(bucket, int(numbers[bucket])) for bucket in numbers.nonzero()[0].tolist()]
