"""A host without processes: a home, a real store, a registry, and the steward's shared things."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from serinus.models import register
from serinus.serving.board import Board
from serinus.serving.home import Home, RunFolder
from serinus.serving.rollout import Plan, RolloutRecord, controller
from serinus.serving.served_models import open_registry
from serinus.serving.settings import Settings
from serinus.serving.steward.job import Shared

PLAN = Plan.from_percents("5,50")


def shared(home: Path, **settings: object) -> Shared:
    chosen = Settings.model_validate({"home": home, **settings})
    run = RunFolder(home / "run" / "server-1")
    run.claim(os.getpid())
    return Shared(chosen, run, open_registry(chosen), "steward-1")


def trained(home: Path, name: str, *heights: float) -> None:
    """Register one version per height: models that answer this number."""
    from sklearn.dummy import DummyRegressor

    for height in heights:
        register(DummyRegressor(strategy="constant", constant=height).fit([[0.0]], [1.0]), name, home=home)


def serve(host: Shared, stable: str = "1") -> RolloutRecord:
    """The store's first record of `wine`, published."""
    record = controller.set_stable(host.store, "wine", stable, "d1", "ana", now=time.time()).record
    host.publish()
    return record


def start(host: Shared) -> RolloutRecord:
    """A rollout of version 2 at 5 %, published."""
    record = controller.start(host.store, "wine", "2", "d2", PLAN, "ana", now=time.time()).record
    host.publish()
    return record


def lose_store(home: Home) -> None:
    for suffix in ("", "-wal", "-shm"):
        home.store.with_name(home.store.name + suffix).unlink(missing_ok=True)


@pytest.fixture
def host(tmp_path: Path) -> Shared:
    """A host with one record."""
    made = shared(tmp_path)
    serve(made)
    return made


def worker(host: Shared, generation: int, *, ready: bool = True) -> Board:
    """A living worker that follows `generation`."""
    board = Board(host.run.boards)
    board.beat(ready=ready, generation=generation)
    return board
