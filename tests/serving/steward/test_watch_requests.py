"""Watching requests: the stable version's rates are learnt from the boards, kept, and told when they rise."""

from __future__ import annotations

import pytest

from serinus.monitors.alerts import Condition
from serinus.serving.alerting import conditions
from serinus.serving.board import Board, Labels
from serinus.serving.own_rates import LEARNS
from serinus.serving.steward.job import Shared
from serinus.serving.steward.watch_requests import WatchRequests
from tests.serving.steward.hosts import host, serve, worker
from tests.serving.steward.test_evaluate_alerts import Clock, clock

__all__ = ["clock", "host"]

GOOD = Labels("wine", "1", "stable", "/predict", "POST", 200, "")
BAD = GOOD._replace(status=500, error_type="predict")


def ask(board: Board, good: int, bad: int = 0) -> None:
    for labels, number in ((GOOD, good), (BAD, bad)):
        for _ in range(number):
            board.count(board.base(labels), 1_000_000, 1, -1)


def said(host: Shared, clock: Clock, kind: str = "error_rate") -> list[Condition]:
    return [condition for condition in conditions(host.store, clock.now) if condition.kind == kind]


@pytest.fixture
def board(host: Shared) -> Board:
    return worker(host, 1)


def test_a_stable_version_that_begins_to_fail_is_told(host: Shared, board: Board, clock: Clock) -> None:
    """Against what it was like, also by the next steward; and when it is well again."""
    job = WatchRequests(clock)
    job.run(host)
    ask(board, LEARNS - 5, 5)
    job.run(host)
    assert said(host, clock) == []
    job.run(host)
    assert [one.active for one in said(host, clock)] == [False]
    job = WatchRequests(clock)
    job.run(host)
    for _ in range(10):
        ask(board, 80, 20)
        job.run(host)
    (found,) = said(host, clock)
    assert (found.active, found.model, found.version) == (True, "wine", "1")
    assert found.summary.startswith("20 of the latest 100 requests failed; of its first ones it was ")
    assert [one.active for one in said(host, clock, "latency")] == [False]
    for _ in range(20):
        ask(board, 500)
        job.run(host)
    assert [one.active for one in said(host, clock)] == [False]


def test_nothing_is_wrong_with_what_is_not_stable_any_more(host: Shared, board: Board, clock: Clock) -> None:
    """Its alert ends."""
    job = WatchRequests(clock)
    job.run(host)
    for good, bad in ((LEARNS, 0), (0, 0), (0, 100)):
        ask(board, good, bad)
        job.run(host)
    assert [one.active for one in said(host, clock)] == [True]
    serve(host, "2")
    job.run(host)
    assert [(one.version, one.active) for one in said(host, clock)] == [("1", False)]


def test_what_was_counted_before_is_not_judged(host: Shared, board: Board, clock: Clock) -> None:
    """Nobody knows when it was; and nothing at all where monitors are off."""
    ask(board, LEARNS)
    WatchRequests(clock).run(host)
    job = WatchRequests(clock)
    for _ in range(3):
        job.run(host)
    assert said(host, clock) == []
