"""The command line in this process, a home with two versions, a worker that is only a board, and a server that answers
what it is told to."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple, Self

import pytest
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

from serinus.models import register
from serinus.serving.board import Board
from serinus.serving.cli.command import run
from serinus.serving.home import Home, RunFolder
from serinus.serving.rollout.state import RolloutRecord
from serinus.serving.snapshot import read_snapshot
from serinus.serving.veto import read_vetoes


class Said(NamedTuple):
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The JSON document on standard output."""
        return json.loads(self.out)


Cli = Callable[..., Said]


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Cli:
    """Run `serinus WORDS`."""
    def said(*words: object) -> Said:
        monkeypatch.setattr(sys, "argv", ["serinus", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            run()
        out, err = capfd.readouterr()
        return Said(int(ended.value.code or 0), out, err)

    return said


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with `iris`, versions 1 and 2; it is the default one."""
    folder = tmp_path / "home"
    rows, kinds = load_iris(return_X_y=True, as_frame=True)
    for strength in (1.0, 0.1):
        register(LogisticRegression(C=strength, max_iter=500).fit(rows, kinds), "iris", home=folder)
    monkeypatch.setenv("SERINUS_HOME", str(folder))
    return folder


class FakeWorker:
    """A server whose one worker follows snapshot and vetoes, unless it is told to be deaf."""

    def __init__(self, home: Path, *, deaf: bool = False) -> None:
        self._home, self._deaf = Home(home), deaf
        self._run = RunFolder(self._home.run / "server-fake")
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)

    def __enter__(self) -> Self:
        self._run.claim(os.getpid())
        self._board = Board(self._run.boards)
        self._board.beat(ready=True, generation=0)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()
        self._board.close()
        self._run.owner.unlink()

    def _follow(self) -> None:
        while not self._stopping.is_set():
            if not self._deaf:
                self._board.acknowledge_veto(read_vetoes(self._home.vetoes).sequence)
                self._board.beat(ready=True, generation=read_snapshot(self._home.snapshot).generation)
            time.sleep(0.005)


@pytest.fixture
def worker(home: Path) -> Iterator[FakeWorker]:
    """A worker that follows."""
    with FakeWorker(home) as following:
        yield following


class FakeServer:
    """Answers what it is told to; remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, Any, str | None]] = []
        self.answers: dict[tuple[str, str], tuple[int, bytes]] = {}
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                outer.asked.append((self.command, self.path, json.loads(body or b"null"),
                                    self.headers.get("Authorization")))
                status, answer = outer.answers.get((self.command, self.path), (404, b'{"detail": "No such thing."}'))
                self.send_response(status)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            do_POST = do_GET  # noqa: N815  (http.server's name)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def answer(self, method: str, path: str, document: Any, status: int = 200) -> None:
        """From now on."""
        self.answers[method, path] = status, json.dumps(document).encode()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeServer]:
    """A running server, named by the environment."""
    fake = FakeServer()
    threading.Thread(target=fake.server.serve_forever, args=(0.01,), daemon=True).start()
    monkeypatch.setenv("SERINUS_URL", fake.url)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")  # a proxy of the environment is not asked
    fake.answer("GET", "/api/rollouts/iris", {
        "record": RolloutRecord.initial("iris", "1", 1.0).to_dict(), "veto": None,
        "workers": [{"pid": 1, "ready": True, "follows": True}], "confirmed_seconds_ago": 0.1})
    yield fake
    fake.server.shutdown()
    fake.server.server_close()
