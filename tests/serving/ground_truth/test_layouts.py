"""Frames that are read many at once say exactly what they say one by one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from serinus.monitors.record import PredictionRecord
from serinus.serving.ground_truth.layouts import pieces
from serinus.serving.ids import IdSource
from serinus.serving.prediction_log.frame import Context, decode_prediction, encode_prediction
from tests.serving.prediction_log.examples import texts

CONTEXT = Context("m", "1", "stable", ("x", "city"), ("predict", "proba", "matrix"))
DRAW = np.random.default_rng(4)


def _record(source: IdSource, number: int, kind: str) -> PredictionRecord:
    rows = {"plain": 1, "ragged": 1 + number % 2}.get(kind, 2)
    names = ["yes", "no ", "maybe", "", None, "é"]
    labels: Any = DRAW.integers(0, 9, rows) if kind == "plain" else texts(*DRAW.choice(np.array(names, object), rows))
    proba: Any = DRAW.random((rows, 3)) if kind != "fixed" else DRAW.random((1, 6))  # not one per row
    request_id = "r" * (number % 3) if kind == "ragged" else ""
    return PredictionRecord(source.next(10**18 + number * 10**6)[0], request_id, 1, 2, "m", "1", "stable", rows, {
        "x": DRAW.normal(size=rows), "city": texts(*DRAW.choice(np.array(["Rome", "Oslo"], object), rows))},
        {"predict": labels, "proba": proba, "matrix": DRAW.random((rows, 1)).astype(np.float32)}, number, 0, 0)


@pytest.mark.parametrize("kind", ["plain", "texts", "ragged", "fixed"])
def test_many_at_once_are_as_one_by_one(kind: str) -> None:
    """Numbers, texts of any length, missing ones, several rows, ids and shapes that differ from frame to frame."""
    source = IdSource(7)
    frames = [encode_prediction(_record(source, number, kind), 3) for number in range(300)]
    by_length: dict[int, list[memoryview]] = {}
    for each in frames:
        by_length.setdefault(len(each), []).append(memoryview(each))
    wanted = ("predict", "proba", "matrix", None, "none")
    seen = 0
    for payloads in by_length.values():
        found = pieces(payloads, {3: CONTEXT}, wanted)
        records = {int.from_bytes(record.prediction_uuid) & (1 << 40) - 1: record
                   for record in (decode_prediction(payload, {3: CONTEXT}) for payload in payloads)}
        for piece in found:
            begins = np.cumsum(piece.rows) - piece.rows
            for index, sequence in enumerate(piece.sequences.tolist()):
                record = records.pop(sequence)
                seen += 1
                assert (int(piece.rows[index]), int(piece.times_ms[index])) == (
                    record.rows, int.from_bytes(record.prediction_uuid[:6]))
                rows = slice(begins[index], begins[index] + record.rows)
                for name, column in zip(wanted, piece.outputs, strict=True):
                    _assert_same(None if name is None else record.outputs.get(name), column, rows, record.rows)
        assert records == {}
    assert seen == len(frames)


def _assert_same(array: Any, column: Any, rows: slice, number: int) -> None:
    if array is None or len(array) != number:
        assert column is None
    else:
        wanted = array.ravel() if array.shape[1:] == (1,) else array
        assert (column.dtype, column[rows].tolist()) == (wanted.dtype, wanted.tolist())


def test_alike_frames_are_few_tables() -> None:
    """The point of it: three hundred requests of numbers are one table."""
    source = IdSource(7)
    payloads = [memoryview(encode_prediction(_record(source, number, "plain"), 3)) for number in range(300)]
    assert len(pieces(payloads, {3: CONTEXT}, ("predict",))) == 1
