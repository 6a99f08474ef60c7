"""Tumbling windows: the same counts collected by 64, 256 … 16,384 rows and by hour, day and week, and tested when full.

A window of rows is tested at the level at which all sizes together alarm falsely once per run length, a window of time
at that of `LEVEL`. What it is compared with is the reference, or the mixture of season cells that its rows came from.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serinus.monitors.contrasts import shares
from serinus.monitors.counts import Counts
from serinus.monitors.drift_state import WindowSummary
from serinus.monitors.packing import squeeze, unsqueeze
from serinus.monitors.windows import LEVEL, SIZES, WindowResult, WindowTest, level_of

__all__ = ["Tumbling", "Window"]

Expected = NDArray[np.float64] | None

_SUMMARIES = 48
_KEPT = {"64": 16, "256": 16}
"""Small windows are many: no more of them are kept, and they are tested only if somebody looks."""
_PERIODS = {"hour": 3_600, "day": 86_400, "week": 7 * 86_400}
_MONDAY = 4 * 86_400  # the first one of Unix time, where weeks begin


class Window:
    """Rows that were collected.

    Attributes:
        counts: of them.
        start: the first row, or the Unix time.
        expected: counts that were to be expected of them, where that varies; None where the whole reference is.
    """

    __slots__ = ("counts", "expected", "start")

    def __init__(self, counts: Counts, start: float = 0, expected: Expected = None) -> None:
        self.counts, self.start, self.expected = counts, start, expected

    def add(self, other: Window) -> None:
        """Add another window's rows."""
        self.counts = self.counts + other.counts
        if other.expected is not None:
            self.expected = other.expected if self.expected is None else self.expected + other.expected

    def result(self, test: WindowTest, level: float) -> WindowResult:
        """Test the rows against what was expected of them."""
        if self.expected is not None:
            rows = test.counts.sum(-1, keepdims=True)
            mixture = np.rint(shares(self.expected) * rows).astype(np.int64)
            test = replace(test, counts=mixture)
        return test.test(self.counts.table, level)

    def to_json(self) -> dict[str, Any]:
        """Give the rows as JSON values."""
        expected = None if self.expected is None else squeeze(self.expected)
        data = squeeze(np.frombuffer(self.counts.to_bytes(), np.uint8))
        return {"counts": data, "expected": expected, "start": self.start}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Window:
        """Read what `to_json` wrote."""
        expected = document["expected"]
        counts = Counts.from_bytes(unsqueeze(document["counts"]).tobytes())
        return cls(counts, document["start"], None if expected is None else unsqueeze(expected))


class Tumbling:
    """Collects counts into windows and tests each when it is full.

    Larger windows are sums of finished smaller ones, days of hours and weeks of days.

    Args:
        test: of the reference.
        names: of the features.
        run_length: mean number of rows until a false alarm of all windows of rows together, at least.
    """

    def __init__(self, test: WindowTest, names: tuple[str, ...], run_length: float) -> None:
        self._test, self._names, self._run_length = test, names, run_length
        self._open = {str(size): Window(Counts(len(names))) for size in SIZES}
        self._finished: dict[str, Window] = {}
        self._told: dict[str, deque[Window | WindowSummary]] = {}

    @property
    def summaries(self) -> tuple[WindowSummary, ...]:
        """The latest finished windows of each kind, oldest first."""
        for kind, windows in self._told.items():
            for index, window in enumerate(windows):
                if isinstance(window, Window):
                    windows[index] = self._summary(kind, window)
        return tuple(one for windows in self._told.values() for one in windows if isinstance(one, WindowSummary))

    def _summary(self, kind: str, window: Window) -> WindowSummary:
        level = LEVEL if kind in _PERIODS else level_of(int(kind), self._run_length)
        result = window.result(self._test, level)
        drifted = tuple(name for name, found in zip(self._names, result.drifted, strict=True) if found)
        p, effect = float(result.p.min(initial=1.0)), float(result.psi.max(initial=0.0))
        return WindowSummary(kind, window.start, window.counts.rows, p, effect, drifted)

    def add(self, counts: Counts, rows: int, time: float | None, expected: Expected) -> dict[int, Window]:
        """Add a step that ends at row `rows`, in which the shares `expected` are normal (None: the reference's).

        Returns the windows of rows that are finished by it, by their size.
        """
        finished: dict[int, Window] = {}
        step = latest = Window(counts, 0, None if expected is None else expected * counts.rows)
        for size in SIZES:
            window = self._open[str(size)]
            window.add(latest)
            if window.counts.rows < size:
                break
            self._finish(str(size), Window(Counts(counts.features), rows))
            finished[size] = latest = window
        if time is not None:
            self._add_to_hour(step, time)
        return finished

    def _add_to_hour(self, latest: Window, time: float) -> None:
        for kind, larger in zip(_PERIODS, (*_PERIODS, None)[1:], strict=False):
            window = self._open.get(kind)
            if window is not None and window.start != _start_of(time, kind):
                self._finish(kind)
                if larger is not None:
                    self._opened(larger, window.start).add(window)
        self._opened("hour", time).add(latest)

    def _opened(self, kind: str, time: float) -> Window:
        return self._open.setdefault(kind, Window(Counts(len(self._names)), _start_of(time, kind)))

    def _finish(self, kind: str, following: Window | None = None) -> None:
        window = self._finished[kind] = self._open.pop(kind)
        told = self._told.setdefault(kind, deque(maxlen=_KEPT.get(kind, _SUMMARIES)))
        told.append(window if kind in _KEPT else self._summary(kind, window))
        if following is not None:
            self._open[kind] = following

    def recent(self, age: float) -> Window:
        """Return the largest finished window within so many latest rows; else the smallest; else what there is."""
        fitting = [str(size) for size in SIZES if str(size) in self._finished and (2 * size <= age or size == SIZES[0])]
        return self._finished[fitting[-1]] if fitting else self._open[str(SIZES[0])]

    def to_json(self) -> dict[str, Any]:
        """Give all windows as JSON values."""
        return {
            "open": {kind: window.to_json() for kind, window in self._open.items()},
            "finished": {kind: window.to_json() for kind, window in self._finished.items()},
            "summaries": [asdict(summary) for summary in self.summaries],
        }

    def restore(self, document: Mapping[str, Any]) -> None:
        """Take what `to_json` gave."""
        self._open = {kind: Window.from_json(each) for kind, each in document["open"].items()}
        self._finished = {kind: Window.from_json(each) for kind, each in document["finished"].items()}
        self._told = {}
        for one in document["summaries"]:
            told = self._told.setdefault(one["kind"], deque(maxlen=_KEPT.get(one["kind"], _SUMMARIES)))
            told.append(WindowSummary(**{**one, "drifted": tuple(one["drifted"])}))


def _start_of(time: float, kind: str) -> float:
    shift = _MONDAY if kind == "week" else 0
    return (time - shift) // _PERIODS[kind] * _PERIODS[kind] + shift
