"""CSV: what it accepts, what it refuses and how it says so."""

from __future__ import annotations

import csv
import io
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serinus.models import Field, Signature
from serinus.serving.errors import InvalidInput, InvalidRequest, RequestError, RequestTooLarge
from serinus.serving.inputs import validate
from serinus.serving.protocols.csv_tables import read_csv, write_csv
from serinus.serving.protocols.rows import Rows
from serinus.serving.settings import LimitSettings
from tests.serving.protocols.hostile import MIXED, NUMBERS, TENSOR, accept

LIMITS = LimitSettings(rows=50)
CSV = {b"content-type": b"text/csv"}
MATRIX = Signature((Field("input", "FP32", (-1, 3)),), (Field("predict", "INT64", (-1,)),))


def read(text: str | bytes, signature: Signature = MIXED) -> dict[str, list[Any]]:
    body = text.encode() if isinstance(text, str) else text
    return {name: array.tolist() for name, array in read_csv(body, signature, LIMITS).inputs.items()}


def column(datatype: str, *, optional: bool = False) -> Signature:
    return Signature((Field("x", datatype, (-1,), optional=optional), Field("y", "INT64", (-1,), optional=True)), ())


# What is accepted


@pytest.mark.parametrize(
    "text",
    [
        "city,age,visits,member\nBern,40.5,1,true\nLyon,,2,false\n",
        "member,visits,age,city\r\nTRUE,1,40.5,Bern\r\nFalse,2,,Lyon",
        "\ufeffcity,age,visits,member\n\nBern,40.5,1,True\n\n\nLyon,NaN,2,false\n\n",
        '"city","age","visits","member"\n"Bern","40.5","1","true"\n"Lyon","","2","false"\n',
        "city,age,visits,shoe,member\nBern,4.05e1,+1,x,true\nLyon,nan,2,y,false\n",
    ],
)
def test_names_decide_and_cells_mean_what_the_field_says(text: str) -> None:
    """In any order, with a byte order mark, blank lines, quotes, other line ends; an empty cell is missing."""
    inputs = read(text)
    assert np.isnan(inputs.pop("age")[1])
    assert inputs == {"city": ["Bern", "Lyon"], "visits": [1, 2], "member": [True, False]}


def test_a_text_is_kept_as_it_is() -> None:
    """Commas, quotes, line ends, spaces, numbers and words that mean something elsewhere."""
    texts = ["a, b", 'say "c"', "two\nlines", " 1 ", "007", "NaN", "true", "é€😀"]
    body = write_csv(["city", "visits", "member"], [texts, [1] * len(texts), [True] * len(texts)])
    assert read(body)["city"] == texts


@pytest.mark.parametrize(
    ("cell", "number"),
    [
        ("1", 1),
        ("-1.5", -1.5),
        (".5", 0.5),
        ("5.", 5),
        ("1e3", 1000),
        ("+2E-1", 0.2),
        ("Infinity", np.inf),
        ("-inf", -np.inf),
        ("0.1000000000000000055511151231257827", 0.1),
    ],
)
def test_a_double_is_read_to_its_last_bit(cell: str, number: float) -> None:
    """As Python reads it, beside a number and beside a gap."""
    assert read(f"x\n{cell}\n2\n", column("FP64"))["x"] == [number, 2]
    assert read(f"x,y\n{cell},\n,\n", column("FP64", optional=True))["x"][0] == number


@pytest.mark.parametrize(("datatype", "number"), [("INT64", 2**63 - 1), ("UINT64", 2**64 - 1), ("INT8", -128)])
def test_an_integer_is_exact(datatype: str, number: int) -> None:
    """To the limits of its type."""
    assert read(f"x\n{number}\n0\n", column(datatype))["x"] == [number, 0]


def test_an_optional_column_without_any_value_is_left_out() -> None:
    """Where its type has nothing for missing."""
    assert list(read("x,y\n1,\n2,\n", column("FP64"))) == ["x"]


def test_a_model_without_names_takes_the_columns_in_their_order() -> None:
    """Whatever they are called."""
    assert read("a,b,c\n1,2,3\n4,5,6\n", MATRIX) == {"input": [[1, 2, 3], [4, 5, 6]]}


def test_a_whole_number_stands_in_the_only_row() -> None:
    """A graph's scalar input."""
    signature = Signature((Field("x", "FP64", (-1,)), Field("k", "INT64", ())), ())
    assert read("k,x\n3,1.5\n", signature) == {"x": [1.5], "k": 3}
    with pytest.raises(InvalidInput, match=r"'k' at .*: expected one row, .* got 2"):
        read("k,x\n3,1.5\n3,2\n", signature)


# What is refused

REFUSED: dict[str, tuple[Any, Signature, str]] = {
    "a word in a float column": ("x\n1\nn/a\n", column("FP64"), r"'x' at csv\[1\]\.x: expected FP64, got string 'n/a'"),
    "a word in an integer column": ("x\nten\n", column("INT64"), r"csv\[0\]\.x: expected INT64, got string 'ten'"),
    "a fraction in an integer column": ("x\n1.0\n", column("INT64"), "expected INT64, got string '1.0'"),
    "a space beside a number": ("x\n 1\n", column("FP64"), "expected FP64, got string ' 1'"),
    "an underscore in a number": ("x\n1_000\n", column("FP64"), "expected FP64, got string '1_000'"),
    "a thousands separator": ('x\n"1,000"\n', column("INT64"), "expected INT64, got string '1,000'"),
    "hexadecimal": ("x\n0x10\n", column("INT64"), "expected INT64, got string '0x10'"),
    "digits of another script": ("x\n٣\n", column("INT64"), "expected INT64, got string '٣'"),
    "a sign alone": ("x\n-\n", column("INT64"), "expected INT64, got string '-'"),
    "a number too large to be finite": ("x\n1\n1e999\n", column("FP64"), "expected FP64, got string '1e999'"),
    "an integer too large": ("x\n300\n", column("INT8"), "expected INT8 from -128 to 127, got 300"),
    "an endless integer": ("x\n" + "9" * 5000 + "\n", column("INT64"), "expected INT64, got string '999"),
    "a number for a boolean": ("x\n1\n", column("BOOL"), "expected BOOL, got string '1'"),
    "a gap in a required float": ("x,y\n1,1\n,1\n", column("FP64"), r"csv\[1\]\.x: expected FP64, got null"),
    "a gap in a required text": ("x,y\n,1\n", column("BYTES"), "expected a string, got null"),
    "a gap among integers": ("x,y\n1,1\n1,\n", column("FP64"), r"csv\[1\]\.y: expected INT64, got null"),
    "a missing column": ("y\n1\n", column("FP64"), "Input 'x' missing"),
    "no header": ("1\n2\n", column("FP64"), "Input 'x' missing"),
    "a column twice": ("x,x\n1,2\n", column("FP64"), "Column 'x' stands twice in csv"),
    "a cell too many": ("x,y\n1,2\n1,2,3\n", column("FP64"), r"csv\[1\]: expected 2 cells as in the header, got 3"),
    "a cell too few": ("x,y\n1\n", column("FP64"), r"csv\[0\]: expected 2 cells as in the header, got 1"),
    "semicolons": ("x;y\n1;2\n", column("FP64"), "Input 'x' missing"),
    "a header alone": ("x,y\n", column("FP64"), "The CSV has no rows"),
    "nothing": ("", column("FP64"), "The CSV is empty"),
    "blank lines": ("\n\n", column("FP64"), "The CSV is empty"),
    "not UTF-8": (b"x\n\xff\n", column("FP64"), r"The CSV is not UTF-8 \(byte 2\)"),
    "UTF-16": ("x\n1\n".encode("utf-16"), column("FP64"), "not UTF-8"),
    "an open quote": ('x\n"1\n', column("FP64"), "The CSV cannot be read at line 2"),
    "text behind a quote": ('x\n"1"2\n', column("FP64"), "The CSV cannot be read"),
    "an endless cell": ("x\n" + "a" * 200_000 + "\n", column("BYTES"), "The CSV cannot be read at line 2"),
    "too many rows": ("x\n" + "1\n" * 51, column("FP64"), "more than 50 rows"),
    "a tensor": ("image\n1\n", TENSOR, r"'image' at csv\[\*\]\.image: expected shape \[-1, 2, 3\], got shape \[1\]"),
    "too few columns for a matrix": ("a,b\n1,2\n", MATRIX, r"'input' at csv: expected 3 columns, got 2 \('a', 'b'\)"),
    "a gap in a matrix": ("a,b,c\n1,,3\n", MATRIX, r"csv\[0\]\.b: expected FP32, got null"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_bad_file_is_refused_in_one_sentence(case: str) -> None:
    """With row and column; as 400, 413 or 422."""
    text, signature, sentence = REFUSED[case]
    protocol = Rows(LIMITS)
    with pytest.raises(RequestError, match=sentence) as caught:
        validate(protocol.parse(text if isinstance(text, bytes) else text.encode(), CSV, signature), signature, 50)
    assert type(caught.value) in (InvalidInput, InvalidRequest, RequestTooLarge)
    assert len(str(caught.value)) < 400


def test_another_charset_is_refused() -> None:
    """Guessing would change texts."""
    with pytest.raises(RequestError, match="charset 'latin-1' is not understood; send UTF-8"):
        Rows().parse(b"x\n1\n", {b"content-type": b"text/csv; charset=latin-1"}, column("FP64"))


@given(st.text(alphabet="city,age visitsmember\n\r\"'x1.5e-+truefalsNaN;\ufeff\x00", max_size=60))
def test_whatever_is_sent_is_refused_or_understood(text: str) -> None:
    """Anything that looks a little like CSV, against four signatures."""
    for signature in (MIXED, NUMBERS, TENSOR, MATRIX):
        accept(Rows(LIMITS), text.encode(), signature, CSV)


@given(st.binary(max_size=30))
def test_any_bytes_are_refused_or_understood(body: bytes) -> None:
    """Also such as are no text."""
    accept(Rows(LIMITS), body, NUMBERS, CSV)


cells = st.sampled_from(["Bern", "", "1", "2.5", "n/a", "true", "-3", "NaN", "a,b", '"', "1e400", " "])


@given(st.lists(st.tuples(cells, cells, cells, cells), max_size=4))
def test_a_file_with_a_fault_is_refused_or_understood(rows: list[tuple[str, ...]]) -> None:
    """Right names, any cells."""
    body = write_csv(["city", "age", "visits", "member"], list(zip(*rows, strict=True)) or [[]] * 4)
    accept(Rows(LIMITS), body, MIXED, CSV)


# Beside pandas


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(
            st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1),
            st.none() | st.floats(),
            st.integers(-(2**63), 2**63 - 1),
            st.booleans(),
        ),
        min_size=1,
        max_size=5,
    )
)
def test_what_pandas_writes_comes_back(rows: list[tuple[Any, ...]]) -> None:
    """Every text, every double, every integer; what pandas writes as missing is missing."""
    frame = pd.DataFrame(rows, columns=["city", "age", "visits", "member"]).astype({"age": float})
    inputs = read_csv(frame.to_csv(index=False, quoting=csv.QUOTE_NONNUMERIC).encode(), MIXED, LIMITS).inputs
    assert inputs["city"].tolist() == frame["city"].tolist()
    assert np.array_equal(inputs["age"], frame["age"].to_numpy(), equal_nan=True)
    assert inputs["visits"].tolist() == frame["visits"].tolist()
    assert inputs["member"].tolist() == frame["member"].tolist()


def test_pandas_reads_what_is_written() -> None:
    """Names and numbers, of a short float no more digits than it has."""
    body = write_csv(["a", "b"], [["x, y", "z"], [0.1, 2]])
    assert pd.read_csv(io.BytesIO(body)).to_dict("list") == {"a": ["x, y", "z"], "b": [0.1, 2]}


def test_a_line_of_millions_is_refused_in_a_moment() -> None:
    """A model that takes any number of columns takes no more than so many from a file."""
    wide = Signature((Field("input", "FP64", (-1, -1)),), ())
    line = ",".join("1" * 200_000).encode()
    with pytest.raises(InvalidInput, match="expected at most 100000 columns, got 200000"):
        read(line + b"\n" + line, wide)
    assert read("a,b\n1,2\n", wide) == {"input": [[1, 2]]}
