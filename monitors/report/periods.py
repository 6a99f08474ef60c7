"""Time windows of a batch whose time span is not known before it was read: hours first, coarser ones as it grows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from serinus.monitors.counts import Counts
from serinus.monitors.encoder import Observation
from serinus.monitors.errors import InvalidData

__all__ = ["PERIODS", "Periods", "check_period"]

PERIODS = ("hour", "day", "week", "month", "quarter", "year")
"""From the finest to the coarsest; the days, weeks and months of UTC."""

_MOST = 60
"""Windows that a chart can show."""


def check_period(period: str | None) -> None:
    """Raise InvalidData for a period that there is not."""
    if period is not None and period not in PERIODS:
        raise InvalidData(f"No window is named {period!r}; wanted one of {', '.join(PERIODS)}.")


class Periods:
    """Counts per window of time.

    Args:
        features: how many are counted.
        period: one of `PERIODS`; None: the finest of which there are at most sixty.
    """

    def __init__(self, features: int, period: str | None = None) -> None:
        check_period(period)
        self.period = period or PERIODS[0]
        self._fixed = period is not None
        self._features = features
        self._counts: dict[datetime, Counts] = {}

    def add(self, times: NDArray[np.float64], seen: Observation) -> None:
        """Count rows by their times, in seconds since 1970; rows without a time are in no window."""
        known = np.flatnonzero(np.isfinite(times))
        hours, of_row = np.unique(times[known] // 3600, return_inverse=True)
        moments = [datetime.fromtimestamp(hour * 3600, UTC) for hour in hours.tolist()]
        self._make_room(moments)
        starts = [self._start(moment) for moment in moments]
        for start in dict.fromkeys(starts):
            chosen = known[np.array([start == each for each in starts])[of_row]]
            self._of(start).add(seen.codes[chosen], seen.deviations[chosen])

    def windows(self) -> Mapping[datetime, Counts]:
        """Give the counts by the beginning of their window, in order."""
        return dict(sorted(self._counts.items()))

    def _of(self, start: datetime) -> Counts:
        if start not in self._counts:
            self._counts[start] = Counts(self._features)
        return self._counts[start]

    def _make_room(self, moments: Sequence[datetime]) -> None:
        """Make windows longer until there are few enough of them, those of the new moments among them."""
        while not self._fixed and self.period != PERIODS[-1]:
            if len({*self._counts, *map(self._start, moments)}) <= _MOST:
                return
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
