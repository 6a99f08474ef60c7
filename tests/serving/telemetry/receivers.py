"""OTLP receivers on loopback, over HTTP and gRPC, for all signals; they keep what OpenTelemetry's classes decode."""

from __future__ import annotations

import gzip
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

import grpc
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2, logs_service_pb2_grpc
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2, metrics_service_pb2_grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc

_REQUESTS = {"/v1/logs": logs_service_pb2.ExportLogsServiceRequest,
             "/v1/metrics": metrics_service_pb2.ExportMetricsServiceRequest,
             "/v1/traces": trace_service_pb2.ExportTraceServiceRequest}


class Receiver:
    """Takes spans, metrics and log records while its `with` block runs, each request after `delay_s` seconds."""

    def __init__(self, protocol: str, port: int = 0, delay_s: float = 0.0) -> None:
        self.requests: list[Any] = []
        self.delay_s = delay_s
        self._grpc = grpc.server(ThreadPoolExecutor(4)) if protocol == "grpc" else None
        if self._grpc is None:
            self._http = ThreadingHTTPServer(("127.0.0.1", port), _handler(self))
            self.port: int = self._http.server_port
        else:
            logs_service_pb2_grpc.add_LogsServiceServicer_to_server(_Logs(self), self._grpc)
            metrics_service_pb2_grpc.add_MetricsServiceServicer_to_server(_Metrics(self), self._grpc)
            trace_service_pb2_grpc.add_TraceServiceServicer_to_server(_Traces(self), self._grpc)
            self.port = self._grpc.add_insecure_port(f"127.0.0.1:{port}")
        self.environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{self.port}",
                        "OTEL_EXPORTER_OTLP_PROTOCOL": protocol}

    def __enter__(self) -> Self:
        if self._grpc is not None:
            self._grpc.start()
        else:
            threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._grpc is not None:
            self._grpc.stop(None)
        else:
            self._http.shutdown()
            self._http.server_close()

    def take(self, request: Any) -> None:
        """Keep what was sent."""
        time.sleep(self.delay_s)
        self.requests.append(request)

    @property
    def spans(self) -> list[Any]:
        return [span for request in self.requests for resource in getattr(request, "resource_spans", ())
                for scope in resource.scope_spans for span in scope.spans]

    @property
    def log_records(self) -> list[Any]:
        return [record for request in self.requests for resource in getattr(request, "resource_logs", ())
                for scope in resource.scope_logs for record in scope.log_records]

    @property
    def metrics(self) -> list[Any]:
        return [metric for request in self.requests for resource in getattr(request, "resource_metrics", ())
                for scope in resource.scope_metrics for metric in scope.metrics]


class _Logs(logs_service_pb2_grpc.LogsServiceServicer):
    def __init__(self, receiver: Receiver) -> None:
        self.receiver = receiver

    def Export(self, request, context):  # noqa: N802  (the service's own name)
        self.receiver.take(request)
        return logs_service_pb2.ExportLogsServiceResponse()


class _Metrics(metrics_service_pb2_grpc.MetricsServiceServicer):
    def __init__(self, receiver: Receiver) -> None:
        self.receiver = receiver

    def Export(self, request, context):  # noqa: N802  (the service's own name)
        self.receiver.take(request)
        return metrics_service_pb2.ExportMetricsServiceResponse()


class _Traces(trace_service_pb2_grpc.TraceServiceServicer):
    def __init__(self, receiver: Receiver) -> None:
        self.receiver = receiver

    def Export(self, request, context):  # noqa: N802  (the service's own name)
        self.receiver.take(request)
        return trace_service_pb2.ExportTraceServiceResponse()


def _handler(receiver: Receiver) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            receiver.take(_REQUESTS[self.path].FromString(body))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    return Handler
