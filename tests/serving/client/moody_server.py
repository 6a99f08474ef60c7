"""A server that answers as it was told to, call by call: with a status, or by hanging up."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

__all__ = ["HANG_UP", "Mood", "Moody", "moody"]


class Mood(NamedTuple):
    """One answer."""

    status: int
    document: Any
    headers: Mapping[str, str] = {}


HANG_UP = Mood(0, None)
"""The connection ends before any answer."""


class Moody(NamedTuple):
    """Where it listens, and what it was asked: method, path, headers, body."""

    url: str
    asked: list[tuple[str, str, dict[str, str], bytes]]


@contextmanager
def moody(moods: Iterable[Mood]) -> Iterator[Moody]:
    """Listen until the end of the block; the moods come one after the other."""
    coming, asked = iter(moods), []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            asked.append((self.command, self.path, {name.lower(): value for name, value in self.headers.items()}, body))
            mood = next(coming)
            if mood is HANG_UP:
                self.close_connection = True
                return
            data = json.dumps(mood.document).encode()
            self.send_response(mood.status)
            for name, value in {**mood.headers, "content-length": str(len(data))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST  # noqa: N815

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield Moody(f"http://127.0.0.1:{server.server_port}", asked)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
