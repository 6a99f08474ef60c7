"""Thresholds by simulation: what does a distance say when reference and window come from one population?

Both are drawn anew from their pooled shares, a thousand times with a fixed seed, so the noise of a small reference
counts as much as that of a small window. A gamma distribution with the mean and variance of the simulated values (of
their squares, where a distance is no square itself) gives the tail beyond the thousandth: for a distance that is
asymptotically a sum of squares of normal variables this is Satterthwaite's approximation.

F. E. Satterthwaite, An approximate distribution of estimates of variance components, Biometrics Bulletin 2 (1946).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from serinus.monitors.distances.distance import VALUE_BINS, Distance, Floats, Measured, effective_rows, value_counts

__all__ = ["DRAWS", "simulated"]

DRAWS = 1_000
_SEED = 0


def simulated(
    distance: Distance,
    reference: NDArray[Any],
    window: NDArray[Any],
    *,
    alpha: float,
    boundaries: Floats | None = None,
    dispersion: Floats | float = 1.0,
) -> Measured:
    """Measure a window against thresholds that were simulated for exactly these numbers of rows."""
    if boundaries is None:
        boundaries = unit_boundaries(len(reference))
    rows = [effective_rows(counts, dispersion, ordered=distance.ordered) for counts in (reference, window)]
    comparable = (rows[0] > 0) & (rows[1] > 0)
    values, thresholds, p_values = (np.full(len(reference), np.nan) for _ in range(3))
    values[comparable] = distance.values(reference, window, boundaries)[comparable]
    stretch = _stretch(distance, values, reference, window, boundaries, dispersion)
    for feature in np.flatnonzero(comparable):
        drawn = [max(1, round(float(count[feature]))) for count in rows]
        null = _null(distance, reference[feature], window[feature], boundaries[feature], drawn) * stretch[feature]
        thresholds[feature], p_values[feature] = _tail(
            null, float(values[feature]), alpha, power=1 if distance.quadratic else 2)
    return Measured(values, thresholds, p_values)


def _stretch(
    distance: Distance, values: Floats, reference: NDArray[Any], window: NDArray[Any], boundaries: Floats,
    dispersion: Floats | float,
) -> Floats:
    """Tell how much larger a distance is of all rows than of the independent ones: 1, unless it grows with rows."""
    spread = np.maximum(np.broadcast_to(np.asarray(dispersion, dtype=np.float64), len(values)), 1.0)
    fewer = distance.values(reference / spread[:, None], window / spread[:, None], boundaries)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where((spread > 1.0) & (fewer > 0), values / fewer, 1.0)


def unit_boundaries(features: int) -> Floats:
    """Give boundaries that make every bin one wide, for those who know none."""
    return np.tile(np.arange(VALUE_BINS + 1, dtype=np.float64), (features, 1))


def _null(
    distance: Distance, reference: NDArray[Any], window: NDArray[Any], boundaries: Floats, rows: list[int]
) -> Floats:
    """Give the distances of `DRAWS` pairs that come from the pooled shares."""
    pooled = (reference + window).astype(np.float64)
    if distance.ordered:
        pooled[len(value_counts(pooled)):] = 0.0
    shares = pooled / pooled.sum()
    generator = np.random.default_rng(_SEED)
    drawn = [generator.multinomial(count, shares, size=DRAWS)[:, None, :] for count in rows]
    return distance.values(drawn[0], drawn[1], boundaries[None, :])[:, 0]


def _tail(null: Floats, value: float, alpha: float, *, power: int) -> tuple[float, float]:
    """Give the threshold at alpha and the p-value of a value, by the gamma distribution that fits the null."""
    from scipy.special import gammaincc, gammainccinv

    null = null**power
    mean, variance = float(null.mean()), float(null.var())
    if not variance > 0.0:  # one bin, or a distance that is always the same
        return mean ** (1 / power), 1.0 if value**power <= mean else 0.0
    shape, scale = mean**2 / variance, variance / mean
    return float((scale * gammainccinv(shape, alpha)) ** (1 / power)), float(gammaincc(shape, value**power / scale))
