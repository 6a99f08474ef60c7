"""The e-detector: a sequential test of counts that says how often it errs.

For each contrast g of a feature (`contrasts`), both signs and six stakes λ it bets against "the mean of ±g is at most
ε" (`dead_zone`). A row with value x multiplies the bet by 1 + λ(±g(x) − ε), whose mean is at most 1 as long as nothing
has changed. As g takes one value per bin, the product over many rows is the exponential of counts times a table of
logarithms: rows themselves are never needed, and counts of many workers are added first.

The bets start anew with every row (Shiryaev and Roberts): M ← (M + rows)·e, so that M less the number of rows so far is
a supermartingale. The alarm is given when the weighted mean of all M reaches `run_length`; hence

    E[rows until the first false alarm] ≥ run_length,   whenever |E[g | past]| ≤ ε for every contrast,

for any number of features, however they depend on one another, and for any sizes of the steps that were not chosen by
looking at the values in them. A single feature whose own share of the mean reaches the limit is *certain*: it alone
would have given the alarm.

Reference: Shin, Ramdas, Rinaldo: E-detectors: a nonparametric framework for sequential change detection, NEJSDS 2023.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serinus.monitors.contrasts import CONTRASTS, LOCATION, SCALE, contrasts
from serinus.monitors.features import MISSING, UNSEEN, WIDTH

__all__ = ["STAKES", "EDetector", "Evidence"]

Array = NDArray[Any]

STAKES = (0.03, 0.08, 0.2, 0.4, 0.65, 0.9)
"""λ as parts of the largest stake that cannot lose everything."""

BETS = (CONTRASTS, 2, len(STAKES))


_MOST = 1e30
"""Where M is cut: far above every limit, and far below float32's largest."""
_GAIN = 60.0


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the detector has gathered: a value that `EDetector.step` takes and gives.

    Attributes:
        bets: M of every bet, float32 `[R, 20, 2, 6]`; 0 before the first row.
        age: rows since each bet was last at its start, float32 of the same shape.
    """

    bets: Array
    age: Array


@dataclass(frozen=True)
class EDetector:
    """Bets on counts of R features against a reference, alarming at most once in `run_length` rows on average.

    Args:
        reference: counts `[R, 18]`.
        ordered: which features are numeric `[R]`.
        dead_zone: ε `[R, 20, 2]`.
        weights: how much of the mean each feature has `[R]`, adding up to 1.
        run_length: mean number of rows until a false alarm, at least.

    Example:
        >>> import numpy as np
        >>> from serinus.monitors.features import WIDTH
        >>> from serinus.monitors.dead_zone import dead_zone
        >>> reference = np.zeros((1, WIDTH), int)
        >>> reference[0, :10] = 1_000
        >>> zone = dead_zone(reference[None], np.array([True]))
        >>> detector = EDetector(reference, np.array([True]), zone, np.ones(1))
        >>> changed = np.zeros((1, WIDTH), int)
        >>> changed[0, 0] = 64
        >>> detector.alarms(detector.step(detector.start(), changed))
        True
    """

    reference: Array
    ordered: Array
    dead_zone: Array
    weights: Array
    run_length: float = 1_000_000.0
    _tables: tuple[Array, Array, Array] = field(init=False, repr=False, compare=False)
    _prior: Array = field(init=False, repr=False, compare=False)
    _floors: Array = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        gains, worst = _gains_and_worst(self.reference, self.ordered, self.dead_zone)
        prior = _bet_weights(np.asarray(self.ordered, bool), np.maximum(*gains[1:]) > 0, gains[0].max(2) > 0)
        object.__setattr__(self, "_tables", _log_tables(gains, worst))
        object.__setattr__(self, "_floors", _floors(prior, self.dead_zone, worst, self.run_length))
        object.__setattr__(self, "_prior", prior)

    def start(self) -> Evidence:
        """Return no evidence."""
        shape = (len(self.reference), *BETS)
        return Evidence(np.zeros(shape, np.float32), np.zeros(shape, np.float32))

    def step(self, evidence: Evidence, counts: Array) -> Evidence:
        """Return the evidence after rows with these counts `[R, 18]`; the evidence given is not touched."""
        table = counts.astype(np.float32)
        rows = table.sum(-1)[:, None, None, None]
        factors = self._gains(table, rows)
        np.minimum(factors, _GAIN, out=factors)
        np.exp(factors, out=factors)
        with np.errstate(over="ignore"):
            factors *= evidence.bets + rows
        np.minimum(factors, _MOST, out=factors)
        age = evidence.age * (evidence.bets >= rows)
        age += rows
        return Evidence(factors, age)

    def _gains(self, table: Array, rows: Array) -> Array:
        ranks, more, outside = self._tables
        gains = np.empty((len(table), *BETS), np.float32)
        gains[:, :2] = np.einsum("rb,rcbk->rck", table, ranks).reshape(len(table), 2, *BETS[1:])
        np.multiply(table[:, :, None, None], more, out=gains[:, 2:])
        gains[:, 2:] += rows * outside
        return gains

    def _means(self, evidence: Evidence) -> Array:
        """Return each feature's mean M, `[R]`."""
        means: Array = np.einsum("rcsl,rcs->r", evidence.bets, self._prior, dtype=float)
        return means

    def log_features(self, evidence: Evidence) -> Array:
        """Return the log of each feature's mean M, `[R]`."""
        return _log(self._means(evidence))

    def log_mean(self, evidence: Evidence) -> float:
        """Return the log of the weighted mean of all M."""
        return float(_log(self._means(evidence) @ self.weights))

    def alarms(self, evidence: Evidence) -> bool:
        """Tell whether the mean has reached the run length."""
        return bool(self._means(evidence) @ self.weights >= self.run_length)

    def certain(self, evidence: Evidence) -> Array:
        """Tell which features would have given the alarm alone, `[R]`."""
        mine: Array = self._means(evidence) * self.weights >= self.run_length
        return mine

    def meter(self, evidence: Evidence) -> float:
        """Return the evidence between 0 (what M is where nothing has changed) and 1 (alarm)."""
        floor = math.log(max(float((self._floors * self.weights).sum()), 1.0))
        return float(_between(np.array(self.log_mean(evidence)), floor, math.log(self.run_length)))

    def meters(self, evidence: Evidence) -> Array:
        """Return each feature's evidence between 0 and 1 (certain), `[R]`."""
        floors, top = _log(np.maximum(self._floors, 1.0)), math.log(self.run_length) - _log(self.weights)
        return _between(self.log_features(evidence), floors, top)

    def best_bets(self, evidence: Evidence) -> tuple[Array, Array, Array]:
        """Return each feature's strongest bet: its contrast, its sign (+1, −1) and its age in rows, all `[R]`."""
        flat = (evidence.bets * self._prior[..., None]).reshape(len(evidence.bets), -1)
        best = flat.argmax(1)
        contrast, sign, _ = np.unravel_index(best, BETS)
        return contrast, 1 - 2 * sign, evidence.age.reshape(flat.shape)[np.arange(len(flat)), best]


def _log(values: Array) -> Array:
    with np.errstate(divide="ignore"):
        logs: Array = np.log(values)
    return logs


def _between(value: Array, floor: Array | float, top: Array | float) -> Array:
    height = np.maximum(top - floor, 1e-9)
    return np.clip(np.maximum(value - floor, 0.0) / height, 0.0, 1.0)


def _gains_and_worst(reference: Array, ordered: Array, dead_zone: Array) -> tuple[tuple[Array, Array, Array], Array]:
    """Return ±g − ε, of location and scale `[R, 2, 18, 2]`, of bins inside and outside `[R, 18, 2]`, and each bet's
    least gain `[R, 20, 2]`."""
    g = contrasts(reference, ordered)
    ranks = np.stack([g[:, :2], -g[:, :2]], -1) - dead_zone[:, :2, None]
    share = 1.0 - np.diagonal(g[:, 2:], axis1=1, axis2=2)
    inside = np.stack([1 - share, share - 1], -1) - dead_zone[:, 2:]
    outside = np.stack([-share, share], -1) - dead_zone[:, 2:]
    worst = np.concatenate([ranks.min(2), np.minimum(inside, outside)], 1)
    return (ranks, inside, outside), np.maximum(-worst, 1e-9)


def _bet_weights(ordered: Array, bins: Array, ranks: Array) -> Array:
    """Weigh a feature's bets `[R, 20, 2]`: over half on location and scale, more on missing and unseen than on a bin.

    Bets that cannot gain (that a bin without reference rows gets rarer, say) have none; six stakes share a weight.
    """
    weights = np.zeros((len(ordered), CONTRASTS))
    weights[:, 2:] = 1.0
    weights[:, 2 + MISSING] = weights[:, 2 + UNSEEN] = 2.0
    weights[ordered, LOCATION], weights[ordered, SCALE] = 24.0, 8.0
    usable = weights[:, :, None] * np.concatenate([ranks, bins], 1)
    total = usable.sum((1, 2), keepdims=True)
    shared: Array = usable / np.where(total > 0, total, 1.0) / len(STAKES)
    return shared


def _floors(prior: Array, dead_zone: Array, worst: Array, run_length: float) -> Array:
    """Return each feature's mean M where every contrast has mean 0, `[R]`: a bet loses λε a row, so M stays at 1/λε."""
    loss = np.maximum(dead_zone / worst, 1 / run_length)[..., None] * np.asarray(STAKES)
    floors: Array = (prior[..., None] / loss).sum((1, 2, 3))
    return np.minimum(floors, run_length / 100)


def _log_tables(gains: tuple[Array, Array, Array], worst: Array) -> tuple[Array, Array, Array]:
    """Return log(1 + λ·gain): of location and scale `[R, 2, 18, 12]`; of bins, what a row inside adds to one outside,
    and one outside, `[R, 18, 2, 6]`."""
    ranks, inside, outside = gains
    table = _log_bets(ranks, worst[:, :2, None]).reshape(len(ranks), 2, WIDTH, -1)
    beyond = _log_bets(outside, worst[:, 2:])
    return table, _log_bets(inside, worst[:, 2:]) - beyond, beyond


def _log_bets(gain: Array, worst: Array) -> Array:
    stakes = np.asarray(STAKES) / worst[..., None]
    return np.log1p(stakes * gain[..., None]).astype(np.float32)
