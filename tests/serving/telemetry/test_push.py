"""Metrics over OTLP: what the boards count, as a receiver sees it, and nothing in anybody's way."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from serinus.serving.board import Board, Labels
from serinus.serving.telemetry.metrics import collect
from serinus.serving.telemetry.push import MetricsPush
from tests.serving.telemetry.receivers import Receiver

OK = Labels("wine", "1", "stable", "/predict/{model}", "POST", 200, "")
TRACE = 0x4BF92F3577B34DA6A3CE929D0E0E4736


@pytest.fixture
def board(tmp_path: Path) -> Board:
    made = Board(tmp_path)
    made.count(made.base(OK), 1_500_000, 3, 200_000)
    made.exemplify(made.base(OK), TRACE, 7, 1_500_000, time.time_ns())
    return made


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_counts_arrive_under_opentelemetrys_names(board: Board, protocol: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Histograms with their bounds, unit and exemplar, counters as monotonic sums; once more at the end."""
    with Receiver(protocol) as receiver:
        for name, value in (receiver.environ | {"OTEL_METRIC_EXPORT_INTERVAL": "60000"}).items():
            monkeypatch.setenv(name, value)
        MetricsPush({"service.name": "wine"}, lambda: collect(board.path.parent)).close()
    found = {metric.name: metric for metric in receiver.metrics}
    duration = found["http.server.request.duration"]
    (point,) = duration.histogram.data_points
    assert (duration.unit, point.count, point.sum) == ("s", 1, 0.0015)
    assert (len(point.bucket_counts), point.bucket_counts[2], list(point.explicit_bounds)[2]) == (18, 1, 0.0025)
    assert not point.HasField("min")
    assert point.exemplars[0].trace_id.hex() == f"{TRACE:032x}"
    assert {field.key: field.value.string_value for field in point.attributes} == {
        "http.request.method": "POST", "http.route": "/predict/{model}", "http.response.status_code": "200",
        "serinus.model.name": "wine", "serinus.model.version": "1", "serinus.role": "stable"}
    rows = found["serinus.rows"]
    assert rows.sum.is_monotonic and rows.sum.data_points[0].as_int == 3
    (resource,) = [part.resource for part in receiver.requests[0].resource_metrics]
    assert {field.key: field.value.string_value for field in resource.attributes}["service.name"] == "wine"


def test_they_are_sent_again_and_again(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the standard variable's interval, with what was counted meanwhile."""
    with Receiver("http/protobuf") as receiver:
        for name, value in (receiver.environ | {"OTEL_METRIC_EXPORT_INTERVAL": "30"}).items():
            monkeypatch.setenv(name, value)
        push = MetricsPush({}, lambda: collect(board.path.parent))
        time.sleep(0.1)
        board.count(board.base(OK), 1_500_000, 4, 200_000)
        push.close()
    rows = [metric.sum.data_points[0].as_int for metric in receiver.metrics if metric.name == "serinus.rows"]
    assert len(rows) > 2 and (rows[0], rows[-1]) == (3, 7)


def test_a_dead_collector_holds_nothing_up(board: Board, monkeypatch: pytest.MonkeyPatch,
                                           caplog: pytest.LogCaptureFixture) -> None:
    """One line about the outage, and an end within seconds."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("OTEL_METRIC_EXPORT_INTERVAL", "20")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    push = MetricsPush({}, lambda: collect(board.path.parent))
    time.sleep(2.5)
    started = time.monotonic()
    push.close()
    assert time.monotonic() - started < 4
    assert len([record for record in caplog.records if "does not take metrics" in record.message]) == 1


def test_without_an_endpoint_there_is_no_thread(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    """And nothing to wait for."""
    for name in ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    push = MetricsPush({}, lambda: collect(board.path.parent))
    assert push._thread is None
    push.close()
