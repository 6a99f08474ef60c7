"""OTLP receivers on loopback, over HTTP and gRPC, that keep what OpenTelemetry's own classes decode."""

from __future__ import annotations

import gzip
import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

import grpc
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2, logs_service_pb2_grpc
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2, metrics_service_pb2_grpc

_REQUESTS = {"/v1/logs": logs_service_pb2.ExportLogsServiceRequest,
             "/v1/metrics": metrics_service_pb2.ExportMetricsServiceRequest}


class Receiver:
    """Takes log records and metrics while its `with` block runs."""

    def __init__(self, protocol: str) -> None:
        self.requests: list[Any] = []
        self._grpc = grpc.server(ThreadPoolExecutor(2)) if protocol == "grpc" else None
        if self._grpc is None:
            self._http = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
            self.port: int = self._http.server_port
        else:
            logs_service_pb2_grpc.add_LogsServiceServicer_to_server(_Logs(self), self._grpc)
            metrics_service_pb2_grpc.add_MetricsServiceServicer_to_server(_Metrics(self), self._grpc)
            self.port = self._grpc.add_insecure_port("127.0.0.1:0")
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
        self.receiver.requests.append(request)
        return logs_service_pb2.ExportLogsServiceResponse()


class _Metrics(metrics_service_pb2_grpc.MetricsServiceServicer):
    def __init__(self, receiver: Receiver) -> None:
        self.receiver = receiver

    def Export(self, request, context):  # noqa: N802  (the service's own name)
        self.receiver.requests.append(request)
        return metrics_service_pb2.ExportMetricsServiceResponse()


def _handler(receiver: Receiver) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            receiver.requests.append(_REQUESTS[self.path].FromString(body))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    return Handler
