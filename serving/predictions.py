"""One prediction as people look at it: what was asked and answered, and what became of it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from math import isnan
from typing import Any

from numpy.typing import NDArray

from serinus.monitors.record import PredictionRecord
from serinus.serving.access import note_access
from serinus.serving.errors import ControlRefused
from serinus.serving.ground_truth import resolve
from serinus.serving.home import Home
from serinus.serving.ids import parse_prediction_id
from serinus.serving.prediction_log import find
from serinus.serving.prediction_log.frame import FrameError
from serinus.serving.settings import GroundTruthSettings
from serinus.serving.store import Store

__all__ = ["ground_truth_of", "look_up"]


def look_up(home: Home, prediction_id: str, actor: str) -> dict[str, Any]:
    """A prediction as its log has it, personal values as they were written. Raises `ControlRefused` for one that is
    not there, and `SerinusError` where nobody could tell later that it was looked at."""
    wanted = parse_prediction_id(prediction_id)
    if wanted is None:
        raise ControlRefused(f"{prediction_id[:80]!r} is no prediction id: wanted one that an answer carried, such as "
                             "0190a6b2-7c3e-7000-8000-000000000000-0.", "not_found")
    try:
        record = find(home.log, prediction_id)
    except (FrameError, OSError) as error:
        raise ControlRefused(f"The log that holds prediction {prediction_id} cannot be read: {error}.",
                             "unavailable") from None
    if record is None:
        raise ControlRefused(f"Prediction {prediction_id} is not in the log: another home's server answered it, or it "
                             "was left out, erased, or removed when the log reached its size cap.", "not_found")
    note_access(home, actor, "http", f"prediction {prediction_id}", 1)
    return _document(record, prediction_id, wanted.row)


def ground_truth_of(store: Store, settings: GroundTruthSettings, prediction_id: str) -> dict[str, Any] | None:
    """What is held true of a prediction, and all that was sent about it; None where nothing was. Raises
    `StoreError`."""
    rows = store.ground_truth([prediction_id]).get(prediction_id)
    if not rows:
        return None
    truth = resolve(rows, settings.conflict, settings.sources)
    sent = [{name: value for name, value in row._asdict().items() if name != "prediction_id"} for row in rows]
    events = {name: {"count": count, "sum": total} for name, (count, total) in truth.events.items()}
    return {**truth._asdict(), "state": str(truth.state), "events": events, "sent": sent}


def _document(record: PredictionRecord, prediction_id: str, row: int) -> dict[str, Any]:
    return {"prediction_id": prediction_id, "request_id": record.request_id, "time": _iso(record.received_ns),
            "model": record.model, "version": record.version, "role": record.role,
            "inputs": _row(record.inputs, record.rows, row), "outputs": _row(record.outputs, record.rows, row),
            "violations": dict(record.violations or {}), "novelty": _novelty(record, row),
            "trace_id": f"{record.trace_id:032x}" if record.trace_id else None}


def _novelty(record: PredictionRecord, row: int) -> float | None:
    """The row's p-value; None where it was not observed."""
    return None if record.novelty is None or isnan(record.novelty[row]) else float(record.novelty[row])


def _row(arrays: Mapping[str, NDArray[Any]], rows: int, row: int) -> dict[str, Any]:
    """The values of one row; what is not made of rows is told whole."""
    return {name: array[row:row + 1].tolist()[0] if array.shape[:1] == (rows,) else array.tolist()
            for name, array in arrays.items()}


def _iso(nanoseconds: int) -> str:
    moment = datetime.fromtimestamp(nanoseconds // 1_000_000_000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{nanoseconds % 1_000_000_000 // 1000:06d}Z"
