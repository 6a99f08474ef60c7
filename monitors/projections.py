"""Joint features: random Fourier features of a row, so that a changed correlation changes a feature of its own.

A monitor that watches one column at a time cannot see that two of them now rise together. `cos(w·z + b)`, with z the
standardised row and w and b random, is a random coordinate of a kernel's feature space (Rahimi & Recht 2007): a change
of the joint distribution changes how some of them are spread over their bins, and they are watched like every other
feature. The kernel's width is the median distance between reference rows (Gretton et al. 2012, section 8).

One correlation among 30 features would be lost in projections of all 30: it moves their variance by 2ρ/30. So the
features are dealt into k blocks and each projection looks at two blocks, k(k − 1)/2 being the number of projections:
every pair of features is in at least one, with an effect of ρ·k/30. Within a projection all weights have the same size
and a random sign, so that no pair is left out by chance (Gaussian weights were tried: they miss some pairs).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
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
        kept = _groups(numbers.shape[1], count, random)
        directions = kept * random.choice([-1.0, 1.0], kept.shape)
        drawn = random.integers(0, max(1, len(numbers)), (2, _PAIRS))
        rows, others = (scaling.standardise(numbers[chosen] if len(numbers) else numbers, _LIMIT) for chosen in drawn)
        directions /= _median_distances(rows - others, kept)
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


def _groups(width: int, count: int, random: np.random.Generator) -> Floats:
    """Which numbers each projection looks at, as 0 and 1 [width, count]: the numbers are dealt into k blocks, the
    projections get the k(k − 1)/2 pairs of blocks, and those that are left over get all numbers."""
    blocks = int((1 + np.sqrt(1 + 8 * count)) / 2)
    block = random.permutation(width) % blocks
    pairs = [np.isin(block, pair) for pair in combinations(range(blocks), 2)]
    everything = np.ones(width, bool)
    return np.array([pair if pair.sum() > 1 else everything for pair in pairs[:count]]
                    + [everything] * (count - len(pairs)), np.float64).reshape(count, width).T


def _median_distances(differences: Floats, kept: Floats) -> Floats:
    """Between random rows, as each projection sees them; 1 where rows do not differ."""
    distances = np.sqrt(differences**2 @ kept)
    apart = [column[column > 0] for column in distances.T]
    return np.array([np.median(column) if column.size else 1.0 for column in apart])
