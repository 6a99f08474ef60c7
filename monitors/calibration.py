"""Is a probability what it says? All from a table of score bins with rows, Σp and positives, which adds exactly.

```
expected calibration error  Σ n_b/n·|ō_b − p̄_b|, in 15 bins with equally many rows, less what chance alone would give
Brier score                 reliability − resolution + uncertainty (+ what lies within bins)      Murphy 1973
slope, intercept            of the truth's logit on the score's: 1 and 0 where all is well           Cox 1958
reliability                 per bin: what was said, what happened, Wilson's interval
```

The plain error is never 0: of n rows in a bin the share of positives lies √(p(1−p)/n) off by chance. Debiased, each
squared gap loses its own variance before the root is taken, and the error is what would remain with endless rows
(Kumar, Liang & Ma 2019, arXiv 1909.10155; Roelofs et al. 2022). Tables are those of `performance` (`scores`).
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from serinus.monitors import intervals
from serinus.monitors.calibrators import Platt, fit_platt
from serinus.monitors.intervals import LEVEL, Interval
from serinus.monitors.metrics import FINE, Sums

__all__ = ["BINS", "FEWEST", "Calibration", "Decomposition", "Reliability", "calibration_of", "classwise"]

BINS = 15
"""Bins of the reliability table, with equally many rows as far as equal scores allow."""

FEWEST = 200
"""Rows below which nothing is said."""

Array = NDArray[Any]


class Reliability(NamedTuple):
    """One bin: how many rows, what they were said to be, what they were."""

    rows: int
    said: float
    happened: float
    interval: Interval


class Decomposition(NamedTuple):
    """The parts of a Brier score: `reliability − resolution + uncertainty`, up to what lies within bins.

    Attributes:
        reliability: how far bins are from what they said; 0 is best.
        resolution: how much bins differ from one another; more is better.
        uncertainty: of the classes themselves.
    """

    reliability: float
    resolution: float
    uncertainty: float


class Calibration(NamedTuple):
    """How well one class's probabilities are calibrated.

    Attributes:
        rows: with a score and the truth.
        error: the debiased expected calibration error.
        raw_error: the plain one.
        noise: what the plain one would be of probabilities that are right.
        bias: mean score less share of positives.
        slope, intercept: of the logits.
        brier: its parts.
        bins: the reliability table.
    """

    rows: int
    error: float
    raw_error: float
    noise: float
    bias: float
    slope: float
    intercept: float
    brier: Decomposition
    bins: tuple[Reliability, ...]

    @property
    def sentence(self) -> str:
        """What a reader should know."""
        if self.error < 0.01:
            return f"Probabilities are right within {max(self.error, 0.001):.1%} on average."
        how = "too sure of themselves" if self.slope < 0.9 else "too cautious" if self.slope > 1.1 else \
            "too high" if self.bias > 0 else "too low"
        return f"Probabilities are {how}: {self.error:.1%} off on average."


def calibration_of(table: Array, bins: int = BINS, level: float = LEVEL) -> Calibration | None:
    """Judge the probabilities of one class; None below 200 rows.

    Args:
        table: rows, positives and Σp in 2⁻²⁰ by rising score bin, `[256, 3]`.
        bins: of the reliability table.
        level: of its intervals.
    """
    rows = int(table[:, 0].sum())
    if rows < FEWEST:
        return None
    merged = _equal_mass(table, bins)
    n, hits, said = merged[:, 0].astype(float), merged[:, 1].astype(float), merged[:, 2] / FINE
    p, o, share = said / n, hits / n, hits.sum() / rows
    line = _line(table)
    return Calibration(
        rows, _debiased(n, p, o), float(n @ np.abs(o - p) / rows), float(n @ _noise(n, p) / rows),
        float(said.sum() / rows - share), line.slope, line.intercept,
        Decomposition(float(n @ (o - p) ** 2 / rows), float(n @ (o - share) ** 2 / rows), float(share * (1 - share))),
        tuple(_reliability(*cell, level) for cell in zip(n, p, hits, strict=True)),
    )  # fmt: skip


def classwise(sums: Sums) -> list[Calibration | None]:
    """Judge every class that is looked at: the positive one of two, all of more."""
    return [calibration_of(table) for table in sums.table("scores")] if "scores" in sums.tables else []


def _equal_mass(table: Array, bins: int) -> Array:
    """Join neighbouring score bins until each has about the same number of rows; none is empty."""
    used = table[table[:, 0] > 0]
    middles = np.cumsum(used[:, 0]) - used[:, 0] / 2
    places = np.minimum((middles * bins / used[:, 0].sum()).astype(int), bins - 1)
    starts = np.flatnonzero(np.diff(places, prepend=-1))
    joined: Array = np.add.reduceat(used, starts, axis=0)
    return joined


def _noise(n: Array, p: Array) -> Array:
    """The mean absolute deviation of a share of n rows of probability p: √(2/π) standard deviations."""
    spread: Array = np.sqrt(2 / math.pi * np.clip(p * (1 - p), 0.0, None) / n)
    return spread


def _debiased(n: Array, p: Array, o: Array) -> float:
    """The root mean square gap less its noise, then as an absolute one: never more than the plain error."""
    plain = float(n @ np.abs(o - p) / n.sum())
    squares = (o - p) ** 2 - o * (1 - o) / np.maximum(n - 1, 1)
    return min(math.sqrt(max(float(n @ squares / n.sum()), 0.0)), plain)


def _line(table: Array) -> Platt:
    """Cox's line through the bins' mean scores; without both classes it says nothing."""
    used = table[table[:, 0] > 0].astype(float)
    if not 0 < used[:, 1].sum() < used[:, 0].sum():
        return Platt(math.nan, math.nan)
    said = used[:, 2] / FINE / used[:, 0]
    return fit_platt(np.concatenate([said, said]), np.repeat([1.0, 0.0], len(said)),
                     np.concatenate([used[:, 1], used[:, 0] - used[:, 1]]))


def _reliability(n: float, p: float, hits: float, level: float) -> Reliability:
    interval = intervals.proportion(hits, n, level)
    return Reliability(int(n), float(p), float(hits / n), interval or Interval(0.0, 1.0))
