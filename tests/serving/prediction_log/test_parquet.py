"""Parquet files hold every record bit by bit, one row for each prediction."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hn

from serinus.monitors.record import PredictionRecord
from serinus.serving.ids import prediction_id
from serinus.serving.prediction_log import read
from serinus.serving.prediction_log.parquet import Shape, read_rows, records_in, shape_in, table_of, values_in
from tests.serving.prediction_log.examples import assert_same, records, remarked, texts

NUMBERS = st.sampled_from([np.dtype(code) for code in "?BHILbhilefd"])


def through(path: Path, many: list[PredictionRecord]) -> list[PredictionRecord]:
    table = table_of(Shape.of(many[0]), many, range(len(many)))
    pq.write_table(table, path)
    found = list(records_in(path))
    assert [position for position, _ in found] == [number for number, record in enumerate(many) if record.rows]
    return [record for _, record in found]


def one(**changed: Any) -> PredictionRecord:
    return records()[0]._replace(**changed)


def test_every_kind_of_record_comes_back(tmp_path: Path) -> None:
    """Types, gaps, texts, shapes, ids; all but the request without rows."""
    for record in records():
        assert [r.rows for r in through(tmp_path / "a.parquet", [record])] == ([record.rows] if record.rows else [])
        for found in records_in(tmp_path / "a.parquet"):
            assert_same(record, found[1])


@settings(deadline=None, max_examples=50)
@given(hn.arrays(NUMBERS, hn.array_shapes(min_dims=1, max_dims=3, min_side=1, max_side=4)))
def test_any_numbers_come_back(tmp_path_factory: pytest.TempPathFactory, array: np.ndarray) -> None:
    """Every bit of every number, in up to three dimensions; NaN is not a gap."""
    record = one(rows=len(array), inputs={"x": array}, outputs={"y": array.ravel()[:1]})
    (found,) = through(tmp_path_factory.mktemp("parquet") / "a.parquet", [record])
    if array.dtype == np.float16:  # its NaN may lose their payload on the way through float32
        np.testing.assert_array_equal(found.inputs["x"], array)
    else:
        assert_same(record, found)


def test_requests_of_different_lengths_share_a_table(tmp_path: Path) -> None:
    """Each has its own rows again, also matrices whose width differs from request to request."""
    many = [one(rows=rows, request_id=f"r{rows}", inputs={"x": np.arange(rows * rows, dtype=float).reshape(rows, rows)},
                outputs={"y": texts(*"abc"[:rows])}) for rows in (1, 3, 2)]
    for expected, found in zip(many, through(tmp_path / "a.parquet", many), strict=True):
        assert_same(expected, found)


def test_a_whole_tensor_stands_in_the_first_row(tmp_path: Path) -> None:
    """One that belongs to the request is not repeated, and comes back whole."""
    many = [one(rows=2, inputs={"image": np.arange(12.0).reshape(3, 4) + number, "scale": np.array(2.5)},
                outputs={"y": np.array([1, 2])}) for number in range(3)]
    for expected, found in zip(many, through(tmp_path / "a.parquet", many), strict=True):
        assert_same(expected, found)
    assert pq.read_table(tmp_path / "a.parquet")["inputs"].to_pylist()[1] == {"image": None, "scale": None}


def test_remarks_come_back(tmp_path: Path) -> None:
    """Violations by kind, and the novelty of each row that was observed."""
    many = [one(violations={"range": 2, "type": 1}, novelty=np.array([0.5, np.nan])), one(), one(novelty=np.ones(2))]
    for expected, found in zip(many, through(tmp_path / "a.parquet", many), strict=True):
        assert_same(expected, found)
    rows = pq.read_table(tmp_path / "a.parquet").to_pylist()
    assert [row["novelty"] for row in rows] == [0.5, None, None, None, 1.0, 1.0]
    assert rows[1]["violations"] == [("range", 2), ("type", 1)]


def test_a_version_without_inputs_has_a_column_of_nothing(tmp_path: Path) -> None:
    """Parquet knows no empty structure."""
    record = one(rows=1, inputs={}, outputs={"y": np.array([7])})
    (found,) = through(tmp_path / "a.parquet", [record])
    assert_same(record, found)
    assert pq.read_table(tmp_path / "a.parquet")["inputs"].to_pylist() == [None]


def test_half_a_surrogate_pair_becomes_a_replacement(tmp_path: Path) -> None:
    """Parquet texts are UTF-8; everything else in them stays."""
    (found,) = through(tmp_path / "a.parquet", [one(rows=1, inputs={"x": texts("a\ud800ß\U0001f600")}, outputs={})])
    assert found.inputs["x"].tolist() == ["a\ufffdß\U0001f600"]


def test_rows_are_columns_of_plain_types(tmp_path: Path) -> None:
    """What other engines see: ids as text, time in UTC, structures of the model's own types."""
    many = [one(), one(trace_id=0, span_id=0, routing_key_hash=0)]
    through(tmp_path / "a.parquet", many)
    table = pq.read_table(tmp_path / "a.parquet", partitioning=None)
    first, third = table.to_pylist()[0], table.to_pylist()[2]
    assert first["prediction_id"] == prediction_id(many[0].prediction_uuid, 0)
    assert (first["inputs"], first["outputs"]) == ({"age": 1.5, "city": "Zürich"}, {"predict": "yes"})
    assert first["time"].isoformat() == "2025-06-15T15:06:40.123456+00:00"
    assert first["trace_id"] == "f" * 31 + "e"
    assert (third["trace_id"], third["span_id"], third["routing_key_hash"]) == (None, None, None)
    assert table.schema.field("inputs").type == pa.struct([("age", pa.float64()), ("city", pa.string())])


def test_erased_rows_are_blanks_in_what_is_left_of_a_request(tmp_path: Path) -> None:
    """The others keep their numbers."""
    record = one(rows=3, inputs={"x": np.array([1.0, 2.0, 3.0]), "n": np.array([1, 2, 3])},
                 outputs={"y": texts("a", "b", "c"), "p": np.arange(6.0).reshape(3, 2)})
    table = table_of(Shape.of(record), [record], [0])
    pq.write_table(table.take([1, 2]), tmp_path / "a.parquet")
    ((_, found),) = records_in(tmp_path / "a.parquet")
    assert found.rows == 3
    np.testing.assert_array_equal(found.inputs["x"], [np.nan, 2.0, 3.0])
    assert found.inputs["n"].tolist() == [0, 2, 3]
    assert found.outputs["y"].tolist() == [None, "b", "c"]
    np.testing.assert_array_equal(found.outputs["p"], [[np.nan, np.nan], [2.0, 3.0], [4.0, 5.0]])


def test_a_column_is_read_at_once(tmp_path: Path) -> None:
    """Over all requests; None where it is not one per row, or of several widths."""
    many = [one(rows=rows, inputs={"m": np.ones((rows, rows)), "whole": np.zeros((5, 2))},
                outputs={"p": np.full((rows, 2), rows / 2)}) for rows in (1, 2)]
    through(tmp_path / "a.parquet", many)
    (table,) = read_rows(tmp_path / "a.parquet")
    shape = shape_in(table.schema.metadata)
    np.testing.assert_array_equal(values_in(table, "outputs", shape.outputs[0]), [[0.5, 0.5], [1, 1], [1, 1]])
    assert [values_in(table, "inputs", column) for column in shape.inputs] == [None, None]


def test_a_compacted_log_of_format_1_is_read(tmp_path: Path) -> None:
    """What the first release wrote comes back, files and manifest."""
    shutil.copytree(Path(__file__).parent / "fixtures" / "parquet_1", tmp_path / "log")
    expected = [record for record in remarked() if record.rows]
    for record, found in zip(expected, read(tmp_path / "log" / "segments"), strict=True):
        assert_same(record, found)


def test_a_foreign_file_is_refused() -> None:
    """The sentence says what was wanted."""
    with pytest.raises(ValueError, match="wanted a prediction log file of format 1, got format None"):
        shape_in(None)
