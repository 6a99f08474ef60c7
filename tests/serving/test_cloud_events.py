"""A logged request as the two events that KServe's logger would have sent."""

from __future__ import annotations

import json

import numpy as np

from serinus.serving.cloud_events import REQUEST, RESPONSE, events_of
from tests.serving.prediction_log.examples import records, texts


def test_the_events_are_those_of_kserve() -> None:
    """Types, extensions and bodies by their own names; both events of a request have one id."""
    record = records()[0]._replace(received_ns=1_750_000_000_000_000_001, duration_ns=10**9, trace_id=5, span_id=6,
                                   inputs={"age": np.array([1.5, np.nan]), "city": texts("Zürich", None)})
    asked, answered = events_of(record, "prod", "/serinus/here")
    assert asked.headers == {
        "content-type": "application/json", "ce-specversion": "1.0", "ce-type": REQUEST, "ce-source": "/serinus/here",
        "ce-id": asked.headers["ce-id"], "ce-time": "2025-06-15T15:06:40.000000001Z", "ce-inferenceservicename": "wine",
        "ce-namespace": "prod", "ce-component": "predictor", "ce-endpoint": "default",
        "ce-traceparent": f"00-{5:032x}-{6:016x}-01"}
    assert REQUEST == "org.kubeflow.serving.inference.request"
    assert answered.headers == {**asked.headers, "ce-type": RESPONSE, "ce-time": "2025-06-15T15:06:41.000000001Z"}
    assert json.loads(asked.body) == {"id": "order-17", "inputs": [
        {"name": "age", "shape": [2], "datatype": "FP64", "data": [1.5, "NaN"]},
        {"name": "city", "shape": [2], "datatype": "BYTES", "data": ["Zürich", None]}]}
    assert json.loads(answered.body) == {
        "model_name": "wine", "model_version": "1", "id": "order-17",
        "parameters": {"role": "stable", "prediction_id": asked.headers["ce-id"]},
        "outputs": [{"name": "predict", "shape": [2], "datatype": "BYTES", "data": ["yes", ""]}]}


def test_every_record_makes_events() -> None:
    """Of any type and shape; what was not traced has no trace, and a candidate's answer is the canary's."""
    for record in records():
        for event in events_of(record, "default", "/s"):
            json.loads(event.body)
            assert ("ce-traceparent" in event.headers) == (record.trace_id != 0)
            assert event.headers["ce-endpoint"] == ("default" if record.role == "stable" else "canary")
