"""OpenTelemetry's own OTLP exporters, given spans that are encoded already.

They read the standard `OTEL_EXPORTER_OTLP_*` variables, speak TLS, compress and retry. What they take by their public
interface are the SDK's span objects, which would have to be built only to be encoded slowly; so each is entered one
step further in. A test sends spans to a real receiver over both protocols and pins that step.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from typing import Any

from serinus.serving.telemetry.otlp import decode
from serinus.serving.telemetry.variables import destination, variable

__all__ = ["open_exporter"]

_log = logging.getLogger("serinus.telemetry")
_TIMEOUT_S = 3


def open_exporter() -> Callable[[bytes], bool] | None:
    """What sends an encoded `ExportTraceServiceRequest` and says whether it was taken; None when the environment asks
    for no export."""
    chosen = destination("traces")
    if chosen.problem:
        _log.warning("%s", chosen.problem)
    if chosen.exporter == "console":
        return _print
    if chosen.exporter == "none":
        return None
    # The exporters' own ten seconds would hold up a shutdown; a user's value stands.
    timeout = None if variable("traces", "TIMEOUT")[0] else _TIMEOUT_S
    return _grpc(timeout) if chosen.protocol == "grpc" else _http(timeout)


def _print(body: bytes) -> bool:
    """One line of OTLP's JSON per batch, for looking at spans without a collector."""
    from google.protobuf.json_format import MessageToJson  # type: ignore[import-untyped]

    sys.stdout.write(MessageToJson(decode(body), indent=None) + "\n")
    sys.stdout.flush()
    return True


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
