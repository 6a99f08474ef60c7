"""Descriptors: how numbers and categories come out of a field.

A column is its own number or category; a small tensor is its elements. The rest is described: a time by its seconds and
its hour, a text by its length, words and letters, an image by brightness, contrast, blur and channel means, another
large tensor by 32 random projections. No model is downloaded, and every description is one scalar per row, watched like
any other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serinus.monitors.features import Feature, is_missing

__all__ = ["categories", "extractor", "floats"]

Arrays = Mapping[str, NDArray[Any]]
Floats = NDArray[np.float64]


def extractor(features: Sequence[Feature], vocabulary: bytes, seed: int) -> Callable[[Arrays, int], Floats]:
    """Give the function from arrays and a number of rows to the values [n, k] of these features, which either are
    plain columns or all come from one field."""
    if features[0].view == "value":
        return _columns([feature.field for feature in features])
    return _elements(features)


def categories(feature: Feature) -> Callable[[Arrays, int], list[Any] | None]:
    """Give the function from arrays and a number of rows to a categorical feature's values; None where it is absent."""
    field = feature.field

    def extract(arrays: Arrays, rows: int) -> list[Any] | None:
        array = arrays.get(field)
        return None if array is None else array.ravel().tolist()

    return extract


def _columns(names: list[str]) -> Callable[[Arrays, int], Floats]:
    def extract(arrays: Arrays, rows: int) -> Floats:
        try:
            flat = np.concatenate([arrays[name] for name in names], axis=None, dtype=np.float64, casting="unsafe")
            return flat.reshape(len(names), rows).T
        except (KeyError, TypeError, ValueError, OverflowError):  # absent, of another type, or of another length
            return np.stack([_column(arrays.get(name), rows) for name in names], axis=1)

    return extract


def _column(array: NDArray[Any] | None, rows: int) -> Floats:
    if array is None:
        return np.full(rows, np.nan)
    return floats(array) if array.size == rows else np.full(rows, np.inf)


def floats(array: NDArray[Any]) -> Floats:
    """Give the numbers of an array as float64 [n]; NaN for missing values, infinity for what is no number."""
    try:
        return array.astype(np.float64).reshape(-1)
    except (TypeError, ValueError, OverflowError):
        return np.array([_float(value) for value in array.ravel().tolist()], np.float64)


def _float(value: Any) -> float:
    if is_missing(value):
        return np.nan
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return np.inf


def _elements(features: Sequence[Feature]) -> Callable[[Arrays, int], Floats]:
    field, indices = features[0].field, [feature.index for feature in features]
    everything = indices == list(range(len(indices)))

    def extract(arrays: Arrays, rows: int) -> Floats:
        array = arrays.get(field)
        if array is None:
            return np.full((rows, len(indices)), np.nan)
        if array.size <= rows * max(indices) or array.size % rows:
            return np.full((rows, len(indices)), np.inf)
        flat = array.reshape(rows, -1)
        chosen = flat if everything and flat.shape[1] == len(indices) else flat[:, indices]
        return chosen.astype(np.float64) if chosen.dtype != object else floats(chosen).reshape(chosen.shape)

    return extract
