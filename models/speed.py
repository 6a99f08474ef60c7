"""How much faster one model answers than another: measured in turns, as a ratio with its spread."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median, quantiles
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serinus.models.model import Model

__all__ = ["Speed", "measure_speed"]

Arrays = Mapping[str, NDArray[Any]]
Clock = Callable[[], float]

_BLOCKS = 15
_BLOCK_S = 0.01


@dataclass(frozen=True)
class Speed:
    """How long two models take for the same rows.

    Attributes:
        rows: the rows of one call.
        before: the median time of one call of the first model, in seconds.
        after: that of the second.
        ratio: how many times as fast the second is: the median over blocks that were measured in turns.
        low: the lower quartile of the blocks' ratios.
        high: the upper quartile.
    """

    rows: int
    before: float
    after: float
    ratio: float
    low: float
    high: float

    def to_json(self) -> dict[str, float]:
        """Give the numbers as JSON values, times in microseconds."""
        return {
            "rows": self.rows,
            "before_us": round(self.before * 1e6, 1),
            "after_us": round(self.after * 1e6, 1),
            "ratio": round(self.ratio, 2),
            "low": round(self.low, 2),
            "high": round(self.high, 2),
        }

    def __str__(self) -> str:
        rows = "1 row" if self.rows == 1 else f"{self.rows} rows"
        times = f"{self.before * 1e6:.0f} µs before, {self.after * 1e6:.0f} µs after"
        return f"{rows}: {self.ratio:.3g} times as fast ({self.low:.3g} to {self.high:.3g}; {times})"


def measure_speed(before: Model, after: Model, inputs: Arrays, rows: int, *, clock: Clock) -> Speed:
    """Let two models answer the same rows in turns, and compare block by block.

    What else the machine does meets both alike, so a ratio within one block says more than two times apart.

    Args:
        before: the first model.
        after: the second.
        inputs: rows to take from, from the first one on and again from there where they do not suffice.
        rows: how many of them one call has.
        clock: gives seconds, such as `time.perf_counter`.
    """
    taken = {name: array[np.arange(rows) % len(array)] for name, array in inputs.items()}
    calls = {model: _calls(model, taken, clock) for model in (before, after)}
    times: list[tuple[float, float]] = []
    for block in range(_BLOCKS):
        order = (before, after) if block % 2 else (after, before)
        took = {model: _time(model, taken, calls[model], clock) for model in order}
        times.append((took[before], took[after]))
    ratios = [one / other for one, other in times]
    low, _, high = quantiles(ratios, n=4)
    one, other = (median(column) for column in zip(*times, strict=True))
    return Speed(rows, one, other, median(ratios), low, high)


def _calls(model: Model, inputs: Arrays, clock: Clock) -> int:
    """Warm a model up, and give the number of calls that fill a block."""
    _time(model, inputs, 3, clock)
    return max(1, round(_BLOCK_S / _time(model, inputs, 3, clock)))


def _time(model: Model, inputs: Arrays, calls: int, clock: Clock) -> float:
    """Seconds of one call, over so many."""
    start = clock()
    for _ in range(calls):
        model.predict(inputs)
    return max(clock() - start, 1e-9) / calls
