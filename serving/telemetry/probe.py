"""Does a collector answer? One empty export, as the exporters would send it, without their retries."""

from __future__ import annotations

import re
import socket
import ssl
import threading
import urllib.error
import urllib.parse
import urllib.request
from base64 import b64encode
from http.client import HTTPException
from queue import Empty, SimpleQueue
from typing import Any

from serinus.serving.telemetry.variables import Destination, Signal, variable

__all__ = ["probe", "without_password"]

_USER = re.compile(r"(?<=//)[^/@\s]+@")


def probe(signal: Signal, to: Destination, timeout_s: float = 2.0) -> str:
    """Send an empty request for `signal` and wait at most `timeout_s` seconds; why it was not taken, or nothing."""
    answers: SimpleQueue[str] = SimpleQueue()
    ask = _grpc if to.protocol == "grpc" else _http
    # In a thread of its own: looking a name up knows no time-out.
    threading.Thread(target=lambda: answers.put(_told(ask, signal, timeout_s)), daemon=True).start()
    try:
        return answers.get(timeout=timeout_s + 1)
    except Empty:
        return f"it did not answer within {timeout_s:g} s"


def without_password(endpoint: str) -> str:
    """An endpoint that may be shown: user and password in it are left out."""
    return _USER.sub("…@", endpoint)


def _told(ask: Any, signal: Signal, timeout_s: float) -> str:
    try:
        return str(ask(signal, timeout_s))
    except Exception as error:  # certificates, malformed addresses: whatever the libraries say is the answer
        return f"it cannot be asked: {' '.join(str(error).split())[:200] or type(error).__name__}"


def _http(signal: Signal, timeout_s: float) -> str:
    from opentelemetry.util.re import parse_env_headers

    url, user = _url(signal)
    headers = {"Content-Type": "application/x-protobuf", **user,
               **parse_env_headers(variable(signal, "HEADERS")[0], liberal=True)}
    request = urllib.request.Request(url, data=b"", headers=headers, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=timeout_s, context=_tls(signal)):
            return ""
    except urllib.error.HTTPError as error:
        return f"it answered {error.code} {error.reason}"
    except urllib.error.URLError as error:
        return _reason(error.reason, timeout_s)
    except (OSError, HTTPException) as error:
        return _reason(error, timeout_s)


def _url(signal: Signal) -> tuple[str, dict[str, str]]:
    """Where to, and the header for a user in it. A signal's own variable names the whole address, the general one its
    beginning."""
    endpoint, source = variable(signal, "ENDPOINT")
    url = endpoint if signal.upper() in source else f"{endpoint.rstrip('/')}/v1/{signal}"
    user = _USER.search(url)
    if user is None:
        return url, {}
    told = b64encode(urllib.parse.unquote_to_bytes(user[0][:-1])).decode()
    return _USER.sub("", url), {"Authorization": f"Basic {told}"}


def _tls(signal: Signal) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=variable(signal, "CERTIFICATE")[0] or None)
    if certificate := variable(signal, "CLIENT_CERTIFICATE")[0]:
        context.load_cert_chain(certificate, variable(signal, "CLIENT_KEY")[0] or None)
    return context


def _reason(error: object, timeout_s: float) -> str:
    if isinstance(error, ConnectionRefusedError):
        return "nobody listens there (connection refused)"
    if isinstance(error, TimeoutError):
        return f"it did not answer within {timeout_s:g} s"
    if isinstance(error, socket.gaierror):
        return "its name is not known"
    if isinstance(error, HTTPException | ConnectionError):
        return "it does not speak HTTP: a gRPC port (4317) wants the protocol grpc"
    return str(error)


def _grpc(signal: Signal, timeout_s: float) -> str:
    import grpc  # type: ignore[import-untyped]

    exporter = _exporter(signal)
    try:
        # One step further in than the exporter's public door, which would take several tries and say yes or no.
        exporter._client.Export(_empty(signal), metadata=exporter._headers, timeout=timeout_s)
        return ""
    except grpc.RpcError as error:
        status, details = error.code(), " ".join((error.details() or "").split())[:200]
        if status is grpc.StatusCode.DEADLINE_EXCEEDED:
            return f"it did not answer within {timeout_s:g} s"
        if status is grpc.StatusCode.UNAVAILABLE and "refused" in details.lower():
            return "nobody listens there (connection refused)"
        return f"it answered {status.name}" if "@" in details else f"it answered {status.name} ({details})"
    finally:
        exporter.shutdown()


def _exporter(signal: Signal) -> Any:
    if signal == "traces":
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter

        return OTLPSpanExporter()
    if signal == "metrics":
        from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter

        return OTLPMetricExporter()
    from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter

    return OTLPLogExporter()


def _empty(signal: Signal) -> Any:
    if signal == "traces":
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

        return ExportTraceServiceRequest()
    if signal == "metrics":
        from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

        return ExportMetricsServiceRequest()
    from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

    return ExportLogsServiceRequest()
