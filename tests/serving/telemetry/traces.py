"""Traces to encode and send, and what the SDK makes of the same spans."""

from __future__ import annotations

from typing import Any

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

from serinus import __version__
from serinus.serving.telemetry import Marks, SpanContextIds, Trace

RESOURCE = {
    "service.name": "wine-server",
    "service.version": "1",
    "process.pid": 7,
    "ratio": 0.5,
    "on": True,
    "args": ("a", "b"),
}
TRACE_ID, SPAN_ID, PARENT_ID = 0x4BF92F3577B34DA6A3CE929D0E0E4736, 0x00F067AA0BA902B7, 0x53995C3F42CD8AD8
START = 1_750_000_000_000_000_000
ANSWERED = Trace(
    SpanContextIds(TRACE_ID, SPAN_ID, PARENT_ID, True),
    "POST",
    "/predict/wine",
    "/predict/{model}",
    "1.1",
    200,
    "",
    "wine",
    "3",
    "candidate",
    "split",
    "order-17",
    "0190163d-8694-7398-a5c1-8e8bd3a9f4c2",
    64,
    0,
    0,
    "",
    Marks(
        START,
        START + 15_000,
        START + 20_000,
        START + 25_000,
        START + 30_000,
        START + 230_000,
        START + 260_000,
        START + 280_000,
    ),
    START + 300_000,
)
DETAILED = ANSWERED._replace(detail="candidate")
SHARED = ANSWERED._replace(batch_rows=200, violations=3, novelty_p=0.004, drift="ok")
FAILED = ANSWERED._replace(
    ids=ANSWERED.ids._replace(parent_id=0),
    status=500,
    error_type="prediction_failed",
    prediction_id="",
    rows=0,
    reason="static",
)
REFUSED = ANSWERED._replace(
    status=422,
    error_type="invalid_input",
    model="",
    version="",
    role="",
    reason="",
    prediction_id="",
    rows=0,
    marks=Marks(START, START + 10_000, 0, 0, 0, 0, 0, 0),
)
LONG = ANSWERED._replace(path="/predict/" + "ü" * 9000, request_id="", model="m" * 63)


def by_sdk(done: Trace, child_id: int) -> Any:
    """The same two spans from the SDK's own classes and encoder."""
    ids = done.ids
    flags = TraceFlags(TraceFlags.SAMPLED)
    parent = SpanContext(ids.trace_id, ids.parent_id, is_remote=True, trace_flags=flags) if ids.parent_id else None
    context = SpanContext(ids.trace_id, ids.span_id, is_remote=False, trace_flags=flags)
    model = {"serinus.model.name": done.model, "serinus.model.version": done.version, "serinus.role": done.role}
    attributes: dict[str, Any] = {
        "http.request.method": done.method,
        "http.route": done.route,
        "url.scheme": "http",
        "url.path": done.path,
        "http.response.status_code": done.status,
        "network.protocol.version": done.protocol_version,
        "serinus.request.id": done.request_id,
    }
    if done.model:
        attributes |= model
    if done.reason:
        attributes |= {
            "feature_flag.key": done.model,
            "feature_flag.result.variant": done.version,
            "feature_flag.result.reason": done.reason,
            "feature_flag.provider.name": "serinus",
        }
    if done.prediction_id:
        attributes |= {"serinus.prediction.id": done.prediction_id, "serinus.rows": done.rows}
    if done.error_type:
        attributes["error.type"] = done.error_type
    marks = done.marks
    if marks.validated_ns:
        attributes["serinus.parse.duration"] = (marks.validated_ns - marks.started_ns) / 1e9
    if marks.predict_started_ns:
        attributes["serinus.predict.duration"] = (marks.predict_ended_ns - marks.predict_started_ns) / 1e9
    if done.batch_rows:
        attributes["serinus.batch.rows"] = done.batch_rows
        attributes["serinus.queue.duration"] = (marks.predict_started_ns - marks.routed_ns) / 1e9
    if done.violations:
        attributes["serinus.violations"] = done.violations
    if done.novelty_p is not None:
        attributes["serinus.novelty.p"] = done.novelty_p
    if done.drift:
        attributes["serinus.drift.state"] = done.drift
    shared: dict[str, Any] = {
        "resource": Resource(RESOURCE),
        "instrumentation_scope": InstrumentationScope("serinus", __version__),
    }
    spans = [
        ReadableSpan(
            f"{done.method} {done.route}",
            context,
            parent,
            attributes=attributes,
            kind=SpanKind.SERVER,
            start_time=marks.started_ns,
            end_time=done.ended_ns,
            status=Status(StatusCode.ERROR if done.status >= 500 else StatusCode.UNSET),
            **shared,
        )
    ]
    if marks.predict_started_ns:
        failed = {"error.type": done.error_type} if done.error_type else {}
        spans.append(
            ReadableSpan(
                f"predict {done.model}",
                SpanContext(ids.trace_id, child_id, is_remote=False, trace_flags=flags),
                context,
                attributes=model | failed | {"serinus.rows": done.rows},
                kind=SpanKind.INTERNAL,
                start_time=marks.predict_started_ns,
                end_time=marks.predict_ended_ns,
                status=Status(StatusCode.ERROR if failed else StatusCode.UNSET),
                **shared,
            )
        )
    return encode_spans(spans)
