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

from serinus.monitors.counts import Counts
from serinus.monitors.drift_state import WindowSummary
from serinus.monitors.packing import squeeze, unsqueeze
from serinus.monitors.windows import LEVEL, SIZES, WindowResult, WindowTest, level_of

__all__ = ["Tumbling", "Window"]

Expected = NDArray[np.float64] | None

_SUMMARIES = 48
_PERIODS = {"hour": 3_600, "day": 86_400, "week": 7 * 86_400}
_MONDAY = 4 * 86_400  # the first one of Unix time, where weeks begin


class Window:
    """Rows that were collected: their counts, what was expected of them where it varies, and where they began."""

    __slots__ = ("counts", "expected", "start")

    def __init__(self, counts: Counts, start: float = 0, expected: Expected = None) -> None:
        self.counts, self.start, self.expected = counts, start, expected

    def add(self, counts: Counts, expected: Expected) -> None:
        """Add rows, of which the shares `expected` are normal; None where the whole reference is."""
        self.counts = self.counts + counts
        if expected is not None:
            weighted = expected * counts.rows
            self.expected = weighted if self.expected is None else self.expected + weighted

    def result(self, test: WindowTest, level: float) -> WindowResult:
        """Test the rows against what was expected of them."""
        if self.expected is not None:
            rows = test.counts.sum(-1, keepdims=True)
            mixture = np.rint(self.expected / max(self.counts.rows, 1) * rows).astype(np.int64)
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

    Args:
        test: of the reference.
        names: of the features.
        run_length: mean number of rows until a false alarm of all windows of rows together, at least.
    """

    def __init__(self, test: WindowTest, names: tuple[str, ...], run_length: float) -> None:
        self._test, self._names, self._run_length = test, names, run_length
        self._open = {str(size): Window(Counts(len(names))) for size in SIZES}
        self._finished: dict[str, Window] = {}
        self._summaries: dict[str, deque[WindowSummary]] = {}

    @property
    def summaries(self) -> tuple[WindowSummary, ...]:
        """The latest finished windows of each kind, oldest first."""
        return tuple(summary for kind in self._summaries.values() for summary in kind)

    def add(self, counts: Counts, rows: int, time: float | None, expected: Expected) -> dict[int, WindowResult]:
        """Add a step that ends at row `rows`; return what finished windows of rows say, by their size."""
        said = {}
        for size in SIZES:
            window = self._open[str(size)]
            window.add(counts, expected)
            if window.counts.rows >= size:
                said[size] = self._finish(str(size), level_of(size, self._run_length))
                self._open[str(size)] = Window(Counts(counts.features), rows)
        if time is not None:
            for period, seconds in _PERIODS.items():
                self._add_to_period(period, seconds, time, counts, expected)
        return said

    def _add_to_period(self, period: str, seconds: int, time: float, counts: Counts, expected: Expected) -> None:
        shift = _MONDAY if period == "week" else 0
        start = (time - shift) // seconds * seconds + shift
        window = self._open.get(period)
        if window is not None and window.start != start:
            self._finish(period, LEVEL)
        if window is None or window.start != start:
            self._open[period] = Window(Counts(counts.features), start)
        self._open[period].add(counts, expected)

    def _finish(self, kind: str, level: float) -> WindowResult:
        window = self._open.pop(kind)
        result = window.result(self._test, level)
        drifted = tuple(name for name, found in zip(self._names, result.drifted, strict=True) if found)
        p, effect = float(result.p.min(initial=1.0)), float(result.psi.max(initial=0.0))
        summary = WindowSummary(kind, window.start, window.counts.rows, p, effect, drifted)
        self._summaries.setdefault(kind, deque(maxlen=_SUMMARIES)).append(summary)
        self._finished[kind] = window
        return result

    def recent(self, age: float) -> Window:
        """Return the largest finished window within so many latest rows; else the smallest; else what there is."""
        fitting = [str(size) for size in SIZES if str(size) in self._finished and (2 * size <= age or size == SIZES[0])]
        return self._finished[fitting[-1]] if fitting else self._open[str(SIZES[-1])]

    def to_json(self) -> dict[str, Any]:
        """Give all windows as JSON values."""
        return {
            "open": {kind: window.to_json() for kind, window in self._open.items()},
            "finished": {kind: window.to_json() for kind, window in self._finished.items()},
            "summaries": {kind: [asdict(one) for one in summaries] for kind, summaries in self._summaries.items()},
        }

    def restore(self, document: Mapping[str, Any]) -> None:
        """Take what `to_json` gave."""
        self._open = {kind: Window.from_json(each) for kind, each in document["open"].items()}
        self._finished = {kind: Window.from_json(each) for kind, each in document["finished"].items()}
        self._summaries = {
            kind: deque((WindowSummary(**{**one, "drifted": tuple(one["drifted"])}) for one in each), maxlen=_SUMMARIES)
            for kind, each in document["summaries"].items()
        }
