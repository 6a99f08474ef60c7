"""Why this answer: by how much it changes when one feature takes its usual value, for any model.

Each feature of a row is in turn replaced by what is usual in the reference (the median, the most frequent category)
and the model is asked again; the difference is the feature's contribution (occlusion; Zeiler & Fergus 2014,
arXiv 1311.2901). It says what the model does, not why the world is so; features that carry the same information share a
contribution, so that each alone may seem to matter little.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from serinus.models.model import Model
from serinus.models.signature import Field, Signature
from serinus.monitors.features import NAMED, VALUES, Feature
from serinus.monitors.profile import Profile
from serinus.monitors.referral import confidence_output
from serinus.serving.errors import ControlRefused

__all__ = ["MOST_FEATURES", "Contribution", "Explanation", "explain"]

MOST_FEATURES = 512
"""Features that are replaced at most: each is a call's row."""
_ROWS = 64
_PATIENCE_S = 10.0
_TOLD = 20

Inputs = Mapping[str, NDArray[Any]]
Outputs = Mapping[str, NDArray[Any]]
Score = Callable[[Outputs], NDArray[np.float64]]


class Contribution(NamedTuple):
    """What a feature adds to the answer: so much less there would be of it with the feature's usual value."""

    feature: str
    contribution: float
    value: Any
    usual: Any


class Explanation(NamedTuple):
    """The largest contributions to one number of one answer, first the largest, whichever their sign."""

    output: str
    label: Any
    """The class whose probability is explained; None for a number."""
    score: float
    usual_score: float
    """The same number for a row whose features are all usual."""
    contributions: tuple[Contribution, ...]
    left_out: tuple[str, ...]
    """Inputs for which the reference knows nothing usual."""

    @property
    def text(self) -> str:
        """What the numbers are."""
        what = self.output if self.label is None else f"{self.output} of {self.label}"
        return (f"{what} is {self.score:.4g}, and {self.usual_score:.4g} where every feature is as usual. Each line: "
                "what is gone when that feature alone is as usual.")


def explain(model: Model, profile: Profile, row: Inputs, clock: Callable[[], float] = time.monotonic) -> Explanation:
    """Explain the model's answer to one row, an array of one row for each input. Raises `ControlRefused`."""
    signature = model.signature
    for field in signature.inputs:
        if field.shape[:1] != (-1,) or field.sequence:
            raise ControlRefused(f"Input {field.name!r} is not made of rows: no part of it can be replaced.", "refused")
    usual = {feature: value for feature in profile.features
             if (value := _usual(feature, profile, signature, row)) is not None}
    if not usual:
        raise ControlRefused("The reference knows nothing usual for any input of this model.", "refused")
    if len(usual) > MOST_FEATURES:
        raise ControlRefused(f"{len(usual)} features are too many to replace one by one; {MOST_FEATURES} are the "
                             "limit.", "refused")
    first = model.predict(row)
    output, label, score = _score(signature, first)
    wanted = [{feature: usual[feature]} for feature in usual] + [usual]
    scores = np.concatenate([score(model.predict(part)) for part in _parts(row, wanted, clock)])
    whole = float(score(first)[0])
    found = [Contribution(feature.name, whole - float(scores[place]), _plain(_at(row, feature)), _plain(value))
             for place, (feature, value) in enumerate(usual.items())]
    told = sorted(found, key=lambda each: (-abs(each.contribution), each.feature))[:_TOLD]
    known = {feature.field for feature in usual}
    return Explanation(output, label, whole, float(scores[-1]), tuple(told),
                       tuple(field.name for field in signature.inputs if field.name not in known))


def _parts(row: Inputs, replacements: list[Any], clock: Callable[[], float]) -> Iterator[Inputs]:
    """The row again and again, each time with other values replaced, some at a time."""
    began = clock()
    for start in range(0, len(replacements), _ROWS):
        if clock() - began > _PATIENCE_S:
            raise ControlRefused(f"The model takes too long: {start} of {len(replacements)} rows were answered in "
                                 f"{_PATIENCE_S:.0f} s.", "unavailable")
        some = replacements[start:start + _ROWS]
        part = {name: np.repeat(array, len(some), axis=0) for name, array in row.items()}
        for place, replaced in enumerate(some):
            for feature, value in replaced.items():
                part[feature.field][_place(part[feature.field], feature, place)] = value
        yield part


def _place(array: NDArray[Any], feature: Feature, row: int) -> tuple[int, ...]:
    """Where a feature's value lies."""
    if feature.view == "element":
        return (row, *(int(index) for index in np.unravel_index(feature.index, array.shape[1:])))
    return (row, *(0 for _ in array.shape[1:]))


def _at(row: Inputs, feature: Feature) -> Any:
    return row[feature.field][_place(row[feature.field], feature, 0)]


def _usual(feature: Feature, profile: Profile, signature: Signature, row: Inputs) -> Any:
    """A value that is usual, as the input takes it; None for what is no input's value, or is not known."""
    if feature.side != "input" or feature.view not in ("value", "element") or feature.field not in row:
        return None
    field = signature.input(feature.field)
    counts = profile.counts[profile.names.index(feature.name)][:VALUES]
    if feature.kind == "categorical":
        return _category(feature, counts, field)
    if field.dtype.kind not in "fiu" or not counts.sum():
        return None
    value = _median(feature, counts)
    return round(value) if field.dtype.kind in "iu" else value


def _median(feature: Feature, counts: NDArray[np.int64]) -> float:
    """The middle of the bin that holds the reference's median; without bins, its mean."""
    if not feature.edges:
        return feature.centre
    bounds = (feature.low, *feature.edges, feature.high)
    middle = int(np.searchsorted(np.cumsum(counts), (counts.sum() + 1) / 2))
    return float(bounds[middle] + bounds[middle + 1]) / 2


def _category(feature: Feature, counts: NDArray[np.int64], field: Field) -> Any:
    """The most frequent one, unless it may not be told."""
    known = counts[:min(NAMED, len(feature.categories))]
    if not len(known) or not known.any():
        return None
    value = feature.categories[int(known.argmax())]
    if field.dtype.kind == "O":
        return None if str(value).startswith("#") else value
    return bool(value) if field.dtype.kind == "b" else value


def _score(signature: Signature, first: Outputs) -> tuple[str, Any, Score]:
    """Name of an output, class, and the number of it that is explained: the given class's probability, the first
    number, or whether the answer is the same."""
    if (name := confidence_output(signature)) is not None and first[name].ndim == 2:
        column = int(np.nanargmax(first[name][0]))
        labels = signature.output(name).labels or next(
            (field.labels for field in signature.outputs if field.labels and len(field.shape) == 1), None)
        label = labels[column] if labels and column < len(labels) else column
        return name, label, lambda outputs: np.asarray(outputs[name][:, column], np.float64)
    for field in signature.outputs:
        if first.get(field.name) is not None and first[field.name].shape[:1] == (1,) and first[field.name].size == 1:
            return _single(field, first[field.name].reshape(-1)[0])
    raise ControlRefused("The model gives no number or label for a row, so there is nothing to explain.", "refused")


def _single(field: Field, answer: Any) -> tuple[str, Any, Score]:
    """Of an output with one value per row: the number itself, or whether another row's answer is this one."""
    if field.dtype.kind == "f":
        return field.name, None, lambda outputs: np.asarray(outputs[field.name], np.float64).reshape(-1)
    return field.name, _plain(answer), lambda outputs: np.asarray(
        [each == answer for each in outputs[field.name].reshape(-1)], np.float64)


def _plain(value: Any) -> Any:
    """As JSON has it."""
    return value.item() if isinstance(value, np.generic) else value
