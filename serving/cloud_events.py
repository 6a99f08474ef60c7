"""A logged request as two CloudEvents, as KServe's inference logger sends them: what was asked, and what was answered.

```
POST /                                        HTTP, binary mode
ce-specversion: 1.0
ce-type: org.kubeflow.serving.inference.request           or …response
ce-id: 0190a6b2-7c3e-7000-8000-000000000000               the prediction's, the same for both
ce-source: /serinus/HOST
ce-inferenceservicename: credit                           the model
ce-namespace: default
ce-component: predictor
ce-endpoint: default                                      canary where a candidate answered
ce-traceparent: 00-…-…-01                                 where the request was traced

{"id": "order-7", "inputs": [{"name": "age", "shape": [1], "datatype": "INT64", "data": [41]}]}
```

The bodies are of the Open Inference Protocol whatever protocol was spoken, with personal values as the log has them.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import orjson
from numpy.typing import NDArray

from serinus.models.signature import datatype_of
from serinus.monitors.record import PredictionRecord
from serinus.serving.ids import prediction_id
from serinus.serving.protocols.documents import dumps

__all__ = ["REQUEST", "RESPONSE", "CloudEvent", "events_of", "published"]

REQUEST, RESPONSE = "org.kubeflow.serving.inference.request", "org.kubeflow.serving.inference.response"


class CloudEvent(NamedTuple):
    """One event, ready to be sent."""

    headers: Mapping[str, str]
    body: bytes


def events_of(record: PredictionRecord, namespace: str, source: str) -> tuple[CloudEvent, CloudEvent]:
    """What was asked and what was answered."""
    stem = prediction_id(record.prediction_uuid, 0)[:36]
    shared = {"content-type": "application/json", "ce-specversion": "1.0", "ce-id": stem, "ce-source": source,
              "ce-inferenceservicename": record.model, "ce-namespace": namespace, "ce-component": "predictor",
              "ce-endpoint": "default" if record.role == "stable" else "canary"}
    if record.trace_id:
        shared["ce-traceparent"] = f"00-{record.trace_id:032x}-{record.span_id:016x}-01"
    asked = {"id": record.request_id, "inputs": _tensors(record.inputs)}
    answered = {"model_name": record.model, "model_version": record.version, "id": record.request_id,
                "parameters": {"role": record.role, "prediction_id": stem}, "outputs": _tensors(record.outputs)}
    ended_ns = record.received_ns + record.duration_ns
    return (CloudEvent({**shared, "ce-type": REQUEST, "ce-time": _iso(record.received_ns)}, dumps(asked)),
            CloudEvent({**shared, "ce-type": RESPONSE, "ce-time": _iso(ended_ns)}, dumps(answered)))


def published(run: Path) -> dict[str, int]:
    """How many events the steward has `sent` and `dropped`, as it noted last; empty where it sends none."""
    try:
        found = orjson.loads((run / "events.json").read_bytes())
    except (OSError, orjson.JSONDecodeError):
        return {}
    return {word: int(found[word]) for word in ("sent", "dropped")}


def _tensors(arrays: Mapping[str, NDArray[Any]]) -> list[dict[str, Any]]:
    return [{"name": name, "shape": list(array.shape), "datatype": datatype_of(array.dtype),
             "data": array.ravel().tolist() if array.dtype.hasobject else array.ravel()}
            for name, array in arrays.items()]


def _iso(nanoseconds: int) -> str:
    moment = datetime.fromtimestamp(nanoseconds // 1_000_000_000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{nanoseconds % 1_000_000_000:09d}Z"
