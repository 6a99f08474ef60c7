"""Parquet: what it accepts, what it refuses and how it says so, and that a hostile file costs little."""

from __future__ import annotations

import io
import time
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from serinus.models import Field, Signature
from serinus.serving.errors import InvalidInput, InvalidRequest, RequestError, RequestTooLarge
from serinus.serving.inputs import validate
from serinus.serving.protocols.parquet_tables import read_parquet
from serinus.serving.protocols.rows import Rows
from serinus.serving.settings import LimitSettings
from tests.serving.protocols.hostile import MIXED, NUMBERS, TENSOR, accept

LIMITS = LimitSettings(rows=50)
PARQUET = {b"content-type": b"application/vnd.apache.parquet"}
MATRIX = Signature((Field("input", "FP32", (-1, 3)),), (Field("predict", "INT64", (-1,)),))


def written(table: Any, **options: Any) -> bytes:
    """A file with this frame, or these columns."""
    if isinstance(table, dict):
        table = pa.table(table)
    if isinstance(table, pd.DataFrame):
        table = pa.Table.from_pandas(table)
    buffer = io.BytesIO()
    parquet.write_table(table, buffer, **options)
    return buffer.getvalue()


def read(body: bytes, signature: Signature = MIXED, limits: LimitSettings = LIMITS) -> dict[str, Any]:
    return dict(read_parquet(body, signature, limits).inputs)


def column(datatype: str, *, optional: bool = False, frame_dtype: str | None = None) -> Signature:
    return Signature((Field("x", datatype, (-1,), optional=optional, frame_dtype=frame_dtype),), ())


PEOPLE = pd.DataFrame({"member": [True, False], "visits": [1, 2], "age": [40.5, np.nan], "city": ["Bern", "é"]})
VALID = written(PEOPLE)


# What is accepted


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"compression": "zstd"},
        {"compression": "gzip"},
        {"compression": "none", "use_dictionary": False},
        {"data_page_version": "2.0", "row_group_size": 1},
        {"version": "1.0", "write_statistics": False, "store_schema": False},
        {
            "data_page_size": 1,
            "write_page_index": True,
            "use_dictionary": False,
            "column_encoding": {"visits": "DELTA_BINARY_PACKED", "city": "DELTA_LENGTH_BYTE_ARRAY"},
        },
    ],
)
def test_a_frame_is_read_however_it_was_written(options: dict[str, Any]) -> None:
    """Names decide, a null is missing."""
    inputs = read(written(PEOPLE, **options))
    assert np.array_equal(inputs.pop("age"), [40.5, np.nan], equal_nan=True)
    assert {name: array.tolist() for name, array in inputs.items()} == {
        "city": ["Bern", "é"],
        "visits": [1, 2],
        "member": [True, False],
    }


@pytest.mark.parametrize(
    ("values", "field"),
    [
        (pa.array([1, 2], pa.int8()), column("INT64")),
        (pa.array([1, 2], pa.uint64()), column("INT8")),
        (pa.array([1, 2], pa.int32()), column("FP64")),
        (pa.array([1, 2], pa.float32()), column("FP64")),
        (pa.array([1, 2], pa.float16()), column("FP16")),
        (pa.array([1, 2]).dictionary_encode(), column("INT64")),
    ],
)
def test_numbers_widen(values: Any, field: Signature) -> None:
    """To the field's type, from every narrower one, and from a wider one that holds no more."""
    array = read(written({"x": values}), field)["x"]
    assert (array.dtype, array.tolist()) == (field.inputs[0].dtype, [1, 2])


@pytest.mark.parametrize(
    "values",
    [
        pa.array(["a", None, "a"]),
        pa.array(["a", None, "a"], pa.large_string()),
        pa.array(["a", None, "a"]).dictionary_encode(),
        pd.Categorical(["a", None, "a"]),
    ],
)
def test_texts_of_every_kind(values: Any) -> None:
    """Plain, large, categories; None where missing."""
    body = written(pd.DataFrame({"x": values})) if isinstance(values, pd.Categorical) else written({"x": values})
    assert read(body, column("BYTES", optional=True))["x"].tolist() == ["a", None, "a"]


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_dates_become_text(unit: str) -> None:
    """As the fields of date columns have it: ISO 8601."""
    dates = pd.to_datetime(["2026-01-02 03:04:05", None]).astype(f"datetime64[{unit}]")
    fields = column("BYTES", optional=True, frame_dtype=f"datetime64[{unit}]")
    assert read(written(pd.DataFrame({"x": dates})), fields)["x"].tolist() == ["2026-01-02T03:04:05", None]
    zoned = pd.DataFrame({"x": dates.tz_localize("Europe/Zurich")})
    assert read(written(zoned), fields)["x"].tolist() == ["2026-01-02T03:04:05+01:00", None]


def test_lists_become_tensors() -> None:
    """Lists of lists of numbers; a row each."""
    images = [[[1.0, 2, 3], [4, 5, 6.5]], [[0, 0, 0], [0, 0, 1]]]
    array = read(written({"image": pa.array(images, pa.list_(pa.list_(pa.float32())))}), TENSOR)["image"]
    assert (array.dtype.name, array.tolist()) == ("float32", images)


def test_a_model_without_names_takes_the_columns_in_their_order() -> None:
    """Without the index that pandas keeps."""
    frame = pd.DataFrame([[1.0, 2, 3], [4, 5, 6]], columns=list("abc"), index=["p", "q"])
    assert "__index_level_0__" in parquet.read_schema(io.BytesIO(written(frame))).names
    assert read(written(frame), MATRIX)["input"].tolist() == [[1, 2, 3], [4, 5, 6]]


def test_extra_columns_are_remarked_and_not_read() -> None:
    """Of whatever type; the index of pandas is none."""
    frame = PEOPLE.assign(shoe=[b"a", b"b"]).set_index(pd.Index(["p", "q"]))
    table = read_parquet(written(frame), MIXED, LIMITS)
    assert (table.extra, table.path, list(table.inputs)) == (("shoe",), "parquet[*]", list(read(VALID)))


def test_names_may_hold_dots() -> None:
    """A name is a name, no path."""
    signature = Signature((Field("a", "FP64", (-1,)), Field("a.b", "FP64", (-1,))), ())
    inputs = read(written({"a.b": [1.5], "a": [2.5], "a.b.c": ["x"]}), signature)
    assert {name: array.tolist() for name, array in inputs.items()} == {"a": [2.5], "a.b": [1.5]}


# What is refused

REFUSED: dict[str, tuple[bytes, Signature, str]] = {
    "a text for a number": (
        written({"x": ["n/a"]}),
        column("FP64"),
        r"'x' at parquet\[0\]\.x: expected FP64, got string 'n/a'",
    ),
    "a fraction for an integer": (written({"x": [1, 2.5]}), column("INT64"), r"expected INT64, got float"),
    "a boolean for a number": (written({"x": [True]}), column("FP64"), "expected FP64, got bool True"),
    "a number for a text": (written({"x": [1]}), column("BYTES"), "expected a string, got int 1"),
    "a date for a number": (written({"x": pa.array([1], pa.date32())}), column("FP64"), "expected FP64, got date"),
    "a null in a required column": (
        written({"x": [1, None]}),
        column("FP64"),
        r"parquet\[1\]\.x: expected FP64, got null",
    ),
    "a null among integers": (
        written({"x": [1, None]}),
        column("INT64", optional=True),
        r"parquet\[1\]\.x: expected INT64, got null",
    ),
    "an integer too large": (written({"x": [300]}), column("INT8"), "from -128 to 127, got 300"),
    "a missing column": (written({"y": [1]}), column("FP64"), "Input 'x' missing"),
    "bytes": (written({"x": [b"a"]}), column("BYTES"), "Column 'x' at parquet: expected numbers, .* got binary"),
    "decimals": (
        written({"x": pa.array([1], pa.decimal128(5))}),
        column("FP64"),
        r"Column 'x' at parquet: .* got decimal128",
    ),
    "a structure": (written({"x": [{"y": 1}]}), column("FP64"), "Column 'x' at parquet: .* got struct"),
    "lists of texts": (written({"x": [["a"]]}), column("BYTES"), "Column 'x' at parquet: .* got list"),
    "lists of unequal length": (written({"x": [[1], [1, 2]]}), column("FP64"), "expected values of one shape"),
    "too many rows": (written({"x": range(51)}), column("INT64"), "has 51 rows, the limit is 50"),
    "no rows": (written({"x": pa.array([], pa.int64())}), column("INT64"), "The Parquet file has no rows"),
    "a structure in the way": (
        written({"x": [{"y": 1.5}], "x.y": [2.5]}),
        Signature((Field("x.y", "FP64", (-1,)),), ()),
        "Column 'x' at parquet: .* got struct",
    ),
    "an encoding that multiplies": (
        written({"x": ["a", "ab"]}, use_dictionary=False, column_encoding={"x": "DELTA_BYTE_ARRAY"}),
        column("BYTES"),
        "DELTA_BYTE_ARRAY, which is not read here",
    ),
    "CSV": (b"x\n1\n" * 9, column("FP64"), "not a Parquet file that can be read: expected PAR1 at both of its ends"),
    "nothing": (b"", column("FP64"), "expected PAR1 at both of its ends"),
    "two ends": (b"PAR1" + b"\0\0\0\0" + b"PAR1", column("FP64"), "not a Parquet file that can be read"),
    "a large footer": (b"PAR1" + b"\0" * 9 + b"\0\0\0\x7fPAR1", column("FP64"), "its metadata is over 1048576 bytes"),
    "cut short": (VALID[:-9] + VALID[-8:], MIXED, "not a Parquet file that can be read"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_bad_file_is_refused_in_one_sentence(case: str) -> None:
    """With row and column where there are such; as 400, 413 or 422."""
    body, signature, sentence = REFUSED[case]
    with pytest.raises(RequestError, match=sentence) as caught:
        validated(body, signature)
    assert type(caught.value) in (InvalidInput, InvalidRequest, RequestTooLarge)
    assert len(str(caught.value)) < 500


def validated(body: bytes, signature: Signature) -> Any:
    return validate(Rows(LIMITS).parse(body, PARQUET, signature), signature, LIMITS.rows)


# What a hostile file costs


BOMBS: dict[str, tuple[Any, str]] = {
    "a long text": (pa.array(["a" * 20_000_000]), "BYTES"),
    "a long list": (pa.array([np.zeros(20_000_000, np.int8)]), "INT8"),
    "many nulls in a list": (pa.array([[None] * 3_000_000], pa.list_(pa.int8())), "INT8"),
    "many texts": (pa.array([f"{n}{'a' * 1_000_000}" for n in range(18)]), "BYTES"),
}


@pytest.mark.parametrize("bomb", BOMBS)
@pytest.mark.parametrize("compression", ["zstd", "gzip"])
def test_what_unpacks_to_too_much_is_refused(bomb: str, compression: str) -> None:
    """However few bytes it comes in; told before anything is unpacked."""
    values, datatype = BOMBS[bomb]
    body = written({"x": values}, compression=compression)
    assert len(body) < 1_000_000
    with pytest.raises(RequestTooLarge, match="The Parquet file unpacks to over 16777216 bytes, the limit"):
        read(body, Signature((Field("x", datatype, (-1, -1)),), ()))


def test_a_column_that_nobody_asked_for_is_not_unpacked() -> None:
    """However large it is."""
    body = written({"x": [1], "y": BOMBS["a long text"][0]}, compression="zstd")
    assert read(body, column("INT64"))["x"].tolist() == [1]


def test_a_text_that_repeats_is_kept_once() -> None:
    """Else a dictionary of one page could fill the memory."""
    body = written({"x": ["a" * 5_000_000] * 50}, compression="zstd")
    texts = read(body, column("BYTES"))["x"]
    assert len({id(text) for text in texts}) == 1


def test_a_schema_that_is_deep_ends_nothing() -> None:
    """Neither the process nor its patience."""
    kind = pa.int8()
    for _ in range(60):
        kind = pa.list_(kind)
    with pytest.raises(RequestError):
        read(written({"x": pa.array([None], kind)}), column("INT8"))


small = st.sampled_from(
    [VALID, written(PEOPLE, compression="none", use_dictionary=False), REFUSED["a number for a text"][0]]
)


@settings(deadline=None)
@given(small, st.data())
def test_a_damaged_file_is_refused_or_understood(body: bytes, data: st.DataObject) -> None:
    """One to four bytes changed, anywhere or in the metadata at the end; or a piece taken out."""
    changed = bytearray(body)
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(4, len(changed) - 1) | st.integers(len(changed) - 300, len(changed) - 5))
        changed[place] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        start = data.draw(st.integers(4, len(changed) - 8))
        del changed[start : data.draw(st.integers(start, min(start + 50, len(changed) - 8)))]
    for signature in (MIXED, MATRIX):
        accept(Rows(LIMITS), bytes(changed), signature, PARQUET)


@settings(deadline=None)
@given(st.binary(max_size=60), st.integers(0, 80))
def test_any_bytes_are_refused(inside: bytes, length: int) -> None:
    """Between the marks of a Parquet file."""
    body = b"PAR1" + inside + length.to_bytes(4, "little") + b"PAR1"
    assert accept(Rows(LIMITS), body, NUMBERS, PARQUET) is None


# Beside pandas


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(
            st.text(st.characters(codec="utf-8")),
            st.none() | st.floats(),
            st.integers(-(2**63), 2**63 - 1),
            st.booleans(),
        ),
        min_size=1,
        max_size=5,
    )
)
def test_what_pandas_writes_comes_back(rows: list[tuple[Any, ...]]) -> None:
    """Every text, every double, every integer; NaN is missing."""
    frame = pd.DataFrame(rows, columns=["city", "age", "visits", "member"]).astype({"age": float})
    inputs = read(written(frame))
    assert inputs["city"].tolist() == frame["city"].tolist()
    assert np.array_equal(inputs["age"], frame["age"].to_numpy(), equal_nan=True)
    assert inputs["visits"].tolist() == frame["visits"].tolist()
    assert inputs["member"].tolist() == frame["member"].tolist()


def test_thousands_of_columns_are_read_in_a_moment() -> None:
    """By a model that knows some, and by one that takes them all."""
    body = written({f"c{number}{'.' * (number % 90)}": [1.5] for number in range(3000)})
    wide = Signature((Field("input", "FP64", (-1, -1)),), ())
    started = time.process_time()
    assert read(body, wide)["input"].shape == (1, 3000)
    assert list(read(body, Signature((Field("c0", "FP64", (-1,)),), ()))) == ["c0"]
    assert time.process_time() - started < 5
