"""Novelty of one row: how far it lies from the reference's bulk, as a p-value that holds for any distribution.

The score is the squared length of the row after robust scaling and whitening (Mahalanobis' distance with a shrunk
covariance), plus a surprise −2·ln(share of the category / share of the commonest one) for each category. For Gaussian
numbers it is chi-squared; nothing relies on that, because the p-value is conformal: half of the reference fits the
whitening, the other half (m rows) calibrates it,

    p = (1 + #{calibration scores ≥ score}) / (m + 1),

so that P(p ≤ α) ≤ α for a row that is exchangeable with the reference (Vovk, Gammerman & Shafer 2005, ch. 2). At
α = 0.001 one clean row in 1,000 is flagged: that is what the number means.

The whitening matrix is the symmetric root of the inverse covariance: each whitened coordinate belongs to one feature,
so its square is that feature's share of the score (Kessy, Lewin & Strimmer 2018, ZCA).
"""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serinus.monitors.features import WIDTH
from serinus.monitors.packing import pack, unpack

__all__ = ["Novelty", "Scaling", "Whitening", "halves", "shrunk_covariance"]

Floats = NDArray[np.float64]
Codes = NDArray[np.uint8]

_FAR = 32.0
"""Robust standard deviations beyond which a value counts no more: 1e300 is as novel as 32."""
_BULK = 5.0
"""Where values are cut for the covariance, so that a tail does not decide what the bulk looks like."""
_EVEN = 128
"""Up to so many numbers the whitening is a full matrix; beyond, `_RANK` main directions and an even rest."""
_RANK = 32
_CELLS = 4_000_000
"""Numbers that the whitening is fitted on, at most."""
_GRID = 1001
_SLACK = 1e-6
"""Difference up to which two scores are a tie, relative to 1 + score: a float32 in transit makes no row rarer. A level
counts as reached by what lies so much above it."""
_TAME = 1e100
"""Nothing overflows in the score of a row that is shorter."""
_FLAT = 1e-9
_NORMAL_IQR = 1.3489795003921634
_NORMAL_WIDE = 4.6526957480816815  # between the 1 % and the 99 % quantile


@dataclass(frozen=True, eq=False)
class Scaling:
    """Robust centre and scale of each number; `weight` is 1/scale, and 0 for one that the reference never had."""

    centre: Floats
    weight: Floats

    @classmethod
    def fit(cls, numbers: Floats) -> Scaling:
        """Median and interquartile range, or the widest range that is not nil. Missing and infinite values are left
        out; a constant gets a scale so small that any other value is far away."""
        columns = [_centre_and_weight(column) for column in np.asarray(numbers, np.float64).T]
        return cls(np.array([centre for centre, _ in columns]), np.array([weight for _, weight in columns]))

    def standardise(self, numbers: Floats, limit: float = _FAR) -> Floats:
        """Values in robust standard deviations from the centre, within ±limit; 0 where missing."""
        with np.errstate(over="ignore", invalid="ignore"):
            scaled = numbers - self.centre
            scaled *= self.weight
        if not (scaled.size == 0 or (scaled.max() <= limit and scaled.min() >= -limit)):  # NaN is neither
            np.clip(scaled, -limit, limit, out=scaled)
            scaled[np.isnan(scaled)] = 0.0
        return scaled


def _centre_and_weight(column: Floats) -> tuple[float, float]:
    finite = column[np.isfinite(column)]
    if not finite.size:
        return 0.0, 0.0
    quarters = finite / 4  # so that the range from −1.7e308 to 1.7e308 is still a number
    low, first, centre, third, high = np.quantile(quarters, [0.01, 0.25, 0.5, 0.75, 0.99])
    spans = ((third - first) / _NORMAL_IQR, (high - low) / _NORMAL_WIDE, (quarters.max() - quarters.min()) / 2)
    least = _FLAT * max(0.25, abs(centre))
    scale = next((span for span in spans if span > least), least)
    return 4 * float(centre), 0.25 / float(scale)


def shrunk_covariance(rows: Floats) -> Floats:
    """Second moments of `rows` (centred already), drawn towards a multiple of the identity by the closed form of
    Ledoit & Wolf 2004 (Journal of Multivariate Analysis 88): invertible also with fewer rows than columns."""
    count, width = rows.shape
    if not count or not width:
        return np.eye(width)
    moments = rows.T @ rows / count
    mean = np.trace(moments) / width
    distance = np.sum(moments**2) / width - mean**2
    noise = (np.mean(np.sum(rows**2, axis=1) ** 2) / width - np.sum(moments**2) / width) / count
    share = 1.0 if distance <= 0 else min(1.0, max(0.0, noise / distance))
    return np.asarray((1 - share) * moments + share * mean * np.eye(width))


@dataclass(frozen=True, eq=False)
class Whitening:
    """A symmetric linear map: z → rest·z + (z·directions)·gains·directionsᵀ, or one full matrix for few numbers."""

    rest: float
    directions: Floats
    gains: Floats
    matrix: Floats | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        if 0 < self.directions.shape[0] <= _EVEN:
            full = (self.directions * self.gains) @ self.directions.T + self.rest * np.eye(len(self.directions))
            object.__setattr__(self, "matrix", np.ascontiguousarray(full))

    @classmethod
    def fit(cls, standard: Floats) -> Whitening:
        """The inverse square root of the shrunk covariance of standardised rows. Columns without variation keep their
        scale."""
        width = standard.shape[1]
        varies = standard.any(axis=0)
        covariance = np.eye(width)
        covariance[np.ix_(varies, varies)] = shrunk_covariance(standard[:, varies])
        values, vectors = np.linalg.eigh(covariance)
        values = np.maximum(values, 1e-4 * max(1e-4, float(values.mean()) if width else 1.0))
        if width <= _EVEN:
            return cls(0.0, np.ascontiguousarray(vectors), values**-0.5)
        rest = float(values[:-_RANK].mean()) ** -0.5
        return cls(rest, np.ascontiguousarray(vectors[:, -_RANK:]), values[-_RANK:] ** -0.5 - rest)

    def __call__(self, standard: Floats) -> Floats:
        """The whitened rows (or row)."""
        if self.matrix is not None:
            return np.asarray(standard @ self.matrix)
        return np.asarray(self.rest * standard + ((standard @ self.directions) * self.gains) @ self.directions.T)


@dataclass(frozen=True, eq=False)
class Novelty:
    """Scores rows against a reference. `levels` are calibration scores in rising order (all of them, or the ranks of
    a geometric grid, rounded to the safe side); `tail[i]` is the p-value of a score with i levels below it."""

    scaling: Scaling
    whitening: Whitening
    surprise: Floats
    levels: Floats
    tail: Floats
    calibration_rows: int
    _offsets: NDArray[np.intp] = field(init=False)
    _reached: Floats = field(init=False)
    _levels: list[float] = field(init=False)
    _tail: list[float] = field(init=False)
    _folded: tuple[Floats, Floats, float] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_folded", _folded(self.scaling, self.whitening))
        object.__setattr__(self, "_offsets", np.arange(len(self.surprise)) * WIDTH)
        object.__setattr__(self, "_reached", (self.levels + _SLACK) / (1 - _SLACK))
        object.__setattr__(self, "_levels", self._reached.tolist())
        object.__setattr__(self, "_tail", self.tail.tolist())

    @classmethod
    def fit(cls, numbers: Floats, *, codes: Codes | None = None, seed: int = 0) -> Novelty:
        """Learn from reference rows: `numbers` [m, Rn] with NaN for missing, `codes` [m, Rc] of categorical features
        only. Works with any m; with fewer than 40 rows no p-value goes below 0.05."""
        numbers = np.asarray(numbers, np.float64)
        rows, width = numbers.shape
        fitted, kept = halves(rows, width, seed)
        scaling = Scaling.fit(numbers[fitted])
        whitening = Whitening.fit(_evened(scaling, numbers[fitted]))
        surprise = _surprise(codes[fitted] if codes is not None else np.empty((len(fitted), 0), np.uint8))
        empty = cls(scaling, whitening, surprise, np.empty(0), np.ones(1), 0)
        return empty._calibrated(empty.scores(numbers[kept], codes[kept] if codes is not None else None))

    def _calibrated(self, scores: Floats) -> Novelty:
        rising, count = np.sort(scores), len(scores)
        ranks = np.unique(np.geomspace(1, count, _GRID).astype(np.int64)) if count > _GRID else np.arange(1, count + 1)
        levels = np.unique(rising[count - ranks])
        above = count - np.searchsorted(rising, levels, "right")
        return Novelty(self.scaling, self.whitening, self.surprise, levels,
                       np.concatenate([[1.0], (1 + above) / (count + 1)]), count)

    def scores(self, numbers: Floats, codes: Codes | None = None) -> Floats:
        """The score of each row; 0 is the middle of the reference."""
        matrix, offset, limit = self._folded
        with np.errstate(over="ignore", invalid="ignore"):
            whitened = numbers.dot(matrix)
            whitened -= offset
            scores = np.einsum("ij,ij->i", whitened, whitened)
        if not scores.max(initial=0.0) <= limit:  # some are far out, missing or infinite: they have to be cut first
            whitened = self.whitening(self.scaling.standardise(numbers))
            scores = np.einsum("ij,ij->i", whitened, whitened)
        if codes is not None and codes.shape[1]:
            scores += self.surprise.take(codes + self._offsets).sum(axis=1)
        return np.asarray(scores)

    def score(self, row: Floats, codes: Codes | None = None) -> float:
        """The score of one row [Rn]; the same as `scores` but for rounding, without the cost of a batch."""
        matrix, offset, limit = self._folded
        score = math.inf
        if limit > 0 and math.hypot(*row.tolist()) < _TAME:  # cheaper than errstate
            whitened = row.dot(matrix)
            whitened -= offset
            score = float(whitened.dot(whitened))
        if not score <= limit:
            whitened = self.whitening(self.scaling.standardise(row))
            score = float(whitened.dot(whitened))
        return score if codes is None else score + float(self.surprise.take(codes + self._offsets).sum())

    def p_values(self, scores: Floats) -> Floats:
        """The conformal p-value of each score."""
        return self.tail.take(self._reached.searchsorted(scores))

    def p_value(self, score: float) -> float:
        """The conformal p-value of one score."""
        return self._tail[bisect_left(self._levels, score)]

    def contributions(self, row: Floats, codes: Codes | None = None) -> Floats:
        """What each feature adds to a row's score, numbers first, then categories: none negative, their sum the
        score."""
        whitened = self.whitening(self.scaling.standardise(row))
        extra = np.empty(0) if codes is None else self.surprise.take(codes + self._offsets)
        return np.concatenate([whitened**2, extra])

    def in_words(self, p: float) -> str:
        """What a p-value of this reference means, for people."""
        if p * (self.calibration_rows + 1) <= 1.5 and self.calibration_rows:
            return f"more unusual than each of {self.calibration_rows:,} reference rows"
        return f"as unusual as 1 in {_round_two(1 / p):,} reference rows"

    def to_json(self) -> dict[str, Any]:
        """As a JSON object; no row of the reference is in it."""
        return {"centre": pack(self.scaling.centre), "weight": pack(self.scaling.weight), "rest": self.whitening.rest,
                "directions": pack(self.whitening.directions), "gains": pack(self.whitening.gains),
                "surprise": pack(self.surprise), "levels": pack(self.levels), "tail": pack(self.tail),
                "calibration_rows": self.calibration_rows}

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Novelty:
        """The same novelty again, bit for bit."""
        arrays = {name: unpack(document[name]) for name in (
            "centre", "weight", "directions", "gains", "surprise", "levels", "tail")}
        whitening = Whitening(document["rest"], arrays["directions"], arrays["gains"])
        return cls(Scaling(arrays["centre"], arrays["weight"]), whitening, arrays["surprise"], arrays["levels"],
                   arrays["tail"], document["calibration_rows"])


def _folded(scaling: Scaling, whitening: Whitening) -> tuple[Floats, Floats, float]:
    """Standardising and whitening as one map, x → x·matrix − offset, and the score up to which no value of a row can
    be so far out that it would have been cut: a value is the whitened row times a column of the inverse map, so at
    most their lengths' product. Without a full matrix there is no such map, and no such score."""
    if whitening.matrix is None:
        return np.zeros((len(scaling.centre), 0)), np.zeros(0), -1.0
    matrix = scaling.weight[:, None] * whitening.matrix
    longest = ((whitening.directions / (whitening.gains + whitening.rest)) ** 2).sum(axis=1).max(initial=0.0)
    offset = (scaling.centre * scaling.weight) @ whitening.matrix
    return np.ascontiguousarray(matrix), offset, _FAR**2 / longest if longest else _FAR**2


def halves(rows: int, width: int, seed: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Which of so many reference rows with so many numbers `Novelty.fit` fits, and which calibrate: their scores are
    those of rows that were never seen."""
    order = np.random.default_rng(seed).permutation(rows)
    half = min(rows // 2, max(1, _CELLS // max(1, width)))
    return order[:half], order[half:]


def _evened(scaling: Scaling, numbers: Floats) -> Floats:
    """Standardised rows for the covariance; a column that is often missing is not taken for a narrow one."""
    present = np.isfinite(numbers).mean(axis=0) if len(numbers) else np.ones(numbers.shape[1])
    return scaling.standardise(numbers, _BULK) / np.sqrt(np.maximum(present, 1e-3))


def _surprise(codes: Codes) -> Floats:
    """−2·ln(share / largest share) of each code, shares smoothed by half a row: [Rc, 18]."""
    counts = np.array([np.bincount(column, minlength=WIDTH)[:WIDTH] for column in codes.T])
    shares = counts.reshape(-1, WIDTH) + 0.5
    return np.asarray(-2 * np.log(shares / shares.max(axis=1, keepdims=True)))


def _round_two(number: float) -> int:
    digits = max(0, len(str(int(number))) - 2)
    return int(round(number, -digits))
