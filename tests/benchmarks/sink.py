"""A collector that reads everything it is sent: `python -m tests.benchmarks.sink PORT`.

Every body is decoded; spans are counted by kind and name, and the request ids of SERVER spans are kept, so that a
span that arrives twice is not taken for two answers. `GET /counts` says what came and what it cost.
"""

import gzip
import json
import sys
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock
from typing import Any

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

KINDS = {number: name.removeprefix("SPAN_KIND_") for name, number in Span.SpanKind.items()}
MESSAGES: dict[str, Any] = {
    "/v1/traces": ExportTraceServiceRequest,
    "/v1/metrics": ExportMetricsServiceRequest,
    "/v1/logs": ExportLogsServiceRequest,
}
MOST_IDS = 2_000_000
REQUEST_ID = "serinus.request.id"


class Received:
    """What came so far."""

    def __init__(self) -> None:
        self.lock = Lock()
        self.bodies: Counter[str] = Counter()
        self.spans: Counter[str] = Counter()
        self.names: Counter[str] = Counter()
        self.request_ids: set[str] = set()
        self.undecoded = 0

    def take(self, path: str, body: bytes) -> None:
        """Decode one body and count what is in it."""
        message = MESSAGES[path].FromString(body)
        with self.lock:
            self.bodies[path] += 1
            if path == "/v1/traces":
                for resource in message.resource_spans:
                    for scope in resource.scope_spans:
                        self._count(scope.spans)

    def _count(self, spans: Any) -> None:
        for span in spans:
            kind = KINDS.get(span.kind, str(span.kind))
            self.spans[kind] += 1
            self.names[f"{kind} {span.name}"] += 1
            if kind == "SERVER" and len(self.request_ids) < MOST_IDS:
                self.request_ids.update(each.value.string_value for each in span.attributes if each.key == REQUEST_ID)

    def counts(self) -> dict[str, Any]:
        """Return the counts as plain values."""
        with self.lock:
            return {
                "spans": dict(self.spans),
                "names": dict(self.names),
                "server_request_ids": len(self.request_ids),
                "bodies": dict(self.bodies),
                "undecoded": self.undecoded,
                "cpu_seconds": time.process_time(),
            }


class Handler(BaseHTTPRequestHandler):
    """OTLP over HTTP/1.1, connections kept."""

    protocol_version = "HTTP/1.1"
    received = Received()

    def do_POST(self) -> None:
        """Take one export."""
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        try:
            self.received.take(self.path, gzip.decompress(body) if self.headers["content-encoding"] == "gzip" else body)
        except (KeyError, OSError, EOFError, DecodeError):
            self.received.undecoded += 1
            self._answer(400, b"", "application/x-protobuf")
        else:
            self._answer(200, b"", "application/x-protobuf")

    def do_GET(self) -> None:
        """Say what came."""
        self._answer(200, json.dumps(self.received.counts()).encode(), "application/json")

    def _answer(self, status: int, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing for each request."""


if __name__ == "__main__":
    ThreadingHTTPServer.daemon_threads = True
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
