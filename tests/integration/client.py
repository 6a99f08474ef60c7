"""A plain HTTP client that keeps its connection, and a crowd of them that makes load."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, Self

__all__ = ["Answer", "Client", "Crowd", "Exchange"]

BROKEN = (OSError, http.client.HTTPException)
"""What a client sees when the process at the other end dies."""


class Answer(NamedTuple):
    """One whole answer; header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The body's JSON value."""
        return json.loads(self.body)

    @property
    def version(self) -> str:
        """Which version answered."""
        return self.headers["x-model-version"]

    @property
    def role(self) -> str:
        """In which role it answered."""
        return self.headers["x-model-role"]


class Client:
    """One keep-alive connection; after an error the next call opens a new one."""

    def __init__(self, port: int, timeout: float = 20.0) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def connect(self) -> Self:
        """Open the connection without sending anything."""
        self._connection.connect()
        return self

    def close(self) -> None:
        """End the connection."""
        self._connection.close()

    @property
    def local_port(self) -> int:
        """This side's port, by which the other side's socket is found."""
        if self._connection.sock is None:
            self._connection.connect()
        return int(self._connection.sock.getsockname()[1])

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> Answer:
        """GET."""
        return self.send("GET", path, None, headers)

    def post(self, path: str, document: Any, headers: Mapping[str, str] | None = None) -> Answer:
        """POST of a JSON document (bytes go as they are)."""
        body = document if isinstance(document, bytes) else json.dumps(document).encode()
        return self.send("POST", path, body, {"Content-Type": "application/json", **(headers or {})})

    def send(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str] | None = None) -> Answer:
        """One request and its whole answer. Raises one of `BROKEN`."""
        try:
            self._connection.request(method, path, body, dict(headers or {}))
            response = self._connection.getresponse()
            data = response.read()
        except BROKEN:
            self._connection.close()
            raise
        return Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, data)


class Exchange(NamedTuple):
    """A request and its answer with the wall clock's times; `answer` is None when the connection broke."""

    sent: float
    answered: float
    answer: Answer | None
    client: int


Ask = Callable[[Client, int], Answer]


class Crowd:
    """Clients that each ask again and again in a thread of their own, until the `with` block ends.

    `ask(client, number)` makes one request; numbers count up over all clients.
    """

    def __init__(self, clients: Iterable[Client], ask: Ask, pause: float = 0.0) -> None:
        self.exchanges: list[Exchange] = []
        self._ask = ask
        self._pause = pause
        self._stopping = threading.Event()
        self._clients = list(clients)
        self._threads = [threading.Thread(target=self._run, args=(index,)) for index in range(len(self._clients))]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join()
        for client in self._clients:
            client.close()

    def answers(self) -> list[Answer]:
        """Every whole answer so far."""
        return [exchange.answer for exchange in list(self.exchanges) if exchange.answer is not None]

    def wait_for(self, number: int, timeout: float = 20.0) -> None:
        """Until so many more whole answers have come."""
        wanted, deadline = len(self.answers()) + number, time.monotonic() + timeout
        while len(self.answers()) < wanted:
            assert time.monotonic() < deadline, f"{number} answers did not come within {timeout} s"
            time.sleep(0.005)

    def _run(self, index: int) -> None:
        client, number = self._clients[index], index
        while not self._stopping.is_set():
            sent = time.time()
            answer: Answer | None = None
            try:
                answer = self._ask(client, number)
            except BROKEN:
                time.sleep(0.01)
            self.exchanges.append(Exchange(sent, time.time(), answer, index))
            number += len(self._clients)
            if self._pause:
                time.sleep(self._pause)
