"""A collector that dies, hangs or dawdles costs spans at most: no answer, no flood of lines, no long shutdown."""

from __future__ import annotations

import signal
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.integration.client import Answer, Client, Crowd
from tests.integration.collector_process import CollectorProcess
from tests.integration.conftest import Start
from tests.integration.server import Server, eventually, metric
from tests.integration.zoo import CREDIT_ROWS
from tests.serving.telemetry.receivers import Receiver

PROTOCOLS = ["http/protobuf", "grpc"]
BRIEFLY = ["http/protobuf", pytest.param("grpc", marks=pytest.mark.slow)]
"""What is above the protocol is the same for both; each takes a quarter of a minute."""
DRAIN_S = 3
OUTAGE, RECOVERY = "does not take spans; answers are not affected", "takes spans again"
CLIENTS = 8
PAUSE_S = 0.03
NOISE_S = 1.0
UNHURRIED = {"OTEL_BSP_SCHEDULE_DELAY": "60000", "OTEL_BLRP_SCHEDULE_DELAY": "60000",
             "OTEL_METRIC_EXPORT_INTERVAL": "60000"}


@pytest.fixture
def port() -> int:
    """A free one."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        found: int = probe.getsockname()[1]
    return found


@pytest.fixture
def black_hole() -> Iterator[int]:
    """The port of somebody who takes connections and never answers."""
    with socket.socket() as hole:
        hole.bind(("127.0.0.1", 0))
        hole.listen(100)
        yield hole.getsockname()[1]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_collector_dies_under_load_and_comes_back(
        home: Path, start: Start, tmp_path: Path, port: int, protocol: str) -> None:
    """Every request is answered; each is traced or its spans are counted as lost; each worker says one line when the
    outage begins and one when it is over, and spans flow again."""
    with CollectorProcess(tmp_path, protocol, port) as collector:
        server = start(home, environ=collector.environ | {"OTEL_BSP_SCHEDULE_DELAY": "100"})
        with _load(server) as crowd:
            crowd.wait_for(200)
            collector.kill()
            eventually(lambda: server.output().count(OUTAGE) == 2, 30, server.output)
            crowd.wait_for(200)
            collector.start()
            eventually(lambda: server.output().count(RECOVERY) == 2, 60, server.output)
            crowd.wait_for(100)
        answers = [exchange.answer for exchange in crowd.exchanges]
        assert {answer.status if answer else 0 for answer in answers} == {200}
        last = _ask(server)
        collector.wait_for(_trace_id(last))
        asked = {_trace_id(answer) for answer in answers if answer}
        # What the other worker had waiting may come a little later.
        eventually(lambda: _dropped(server) >= 2 * len(asked - set(collector.traces())), 20)
        assert asked - set(collector.traces())
    lines = [line for line in server.output().splitlines() if "WARNING" in line or "ERROR" in line]
    assert [line for line in lines if OUTAGE not in line and RECOVERY not in line] == []
    assert len(lines) == 4


@pytest.mark.parametrize("protocol", BRIEFLY)
def test_a_collector_that_never_answers(home: Path, start: Start, black_hole: int, protocol: str) -> None:
    """All signals fall into a black hole: all is answered, the loss is counted, and SIGTERM ends it in time."""
    server = start(home, environ=_all_signals(black_hole, protocol))
    with _load(server) as crowd:
        eventually(lambda: _dropped(server) > 0, 30)
        crowd.wait_for(100)
    assert {exchange.answer.status if exchange.answer else 0 for exchange in crowd.exchanges} == {200}
    _end_in_time(server)


@pytest.mark.parametrize("protocol", BRIEFLY)
def test_nobody_listens(home: Path, start: Start, port: int, protocol: str) -> None:
    """Refused connections delay the end no longer than a black hole does."""
    server = start(home, environ=_all_signals(port, protocol))
    assert _ask(server).status == 200
    eventually(lambda: _dropped(server) > 0, 30)
    _end_in_time(server)


@pytest.mark.parametrize("protocol", BRIEFLY)
def test_a_black_hole_that_nobody_has_met_yet(home: Path, start: Start, black_hole: int, protocol: str) -> None:
    """The worst case: every first export is tried as the server ends. All processes together wait for three seconds."""
    bare = _time_to_end(start(home))
    patient = _time_to_end(start(home, environ=_all_signals(black_hole, protocol) | UNHURRIED))
    print(f"\nended after {bare:.2f} s without, {patient:.2f} s with a black hole")
    assert patient - bare < 3 + NOISE_S


def test_a_slow_collector_loses_nothing(home: Path, start: Start) -> None:
    """One that takes a second for each batch gets every span, and holds up no answer."""
    with Receiver("http/protobuf", delay_s=1.0) as receiver:
        server = start(home, environ=receiver.environ | {"OTEL_BSP_SCHEDULE_DELAY": "100"})
        with _load(server) as crowd:
            crowd.wait_for(400)
        answers = crowd.answers()
        assert len(answers) == len(crowd.exchanges) and {answer.status for answer in answers} == {200}
        wanted = {_trace_id(answer) for answer in answers}
        eventually(lambda: {span.trace_id.hex() for span in receiver.spans} == wanted, 30)
        assert _dropped(server) == 0


def _all_signals(port: int, protocol: str) -> dict[str, str]:
    return {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}", "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
            "OTEL_LOGS_EXPORTER": "otlp", "OTEL_BSP_SCHEDULE_DELAY": "100", "OTEL_BLRP_SCHEDULE_DELAY": "100",
            "OTEL_METRIC_EXPORT_INTERVAL": "500", "SERINUS_SERVER_DRAIN_SECONDS": str(DRAIN_S)}


def _load(server: Server) -> Crowd:
    """Closed-loop clients, as many at each worker."""
    with ExitStack() as stack:
        clients: list[Client] = [client for few in server.clients_of_each_worker(CLIENTS // 2).values()
                                 for client in few]
        for client in clients:
            stack.callback(client.close)
        crowd = Crowd(clients, lambda client, _: client.post("/predict/credit", CREDIT_ROWS), PAUSE_S)
        stack.pop_all()
    return crowd


def _ask(server: Server) -> Answer:
    with server.client() as client:
        return client.post("/predict/credit", CREDIT_ROWS)


def _dropped(server: Server) -> float:
    with server.client() as client:
        return metric(client.get("/metrics").body.decode(), "serinus_spans_dropped_total")


def _time_to_end(server: Server) -> float:
    """Seconds from SIGTERM to the end of a server that has answered a request."""
    assert _ask(server).status == 200
    began = time.monotonic()
    assert server.stop(signal.SIGTERM, timeout=30) == 0
    return time.monotonic() - began


def _end_in_time(server: Server) -> None:
    """Within the time to drain and three seconds more."""
    began = time.monotonic()
    assert server.stop(signal.SIGTERM, timeout=30) == 0
    took = time.monotonic() - began
    print(f"\nended after {took:.2f} s")
    assert took < DRAIN_S + 3
    assert "Traceback" not in server.output()


def _trace_id(answer: Answer) -> str:
    return answer.headers["traceparent"].split("-")[1]
