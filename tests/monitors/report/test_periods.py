"""Windows of time: the finest that a chart can show, whatever the order in which rows come."""

from datetime import UTC, datetime

import numpy as np
import pytest

from serinus.monitors.encoder import Observation
from serinus.monitors.errors import InvalidData
from serinus.monitors.report.periods import PERIODS, Periods

START = datetime(2026, 1, 1, tzinfo=UTC).timestamp()


def seen(times):
    rows = len(times)
    return Observation(np.zeros((rows, 2), np.uint8), np.ones((rows, 2)), np.zeros((rows, 2)))


def counted(times, period=None, parts=1):
    periods = Periods(2, period)
    for part in np.array_split(np.asarray(times, dtype=float), parts):
        periods.add(part, seen(part))
    return periods


@pytest.mark.parametrize(("days", "period"), [(1, "hour"), (2, "hour"), (20, "day"), (60, "day"), (62, "week"),
                                              (500, "month"), (3_000, "quarter"), (9_000, "year")])
def test_the_period_fits_the_span(days, period):
    """At most sixty windows; years, if that is what it takes."""
    times = START + np.arange(0, days * 24, 6) * 3_600
    periods = counted(times, parts=7)
    assert periods.period == period and len(periods.windows()) <= 60
    assert sum(counts.rows for counts in periods.windows().values()) == len(times)


def test_the_order_of_rows_does_not_matter():
    """Shuffled rows give the same windows as rows in time order."""
    times = START + np.random.default_rng(0).uniform(0, 200 * 86_400, 5_000)
    shuffled, ordered = counted(times, parts=9), counted(np.sort(times), parts=3)
    assert shuffled.windows() == ordered.windows() and shuffled.period == ordered.period == "week"
    assert list(ordered.windows()) == sorted(ordered.windows())


@pytest.mark.parametrize(("period", "start"), [
    ("hour", "2026-05-20T13:00"), ("day", "2026-05-20T00:00"), ("week", "2026-05-18T00:00"),
    ("month", "2026-05-01T00:00"), ("quarter", "2026-04-01T00:00"), ("year", "2026-01-01T00:00")])
def test_windows_begin_where_people_expect(period, start):
    """Weeks on Monday, quarters in January, April, July and October."""
    time = datetime(2026, 5, 20, 13, 37, tzinfo=UTC).timestamp()
    assert [each.strftime("%Y-%m-%dT%H:%M") for each in counted([time], period).windows()] == [start]


def test_rows_without_a_time_are_in_no_window():
    """They count for the whole batch only."""
    assert [counts.rows for counts in counted([np.nan, START, np.inf]).windows().values()] == [1]


def test_a_period_that_was_asked_for_stays():
    """A hundred hours, if somebody wants them."""
    assert len(counted(START + np.arange(100) * 3_600, "hour").windows()) == 100


def test_an_unknown_period_is_refused():
    """With those that there are."""
    with pytest.raises(InvalidData, match=f"No window is named 'eon'; wanted one of {', '.join(PERIODS)}."):
        Periods(2, "eon")
