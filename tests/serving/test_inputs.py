"""Values become arrays of the signature's types, or are refused; nothing changes its meaning on the way."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serinus.models import DATATYPES, Field, Signature
from serinus.serving.errors import InvalidInput, RequestTooLarge
from serinus.serving.inputs import fit, plain_numbers, quote, say, to_array, validate, widen
from serinus.serving.request import InferenceRequest

INTEGERS = [name for name in DATATYPES if "INT" in name]


def field(datatype: str, *shape: int, optional: bool = False) -> Field:
    return Field("x", datatype, shape or (-1,), optional=optional)


@given(st.sampled_from(INTEGERS), st.lists(st.integers(-(2**65), 2**65), min_size=1, max_size=5))
def test_an_integer_is_kept_or_refused(datatype: str, values: list[int]) -> None:
    """Never wrapped around, never rounded, for all eight types and any mixture."""
    limits = np.iinfo(DATATYPES[datatype])
    if all(limits.min <= value <= limits.max for value in values):
        array = to_array(values, field(datatype), "$")
        assert (array.dtype, array.tolist()) == (DATATYPES[datatype], values)
    else:
        with pytest.raises(InvalidInput, match=f"expected {datatype} from {limits.min} to {limits.max}"):
            to_array(values, field(datatype), "$")


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**53), 2**53), max_size=5))
def test_a_double_is_kept(values: list[float]) -> None:
    """Every bit of it; an integer becomes the float of the same value."""
    array = to_array(values, field("FP64"), "$")
    assert (array.dtype, array.tolist()) == (np.float64, values)


@given(
    st.sampled_from(["FP16", "FP32"]),
    st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=3),
)
def test_a_short_float_is_rounded_and_never_infinite(datatype: str, values: list[float]) -> None:
    """What is too large is refused."""
    try:
        array = to_array(values, field(datatype), "$")
    except InvalidInput as error:
        assert "up to" in str(error)
        assert max(map(abs, values)) >= float(np.finfo(DATATYPES[datatype]).max)
    else:
        assert array.dtype == DATATYPES[datatype]
        assert np.isfinite(array).all()


@given(st.lists(st.none() | st.floats(-10, 10), max_size=5))
def test_null_is_a_gap_where_it_may_be(values: list[float | None]) -> None:
    """NaN in floats, None in texts; refused by its place elsewhere."""
    array = to_array(values, field("FP64", optional=True), "$")
    assert [None if np.isnan(value) else value for value in array] == values
    texts = [None if value is None else str(value) for value in values]
    assert to_array(texts, field("BYTES", optional=True), "$").tolist() == texts
    if None in values:
        with pytest.raises(InvalidInput, match=rf"\$\[{values.index(None)}\]: expected FP64, got null"):
            to_array(values, field("FP64"), "$")


@pytest.mark.parametrize(
    ("given_shape", "wanted", "result"),
    [
        ((3,), (-1,), (3,)),
        ((3, 1), (-1,), (3,)),
        ((3,), (-1, 1), (3, 1)),
        ((3, 2), (-1, 2), (3, 2)),
        ((3, 2), (-1, -1), (3, 2)),
        ((1, 3), (1, 3), (1, 3)),
        ((0, 4), (-1, 4), (0, 4)),
        ((3, 2), (-1,), None),
        ((3,), (-1, 2), None),
        ((3, 1), (-1, 2), None),
        ((3,), (-1, -1, 1), None),
        ((), (-1,), None),
    ],
)
def test_an_array_is_fitted(
    given_shape: tuple[int, ...], wanted: tuple[int, ...], result: tuple[int, ...] | None
) -> None:
    """`[k]` and `[k, 1]` are alike; every other difference is refused."""
    array = np.zeros(given_shape)
    if result is None:
        with pytest.raises(InvalidInput, match="expected shape"):
            fit(array, field("FP64", *wanted), "$")
    else:
        assert fit(array, field("FP64", *wanted), "$").shape == result


@pytest.mark.parametrize("shape", [(), (0,), (2, 3)])
def test_a_field_without_a_shape_takes_any(shape: tuple[int, ...]) -> None:
    """The model judges."""
    array = np.zeros(shape)
    assert fit(array, Field("x", "FP64", ()), "$") is array


@pytest.mark.parametrize("values", [[["a"], ["b", "c"], []], [["a"], "b"], ["a", ["b"]], [["a", "b"], ["c"]]])
def test_texts_that_do_not_line_up_are_refused(values: list[object]) -> None:
    """Whether or not their number would fill the shape of the first."""
    with pytest.raises(InvalidInput, match="expected values of one shape"):
        to_array(values, field("BYTES"), "$")


@given(st.sampled_from(["FP16", "FP32", "FP64"]), st.lists(st.sampled_from([1.5, 2, "NaN", "Infinity", "-Infinity"])))
def test_a_number_that_json_lacks_is_its_name(datatype: str, values: list[float | str]) -> None:
    """Beside numbers and alone, in every float type."""
    array = to_array(values, field(datatype), "$")
    assert array.dtype == DATATYPES[datatype]
    assert np.array_equal(array, [float(value) for value in values], equal_nan=True)


@given(
    st.sampled_from(["FP32", "FP64", "INT32", "INT64"]),
    st.lists(st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.none() | st.just("1"), max_size=6),
    st.booleans(),
)
def test_the_short_way_agrees_with_the_long_one(datatype: str, values: list[object], column: bool) -> None:
    """What `plain_numbers` makes, `to_array` makes too."""
    shape = [len(values)] if column else [len(values), 1]
    wanted = field(datatype, *([-1] if column else [-1, 1]))
    short = plain_numbers(values, shape, wanted)
    if short is not None:
        long = to_array(values, wanted, "$").reshape(shape)
        assert (short.dtype, short.shape, short.tolist()) == (long.dtype, long.shape, long.tolist())


@given(st.sampled_from(INTEGERS), st.sampled_from([*INTEGERS, "FP16", "FP32", "FP64"]), st.data())
def test_a_tensor_is_widened_without_loss_or_refused(given_type: str, wanted: str, data: st.DataObject) -> None:
    """Every value survives the way there and back."""
    limits = np.iinfo(DATATYPES[given_type])
    values = data.draw(st.lists(st.integers(int(limits.min), int(limits.max)), max_size=4))
    array = np.array(values, dtype=DATATYPES[given_type])
    try:
        wide = widen(array, given_type, field(wanted), "$")
    except InvalidInput:
        return
    assert wide.dtype == DATATYPES[wanted]
    assert [int(value) for value in wide] == values


def test_a_long_name_is_quoted_shortly() -> None:
    """A client may call its input anything."""
    assert quote("age") == "'age'"
    assert len(quote("x" * 10_000)) < 80


def test_an_array_that_fits_is_handed_on() -> None:
    """No copy."""
    array = np.zeros((3, 2))
    assert fit(array, field("FP64", -1, 2), "$") is array


def test_validation_copies_nothing() -> None:
    """The arrays of the validated request are the very objects that were parsed, in the signature's order."""
    signature = Signature((Field("a", "FP64", (-1,)), Field("b", "FP64", (-1, 2))), ())
    a, b = np.zeros(3), np.zeros((3, 2))
    request = validate(InferenceRequest({"b": b, "a": a}, 3), signature, 10)
    assert list(request.inputs) == ["a", "b"]
    assert request.inputs["a"] is a and request.inputs["b"] is b


def test_tensors_of_uneven_rows_are_refused() -> None:
    """Not only columns."""
    signature = Signature((Field("a", "FP64", (-1,)), Field("b", "FP64", (-1, 2))), ())
    with pytest.raises(InvalidInput, match="Input 'b' has 2 rows, the inputs before it 3"):
        validate(InferenceRequest({"a": np.zeros(3), "b": np.zeros((2, 2))}, 3), signature, 10)


@pytest.mark.parametrize(("rows", "error"), [(0, InvalidInput), (11, RequestTooLarge)])
def test_no_rows_and_too_many_are_refused(rows: int, error: type[Exception]) -> None:
    """The model is asked about one row to the limit."""
    signature = Signature((Field("a", "FP64", (-1,)),), ())
    with pytest.raises(error):
        validate(InferenceRequest({"a": np.zeros(rows)}, rows), signature, 10)
    assert validate(InferenceRequest({"a": np.zeros(10)}, 10), signature, 10).rows == 10


def test_a_tensor_without_values_may_have_an_answer_as_a_whole() -> None:
    """Where no output has rows, as of a graph that counts; it is one row then."""
    signature = Signature((Field("a", "FP64", (-1,)),), (Field("count", "INT64", ()),))
    assert validate(InferenceRequest({"a": np.zeros(0)}, 0), signature, 10).rows == 1
    by_row = Signature(signature.inputs, (*signature.outputs, Field("b", "FP64", (-1, 2))))
    with pytest.raises(InvalidInput, match="The request has no rows"):
        validate(InferenceRequest({"a": np.zeros(0)}, 0), by_row, 10)


def test_many_names_are_not_all_listed() -> None:
    """A table of a thousand columns still gets one sentence."""
    signature = Signature(tuple(Field(f"c{n}", "FP64", (-1,)) for n in range(1000)), ())
    with pytest.raises(InvalidInput, match="and 992 more") as caught:
        validate(InferenceRequest({}, 1), signature, 10)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, "null"),
        ([1], "a list"),
        ({}, "an object"),
        ("a", "string 'a'"),
        (True, "bool True"),
        (1.5, "float 1.5"),
        ("y" * 100, "string 'yyy"),
    ],
)
def test_a_value_is_said_shortly(value: object, said: str) -> None:
    """Its kind, and of a plain one the beginning."""
    assert say(value).startswith(said)
    assert len(say(value)) < 80
