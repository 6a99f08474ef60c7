"""Collectors that answer, refuse, hang, say no, or speak something else."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import grpc
import pytest

from serinus.serving.telemetry.probe import probe
from serinus.serving.telemetry.variables import SIGNALS, Signal, destination
from tests.serving.telemetry.receivers import Receiver

PROTOCOLS = ("http/protobuf", "grpc")


@pytest.fixture(autouse=True)
def environ() -> Iterator[None]:
    """No variable of OpenTelemetry's at first; what is set goes with the test."""
    before = dict(os.environ)
    for name in [name for name in before if name.startswith(("OTEL_", "SERINUS_TELEMETRY"))]:
        del os.environ[name]
    yield
    os.environ.clear()  # the exporters hold on to this very object
    os.environ.update(before)


def ask(signal: Signal, port: int, protocol: str, host: str = "127.0.0.1", timeout_s: float = 2.0) -> str:
    os.environ |= {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{host}:{port}", "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
                   "OTEL_LOGS_EXPORTER": "otlp"}
    return probe(signal, destination(signal), timeout_s)


@contextlib.contextmanager
def silent() -> Iterator[int]:
    """A port that takes connections and says nothing."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield listening.getsockname()[1]


@contextlib.contextmanager
def answering(status: int, wanted: str = "") -> Iterator[int]:
    """A web server that answers with a status, or 401 without the wanted authorization."""
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            allowed = wanted in self.headers.get("Authorization", "") + self.headers.get("x-key", "")
            self.send_response(status if allowed else 401)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("signal", SIGNALS)
def test_a_receiver_takes_an_empty_request(signal: Signal, protocol: str) -> None:
    """OpenTelemetry's own classes decode it, and find nothing in it."""
    with Receiver(protocol) as receiver:
        assert ask(signal, receiver.port, protocol) == ""
        (request,) = receiver.requests
    assert request == type(request)()


def test_spans_go_to_their_own_path() -> None:
    """The general variable names the beginning of the address, the signal's own all of it."""
    with answering(200) as port:
        assert ask("traces", port, "http/protobuf") == ""
        os.environ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"] = f"http://127.0.0.1:{port}/anything"
        assert probe("traces", destination("traces")) == ""


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_port_where_nobody_listens(protocol: str) -> None:
    """Is told at once."""
    with silent() as port:
        pass
    assert ask("traces", port, protocol) == "nobody listens there (connection refused)"


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_black_hole_is_left_after_a_moment(protocol: str) -> None:
    """A connection is not an answer."""
    with silent() as port:
        began = time.monotonic()
        assert ask("metrics", port, protocol, timeout_s=0.5) == "it did not answer within 0.5 s"
        assert time.monotonic() - began < 5


def test_a_status_is_told() -> None:
    """A backend may take other signals and not this one."""
    with answering(405) as port:
        assert ask("metrics", port, "http/protobuf") == "it answered 405 Method Not Allowed"


def test_a_service_that_grpc_does_not_have() -> None:
    """A backend may take other signals and not this one, here too."""
    server = grpc.server(ThreadPoolExecutor(1))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    assert ask("metrics", port, "grpc").startswith("it answered UNIMPLEMENTED")
    server.stop(None)


def test_a_grpc_port_asked_over_http() -> None:
    """The commonest mistake has its remedy."""
    with Receiver("grpc") as receiver:
        assert "wants the protocol grpc" in ask("metrics", receiver.port, "http/protobuf")


@pytest.mark.parametrize(("host", "headers", "wanted"), [
    ("127.0.0.1", "x-key=abc", "abc"), ("127.0.0.1", "authorization=Bearer%20t", "Bearer t"),
    ("me:p%40ss@127.0.0.1", "", "Basic bWU6cEBzcw==")])
def test_credentials_are_sent(host: str, headers: str, wanted: str) -> None:
    """From the headers' variable, or from the address."""
    os.environ["OTEL_EXPORTER_OTLP_HEADERS"] = headers
    with answering(200, wanted) as port:
        assert ask("traces", port, "http/protobuf", host) == ""
        os.environ.pop("OTEL_EXPORTER_OTLP_HEADERS")
        assert ask("traces", port, "http/protobuf") == "it answered 401 Unauthorized"


@pytest.mark.parametrize("name", ["CERTIFICATE", "CLIENT_CERTIFICATE"])
def test_a_certificate_that_is_not_there(name: str) -> None:
    """Is a sentence, not a stack trace."""
    os.environ[f"OTEL_EXPORTER_OTLP_{name}"] = "/nowhere.pem"
    assert "No such file" in ask("traces", 9, "http/protobuf")
