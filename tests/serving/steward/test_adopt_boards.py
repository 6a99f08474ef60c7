"""Boards whose worker is gone are added to the totals; those of living workers are left alone."""

from __future__ import annotations

import pytest

from serinus.serving.board import Labels, boards_in, read_all
from serinus.serving.steward.adopt_boards import AdoptBoards
from serinus.serving.steward.job import Shared
from tests.serving.steward.hosts import host, worker

__all__ = ["host"]

OK = Labels("wine", "1", "stable", "/predict", "POST", 200, "")


def test_the_dead_are_adopted_and_the_living_left(host: Shared) -> None:
    """By the lock that the kernel frees, and what was counted stays the same."""
    living, dead = worker(host, 1), worker(host, 1)
    for board in (living, dead):
        board.count(board.base(OK), 1, 1, -1)
    dead.close()
    AdoptBoards().run(host)
    assert boards_in(host.run.boards) == [living.path]
    assert read_all(host.run.boards)[0][1][OK].requests == 2
    living.close()
    AdoptBoards().run(host)
    assert boards_in(host.run.boards) == []
    assert read_all(host.run.boards)[0][1][OK].requests == 2


def test_a_worker_that_died_during_a_call_is_said(host: Shared, caplog: pytest.LogCaptureFixture) -> None:
    """With the role that was being asked; one that ended in peace is not."""
    worker(host, 1).close()
    AdoptBoards().run(host)
    assert not caplog.records
    dead = worker(host, 1)
    dead.begin(2, 1)
    dead.close()
    AdoptBoards().run(host)
    assert "died while a predict call was under way (candidate)" in caplog.text
