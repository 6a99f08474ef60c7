"""From a request's `Trace` to its encoded spans."""

from __future__ import annotations

from random import getrandbits
from typing import Any

from serinus.serving.telemetry import names
from serinus.serving.telemetry.otlp import (
    INTERNAL,
    SERVER,
    SpanTemplate,
    double_attribute,
    integer_attribute,
    string_attribute,
    string_key,
)
from serinus.serving.telemetry.trace import Trace

__all__ = ["TraceEncoder"]


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
        self._novelty_p, self._drift = string_key(names.NOVELTY_P), string_key(names.DRIFT_STATE)
        self._error_type = string_key(names.ERROR_TYPE)
        self._steps: dict[str, SpanTemplate] = {}
        self._stages = {(stage, failed): SpanTemplate(stage, INTERNAL, {}, error=failed)
                        for stage in names.STAGES for failed in (False, True)}

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
            spans += predict.encode(trace_id, done.predict_id.to_bytes(8), span_id, marks.predict_started_ns,
                                    done.predict_ended_ns, integer_attribute(self._rows, done.rows))
        for step, started, ended in done.inner_steps():
            child_id = (getrandbits(64) or 1).to_bytes(8)
            spans += self._step(step).encode(trace_id, child_id, done.predict_id.to_bytes(8), started, ended, b"")
        for stage, started, ended, failed in done.stages():
            child_id = (getrandbits(64) or 1).to_bytes(8)
            attributes = string_attribute(self._error_type, done.error_type) if failed else b""
            spans += self._stages[stage, failed].encode(trace_id, child_id, span_id, started, ended, attributes)
        return spans

    def _step(self, name: str) -> SpanTemplate:
        found = self._steps.get(name)
        if found is None:
            found = self._steps[name] = SpanTemplate(name, INTERNAL, {}, error=False)
        return found

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
            attributes += double_attribute(self._predict, (done.predict_ended_ns - marks.predict_started_ns) / 1e9)
        if done.batch_rows:
            attributes += integer_attribute(self._batch_rows, done.batch_rows) + double_attribute(
                self._queue, max(0, marks.predict_started_ns - marks.routed_ns) / 1e9)
        if done.violations:
            attributes += integer_attribute(self._violations, done.violations)
        if done.novelty_p is not None:
            attributes += double_attribute(self._novelty_p, done.novelty_p)
        if done.drift:
            attributes += string_attribute(self._drift, done.drift)
        return attributes + string_attribute(self._detail, done.detail) if done.detail else attributes

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
