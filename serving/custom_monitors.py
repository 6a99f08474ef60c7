"""Custom monitors in a worker: each answered request is shown to the installed monitors that watch its model.

Records wait, and are observed together, 64 rows or 100 ms at a time, after their answers left. What a monitor summed
up lies in a sheet of its own (`serinus.serving.sheet`), in the sums of its counts, under the digest that names the
monitors' sums. So it survives a kill and travels in the same idempotent ticks as the counts of drift.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from serinus.models.signature import Signature
from serinus.monitors.counts import Counts
from serinus.monitors.monitor import Monitor
from serinus.monitors.plugins import Watch, digest_of, monitors_for
from serinus.monitors.record import PredictionRecord
from serinus.serving.router import Arm, Router
from serinus.serving.sheet import Sheet

__all__ = ["CustomMonitors", "CustomWatch", "places_of", "sums_of"]

_log = logging.getLogger("serinus.observer")
_FLUSH_ROWS = 64
_FLUSH_NS = 100_000_000

Find = Callable[[Signature], Sequence[Monitor]]


def places_of(monitors: Sequence[Monitor]) -> int:
    """As counts of how many features the sums of some monitors are kept: two sums each."""
    return -(-Watch.size(monitors) // 2)


def sums_of(counts: Counts, monitors: Sequence[Monitor]) -> NDArray[np.float64]:
    """The sums of some monitors, in counts that keep them."""
    return counts.sums.reshape(-1)[:Watch.size(monitors)]


class CustomWatch:
    """One version's custom monitors: records that wait, and the sheet with what they added up to."""

    def __init__(self, monitors: Sequence[Monitor], sheet: Sheet) -> None:
        self.sheet = sheet
        self._watch = Watch(monitors)
        self._pending: list[PredictionRecord] = []
        self._pending_rows = self._rows = 0
        self._since_ns = 0

    def keep(self, record: PredictionRecord) -> None:
        """Let an answered request wait to be observed."""
        if not self._pending:
            self._since_ns = time.monotonic_ns()
        self._pending.append(record)
        self._pending_rows += record.rows
        if self._pending_rows >= _FLUSH_ROWS:
            self.flush()

    def flush_due(self, now_ns: int) -> None:
        """Observe what has waited long enough, at monotonic time `now_ns`."""
        if self._pending and now_ns - self._since_ns >= _FLUSH_NS:
            self.flush()

    def flush(self) -> None:
        """Observe what waits. Never raises: a monitor is beside the request line, never in it."""
        pending, rows = self._pending, self._pending_rows
        self._pending, self._pending_rows = [], 0
        if not pending:
            return
        for record in pending:
            self._watch.observe(record)
        self._rows += rows
        self.sheet.see(rows)
        pane = self.sheet.begin()
        pane.counts.rows = self._rows
        sums_of(pane.counts, self._watch.monitors)[:] = self._watch.sums
        self.sheet.flip(time.time_ns())

    def close(self) -> None:
        """Observe what waits, and give the sheet up."""
        self.flush()
        self.sheet.close()


class CustomMonitors:
    """All custom monitors of one worker, by version. `incarnation` names the worker's life."""

    def __init__(self, sheets: Path, incarnation: str, find: Find = monitors_for) -> None:
        self._sheets, self._incarnation, self._find = sheets, incarnation, find
        self._watches: dict[tuple[str, str], CustomWatch | None] = {}

    def attach(self, router: Router) -> None:
        """Let every arm know its watch; watches of versions that are gone end."""
        wanted = set()
        for arm in _arms(router):
            key = arm.name, arm.version
            wanted.add(key)
            if key not in self._watches:
                self._watches[key] = self._begin(arm)
            arm.custom = self._watches[key]
        for key in set(self._watches) - wanted:
            self._end(key)

    def _begin(self, arm: Arm) -> CustomWatch | None:
        monitors = self._find(arm.signature)
        if not monitors:
            return None
        try:
            sheet = Sheet(self._sheets, self._incarnation, arm.name, arm.version, digest_of(monitors),
                          places_of(monitors))
        except OSError:
            _log.exception("Custom monitors of %s:%s have no room for their sums", arm.name, arm.version)
            return None
        return CustomWatch(monitors, sheet)

    def turn(self) -> None:
        """Observe what has waited. Called often."""
        now_ns = time.monotonic_ns()
        for watch in self._watches.values():
            if watch is not None:
                watch.flush_due(now_ns)

    def _end(self, key: tuple[str, str]) -> None:
        watch = self._watches.pop(key)
        if watch is not None:
            watch.close()

    def close(self) -> None:
        """Observe what waits everywhere, and give all sheets up."""
        for key in list(self._watches):
            self._end(key)


def _arms(router: Router) -> Iterator[Arm]:
    for route in router.routes.values():
        yield from route.arms
