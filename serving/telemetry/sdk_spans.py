"""The same spans by the SDK's own classes, for users who have set a global TracerProvider.

Theirs decides about sampling, processors and exporters; it costs what the SDK costs.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping

from opentelemetry import propagate, trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import Span, SpanKind, Status, StatusCode

from serinus import __version__
from serinus.serving.telemetry import names
from serinus.serving.telemetry.trace import SpanContextIds, Trace

__all__ = ["SdkSpans", "attributes_of", "model_attributes"]

Value = str | int | float


class SdkSpans:
    """Starts, describes and ends spans of a user's own provider, which is not ours to shut down."""

    def __init__(self, provider: TracerProvider) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer(names.SCOPE, __version__)

    def begin(self, headers: Mapping[bytes, bytes], route: str, started_ns: int) -> SpanContextIds:
        """The SERVER span of a request, child of what the user's propagators find in the headers."""
        carrier = {name.decode("latin-1"): value.decode("latin-1") for name, value in headers.items()}
        context = propagate.extract(carrier)
        first = {names.HTTP_METHOD: "POST", names.HTTP_ROUTE: route}
        span = self._tracer.start_span(f"POST {route}", context, SpanKind.SERVER, first, start_time=started_ns)
        own, parent = span.get_span_context(), trace.get_current_span(context).get_span_context()
        return SpanContextIds(own.trace_id, own.span_id, parent.span_id, own.trace_flags.sampled, span)

    def put(self, done: Trace) -> None:
        """Describe and end the request's span, and add its children."""
        span = done.ids.span
        if span is None:
            return
        within = trace.set_span_in_context(span)
        span.set_attributes(attributes_of(done))
        if done.status >= 500:
            span.set_status(Status(StatusCode.ERROR))
        if done.model and done.marks.predict_started_ns:
            predict = self._child(f"predict {done.model}", within, done.marks.predict_started_ns,
                                  done.predict_ended_ns, model_attributes(done) | {names.ROWS: done.rows},
                                  done.error_type)
            for step, started, ended in done.inner_steps():
                self._child(step, trace.set_span_in_context(predict), started, ended, {}, "")
        for stage, started, ended, failed in done.stages():
            self._child(stage, within, started, ended, {}, done.error_type if failed else "")
        span.end(done.ended_ns)

    def close(self, timeout_s: float) -> None:
        """Have the provider send what it holds: a worker's process ends by a signal, which runs no exit handlers."""
        # In a thread, for the SDK's processors take no notice of a time-out.
        flushing = threading.Thread(target=self._provider.force_flush, name="serinus-flush", daemon=True)
        flushing.start()
        flushing.join(timeout_s)

    def _child(self, name: str, within: Context, started_ns: int, ended_ns: int, attributes: dict[str, Value],
               error_type: str) -> Span:
        failed = {names.ERROR_TYPE: error_type} if error_type else {}
        child = self._tracer.start_span(name, within, attributes={**attributes, **failed}, start_time=started_ns)
        if error_type:
            child.set_status(Status(StatusCode.ERROR))
        child.end(ended_ns)
        return child


def model_attributes(done: Trace) -> dict[str, Value]:
    """Which version answered; nothing where none was reached."""
    if not done.model:
        return {}
    return {names.MODEL_NAME: done.model, names.MODEL_VERSION: done.version, names.ROLE: done.role}


def attributes_of(done: Trace) -> dict[str, Value]:
    """Everything that the SERVER span says."""
    marks = done.marks
    found: dict[str, Value] = {
        names.HTTP_METHOD: done.method, names.HTTP_ROUTE: done.route, names.URL_SCHEME: "http",
        names.URL_PATH: done.path, names.HTTP_STATUS: done.status, names.PROTOCOL_VERSION: done.protocol_version,
        names.REQUEST_ID: done.request_id, **model_attributes(done)}
    if done.reason:
        found |= {names.FLAG_KEY: done.model, names.FLAG_VARIANT: done.version, names.FLAG_REASON: done.reason,
                  names.FLAG_PROVIDER: names.PROVIDER}
    if done.prediction_id:
        found |= {names.PREDICTION_ID: done.prediction_id, names.ROWS: done.rows}
    if marks.validated_ns:
        found[names.PARSE_SECONDS] = (marks.validated_ns - marks.started_ns) / 1e9
    if marks.predict_started_ns:
        found[names.PREDICT_SECONDS] = (done.predict_ended_ns - marks.predict_started_ns) / 1e9
    if done.batch_rows:
        found |= {names.BATCH_ROWS: done.batch_rows,
                  names.QUEUE_SECONDS: max(0, marks.predict_started_ns - marks.routed_ns) / 1e9}
    if done.novelty_p is not None:
        found[names.NOVELTY_P] = done.novelty_p
    optional: dict[str, Value] = {names.VIOLATIONS: done.violations, names.DETAIL: done.detail,
                                  names.DRIFT_STATE: done.drift,
                                  names.ERROR_TYPE: done.error_type}
    return found | {name: value for name, value in optional.items() if value}
