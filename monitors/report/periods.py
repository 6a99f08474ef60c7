"""Time windows of a batch whose time span is not known before it was read: hours first, coarser ones as it grows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from serinus.monitors.counts import Counts
from serinus.monitors.encoder import Observation
from serinus.monitors.errors import InvalidData

__all__ = ["PERIODS", "Periods"]

PERIODS = ("hour", "day", "week", "month", "quarter", "year")
"""From the finest to the coarsest; the days, weeks and months of UTC."""

_MOST = 60
"""Windows that a chart can show."""


class Periods:
    """Counts per window of time.

    Args:
        features: how many are counted.
        period: one of `PERIODS`; None: the finest of which there are at most sixty.
    """

    def __init__(self, features: int, period: str | None = None) -> None:
        if period is not None and period not in PERIODS:
            raise InvalidData(f"No window is named {period!r}; wanted one of {', '.join(PERIODS)}.")
        self.period = period or PERIODS[0]
        self._fixed = period is not None
        self._features = features
        self._counts: dict[datetime, Counts] = {}

    def add(self, times: NDArray[np.float64], seen: Observation) -> None:
        """Count rows by their times, in seconds since 1970; rows without a time are in no window."""
        known = np.isfinite(times)
        # Rows come in order more often than not: a few runs of one hour each, not a search per row.
        for hour in np.unique(times[known] // 3600):
            chosen = known & (times // 3600 == hour)
            self._of(self._start(datetime.fromtimestamp(hour * 3600, UTC))).add(
                seen.codes[chosen], seen.deviations[chosen])
            if len(self._counts) > _MOST and not self._fixed:
                self._coarsen()

    def windows(self) -> Mapping[datetime, Counts]:
        """Give the counts by the beginning of their window, in order."""
        return dict(sorted(self._counts.items()))

    def _of(self, start: datetime) -> Counts:
        if start not in self._counts:
            self._counts[start] = Counts(self._features)
        return self._counts[start]

    def _coarsen(self) -> None:
        while len(self._counts) > _MOST and self.period != PERIODS[-1]:
            self.period = PERIODS[PERIODS.index(self.period) + 1]
            fine, self._counts = self._counts, {}
            for start, counts in fine.items():
                coarse = self._start(start)
                self._counts[coarse] = self._of(coarse) + counts

    def _start(self, time: datetime) -> datetime:
        return _STARTS[self.period](time)


def _day(time: datetime) -> datetime:
    return time.replace(hour=0, minute=0, second=0, microsecond=0)


def _month(time: datetime, months: int = 1) -> datetime:
    return _day(time).replace(month=time.month - (time.month - 1) % months, day=1)


_STARTS: Mapping[str, Callable[[datetime], datetime]] = {
    "hour": lambda time: time.replace(minute=0, second=0, microsecond=0),
    "day": _day,
    "week": lambda time: _day(time) - timedelta(days=time.weekday()),
    "month": _month,
    "quarter": lambda time: _month(time, 3),
    "year": lambda time: _month(time, 12),
}
