"""OpenTelemetry's own OTLP exporters, given spans that are encoded already.

They read the standard `OTEL_EXPORTER_OTLP_*` variables, speak TLS, compress and retry. What they take by their public
interface are the SDK's span objects, which would have to be built only to be encoded slowly; so each is entered one
step further in. A test sends spans to a real receiver over both protocols and pins that step.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from typing import Any

from serinus.serving.telemetry.otlp import decode

__all__ = ["open_exporter"]

_log = logging.getLogger("serinus.telemetry")
_TIMEOUT_S = 3


def open_exporter() -> Callable[[bytes], bool] | None:
    """What sends an encoded `ExportTraceServiceRequest` and says whether it was taken; None when the environment asks
    for no export."""
    chosen = os.environ.get("OTEL_TRACES_EXPORTER", "otlp").strip().lower()
    if chosen == "none" or not _variable("ENDPOINT"):
        return None
    if chosen != "otlp":
        _log.warning("OTEL_TRACES_EXPORTER=%s is not supported, only otlp and none: no spans are exported.", chosen)
        return None
    # The exporters' own ten seconds would hold up a shutdown; a user's value stands.
    timeout = None if _variable("TIMEOUT") else _TIMEOUT_S
    return _grpc(timeout) if _variable("PROTOCOL") == "grpc" else _http(timeout)


def _variable(name: str) -> str | None:
    return os.environ.get(f"OTEL_EXPORTER_OTLP_TRACES_{name}") or os.environ.get(f"OTEL_EXPORTER_OTLP_{name}")


def _http(timeout: int | None) -> Callable[[bytes], bool]:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    client = OTLPSpanExporter(timeout=timeout)._client
    return lambda body: bool(client.export(body).success)


def _grpc(timeout: int | None) -> Callable[[bytes], bool]:
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace.export import SpanExportResult

    class Encoded(OTLPSpanExporter):
        def _translate_data(self, data: Any) -> Any:
            return decode(data[0])

    exporter = Encoded(timeout=timeout)
    return lambda body: exporter.export([body]) is SpanExportResult.SUCCESS  # type: ignore[list-item]
