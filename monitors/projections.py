"""Joint features: random Fourier features of a row, so that a changed correlation changes a feature of its own.

A monitor that watches one column at a time cannot see that two of them now rise together. `cos(w·z + b)`, with z the
standardised row, w Gaussian and b uniform, is a random coordinate of the Gaussian kernel's feature space (Rahimi & Recht
2007): any change of the joint distribution changes the mean of some of them, and with that their counts in bins. They
are watched like every other feature. The kernel's width is the median distance between reference rows (Gretton et al.
2012, section 8), and half of it for every second projection, for what changes on a smaller scale.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serinus.monitors.novelty import Scaling
from serinus.monitors.packing import pack, unpack

__all__ = ["Projections"]

Floats = NDArray[np.float64]

_PAIRS = 2000
_LIMIT = 5.0
"""Robust standard deviations at which values are cut: one huge value must not spin the cosine."""


@dataclass(frozen=True, eq=False)
class Projections:
    """`count` values in [−1, 1] for each row: cos(standardised row · directions + phases)."""

    scaling: Scaling
    directions: Floats
    phases: Floats

    @property
    def count(self) -> int:
        """How many values a row gets."""
        return len(self.phases)

    @classmethod
    def fit(cls, numbers: Floats, count: int = 16, *, seed: int = 0) -> Projections:
        """Draw directions and phases for reference rows [m, Rn], NaN for missing. Works with any m."""
        numbers = np.asarray(numbers, np.float64)
        random = np.random.default_rng(seed)
        scaling = Scaling.fit(numbers)
        widths = _median_distance(scaling, numbers, random) * np.where(np.arange(count) % 2, 0.5, 1.0)
        directions = random.standard_normal((numbers.shape[1], count)) / widths
        return cls(scaling, np.ascontiguousarray(directions), random.uniform(0, 2 * np.pi, count))

    def values(self, numbers: Floats) -> Floats:
        """The values [n, count] of rows [n, Rn]."""
        angles = self.scaling.standardise(numbers, _LIMIT) @ self.directions
        angles += self.phases
        return np.asarray(np.cos(angles, out=angles))

    def to_json(self) -> dict[str, Any]:
        """As a JSON object; no row of the reference is in it."""
        return {"centre": pack(self.scaling.centre), "weight": pack(self.scaling.weight),
                "directions": pack(self.directions), "phases": pack(self.phases)}

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Projections:
        """The same projections again, bit for bit."""
        return cls(Scaling(unpack(document["centre"]), unpack(document["weight"])), unpack(document["directions"]),
                   unpack(document["phases"]))


def _median_distance(scaling: Scaling, numbers: Floats, random: np.random.Generator) -> float:
    """Between pairs of rows drawn at random; 1 where there are none that differ."""
    if len(numbers) < 2:
        return 1.0
    pairs = random.integers(0, len(numbers), (2, _PAIRS))
    rows, others = (scaling.standardise(numbers[chosen], _LIMIT) for chosen in pairs)
    distances = np.sqrt(np.sum((rows - others) ** 2, axis=1))
    apart = distances[distances > 0]
    return float(np.median(apart)) if apart.size else 1.0
