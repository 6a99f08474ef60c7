"""Counts are collected into windows of rows and of time, and every row is in one window of each kind."""

from __future__ import annotations

import json

import numpy as np

from serinus.monitors.counts import Counts
from serinus.monitors.features import WIDTH
from serinus.monitors.tumbling import Tumbling, Window
from serinus.monitors.windows import WindowTest

REFERENCE = np.array([[5_000, 5_000, *[0] * (WIDTH - 2)]])
TEST = WindowTest.of(REFERENCE[None], np.array([False]))
MONDAY = 1_704_067_200  # 2024-01-01T00:00:00Z


def _counts(*rows: int) -> Counts:
    counts = Counts(1)
    counts.rows = sum(rows)
    counts.table[0, : len(rows)] = rows
    return counts


def test_windows_of_rows_close_when_they_are_full() -> None:
    """1,024 rows in steps of 64: sixteen windows of 64, four of 256, one of 1,024, each from where the last ended."""
    windows = Tumbling(TEST, ("x",), 1_000_000)
    for step in range(16):
        said = windows.add(_counts(32, 32), 64 * (step + 1), None, None)
    kinds = [summary.kind for summary in windows.summaries]
    assert {kind: kinds.count(kind) for kind in kinds} == {"64": 16, "256": 4, "1024": 1}
    assert set(said) == {64, 256, 1_024}
    assert [summary.start for summary in windows.summaries if summary.kind == "256"] == [0, 256, 512, 768]


def test_windows_of_time_are_hours_days_and_weeks_of_utc() -> None:
    """Every six hours of ten days from a Monday: 39 hours, 9 days and 1 week are over; the days add up."""
    windows = Tumbling(TEST, ("x",), 1_000_000)
    for step in range(40):
        windows.add(_counts(32, 32), 64 * (step + 1), MONDAY + 6 * 3_600 * step, None)
    kinds = [summary.kind for summary in windows.summaries]
    assert [kinds.count(kind) for kind in ("hour", "day", "week")] == [39, 9, 1]
    days = [summary for summary in windows.summaries if summary.kind == "day"]
    assert [day.start for day in days] == [MONDAY + 86_400 * day for day in range(9)]
    assert {day.rows for day in days} == {4 * 64}
    assert next(summary for summary in windows.summaries if summary.kind == "week").start == MONDAY


def test_a_window_of_time_names_what_differs() -> None:
    """A day of one value only, after a day of both."""
    windows = Tumbling(TEST, ("x",), 1_000_000)
    for day, counts in enumerate([_counts(200, 200), _counts(400), _counts(1, 1)]):
        windows.add(counts, 400 * (day + 1), MONDAY + 86_400 * day, None)
    assert [summary.drifted for summary in windows.summaries if summary.kind == "day"] == [(), ("x",)]


def test_what_is_recent_lies_within_the_age_that_was_asked_for() -> None:
    """The largest window that ended late enough; the smallest for a young change; what there is before any closed."""
    windows = Tumbling(TEST, ("x",), 1_000_000)
    windows.add(_counts(10), 10, None, None)
    assert windows.recent(1_000).counts.rows == 10
    for step in range(32):
        windows.add(_counts(32, 32), 64 * step, None, None)
    assert [windows.recent(age).counts.rows // 64 for age in (0, 200, 512, 1_024)] == [1, 1, 4, 4]
    assert windows.recent(2_048).counts.rows // 64 == 16


def test_a_window_is_compared_with_the_mixture_that_was_expected() -> None:
    """All of one value, where that is what the season has: no drift, though the reference has two."""
    window = Window(Counts(1))
    window.add(Window(_counts(300), expected=300 * np.eye(1, WIDTH)))
    assert not window.result(TEST, 0.01).alarm
    assert Window(_counts(300)).result(TEST, 0.01).alarm


def test_windows_survive_as_json() -> None:
    """Through text and back they go on alike."""
    windows, again = Tumbling(TEST, ("x",), 1_000_000), Tumbling(TEST, ("x",), 1_000_000)
    for step in range(10):
        windows.add(_counts(30, 34), 64 * (step + 1), MONDAY + 1_800 * step, np.eye(1, WIDTH))
    again.restore(json.loads(json.dumps(windows.to_json())))
    for each in (windows, again):
        each.add(_counts(30, 34), 704, MONDAY + 90_000, None)
    assert again.summaries == windows.summaries
    assert again.to_json() == windows.to_json()
