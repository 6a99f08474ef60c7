"""What becomes of the answers when rows are a little wrong: noise, another unit, a gap, a typo, a swap, a blur.

Each change touches one feature of the same few hundred rows. Told are the share of answers that flip, what the change
costs in right answers with its interval, and both for the current version. Shuffling a feature (`without`) says what
the version would lose without it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serinus.models.model import Model
from serinus.models.signature import Field
from serinus.monitors.evaluation.check import Check, Status, worst
from serinus.monitors.evaluation.perturbations import image_changes, is_image, objects, text_changes
from serinus.monitors.evaluation.policy import Contracts, Policy
from serinus.monitors.evaluation.trial import Answers, Trial, read_answers
from serinus.monitors.intervals import Interval, mean

__all__ = ["Change", "Contract", "Edge", "RobustnessFound", "check_robustness"]

Array = NDArray[Any]
Arrays = Mapping[str, Array]
Progress = Callable[[str, int, int | None], None]

_LIKE = 0.25
_HUGE = 1e300
_TOLERANCE = 1e-9


@dataclass(frozen=True)
class Change:
    """One change of one feature.

    Attributes:
        feature: which one.
        change: what was done to it.
        rows: to how many rows.
        flips: the share of answers that became others; for numbers, the mean change in standard deviations of the
            answers.
        current_flips: the same for the current version.
        cost: by how much more the changed rows are answered wrong, in the unit of `Trial.losses`.
        interval: the cost's.
        refused: the sentence with which the version refuses such rows; empty where it answers.
    """

    feature: str
    change: str
    rows: int
    flips: float | None
    current_flips: float | None
    cost: float | None
    interval: Interval | None
    refused: str = ""


@dataclass(frozen=True)
class Edge:
    """What the version does with a request at the edge of sense: one row, no row, gaps, infinity, huge numbers."""

    name: str
    status: Status
    said: str


@dataclass(frozen=True)
class Contract:
    """A promise that the policy declares, and in how many of the tried rows it is broken."""

    name: str
    broken: int
    rows: int


@dataclass(frozen=True)
class RobustnessFound:
    """All changes, edges and contracts.

    Attributes:
        rows: how many rows were changed.
        features: how many features were changed, of how many.
        of_features: of how many.
    """

    rows: int
    features: int
    of_features: int
    changes: tuple[Change, ...]
    edges: tuple[Edge, ...]
    contracts: tuple[Contract, ...]


def check_robustness(trial: Trial, policy: Policy, candidate: Model, current: Model | None,
                     progress: Progress | None = None) -> Check:
    """Change rows and ask both versions again."""
    subject = _Subject.of(trial, policy, candidate, current)
    fields = [field for field in candidate.signature.inputs if field.name in trial.inputs]
    features = [one for field in fields for one in _features(field, trial.inputs[field.name])]
    chosen = features[: policy.robustness.features]
    changes = []
    for done, feature in enumerate(chosen, 1):
        changes += [subject.tried(feature, name, values) for name, values in _changes(feature, chosen, subject)]
        if progress is not None:
            progress("robustness", done * subject.rows, len(chosen) * subject.rows)
    edges = tuple(_edges(candidate, subject.inputs))
    contracts = tuple(_contracts(policy.contracts, features, subject))
    found = RobustnessFound(subject.rows, len(chosen), len(features), tuple(changes), edges, contracts)
    return _judged(found, policy)


def _judged(found: RobustnessFound, policy: Policy) -> Check:
    limit = policy.robustness.max_flips
    shaky = [one for one in found.changes if one.change == "noise 1 %" and (one.flips or 0.0) > limit]
    worse = [one for one in shaky if one.current_flips is None or (one.flips or 0.0) > one.current_flips]
    broken = [one for one in found.contracts if one.broken]
    failed = [edge for edge in found.edges if edge.status is Status.FAIL]
    reasons = [f"{edge.name}: {edge.said}." for edge in failed]
    reasons += [f"“{one.name}” is broken in {one.broken} of {one.rows} rows." for one in broken]
    reasons += [f"Noise of 1 % on {one.feature} changes {one.flips:.1%} of the answers." for one in worse[:3]]
    reasons += [f"{edge.name}: {edge.said}." for edge in found.edges if edge.status is Status.WARN]
    if not found.changes:
        return Check("robustness", Status.NOT_RUN, "The version has no input that this check knows how to change.",
                     found)
    status = worst([edge.status for edge in found.edges] + [Status.WARN if worse else Status.PASS]
                   + [Status.FAIL if broken else Status.PASS])
    least = f"{len(found.changes)} changes of {found.features} features: no answer hangs on noise of 1 %."
    left = found.of_features - found.features
    more = f" {left} further features were not changed (robustness.features)." if left else ""
    return Check("robustness", status, (" ".join(reasons) or least) + more, found)


@dataclass(frozen=True)
class _Feature:
    """A column of an input: the whole of it, which may be images, or one of a matrix."""

    name: str
    field: Field
    column: int | None

    def values(self, inputs: Arrays) -> Array:
        array = inputs[self.field.name]
        if self.column is not None:
            return array[:, self.column]
        return array if array.ndim > 2 else array.reshape(-1)

    def put(self, inputs: Arrays, values: Array) -> dict[str, Array]:
        array = inputs[self.field.name]
        if self.column is None:
            return {**inputs, self.field.name: values.reshape(array.shape)}
        changed = array.copy()
        changed[:, self.column] = values
        return {**inputs, self.field.name: changed}

    @property
    def optional(self) -> bool:
        return self.field.optional


def _features(field: Field, array: Array) -> list[_Feature]:
    if array.ndim == 1 or (array.ndim == 2 and array.shape[1] == 1):
        return [_Feature(field.name, field, None)]
    if array.ndim == 2:
        return [_Feature(f"{field.name}[{place}]", field, place) for place in range(array.shape[1])]
    return [_Feature(field.name, field, None)] if is_image(array) else []


@dataclass(frozen=True)
class _Subject:
    """The rows to be changed, and both versions' answers to them as they are."""

    trial: Trial
    inputs: Arrays
    candidate: Model
    current: Model | None
    draw: np.random.Generator

    @classmethod
    def of(cls, trial: Trial, policy: Policy, candidate: Model, current: Model | None) -> _Subject:
        draw = np.random.default_rng(0)
        chosen = np.sort(draw.permutation(trial.rows)[: policy.robustness.rows])
        part = replace(trial, inputs={name: array[chosen] for name, array in trial.inputs.items()},
                       truth=trial.truth[chosen], candidate=trial.candidate[chosen], current=trial.current[chosen],
                       ids=trial.ids[chosen], columns={}, groups=None)
        return cls(part, part.inputs, candidate, current, draw)

    @property
    def rows(self) -> int:
        return self.trial.rows

    def asked(self, model: Model, inputs: Arrays) -> Answers:
        return read_answers(model.signature, model.predict(inputs), self.trial.classes)

    def tried(self, feature: _Feature, change: str, values: Array) -> Change:
        inputs = feature.put(self.inputs, values)
        try:
            answers = self.asked(self.candidate, inputs)
        except Exception as error:  # whatever a model raises is its way to refuse
            return Change(feature.name, change, self.rows, None, None, None, None, _line(error))
        apart = self.trial.losses(answers) - self.trial.losses(self.trial.candidate)
        ends = mean(len(apart), float(apart.sum()), float((apart**2).sum()))
        return Change(feature.name, change, self.rows, self.flips(self.trial.candidate, answers),
                      self._current_flips(inputs), float(apart.mean()), ends)

    def _current_flips(self, inputs: Arrays) -> float | None:
        if self.current is None:
            return None
        try:
            return self.flips(self.trial.current, self.asked(self.current, inputs))
        except Exception:  # likewise
            return None

    def flips(self, before: Answers, after: Answers) -> float:
        if self.trial.classifies:
            return float(np.mean(before.values != after.values))
        spread = float(np.std(before.values))
        with np.errstate(invalid="ignore", over="ignore"):
            return float(np.mean(np.abs(after.values - before.values))) / (spread if spread > 0 else 1.0)


def _changes(feature: _Feature, others: list[_Feature], subject: _Subject) -> Iterator[tuple[str, Array]]:
    values, draw = feature.values(subject.inputs), subject.draw
    if values.ndim > 2:
        yield from image_changes(values, draw)
    elif feature.field.datatype.startswith(("FP", "INT", "UINT")):
        yield from _number_changes(feature, values, draw)
        twin = _like(feature, others, subject.inputs)
        if twin is not None:
            yield f"swapped with {twin.name}", twin.values(subject.inputs).astype(values.dtype)
    elif feature.field.datatype == "BYTES":
        yield from text_changes(values, draw)
    if feature.optional:
        yield "missing", _gaps(values)
    yield "without", values[draw.permutation(len(values))]


def _number_changes(feature: _Feature, values: Array, draw: np.random.Generator) -> Iterator[tuple[str, Array]]:
    try:
        numbers = values.astype(np.float64)
    except (TypeError, ValueError):
        return
    known = numbers[np.isfinite(numbers)]
    if not len(known) or known.min() == known.max():
        return
    whole = feature.field.labels is None and values.dtype.kind in "iu"
    spread = float(np.median(np.abs(known - np.median(known)))) * 1.4826 or float(known.std())
    if not whole:
        for share in (0.01, 0.05):
            yield f"noise {share:.0%}".replace("%", " %"), _as(numbers + draw.normal(0, share * spread, len(numbers)),
                                                              values)
    for factor in (10, 100):
        yield f"× {factor}", _as(numbers * factor, values)
    low, high = np.quantile(known, (0.05, 0.95))
    yield "clipped to 5–95 %", _as(np.clip(numbers, low, high), values)


def _as(numbers: NDArray[np.float64], like: Array) -> Array:
    if like.dtype.kind not in "iu":
        return np.asarray(numbers.astype(like.dtype))
    limits = np.iinfo(like.dtype)
    return np.asarray(np.clip(np.rint(numbers), limits.min, limits.max).astype(like.dtype))


def _like(feature: _Feature, others: list[_Feature], inputs: Arrays) -> _Feature | None:
    """Another feature that could be taken for this one: of the same type, with a middle and a spread much the same."""
    middle, spread = _shape(feature.values(inputs))
    for other in others:
        if other.name == feature.name or other.field.datatype != feature.field.datatype or (
                other.values(inputs).ndim > 1):
            continue
        its_middle, its_spread = _shape(other.values(inputs))
        if abs(its_middle - middle) <= _LIKE * spread and abs(its_spread - spread) <= _LIKE * spread and spread > 0:
            return other
    return None


def _shape(values: Array) -> tuple[float, float]:
    try:
        numbers = values.astype(np.float64)
    except (TypeError, ValueError):
        return math.nan, 0.0
    known = numbers[np.isfinite(numbers)]
    return (float(np.median(known)), float(known.std())) if len(known) else (math.nan, 0.0)


def _gaps(values: Array) -> Array:
    if values.dtype.kind == "f":
        return np.full(values.shape, math.nan, values.dtype)
    return objects([None] * len(values))


def _edges(model: Model, inputs: Arrays) -> Iterator[Edge]:
    """Requests of one row, of none, and with numbers that are none; an answer that is no number is a remark."""
    one = {name: array[:1] for name, array in inputs.items()}
    yield _edge(model, "One row", one, Status.FAIL)
    yield _edge(model, "No row", {name: array[:0] for name, array in inputs.items()}, Status.PASS)
    numeric = [field for field in model.signature.inputs if field.name in inputs
               and field.datatype.startswith("FP") and inputs[field.name].dtype.kind == "f"]
    if not numeric:
        return
    optional = [field for field in numeric if field.optional]
    if optional:
        yield _edge(model, "All gaps", {**one, **_filled(one, optional, math.nan)}, Status.PASS)
    yield _edge(model, "Infinity", {**one, **_filled(one, numeric, math.inf)}, Status.PASS)
    yield _edge(model, "Huge numbers", {**one, **_filled(one, numeric, _HUGE)}, Status.PASS)


def _filled(one: Arrays, fields: list[Field], value: float) -> dict[str, Array]:
    """One row with the same number everywhere; a huge one is 1e300, less where the type bears less."""
    filled = {}
    for field in fields:
        array = one[field.name]
        most = _HUGE if array.dtype.itemsize == 8 else float(np.finfo(array.dtype).max) ** 0.8
        filled[field.name] = np.full_like(array, min(value, most) if math.isfinite(value) else value)
    return filled


def _edge(model: Model, name: str, inputs: Arrays, refused: Status) -> Edge:
    try:
        with np.errstate(all="ignore"):
            outputs = model.predict(inputs)
    except Exception as error:  # whatever a model raises is its way to refuse
        return Edge(name, refused, f"refused: {_line(error)}")
    for output, array in outputs.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            status = {"One row": Status.FAIL, "Infinity": Status.PASS}.get(name, Status.WARN)
            return Edge(name, status, f"answered, and {output} is no finite number")
    return Edge(name, Status.PASS, "answered")


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:120] or type(error).__name__


def _contracts(contracts: Contracts, features: list[_Feature], subject: _Subject) -> Iterator[Contract]:
    known = {feature.name: feature for feature in features}
    score = _score(subject.trial.candidate)
    for names, sign, word in ((contracts.increasing, 1, "never falls"), (contracts.decreasing, -1, "never rises")):
        for name in names:
            if name in known:
                moved = _moved(known[name], subject)
                broken = int((sign * (moved - score) < -_TOLERANCE).sum())
                yield Contract(f"the answer {word} with {name}", broken, subject.rows)
    for name in contracts.invariant:
        if name in known:
            values = known[name].values(subject.inputs)
            after = _score(subject.asked(subject.candidate, known[name].put(subject.inputs, values[::-1].copy())))
            yield Contract(f"{name} changes nothing", int((np.abs(after - score) > _TOLERANCE).sum()), subject.rows)
    if contracts.bounds:
        low, high = contracts.bounds
        values = subject.trial.candidate.values
        yield Contract(f"answers from {low:g} to {high:g}", int((~((values >= low) & (values <= high))).sum()),
                       subject.rows)


def _moved(feature: _Feature, subject: _Subject) -> NDArray[np.float64]:
    """The answers after the feature rose by its spread."""
    values = feature.values(subject.inputs)
    _, spread = _shape(values)
    changed = _as(values.astype(np.float64) + max(spread, 1.0 if values.dtype.kind in "iu" else 0.0), values)
    return _score(subject.asked(subject.candidate, feature.put(subject.inputs, changed)))


def _score(answers: Answers) -> NDArray[np.float64]:
    """What a contract speaks of: the last class's probability, else the answer."""
    return answers.values if answers.probabilities is None else answers.probabilities[:, -1]
