"""The dead zone: how far a contrast's mean may lie from 0 before it counts as a change.

A reference is a sample, so its shares are estimates; a detector that takes them for the truth alarms for ever on rows
of the same population. And rows of one population wander: an hour, a day or a customer differs from the next. The dead
zone ε of a contrast is, for either sign, the largest of

- the **estimate's error**. Location and scale: z·sd(g)/√m of m reference rows, and what bins without a reference row
  may add. Bins: the distance to Clopper and Pearson's limits of the bin's share at the same z, so that a bin with no
  reference row at all has one too. Unseen numbers lie outside the reference's own range, so their limit is that of one
  row more. z = Φ⁻¹(1 − 0.05/(2·features·contrasts)): over the draw of a reference, all contrasts are inside with
  probability 95 %.
- s = 1.5 times the **wander**: the largest deviation of a time block, or of the sum of 2, 4, 8 … neighbours, from the
  whole; but only for contrasts or features whose blocks differ by more than sampling explains (two χ² tests, each at
  5 % over everything that is tested). An i.i.d. reference has no wander and keeps the shortest delays; where there is
  wander, its deviation is not cleaned of noise. Of the forms tried on the census of Massachusetts (half of 2015 against
  the other half, 34,393 rows) this one made no alarm; the estimate's error alone made 5, deviations cleaned of noise 1,
  and contrasts tested one by one 2.
- a **tolerance** given by the user.

The e-detector's promise is then a theorem for the composite null |E[g | past]| ≤ ε. That ε covers the future is exact
(95 %) for rows drawn independently from one population; for rows that wander it is as good as the reference's blocks
are typical of what comes, which `self_check` tries on blocks that were held out.
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serinus.monitors.contrasts import CONTRASTS, contrasts, shares
from serinus.monitors.features import UNSEEN, WIDTH

__all__ = [
    "binomial_limits",
    "chi_squared_quantile",
    "critical_value",
    "dead_zone",
    "dispersion",
    "estimate_error",
    "wander",
]

Array = NDArray[Any]

EXACT = 60
"""Up to so many rows in or out of a bin, limits are exact."""


def critical_value(features: int, contrasts: int = CONTRASTS, share: float = 0.05) -> float:
    """Return z such that all two-sided limits of so many contrasts hold together with probability 1 − share."""
    return NormalDist().inv_cdf(1 - share / (2 * max(features, 1) * contrasts))


def dead_zone(
    blocks: Array, ordered: Array, *, z: float | None = None, spread: float = 1.5, tolerance: float = 0.0
) -> Array:
    """Return ε `[R, 20, 2]` (upwards, downwards) of reference blocks `[K, R, 18]` in time order.

    Args:
        blocks: counts per time block; one block says nothing about wander.
        ordered: which features have a location and a scale `[R]`.
        z: how many standard errors; by default from the number of features.
        spread: s, the margin on what the blocks show.
        tolerance: the least ε, as a difference of shares (bins) or of mean ranks (location).
    """
    counts = blocks.sum(0)
    g = contrasts(counts, ordered)
    z = critical_value(len(counts)) if z is None else z
    moved = spread * wander(blocks, g)
    return np.maximum(np.maximum(estimate_error(counts, g, z), moved[:, :, None]), tolerance)


def estimate_error(counts: Array, g: Array, z: float) -> Array:
    """Return how far the true mean of each contrast may lie above and below 0, `[R, 20, 2]`."""
    rows = counts.sum(-1)
    p = shares(counts)
    error = np.empty((len(counts), CONTRASTS, 2))
    spread = np.sqrt(np.maximum((p[:, None] * g[:, :2] ** 2).sum(-1), 0.0))
    # The reference's own range is what makes a number unseen: what lies outside has the law of one row more.
    beyond = counts + (np.arange(WIDTH) == UNSEEN)
    total = np.broadcast_to(rows[:, None], counts.shape)
    low, high = binomial_limits(counts, total, z)[0], binomial_limits(np.minimum(beyond, total), total, z)[1]
    # A bin that no reference row reached may still have a share.
    reach = np.where(p[:, None] == 0, np.abs(g[:, :2]), 0.0).max(-1)
    error[:, :2] = (z * spread / np.sqrt(np.maximum(rows, 1))[:, None] + reach * high[:, UNSEEN, None])[:, :, None]
    error[:, 2:, 0], error[:, 2:, 1] = high - p, p - low
    return error


def binomial_limits(count: Array, rows: Array, z: float) -> tuple[Array, Array]:
    """Return Clopper and Pearson's limits of a share at z: exact for few rows in or out, else by a cube root."""
    k, n = np.asarray(count, float), np.asarray(rows, float)
    low, high = 1 - _cube_root_limit(n - k, n, z), _cube_root_limit(k, n, z)
    tail = 0.5 * math.erfc(z / math.sqrt(2))
    few, nearly_all = k <= EXACT, n - k <= EXACT
    for total in np.unique(n[few | nearly_all]):
        here = n == total
        _fill(few & here, k, total, tail, low, high)
        _fill(nearly_all & ~few & here, total - k, total, tail, high, low, mirrored=True)
    return low, high


def _cube_root_limit(k: Array, n: Array, z: float) -> Array:
    """Return the upper limit by Paulson's approximation of the beta distribution, within 0.02 sd from 60 rows on.

    Blyth: Approximate binomial confidence limits, Journal of the American Statistical Association 81 (1986).
    """
    above, rest = k + 1, np.maximum(n - k, 1)
    root = np.sqrt(np.maximum(9 * above * rest * (9 * n + 5 - z * z) + n + 1, 0))
    cube = (81 * above * rest - 9 * n - 8 - 3 * z * root) / (81 * above**2 - 9 * above * (2 + z * z) + 1)
    limit: Array = 1 / (1 + (above / rest) ** 2 * cube**3)
    return limit


def _fill(where: Array, k: Array, n: float, tail: float, low: Array, high: Array, mirrored: bool = False) -> None:
    for count in np.unique(k[where]):
        lower, upper = _clopper_pearson(int(count), float(n), tail)
        at = where & (k == count)
        low[at], high[at] = (1 - lower, 1 - upper) if mirrored else (lower, upper)


def _clopper_pearson(count: int, n: float, tail: float) -> tuple[float, float]:
    lower = 0.0 if count == 0 else _solve(count - 1, n, 1 - tail)
    upper = 1.0 if count >= n else _solve(count, n, tail)
    return lower, upper


def _solve(count: int, n: float, target: float) -> float:
    """Return the p at which a binomial count of n rows is at most `count` with probability `target`."""
    k = np.arange(count + 1)
    steps = np.concatenate([[0.0], np.log((n - k[:-1]) / (k[:-1] + 1))])
    chosen = np.cumsum(steps)
    low, high = 0.0, 1.0
    for _ in range(60):
        p = (low + high) / 2
        logs = chosen + k * math.log(p) + (n - k) * math.log1p(-p)
        low, high = (p, high) if np.exp(logs).sum() > target else (low, p)
    return (low + high) / 2


def wander(blocks: Array, g: Array) -> Array:
    """Return the largest deviation of time blocks from the whole, `[R, 20]`; 0 for features that do not wander."""
    scales = _scales(blocks)
    largest = np.zeros(g.shape[:2])
    for table in scales:
        largest = np.maximum(largest, _deviation(table, blocks.sum(0), g, len(scales)))
    return largest


def _scales(blocks: Array) -> list[Array]:
    tables, table = [], blocks
    while len(table) >= 2:
        tables.append(table)
        table = np.add.reduceat(table, np.arange(0, len(table), 2), axis=0)
    return tables


def _deviation(table: Array, counts: Array, g: Array, scales: int) -> Array:
    rows, total = table.sum(-1)[:, :, None].astype(float), np.maximum(counts.sum(-1), 1)[:, None]
    deviation = np.einsum("krb,rcb->krc", shares(table), g)
    # With few rows of a bin in a block, one row more is no wander: the variance is at least that of 4 such rows.
    variance = np.maximum(np.einsum("rb,rcb->rc", shares(counts), g**2), 4 * len(table) / total)
    squares = (rows * deviation**2).sum(0) / variance
    limit = chi_squared_quantile(len(table) - 1, critical_value(len(counts) * scales, CONTRASTS, 0.1))
    wanders = (squares > limit) | _disperses(table, counts, scales)[:, None]
    return np.where(wanders, np.abs(deviation).max(0), 0.0)


def _disperses(table: Array, counts: Array, scales: int) -> Array:
    """Tell which features' blocks differ in all their bins together by more than chance, `[R]`."""
    squares, free = dispersion(table, counts)
    z = NormalDist().inv_cdf(1 - 0.05 / (max(len(counts), 1) * scales))
    return squares > chi_squared_quantile(free, z)


def dispersion(table: Array, counts: Array) -> tuple[Array, Array]:
    """Return Pearson's χ² of blocks `[K, R, 18]` against the whole, and its degrees of freedom, both `[R]`.

    Bins with less than 5 expected rows in a block are left out; without two bins there is no degree of freedom.
    """
    rows, p = table.sum(-1, keepdims=True), shares(counts)
    expected = rows * p
    used = expected.min(0, initial=np.inf, where=rows > 0) >= 5
    terms = np.where(used, (table - expected) ** 2 / np.where(expected > 0, expected, 1.0), 0.0)
    free = np.maximum((rows > 0).sum((0, 2)) - 1, 0) * np.maximum(used.sum(1) - 1, 0)
    return terms.sum((0, 2)), free


def chi_squared_quantile(free: Array | int, z: float) -> Array:
    """Return the quantile of χ² at the normal quantile z, by Wilson and Hilferty's cube."""
    third = 2 / (9 * np.maximum(free, 1))
    quantile: Array = np.maximum(free, 1) * (1 - third + z * np.sqrt(third)) ** 3
    return quantile
