"""How long truths take, which of them are still to come, and what that does to a figure that cannot wait for them.

A truth that has not come yet is *censored*: that its delay is longer than the age of its prediction is all we know.
Kaplan & Meier 1958, Nonparametric estimation from incomplete observations, gives the share that is known at any age.
Where the delay depends on the class (who defaults is known late, and never who does not), what is known is a biased
sample of what was predicted. Then a prediction of age a without a truth is of class k with a chance proportional to
p_k (1 − F_k(a)), and shares p and delays F of all classes are found together by expectation and maximisation
(Dempster, Laird & Rubin 1977), with p for every cohort and answer by itself.

Example:
    >>> import numpy as np
    >>> counts = np.zeros(BINS, int); counts[3] = 40
    >>> delays = estimate([Cohort(3600.0, {"yes": 100}, {("yes", "yes"): counts})])
    >>> round(delays.expected(3600.0), 3)
    0.4
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import erfc, sqrt
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["BINS", "EDGES_S", "Cohort", "Completed", "Delays", "Dependence", "bin_of", "complete", "dependence",
           "estimate"]

_DAY_S = 86_400.0
EDGES_S = np.array([60, 300, 900, 3600, 2 * 3600, 4 * 3600, 8 * 3600, 16 * 3600,
                    *(days * _DAY_S for days in (1, 2, 3, 5, 7, 10, 14, 21, 30, 45, 60, 90, 120, 180, 270, 365, 730))])
"""The upper ends of the bins in which delays are counted, in seconds; the last bin has none."""
BINS = len(EDGES_S) + 1

_STEPS = 1_000
_CLOSE = 1e-7
_FEWEST = 200
_SURE = 1e-4
_FAR = 0.1

Counts = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Cohort:
    """What was predicted at about the same time.

    Attributes:
        age_s: how long ago.
        totals: by answer, how many predictions.
        labels: by answer and class, how many truths came after which delay, `[BINS]`.
    """

    age_s: float
    totals: Mapping[str, int]
    labels: Mapping[tuple[str, str], Counts]

    @property
    def labelled(self) -> int:
        """How many truths are known."""
        return int(sum(counts.sum() for counts in self.labels.values()))


@dataclass(frozen=True)
class Delays:
    """How many truths are known at which age.

    Attributes:
        classes: the classes of truths.
        survival: share of each class that is not yet known at the beginning of each bin, `[classes, BINS + 1]`.
        overall: the same of all predictions together (Kaplan–Meier), `[BINS + 1]`.
    """

    classes: tuple[str, ...]
    survival: Floats
    overall: Floats

    def expected(self, age_s: float) -> float:
        """The share of all predictions of that age whose truth should be known."""
        return 1.0 - float(_at(self.overall[None], np.array([age_s]))[0, 0])

    def known(self, label: str, age_s: float) -> float:
        """The share of a class that is known at that age; 0 for a class that never was."""
        if label not in self.classes:
            return 0.0
        return 1.0 - float(_at(self.survival, np.array([age_s]))[0, self.classes.index(label)])


class Completed(NamedTuple):
    """A cohort with the truths that are still to come, as far as they can be expected.

    Attributes:
        shares: by answer and class, the number of predictions, known and expected.
        naive: share of right answers among those whose truth is known; None without any.
        corrected: the same of all predictions.
    """

    shares: Mapping[tuple[str, str], float]
    naive: float | None
    corrected: float | None


class Dependence(NamedTuple):
    """Whether the truth is learnt more often where the score is high.

    Attributes:
        z: of the trend; above 0 where more is known of high scores.
        p_value: two-sided.
        shares: the share that is known, by bin of the score.
        depends: whether this is beyond doubt, and large enough to matter.
    """

    z: float
    p_value: float
    shares: tuple[float, ...]
    depends: bool


def bin_of(delays_s: NDArray[Any]) -> NDArray[np.int64]:
    """The bin of each delay; a truth that is said to be older than its prediction came at once."""
    return np.searchsorted(EDGES_S, np.asarray(delays_s, float), side="left").astype(np.int64)


def estimate(cohorts: Iterable[Cohort], horizon_s: float | None = None) -> Delays:
    """Find the delays in cohorts of any age; with `horizon_s` every truth is known by that age."""
    known = [cohort for cohort in cohorts if cohort.totals]
    classes = tuple(sorted({label for cohort in known for _, label in cohort.labels}))
    if not classes:
        return Delays((), np.ones((0, BINS + 1)), np.ones(BINS + 1))
    groups = _groups(known, classes)
    whole = groups._replace(labels=groups.labels.sum(1, keepdims=True))
    hazards, _ = _maximise(groups, horizon_s)
    overall, _ = _maximise(whole, horizon_s)
    return Delays(classes, _survival(hazards), _survival(overall)[0])


def complete(cohort: Cohort, delays: Delays) -> Completed:
    """Add what is to be expected of the truths that are still to come."""
    classes = tuple(sorted({*delays.classes, *(label for _, label in cohort.labels)}))
    groups = _groups([cohort], classes)
    late = np.column_stack([1.0 - np.array([delays.known(label, cohort.age_s)]) for label in classes]) \
        if classes else np.ones((1, 0))
    counts = groups.labels.sum(2)
    shares = _settle(groups, np.repeat(late, len(counts), 0)) * groups.totals[:, None]
    names = list(cohort.totals)
    right = [(row, classes.index(name)) for row, name in enumerate(names) if name in classes]
    labelled, total = counts.sum(), groups.totals.sum()
    naive = sum(counts[place] for place in right) / labelled if labelled else None
    corrected = sum(shares[place] for place in right) / total if labelled else None
    return Completed({(name, label): float(shares[row, column]) for row, name in enumerate(names)
                      for column, label in enumerate(classes)},
                     None if naive is None else float(naive), None if corrected is None else float(corrected))


def dependence(known: Sequence[int] | Counts, totals: Sequence[int] | Counts) -> Dependence:
    """Test for a trend of the known share over bins of the score (Cochran 1954, Armitage 1955)."""
    hits, sizes = np.asarray(known, float), np.asarray(totals, float)
    shares = tuple(float(hit / size) if size else 0.0 for hit, size in zip(hits, sizes, strict=True))
    size, share = sizes.sum(), hits.sum() / max(sizes.sum(), 1.0)
    places = np.arange(len(sizes)) - (np.arange(len(sizes)) @ sizes) / max(size, 1.0)
    spread = share * (1 - share) * (places**2 @ sizes)
    if size < _FEWEST or spread <= 0:
        return Dependence(0.0, 1.0, shares, False)
    z = float(places @ hits / sqrt(spread))
    p_value = erfc(abs(z) / sqrt(2))
    large = [each for each, bin_size in zip(shares, sizes, strict=True) if bin_size >= 0.01 * size]
    return Dependence(z, p_value, shares, p_value < _SURE and max(large) - min(large) >= _FAR)


class _Groups(NamedTuple):
    """The cohorts' answers, one after another: totals `[G]`, ages `[G]`, labels `[G, K, BINS]`."""

    totals: Floats
    ages: Floats
    labels: Floats


def _groups(cohorts: Sequence[Cohort], classes: tuple[str, ...]) -> _Groups:
    rows = [(cohort, answer) for cohort in cohorts for answer in cohort.totals]
    labels = np.zeros((len(rows), len(classes), BINS))
    for row, (cohort, answer) in enumerate(rows):
        for column, label in enumerate(classes):
            counts = cohort.labels.get((answer, label))
            if counts is not None:
                labels[row, column] = counts
    totals = np.array([float(cohort.totals[answer]) for cohort, answer in rows])
    return _Groups(np.maximum(totals, labels.sum((1, 2))), np.array([cohort.age_s for cohort, _ in rows]), labels)


def _maximise(groups: _Groups, horizon_s: float | None) -> tuple[Floats, Floats]:
    """Hazards `[K, BINS]` of the classes and their shares `[G, K]`, by expectation and maximisation."""
    seen = (np.searchsorted(EDGES_S, groups.ages, side="right")[:, None] > np.arange(BINS)).astype(float)
    ended = np.zeros(BINS, bool) if horizon_s is None else np.append(EDGES_S, np.inf) > horizon_s
    later = groups.labels[:, :, ::-1].cumsum(2)[:, :, ::-1]
    counts = groups.labels.sum(2)
    waiting = groups.totals - counts.sum(1)
    events, surely = np.einsum("gb,gkb->kb", seen, groups.labels), np.einsum("gb,gkb->kb", seen, later)
    shares = (counts + 0.5) / (counts + 0.5).sum(1, keepdims=True)
    hazards = np.zeros_like(events)
    for _ in range(_STEPS):
        late = _at(_survival(hazards), groups.ages)
        expected = waiting[:, None] * _proportions(shares * late, shares)
        risk = surely + (seen.T @ expected).T
        following = np.divide(events, risk, out=np.zeros_like(events), where=risk > 0)
        following[:, ended] = 1.0
        shares = (counts + expected) / np.maximum(groups.totals, 1e-300)[:, None]
        moved, hazards = np.abs(following - hazards).max(initial=0.0), following
        if moved < _CLOSE:
            break
    return hazards, shares


def _settle(groups: _Groups, late: Floats) -> Floats:
    """Shares `[G, K]` of the classes, where what is not known of each at its age is given."""
    counts = groups.labels.sum(2)
    waiting = groups.totals - counts.sum(1)
    shares = (counts + 0.5) / (counts + 0.5).sum(1, keepdims=True)
    for _ in range(_STEPS):
        expected = waiting[:, None] * _proportions(shares * late, shares)
        following = (counts + expected) / np.maximum(groups.totals, 1e-300)[:, None]
        moved, shares = np.abs(following - shares).max(initial=0.0), following
        if moved < _CLOSE:
            break
    return np.asarray(shares)


def _proportions(weights: Floats, otherwise: Floats) -> Floats:
    sums = weights.sum(1, keepdims=True)
    return np.asarray(np.where(sums > 0, weights / np.where(sums > 0, sums, 1.0), otherwise))


def _survival(hazards: Floats) -> Floats:
    return np.column_stack([np.ones(len(hazards)), np.cumprod(1.0 - hazards, axis=1)])


def _at(survival: Floats, ages: Floats) -> Floats:
    """What is not known of each class at each age, `[ages, K]`; within a bin it falls evenly."""
    begins, ends = np.append(0.0, EDGES_S), np.append(EDGES_S, EDGES_S[-1] * 2)
    bins = np.searchsorted(EDGES_S, ages, side="right")
    part = np.clip((ages - begins[bins]) / (ends[bins] - begins[bins]), 0.0, 1.0)
    return np.asarray((survival[:, bins] * (1 - part) + survival[:, bins + 1] * part).T)
