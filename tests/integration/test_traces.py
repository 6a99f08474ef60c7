"""Every request leaves its spans, over both workers and over a shutdown."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from tests.integration.client import Answer, Client
from tests.integration.collector import Collector, attributes
from tests.integration.conftest import Start
from tests.integration.server import Server, eventually
from tests.integration.zoo import CREDIT_INFER, CREDIT_ROWS, IRIS_INFER

TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e{:04x}"
PARENT_ID = "00f067aa0ba9{:04x}"


@pytest.fixture
def collector() -> Iterator[Collector]:
    """An OTLP receiver."""
    with Collector() as running:
        yield running


@pytest.fixture
def traced(home: Path, start: Start, collector: Collector) -> Server:
    """A server that sends its spans to the collector."""
    return start(home, environ=collector.environ)


def predicts(collector: Collector) -> list[Span]:
    """The `predict` children; a few requests, as slow ones, also tell their other stages."""
    return [span for span in collector.of_kind(Span.SPAN_KIND_INTERNAL) if span.name.startswith("predict ")]


def test_every_request_leaves_one_server_span_and_one_predict_child(traced: Server, collector: Collector) -> None:
    """Over both workers: as many SERVER spans as requests, each with its child, its caller and its answer's facts."""
    answers: dict[str, Answer] = {}
    models: dict[str, str] = {}
    parents: dict[str, str] = {}
    for index, client in enumerate(client for pair in traced.clients_of_each_worker(2).values() for client in pair):
        for turn in range(25):
            trace_id = TRACE_ID.format(100 * index + turn)
            parents[trace_id] = PARENT_ID.format(turn + 1)
            answers[trace_id] = _ask(client, turn, {"traceparent": f"00-{trace_id}-{parents[trace_id]}-01"})
            models[trace_id] = _ASKS[turn % 3][0]
        client.close()
    eventually(lambda: len(collector.of_kind(Span.SPAN_KIND_SERVER)) == 100)
    servers = {span.trace_id.hex(): span for span in collector.of_kind(Span.SPAN_KIND_SERVER)}
    children = {span.trace_id.hex(): span for span in predicts(collector)}
    assert (len(servers), len(predicts(collector))) == (100, 100)
    assert answers.keys() == servers.keys() == children.keys()
    for trace_id, answer in answers.items():
        span, child = servers[trace_id], children[trace_id]
        facts = attributes(span)
        assert span.parent_span_id.hex() == parents[trace_id]
        assert answer.headers["traceparent"].split("-")[1:3] == [trace_id, span.span_id.hex()]
        assert answer.headers["x-request-id"] == facts["serinus.request.id"]
        assert facts["http.response.status_code"] == 200
        assert child.parent_span_id == span.span_id
        assert child.name == f"predict {models[trace_id]}"
        assert span.start_time_unix_nano <= child.start_time_unix_nano <= child.end_time_unix_nano
        for one in (facts, attributes(child)):
            assert one["serinus.model.name"] == models[trace_id]
            assert one["serinus.model.version"] == "1"
            assert one["serinus.role"] == "stable"


def test_a_shutdown_loses_no_span(home: Path, start: Start, collector: Collector) -> None:
    """With a minute between exports, SIGTERM alone brings every span of both workers out, refused requests included.

    A 422 is the caller's mistake: `error.type` says what, the span's status stays unset, and its only child is the
    stage that refused it.
    """
    server = start(home, environ={**collector.environ, "OTEL_BSP_SCHEDULE_DELAY": "60000"})
    clients = [client for pair in server.clients_of_each_worker(2).values() for client in pair]
    for turn in range(200):
        assert _ask(clients[turn % 4], turn, {}).status == 200
    refused = [clients[turn % 4].post("/predict/credit", {"rows": [{"age": "old"}]}) for turn in range(20)]
    assert [answer.status for answer in refused] == [422] * 20
    for client in clients:
        client.close()
    assert server.stop(signal.SIGTERM) == 0
    assert len(collector.of_kind(Span.SPAN_KIND_SERVER)) == 220
    assert len(predicts(collector)) == 200
    failed = [span.name for span in collector.of_kind(Span.SPAN_KIND_INTERNAL) if attributes(span).get("error.type")]
    assert failed == ["parse"] * 20
    facts = {attributes(span)["serinus.request.id"]: (attributes(span).get("error.type"), span.status.code)
             for span in collector.of_kind(Span.SPAN_KIND_SERVER)}
    for answer in refused:
        assert facts[answer.headers["x-request-id"]] == ("invalid_input", Status.STATUS_CODE_UNSET)
    assert len([kind for kind, _ in facts.values() if kind]) == 20


def test_a_dead_backend_costs_no_answer_and_no_long_shutdown(home: Path, start: Start) -> None:
    """Nobody listens where the spans should go: answers stay 200, the loss is counted, the end takes a few seconds."""
    nowhere = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_BSP_SCHEDULE_DELAY": "200"}
    server = start(home, environ=nowhere)
    with server.client() as client:
        assert [_ask(client, turn, {}).status for turn in range(30)] == [200] * 30
    assert server.stop(timeout=10) == 0
    assert "does not take spans; answers are not affected" in server.output()
    assert "Traceback" not in server.output()


_ASKS = [("credit", "/predict/credit", CREDIT_ROWS), ("credit", "/v2/models/credit/infer", CREDIT_INFER),
         ("iris", "/v2/models/iris/infer", IRIS_INFER)]


def _ask(client: Client, turn: int, headers: dict[str, str]) -> Answer:
    _, path, document = _ASKS[turn % 3]
    return client.post(path, document, headers)
