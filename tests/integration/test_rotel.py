"""A real collector between a server and its backend: rotel takes all signals over both protocols and hands them on."""

from __future__ import annotations

import ctypes.util
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from serinus.serving.telemetry import names
from tests.integration.collector import attributes
from tests.integration.conftest import Start
from tests.integration.programs import free_port, missing, running, venv
from tests.integration.server import eventually
from tests.integration.zoo import CREDIT_ROWS
from tests.serving.telemetry.receivers import Receiver

ROTEL = "rotel==0.0.1a15"


class Rotel(NamedTuple):
    """The ports it listens on, and what stands behind it."""

    http: int
    grpc: int
    sink: Receiver


@pytest.fixture(scope="module")
def agent() -> str:
    """The path of rotel's program."""
    found = next(iter(venv("rotel", ROTEL).parent.glob("lib/python*/site-packages/rotel/rotel-agent")), None)
    if found is None:
        missing(f"{ROTEL} has no rotel-agent for this machine")
    if subprocess.run([str(found), "--help"], capture_output=True).returncode:
        missing(f"rotel-agent does not start (its library: {ctypes.util.find_library('python3.11')}): "
                "apt-get install libpython3.11")
    return str(found)


@pytest.fixture(params=["http", "grpc"])
def rotel(agent: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Rotel]:
    """A collector that hands on by one of the protocols as soon as something comes."""
    http, grpc = free_port(), free_port()
    with Receiver("grpc" if request.param == "grpc" else "http/protobuf") as sink:
        behind = f"http://127.0.0.1:{sink.port}"
        command = [agent, "start", "--pid-file", str(tmp_path / "rotel.pid"), "--log-file", str(tmp_path / "rotel.log"),
                   "--otlp-http-endpoint", f"127.0.0.1:{http}", "--otlp-grpc-endpoint", f"127.0.0.1:{grpc}",
                   "--batch-timeout", "100ms", "--exporter", "otlp", "--otlp-exporter-protocol", request.param,
                   "--otlp-exporter-endpoint", behind]
        with running(command, tmp_path, [http, grpc]):
            yield Rotel(http, grpc, sink)


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_all_signals_pass_through(home: Path, start: Start, rotel: Rotel, protocol: str) -> None:
    """Every trace, the exact count, and an event; each under the server's own names."""
    port = rotel.grpc if protocol == "grpc" else rotel.http
    server = start(home, environ={
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}", "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
        "OTEL_LOGS_EXPORTER": "otlp", "OTEL_BSP_SCHEDULE_DELAY": "100", "OTEL_BLRP_SCHEDULE_DELAY": "100",
        "OTEL_METRIC_EXPORT_INTERVAL": "500"})
    with server.client() as client:
        answers = [client.post("/predict/credit", CREDIT_ROWS) for _ in range(30)]
        assert client.post("/api/rollouts/credit/start", {"version": "2", "steps": "50"}).status == 202
    wanted = {answer.headers["traceparent"].split("-")[1] for answer in answers}
    eventually(lambda: {span.trace_id.hex() for span in rotel.sink.spans} == wanted, 15)
    assert {span.name for span in rotel.sink.spans} >= {"POST /predict/{model}", "predict credit"}
    eventually(lambda: [metric for metric in rotel.sink.metrics if metric.name == "http.server.request.duration"
                        and sum(point.count for point in metric.histogram.data_points) == 30], 15)
    (event,) = eventually(lambda: [line for line in rotel.sink.log_records
                                   if line.event_name == f"{names.ROLLOUT_EVENTS}.start"], 15)
    assert attributes(event)[names.MODEL_NAME] == "credit"
    assert "credit" in event.body.string_value
