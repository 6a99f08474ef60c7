"""Frames, arrays, dicts and lists become the request that fits them best, and no value changes on the way."""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
import orjson
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from serinus.models.signature import Field, Signature
from serinus.serving.client.errors import ClientError
from serinus.serving.client.inputs import Columns, Document, Rows, Tensors, is_large, prepare, to_document, to_tensors
from serinus.serving.protocols.open_inference import OpenInference
from serinus.serving.protocols.rows import Rows as RowsProtocol

PEOPLE = Signature((Field("age", "INT64", (-1,)), Field("income", "FP64", (-1,), optional=True),
                    Field("city", "BYTES", (-1,), optional=True), Field("member", "BOOL", (-1,))),
                   (Field("label", "INT64", (-1,)),))
NUMBERS = Signature((Field("a", "FP64", (-1,)), Field("b", "FP64", (-1,))), (Field("label", "INT64", (-1,)),))
MATRIX = Signature((Field("pixels", "FP32", (-1, 3)),), (Field("label", "INT64", (-1,)),))
TEXT = Signature((Field("text", "BYTES", (-1,)),), (Field("label", "INT64", (-1,)),))


def _read(document: Document, signature: Signature) -> dict[str, list[Any]]:
    """What the server makes of a body, by its own protocols."""
    headers = {name.encode(): value.encode() for name, value in document.headers.items()}
    binary = "inference-header-content-length" in document.headers or document.body.startswith(b'{"inputs"')
    protocol = OpenInference() if binary else RowsProtocol()
    request = protocol.parse(document.body, headers, signature)
    assert request.rows == document.rows
    return {name: array.tolist() for name, array in request.inputs.items()}


def _people(rows: int) -> pd.DataFrame:
    frame = pd.DataFrame({"age": np.arange(rows), "income": np.arange(rows) / 3,
                          "city": [["Oslo", "Rome"][row % 2] for row in range(rows)],
                          "member": [row % 3 == 0 for row in range(rows)]})
    frame.loc[1, ["income", "city"]] = None
    return frame


def _expected(frame: pd.DataFrame) -> dict[str, list[Any]]:
    return {name: [None if pd.isna(value) else value for value in frame[name]] for name in frame}


def _gaps(columns: dict[str, list[Any]]) -> dict[str, list[Any]]:
    return {name: [None if value is None or value != value else value for value in column]
            for name, column in columns.items()}


@pytest.mark.parametrize("rows", [2, 500])
@pytest.mark.parametrize("form", ["pandas", "polars", "arrow", "columns", "rows", "nullable"])
def test_a_table_arrives_as_it_is(form: str, rows: int) -> None:
    """Whatever library holds it, few rows or many, as JSON or as tensors: the same values, gaps included."""
    frame = _people(rows)
    inputs: Any = {"pandas": frame, "polars": pl.from_pandas(frame), "arrow": pa.Table.from_pandas(frame),
                   "columns": _expected(frame),
                   "rows": [dict(zip(frame, row, strict=True)) for row in zip(*_expected(frame).values(), strict=True)],
                   "nullable": frame.convert_dtypes()}[form]
    sent = prepare(inputs)
    assert not isinstance(sent, Tensors)
    assert is_large(sent) == (rows == 500 and form != "rows")
    assert _gaps(_read(to_document(sent), PEOPLE)) == _expected(frame)
    if isinstance(sent, Columns):
        packed = to_tensors(sent, PEOPLE)
        assert packed is not None and _gaps(_read(packed, PEOPLE)) == _expected(frame)


def test_a_polars_frame_of_every_type() -> None:
    """Categories, dates, decimals and lists become what JSON has; the numbers stay in their types; a Series is an
    array, and what is not collected yet is no frame."""
    days = [dt.date(2026, 1, 5), None]
    frame = pl.DataFrame({
        "small": pl.Series([1, 2], dtype=pl.UInt8), "kind": pl.Series(["a", None], dtype=pl.Categorical),
        "price": pl.Series(["1.5", None]).cast(pl.Decimal(9, 2)), "day": days, "marks": [[1, 2], [3]]})
    sent = prepare(frame)
    assert isinstance(sent, Columns) and sent.columns["small"].dtype == np.uint8
    assert {name: array.tolist() for name, array in sent.columns.items()} == {
        "small": [1, 2], "kind": ["a", None], "price": [1.5, None], "day": ["2026-01-05", None], "marks": [[1, 2], [3]]}
    for series in (pl.Series("text", ["hi", "ho"]), pd.Series(["hi", "ho"])):
        alone = prepare(series)
        assert isinstance(alone, Tensors) and alone.tensors[None].tolist() == ["hi", "ho"]
    with pytest.raises(ClientError, match="got LazyFrame"):
        prepare(frame.lazy())


def test_one_row_is_a_dict_of_values() -> None:
    """numpy's numbers, dates and gaps become what JSON has."""
    sent = prepare({"n": np.int64(3), "x": np.float32(0.5), "at": dt.datetime(2026, 1, 5, 10), "gap": pd.NA,
                    "day": np.datetime64("2026-01-05"), "flag": np.True_})
    assert sent == Rows([{"n": 3, "x": 0.5, "at": "2026-01-05T10:00:00", "gap": None, "day": "2026-01-05",
                          "flag": True}])


def test_a_matrix_goes_to_the_only_input_or_to_all_columns() -> None:
    """In the type that the model takes: one input of three numbers, or two columns."""
    array = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.5]])
    for form in (array, array.tolist(), {"pixels": array}):
        sent = prepare(form)
        assert isinstance(sent, Tensors)
        packed = to_tensors(sent, MATRIX)
        assert packed is not None and _read(packed, MATRIX) == {"pixels": array.tolist()}
    packed = to_tensors(Tensors({None: array[:, :2]}), NUMBERS)
    assert packed is not None and _read(packed, NUMBERS) == {"input": array[:, :2].tolist()}
    packed = to_tensors(Tensors({None: np.array(["a", "b"])}), TEXT)
    assert packed is not None and _read(packed, TEXT) == {"text": ["a", "b"]}


@pytest.mark.parametrize(("column", "taken"), [
    (np.array([1, 2]), [1.0, 2.0]), (np.array([0.5, np.nan]), [0.5, None]), (np.array([1 << 53, (1 << 53) + 1]), None),
    (np.array([True, False]), None)])
def test_a_column_becomes_a_tensor_only_where_no_value_changes(column: Any, taken: list[Any] | None) -> None:
    """Else the table goes as JSON, and the server says what is wrong with it."""
    signature = Signature((Field("a", "FP64", (-1,), optional=True),), (Field("label", "INT64", (-1,)),))
    packed = to_tensors(Columns({"a": column}, 2), signature)
    assert (None if packed is None else _gaps(_read(packed, signature))) == (None if taken is None else {"a": taken})


def test_a_fraction_never_becomes_a_whole_number() -> None:
    """Nor a column that the model does not know a tensor."""
    whole = Signature((Field("a", "INT64", (-1,)),), (Field("label", "INT64", (-1,)),))
    assert to_tensors(Columns({"a": np.array([1.0, 2.0])}, 2), whole) is None
    assert to_tensors(Columns({"a": np.array([1, 2]), "more": np.array([1, 2])}, 2), whole) is None
    with pytest.raises(ClientError, match="'pixels' takes FP32, and an array of float64 cannot become that"):
        to_tensors(Tensors({None: np.array([[1e300, 0, 0]])}), MATRIX)


@pytest.mark.parametrize(("inputs", "sentence"), [
    ({"a": [1, 2], "b": 3}, "got both: 'b' is a single value"), ({"a": [1, 2], "b": [1]}, "'a' of 2, 'b' of 1"),
    ("text", "got str"), (7, "got int"), ([{"a": object()}], "got object"),
    (pd.DataFrame([[1, 2]], columns=["a", "a"]), "two columns 'a'")])
def test_what_is_no_input_is_refused_in_a_sentence(inputs: Any, sentence: str) -> None:
    """Before anything is sent."""
    with pytest.raises(ClientError, match=sentence):
        prepare(inputs)


def test_an_array_that_fits_no_model_says_what_would() -> None:
    """Names and number of columns stand in the sentence."""
    with pytest.raises(ClientError, match=r"takes 2 columns \(a, b\), got an array of float64 and shape \[3\]"):
        to_tensors(Tensors({None: np.zeros(3)}), NUMBERS)
    with pytest.raises(ClientError, match="the model takes pixels, got 'pixel'"):
        to_tensors(Tensors({"pixel": np.zeros((1, 3))}), MATRIX)


def test_infinities_travel_as_text() -> None:
    """JSON has no such numbers; the server reads the words."""
    body = to_document(prepare({"a": [float("inf"), 1.0], "b": [2.0, float("nan")]})).body  # type: ignore[arg-type]
    assert orjson.loads(body) == {"columns": {"a": ["Infinity", 1.0], "b": [2.0, "NaN"]}}
