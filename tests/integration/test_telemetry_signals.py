"""Spans, metrics, log lines and events of real requests arrive, over both of OTLP's protocols."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from serinus import __version__
from serinus.models import register
from serinus.serving.telemetry import names
from tests.integration.client import Answer
from tests.integration.collector import Collector, attributes
from tests.integration.conftest import Start
from tests.integration.rollouts import start_rollout
from tests.integration.server import Server, eventually, metric
from tests.integration.zoo import CREDIT_ROWS
from tests.serving.telemetry.receivers import Receiver

PROMPTLY = {"OTEL_LOGS_EXPORTER": "otlp", "OTEL_BSP_SCHEDULE_DELAY": "200", "OTEL_BLRP_SCHEDULE_DELAY": "200",
            "OTEL_METRIC_EXPORT_INTERVAL": "500"}
SELDOM = {"OTEL_LOGS_EXPORTER": "otlp", "OTEL_BSP_SCHEDULE_DELAY": "60000", "OTEL_BLRP_SCHEDULE_DELAY": "60000",
          "OTEL_METRIC_EXPORT_INTERVAL": "60000"}
SOMETIMES = {"serinus.queue.duration", "serinus.batch.rows", "serinus.violations", "serinus.cost.per_thousand_rows",
             "serinus.rollout.weight", "serinus.alerts", "serinus.notifications", "serinus.prediction.value",
             "serinus.model.memory", "serinus.referrals", "serinus.rounded", "serinus.signals", "process.cpu.time",
             "process.memory.usage",
             *(name for name in names.METRICS if name.startswith((
                 "serinus.shadow.", "serinus.performance.", "serinus.outcome.", "serinus.events.")))}
"""Metrics that may have no points: of shared calls, truths, violations, prices, rollouts, alerts, regressors, living
workers, referrals, rounding, signals, shadows, events."""


@pytest.fixture(params=["http/protobuf", "grpc"])
def receiver(request: pytest.FixtureRequest) -> Iterator[Receiver]:
    """Somebody who takes all signals over one of the protocols."""
    with Receiver(request.param) as running:
        yield running


@pytest.fixture
def fragile_home(home: Path, user_code: None) -> Path:
    """A home with a model in it that raises on a negative number."""
    from fragile import Fragile

    register(Fragile().fit([[0.0]]), "fragile", home=home)
    return home


def test_all_signals_of_a_request_arrive(fragile_home: Path, start: Start, receiver: Receiver) -> None:
    """Under the names of `names.py`, from processes that can be told apart, joined by the answer's trace id."""
    server = start(fragile_home, environ=receiver.environ | PROMPTLY | {"OTEL_SERVICE_NAME": "canary-house"})
    answers = _ask_each_worker(server, 10)
    broken = _break(server)
    started = start_rollout(server, "credit", "2", "50")
    _assert_spans(receiver, answers, broken)
    eventually(lambda: _exported(server) == len(receiver.spans))
    _assert_metrics(receiver, requests=len(answers) + 1)
    (line,) = eventually(lambda: [line for line in receiver.log_records if "raised during predict" in _body(line)])
    assert (line.severity_text, line.trace_id.hex()) == ("ERROR", _trace_id(broken))
    assert attributes(line)["exception.type"] == "RuntimeError"
    (event,) = eventually(lambda: [line for line in receiver.log_records
                                   if line.event_name == f"{names.ROLLOUT_EVENTS}.start"])
    assert attributes(event).items() >= {names.MODEL_NAME: "credit", names.ACTOR: "tester"}.items()
    assert started["candidate"] == "2" and "credit" in _body(event)
    _assert_resources(receiver)


def test_a_shutdown_loses_none_of_the_signals(fragile_home: Path, start: Start, receiver: Receiver) -> None:
    """With a minute between exports, SIGTERM alone brings out spans, the last counts and the log lines of workers."""
    server = start(fragile_home, environ=receiver.environ | SELDOM)
    answers = _ask_each_worker(server, 10)
    broken = _break(server)
    assert receiver.requests == []
    assert server.stop(signal.SIGTERM) == 0
    _assert_spans(receiver, answers, broken)
    _assert_metrics(receiver, requests=len(answers) + 1)
    (line,) = [line for line in receiver.log_records if "raised during predict" in _body(line)]
    assert line.trace_id.hex() == _trace_id(broken)


def test_another_projects_receiver_takes_them_too(fragile_home: Path, start: Start) -> None:
    """oteltap, which shares no code with the exporters: a span, a metric and a log line."""
    with Collector() as collector:
        server = start(fragile_home, environ=collector.environ | PROMPTLY)
        broken = _break(server)
        eventually(lambda: [span for span in collector.spans if span.trace_id.hex() == _trace_id(broken)])
        eventually(lambda: [line for line in collector.lines if line.trace_id.hex() == _trace_id(broken)])
        eventually(lambda: [one for one in collector.metrics if one.name == "http.server.request.duration"
                            and one.histogram.data_points[0].count == 1])


def _ask_each_worker(server: Server, number: int) -> list[Answer]:
    answers = []
    for (client,) in server.clients_of_each_worker().values():
        answers += [client.post("/predict/credit", CREDIT_ROWS) for _ in range(number)]
        client.close()
    assert {answer.status for answer in answers} == {200}
    return answers


def _break(server: Server) -> Answer:
    with server.client() as client:
        answer = client.post("/predict/fragile", {"rows": [[-1.0]]})
    assert answer.status == 500
    return answer


def _exported(server: Server) -> float:
    with server.client() as client:
        return metric(client.get("/metrics").body.decode(), "serinus_spans_exported_total")


def _assert_spans(receiver: Receiver, answers: list[Answer], broken: Answer) -> None:
    wanted = {_trace_id(answer) for answer in [*answers, broken]}
    eventually(lambda: {span.trace_id.hex() for span in receiver.spans} == wanted)
    servers = {span.trace_id.hex(): span for span in receiver.spans if span.kind == Span.SPAN_KIND_SERVER}
    children = [span for span in receiver.spans if span.name.startswith("predict ")]
    assert len(wanted) == len(servers) == len(children) == len(answers) + 1
    assert {span.name for span in servers.values()} == {"POST /predict/{model}"}
    failed = attributes(servers[_trace_id(broken)])
    assert (failed[names.HTTP_STATUS], failed[names.ERROR_TYPE]) == (500, "prediction_failed")


def _assert_metrics(receiver: Receiver, requests: int) -> None:
    def latest() -> dict[str, Any]:
        return {metric.name: metric for metric in receiver.metrics}

    def count() -> int:
        metric = latest().get("http.server.request.duration")
        return sum(point.count for point in metric.histogram.data_points) if metric else 0

    eventually(lambda: count() == requests, why=lambda: f"{count()} requests instead of {requests}")
    eventually(lambda: latest().keys() >= names.METRICS.keys() - SOMETIMES)
    assert {name: metric.unit for name, metric in latest().items()} == {
        name: names.METRICS[name].unit for name in latest()}


def _assert_resources(receiver: Receiver) -> None:
    """The same service everywhere; an instance for each worker, which speaks by spans and log lines, and one for the
    steward, which speaks by metrics and events."""
    eventually(lambda: len(_instances(receiver, "resource_spans")) == 2)
    workers, (steward,) = _instances(receiver, "resource_spans"), _instances(receiver, "resource_metrics")
    assert steward not in workers
    assert steward in _instances(receiver, "resource_logs") <= workers | {steward}
    for kind in ("resource_spans", "resource_logs", "resource_metrics"):
        for facts in _resources(receiver, kind):
            assert (facts[names.SERVICE_NAME], facts[names.SERVICE_VERSION]) == ("canary-house", __version__)


def _resources(receiver: Receiver, kind: str) -> list[dict[str, Any]]:
    return [attributes(part.resource) for request in receiver.requests for part in getattr(request, kind, ())]


def _instances(receiver: Receiver, kind: str) -> set[str]:
    return {facts[names.SERVICE_INSTANCE] for facts in _resources(receiver, kind)}


def _body(line: Any) -> str:
    return str(line.body.string_value)


def _trace_id(answer: Answer) -> str:
    return answer.headers["traceparent"].split("-")[1]
