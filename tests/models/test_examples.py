"""Rows made up from a signature are rows that the model takes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serinus.models import DATATYPES, Field, Signature
from serinus.models.examples import example_rows
from serinus.models.frame import FrameBuilder


@given(st.sampled_from(sorted(DATATYPES)), st.integers(0, 9), st.sampled_from([(-1,), (-1, 3), (-1, -1), (2, 3), ()]))
def test_every_example_fits_its_field(datatype, rows, shape):
    """Datatype, rows and lengths are the field's; a variable length is 1, and nothing is missing."""
    array = example_rows(Signature((Field("a", datatype, shape),), ()), rows)["a"]
    wanted = [rows if place == 0 and length == -1 else abs(length) for place, length in enumerate(shape)]
    assert (list(array.shape), array.dtype) == (wanted, DATATYPES[datatype])
    if datatype == "BYTES":
        assert all(isinstance(value, str) for value in array.ravel())
    elif array.dtype.kind == "f":
        assert (array > 0).all()


def test_categories_are_taken_in_turn():
    """Where the signature knows the categories, examples are of them, and rows differ."""
    fields = (Field("size", "BYTES", (-1,), labels=("S", "M", "L")), Field("x", "FP64", (-1,)))
    rows = example_rows(Signature(fields, ()), 4)
    assert set(rows["size"]) == {"S", "M", "L"}
    assert len(set(rows["x"].tolist())) == 4


@pytest.mark.parametrize("frame_dtype", ["datetime64[ns]", "datetime64[us, UTC]"])
def test_dates_are_dates(frame_dtype):
    """A column of dates gets dates that can be read back, with a zone where it has one."""
    field = Field("when", "BYTES", (-1,), frame_dtype=frame_dtype)
    frame = FrameBuilder([field]).build(example_rows(Signature((field,), ()), 3))
    assert str(frame["when"].dtype) == frame_dtype
    assert frame["when"].is_unique


def test_examples_are_always_the_same():
    """What is in a document today is in it tomorrow."""
    signature = Signature((Field("a", "FP32", (-1, 4)), Field("b", "INT64", (-1,))), ())
    first, second = example_rows(signature, 3), example_rows(signature, 3)
    assert all(np.array_equal(first[name], second[name]) for name in first)


def test_a_sequence_has_one_tensor():
    """The values of a sequence travel as `NAME[0]`, `NAME[1]`, …: one is enough for an example."""
    rows = example_rows(Signature((Field("s", "INT64", (2, -1), sequence=True),), ()), 7)
    assert {name: array.shape for name, array in rows.items()} == {"s[0]": (2, 1)}
