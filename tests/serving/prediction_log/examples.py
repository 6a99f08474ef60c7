"""Records with some of everything that a frame can hold, and the segment they make."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from serinus.monitors.record import PredictionRecord
from serinus.serving.ids import IdSource
from serinus.serving.prediction_log import SegmentWriter

WRITER, FIRST = 0x2_1234_5678, 41
NOW_NS = 1_750_000_000_123_456_789


def texts(*values: Any) -> Any:
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


def records() -> list[PredictionRecord]:
    """A row with gaps, every numeric type, no rows at all, three dimensions, and three contexts."""
    ids = IdSource(WRITER)
    ids.sequence = FIRST
    every = {np.dtype(code).name: np.array([0, 1], dtype=code) for code in "?BHILbhilefd"}
    shared: dict[str, Any] = {"received_ns": NOW_NS, "duration_ns": 123_456, "model": "wine"}
    return [
        PredictionRecord(
            ids.next(NOW_NS)[0],
            "order-17",
            version="1",
            role="stable",
            rows=2,
            inputs={"age": np.array([1.5, np.nan]), "city": texts("Zürich", None)},
            outputs={"predict": texts("yes", "")},
            routing_key_hash=2**64 - 1,
            trace_id=2**128 - 2,
            span_id=7,
            **shared,
        ),
        PredictionRecord(
            ids.next(NOW_NS)[0],
            "",
            version="2",
            role="candidate",
            rows=2,
            inputs=every,
            outputs={"proba": np.arange(8, dtype=np.float32).reshape(2, 2, 2)},
            routing_key_hash=0,
            trace_id=0,
            span_id=0,
            **shared,
        ),
        PredictionRecord(
            ids.next(NOW_NS)[0],
            "r" * 128,
            version="1",
            role="shadow",
            rows=0,
            inputs={"age": np.empty(0), "grid": np.empty((0, 3), dtype=np.int8)},
            outputs={"matrix": texts("a", None, "c", "d").reshape(2, 2)},
            routing_key_hash=1,
            trace_id=1,
            span_id=1,
            **shared,
        ),
        PredictionRecord(
            ids.next(NOW_NS)[0],
            "again",
            version="1",
            role="stable",
            rows=1,
            inputs={"age": np.array([-0.0]), "city": texts("")},
            outputs={"predict": texts("no")},
            routing_key_hash=0,
            trace_id=3,
            span_id=4,
            **shared,
        ),
    ]


def remarked() -> list[PredictionRecord]:
    """The same with violations and novelty in the first two, and a tensor that belongs to a whole request."""
    first, second, third, fourth = records()
    return [first._replace(violations={"range": 2}, novelty=np.array([0.25, np.nan])),
            second._replace(violations={"type": 1}), third,
            fourth._replace(inputs={**fourth.inputs, "image": np.arange(6.0).reshape(3, 2)})]


def write(folder: Path, many: list[PredictionRecord], *, segment_bytes: int = 1 << 20) -> SegmentWriter:
    """A writer that has appended these records, still open."""
    writer = SegmentWriter(folder, WRITER, segment_bytes)
    for sequence, record in enumerate(many, FIRST):
        writer.append(record, sequence)
    return writer


def assert_same(expected: PredictionRecord, found: PredictionRecord) -> None:
    """Equal in every field; arrays in names, order, type, shape and every bit."""
    plain = {"inputs": {}, "outputs": {}, "novelty": None}
    assert found._replace(**plain) == expected._replace(**plain)
    if expected.novelty is None:
        assert found.novelty is None
    else:
        assert found.novelty is not None
        np.testing.assert_array_equal(found.novelty, expected.novelty)
    for side in ("inputs", "outputs"):
        wanted, got = getattr(expected, side), getattr(found, side)
        assert list(got) == list(wanted)
        for name, array in wanted.items():
            assert (got[name].dtype, got[name].shape) == (array.dtype, array.shape), name
            if array.dtype.hasobject:
                assert got[name].tolist() == array.tolist(), name
            else:
                assert got[name].tobytes() == array.tobytes(), name
