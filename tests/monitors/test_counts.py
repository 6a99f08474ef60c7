"""Counts add exactly, in any order, over any memory."""

from __future__ import annotations

import mmap
from functools import reduce
from operator import add

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from serinus.monitors import Counts
from serinus.monitors.errors import InvalidData
from serinus.monitors.features import MISSING, WIDTH

FEATURES = 3


def batch(seed: int, rows: int) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """Codes, and deviations as the encoder rounds them."""
    random = np.random.default_rng(seed)
    codes = random.integers(0, WIDTH, (rows, FEATURES)).astype(np.uint8)
    return codes, np.rint(random.normal(size=(rows, FEATURES)) * 256) / 256


def counted(seed: int, rows: int) -> Counts:
    """Counts of one batch."""
    counts = Counts(FEATURES)
    counts.add(*batch(seed, rows))
    return counts


tables = st.builds(counted, st.integers(0, 2**32), st.integers(0, 50))


def test_codes_are_counted_per_feature() -> None:
    """Two rows of two features by hand."""
    counts = Counts(2)
    counts.add(np.array([[0, 17], [0, 3]], np.uint8), np.array([[1.0, 0.0], [0.5, -2.0]]))
    assert counts.rows == 2 and counts.table[0, 0] == 2 and counts.table[1, 17] == counts.table[1, 3] == 1
    assert counts.table.sum() == 4 and counts.sums.tolist() == [[1.5, 1.25], [-2.0, 4.0]]


def test_the_mean_deviation_leaves_missing_values_out() -> None:
    """It is over the rows that had a value; 0 where none had."""
    counts = Counts(2)
    counts.add(np.array([[0, MISSING], [MISSING, MISSING]], np.uint8), np.array([[3.0, 0.0], [0.0, 0.0]]))
    assert counts.shifts().tolist() == [3.0, 0.0]


@given(tables, tables, tables)
def test_merging_is_associative_and_commutative(a: Counts, b: Counts, c: Counts) -> None:
    """To the last bit, sums included."""
    assert (a + b) + c == a + (b + c) and a + b == b + a
    assert a + Counts(FEATURES) == a and a + b - b == a


@settings(max_examples=30)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=6), st.randoms(use_true_random=False))
def test_who_counted_which_rows_does_not_matter(cuts: list[int], order: object) -> None:
    """One worker or many, in any order: the same bytes."""
    codes, deviations = batch(1, sum(cuts))
    whole = Counts(FEATURES)
    whole.add(codes, deviations)
    parts = []
    for stop in np.cumsum(cuts):
        part = Counts(FEATURES)
        part.add(codes[stop - cuts[len(parts)] : stop], deviations[stop - cuts[len(parts)] : stop])
        parts.append(part)
    order.shuffle(parts)  # type: ignore[attr-defined]
    assert reduce(add, parts) == whole


def test_counts_live_in_memory_that_others_read() -> None:
    """What is added over a memory map is in the map, and a copy is not."""
    memory = mmap.mmap(-1, Counts.size(FEATURES))
    counts = Counts(FEATURES, memory)
    counts.add(*batch(0, 5))
    copy = Counts(FEATURES, memory).copy()
    counts.add(*batch(1, 5))
    assert copy == counted(0, 5) and Counts(FEATURES, memory) == counted(0, 5) + counted(1, 5)


def test_counts_come_back() -> None:
    """From bytes and from JSON."""
    counts = counted(0, 9)
    assert Counts.from_bytes(counts.to_bytes()) == Counts.from_json(counts.to_json()) == counts


@pytest.mark.parametrize("data", [b"", b"1234567", bytes(8 + 159)])
def test_bytes_of_another_length_are_no_counts(data: bytes) -> None:
    """A torn message is said to be one."""
    with pytest.raises(InvalidData, match="bytes"):
        Counts.from_bytes(data)


def test_counts_of_other_features_do_not_add() -> None:
    """Neither tables nor codes."""
    with pytest.raises(InvalidData, match="of 3 and of 4 features"):
        Counts(3) + Counts(4)
    with pytest.raises(InvalidData, match="3 features"):
        Counts(3).add(np.zeros((2, 4), np.uint8))
