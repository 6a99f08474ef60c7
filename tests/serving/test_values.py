"""Predictions fall into the bucket whose bounds enclose them, and nothing that is no number is counted."""

from __future__ import annotations

import math

import numpy as np
import pytest

from serinus.serving.board import VALUE_BOUNDS
from serinus.serving.values import binned


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("shape", [(-1,), (-1, 1)])
def test_one_by_one_or_together(dtype: type[np.floating], shape: tuple[int, ...]) -> None:
    """A row by itself is counted as it is among others, and both as numpy's own histogram counts."""
    rng = np.random.default_rng(3)
    values = (rng.normal(size=500) * 10.0 ** rng.integers(-3, 4, 500)).astype(dtype)
    together = binned(values.reshape(shape))
    apart: dict[int, int] = {}
    for value in values:
        ((bucket, number),) = binned(np.array([value]).reshape(shape))
        apart[bucket] = apart.get(bucket, 0) + number
    expected, _ = np.histogram(values.astype(float), [-math.inf, *VALUE_BOUNDS, math.inf])
    assert dict(together) == apart == {bucket: number for bucket, number in enumerate(expected) if number}


@pytest.mark.parametrize("value", VALUE_BOUNDS)
def test_a_bound_belongs_to_the_bucket_below(value: float) -> None:
    """As Prometheus' `le` says."""
    bucket = VALUE_BOUNDS.index(value)
    assert binned(np.array([value])) == [(bucket, 1)]
    assert binned(np.array([value, value])) == [(bucket, 2)]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_left_out(value: float) -> None:
    """Alone and among others."""
    assert binned(np.array([value])) == binned(np.array([value, value])) == []
    assert binned(np.array([value, 3.0])) == binned(np.array([3.0]))


def test_no_rows_and_vast_ones() -> None:
    """An empty answer is nothing; what is beyond all bounds has its buckets."""
    assert binned(np.array([])) == []
    assert binned(np.array([1e308, -1e308, 1e308])) == [(0, 1), (len(VALUE_BOUNDS), 2)]
