"""Realised performance: what the answers of a version turned out to be worth, once the truth is known.

```
rows with truth ──Definition.sums──▶ Sums ──Performance.with_part──▶ cells (version, window, slice) ──table──▶ Measures
```

A *definition* fixes what is measured, so that versions and windows can be compared. *Sums* add exactly: replicas, late
labels and another order change nothing. What a source knows of a cell is a *part* with a revision; merging keeps the
highest, so a part may be sent twice, late, or replaced after labels were revised.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from hashlib import sha256
from importlib.metadata import entry_points
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from serinus.models.signature import Label, Signature
from serinus.monitors import metrics
from serinus.monitors.errors import InvalidData
from serinus.monitors.exact import ExactSum
from serinus.monitors.intervals import LEVEL
from serinus.monitors.metrics import BINS, FINE, Measure, Sums
from serinus.monitors.referral import confidence_output

__all__ = ["FEWEST", "GROUP", "OF_POSITIVE", "Definition", "Key", "Metric", "Outcomes", "Part", "Performance",
           "definition_for", "installed_metrics", "label_places"]

FEWEST = 50
"""Rows below which a cell's verdict is "unknown"."""

GROUP = "serinus.metrics"
"""The entry-point group in which an installed package offers metrics of its own."""

OF_POSITIVE = frozenset({"precision", "recall", "f1", "pr_auc"})
"""The measures that look at the positive class alone."""

_LARGEST = 1e75
"""Truths and errors beyond count as this: their fourth powers stay finite."""
_LEAST = float(np.finfo(np.float64).eps)

_log = logging.getLogger("serinus.monitors")

Array = NDArray[Any]
Task = Literal["classification", "regression"]


class Outcomes(NamedTuple):
    """Rows whose truth is known.

    Attributes:
        truth: what really was, `[n]`: labels or numbers.
        answers: what the model said, `[n]`.
        scores: its probabilities `[n, K]` in the order of the labels, or of the positive class `[n]`; None without.
    """

    truth: Array
    answers: Array
    scores: Array | None = None


class Metric(Protocol):
    """A metric of one's own: a number per row, of which the mean is taken."""

    name: str
    about: str
    higher_is_better: bool

    def values(self, outcomes: Outcomes) -> ArrayLike:
        """Give a number for each row; NaN where a row does not count."""
        ...


@cache
def installed_metrics() -> tuple[Metric, ...]:
    """Give the metrics of all installed packages, in the order of their names; one that cannot be made is logged."""
    found = [_made(point) for point in entry_points(group=GROUP)]
    return tuple(sorted((metric for metric in found if metric is not None), key=lambda metric: metric.name))


def _made(point: Any) -> Metric | None:
    try:
        metric: Metric = point.load()()
    except Exception as error:  # somebody else's module: what else is measured goes on without it
        _log.error("The metric %s (%s) cannot be loaded, and is not measured: %s: %s",
                   point.name, point.value, type(error).__name__, error)
        return None
    return metric


@dataclass(frozen=True)
class Definition:
    """What is measured; the same for all versions, windows and slices that are to be compared.

    Attributes:
        task: what kind of model it is.
        labels: a classifier's classes, in the order of its scores.
        positive: the positive class of two; with more, metrics are averaged over classes.
        values: what a row is worth, `values[truth][answer]` in the order of the labels; costs are negative.
        centre: a typical truth of a regression, where truths lie far from 0 (years, say): R² is taken around it.
        own: metrics of installed packages.
        unit: of the values.

    Example:
        >>> import numpy as np
        >>> definition = Definition("classification", ("no", "yes"))
        >>> rows = Outcomes(np.array(["no", "yes", "yes", "no"]), np.array(["no", "yes", "no", "no"]))
        >>> definition.measure(definition.sums(rows))["accuracy"].value
        0.75
    """

    task: Task
    labels: tuple[Label, ...] = ()
    positive: Label | None = None
    values: tuple[tuple[float, ...], ...] | None = None
    centre: float = 0.0
    own: tuple[Metric, ...] = field(default=(), compare=False)
    unit: str = ""

    def __post_init__(self) -> None:
        size = len(self.labels)
        if self.task == "classification" and size < 2:
            raise InvalidData(f"A classification needs two labels or more, got {list(self.labels)}.")
        if self.positive is not None and self.positive not in self.labels:
            raise InvalidData(f"The positive class {self.positive!r} is none of the labels {list(self.labels)}.")
        if self.values is not None and [len(row) for row in self.values] != [size] * size:
            raise InvalidData(f"A value matrix of {size} labels has {size} rows of {size} numbers, truth by answer.")

    @cached_property
    def digest(self) -> str:
        """Sums of another definition are of no use for this one: it is known by this name.

        They do not depend on positive class and values, of which nothing is said.
        """
        facts = [self.task, list(self.labels), None, None, self.centre, [metric.name for metric in self.own]]
        return sha256(json.dumps(facts).encode()).hexdigest()[:16]

    @property
    def _positive(self) -> int | None:
        """The place of the positive class: of two the last one, unless another is named; None with more classes."""
        if self.positive is not None:
            return self.labels.index(self.positive)
        return 1 if len(self.labels) == 2 else None

    @property
    def turned(self) -> bool:
        """Whether another class is positive than the labels alone suggest."""
        return self._positive != (1 if len(self.labels) == 2 else None)

    def places(self, values: Array) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """The place of each value among the labels, one beyond the last for others; and which values there are."""
        return _places(values, self.labels)

    def sums(self, rows: Outcomes) -> Sums:
        """Sum rows up. Rows whose truth is missing, or no number, are counted as `invalid` and nothing else."""
        length = len(rows.truth)
        if len(rows.answers) != length or (rows.scores is not None and len(rows.scores) != length):
            raise InvalidData(f"Truth, answers and scores need the same number of rows; got {length:,} truths and "
                              f"{len(rows.answers):,} answers.")
        found = self._of_classes(rows) if self.task == "classification" else _of_numbers(rows, self.centre)
        for metric in self.own:
            found += _of_own(metric, rows)
        return found

    def _of_classes(self, rows: Outcomes) -> Sums:
        size = len(self.labels)
        truth, known = self.places(rows.truth)
        answers, _ = self.places(rows.answers)
        truth, answers = truth[known], answers[known]
        confusion = np.bincount(truth * (size + 1) + answers, minlength=(size + 1) ** 2).reshape(size + 1, -1)
        tables = {"rows": _count(known.sum()), "invalid": _count((~known).sum()), "confusion": confusion}
        if rows.scores is not None:
            tables |= _score_tables(self._both(rows.scores)[known], truth, size)
        return Sums(tables, {})

    def _both(self, scores: Array) -> Array:
        """Scores of the positive class alone as those of both classes."""
        scores = np.asarray(scores, float)
        if scores.ndim > 1:
            return scores
        return np.column_stack([1 - scores, scores] if self._positive != 0 else [scores, 1 - scores])

    def measure(self, sums: Sums, level: float = LEVEL) -> dict[str, Measure]:
        """Measure everything that these sums say; empty where they have no rows."""
        if self.task == "classification":
            worth = None if self.values is None else np.array(self.values)
            found = metrics.classification(sums, self._positive, worth, level)
        else:
            found = metrics.regression(sums, level)
        for metric in self.own:
            rows, squares = int(sums.table(f"rows of {metric.name}")[0]), sums.total(f"{metric.name}²")
            found[metric.name] = metrics.mean_measure(rows, sums.total(metric.name), squares, level)
        return found

    def is_better(self, name: str) -> int:
        """1 where more of a metric is better, −1 where less is."""
        own = {metric.name: metric.higher_is_better for metric in self.own}
        return 1 if own.get(name, name in metrics.HIGHER) else -1


def definition_for(signature: Signature, **chosen: Any) -> Definition | None:
    """The definition that a signature suggests: a classifier has labels, a regression answers one number per row.

    None where neither is so (clusterers, transformers); `chosen` are attributes of `Definition`. Installed metrics are
    measured too, unless `own` says otherwise.
    """
    chosen = {"own": installed_metrics(), **chosen}
    for output in signature.outputs:
        if output.labels and len(output.labels) >= 2:
            return Definition("classification", tuple(output.labels), **chosen)
    single = [output for output in signature.outputs if len(output.shape) == 1 or output.shape[1:] == (1,)]
    numeric = len(single) == 1 and single[0].dtype.kind == "f" and confidence_output(signature) is None
    return Definition("regression", **chosen) if numeric else None


def _count(number: Any) -> NDArray[np.int64]:
    return np.array([number], np.int64)


def _places(values: Array, labels: tuple[Label, ...]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """The place of each value among the labels, `len(labels)` for others, and which values there are at all."""
    column = np.asarray(values).ravel()
    names, inverse = np.unique(_texts(column), return_inverse=True)
    places = label_places(labels)
    found = np.array([places.get(name, places.get(_text(name), len(labels))) for name in names.tolist()], np.int64)
    there = np.array([name != "" for name in names.tolist()], bool)
    return found[inverse], there[inverse]


def label_places(labels: tuple[Label, ...]) -> dict[str, int]:
    """The place of each label by its text, and by the text of what is alike."""
    return {text(label): place for text in (_text, str) for place, label in enumerate(labels)}


def _texts(column: Array) -> Array:
    """Labels as text, alike however they were written: 1, 1.0, "1" and True are "1"; what is missing is empty."""
    kinds = column.dtype.kind
    if kinds in "iub":
        return column.astype(np.int64).astype(str)
    if kinds == "f":
        whole = np.isfinite(column) & (column == np.floor(column)) & (np.abs(column) < 2.0**53)
        texts = np.where(whole, np.where(whole, column, 0).astype(np.int64).astype(str), column.astype(str))
        return np.where(np.isnan(column), "", texts)
    return np.array([str(value) if isinstance(value, str) else _text(value) for value in column.tolist()], str)


def _text(value: Any) -> str:
    if value is None or value != value:
        return ""
    if isinstance(value, bool | np.bool_):
        return str(int(value))
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    text = str(value)
    try:
        number = float(text)
    except ValueError:
        return {"true": "1", "false": "0"}.get(text.lower(), text)
    return str(int(number)) if number.is_integer() else str(number)


def _score_tables(scores: Array, truth: Array, size: int) -> dict[str, NDArray[np.int64]]:
    """Count scores by bin, of the last of two classes or of all, and sum log-loss and Brier score; rows without usable
    scores are left."""
    usable = np.isfinite(scores).all(1) & (truth < size)
    scores, truth = np.clip(scores[usable], 0.0, 1.0), truth[usable]
    true = np.eye(size, dtype=np.int64)[truth]
    table = np.stack([_binned(scores[:, k], true[:, k]) for k in (range(size) if size > 2 else [1])])
    loss = -np.log(np.maximum(scores[np.arange(len(truth)), truth], _LEAST))
    brier = ((scores - true) ** 2).sum(1) / (2 if size == 2 else 1)
    parts = (np.ones(len(truth)), loss, loss**2, brier, brier**2)
    counted = [np.rint(part * FINE).astype(np.int64).sum() for part in parts]
    return {"scores": table, "losses": np.array([len(truth), *counted[1:]], np.int64)}


def _binned(scores: Array, true: Array) -> NDArray[np.int64]:
    """Rows, positives and Σp (in 2⁻²⁰) per score bin, `[256, 3]`."""
    bins = metrics.score_bins(scores)
    fine = np.zeros(BINS, np.int64)
    np.add.at(fine, bins, np.rint(scores * FINE).astype(np.int64))
    return np.column_stack([np.bincount(bins, minlength=BINS), np.bincount(bins[true > 0], minlength=BINS), fine])


def _of_numbers(rows: Outcomes, centre: float) -> Sums:
    truth, answers = (np.asarray(column, np.float64).ravel() for column in (rows.truth, rows.answers))
    known = np.isfinite(truth) & np.isfinite(answers)
    y = np.clip(truth[known], -_LARGEST, _LARGEST)
    e = np.clip(answers[known], -_LARGEST, _LARGEST) - y
    ratio = np.minimum(np.abs(e) / np.maximum(np.abs(y), _LEAST), _LARGEST)
    y = np.clip(y - centre, -_LARGEST, _LARGEST)
    columns = {"e": e, "e2": e**2, "e4": e**4, "a": np.abs(e), "m": ratio, "m2": ratio**2, "y": y, "y2": y**2,
               "y3": y**3, "y4": y**4, "e2y": e**2 * y, "e2y2": e**2 * y**2}
    totals = {name: ExactSum.of(column) for name, column in columns.items()}
    return Sums({"rows": _count(known.sum()), "invalid": _count((~known).sum())}, totals)


def _of_own(metric: Metric, rows: Outcomes) -> Sums:
    """Sum up a metric of somebody else's; where it fails, its rows are not counted and nothing else suffers."""
    name = metric.name
    try:
        values = np.asarray(metric.values(rows), np.float64).ravel()
    except Exception as error:
        _log.error("The metric %s failed for %d rows, which it does not count: %s: %s",
                   name, len(rows.truth), type(error).__name__, error)
        values = np.empty(0)
    kept = np.clip(values[np.isfinite(values)], -_LARGEST, _LARGEST)
    return Sums({f"rows of {name}": _count(len(kept))},
                {name: ExactSum.of(kept), f"{name}²": ExactSum.of(kept**2)})


class Key(NamedTuple):
    """A cell, and whose part of it.

    Attributes:
        version: which version answered.
        window: the beginning of the window of *prediction* times, as sortable text.
        slice: "" for all rows, or a name such as "region=north".
        source: who counted: a log segment, a replica.
    """

    version: str
    window: str
    slice: str = ""
    source: str = ""


class Part(NamedTuple):
    """What one source knows of a cell; a higher revision replaces a lower one.

    Attributes:
        revision: counts up whenever the source counts the cell anew.
        sums: of the rows whose truth is known.
        predictions: how many rows were predicted, labelled or not.
    """

    revision: int
    sums: Sums
    predictions: int = 0


@dataclass(frozen=True)
class Performance:
    """All parts that are known, by key. A value: `with_part` and `merge` give another one."""

    parts: Mapping[Key, Part] = field(default_factory=dict)

    def with_part(self, key: Key, part: Part) -> Performance:
        """Take a part in, unless a newer one is known."""
        return self.merge(Performance({key: part}))

    def merge(self, other: Performance) -> Performance:
        """Give what both know. Associative, commutative, and the same again changes nothing."""
        both = {key: max(self.parts[key], other.parts[key], key=_age) for key in self.parts.keys() & other.parts.keys()}
        return Performance({**self.parts, **other.parts, **both})

    def cell(self, version: str, window: str, slice: str = "") -> Part:
        """Give what all sources together know of a cell."""
        return _together(part for key, part in self.parts.items() if key[:3] == (version, window, slice))

    def versions(self) -> list[str]:
        """List the versions."""
        return sorted({key.version for key in self.parts})

    def windows(self) -> list[str]:
        """List the windows in their order."""
        return sorted({key.window for key in self.parts})

    def slices(self) -> list[str]:
        """List the slices; "" is all rows."""
        return sorted({key.slice for key in self.parts})

    def table(self, definition: Definition, metric: str, slice: str = "", level: float = LEVEL) -> Table:
        """Measure one metric for every version and window, with one definition for all."""
        cells: dict[tuple[str, str], list[Part]] = {}
        for key, part in self.parts.items():
            if key.slice == slice:
                cells.setdefault((key.version, key.window), []).append(part)
        measured = {place: _judged(definition, metric, _together(parts), level) for place, parts in cells.items()}
        return Table(metric, self.versions(), self.windows(), measured)

    def to_json(self) -> list[dict[str, Any]]:
        """Give everything as JSON values."""
        return [{**key._asdict(), "revision": part.revision, "predictions": part.predictions,
                 "sums": part.sums.to_json()} for key, part in sorted(self.parts.items(), key=lambda item: item[0])]

    @classmethod
    def from_json(cls, document: Iterable[Mapping[str, Any]]) -> Performance:
        """Read what `to_json` wrote."""
        return cls({Key(*(entry[name] for name in Key._fields)):
                    Part(entry["revision"], Sums.from_json(entry["sums"]), entry["predictions"]) for entry in document})


class Table(NamedTuple):
    """A metric by version and window; a pair without rows is not there."""

    metric: str
    versions: list[str]
    windows: list[str]
    cells: Mapping[tuple[str, str], Measure]


def _age(part: Part) -> tuple[int, int, str]:
    """Newer is larger; of two with the same revision the one with more rows, and then by content."""
    return part.revision, part.sums.rows, json.dumps([part.predictions, part.sums.to_json()], sort_keys=True)


def _together(parts: Iterable[Part]) -> Part:
    whole = Part(0, Sums({}, {}), 0)
    for part in parts:
        whole = Part(whole.revision + part.revision, whole.sums + part.sums, whole.predictions + part.predictions)
    return whole


def _judged(definition: Definition, metric: str, part: Part, level: float) -> Measure:
    rows = part.sums.rows
    measure = definition.measure(part.sums, level).get(metric)
    if measure is None:
        return Measure(None, None, rows, f"{metric} is not measured for these rows")
    if rows < FEWEST and not measure.reason:
        return measure._replace(reason=f"unknown: {rows} labelled rows, at least {FEWEST} are needed")
    return measure
