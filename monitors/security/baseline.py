"""What honest rows look like: how often each event happens among rows of the reference, so that a signal stays silent
where the event is common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serinus.monitors.security.extraction import (
    BOUNDARY,
    NEAR,
    NEAR_DUPLICATES,
    STRUCTURED,
    SYNTHETIC,
    Sketch,
    normality,
    smallest_distances,
)
from serinus.monitors.security.inversion import FEW_CHANGES, RECENT, TINY_STEPS, changes
from serinus.monitors.security.signals import Signal

__all__ = ["HISTORY", "WINDOW", "Baseline"]

Floats = NDArray[np.float64]

HISTORY = 256
"""Earlier rows of a client that a new one is compared with."""

WINDOW = 64
"""Distances whose spread is judged at a time."""

_ROWS = 3_000
_WINDOWS = 200
_NEAREST_TENTH = 0.1
_ODD_TWENTIETH = 0.05


@dataclass(frozen=True, eq=False)
class Baseline:
    """What is needed to judge a client's rows.

    Attributes:
        sketch: how rows are compared.
        margin: answers with a margin below it are at the boundary; a tenth of the reference's are. None: not known.
        spread: windows of distances with a lower normality are odd; one in twenty of the reference's are.
        shares: how often each event happened among reference rows, by the signal's name.
        rows: how many reference rows that is taken from.
    """

    sketch: Sketch
    margin: float | None
    spread: float
    shares: dict[str, float]
    rows: int

    @classmethod
    def fit(cls, numbers: Floats, margins: Floats | None = None, *, seed: int = 0) -> Baseline:
        """Learn from reference rows [m, Rn] (NaN for missing) and the margins [m] of their answers.

        The reference is dealt into made-up clients who ask its rows in random order.
        """
        numbers = np.asarray(numbers, np.float64)
        random = np.random.default_rng(seed)
        sketch = Sketch.fit(numbers, seed=seed)
        rows = numbers[random.permutation(len(numbers))[:_ROWS]]
        standard = sketch.standardise(rows)
        distances = _distances(sketch.of(standard))
        finite = np.empty(0) if margins is None else margins[np.isfinite(margins)]
        margin = float(np.quantile(finite, _NEAREST_TENTH)) if finite.size else None
        recent = np.array([changes(row, standard[max(0, at - RECENT):at].astype(np.float32))
                           for at, row in enumerate(standard.astype(np.float32))]).reshape(-1, 2)
        few, tiny = recent.mean(axis=0) if len(recent) else (0.0, 0.0)
        shares = {
            NEAR_DUPLICATES.name: float(np.mean(distances <= NEAR)) if len(distances) else 0.0,
            BOUNDARY.name: 1.0 if margin is None else float(np.mean(finite < margin)),
            SYNTHETIC.name: _ODD_TWENTIETH, STRUCTURED.name: _ODD_TWENTIETH,
            FEW_CHANGES.name: float(few), TINY_STEPS.name: float(tiny)}
        return cls(sketch, margin, _odd_spread(distances, random), shares, len(rows))

    def signals(self) -> tuple[Signal | None, ...]:
        """The signals with bounds for this population; None for one that it makes impossible."""
        every = (NEAR_DUPLICATES, BOUNDARY, SYNTHETIC, STRUCTURED, FEW_CHANGES, TINY_STEPS)
        return tuple(signal.bounded(self.shares[signal.name]) for signal in every)

    def to_json(self) -> dict[str, Any]:
        """As a JSON object; no row of the reference is in it."""
        return {"sketch": self.sketch.to_json(), "margin": self.margin, "spread": self.spread, "shares": self.shares,
                "rows": self.rows}

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Baseline:
        """The same baseline again."""
        return cls(Sketch.from_json(document["sketch"]), document["margin"], document["spread"], document["shares"],
                   document["rows"])


def _distances(sketches: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Of each row to the nearest of the 256 before it; rows that have fewer before them are left out."""
    return np.array([smallest_distances(sketches[at:at + 1], sketches[at - HISTORY:at])[0]
                     for at in range(HISTORY, len(sketches))], np.int64)


def _odd_spread(distances: NDArray[np.int64], random: np.random.Generator) -> float:
    """The normality that one window in twenty falls below; windows are drawn from the distances."""
    if len(distances) < WINDOW:
        return 0.0
    drawn = [normality(random.choice(distances, WINDOW)) for _ in range(_WINDOWS)]
    return float(np.quantile(drawn, _ODD_TWENTIETH))
