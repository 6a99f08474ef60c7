"""A receiver of CloudEvents over HTTP, on loopback: it keeps what comes, and answers what it is told to."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple, Self


class Received(NamedTuple):
    """One event: its headers by lower-case names, and its document."""

    headers: dict[str, str]
    data: Any

    @property
    def kind(self) -> str:
        return self.headers["ce-type"].rpartition(".")[2]


class Sink:
    """Runs while its `with` block does; `statuses` are given one by one, then 202."""

    def __init__(self, port: int = 0) -> None:
        self.received: list[Received] = []
        self.statuses: list[int] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", port), _handler(self))
        self.port = self._server.server_port
        self.url = f"http://127.0.0.1:{self.port}/events?of=serinus"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def _handler(sink: Sink) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            status = sink.statuses.pop(0) if sink.statuses else 202
            if status < 300:
                sink.received.append(Received({name.lower(): value for name, value in self.headers.items()},
                                              json.loads(body)))
            self.send_response(status)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Quietly."""

    return Handler
