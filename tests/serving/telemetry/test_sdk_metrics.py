"""With a user's own MeterProvider: the same metrics, by their readers and exporters."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import orjson
import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from serinus.serving.board import Board, Labels
from serinus.serving.telemetry import SpanContextIds, names
from serinus.serving.telemetry.metrics import BOUNDS, Histogram, collect
from serinus.serving.telemetry.sdk_metrics import SdkHistograms, SdkMetrics
from tests.serving.telemetry.test_page import filled

ROOT = Path(__file__).parents[3]
OK = Labels("wine", "1", "stable", "/predict", "POST", 200, "")
REFUSED = Labels("", "", "", "/predict", "POST", 400, "invalid_request")

# A program that has set up its own metrics before it serves; prints what its reader saw, and /metrics.
USERS_PROGRAM = """
import asyncio, sys
import httpx
from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider

reader = InMemoryMetricReader()
provider = MeterProvider([reader])
metrics.set_meter_provider(provider)
if sys.argv[1] == "traces":
    trace.set_tracer_provider(TracerProvider())

from serinus.serving import create_app
from tests.serving.asgi import ROW, people_model

async def main():
    app = create_app({"people": people_model()})
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://app") as client:
        for row in (ROW, ROW, {"age": "old"}):
            await client.post("/predict", json={"rows": [row] * 3})
        page = (await client.get("/metrics")).text
    assert metrics.get_meter_provider() is provider
    print(reader.get_metrics_data().to_json(indent=None))
    app.close()
    print(reader.get_metrics_data().to_json(indent=None))
    print(page)

asyncio.run(main())
"""


def read(reader: InMemoryMetricReader) -> dict[str, Any]:
    """The metrics by name."""
    found = reader.get_metrics_data()
    assert found is not None
    ((scope,),) = [resource.scope_metrics for resource in found.resource_metrics]
    assert scope.scope.name == names.SCOPE
    return {metric.name: metric for metric in scope.metrics}


def test_what_the_boards_count_is_observed(tmp_path: Path) -> None:
    """Every counter and gauge, with the values, units and attributes that /metrics has."""
    reader = InMemoryMetricReader()
    boards = filled(tmp_path)

    def gather() -> list[Any]:
        return collect(boards, tmp_path / "snapshot.json", 1.0)

    told = SdkMetrics(MeterProvider([reader]), gather)
    found = read(reader)
    expected = {family.name: family for family in gather() if family.instrument.kind != "histogram"}
    assert found.keys() == expected.keys()
    for name, metric in found.items():
        assert (metric.unit, metric.description) == expected[name].instrument[1:]
        assert hasattr(metric.data, "is_monotonic") == (expected[name].instrument.kind == "counter")
        seen = {frozenset(point.attributes.items()): point.value for point in metric.data.data_points}
        counted = {frozenset(point.attributes.items()): point.value for point in expected[name].points}
        assert seen == pytest.approx(counted, rel=0.5)  # CPU time and memory go on changing
    told.freeze()


def test_counters_stay_and_gauges_end(tmp_path: Path) -> None:
    """After the end nothing falls back to zero, and nothing that has gone is measured."""
    reader, board = InMemoryMetricReader(), Board(tmp_path)
    told = SdkMetrics(MeterProvider([reader]), lambda: collect(tmp_path))
    board.log_counts(3, 300)
    board.beat(ready=True, generation=1)
    told.freeze()
    board.close()
    board.path.unlink()
    found = read(reader)
    assert [point.value for point in found["serinus.log.frames"].data.data_points] == [3]
    assert "serinus.workers" not in found


def test_a_request_is_recorded_with_its_trace() -> None:
    """In the buckets that /metrics has, with exemplars; a request that reached no model has no time of one."""
    reader = InMemoryMetricReader()
    histograms = SdkHistograms(MeterProvider([reader]))
    ids = SpanContextIds(0x4BF92F3577B34DA6A3CE929D0E0E4736, 7, 0, sampled=True)
    histograms.record(OK, ids, 3_000_000, 600_000)
    histograms.record_shared(OK, ids, 200_000, 12)
    histograms.record(REFUSED, None, 90_000, -1)
    found = read(reader)
    assert found.keys() == BOUNDS.keys()
    for name, (value, bucket) in {"http.server.request.duration": (0.003, 3), "serinus.predict.duration": (0.0006, 1),
                                  "serinus.queue.duration": (0.0002, 1), "serinus.batch.rows": (12, 4)}.items():
        (point,) = [point for point in found[name].data.data_points if names.MODEL_NAME in point.attributes]
        assert (found[name].unit, tuple(point.explicit_bounds)) == (names.METRICS[name].unit, BOUNDS[name])
        assert (point.sum, point.bucket_counts[bucket], point.count) == (pytest.approx(value), 1, 1)
        (exemplar,) = point.exemplars
        assert (exemplar.trace_id, exemplar.span_id) == (ids.trace_id, ids.span_id)


@pytest.mark.parametrize("traces", ["traces", "no traces"])
def test_a_users_program_finds_our_metrics_in_its_reader(traces: str) -> None:
    """All that was counted and timed; and the same requests at /metrics as before."""
    done = subprocess.run([sys.executable, "-c", USERS_PROGRAM, traces], cwd=ROOT, text=True, capture_output=True,
                          timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    before, after, page = done.stdout.split("\n", 2)
    for text in (before, after):
        metrics = {metric["name"]: metric["data"]["data_points"]
                   for metric in orjson.loads(text)["resource_metrics"][0]["scope_metrics"][0]["metrics"]}
        requests = {point["attributes"]["http.response.status_code"]: point
                    for point in metrics["http.server.request.duration"]}
        assert {status: point["count"] for status, point in requests.items()} == {"200": 2, "422": 1}
        assert all(point["exemplars"] for point in requests.values()) is (text is before)  # told once
        assert [point["count"] for point in metrics["serinus.predict.duration"]] == [2]
        assert [point["value"] for point in metrics["serinus.rows"]] == [6]
    assert "serinus_predict_duration_seconds_count" in page and "serinus_rows_total" in page


def test_histograms_are_those_that_a_request_adds_to(tmp_path: Path) -> None:
    """With the same bounds as the boards'; a value for each row is left to /metrics."""
    collected = {family.name: family.points[0].value for family in collect(filled(tmp_path))
                 if family.instrument.kind == "histogram"}
    assert collected.keys() - BOUNDS.keys() == {"serinus.prediction.value"}
    for name, bounds in BOUNDS.items():
        histogram = collected[name]
        assert isinstance(histogram, Histogram) and histogram.bounds == bounds
