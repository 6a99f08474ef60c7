"""A sample is uniform, the same however the rows were cut, and everything where everything fits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from serinus.monitors import sample as module
from serinus.monitors.errors import InvalidData
from serinus.monitors.sample import DOMAIN, Rows, Sample, Tally


def sampled(values: NDArray[Any], step: int, outputs: NDArray[Any] | None = None) -> Sample:
    """What is kept of an array that comes in chunks of `step` rows."""
    sample = Sample(lambda side, name, array: array, 0)
    for start in range(0, len(values), step):
        rest = {} if outputs is None else {"y": outputs[start : start + step]}
        sample.add(Rows({"x": values[start : start + step]}, rest))
    return sample


def test_what_fits_is_kept_whole() -> None:
    """In order, with the places of the rows."""
    values = np.arange(5000.0)
    places, arrays = sampled(values, 700).kept()
    assert np.array_equal(places, np.arange(5000)) and np.array_equal(arrays["input", "x"], values)


def test_a_sample_is_uniform_and_knows_no_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 20,000 rows 1,000 stay, spread evenly, the same for any size of chunk."""
    monkeypatch.setattr(module, "_ROWS", 1000)
    values = np.arange(20_000.0)
    places, arrays = sampled(values, 333).kept()
    other, _ = sampled(values, 5000).kept()
    assert len(places) == 1000 and np.array_equal(places, other) and np.array_equal(arrays["input", "x"], places)
    quarters = np.bincount(places // 5000, minlength=4)
    assert ((quarters - 250) ** 2 / 250).sum() < 16.3  # chi-squared with 3 degrees of freedom at 0.1 %


def test_memory_is_bounded_while_rows_stream_by(monkeypatch: pytest.MonkeyPatch) -> None:
    """Never more than twice the budget and a chunk is held."""
    monkeypatch.setattr(module, "_ROWS", 1000)
    sample = Sample(lambda side, name, array: array, 0)
    for _ in range(50):
        sample.add(Rows({"x": np.zeros(500)}, {}))
        assert sum(map(len, sample._keys)) <= 2500
    assert sample.rows == 25_000


def test_chunks_of_several_types_keep_their_values() -> None:
    """Integers and floats become floats; numbers and texts stay what they were."""
    sample = Sample(lambda side, name, array: array, 0)
    sample.add(Rows({"x": np.array([1, 2]), "y": np.array([1, 2])}, {}))
    sample.add(Rows({"x": np.array([0.5]), "y": np.array(["a"], object)}, {}))
    _, arrays = sample.kept()
    assert arrays["input", "x"].tolist() == [1, 2, 0.5] and arrays["input", "y"].tolist() == [1, 2, "a"]


def test_categories_are_counted_over_all_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the sample keeps; the most frequent first, ties by name."""
    monkeypatch.setattr(module, "_ROWS", 1000)
    values = np.array((["b"] * 3 + ["a"] * 3 + ["c"] * 4 + [None]) * 500, object)
    tally = sampled(values, 600).tallies["input", "x"]
    assert tally.categories == [("c", 2000), ("a", 1500), ("b", 1500)] and tally.complete


def test_too_many_categories_are_forgotten_and_it_is_known() -> None:
    """The frequent ones stay."""
    tally = Tally()
    for start in range(0, 5 * DOMAIN, 1000):
        tally.add(np.array(["often"] * 10 + [f"once {start + i}" for i in range(1000)], object))
    assert not tally.complete and len(tally.counts) <= 2 * DOMAIN + 1000
    assert tally.categories[0] == ("often", 500)


def test_lists_are_no_categories() -> None:
    """They are passed over."""
    values = np.empty(3, object)
    values[:] = ["a", [1], {"b": 1}]
    tally = Tally()
    tally.add(values)
    assert tally.categories == [("a", 1)]


def test_arrays_of_other_lengths_are_refused() -> None:
    """With both lengths."""
    with pytest.raises(InvalidData, match="one row count; got x 3, y 2"):
        sampled(np.zeros(3), 3, np.zeros(2))


def test_a_field_that_comes_and_goes_is_refused() -> None:
    """By name."""
    sample = Sample(lambda side, name, array: array, 0)
    sample.add(Rows({"x": np.zeros(2)}, {}))
    with pytest.raises(InvalidData, match="Field 'y' is in some chunks"):
        sample.add(Rows({"x": np.zeros(2), "y": np.zeros(2)}, {}))
