"""Slices: named parts of the records, declared or found, and whether a model does worse there.

*Declared* slices are named by people (`region`, `region × channel`); their sums are those of `performance`. *Found*
slices are conjunctions of up to three feature bins, searched on one half of the rows by SliceLine's score (Sagadeeva
& Boehm, SIGMOD 2021)

    score = α·(ē_slice / ē − 1) − (1 − α)·(n / n_slice − 1)

which weighs how much worse a slice is against how small it is, level by level, extending only slices whose best
possible child could still be among the best. Whoever searches finds something; so what was found is tested on the
other half, which had no part in the search, and kept by Benjamini and Hochberg's rule: of the slices that are shown,
one in ten is expected to be none.

*Fairness*: gaps between declared groups in how often they are selected, found, wrongly selected, and how well
calibrated their probabilities are, with intervals; a group of fewer than 50 rows is "unknown", not equal. Of more than
two classes each is held against the rest, and recall is also averaged over the classes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from serinus.monitors import intervals
from serinus.monitors.intervals import LEVEL, Interval
from serinus.monitors.metrics import FINE, Sums
from serinus.monitors.performance import FEWEST

__all__ = ["DISCOVERY_RATE", "MOST_ROWS", "Condition", "FoundSlice", "Gap", "adjusted", "class_gaps",
           "discover", "fairness", "slice_names"]

MOST_ROWS = 20_000
"""Rows that a search looks at; of more, a seeded sample."""

DISCOVERY_RATE = 0.1
"""Of the slices that are shown this part is expected to be chance."""

_ALPHA = 0.95
_DEPTH = 3
_KEPT = 20
_WIDTH = 60
_SEED = 20_260_102

Array = NDArray[Any]


def slice_names(columns: Mapping[str, Array], declared: Sequence[str]) -> dict[str, NDArray[np.bool_]]:
    """The rows of each value of the declared keys; "region × channel" is every pair of values.

    A key that no column has gives no slices; missing values are a slice, too.
    """
    found: dict[str, NDArray[np.bool_]] = {}
    for key in declared:
        parts = [part.strip() for part in key.split("×")]
        if all(part in columns for part in parts):
            texts = [np.array([_text(value) for value in columns[part].tolist()], object) for part in parts]
            named = [f"{', '.join(f'{part}={value}' for part, value in zip(parts, row, strict=True))}"
                     for row in zip(*texts, strict=True)]
            names, inverse = np.unique(np.array(named, object).astype(str), return_inverse=True)
            found |= {str(name): inverse == place for place, name in enumerate(names)}
    return found


def _text(value: Any) -> str:
    return "missing" if value is None or value != value else str(value)


class Condition(NamedTuple):
    """A feature has a value in one of its bins."""

    feature: str
    bin: str


@dataclass(frozen=True)
class FoundSlice:
    """A part of the rows where the loss is higher, tried on rows that had no part in finding it.

    Attributes:
        conditions: all of which hold.
        rows: how many of the tested half it has.
        loss: its mean loss there.
        others: the mean loss of the tested half's other rows.
        interval: of the difference.
        p_value: one-sided, of "it is no worse", adjusted for the number of slices tested.
        examples: places of its worst rows, for looking at them.
    """

    conditions: tuple[Condition, ...]
    rows: int
    loss: float
    others: float
    interval: Interval
    p_value: float
    examples: tuple[int, ...]

    @property
    def name(self) -> str:
        """The slice in words."""
        return " and ".join(f"{condition.feature} is {condition.bin}" for condition in self.conditions)


def discover(codes: Array, losses: Array, features: Sequence[str], labels: Sequence[Sequence[str]], *,
             most: int = 10, seed: int = _SEED) -> list[FoundSlice]:
    """Find slices where the loss is higher than elsewhere, worst first.

    Args:
        codes: of the features, `[n, F]`, small integers.
        losses: of the rows, `[n]`, such as 1 where an answer was wrong.
        features: their names.
        labels: for each feature a name for each code.
        most: slices to give.
        seed: of sample and halves.
    """
    table, loss = np.asarray(codes, np.int64), np.asarray(losses, float)
    rng = np.random.default_rng(seed)
    kept = np.flatnonzero(np.isfinite(loss))
    kept = rng.permutation(kept)[:MOST_ROWS]
    half = len(kept) // 2
    if half < 2 * FEWEST or not table.shape[1]:
        return []
    searched, tested = kept[:half], kept[half:]
    candidates = _searched(table[searched], np.clip(loss[searched], -1e100, 1e100))
    found = [_tested(candidate, table, loss, tested) for candidate in candidates]
    usable = [one for one in found if one is not None]
    return _shown(usable, features, labels)[:most]


Cells = tuple[tuple[int, int], ...]
"""Feature and code, one per condition."""


def _searched(codes: Array, loss: Array) -> list[Cells]:
    """SliceLine's search, level by level, keeping the most promising of each."""
    fewest = max(FEWEST, len(loss) // 100)
    average = float(loss.mean())
    if average <= 0:
        return []
    worst, best = float(loss.max()), dict[Cells, float]()
    level: dict[Cells, NDArray[np.bool_]] = {}
    for feature in range(codes.shape[1]):
        for code in np.unique(codes[:, feature]).tolist():
            level[((feature, code),)] = codes[:, feature] == code
    singles = dict(level)
    for depth in range(_DEPTH):
        level = {cells: rows for cells, rows in level.items() if rows.sum() >= fewest}
        scores = {cells: _score(loss[rows].mean(), rows.sum(), average, len(loss)) for cells, rows in level.items()}
        best |= {cells: score for cells, score in scores.items() if score > 0}
        if depth + 1 < _DEPTH:
            limit = sorted(best.values(), reverse=True)[_KEPT - 1] if len(best) >= _KEPT else 0.0
            level = _extended(level, singles, loss, worst, average, limit, fewest)
    return [cells for cells, _ in sorted(best.items(), key=lambda item: (-item[1], len(item[0]), item[0]))[:_KEPT]]


def _score(mean: float, rows: int, average: float, every: int) -> float:
    return float(_ALPHA * (mean / average - 1) - (1 - _ALPHA) * (every / rows - 1))


def _extended(level: Mapping[Cells, Array], singles: Mapping[Cells, Array], loss: Array, worst: float, average: float,
              limit: float, fewest: int) -> dict[Cells, Array]:
    """Conjoin slices with one more feature, where a child could still score above the limit."""
    bounds = {cells: _bound(loss[rows], worst, average, len(loss), fewest) for cells, rows in level.items()}
    promising = sorted((cells for cells in bounds if bounds[cells] > limit), key=lambda cells: (-bounds[cells], cells))
    children: dict[Cells, Array] = {}
    for cells in promising[:_WIDTH]:
        for (single,), rows in singles.items():
            if all(single[0] != feature for feature, _ in cells):
                child = tuple(sorted((*cells, single)))
                if child not in children:
                    children[child] = level[cells] & rows
    return children


def _bound(loss: Array, worst: float, average: float, every: int, fewest: int) -> float:
    """The best score that any part of these rows could have: that of its `k` worst, over all `k`."""
    falling = np.sort(loss)[::-1]
    sizes = np.unique(np.geomspace(min(fewest, len(loss)), len(loss), 16).astype(int))
    means = np.minimum(np.cumsum(falling)[sizes - 1] / sizes, worst)
    return float((_ALPHA * (means / average - 1) - (1 - _ALPHA) * (every / sizes - 1)).max())


def _tested(cells: Cells, codes: Array, loss: Array, rows: Array) -> tuple[Cells, FoundSlice] | None:
    """Welch's one-sided test of a slice against the other rows of the tested half."""
    inside = np.all([codes[rows, feature] == code for feature, code in cells], axis=0)
    ours, theirs = loss[rows[inside]], loss[rows[~inside]]
    if len(ours) < FEWEST // 2 or len(theirs) < FEWEST // 2:
        return None
    from scipy.special import stdtr, stdtrit

    gap = float(ours.mean() - theirs.mean())
    parts = ours.var(ddof=1) / len(ours), theirs.var(ddof=1) / len(theirs)
    error = math.sqrt(sum(parts))
    if error == 0:
        return None
    freedom = sum(parts) ** 2 / (parts[0] ** 2 / (len(ours) - 1) + parts[1] ** 2 / (len(theirs) - 1))
    reach = float(stdtrit(freedom, (1 + LEVEL) / 2)) * error
    worst = rows[inside][np.argsort(-ours, kind="stable")[:5]].tolist()
    interval = Interval(gap - reach, gap + reach)
    return cells, FoundSlice((), len(ours), float(ours.mean()), float(theirs.mean()), interval,
                             float(stdtr(freedom, -gap / error)), tuple(worst))


def _shown(found: list[tuple[Cells, FoundSlice]], features: Sequence[str],
           labels: Sequence[Sequence[str]]) -> list[FoundSlice]:
    """Those that hold on the other half, without those that a simpler one explains as well."""
    values = adjusted([one.p_value for _, one in found])
    held = [(cells, one, p) for (cells, one), p in zip(found, values, strict=True) if p <= DISCOVERY_RATE]
    named = []
    for cells, one, p in held:
        simpler = [other for inside, other, _ in held if set(inside) < set(cells)]
        if all(one.interval.low > other.loss - other.others for other in simpler):
            conditions = tuple(Condition(features[feature], labels[feature][code]) for feature, code in cells)
            named.append(FoundSlice(conditions, *_facts(one), p, one.examples))
    return sorted(named, key=lambda one: (-(one.loss - one.others) * math.sqrt(one.rows), one.name))


def _facts(one: FoundSlice) -> tuple[int, float, float, Interval]:
    return one.rows, one.loss, one.others, one.interval


def adjusted(p_values: Sequence[float]) -> list[float]:
    """Benjamini and Hochberg's adjusted p-values: those up to 0.1 have a false discovery rate of a tenth.

    Example:
        >>> adjusted([0.01, 0.04, 0.03, 0.5])
        [0.04, 0.05333333333333334, 0.05333333333333334, 0.5]
    """
    values = np.asarray(p_values, float)
    order = np.argsort(values)[::-1]
    scaled = values[order] * len(values) / np.arange(len(values), 0, -1)
    found = np.empty(len(values))
    found[order] = np.minimum(np.minimum.accumulate(scaled), 1.0)
    return found.tolist()


class Gap(NamedTuple):
    """How much two groups differ.

    `difference` is None, and `verdict` "unknown", where a group has too few rows to tell.

    Attributes:
        measure: "selection_rate", "recall", "false_positive_rate" or "calibration"; of several classes the first three
            of each class ("recall of red"), "accuracy" and "macro_recall".
        groups: the group with the higher value, and that with the lower one.
        difference: of their values.
        interval: of the difference, at 95 % for all pairs of a measure together.
        verdict: "gap" where the interval says that there is one, "none found", or "unknown".
    """

    measure: str
    groups: tuple[str, str]
    difference: float | None
    interval: Interval | None
    verdict: str


def fairness(groups: Mapping[str, Sums], positive: int = 1, tolerance: float = 0.0, level: float = LEVEL) -> list[Gap]:
    """Compare declared groups of a classifier of two classes, every pair by every measure, largest gap first.

    Args:
        groups: sums of each group's rows (`performance.Definition.sums`).
        positive: the class that is favourable.
        tolerance: how large a gap nobody minds; a verdict "gap" is beyond it.
        level: of the intervals of one measure together (Bonferroni).
    """
    gaps = []
    pairs = list(combinations(sorted(groups), 2))
    each = 1 - (1 - level) / max(len(pairs), 1)
    for measure in ("selection_rate", "recall", "false_positive_rate", "calibration"):
        for pair in pairs:
            cells = [_cell(measure, groups[name], positive) for name in pair]
            gaps.append(_gap(measure, pair, cells, tolerance, each))
    return sorted(gaps, key=lambda gap: -(gap.difference or 0.0))


def class_gaps(groups: Mapping[str, Sums], labels: Sequence[str], tolerance: float = 0.0,
               level: float = LEVEL) -> list[Gap]:
    """Compare declared groups of a classifier of more than two classes: of each measure the widest gap.

    Accuracy, recall as a mean over the classes, and for each class, against the rest, how often it is answered, found
    and wrongly answered.

    Args:
        groups: sums of each group's rows (`performance.Definition.sums`).
        labels: of the classes, in the order of the sums.
        tolerance: how large a gap nobody minds; a verdict "gap" is beyond it.
        level: of the intervals of one measure together, over pairs and classes (Bonferroni).
    """
    pairs = list(combinations(sorted(groups), 2))
    if not pairs:
        return []
    alpha = (1 - level) / len(pairs)
    gaps = [_widest([_gap("accuracy", pair, [_accuracy(groups[name]) for name in pair], tolerance, 1 - alpha)
                     for pair in pairs]),
            _widest([_macro_gap(pair, [groups[name] for name in pair], len(labels), tolerance, 1 - alpha)
                     for pair in pairs])]
    for place, label in enumerate(labels):
        for measure in ("selection_rate", "recall", "false_positive_rate"):
            gaps.append(_widest([_gap(f"{measure} of {label}", pair,
                                      [_cell(measure, groups[name], place) for name in pair], tolerance,
                                      1 - alpha / len(labels)) for pair in pairs]))
    return sorted(gaps, key=lambda gap: -(gap.difference or 0.0))


def _widest(gaps: Sequence[Gap]) -> Gap:
    """The one that is surest to be a gap, else the largest; where a pair cannot be told and no other is a gap, that."""
    there = [gap for gap in gaps if gap.verdict == "gap"]
    unknown = [gap for gap in gaps if gap.verdict == "unknown"]
    return max(there, key=lambda gap: gap.difference or 0.0) if there else unknown[0] if unknown else max(
        gaps, key=lambda gap: gap.difference or 0.0)


def _accuracy(sums: Sums) -> _Cell:
    table = sums.table("confusion")
    return _Cell(0, 0) if table.ndim != 2 else _Cell(float(np.trace(table)), float(table.sum()))


def _macro_gap(pair: tuple[str, str], both: Sequence[Sums], classes: int, tolerance: float, level: float) -> Gap:
    cells = [[_cell("recall", sums, place)[:2] for place in range(classes)] for sums in both]
    if min(units for side in cells for _, units in side) < FEWEST:
        return Gap("macro_recall", pair, None, None, "unknown")
    means = [math.fsum(events / units for events, units in side) / classes for side in cells]
    high, low = (0, 1) if means[0] >= means[1] else (1, 0)
    interval = intervals.macro_difference(cells[high], cells[low], level)
    if interval is None:
        return Gap("macro_recall", pair, None, None, "unknown")
    verdict = "gap" if interval.low > tolerance else "none found"
    return Gap("macro_recall", (pair[high], pair[low]), means[high] - means[low], interval, verdict)


class _Cell(NamedTuple):
    """Events among units, and what else is taken from their share."""

    events: float
    units: float
    expected: float = 0.0


def _cell(measure: str, sums: Sums, positive: int) -> _Cell:
    table = sums.table("confusion")
    if table.ndim != 2:
        return _Cell(0, 0)
    if measure == "selection_rate":
        return _Cell(float(table[:, positive].sum()), float(table.sum()))
    if measure == "recall":
        return _Cell(float(table[positive, positive]), float(table[positive].sum()))
    if measure == "false_positive_rate":
        others = np.delete(table, positive, axis=0)
        return _Cell(float(others[:, positive].sum()), float(others.sum()))
    scores = sums.table("scores")
    if scores.ndim != 3 or not scores[0, :, 0].sum():
        return _Cell(0, 0)
    rows, hits, said = scores[0].sum(0)
    return _Cell(float(hits), float(rows), float(said / FINE / rows))


def _gap(measure: str, pair: tuple[str, str], cells: Sequence[_Cell], tolerance: float, level: float) -> Gap:
    if min(cell.units for cell in cells) < FEWEST:
        return Gap(measure, pair, None, None, "unknown")
    shares = [cell.events / cell.units - cell.expected for cell in cells]
    high, low = (0, 1) if shares[0] >= shares[1] else (1, 0)
    interval = intervals.proportion_difference(cells[high].events, cells[high].units, cells[low].events,
                                               cells[low].units, level)
    if interval is None:
        return Gap(measure, pair, None, None, "unknown")
    moved = cells[high].expected - cells[low].expected
    interval = Interval(interval.low - moved, interval.high - moved)
    verdict = "gap" if interval.low > tolerance else "none found"
    return Gap(measure, (pair[high], pair[low]), shares[high] - shares[low], interval, verdict)
