"""Thresholds by simulation: what does a distance say when reference and window come from one population?

Both are drawn anew from their pooled shares, a thousand times with a fixed seed, so the noise of a small reference
counts as much as that of a small window. What lies beyond the 90 % quantile is extrapolated: the square of a norm of a
Gaussian process has an exponential upper tail (M. B. Marcus and L. A. Shepp, Sample behavior of Gaussian processes,
Sixth Berkeley Symposium, 1972), a quadratic distance has one as it is, and the mean excess over that quantile is its
slope. Nearly empty bins make a heavier tail than χ²'s, and the excess knows of them.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serinus.monitors.distances.boundaries import unit_boundaries
from serinus.monitors.distances.distance import Distance, Floats, Measured, effective_rows, value_counts

__all__ = ["DRAWS", "simulated"]

DRAWS = 1_000
_TAIL = 0.1
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
        power = 1 if distance.quadratic else 2
        threshold, p_values[feature] = _tail(null**power, float(values[feature]) ** power, alpha)
        thresholds[feature] = threshold ** (1 / power)
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


def _tail(null: Floats, value: float, alpha: float) -> tuple[float, float]:
    """Give the threshold at alpha and the p-value of a square: counted up to the 90 % quantile, extrapolated above."""
    start = float(np.quantile(null, 1 - _TAIL))
    beyond = null[null > start]
    if not len(beyond):  # one bin, or a distance that is nearly always the same
        return start, 1.0 if value <= start else 0.0
    excess = float(beyond.mean()) - start
    threshold = start + excess * math.log(_TAIL / alpha) if alpha < _TAIL else float(np.quantile(null, 1 - alpha))
    if value > start:
        return threshold, float(_TAIL * math.exp((start - value) / excess))
    return threshold, float((1 + (null >= value).sum()) / (1 + len(null)))
