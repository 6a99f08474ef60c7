"""Windows: the test of a number of rows at once, for charts, reports and verdicts on a batch.

A window is a sum of counts: of 64·4ᵏ rows (`SIZES`), of an hour, a day or a week. Each feature is asked at most five
questions, and its p-value is the smallest of theirs, each divided by its share of the error (`_SHARES`):

- shape: Pearson's two-sample χ² over the bins, Σ (x·√(m/n) − r·√(n/m))² / (x + r), of n window and m reference rows;
  bins with less than 5 expected window rows are one bin;
- location and scale (numbers): the contrast's difference over its standard error, squared;
- missing and unseen: the exact conditional binomial test of two counts. It also stands for shape and location where
  few rows are expected beside the most frequent bin: there χ² promises too much at such levels.

All of them count the reference's own error. Holm's step-down over the features makes the p-values those of a family: at
level 0.01 at most 1 in 100 windows of the same population names any feature, however features depend on one another;
features may have weights, so that a few outputs are not drowned by many inputs. A quarter of the error is the omnibus
test's (`omnibus`), where the reference has one: it names the likeliest feature where none stands out by itself.

**Rows that wander.** Where the reference's time blocks differ among themselves by more than chance, a statistic's mean
over blocks is φ > 1 and its tail is heavier. It is then compared with the gamma distribution that has the blocks' own
mean and variance. φ − 1 grows with the size of a window as it does between the blocks' sizes, or like the rows
where that is unknown. An i.i.d. reference keeps χ².

What happens to a feature in one block of two hundred is in no gamma distribution, and with seventy such features it is
in every tenth block. So the restless features are held against the reference's own blocks once more, together: of the
smallest p-value among them in each block, as the other blocks would judge it, the share below 0.1 and the mean excess
of its logarithm (counting one block more than were seen, as chance has it) tell how often the reference itself has such
a window: no p-value of theirs is smaller than that.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serinus.monitors.contrasts import LOCATION, SCALE, contrasts, shares
from serinus.monitors.dead_zone import chi_squared_quantile
from serinus.monitors.features import MISSING, UNSEEN, WIDTH
from serinus.monitors.omnibus import Omnibus
from serinus.monitors.packing import pack, unpack

__all__ = ["LEVEL", "SIZES", "WindowResult", "WindowTest", "holm", "level_of", "smallest_shift", "wilson"]

Array = NDArray[Any]

SIZES = (64, 256, 1_024, 4_096, 16_384)
"""Rows of the tumbling windows."""

LEVEL = 0.01
"""Of 100 windows of the same population, at most one names any feature."""

_QUESTIONS = 5
_SHAPE, _LOCATION, _SCALE, _MISSING, _UNSEEN = range(_QUESTIONS)
_SHARES = np.array([[0.70, 0.00, 0.00, 0.15, 0.15], [0.30, 0.40, 0.10, 0.10, 0.10]])
"""How the error of a feature is shared between the questions: of a categorical one, of a numeric one."""

_ENDS = [MISSING, UNSEEN]
_LEARNT = ("sizes", "inflation", "freedom", "tails")
_OMNIBUS = 0.25
"""The share of the error that the omnibus test has, where there is one."""
_TAIL = 0.1
"""Below this p-value, restless features are held against the reference's own blocks."""
_LEAST = 5.0
"""Bins with less expected window rows are put together."""
_RARE = 100.0
"""Where less than a quarter of the rows, and less than so many of a window, are expected beside the most frequent bin,
χ² promises too much at small levels."""


def level_of(rows: int, run_length: float) -> float:
    """Return the level for one tumbling window, so that all sizes together alarm falsely once per `run_length` rows."""
    return rows / (len(SIZES) * run_length)


def smallest_shift(rows: int, reference: int, features: int, level: float = 0.001) -> float:
    """Return the mean shift, in standard deviations, that so many rows show with 80 % power; infinite for none."""
    if not rows or not reference:
        return math.inf
    z = NormalDist().inv_cdf(1 - level / (2 * max(features, 1)))
    return (z + NormalDist().inv_cdf(0.8)) * math.sqrt(1 / rows + 1 / reference)


def wilson(count: float, rows: float, z: float = 1.959963984540054) -> tuple[float, float]:
    """Return Wilson's 95 % interval of a share; (0, 1) without rows."""
    if rows <= 0:
        return 0.0, 1.0
    middle, half = count + z * z / 2, z * math.sqrt(count * (rows - count) / rows + z * z / 4)
    return max((middle - half) / (rows + z * z), 0.0), min((middle + half) / (rows + z * z), 1.0)


def holm(p: Array, weights: Array | None = None) -> Array:
    """Return Holm's adjusted p-values; with weights, those of his weighted procedure (1 where a weight is 0)."""
    w = np.ones(len(p)) if weights is None else np.asarray(weights, float)
    asked = np.where(w > 0, p / np.where(w > 0, w, 1.0), np.inf)
    order = np.argsort(asked, kind="stable")
    left = np.cumsum(w[order][::-1])[::-1]
    adjusted = np.empty(len(p))
    each = np.where(w > 0, asked, 0.0)[order] * left
    adjusted[order] = np.minimum(np.maximum.accumulate(np.where(w[order] > 0, each, 1.0)), 1.0)
    return adjusted


@dataclass(frozen=True, slots=True)
class WindowResult:
    """What a window says of each of R features.

    Attributes:
        rows: how many rows the window has.
        p: adjusted p-values: at most `level` means that the feature has changed.
        drifted: whether it has.
        psi: population stability index, less what chance adds.
        location: how far the feature moved up or down, as the mean normal score, about in standard deviations.
        missing, unseen: difference of the shares of missing and unseen values.
        level: of the family.
    """

    rows: int
    p: Array
    drifted: Array
    psi: Array
    location: Array
    missing: Array
    unseen: Array
    level: float

    @property
    def alarm(self) -> bool:
        """Whether any feature has changed."""
        return bool(self.drifted.any())


@dataclass(frozen=True)
class WindowTest:
    """Compares windows with a reference.

    Attributes:
        counts: of the reference `[R, 18]`.
        ordered: which features are numeric `[R]`.
        sizes: rows of the time blocks that were compared, rising.
        inflation: φ per size and question, `[S, 5, R]`, 1 where blocks differ by chance only.
        freedom: what the blocks' variance leaves of each statistic's degrees of freedom; infinite where all.
        tails: per size `[S, 2]`, how often restless features have a p-value below 0.1 in blocks, and its mean excess.
        weights: of the features `[R]` in the family; all alike by default.
        omnibus: of all features together, where the reference is even enough and long enough for one.
    """

    counts: Array
    ordered: Array
    sizes: Array
    inflation: Array
    freedom: Array
    tails: Array
    weights: Array | None = None
    omnibus: Omnibus | None = None

    @classmethod
    def of(cls, blocks: Array, ordered: Array, weights: Array | None = None) -> WindowTest:
        """Learn from a reference's counts `[K, R, 18]` in time order how far windows of one population differ."""
        counts, ordered = blocks.sum(0), np.asarray(ordered, bool)
        tables = [table for table in _sums_of_neighbours(blocks) if len(table) >= 8]
        ratios, wander = _ratios(tables, counts, ordered)
        sizes = np.array([table.sum(-1).mean() for table in tables])
        learnt = [_spread(each.mean(0), each.var(0, ddof=1), which) for each, which in zip(ratios, wander, strict=True)]
        inflation = np.array([each[0] for each in learnt]).reshape(-1, _QUESTIONS, len(counts))
        freedom = np.array([each[1] for each in learnt]).reshape(-1, _QUESTIONS, len(counts))
        alone = cls(counts, ordered, sizes, inflation, freedom, np.tile([0.0, 1.0], (len(tables), 1)), weights)
        tails = np.array([alone._tail(*each) for each in zip(tables, ratios, wander, strict=True)]).reshape(-1, 2)
        watched = np.ones(len(counts), bool) if weights is None else np.asarray(weights) > 0
        return replace(alone, tails=tails, omnibus=Omnibus.of(tables, ordered, watched))

    def _tail(self, table: Array, ratios: Array, wander: Array) -> tuple[float, float]:
        """Return how often the smallest p of restless features lies below 0.1 in blocks, and how far, as logarithm.

        Each block is judged by what the others say of unrest.
        """
        restless = wander.any(0)
        if not restless.any():
            return 0.0, 1.0
        smallest = np.empty(len(table))
        for index, (block, mean, variance) in enumerate(zip(table, *_without_each(ratios), strict=True)):
            others = replace(self, counts=self.counts - block)
            adjusted = holm(others._asked(block, *_spread(mean, variance, wander)), self.weights)
            smallest[index] = adjusted[restless & ~others._lost(block).any(1)].min(initial=1.0)
        excess = np.log(_TAIL / np.clip(smallest, 1e-300, _TAIL))
        below = int((excess > 0).sum())
        return (1 + below) / (1 + len(table)), max((1 + excess.sum()) / (1 + below), 1.0)

    @cached_property
    def _contrasts(self) -> Array:
        return contrasts(self.counts, self.ordered)

    def test(self, window: Array, level: float = LEVEL) -> WindowResult:
        """Compare counts `[R, 18]` with the reference; features without rows on either side say nothing."""
        rows = int(window.sum(-1).max(initial=0))
        adjusted = self._adjusted(window)
        q, p0 = shares(window), shares(self.counts)
        change = q - p0
        return WindowResult(
            rows,
            adjusted,
            adjusted <= level,
            _stability(window, self.counts),
            _in_sd(change, p0, self._contrasts),
            change[:, MISSING],
            change[:, UNSEEN],
            level,
        )

    def _adjusted(self, window: Array) -> Array:
        """Return the adjusted p-values of a window's features `[R]`."""
        rows = int(window.sum(-1).max(initial=0))
        inflation, freedom = self._null(rows)
        p = self._asked(window, inflation, freedom)
        adjusted = holm(p, self.weights)
        restless = (inflation > 1).any(0) & (adjusted < _TAIL) & ~self._lost(window).any(1)
        if restless.any():
            share, excess = self.tails[int(np.abs(np.log(self.sizes / rows)).argmin())]
            own = share * (np.maximum(adjusted, 1e-300) / _TAIL) ** (1 / excess)
            adjusted = np.where(restless, np.maximum(adjusted, own), adjusted)
        if self.omnibus is None:
            return adjusted
        weights = np.ones(len(p)) if self.weights is None else self.weights
        likeliest = int((weights / np.maximum(p, 1e-300)).argmax())
        adjusted = np.minimum(adjusted / (1 - _OMNIBUS), 1.0)
        adjusted[likeliest] = min(adjusted[likeliest], self.omnibus.p(window, self.counts) / _OMNIBUS)
        return adjusted

    def _asked(self, window: Array, inflation: Array, freedom: Array) -> Array:
        """Return each feature's p-value `[R]`, of all questions together, given φ and the degrees of freedom."""
        from scipy.special import gammaincc  # not at the top: a worker never tests

        statistics, free = _statistics(window, self.counts, self._contrasts)
        freedom, mean = np.minimum(free, freedom), inflation * free
        p = gammaincc(freedom / 2, statistics / mean * freedom / 2)
        lost = self._lost(window).T
        for question, code, gone in zip((_MISSING, _UNSEEN), _ENDS, lost, strict=True):
            exact = _exact(window[:, code], self.counts[:, code], window, self.counts)
            restless = (inflation[question] > 1) & ~gone
            p[question] = np.where(restless, _inflated(exact, mean[question], freedom[question]), exact)
        rare, exact = self._of_rare(window)
        found = np.where(inflation[_SHAPE] > 1, _inflated(exact, mean[_SHAPE], freedom[_SHAPE]), exact)
        p[_SHAPE], p[_LOCATION] = (np.where(rare, found, p[question]) for question in (_SHAPE, _LOCATION))
        p[_SCALE, rare] = 1.0
        weights = _SHARES[self.ordered.astype(int)].T
        asked = np.where(weights > 0, p / np.where(weights > 0, weights, 1.0), 1.0)
        smallest: Array = np.minimum(asked.min(0), 1.0)
        return smallest

    def _lost(self, window: Array) -> Array:
        """Tell which features have nothing but missing or but unseen values any more `[R, 2]`.

        However restless, they have changed.
        """
        usual = self.counts[:, _ENDS] >= self.counts.sum(-1, keepdims=True) / 2
        lost: Array = (window[:, _ENDS] == window.sum(-1, keepdims=True)) & ~usual
        return lost

    def _of_rare(self, window: Array) -> tuple[Array, Array]:
        """Tell which features have too few rows beside their most frequent bin for χ², and their exact p."""
        both = window + self.counts
        bins, most = np.arange(len(both)), both.argmax(1)
        rest, others = (each.sum(-1) - each[bins, most] for each in (window, self.counts))
        share = (rest + others) / np.maximum(both.sum(-1), 1)
        rare = (share < 0.25) & (share * window.sum(-1) < _RARE)
        return rare, _exact(rest, others, window, self.counts)

    def _null(self, rows: int) -> tuple[Array, Array]:
        """Return φ and the degrees of freedom for windows of so many rows, each `[5, R]`."""
        shape = (_QUESTIONS, len(self.counts))
        if not len(self.sizes) or not rows:
            return np.ones(shape), np.full(shape, np.inf)
        at = int(np.abs(np.log(self.sizes / rows)).argmin())
        excess = self.inflation[at] - 1
        if self.sizes[0] <= rows <= self.sizes[-1]:
            return 1 + excess, self.freedom[at]
        return 1 + excess * (rows / self.sizes[at]) ** self._growth(at), self.freedom[at]

    def _growth(self, at: int) -> Array | float:
        """Return the power of the window's size with which φ − 1 grows beyond the blocks' sizes: 0 to 1."""
        if at or len(self.sizes) < 2:
            return 1.0
        first, second = np.maximum(self.inflation[:2] - 1, 1e-12)
        grown: Array = np.log(second / first) / np.log(self.sizes[1] / self.sizes[0])
        return np.clip(grown, 0.0, 1.0)

    def to_json(self) -> dict[str, Any]:
        """Give what was learnt from blocks as JSON values; counts are the profile's."""
        omnibus = None if self.omnibus is None else self.omnibus.to_json()
        return {**{name: pack(getattr(self, name)) for name in _LEARNT}, "omnibus": omnibus}

    @classmethod
    def from_json(
        cls, document: Mapping[str, Any], counts: Array, ordered: Array, weights: Array | None = None
    ) -> WindowTest:
        """Read what `to_json` wrote, for the profile it was learnt from."""
        sizes, inflation, freedom = (unpack(document[name]) for name in _LEARNT[:3])
        # Self-checks of earlier versions have neither tails nor an omnibus test.
        tails = unpack(document["tails"]) if "tails" in document else np.tile([0.0, 1.0], (len(sizes), 1))
        omnibus = None if document.get("omnibus") is None else Omnibus.from_json(document["omnibus"])
        return cls(counts, ordered, sizes, inflation, freedom, tails, weights, omnibus)


def _sums_of_neighbours(blocks: Array) -> list[Array]:
    tables, table = [], blocks
    while len(table) >= 2:
        tables.append(table)
        table = np.add.reduceat(table, np.arange(0, len(table), 2), axis=0)[: len(table) // 2]
    return tables


def _ratios(tables: list[Array], counts: Array, ordered: Array) -> tuple[list[Array], list[Array]]:
    """Return, for tables of blocks of each size, the statistics of each block against all the others over their degrees
    of freedom `[K, 5, R]`, and which of them say more than chance `[5, R]`."""
    g, ratios, wander = contrasts(counts, ordered), [], []
    z = NormalDist().inv_cdf(1 - 0.05 / max(len(counts) * len(tables) * _QUESTIONS, 1))
    for table in tables:
        each = [_statistics(block, counts - block, g) for block in table]
        statistics, free = (np.array(part) for part in zip(*each, strict=True))
        total = free.sum(0)
        wander.append((statistics.sum(0) > chi_squared_quantile(total, z)) & (total > 0))
        ratios.append(statistics / np.maximum(free, 1))
    return ratios, wander


def _spread(mean: Array, variance: Array, wander: Array) -> tuple[Array, Array]:
    """Return φ and degrees of freedom of blocks whose ratios have this mean and variance."""
    mean = np.maximum(mean, 1.0)
    freedom = np.maximum(2 * mean**2 / np.maximum(variance, 1e-12), 0.05)
    return np.where(wander, mean, 1.0), np.where(wander, freedom, np.inf)


def _without_each(ratios: Array) -> tuple[Array, Array]:
    """Return mean and variance of the other blocks' ratios, for each block, both `[K, 5, R]`."""
    others = len(ratios) - 1
    mean = (ratios.sum(0) - ratios) / others
    middle = ratios.mean(0)
    squares = ((ratios - middle) ** 2).sum(0) - (ratios - middle) ** 2 - others * (mean - middle) ** 2
    return mean, np.maximum(squares, 0.0) / (others - 1)


def _statistics(window: Array, reference: Array, g: Array) -> tuple[Array, Array]:
    """Return the five squared statistics of each feature and their degrees of freedom, both `[5, R]`."""
    squares, free = np.zeros((_QUESTIONS, len(window))), np.ones((_QUESTIONS, len(window)))
    squares[_SHAPE], free[_SHAPE] = _chi_squared(window, reference)
    rows, others = np.maximum(window.sum(-1), 1), np.maximum(reference.sum(-1), 1)
    q, p = shares(window), shares(reference)
    both = (window + reference) / (rows + others)[:, None]
    lone = 1 / rows + 1 / others
    for question, contrast in ((_LOCATION, LOCATION), (_SCALE, SCALE)):
        scores = g[:, contrast]
        middle = (both * scores).sum(1)
        variance = (both * scores**2).sum(1) - middle**2
        moved = ((q - p) * scores).sum(1) ** 2
        squares[question] = np.where(variance > 1e-12, moved / np.where(variance > 1e-12, variance, 1.0) / lone, 0.0)
    for question, code in ((_MISSING, MISSING), (_UNSEEN, UNSEEN)):
        variance = np.maximum(both[:, code] * (1 - both[:, code]), 4 / rows)
        squares[question] = (q[:, code] - p[:, code]) ** 2 / variance / lone
    # Rare values have no χ² of their own: what their restlessness is measured by is the share beside the top bin.
    top = both.argmax(1)
    rest = [1 - each[np.arange(len(each)), top] for each in (both, q, p)]
    rare = (rest[0] < 0.25) & (rest[0] * rows < _RARE)
    beside = (rest[1] - rest[2]) ** 2 / np.maximum(rest[0] * (1 - rest[0]), 4 / rows) / lone
    squares[_SHAPE], free[_SHAPE] = np.where(rare, beside, squares[_SHAPE]), np.where(rare, 1.0, free[_SHAPE])
    silent = (window.sum(-1) == 0) | (reference.sum(-1) == 0)
    squares[:, silent] = 0.0
    return squares, free


def _chi_squared(window: Array, reference: Array) -> tuple[Array, Array]:
    """Return the two-sample χ² `[R]` and its degrees of freedom, bins of few expected window rows put together."""
    n, m = (np.maximum(each.sum(-1, keepdims=True), 1) for each in (window, reference))
    expected = (window + reference) * n / (n + m)
    order = np.argsort(expected, axis=1, kind="stable")
    expected, x, r = (np.take_along_axis(each, order, 1) for each in (expected, window, reference))
    few = np.maximum((expected < _LEAST).sum(1) - 1, (expected.cumsum(1) < _LEAST).sum(1))
    together = np.arange(WIDTH) <= few[:, None]
    x, r = (np.column_stack([each, (each * together).sum(1)]) for each in (x, r))
    alone = np.column_stack([~together, np.ones(len(x), bool)])
    terms = (x * np.sqrt(m / n) - r * np.sqrt(n / m)) ** 2 / np.maximum(x + r, 1)
    return (terms * alone).sum(1), np.maximum(alone.sum(1) - 1, 1)


def _exact(x: Array, r: Array, window: Array, reference: Array) -> Array:
    """Return the two-sided p of two counts `[R]` among all rows: of their sum, the window's is binomial."""
    from scipy.special import betainc

    both, rows = x + r, window.sum(-1)
    share = rows / np.maximum(rows + reference.sum(-1), 1)
    up = np.where(x > 0, betainc(np.maximum(x, 1), both - x + 1, share), 1.0)
    down = np.where(x < both, betainc(np.maximum(both - x, 1), x + 1, 1 - share), 1.0)
    two_sided: Array = np.minimum(2 * np.minimum(up, down), 1.0)
    return two_sided


def _inflated(p: Array, mean: Array, freedom: Array) -> Array:
    """Return what is left of an exact p where the statistic's blocks differ by more than chance."""
    from scipy.special import chdtri, gammaincc

    left: Array = gammaincc(freedom / 2, chdtri(1, np.maximum(p, 1e-300)) / mean * freedom / 2)
    return left


def _stability(window: Array, reference: Array) -> Array:
    """Return the PSI `[R]`, one pseudo-row spread like both together on each side, less its mean under no change."""
    n, m = window.sum(-1, keepdims=True), reference.sum(-1, keepdims=True)
    prior = (window + reference) / np.maximum(n + m, 1)
    q, p = (window + prior) / (n + 1), (reference + prior) / (m + 1)
    used = prior > 0
    terms = np.where(used, (q - p) * np.log(np.where(used, q, 1.0) / np.where(used, p, 1.0)), 0.0).sum(1)
    chance = (1 / np.maximum(n, 1) + 1 / np.maximum(m, 1))[:, 0] * np.maximum(used.sum(1) - 1, 0)
    return np.where((n * m)[:, 0] > 0, terms - chance, 0.0)


def _in_sd(change: Array, p: Array, g: Array) -> Array:
    """Return the change of the mean location score over the score's reference deviation, `[R]`."""
    scores = g[:, LOCATION]
    deviation = np.sqrt(np.maximum((p * scores**2).sum(1), 0.0))
    return np.where(deviation > 0, (change * scores).sum(1) / np.where(deviation > 0, deviation, 1.0), 0.0)
