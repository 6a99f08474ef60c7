"""Exact sums: no order, no split and no magnitude changes them."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from serinus.monitors.exact import ExactSum

floats = st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=30)


@given(floats)
def test_it_is_the_sum_of_fractions(values: list[float]) -> None:
    """Of any finite floats: subnormal, huge, of both signs."""
    assert ExactSum.of(np.array(values)).exact == sum(map(Fraction, values), Fraction(0))


@given(floats, floats, floats)
def test_it_adds_in_any_order(one: list[float], two: list[float], three: list[float]) -> None:
    """Associative and commutative, to the last bit, and through JSON."""
    first, second, third = (ExactSum.of(np.array(values)) for values in (one, two, three))
    assert (first + second) + third == third + (second + first) == ExactSum.of(np.array(one + two + three))
    assert ExactSum.from_json(first.to_json()) == first


def test_its_value_is_the_nearest_float() -> None:
    """As math.fsum rounds it; a sum beyond the largest float is infinite."""
    values = np.random.default_rng(0).lognormal(0, 30, 5_000)
    assert ExactSum.of(values).value == math.fsum(values)
    assert ExactSum.of(np.full(3, -1.7e308)).value == -math.inf


def test_nothing_is_zero() -> None:
    """No values add up to 0."""
    assert ExactSum.of(np.array([])).value == 0.0 and ExactSum.from_json("0:0") == ExactSum()
