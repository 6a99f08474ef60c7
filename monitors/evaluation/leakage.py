"""What looks too good to be true: a feature that tells the answer alone, names of rows, rows of the training.

And what is wrong with the evaluation set itself: rows that are there twice, classes that are rare, labels that nobody
believes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serinus.monitors.evaluation.check import Check, Status
from serinus.monitors.evaluation.policy import Policy
from serinus.monitors.evaluation.trial import Trial

__all__ = ["LeakageFound", "RowDigests", "Suspect", "check_leakage", "row_digests"]

Array = NDArray[Any]
RowDigests = frozenset[bytes]

_SURE = 0.95
_SHOWN = 20
_RARE = 0.02
_SOME = 50
_CHANCE = 0.01
_LEAST, _PAIRS = 10, 50


@dataclass(frozen=True)
class Suspect:
    """A row whose ground truth the version contradicts with great confidence."""

    row: str
    truth: str
    answer: str
    probability: float


@dataclass(frozen=True)
class LeakageFound:
    """What was found.

    Attributes:
        areas: the features that tell the classes apart best alone, by their area under the ROC curve; of several
            classes by the two that they tell apart worst, for a leak tells all.
        names: features that look like names of rows.
        twice: the share of rows that are in the evaluation set more than once.
        trained: the share of rows that are among the training's; None where these are not known.
        classes: how many rows each class has.
        doubted: in how many rows the version is 95 % sure of another class than the ground truth's.
        expected: how many there would be if its probabilities were right.
        suspects: the first of them, the most doubtful first.
    """

    areas: Mapping[str, float]
    names: tuple[str, ...]
    twice: float
    trained: float | None
    classes: Mapping[str, int]
    doubted: int
    expected: float
    suspects: tuple[Suspect, ...]

    @property
    def more_than_chance(self) -> bool:
        """Whether more rows are doubted than one in a hundred sets of right labels would have."""
        from scipy.special import pdtrc

        return self.doubted > 0 and float(pdtrc(self.doubted - 1, max(self.expected, 1e-9))) < _CHANCE


def check_leakage(trial: Trial, policy: Policy, training: RowDigests | None = None) -> Check:
    """Look for what makes a metric too good.

    Args:
        trial: what is judged.
        policy: the limits.
        training: digests of the training's rows (`row_digests`); None where they are not known.
    """
    areas = _areas(trial)
    names = tuple(name for name, values in trial.inputs.items() if _are_names(values))
    digests = row_digests(trial.inputs)
    twice = 1 - len(set(digests)) / max(len(digests), 1)
    trained = None if training is None else sum(one in training for one in digests) / max(len(digests), 1)
    classes = {str(name): int((trial.truth == place).sum()) for place, name in enumerate(trial.classes)}
    best = dict(sorted(areas.items(), key=lambda item: -item[1])[:10])
    found = LeakageFound(best, names, twice, trained, classes, *_suspects(trial))
    return _judged(found, policy)


def _judged(found: LeakageFound, policy: Policy) -> Check:
    limits = policy.leakage
    telling = [f"{name} ({area:.3f})" for name, area in found.areas.items() if area > limits.max_area]
    failed, remarks = [], []
    if telling:
        failed.append(f"Alone, {', '.join(telling[:3])} tells the answer (area above {limits.max_area:g}): does it "
                      "come from the answer?")
    if found.trained is not None and found.trained > limits.max_duplicates:
        failed.append(f"{found.trained:.1%} of the rows were in the training.")
    if found.names:
        remarks.append(f"{', '.join(found.names[:3])} looks like a name of rows.")
    if found.twice > limits.max_duplicates:
        remarks.append(f"{found.twice:.1%} of the rows are there more than once.")
    rare = [name for name, rows in found.classes.items() if rows < _SOME or rows < _RARE * sum(found.classes.values())]
    if rare:
        remarks.append(f"Few rows of class {', '.join(rare[:3])}: {found.classes[rare[0]]:,}.")
    if found.suspects and found.more_than_chance:
        remarks.append(f"{found.doubted:,} labels contradict the version where it is surest, and {found.expected:.0f} "
                       f"would by chance: labels may be wrong, such as that of row {found.suspects[0].row}, or it is "
                       "too sure.")
    if found.trained is None:
        remarks.append("The training’s rows are not known (--reference), so duplicates of them were not looked for.")
    if failed:
        return Check("leakage", Status.FAIL, " ".join([*failed, *remarks]), found)
    least = "No feature tells the answer alone, and no row was in the training."
    return Check("leakage", Status.WARN if remarks else Status.PASS, " ".join(remarks) or least, found)


def _areas(trial: Trial) -> dict[str, float]:
    if not trial.classifies:
        return _correlations(trial)
    present = [place for place in range(len(trial.classes)) if (trial.truth == place).sum() >= _LEAST]
    pairs = list(combinations(present, 2))[:_PAIRS]
    sides = [(trial.truth == one, trial.truth == other) for one, other in pairs]
    return {name: min(_area(values, *side) for side in sides) for name, values in _numbers(trial.inputs).items()
            if sides}


def _correlations(trial: Trial) -> dict[str, float]:
    """For numbers, the area has its like in the rank correlation: (1 + |ρ|) / 2."""
    ranks = _ranks(trial.truth)
    found = {}
    for name, values in _numbers(trial.inputs).items():
        own = _ranks(values)
        if own.std() > 0 and ranks.std() > 0:
            found[name] = (1 + abs(float(np.corrcoef(own, ranks)[0, 1]))) / 2
    return found


def _numbers(inputs: Mapping[str, Array]) -> dict[str, NDArray[np.float64]]:
    found = {}
    for name, array in inputs.items():
        if array.dtype.kind in "fiub" and array.ndim == 1:
            found[name] = array.astype(np.float64)
        elif array.dtype.kind in "fiub" and array.ndim == 2:
            found |= {f"{name}[{place}]": array[:, place].astype(np.float64) for place in range(array.shape[1])}
    return found


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean ranks; gaps stand last, for a gap may tell the answer too."""
    filled = np.where(np.isnan(values), np.inf, values)
    _, places, counts = np.unique(filled, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return np.asarray((ends - (counts - 1) / 2)[places.reshape(-1)])


def _area(values: NDArray[np.float64], one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    """How well values tell two classes apart, whichever way they point."""
    both = one | other
    ranks, many, others = _ranks(values[both]), int(one.sum()), int(other.sum())
    area = (float(ranks[one[both]].sum()) - many * (many + 1) / 2) / (many * others)
    return max(area, 1 - area)


def _are_names(values: Array) -> bool:
    """Whether every row has its own text, or its own whole number and these have hardly a gap, as counters have."""
    if values.ndim != 1 or len(values) < _SOME:
        return False
    if values.dtype == object:
        texts = [value for value in values.tolist() if isinstance(value, str)]
        return len(texts) == len(values) and len(set(texts)) == len(texts)
    if values.dtype.kind not in "iu":
        return False
    return len(np.unique(values)) == len(values) and int(values.max()) - int(values.min()) < 2 * len(values)


def row_digests(inputs: Mapping[str, Array]) -> list[bytes]:
    """Give a short digest of each row's values, the same whichever order the columns have."""
    if not inputs:
        return []
    parts = [_words(inputs[name]) for name in sorted(inputs)]
    return [hashlib.blake2b("\x1f".join(row).encode("utf-8", "surrogatepass"), digest_size=10).digest()
            for row in zip(*parts, strict=True)]


def _words(array: Array) -> list[str]:
    if array.ndim > 1:
        return [repr(row) for row in array.reshape(len(array), -1).tolist()]
    if array.dtype.kind in "iub":
        array = array.astype(np.float64)
    return [repr(value) for value in array.tolist()]


def _suspects(trial: Trial) -> tuple[int, float, tuple[Suspect, ...]]:
    """Rows whose own class is all but excluded, while another is all but sure."""
    table = trial.candidate.probabilities
    if table is None or not np.isfinite(table).all():
        return 0, 0.0, ()
    most, said = table.max(axis=1), table.argmax(axis=1)
    sure = np.flatnonzero((most > _SURE) & (said != trial.truth))
    order = sure[np.argsort(-most[sure], kind="stable")][:_SHOWN]
    suspects = tuple(Suspect(str(trial.ids[row]), str(trial.classes[int(trial.truth[row])]),
                             str(trial.classes[int(said[row])]), float(most[row])) for row in order)
    return len(sure), float((1 - most[most > _SURE]).sum()), suspects
