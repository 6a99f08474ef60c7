"""A worker's request line without its process: real models, a real board and log, and a small ASGI driver."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import orjson

from serinus.models import Field, Signature, wrap
from serinus.models.model import Model
from serinus.monitors.record import PredictionRecord
from serinus.serving.app import App
from serinus.serving.board import Board, Counts, read_all
from serinus.serving.control import Control
from serinus.serving.home import Home, RunFolder
from serinus.serving.pipeline import Pipeline
from serinus.serving.prediction_log import SegmentWriter, read
from serinus.serving.router import Loaded, Router, Target
from serinus.serving.served_models import open_registry
from serinus.serving.settings import Settings
from serinus.serving.telemetry import Tracing

PEOPLE = Signature(
    (
        Field("city", "BYTES", (-1,)),
        Field("age", "FP64", (-1,), optional=True),
        Field("visits", "INT64", (-1,)),
        Field("member", "BOOL", (-1,)),
    ),
    (Field("predict", "FP64", (-1,)),),
)
ROW = {"city": "Bern", "age": 40.5, "visits": 3, "member": True}
ROWS = orjson.dumps({"rows": [ROW]})
TENSORS = orjson.dumps(
    {
        "inputs": [
            {"name": "city", "datatype": "BYTES", "shape": [1], "data": ["Bern"]},
            {"name": "age", "datatype": "FP64", "shape": [1], "data": [40.5]},
            {"name": "visits", "datatype": "INT64", "shape": [1], "data": [3]},
            {"name": "member", "datatype": "BOOL", "shape": [1], "data": [True]},
        ]
    }
)


def people_model(version: str = "1") -> Model:
    """Answers version + visits; raises, sleeps or lies when the city says so."""

    def predict(frame: Any) -> Any:
        city = frame["city"].iloc[0]
        if city == "Troy":
            raise ValueError("secret value 42")
        if city == "Nod":
            time.sleep(0.3)
        if city == "Cron":
            raise TimeoutError("mine")
        return frame["visits"].to_numpy(dtype=float) + float(version)

    return wrap(predict, signature=PEOPLE)


class Response(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)


class Line:
    """One worker's request line on a home of its own; `models` gives the models by name and version."""

    def __init__(self, home: Path, models: dict[str, dict[str, Model]], **settings: Any) -> None:
        self.settings = Settings.model_validate({"home": home, **settings})
        self.home, run = Home(home), RunFolder(home / "run" / "server-1")
        self.boards = run.boards
        self.board = Board(run.boards)
        self.router = Router(lambda name, version: Loaded(models[name][version], "function_model", {}))
        self.pipeline = Pipeline(self.router, self.board, self.settings.limits, self.settings.log.on_error)
        if self.settings.log.enabled:
            self.pipeline.log = SegmentWriter(self.home.log, self.pipeline.writer, self.settings.log.segment_bytes)
        self.tracing = Tracing({})
        self.app = App(
            self.settings,
            self.router,
            self.pipeline,
            self.board,
            self.tracing,
            run.boards,
            Control(self.settings, run, open_registry(self.settings), self._obey),
        )
        self.on_start: Callable[[], None] = lambda: None
        for name, versions in models.items():
            self.serve(name, Target(next(iter(versions)), None, 0, "", tuple(versions)))
        self.app.ready = True

    def serve(self, name: str, target: Target) -> None:
        for version in self.router.missing(target, name):
            self.router.load(name, version)
        self.router.flip(name, target)
        self.app.rebuild()

    def close(self) -> None:
        self.pipeline.close()
        self.tracing.close()

    def call(self, method: str, path: str, body: bytes | Iterable[bytes] = b"", **headers: str) -> Response:
        """One request; a body of several parts comes in several messages."""
        return asyncio.run(self.acall(method, path, body, **headers))

    async def acall(self, method: str, path: str, body: bytes | Iterable[bytes] = b"", *, gone: bool = False,
                    **headers: str) -> Response:
        """`gone`: the client leaves as soon as its body is sent; else it waits for its answer."""
        parts = [body] if isinstance(body, bytes) else list(body)
        waiting = [
            {"type": "http.request", "body": part, "more_body": number < len(parts) - 1}
            for number, part in enumerate(parts)
        ]
        sent: list[dict[str, Any]] = []

        async def receive() -> Any:
            if not waiting and not gone:
                await asyncio.Event().wait()
            return waiting.pop(0) if waiting else {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                self.on_start()
            sent.append(message)

        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "http_version": "1.1",
            "scheme": "http",
            "headers": [(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in headers.items()],
        }
        await self.app(scope, receive, send)
        start, *rest = sent
        assert start["type"] == "http.response.start"
        data = b"".join(message["body"] for message in rest)
        names = [name for name, _ in start["headers"]]
        assert len(names) == len(set(names))
        found = {name.decode(): value.decode() for name, value in start["headers"]}
        assert found["content-length"] == str(len(data))
        return Response(start["status"], found, data)

    def records(self) -> list[PredictionRecord]:
        return list(read(self.home.log))

    def counts(self) -> Counts:
        return read_all(self.boards)[0]

    async def _obey(self) -> None:
        """Nothing changes here but by `serve`."""


def numbers_model() -> Model:
    """A fitted scikit-learn classifier on three numbers."""
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(3)
    rows = rng.normal(size=(80, 3))
    return wrap(LogisticRegression().fit(rows, np.where(rows.sum(axis=1) > 0, "yes", "no")))
