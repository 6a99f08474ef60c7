"""Encoded spans reach a real receiver through OpenTelemetry's own exporters (over HTTP: see `test_tracing`)."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc

from serinus.serving.telemetry.exporter import open_exporter
from serinus.serving.telemetry.otlp import SERVER, SpanTemplate, envelope, request_body


class Receiver(trace_service_pb2_grpc.TraceServiceServicer):
    """An OTLP receiver over gRPC that keeps what it was sent."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.metadata: dict[str, str] = {}
        self.server = grpc.server(ThreadPoolExecutor(1))
        trace_service_pb2_grpc.add_TraceServiceServicer_to_server(self, self.server)
        self.port = self.server.add_insecure_port("127.0.0.1:0")

    def Export(self, request, context):  # noqa: N802  (the service's own name)
        self.metadata |= dict(context.invocation_metadata())
        self.names += [span.name for part in request.resource_spans for scope in part.scope_spans
                       for span in scope.spans]
        return trace_service_pb2.ExportTraceServiceResponse()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    receiver.server.start()
    yield receiver
    receiver.server.stop(None)


def test_spans_arrive_over_grpc(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the headers that the standard variables name."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{receiver.port}")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "api-key=secret")
    send = open_exporter()
    assert send is not None
    span = SpanTemplate("POST /predict", SERVER, {}, error=False).encode(b"t" * 16, b"s" * 8, b"", 1, 2, b"")
    assert send(request_body(envelope({}, "1"), [span, span]))
    assert receiver.names == ["POST /predict"] * 2
    assert receiver.metadata["api-key"] == "secret"


def test_a_receiver_that_is_gone_is_a_failure(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    """Said by the return value, not by an exception."""
    receiver.server.stop(None).wait()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{receiver.port}")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    send = open_exporter()
    assert send is not None
    assert send(request_body(envelope({}, "1"), [])) is False
