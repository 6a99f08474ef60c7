"""Quality of models that nobody labels: clusterers and outlier detectors, held against their own reference.

A *clusterer* assigns rows to centres, which its reference gives (the mean row of each cluster). Of live rows are
watched: the inertia, that is the mean squared distance to the row's own centre; the simplified silhouette
(b − a)/max(a, b) with a the distance to the own centre and b to the nearest other one (Hruschka et al. 2004), in
[−1, 1]; and the share of each cluster. An *outlier detector* raises an alarm for a share of the rows; more or fewer of
them than on the reference means that rows, or the detector's idea of them, have changed.

All are sums over rows, which merge; a verdict needs a difference from the reference that chance does not explain,
beyond a tolerance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from serinus.monitors import metrics
from serinus.monitors.errors import InvalidData
from serinus.monitors.exact import ExactSum
from serinus.monitors.intervals import Interval, around, proportion_difference
from serinus.monitors.metrics import Measure, Sums
from serinus.monitors.performance import FEWEST

__all__ = ["AlarmRate", "Centres", "Verdict", "centres_of", "compare_means", "silhouette"]

Array = NDArray[Any]

_LARGEST = 1e75
_SAMPLE = 2_000


class Verdict(NamedTuple):
    """A quality measure now and then.

    `changed` is None, and `difference` too, where there are too few rows to tell.
    """

    name: str
    now: Measure
    then: Measure
    difference: Interval | None
    changed: bool | None


@dataclass(frozen=True, eq=False)
class Centres:
    """The centres of a clusterer, on the scale on which it measures distances.

    Attributes:
        labels: what the model calls its clusters.
        centres: `[K, F]`.
        scale: what columns are divided by, `[F]`.
    """

    labels: tuple[Any, ...]
    centres: Array
    scale: Array

    def sums(self, rows: Array, answers: Array) -> Sums:
        """Sum up rows `[n, F]` and their clusters; rows with missing numbers, or of no known cluster, are left."""
        table = np.asarray(rows, float) / self.scale
        places = _place_of(answers, self.labels)
        kept = np.isfinite(table).all(1) & (places >= 0)
        own, other = self._distances(np.clip(table[kept], -_LARGEST, _LARGEST), places[kept])
        square = np.minimum(own**2, _LARGEST)
        widest = np.maximum(own, other)
        quality = np.where(widest > 0, (other - own) / np.where(widest > 0, widest, 1.0), 0.0)
        counts = np.bincount(places[kept], minlength=len(self.labels))
        return Sums({"rows": np.array([len(own)], np.int64), "clusters": counts.astype(np.int64)},
                    {"inertia": ExactSum.of(square), "inertia²": ExactSum.of(square**2),
                     "silhouette": ExactSum.of(quality), "silhouette²": ExactSum.of(quality**2)})

    def _distances(self, rows: Array, places: Array) -> tuple[Array, Array]:
        """How far each row is from its own centre, and from the nearest other one."""
        away = np.stack([np.linalg.norm(rows - centre, axis=1) for centre in self.centres / self.scale], axis=1)
        picked = np.arange(len(rows)), places
        own = away[picked]
        away[picked] = np.inf
        return own, np.minimum(away.min(1, initial=np.inf), _LARGEST)

    def measure(self, sums: Sums) -> dict[str, Measure]:
        """Measure inertia and silhouette."""
        return {name: metrics.mean_measure(sums.rows, sums.total(name), sums.total(f"{name}²"))
                for name in ("inertia", "silhouette")}

    def compare(self, now: Sums, then: Sums, tolerance: float = 0.1) -> list[Verdict]:
        """Compare with the reference; `tolerance` is the part of the reference's value that nobody minds."""
        return [compare_means(name, now, then, tolerance) for name in ("inertia", "silhouette")]


def centres_of(rows: Array, answers: Array) -> Centres:
    """Learn the centres from a reference's rows and their clusters; noise (−1) is no cluster.

    Raises InvalidData with fewer than two clusters.
    """
    table, said = np.asarray(rows, float), np.asarray(answers).ravel()
    usable = np.isfinite(table).all(1)
    labels = [label for label in np.unique(said[usable]).tolist() if label != -1]
    if len(labels) < 2:
        raise InvalidData(f"The quality of clusters needs two of them or more, got {labels}.")
    centres = np.stack([table[usable & (said == label)].mean(0) for label in labels])
    spread = table[usable].std(0)
    return Centres(tuple(labels), centres, np.where(spread > 0, spread, 1.0))


def _place_of(answers: Array, labels: Sequence[Any]) -> Array:
    said = np.asarray(answers).ravel()
    places = np.full(len(said), -1)
    for place, label in enumerate(labels):
        places[said == label] = place
    return places


def silhouette(rows: Array, answers: Array, seed: int = 0) -> float | None:
    """The mean silhouette (Rousseeuw 1987) of a sample of at most 2,000 rows; None where fewer than two clusters are
    in it."""
    from sklearn.metrics import silhouette_score

    table, said = np.asarray(rows, float), np.asarray(answers).ravel()
    kept = np.flatnonzero(np.isfinite(table).all(1))
    kept = np.random.default_rng(seed).permutation(kept)[:_SAMPLE]
    if not 2 <= len(np.unique(said[kept])) < len(kept):
        return None
    return float(silhouette_score(table[kept], said[kept]))


def compare_means(name: str, now: Sums, then: Sums, tolerance: float = 0.0) -> Verdict:
    """Compare the mean of a sum's values with the reference's: Welch's interval, beyond a part of the reference's."""
    ours, theirs = (metrics.mean_measure(sums.rows, sums.total(name), sums.total(f"{name}²")) for sums in (now, then))
    if min(ours.rows, theirs.rows) < FEWEST or ours.value is None or theirs.value is None:
        return Verdict(name, ours, theirs, None, None)
    difference = around(ours.value - theirs.value, _variance(name, now) + _variance(name, then))
    minded = tolerance * abs(theirs.value)
    changed = difference is not None and (difference.low > minded or difference.high < -minded)
    return Verdict(name, ours, theirs, difference, changed)


def _variance(name: str, sums: Sums) -> float:
    """Of the mean."""
    total, squares = sums.total(name), sums.total(f"{name}²")
    return max(squares - total**2 / sums.rows, 0.0) / (sums.rows - 1) / sums.rows


@dataclass(frozen=True)
class AlarmRate:
    """How often an outlier detector raises an alarm.

    Example:
        >>> then, now = AlarmRate(50, 1_000), AlarmRate(150, 1_000)
        >>> now.compare(then).changed
        True
    """

    alarms: int
    rows: int

    @classmethod
    def of(cls, answers: Array, alarm: Literal[-1, 1] = -1) -> AlarmRate:
        """Count alarms: −1, as scikit-learn's detectors have it, or 1."""
        said = np.asarray(answers).ravel()
        return cls(int((said == alarm).sum()), len(said))

    def __add__(self, other: AlarmRate) -> AlarmRate:
        return AlarmRate(self.alarms + other.alarms, self.rows + other.rows)

    def measure(self) -> Measure:
        """The share of rows that raise an alarm, with Wilson's interval."""
        return metrics.share_measure(self.alarms, self.rows)

    def compare(self, then: AlarmRate, factor: float = 1.5) -> Verdict:
        """Compare with the reference's: changed where it certainly differs, and by this factor or more."""
        difference = proportion_difference(self.alarms, self.rows, then.alarms, then.rows)
        if min(self.rows, then.rows) < FEWEST or difference is None:
            return Verdict("alarm_rate", self.measure(), then.measure(), None, None)
        ours, theirs = self.alarms / self.rows, then.alarms / then.rows
        far = ours > factor * theirs or ours * factor < theirs
        return Verdict("alarm_rate", self.measure(), then.measure(), difference, far and not difference.holds(0.0))
