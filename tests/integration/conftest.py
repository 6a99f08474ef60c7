"""Homes with real models, and servers on them that are gone when their test ends."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.integration import zoo
from tests.integration.server import USER_CODE, Server

Start = Callable[..., Server]


@pytest.fixture(scope="session")
def filled_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with `credit` and `iris` in it, trained once; to copy, never to serve from."""
    home = tmp_path_factory.mktemp("filled") / "home"
    zoo.fill(home)
    return home


@pytest.fixture
def home(filled_home: Path, tmp_path: Path) -> Path:
    """A registered home for one test alone."""
    return _copy(filled_home, tmp_path)


@pytest.fixture(scope="session")
def server(filled_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A ready server for tests that leave it as it was: no rollout of theirs is left running."""
    folder = tmp_path_factory.mktemp("server")
    with Server(_copy(filled_home, folder), folder) as running:
        yield running


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a server and wait until it is ready: `start(home, flags=…, environ=…)`. All are gone at the end.

    They are killed: how a server ends by itself is tested where it is the question.
    """
    with ExitStack() as stack:
        def started(home: Path, *, ready: bool = True, **given: Any) -> Server:
            running = Server(home, tmp_path, **given)
            stack.callback(running.kill_everything)
            running.launch()
            if ready:
                running.wait_until_ready()
            return running

        yield started


@pytest.fixture
def user_code(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The user's own package can be imported in the test, as it can in the server."""
    monkeypatch.syspath_prepend(str(USER_CODE))
    yield
    sys.modules.pop("patience", None)


def _copy(home: Path, folder: Path) -> Path:
    return shutil.copytree(home, folder / "home")
