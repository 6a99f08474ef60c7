"""The steward keeps a quarter of an hour of traffic, and goes on with it after it was started anew."""

from __future__ import annotations

from itertools import count

from serinus.serving.board import Labels
from serinus.serving.steward.job import Shared
from serinus.serving.steward.tell_traffic import TellTraffic
from serinus.serving.traffic import POINTS, published
from tests.serving.steward.hosts import host, worker

__all__ = ["host"]

OK = Labels("wine", "1", "stable", "/predict", "POST", 200, "")


def test_points_follow_one_another_and_the_oldest_go(host: Shared) -> None:
    """Each look but the first gives one; what a worker counted is in one of them, once."""
    board, times = worker(host, 1), count(100, 5)
    job = TellTraffic(clock=lambda: float(next(times)))
    job.run(host)
    assert published(host.run.path)["points"] == []
    board.count(board.base(OK), 1, 3, -1)
    for _ in range(2):
        job.run(host)
    points = published(host.run.path)["points"]
    assert [(each["time"], [one[:5] for one in each["served"]]) for each in points] == [
        (105.0, [["wine", "1", "stable", 1, 3]]), (110.0, [])]
    for _ in range(POINTS):
        job.run(host)
    points = published(host.run.path)["points"]
    assert len(points) == POINTS and points[-1]["time"] == 110.0 + 5 * POINTS
    another = TellTraffic(clock=lambda: float(next(times)))
    for _ in range(2):
        another.run(host)
    assert [each["time"] for each in published(host.run.path)["points"]] == [each["time"] for each in points[1:]] + [
        points[-1]["time"] + 10]
    board.close()


def test_a_clock_that_stands_still_gives_no_point(host: Shared) -> None:
    """Nothing can be said per second of no time."""
    job = TellTraffic(clock=lambda: 5.0)
    for _ in range(3):
        job.run(host)
    assert published(host.run.path)["points"] == []
