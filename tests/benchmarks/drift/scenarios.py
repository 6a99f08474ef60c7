"""The rows that every detector gets: clean ones of four shapes, five changes, and one value of a million.

Features are independent of one another, so detectors that look at one at a time can be asked about all at once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

FEATURES = 30
REFERENCE = 5_000
HUGE = 1e6

Rows = NDArray[np.float64]
Draw = Callable[[np.random.Generator, tuple[int, ...]], Rows]


@dataclass(frozen=True)
class Shape:
    """Clean rows."""

    name: str
    draw: Draw
    category: bool = False


@dataclass(frozen=True)
class Change:
    """What happens to N(0, 1)."""

    name: str
    shift: float = 0.0
    scale: float = 1.0
    missing: float = 0.0

    def draw(self, rng: np.random.Generator, size: tuple[int, ...]) -> Rows:
        """Return values after the change."""
        values = self.shift + self.scale * rng.normal(size=size)
        values[rng.random(size) < self.missing] = np.nan
        return values


def _category(rng: np.random.Generator, size: tuple[int, ...]) -> Rows:
    shares = 1 / np.arange(1, 13)
    return rng.choice(12, size, p=shares / shares.sum()).astype(float)


SHAPES = (
    Shape("N(0, 1)", lambda rng, size: rng.normal(size=size)),
    Shape("lognormal", lambda rng, size: rng.lognormal(size=size)),
    Shape("t, 3 degrees of freedom", lambda rng, size: rng.standard_t(3, size)),
    Shape("a category of 12", _category, category=True),
)
CHANGES = (
    Change("mean +0.2 sd", shift=0.2),
    Change("mean +0.5 sd", shift=0.5),
    Change("mean +1 sd", shift=1.0),
    Change("scale × 1.3", scale=1.3),
    Change("missing +2 points", missing=0.02),
)


def clean(shape: Shape, windows: int, rows: int, seed: int) -> dict[str, NDArray[Any]]:
    """Return a reference and windows `[W, n, F]` of the same shape."""
    rng = np.random.default_rng(seed)
    return {"reference": shape.draw(rng, (REFERENCE, FEATURES)),
            "windows": shape.draw(rng, (windows, rows, FEATURES)), "category": np.array(shape.category)}


def changed_windows(reference: Rows, windows: int, rows: int, seed: int) -> Rows:
    """Return windows after the changes: column i has change i modulo their number."""
    rng = np.random.default_rng(seed)
    columns = [CHANGES[i % len(CHANGES)].draw(rng, (windows, rows)) for i in range(reference.shape[1])]
    return np.stack(columns, axis=-1)


def streams(clean_rows: int, rows: int, seed: int) -> dict[str, Rows]:
    """Return a reference, clean rows, and for each change and feature `[C, F, T]` the values after it."""
    rng = np.random.default_rng(seed)
    return {"reference": rng.normal(size=(REFERENCE, FEATURES)), "clean": rng.normal(size=(clean_rows, FEATURES)),
            "changed": np.stack([change.draw(rng, (FEATURES, rows)) for change in CHANGES])}


def masked(seed: int) -> dict[str, NDArray[Any]]:
    """Return a reference and two windows of 1,000 rows moved by 0.5 sd; in the second, one value is a million."""
    rng = np.random.default_rng(seed)
    plain = rng.normal(0.5, 1.0, (1_000, FEATURES))
    spoilt = plain.copy()
    spoilt[500] = HUGE
    return {"reference": rng.normal(size=(REFERENCE, FEATURES)), "windows": np.stack([plain, spoilt])}
