"""One SERVER span and one `predict` child for every request, at a few microseconds.

A request keeps its marks (Unix nanoseconds) and hands them over when its last byte has left; a thread encodes
them in batches and sends them by the standard OTLP exporter, which reads the standard `OTEL_*` variables. With no
endpoint configured there is no exporter, no thread and no noise, yet ids and context still travel.
"""

from __future__ import annotations

import logging
import os
import threading
from collections import deque
from collections.abc import Callable, Mapping
from random import getrandbits
from typing import Any, NamedTuple

from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, Decision, ParentBased
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, TraceFlags

from serinus import __version__
from serinus.serving.telemetry import names
from serinus.serving.telemetry.exporter import open_exporter
from serinus.serving.telemetry.otlp import (
    INTERNAL,
    SERVER,
    SpanTemplate,
    double_attribute,
    envelope,
    integer_attribute,
    request_body,
    string_attribute,
    string_key,
)

__all__ = ["Marks", "SpanContextIds", "Trace", "Tracing", "parse_traceparent"]

_log = logging.getLogger("serinus.telemetry")
_MASK128, _MASK64 = (1 << 128) - 1, (1 << 64) - 1


class SpanContextIds(NamedTuple):
    """Where a request stands in its trace. `parent_id` is 0 when the trace began here."""

    trace_id: int
    span_id: int
    parent_id: int
    sampled: bool

    @property
    def traceparent(self) -> str:
        """The W3C header that a callee or caller is given."""
        return f"00-{self.trace_id:032x}-{self.span_id:016x}-{'01' if self.sampled else '00'}"


class Marks(NamedTuple):
    """When a request passed each stage, in their order. 0: it did not."""

    started_ns: int
    parsed_ns: int
    validated_ns: int
    routed_ns: int
    predict_started_ns: int
    predict_ended_ns: int
    rendered_ns: int
    recorded_ns: int


class Trace(NamedTuple):
    """What one answered request leaves for its two spans. Times are Unix nanoseconds."""

    ids: SpanContextIds
    method: str
    path: str
    route: str
    protocol_version: str
    status: int
    error_type: str
    model: str
    version: str
    role: str
    reason: str
    """Why this version answered: OpenTelemetry's feature-flag reasons (static, split, targeting_match, …)."""
    request_id: str
    prediction_id: str
    rows: int
    batch_rows: int
    """Rows of the call that this request shared; 0 when it ran by itself."""
    violations: int
    detail: str
    """Why the stages are told one by one: error, violation, candidate, slow or sample; empty when they are not."""
    marks: Marks
    ended_ns: int


def parse_traceparent(header: bytes) -> tuple[int, int, bool] | None:
    """Trace id, parent id and sampled flag of a W3C `traceparent`; None when it is not a valid one."""
    parts = header.strip().split(b"-")
    if len(parts) < 4 or [len(part) for part in parts[:4]] != [2, 32, 16, 2] or parts[0] == b"ff":
        return None
    if (parts[0] == b"00" and len(parts) != 4) or not b"".join(parts[:4]).isalnum() or header != header.lower():
        return None
    try:
        trace_id, parent_id, flags = int(parts[1], 16), int(parts[2], 16), int(parts[3], 16)
    except ValueError:
        return None
    return (trace_id, parent_id, bool(flags & 1)) if trace_id and parent_id else None


class Tracing:
    """Decides who is sampled, gives ids, and sends spans in the background.

    `environ` is the process's (standard `OTEL_*` variables); `resource` adds to what the SDK finds there.
    """

    def __init__(self, resource: Mapping[str, Any], *, enabled: bool = True,
                 on_counts: Callable[[int, int], None] = lambda exported, dropped: None) -> None:
        self.enabled = enabled and os.environ.get("OTEL_SDK_DISABLED", "").lower() != "true"
        provider = TracerProvider(resource=Resource.create(dict(resource)), shutdown_on_exit=False)
        self._sampler = provider.sampler
        self._always = _is_always_on(self._sampler)
        self._queue: SpanQueue | None = None
        if self.enabled and (exporter := open_exporter()) is not None:
            self._queue = SpanQueue(exporter, provider.resource.attributes, on_counts)

    @property
    def exporting(self) -> bool:
        """Whether spans are sent anywhere."""
        return self._queue is not None

    def begin(self, traceparent: bytes | None, name: str) -> SpanContextIds | None:
        """Ids for a request that arrives, as child of the caller's span if there is one; None when switched off."""
        if not self.enabled:
            return None
        parent = parse_traceparent(traceparent) if traceparent else None
        trace_id, parent_id, parent_sampled = parent or (getrandbits(128) or 1, 0, True)
        sampled = parent_sampled if self._always else self._ask(trace_id, parent_id, parent_sampled, name)
        return SpanContextIds(trace_id, getrandbits(64) or 1, parent_id, sampled)

    def end(self, done: Trace) -> None:
        """The request is answered: queue its spans."""
        if self._queue is not None and done.ids.sampled:
            self._queue.put(done)

    def close(self, timeout_s: float = 3.0) -> None:
        """Send what is queued, for at most `timeout_s` seconds."""
        if self._queue is not None:
            self._queue.close(timeout_s)

    def _ask(self, trace_id: int, parent_id: int, parent_sampled: bool, name: str) -> bool:
        context = None
        if parent_id:
            flags = TraceFlags(TraceFlags.SAMPLED if parent_sampled else TraceFlags.DEFAULT)
            remote = SpanContext(trace_id, parent_id, is_remote=True, trace_flags=flags)
            context = trace.set_span_in_context(NonRecordingSpan(remote))
        result = self._sampler.should_sample(context, trace_id, name, SpanKind.SERVER)
        return result.decision is Decision.RECORD_AND_SAMPLE


def _is_always_on(sampler: Any) -> bool:
    # The SDK's default, asked of thousands of requests a second: the answer is then the parent's flag.
    if not isinstance(sampler, ParentBased):
        return False
    description = sampler.get_description()  # type: ignore[no-untyped-call]
    return bool(description == ParentBased(ALWAYS_ON).get_description())  # type: ignore[no-untyped-call]


class SpanQueue:
    """A bounded queue and the thread that empties it. When it is full the oldest go, counted."""

    def __init__(self, send: Callable[[bytes], bool], resource: Mapping[str, Any],
                 on_counts: Callable[[int, int], None]) -> None:
        self.exported = 0
        self.dropped = 0
        self._send = send
        self._envelope = envelope(resource, __version__)
        self._on_counts = on_counts
        self._batch = max(1, int(os.environ.get("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", 1024)) // 2)
        self._waiting: deque[Trace] = deque(maxlen=max(1, int(os.environ.get("OTEL_BSP_MAX_QUEUE_SIZE", 32_768)) // 2))
        self._delay_s = int(os.environ.get("OTEL_BSP_SCHEDULE_DELAY", 1000)) / 1000
        self._wake = threading.Event()
        self._closing = False
        self._failing = False
        self._encoder = TraceEncoder()
        self._thread = threading.Thread(target=self._run, name="serinus-spans", daemon=True)
        self._thread.start()

    def put(self, done: Trace) -> None:
        """Queue one request's spans; never blocks."""
        waiting = self._waiting
        if len(waiting) == waiting.maxlen:
            self.dropped += 2
        waiting.append(done)
        if len(waiting) == self._batch:
            self._wake.set()

    def close(self, timeout_s: float) -> None:
        """Stop after what is queued was sent, or `timeout_s` seconds at the latest."""
        self._closing = True
        self._wake.set()
        self._thread.join(timeout_s)
        if self._thread.is_alive():
            _log.warning("The OpenTelemetry backend did not take the last %d spans in %.0f s.",
                         2 * len(self._waiting), timeout_s)

    def _run(self) -> None:
        while not self._closing or self._waiting:
            self._wake.wait(self._delay_s)
            self._wake.clear()
            while self._waiting:
                self._flush()
                if self._closing and self._failing:
                    return

    def _flush(self) -> None:
        batch: list[Trace] = []
        while self._waiting and len(batch) < self._batch:
            batch.append(self._waiting.popleft())
        try:
            sent = self._send(request_body(self._envelope, map(self._encoder.encode, batch)))
        except Exception:  # the exporter is a guest here: whatever it raises must not end the thread
            _log.debug("The span exporter raised", exc_info=True)
            sent = False
        self._count(2 * len(batch), sent)

    def _count(self, spans: int, sent: bool) -> None:
        self.exported += spans if sent else 0
        self.dropped += 0 if sent else spans
        if sent == self._failing:  # one line per outage, one at its end
            self._failing = not sent
            if sent:
                _log.warning("The OpenTelemetry backend takes spans again; %d were lost.", self.dropped)
            else:
                _log.warning("The OpenTelemetry backend does not take spans; answers are not affected.")
        self._on_counts(self.exported, self.dropped)


class TraceEncoder:
    """Turns a `Trace` into its two encoded spans, with templates made once per combination of constant parts."""

    def __init__(self) -> None:
        self._templates: dict[tuple[Any, ...], tuple[SpanTemplate, SpanTemplate | None]] = {}
        self._path = string_key(names.URL_PATH)
        self._request_id = string_key(names.REQUEST_ID)
        self._prediction_id = string_key(names.PREDICTION_ID)
        self._rows = string_key(names.ROWS)
        self._parse = string_key(names.PARSE_SECONDS)
        self._predict = string_key(names.PREDICT_SECONDS)
        self._queue = string_key(names.QUEUE_SECONDS)
        self._batch_rows = string_key(names.BATCH_ROWS)
        self._violations = string_key(names.VIOLATIONS)
        self._detail = string_key(names.DETAIL)
        self._error_type = string_key(names.ERROR_TYPE)
        self._stage_spans = [SpanTemplate(stage, INTERNAL, {}, error=False) for stage in names.STAGES]
        self._failed_stage_spans = [SpanTemplate(stage, INTERNAL, {}, error=True) for stage in names.STAGES]

    def encode(self, done: Trace) -> bytes:
        """`ScopeSpans.spans` of the SERVER span, of its `predict` child when a model was called, and of the other
        stages when the request was interesting."""
        key = (done.route, done.method, done.protocol_version, done.status, done.error_type, done.model, done.version,
               done.role, done.reason)
        found = self._templates.get(key)
        if found is None:
            found = self._add(key, done)
        server, predict = found
        trace_id, span_id = done.ids.trace_id.to_bytes(16), done.ids.span_id.to_bytes(8)
        parent_id = done.ids.parent_id.to_bytes(8) if done.ids.parent_id else b""
        marks = done.marks
        spans = server.encode(trace_id, span_id, parent_id, marks.started_ns, done.ended_ns, self._attributes(done),
                              remote_parent=bool(parent_id))
        if predict is not None and marks.predict_started_ns:
            child_id = (done.ids.span_id ^ (done.ids.trace_id & _MASK64) or 1).to_bytes(8)
            spans += predict.encode(trace_id, child_id, span_id, marks.predict_started_ns,
                                    marks.predict_ended_ns or done.ended_ns, integer_attribute(self._rows, done.rows))
        return spans + self._stages(done, trace_id, span_id) if done.detail else spans

    def _attributes(self, done: Trace) -> bytes:
        """What differs from request to request."""
        marks = done.marks
        attributes = string_attribute(self._path, done.path) + string_attribute(self._request_id, done.request_id)
        if done.prediction_id:
            attributes += string_attribute(self._prediction_id, done.prediction_id) + integer_attribute(
                self._rows, done.rows)
        if marks.validated_ns:
            attributes += double_attribute(self._parse, (marks.validated_ns - marks.started_ns) / 1e9)
        if marks.predict_started_ns:
            attributes += double_attribute(
                self._predict, ((marks.predict_ended_ns or done.ended_ns) - marks.predict_started_ns) / 1e9)
        if done.batch_rows:
            attributes += integer_attribute(self._batch_rows, done.batch_rows) + double_attribute(
                self._queue, max(0, marks.predict_started_ns - marks.routed_ns) / 1e9)
        if done.violations:
            attributes += integer_attribute(self._violations, done.violations)
        return attributes + string_attribute(self._detail, done.detail) if done.detail else attributes

    def _stages(self, done: Trace, trace_id: bytes, parent_id: bytes) -> bytes:
        """A span for each other stage that the request reached; the one where it failed lasts to the end."""
        marks, spans = done.marks, b""
        ends = (marks.parsed_ns, marks.validated_ns, marks.routed_ns, marks.predict_started_ns, marks.rendered_ns,
                marks.recorded_ns, 0 if done.error_type else done.ended_ns)
        started = marks.started_ns
        for stage, failed, ended in zip(self._stage_spans, self._failed_stage_spans, ends, strict=True):
            child_id = (getrandbits(64) or 1).to_bytes(8)
            if ended:
                spans += stage.encode(trace_id, child_id, parent_id, started, max(started, ended), b"")
                started = max(started, ended)
            elif done.error_type:
                return spans + failed.encode(trace_id, child_id, parent_id, started, done.ended_ns,
                                             string_attribute(self._error_type, done.error_type))
            if ended and ended == marks.predict_started_ns:
                started = marks.predict_ended_ns or done.ended_ns
                if done.error_type and not marks.rendered_ns:  # the model's call failed, and its span says so
                    return spans
        return spans

    def _add(self, key: tuple[Any, ...], done: Trace) -> tuple[SpanTemplate, SpanTemplate | None]:
        if len(self._templates) > 1024:  # all parts come from bounded sets; a safeguard, not a cache policy
            self._templates.clear()
        model: dict[str, str | int | float] = {}
        if done.model:
            model = {names.MODEL_NAME: done.model, names.MODEL_VERSION: done.version, names.ROLE: done.role}
        attributes: dict[str, str | int | float] = {
            names.HTTP_METHOD: done.method, names.HTTP_ROUTE: done.route, names.URL_SCHEME: "http",
            names.HTTP_STATUS: done.status, names.PROTOCOL_VERSION: done.protocol_version, **model}
        if done.reason:
            attributes |= {names.FLAG_KEY: done.model, names.FLAG_VARIANT: done.version,
                           names.FLAG_REASON: done.reason, names.FLAG_PROVIDER: names.PROVIDER}
        failed: dict[str, str | int | float] = {names.ERROR_TYPE: done.error_type} if done.error_type else {}
        server = SpanTemplate(f"{done.method} {done.route}", SERVER, attributes | failed, error=done.status >= 500)
        predict = None
        if done.model:
            predict = SpanTemplate(f"predict {done.model}", INTERNAL, model | failed, error=bool(failed))
        self._templates[key] = server, predict
        return server, predict
