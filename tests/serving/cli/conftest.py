"""The command line in this process, a home with two versions, and a worker that is only a board."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, Self

import pytest
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

from serinus.models import register
from serinus.serving.board import Board
from serinus.serving.cli.command import run
from serinus.serving.home import Home, RunFolder
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
