"""Clients that ask the demo's server: one by one, or a crowd of them in threads."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Self

__all__ = ["BROKEN", "Answer", "Client", "Crowd", "open_inference", "rows"]

BROKEN = (OSError, http.client.HTTPException)
"""How a connection breaks."""


class Answer(NamedTuple):
    """One whole answer."""

    status: int
    headers: dict[str, str]
    document: Any

    @property
    def version(self) -> str:
        """Which version answered."""
        return self.headers.get("x-model-version", "")

    @property
    def prediction_ids(self) -> list[str]:
        """The names of the predictions in it: a list among rows, a common stem in the Open Inference Protocol."""
        if "prediction_ids" in self.document:
            return list(self.document["prediction_ids"])
        stem = self.document.get("parameters", {}).get("prediction_id")
        return [] if stem is None else [f"{stem}-{row}" for row in range(self.document["outputs"][0]["shape"][0])]

    @property
    def labels(self) -> list[str]:
        """What was predicted of each row."""
        if "predictions" in self.document:
            return [str(row["predict"]) for row in self.document["predictions"]]
        return [str(label) for output in self.document.get("outputs", ()) if output["name"] == "predict"
                for label in output["data"]]


class Client:
    """One keep-alive connection; after an error the next call opens a new one."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=15)

    def post(self, path: str, document: Any, key: str | None = None) -> Answer:
        """POST of a JSON document. Raises OSError or HTTPException when the connection breaks."""
        headers = {"Content-Type": "application/json"} | ({"X-Routing-Key": key} if key is not None else {})
        try:
            self._connection.request("POST", path, json.dumps(document), headers)
            response = self._connection.getresponse()
            body = response.read()
        except BROKEN:
            self._connection.close()
            raise
        return Answer(response.status, {name.lower(): value for name, value in response.getheaders()},
                      json.loads(body))

    def get(self, path: str) -> str:
        """The text at `path`."""
        self._connection.request("GET", path)
        return self._connection.getresponse().read().decode()

    def close(self) -> None:
        """End the connection."""
        self._connection.close()


Ask = Callable[[Client, int], Answer]


class Crowd:
    """`size` clients in threads of their own; each asks for the next number until the end of the `with` block, or until
    all are taken, and rests for `pause_s` after each."""

    def __init__(self, port: int, ask: Ask, size: int = 6, numbers: int | None = None, pause_s: float = 0.0) -> None:
        self.answers: list[Answer] = []
        self.broken = 0
        self._ask = ask
        self._port = port
        self._next = 0
        self._numbers = numbers
        self._pause_s = pause_s
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(size)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join(20)

    def wait(self) -> None:
        """Until every number has been asked for."""
        for thread in self._threads:
            while thread.is_alive():
                thread.join(0.1)

    def _run(self) -> None:
        client = Client(self._port)
        while not self._stopping.is_set() and (number := self._take()) is not None:
            try:
                answer = self._ask(client, number)
            except BROKEN:
                with self._lock:
                    self.broken += 1
                self._stopping.wait(0.02)
                continue
            with self._lock:
                self.answers.append(answer)
            if self._pause_s:
                self._stopping.wait(self._pause_s)
        client.close()

    def _take(self) -> int | None:
        with self._lock:
            number, self._next = self._next, self._next + 1
        return number if self._numbers is None or number < self._numbers else None


def rows(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """A request as rows."""
    return {"rows": list(rows)}


def open_inference(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The same request in the Open Inference Protocol: one tensor per column."""
    return {"inputs": [{"name": name, "shape": [len(rows)],
                        "datatype": "BYTES" if any(isinstance(row[name], str) for row in rows) else "FP64",
                        "data": [row[name] for row in rows]} for name in rows[0]]}
