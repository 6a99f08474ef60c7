"""Prediction ids in bulk say what they say one by one, and a segment's columns grow with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.cluster import KMeans
from sklearn.linear_model import LinearRegression, LogisticRegression

from serinus.models.estimator import infer_signature
from serinus.monitors.record import PredictionRecord
from serinus.serving.ground_truth.columns import HOUR_MS, Answers, SegmentColumns, answers_of, first_ms, id_at, keys_of
from serinus.serving.ids import IdSource, parse_prediction_id, prediction_id
from serinus.serving.prediction_log import SegmentWriter, segments
from serinus.serving.prediction_log.frame import HEADER_BYTES, FrameError

ROWS = st.integers(0, 2**24 - 1)


@given(st.lists(st.tuples(st.integers(0, 2**34 - 1), st.integers(0, 2**40 - 1), st.integers(0, 2**41), ROWS),
                max_size=5))
def test_ids_in_bulk_are_as_one_by_one(parts: list[tuple[int, int, int, int]]) -> None:
    """Writer, sequence, row and time, for every id there can be."""
    ids = []
    for writer, sequence, moment, row in parts:
        source = IdSource(writer)
        source.sequence = sequence
        ids.append(prediction_id(source.next(moment * 1_000_000)[0], row))
    found = keys_of(ids)
    wanted = [parse_prediction_id(each) for each in ids]
    assert found.writers.tolist() == [each.writer for each in wanted if each]
    assert found.keys.tolist() == [each.sequence << 24 | each.row for each in wanted if each]
    assert found.times_ms.tolist() == [each.time_ms for each in wanted if each]


def test_a_row_beyond_any_is_no_other_one() -> None:
    """A number that does not fit is not taken for a smaller one."""
    stem = IdSource(3).next(10**18)[1]
    assert keys_of([f"{stem}-{2**24}"]).keys[0] != keys_of([f"{stem}-0"]).keys[0]


@given(st.integers(0, 2**41), st.integers(0, 2**34 - 1))
def test_an_hour_is_a_range_of_ids(moment: int, writer: int) -> None:
    """Every id of an hour sorts behind its first text and before the next one's."""
    text = prediction_id(IdSource(writer).next(moment * 1_000_000)[0], 0)
    hour = moment // HOUR_MS
    assert id_at(hour) <= text < id_at(hour + 1)


@pytest.mark.parametrize(
    ("estimator", "output", "scores"),
    [(LogisticRegression(), "predict", "predict_proba"), (LinearRegression(), "predict", None),
     (KMeans(2, n_init=1), None, None)])
def test_answers_are_found_in_the_signature(estimator: Any, output: str | None, scores: str | None) -> None:
    """Of a classifier its labels and probabilities, of a regression its numbers; a clusterer has no truth."""
    fitted = estimator.fit([[0.0], [1.0], [2.0]], [0, 1, 1])
    found = answers_of(infer_signature(fitted))
    assert (None if found is None else found[:2]) == (None if output is None else (output, scores))


def _record(source: IdSource, number: int, rows: int = 2) -> tuple[PredictionRecord, int]:
    sequence = source.sequence
    uuid, _ = source.next((1_700_000_000 + number) * 10**9)
    return PredictionRecord(uuid, "", 1, 1, "m", "1", "stable", rows, {"x": np.zeros(rows)},
                            {"y": np.arange(rows) + 10.0 * number}, 0, 0, 0), sequence


def test_columns_grow_with_their_segment(tmp_path: Path) -> None:
    """What is appended is read on, in the order of the keys, whatever order it was written in."""
    source = IdSource(9)
    records = [_record(source, number) for number in range(12)]
    writer = SegmentWriter(tmp_path, source.writer, 1 << 20)
    where = Answers("y", None, None)  # type: ignore[arg-type]
    for record, sequence in records[:2:-1]:
        writer.append(record, sequence)
    (path,) = segments(tmp_path)
    columns = SegmentColumns(path, lambda *_: where)
    assert columns.blocks() == []
    for wanted in (range(3, 12), range(12)):
        list(columns.read())
        (block,) = columns.blocks()
        assert block.keys.tolist() == [number << 24 | row for number in wanted for row in range(2)]
        assert block.answers is not None
        assert block.answers.tolist() == [10.0 * number + row for number in wanted for row in range(2)]
        assert (columns.writer, columns.records) == (9, len(wanted))
        for record, sequence in records[:3]:
            writer.append(record, sequence)
    assert first_ms(path) == 1_700_000_011_000


def test_a_segment_without_records_is_none(tmp_path: Path) -> None:
    """One that is just begun has no first record, and one without a header is no segment yet."""
    writer = SegmentWriter(tmp_path, 1, 1 << 20)
    writer.append(*_record(IdSource(1), 0))
    (path,) = segments(tmp_path)
    path.write_bytes(path.read_bytes()[:HEADER_BYTES])
    assert first_ms(path) is None
    path.write_bytes(b"SRN")
    with pytest.raises(FrameError, match="no header yet"):
        SegmentColumns(path, lambda *_: None)
