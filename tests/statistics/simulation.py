"""Counts of normal features, drawn directly: exact and fast, since a detector sees nothing else of a row."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serinus.monitors.dead_zone import dead_zone
from serinus.monitors.features import UNSEEN, VALUES, WIDTH
from serinus.monitors.sequential import EDetector

Array = NDArray[Any]

CDF = np.vectorize(NormalDist().cdf)


@dataclass(frozen=True)
class Normals:
    """A reference of i.i.d. standard normal features, binned at its own quantiles.

    Attributes:
        blocks: counts `[K, R, 18]`.
        ends: of the 16 bins, `[R, 17]`: lowest value, inner edges, highest value.
    """

    blocks: Array
    ends: Array

    @classmethod
    def draw(cls, rng: np.random.Generator, rows: int, features: int = 30, blocks: int = 32) -> Normals:
        """Draw a reference."""
        values = np.sort(rng.normal(size=(features, rows)), axis=1)
        firsts = np.arange(1, VALUES) * rows // VALUES
        inner = (values[:, firsts] + values[:, np.maximum(firsts - 1, 0)]) / 2
        ends = np.column_stack([values[:, :1], inner, values[:, -1:]])
        shuffled = rng.permuted(values, axis=1)
        parts = np.array_split(shuffled, min(blocks, rows), axis=1)
        return cls(np.stack([cls._counted(part, inner) for part in parts]), ends)

    @staticmethod
    def _counted(values: Array, inner: Array) -> Array:
        codes = (values[:, :, None] >= inner[:, None]).sum(2)
        return np.stack([np.bincount(row, minlength=WIDTH) for row in codes])

    @property
    def ordered(self) -> Array:
        """All features are numeric."""
        return np.ones(len(self.ends), bool)

    def shares(self, mean: float = 0.0, sd: float = 1.0) -> Array:
        """Return the true shares `[R, 18]` of normal rows."""
        cumulative = CDF((self.ends - mean) / sd)
        shares = np.zeros((len(self.ends), WIDTH))
        shares[:, :VALUES] = np.diff(cumulative, axis=1)
        shares[:, UNSEEN] = 1 - shares.sum(1)
        return shares

    def changed(self, mean: float = 0.0, sd: float = 1.0, features: int = 1) -> Array:
        """Return the true shares when the first features have changed."""
        shares = self.shares()
        shares[:features] = self.shares(mean, sd)[:features]
        return shares

    def detector(self, run_length: float = 1_000_000.0, zone: Array | None = None) -> EDetector:
        """Return the detector of this reference."""
        zone = dead_zone(self.blocks, self.ordered) if zone is None else zone
        weights = np.full(len(self.ends), 1 / len(self.ends))
        return EDetector(self.blocks.sum(0), self.ordered, zone, weights, run_length)


def alarms(detector: EDetector, rng: np.random.Generator, shares: Array, rows: int, step: int = 64) -> int:
    """Count the alarms in so many rows."""
    evidence, found = detector.start(), 0
    for _ in range(rows // step):
        evidence = detector.step(evidence, rng.multinomial(step, shares))
        if detector.alarms(evidence):
            found += 1
            evidence = detector.start()
    return found


def delay(
    detector: EDetector, rng: np.random.Generator, before: Array, after: Array, limit: int = 20_000, step: int = 64
) -> float:
    """Return the rows between a change, somewhere within a step, and the alarm; infinite if there is none."""
    evidence = detector.start()
    for _ in range(30):
        evidence = detector.step(evidence, rng.multinomial(step, before))
    late = int(rng.integers(step))
    counts = rng.multinomial(late, before) + rng.multinomial(step - late, after)
    for seen in range(step - late, limit, step):
        evidence = detector.step(evidence, counts)
        if detector.alarms(evidence):
            return float(seen)
        counts = rng.multinomial(step, after)
    return float("inf")
