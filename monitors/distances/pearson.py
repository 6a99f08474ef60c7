"""What PSI, Jensen–Shannon and χ² have in common: without drift each is a known multiple of Pearson's statistic."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from serinus.monitors.distances.boundaries import unit_boundaries
from serinus.monitors.distances.distance import Distance, Floats, Measured, effective_rows
from serinus.monitors.distances.simulation import simulated

__all__ = ["PearsonLike"]

class PearsonLike(Distance, Protocol):
    """A distance whose null distribution is χ² with (used bins − 1) degrees of freedom, after a change of scale.

    Attributes:
        fewest: rows that each bin should expect for that to be right; with fewer, thresholds are simulated.
    """

    fewest: float = 5.0

    def measure(
        self,
        reference: NDArray[np.int64],
        window: NDArray[np.int64],
        *,
        alpha: float = 0.01,
        boundaries: Floats | None = None,
        dispersion: Floats | float = 1.0,
    ) -> Measured:
        """Give value, threshold and p-value: in closed form where every bin is full enough, by simulation elsewhere."""
        spread = np.broadcast_to(np.asarray(dispersion, dtype=np.float64), len(reference))
        if boundaries is None:
            boundaries = unit_boundaries(len(reference))
        full = _full(reference, window, spread, self.fewest)
        values, thresholds, p_values = (np.empty(len(reference)) for _ in range(3))
        for chosen, way in ((full, self._closed), (~full, self._simulated)):
            part = way(reference[chosen], window[chosen], alpha, boundaries[chosen], spread[chosen])
            values[chosen], thresholds[chosen], p_values[chosen] = part.values, part.thresholds, part.p_values
        return Measured(values, thresholds, p_values)

    @abstractmethod
    def to_pearson(self, values: Floats, size: Floats) -> Floats:
        """Give Pearson's statistic of distances; `size` is n·m / (n + m) of n and m rows."""
        ...

    @abstractmethod
    def from_pearson(self, statistics: Floats, size: Floats) -> Floats:
        """Give the distances of Pearson's statistics."""
        ...

    def _closed(
        self, reference: NDArray[Any], window: NDArray[Any], alpha: float, boundaries: Floats, dispersion: Floats
    ) -> Measured:
        from scipy.special import gammaincc, gammainccinv

        values = self.values(reference, window, boundaries)
        half = np.maximum(((reference + window) > 0).sum(-1) - 1, 0) / 2
        m, n = (counts.sum(-1).astype(np.float64) for counts in (reference, window))
        size = n * m / (n + m)
        one = half == 0  # everything lies in one bin, before and after
        half = np.where(one, 0.5, half)
        p_values = np.where(one, 1.0, gammaincc(half, self.to_pearson(values, size) / dispersion / 2))
        limits = 2 * gammainccinv(half, alpha) * dispersion
        thresholds = np.where(one, 0.0, self.from_pearson(limits, size))
        return Measured(values, thresholds, p_values)

    def _simulated(
        self, reference: NDArray[Any], window: NDArray[Any], alpha: float, boundaries: Floats, dispersion: Floats
    ) -> Measured:
        return simulated(self, reference, window, alpha=alpha, boundaries=boundaries, dispersion=dispersion)


def _full(
    reference: NDArray[Any], window: NDArray[Any], dispersion: Floats, wanted: float
) -> NDArray[np.bool_]:
    """Tell which features' used bins all expect enough rows, in the smaller of the two."""
    rows = [effective_rows(counts, dispersion, ordered=False) for counts in (reference, window)]
    pooled = (reference + window).astype(np.float64)
    fewest = np.where(pooled > 0, pooled, np.inf).min(-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        expected = fewest / pooled.sum(-1) * np.minimum(*rows)
    return np.asarray((rows[0] > 0) & (rows[1] > 0) & (expected >= wanted))
