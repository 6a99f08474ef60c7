"""A receiver of messages that takes them, refuses them, hangs, drips, or is not there, as it is told."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple, Self

import pytest


class Received(NamedTuple):
    """One request as it came."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body's JSON document."""
        return json.loads(self.body)


class Receiver:
    """Listens on one port for all its life; `die` and `live` end and begin its answering there.

    `behaviour` is a status, or "hang", "drip" (a byte of the answer's head now and then), "cut" (no answer).
    """

    def __init__(self) -> None:
        self.received: list[Received] = []
        self.behaviour: int | str = 200
        self.headers: dict[str, str] = {}
        self.said = b""
        self.released = threading.Event()
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.server: ThreadingHTTPServer | None = None

    @property
    def url(self) -> str:
        """Where it listens, if it lives."""
        return f"http://127.0.0.1:{self.port}"

    def live(self) -> Self:
        """Answer from now on."""
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.received.append(Received(self.path, dict(self.headers), body))
                receiver.answer(self)

            def log_message(self, *_: object) -> None:
                pass

        self.server = _Server(("127.0.0.1", self.port), Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        """One request, as it was told."""
        match self.behaviour:
            case int(status):
                handler.send_response(status)
                for name, value in {"Content-Length": str(len(self.said)), **self.headers}.items():
                    handler.send_header(name, value)
                handler.end_headers()
                handler.wfile.write(self.said)
            case "hang":
                self.released.wait(30)
            case "drip":
                for letter in b"HTTP/1.1 200 OK\r\n" + b"X-Slow: 1\r\n" * 50:
                    handler.wfile.write(bytes([letter]))
                    if self.released.wait(0.05):
                        return

    def die(self) -> None:
        """Refuse connections from now on."""
        if self.server is not None:
            self.server.shutdown()
            self.server.server_close()
            self.server = None

    def wait_for(self, count: int, patience_s: float = 10.0) -> list[Received]:
        """What was received, once there is so much of it."""
        deadline = time.monotonic() + patience_s
        while len(self.received) < count:
            assert time.monotonic() < deadline, f"{len(self.received)} of {count} messages came"
            time.sleep(0.01)
        return self.received


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, *_: object) -> None:
        """The other end may go away."""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A receiver that takes everything."""
    made = Receiver().live()
    yield made
    made.released.set()
    made.die()
