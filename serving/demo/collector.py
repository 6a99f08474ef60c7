"""A small OpenTelemetry collector: takes OTLP over HTTP, decodes it with OpenTelemetry's own classes, keeps spans."""

from __future__ import annotations

import gzip
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

__all__ = ["Collector", "tree"]

_SERVER = 2


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """A sender that was killed in the middle is nobody's news here."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class Collector:
    """Listens on a free port of this host while its `with` block runs."""

    def __init__(self) -> None:
        self._spans: list[Any] = []
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def environ(self) -> dict[str, str]:
        """The standard variables that send a process's spans here, twice a second."""
        return {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{self._server.server_address[1]}",
                "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf", "OTEL_BSP_SCHEDULE_DELAY": "500"}

    def spans(self) -> list[Any]:
        """All spans so far."""
        with self._lock:
            return list(self._spans)

    def server_spans(self) -> list[Any]:
        """One for each request that the server answered."""
        return [span for span in self.spans() if span.kind == _SERVER]

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        keep = self._keep

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                if self.path == "/v1/traces":
                    keep(gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body)
                answer = ExportTraceServiceResponse().SerializeToString()
                self.send_response(200)
                self.send_header("Content-Type", "application/x-protobuf")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        return Handler

    def _keep(self, body: bytes) -> None:
        request = ExportTraceServiceRequest.FromString(body)
        with self._lock:
            self._spans += [span for resource in request.resource_spans for scope in resource.scope_spans
                            for span in scope.spans]


def tree(spans: list[Any], trace_id: str) -> list[str]:
    """The spans of one trace as indented lines with their durations."""
    own = [span for span in spans if span.trace_id.hex() == trace_id]
    ids = {span.span_id for span in own}
    return [line for root in own if root.parent_span_id not in ids for line in _branch(root, own, 0)]


def _branch(span: Any, every: list[Any], depth: int) -> list[str]:
    took = (span.end_time_unix_nano - span.start_time_unix_nano) / 1e6
    name = f"{'   ' * (depth - 1)}└─ {span.name}" if depth else span.name
    children = [child for child in every if child.parent_span_id == span.span_id]
    return [f"{name:<36}{took:8.2f} ms",
            *(line for child in children for line in _branch(child, every, depth + 1))]
