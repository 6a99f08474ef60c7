"""The server's log lines: for people or as JSON on stderr, over OTLP if asked for, each with the trace it belongs to.

A line belongs to the current span, or to the ids that its `extra` names (`trace_id`, `span_id`: see `of_request`).
Events (`event_name`) are log records of a name with attributes: what a rollout did, what an alert became.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal

import orjson
from opentelemetry import trace

from serinus.serving.telemetry import names
from serinus.serving.telemetry.trace import SpanContextIds
from serinus.serving.telemetry.variables import destination

__all__ = ["emit_event", "end_logging", "flag_evaluated", "of_request", "set_up_logging"]

_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_EVENTS = logging.getLogger("serinus.events")


def set_up_logging(form: Literal["console", "json"], resource: Mapping[str, Any]) -> None:
    """Send what this process logs below `serinus` to stderr in one form, and to the collector if logs are exported.

    What others log, a user's function among them, goes the same way where nobody has set up the root logger.
    """
    handlers: list[logging.Handler] = [logging.StreamHandler(sys.stderr)]
    handlers[0].setFormatter(JsonFormatter() if form == "json" else ConsoleFormatter(_FORMAT))
    if destination("logs").exporter != "none":
        from serinus.serving.telemetry.otlp_logs import OtlpHandler

        handlers.append(OtlpHandler(resource))
    ours, root = logging.getLogger("serinus"), logging.getLogger()
    ours.setLevel(logging.INFO)
    ours.propagate = False
    ours.handlers[:] = handlers
    if not root.handlers:
        root.handlers[:] = handlers


def end_logging(timeout_s: float = 3.0) -> None:
    """Send the lines that wait, for at most `timeout_s` seconds; later ones go to stderr alone. For processes that end
    by a signal, which runs no exit handlers."""
    if (otlp_logs := sys.modules.get("serinus.serving.telemetry.otlp_logs")) is None:
        return  # never wanted here, so no line is exported
    ours, root = logging.getLogger("serinus"), logging.getLogger()
    for handler in [handler for handler in ours.handlers if isinstance(handler, otlp_logs.OtlpHandler)]:
        ours.removeHandler(handler)
        root.removeHandler(handler)
        handler.close(timeout_s)


def of_request(ids: SpanContextIds | None) -> dict[str, str]:
    """`extra` of a line that is logged outside of the request's own context."""
    return {} if ids is None else {"trace_id": f"{ids.trace_id:032x}", "span_id": f"{ids.span_id:016x}"}


def emit_event(name: str, sentence: str, attributes: Mapping[str, str | int | float | bool],
               ids: SpanContextIds | None = None) -> None:
    """Log an event: a line for people, and a named record with attributes for a backend."""
    _EVENTS.info("%s", sentence, extra={"event_name": name, "attributes": dict(attributes), **of_request(ids)})


def flag_evaluated(model: str, version: str, reason: str, key_hash: int, ids: SpanContextIds | None) -> None:
    """Tell which version a rollout gave a request. The routing key is told as its hash only."""
    attributes: dict[str, str | int | float | bool] = {
        names.FLAG_KEY: model, names.FLAG_VARIANT: version, names.FLAG_REASON: reason,
        names.FLAG_PROVIDER: names.PROVIDER}
    if key_hash:
        attributes[names.FLAG_CONTEXT] = f"{key_hash:016x}"
    emit_event(names.FLAG_EVENT, f"{model}: version {version} by {reason}", attributes, ids)


def trace_of(record: logging.LogRecord) -> tuple[str, str]:
    """Trace and span id of a line as hexadecimal text; empty where it belongs to no request."""
    given = record.__dict__.get("trace_id"), record.__dict__.get("span_id")
    if given[0]:
        return str(given[0]), str(given[1] or "")
    current = trace.get_current_span().get_span_context()
    return (f"{current.trace_id:032x}", f"{current.span_id:016x}") if current.is_valid else ("", "")


class ConsoleFormatter(logging.Formatter):
    """One line for people; inside a request its trace id stands at the end."""

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter.format`."""
        head, newline, rest = super().format(record).partition("\n")
        trace_id, _ = trace_of(record)
        return f"{head} [trace {trace_id}]{newline}{rest}" if trace_id else head + newline + rest


class JsonFormatter(logging.Formatter):
    """One JSON object per line."""

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter.format`."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(), "level": record.levelname,
            "logger": record.name, "message": record.getMessage(), "process": record.process}
        trace_id, span_id = trace_of(record)
        if trace_id:
            line |= {"trace_id": trace_id, "span_id": span_id}
        line |= {key: value for key, value in vars(record).items() if key not in _STANDARD and key not in line}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return orjson.dumps(line, default=str, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS).decode()
