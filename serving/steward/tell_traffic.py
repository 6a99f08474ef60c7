"""Job: keep what was answered in the last quarter of an hour where workers find it, for a page to show."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from serinus.serving.steward.job import Shared
from serinus.serving.traffic import POINTS, Point, Totals, look, point, publish, published

__all__ = ["TellTraffic"]


class TellTraffic:
    """Every steward for its own server: boards are a host's own. One that was started anew goes on with the points that
    lie there; what was counted while there was none is in no point."""

    name = "tell_traffic"
    period_s = 5.0

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._points: deque[Point] | None = None
        self._last: Totals | None = None

    def run(self, shared: Shared) -> None:
        """See `Job.run`."""
        now = look(shared.run.boards, self._clock())
        if self._points is None:
            self._points = deque((Point(**each) for each in published(shared.run.path)["points"]), POINTS)
        if self._last is not None and now.time > self._last.time:
            self._points.append(point(self._last, now))
            publish(shared.run.path, self._points)
        self._last = now
