"""The trailing reference: the rows just before, against which a sudden change stands out.

The registration reference tells a slow drift; after it, every window differs from it, and a second change would be
hidden in the first. The trailing reference has the same bins and is fed by the same counts: the latest `window` rows
are compared with the `rows` before them. It moves along, so a change is sudden only once; nothing that creeps is seen.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serinus.monitors.packing import squeeze, unsqueeze
from serinus.monitors.windows import WindowResult, WindowTest, level_of

__all__ = ["Trailing"]


class Trailing:
    """Compares windows with the windows before them.

    Args:
        test: of the registration reference, for the dispersion that its blocks show.
        run_length: mean number of rows until a false alarm, at least.
        window: rows of the latest window.
        windows: how many windows before it are the reference; half of them must be there before anything is said.
    """

    def __init__(self, test: WindowTest, run_length: float, window: int = 1_024, windows: int = 8) -> None:
        self._test, self._run_length, self._size = test, run_length, window
        self._current = np.zeros_like(test.counts)
        self._windows: deque[NDArray[np.int64]] = deque(maxlen=windows + 1)
        self._least = windows // 2
        self.result: WindowResult | None = None
        """Of the latest finished window; None before there are enough."""

    def observe(self, table: NDArray[np.int64]) -> None:
        """Take counts `[R, 18]` of the next rows."""
        self._current = self._current + table
        if self._current.sum(-1).max(initial=0) >= self._size:
            self._windows.append(self._current)
            self._current = np.zeros_like(self._current)
            self._judge()

    def _judge(self) -> None:
        *before, latest = self._windows
        if len(before) >= self._least:
            trailing = replace(self._test, counts=np.sum(before, axis=0))
            self.result = trailing.test(latest, level_of(self._size, self._run_length))

    def start_of(self, rows: int) -> int:
        """Return the row at which the latest finished window began, if `rows` were observed so far."""
        latest = sum(int(table.sum(-1).max(initial=0)) for table in (self._current, self._windows[-1]))
        return max(rows - latest, 0)

    def to_json(self) -> dict[str, Any]:
        """Give the windows as JSON values."""
        return squeeze(np.stack([self._current, *self._windows]))

    def restore(self, document: Mapping[str, Any]) -> None:
        """Take what `to_json` gave."""
        self._current, *windows = unsqueeze(dict(document))
        self._windows = deque(windows, maxlen=self._windows.maxlen)
        if windows:
            self._judge()
