"""What is judged: the rows of an evaluation set with their ground truth, and what two versions answer to them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serinus.models.signature import Field, Signature
from serinus.monitors.errors import InvalidData
from serinus.monitors.referral import confidence_output
from serinus.monitors.worth import UNDECLARED, Worth

__all__ = ["Answers", "Trial", "classes_of", "read_answers", "trivial"]

Array = NDArray[Any]
Floats = NDArray[np.float64]
Arrays = Mapping[str, Array]

_MANY = 200


@dataclass(frozen=True)
class Answers:
    """A version's answers, one for each row.

    Attributes:
        values: the answers; for classes their places among `Trial.classes`, −1 for what is none of them.
        probabilities: `[rows, classes]` where the version gives any.
    """

    values: Floats
    probabilities: Floats | None = None

    def __getitem__(self, rows: Any) -> Answers:
        return Answers(self.values[rows], None if self.probabilities is None else self.probabilities[rows])


@dataclass(frozen=True)
class Trial:
    """An evaluation set and what is answered to it.

    Attributes:
        inputs: the rows as the model takes them.
        truth: what came true; for classes their places among `classes`.
        classes: the classes' names; empty where numbers are predicted.
        candidate: the judged version's answers.
        current: those it is held against.
        against: what it is held against, in words: a tag, or a trivial answer.
        trivial: whether that is a trivial answer, because there is no version before.
        columns: every column of the data by its name, for slices and groups.
        ids: each row's name, for people.
        groups: whose each row is, where several rows belong together.
        looks: how many versions, this one included, were judged on these rows.
        personal: inputs whose values are shown nowhere.
        worth: what is declared of the classes.
    """

    inputs: Arrays
    truth: Floats
    classes: tuple[Any, ...]
    candidate: Answers
    current: Answers
    against: str
    trivial: bool
    columns: Arrays
    ids: Array
    groups: Array | None = None
    looks: int = 1
    personal: frozenset[str] = frozenset()
    worth: Worth = UNDECLARED

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return len(self.truth)

    @property
    def classifies(self) -> bool:
        """Whether classes are predicted, and not numbers."""
        return bool(self.classes)

    @property
    def binary(self) -> bool:
        """Whether there are two classes; the second is the positive one."""
        return len(self.classes) == 2

    def level(self, first: float) -> float:
        """The level of intervals at this look, so that all looks together err little more often than the first.

        The chance of a miss is that of the first look divided by the square of the look's number: over any number
        of looks these add up to at most 1.645 times the first's.
        """
        return 1 - (1 - first) / self.looks**2

    def losses(self, answers: Answers) -> Floats:
        """What each row costs: 1 for a wrong class; for numbers the absolute error in mean errors of the current."""
        if self.classifies:
            return np.asarray(answers.values != self.truth, np.float64)
        unit = float(np.mean(np.abs(self.current.values - self.truth)))
        return np.asarray(np.abs(answers.values - self.truth) / (unit if unit > 0 else 1.0), np.float64)


def prediction_field(signature: Signature) -> Field:
    """Give the output that is compared with ground truth. Raises InvalidData where there is none."""
    columns = [field for field in signature.outputs if field.shape in ((-1,), (-1, 1), ()) and not field.sequence]
    if not columns:
        raise InvalidData("The version has no output with one value per row, so its answers cannot be compared with a "
                          "target.")
    return columns[0]


def classes_of(signature: Signature, truth: Array, worth: Worth = UNDECLARED) -> tuple[Any, ...]:
    """Give the classes that a version may answer, and those of the ground truth; empty where it predicts numbers. Of
    two the positive one is the last.

    Raises InvalidData where the target has more values than classes can have, or what is declared names no class.
    """
    found = _classes(signature, truth)
    worth.matrix(found)
    place = worth.place(found)
    if place is not None and len(found) != 2:
        raise InvalidData(f"Of {len(found)} classes none is the positive one, metrics are means of all; leave positive "
                          "out of the policy's [worth].")
    return found[::-1] if place == 0 else found


def _classes(signature: Signature, truth: Array) -> tuple[Any, ...]:
    field = prediction_field(signature)
    if field.datatype.startswith("FP") and field.labels is None:
        return ()
    table = confidence_output(signature)
    labels = (signature.output(table).labels if table else None) or field.labels or ()
    known = [_key(label) for label in labels]
    texts = {str(key) for key in known}
    others = sorted({key for key in map(_key, truth.tolist()) if str(key) not in texts}, key=_rising)
    if len(others) > _MANY:
        raise InvalidData(f"The target has {len(others):,} values that are no class of the version (one is "
                          f"{others[0]!r}); name the column that holds what it predicts.")
    return (*known, *others)


def read_truth(truth: Array, classes: tuple[Any, ...]) -> Floats:
    """Give ground truth as numbers: places among the classes, or the numbers themselves.

    Raises InvalidData where it holds no numbers.
    """
    if classes:
        return _codes(truth, classes)
    try:
        return np.asarray(truth, np.float64)
    except (TypeError, ValueError):
        raise InvalidData(f"The target must hold numbers, as the version predicts them; one value is "
                          f"{truth[0]!r}.") from None


def read_answers(signature: Signature, outputs: Arrays, classes: tuple[Any, ...]) -> Answers:
    """Give a version's outputs as answers."""
    field = prediction_field(signature)
    values = outputs[field.name].reshape(-1)
    if not classes:
        return Answers(np.asarray(values, np.float64))
    name = confidence_output(signature)
    labels = (signature.output(name).labels if name else None) or field.labels
    if name is None or name not in outputs:
        return Answers(_codes(values, classes))
    table = np.asarray(outputs[name], np.float64)
    if table.ndim != 2 or not _are_probabilities(table):
        return Answers(_codes(values, classes))
    places = _codes(np.array(labels or sorted(classes, key=_rising), object), classes).astype(int)
    places = np.concatenate([places, np.arange(len(places), table.shape[1])])[: table.shape[1]]
    wide = np.zeros((len(table), max(len(classes), table.shape[1])))
    wide[:, places] = table
    return Answers(_codes(values, classes), wide[:, : len(classes)])


def _are_probabilities(table: Floats) -> bool:
    known = table[np.isfinite(table).all(axis=1)]
    return bool(len(known)) and bool(((known >= -1e-6) & (known <= 1 + 1e-6)).all())


def trivial(truth: Floats, classes: Sequence[Any]) -> Answers:
    """Give what somebody would answer who looks at no row: the most frequent class, or the median."""
    if not classes:
        return Answers(np.full(len(truth), np.median(truth)))
    shares = np.bincount(truth.astype(int), minlength=len(classes)) / max(len(truth), 1)
    return Answers(np.full(len(truth), float(shares.argmax())), np.tile(shares, (len(truth), 1)))


def _key(value: Any) -> Any:
    """Give a value as it is compared: 1, 1.0 and True are the same class, and so are b"a" and "a"."""
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if isinstance(value, bool | int | float | np.generic) and not isinstance(value, str):
        number = float(value)
        return int(number) if math.isfinite(number) and number == int(number) else number
    return str(value)


def _rising(key: Any) -> tuple[bool, Any]:
    """Numbers before texts."""
    return isinstance(key, str), key


def _codes(values: Array, classes: tuple[Any, ...]) -> Floats:
    """Give the places of values among the classes; numbers in texts count where classes are numbers."""
    places = {key: place for place, key in enumerate(classes)}
    texts = {str(key): place for key, place in places.items()}
    found = [places.get(key, texts.get(str(key), -1)) for key in map(_key, values.tolist())]
    return np.asarray(found, np.float64)
