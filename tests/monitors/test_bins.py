"""Bins hold what they say, none is empty, and heaps of equal values stay whole."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from serinus.monitors.bins import centre_and_scale, inner_edges, rounded, widened

RANDOM = np.random.default_rng(0)


def counts(values: NDArray[np.float64]) -> list[int]:
    """How many of the values are in each bin."""
    edges = inner_edges(np.sort(values))
    return np.bincount(np.searchsorted(edges, values, "right"), minlength=len(edges) + 1).tolist()


def test_continuous_values_are_cut_at_their_sixteenths() -> None:
    """16 bins of equal size, at the quantiles."""
    values = RANDOM.normal(size=1600)
    assert counts(values) == [100] * 16
    expected = np.quantile(values, np.arange(1, 16) / 16)
    assert inner_edges(np.sort(values)) == pytest.approx(expected, abs=0.02)


@pytest.mark.parametrize("different", range(1, 17))
def test_few_different_values_each_have_a_bin(different: int) -> None:
    """Up to 16 of them, so that ties are exact."""
    values = np.repeat(np.arange(different, dtype=float), np.arange(1, different + 1) * 3)
    assert counts(values) == [3 * (one + 1) for one in range(different)]


def test_zeros_have_a_bin_of_their_own_and_leave_the_others() -> None:
    """Of a zero-inflated amount, the amounts are still cut into fifteen."""
    values = np.concatenate([np.zeros(7000), RANDOM.exponential(size=3000)])
    found = counts(values)
    assert found[0] == 7000 and len(found) == 16 and min(found[1:]) >= 190


def test_a_heap_in_the_middle_stays_whole() -> None:
    """Both of its sides are cut from it."""
    values = np.concatenate([RANDOM.normal(size=5000), np.full(5000, 0.25)])
    edges = inner_edges(np.sort(values))
    inside = np.searchsorted(edges, values, "right") == np.searchsorted(edges, 0.25, "right")
    assert inside.sum() == 5000


@settings(max_examples=200)
@given(arrays(np.float64, st.integers(1, 200), elements=st.floats(allow_nan=False, allow_infinity=False)
              | st.sampled_from([0.0, 1.0, 2.0])))  # fmt: skip
def test_no_bin_is_empty(values: NDArray[np.float64]) -> None:
    """Whatever the values, edges rise, are 15 at most, and hold something between them."""
    edges = inner_edges(np.sort(values))
    assert len(edges) <= 15 and list(edges) == sorted(set(edges)) and all(map(math.isfinite, edges))
    assert min(counts(values)) >= 1


@settings(max_examples=50)
@given(st.lists(st.sampled_from([0.1, 0.2, 0.3, 0.7, 1.1, 2.3]), min_size=1, max_size=100))
def test_values_keep_their_bin_through_float32(numbers: list[float]) -> None:
    """A client may send float32 what the reference had as float64."""
    values = np.array(numbers)
    edges = inner_edges(np.sort(values))
    sent = values.astype(np.float32).astype(np.float64)
    assert np.searchsorted(edges, sent, "right").tolist() == np.searchsorted(edges, values, "right").tolist()
    low, high = widened(float(values.min()), float(values.max()))
    assert ((sent >= low) & (sent <= high)).all()


def test_no_values_have_no_edges() -> None:
    """And one value has none either."""
    assert inner_edges(np.empty(0)) == inner_edges(np.ones(5)) == ()


def test_centre_and_scale_are_those_of_the_bulk() -> None:
    """Close to mean and standard deviation, and one wild value moves neither."""
    values = np.sort(RANDOM.normal(5, 2, 10_000))
    assert centre_and_scale(values) == pytest.approx((values.mean(), values.std()), rel=0.01)
    wild = np.sort(np.append(values, 1e300))
    assert centre_and_scale(wild) == pytest.approx(centre_and_scale(values), rel=0.01)


@pytest.mark.parametrize(
    ("values", "expected"),
    [([3.0] * 5, (3.0, 1.0)), ([0.0] * 5, (0.0, 1.0)), ([-1e308, 1e308], (0.0, 1e308)), ([0.0, 5e-324], (0.0, 1e-290))],
)
def test_extreme_scales_neither_overflow_nor_vanish(values: list[float], expected: tuple[float, float]) -> None:
    """A constant has scale 1; the smallest and the largest numbers have one that can be divided by."""
    assert centre_and_scale(np.array(values)) == pytest.approx(expected)


def test_a_rare_one_among_zeros_sets_the_scale() -> None:
    """Where only the tail varies, it is not pulled in."""
    centre, scale = centre_and_scale(np.array([0.0] * 9999 + [1.0]))
    assert centre == pytest.approx(1e-4) and scale == pytest.approx(0.01, rel=0.01)


@pytest.mark.parametrize(
    ("value", "down", "up"),
    [(123.4, 120.0, 130.0), (-123.4, -130.0, -120.0), (0.0456, 0.045, 0.046), (0.0, 0.0, 0.0), (50.0, 50.0, 50.0)],
)
def test_rounding_keeps_two_digits(value: float, down: float, up: float) -> None:
    """Away from the exact value, in the direction that is asked for."""
    assert (rounded(value), rounded(value, up=True)) == (down, up)
