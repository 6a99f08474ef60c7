"""Spans of shadow calls: each a trace of its own, linked to the request's, so that it does not stretch it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter, SpanExporter
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from serinus import __version__
from serinus.monitors.record import PredictionRecord
from serinus.serving.telemetry import names
from serinus.serving.telemetry.variables import destination

__all__ = ["ShadowSpans"]



class ShadowSpans:
    """Sends a span for each copy whose request was traced and sampled; nothing where there is no exporter."""

    def __init__(self, resource: Mapping[str, Any], *, enabled: bool) -> None:
        exporter = _exporter() if enabled else None
        self._provider = TracerProvider(resource=Resource.create(dict(resource)), shutdown_on_exit=False)
        if exporter is not None:
            self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer(names.SCOPE, __version__) if exporter is not None else None

    def put(self, record: PredictionRecord, version: str, started_ns: int, ended_ns: int, error: str,
            disagrees: bool | None) -> None:
        """A call of `version` for the copy `record`."""
        if self._tracer is None or not record.trace_id:
            return
        primary = SpanContext(record.trace_id, record.span_id, is_remote=True, trace_flags=TraceFlags(1))
        attributes: dict[str, str | int | bool] = {names.MODEL_NAME: record.model, names.MODEL_VERSION: version,
                                                   names.ROLE: "shadow", names.ROWS: record.rows}
        if error:
            attributes[names.ERROR_TYPE] = error
        if disagrees is not None:
            attributes[names.SHADOW_DISAGREES] = disagrees
        span = self._tracer.start_span(f"predict {record.model}", kind=SpanKind.INTERNAL, attributes=attributes,
                                       links=[Link(primary)], start_time=started_ns)
        if error:
            span.set_status(Status(StatusCode.ERROR))
        span.end(ended_ns)

    def close(self) -> None:
        """Send what is left."""
        self._provider.shutdown()


def _exporter() -> SpanExporter | None:
    chosen = destination("traces")
    if chosen.exporter == "console":
        return ConsoleSpanExporter()
    if chosen.exporter != "otlp":
        return None
    if chosen.protocol == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as Grpc

        return Grpc()
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as Http

    return Http()
