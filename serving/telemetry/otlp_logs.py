"""Log lines over OTLP, by OpenTelemetry's own SDK: its logs are rare, so that its price does not matter."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence
from typing import Any

from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.sdk._logs import LoggerProvider, ReadableLogRecord
from opentelemetry.sdk._logs.export import (
    BatchLogRecordProcessor,
    ConsoleLogRecordExporter,
    LogRecordExporter,
    LogRecordExportResult,
    SimpleLogRecordProcessor,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context

from serinus import __version__
from serinus.serving.telemetry.names import SCOPE
from serinus.serving.telemetry.outage import Outage, patience
from serinus.serving.telemetry.variables import destination, variable

__all__ = ["OtlpHandler"]

_TIMEOUT_S = 3
_SEVERITIES = ((logging.CRITICAL, SeverityNumber.FATAL), (logging.ERROR, SeverityNumber.ERROR),
               (logging.WARNING, SeverityNumber.WARN), (logging.INFO, SeverityNumber.INFO))
_OWN = "opentelemetry"  # what the exporter itself has to say is not sent by the exporter


class OtlpHandler(logging.Handler):
    """Hands log records to a provider of its own, with trace context, attributes and event names."""

    def __init__(self, resource: Mapping[str, Any]) -> None:
        super().__init__()
        self._outage = Outage("log lines", "stderr has them")
        self._provider = LoggerProvider(Resource.create(dict(resource)), shutdown_on_exit=False)
        if destination("logs").exporter == "console":
            self._provider.add_log_record_processor(SimpleLogRecordProcessor(ConsoleLogRecordExporter()))
        else:
            self._provider.add_log_record_processor(BatchLogRecordProcessor(Told(_exporter(), self._outage)))
        self._logger = self._provider.get_logger(SCOPE, __version__)

    def emit(self, record: logging.LogRecord) -> None:
        """See `logging.Handler.emit`."""
        if record.name.startswith(_OWN):
            return
        from serinus.serving.telemetry.logs import trace_of

        number = next((severity for level, severity in _SEVERITIES if record.levelno >= level), SeverityNumber.DEBUG)
        attributes: dict[str, Any] = {"code.function.name": f"{record.module}.{record.funcName}",
                                      **record.__dict__.get("attributes", {})}
        if record.exc_info and record.exc_info[0] is not None:
            attributes |= {"exception.type": record.exc_info[0].__name__}
        self._logger.emit(LogRecord(
            timestamp=int(record.created * 1e9), severity_number=number, severity_text=record.levelname,
            body=record.getMessage(), attributes=attributes, event_name=record.__dict__.get("event_name"),
            context=_context(*trace_of(record))))

    def close(self, timeout_s: float = 3.0) -> None:
        """Send what is left, for at most `timeout_s` seconds."""
        closing = threading.Thread(target=self._provider.shutdown, name="serinus-logs", daemon=True)
        closing.start()
        closing.join(patience(timeout_s, self._outage))
        super().close()


class Told(LogRecordExporter):
    """An exporter whose outages are told once each."""

    def __init__(self, exporter: LogRecordExporter, outage: Outage) -> None:
        self._exporter = exporter
        self._outage = outage

    def export(self, batch: Sequence[ReadableLogRecord]) -> LogRecordExportResult:
        """See `LogRecordExporter.export`."""
        result = self._exporter.export(batch)
        self._outage.tell(result is LogRecordExportResult.SUCCESS)
        return result

    def shutdown(self) -> None:
        """See `LogRecordExporter.shutdown`."""
        self._exporter.shutdown()  # type: ignore[no-untyped-call]

    def force_flush(self, timeout_millis: int = 10_000) -> bool:
        """See `LogRecordExporter.force_flush`."""
        return self._exporter.force_flush(timeout_millis)


def _context(trace_id: str, span_id: str) -> Any:
    if not trace_id:
        return set_span_in_context(NonRecordingSpan(SpanContext(0, 0, is_remote=False)))
    return set_span_in_context(NonRecordingSpan(SpanContext(
        int(trace_id, 16), int(span_id or "0", 16), is_remote=False, trace_flags=TraceFlags(TraceFlags.SAMPLED))))


def _exporter() -> LogRecordExporter:
    timeout = None if variable("logs", "TIMEOUT")[0] else _TIMEOUT_S
    if destination("logs").protocol == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter as Grpc

        return Grpc(timeout=timeout)
    from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter as Http

    return Http(timeout=timeout)
