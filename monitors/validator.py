"""Looks at all values of a request at once, and only where something is wrong at each of them.

The numbers of all columns are one matrix, and one comparison of it with the limits of every feature is the whole price
of a request that is in order. NaN fails a comparison and infinity is beyond the largest limit, so that it covers them
too. Categories are looked up in a set of those that were found to be known before, which never outgrows the domain.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from operator import ge, gt, le, lt
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from serinus.models.signature import Field, Signature
from serinus.monitors.features import category_hash
from serinus.monitors.validation import Expectation, Expectations, slips_of

__all__ = ["LISTED", "Breach", "Validator", "Verdict"]

LISTED = 100
"""So many violations of a request are told one by one; all are counted."""

_SHOWN = 60
_HIDDEN = "a value that is personal"

Inputs = Mapping[str, NDArray[Any]]
Rows = Sequence[int] | NDArray[np.intp]


class Breach(NamedTuple):
    """One value that is not as expected: where it stands in the arrays, and what was done about it."""

    field: str
    row: int
    element: int | None
    kind: str
    wanted: str
    got: str
    policy: str
    done: str


class Verdict(NamedTuple):
    """What is to be said of a request that is not wholly in order."""

    inputs: Inputs
    """What the model shall see: the same arrays, those that were clipped or imputed as copies."""
    breaches: tuple[Breach, ...]
    """The first `LISTED` of them, those that reject the request before the others."""
    counts: Mapping[str, int]
    """How many there are of each kind, listed or not."""
    rejects: bool


class Validator:
    """Checks requests against expectations. Safe to call from several threads at once.

    `enforce` false remarks upon everything and changes or rejects nothing.
    """

    def __init__(self, expectations: Expectations, signature: Signature, *, enforce: bool = True) -> None:
        fields = {field.name: field for field in signature.inputs}
        by_field: dict[str, list[Expectation]] = {}
        for feature in expectations.features:
            if feature.field in fields:
                by_field.setdefault(feature.field, []).append(feature)
        self._fields = fields
        self._enforce = enforce
        columns = [name for name, found in by_field.items() if _is_number_column(fields[name], found)]
        self._columns = _Numbers(columns, [by_field[name][0] for name in columns], fields) if columns else None
        self._whole = len(columns) == len(fields)
        matrices = [_Matrix(fields[name], found) for name, found in by_field.items()
                    if name not in columns and _is_number(fields[name], found)]  # fmt: skip
        texts = [_Texts(fields[name], found[0], expectations.salt) for name, found in by_field.items()
                 if name not in columns and not _is_number(fields[name], found)]  # fmt: skip
        self._others: list[_Matrix | _Texts] = [*matrices, *texts]

    def check(self, inputs: Inputs, block: NDArray[np.float64] | None = None) -> Verdict | None:
        """Give None where every value is as expected.

        Args:
            inputs: the arrays of a request, as the signature's fields say.
            block: the same as one array `[inputs, rows]`, where the signature's inputs all are columns of numbers
                and somebody has it already.
        """
        if self._columns is not None and not self._columns.are_fine(inputs, block if self._whole else None):
            return self._explain(inputs)
        for part in self._others:
            if not part.is_fine(inputs):
                return self._explain(inputs)
        return None

    def _explain(self, inputs: Inputs) -> Verdict | None:
        said = _Said(inputs, self._fields, self._enforce)
        for part in (self._columns, *self._others):
            if part is not None:
                part.explain(inputs, said)
        return said.verdict()


class _Said:
    """What is found in one request, and what the arrays become of it."""

    def __init__(self, inputs: Inputs, fields: Mapping[str, Field], enforce: bool) -> None:
        self.inputs = inputs
        self._fields = fields
        self._enforce = enforce
        self._changed: dict[str, NDArray[Any]] = {}
        self._rejecting: list[Breach] = []
        self._remarks: list[Breach] = []
        self.counts: Counter[str] = Counter()

    def find(self, feature: Expectation, kind: str, wanted: str, rows: Rows, got: Iterable[object]) -> None:
        """Take note of a kind of violation of one feature, in these rows."""
        policy = feature.policy(kind) if self._enforce or feature.policy(kind) == "ignore" else "warn"
        if policy == "ignore" or not len(rows):
            return
        self.counts[kind] += len(rows)
        done = self._do(feature, kind, policy, rows)
        listed = self._rejecting if policy == "reject" else self._remarks
        wanted = "a value as in training" if feature.personal else wanted
        for row, value in zip(rows[: LISTED - len(listed)], got, strict=False):
            shown = _HIDDEN if feature.personal and value is not None else _say(value)
            listed.append(Breach(feature.field, int(row), feature.element, kind, wanted, shown, policy, done))

    def _do(self, feature: Expectation, kind: str, policy: str, rows: Rows) -> str:
        """Change what the model sees, and say how."""
        if policy not in ("clip", "impute"):
            return "" if policy == "reject" else "kept"
        array = self._changed.get(feature.field)
        if array is None:
            array = self._copy(feature.field, feature)
        part = array.reshape(-1) if feature.element is None else array[:, feature.element]
        places = np.asarray(rows, dtype=np.intp)
        if policy == "impute":
            part[places] = _fitted(feature.typical, array.dtype)
            return "imputed" if feature.personal else f"imputed {_say(feature.typical)}"
        if kind == "text_length":
            longest = (feature.length or (0, 0))[1]
            part[places] = [text[:longest] for text in part[places]]
            return f"cut to {longest} characters"
        low, high = feature.clips_to
        part[places] = _clipped(part[places], low, high)
        return "clipped" if feature.personal else f"clipped to {low:g} … {high:g}"

    def _copy(self, name: str, feature: Expectation) -> NDArray[Any]:
        found = self.inputs.get(name)
        if found is None:  # left out, and imputed for all rows
            rows = next((len(array) for array in self.inputs.values() if array.ndim), 1)
            found = np.full(rows, _fitted(feature.typical, self._fields[name].dtype), self._fields[name].dtype)
        copy = self._changed[name] = np.array(found, order="C")
        return copy

    def verdict(self) -> Verdict | None:
        """All of it; None where there is nothing to say."""
        if not self.counts:
            return None
        inputs = self.inputs
        if self._changed:
            merged = {**inputs, **self._changed}
            inputs = {name: merged.pop(name) for name in self._fields if name in merged} | merged
        breaches = (*self._rejecting, *self._remarks)[:LISTED]
        return Verdict(inputs, breaches, self.counts, bool(self._rejecting))


class _Numbers:
    """Columns of numbers, one feature each: `[features, rows]` against limits `[features, 1]`."""

    def __init__(self, names: Sequence[str], features: Sequence[Expectation], fields: Mapping[str, Field]) -> None:
        self._names = names
        self._features = [_Feature(feature) for feature in features]
        limits = np.array([feature.limits for feature in features])
        self._low, self._high = limits[:, :1].copy(), limits[:, 1:].copy()
        self._lows, self._highs = limits[:, 0].tolist(), limits[:, 1].tolist()
        self._strict = np.array([[not feature.missing] for feature in features])
        self._all_strict = bool(self._strict.all())
        self._any_strict = bool(self._strict.any())

    def are_fine(self, inputs: Inputs, block: NDArray[np.float64] | None) -> bool:
        """Whether nothing is to be said of any number."""
        if block is None:
            try:
                arrays = [inputs[name] for name in self._names]
                if arrays[0].size == 1 and (self._all_strict or not self._any_strict):
                    return self._is_row_fine([array.item() for array in arrays])
                flat = arrays[0] if len(arrays) == 1 else np.concatenate(arrays, axis=None)
                block = flat.reshape(len(arrays), -1)
            except (KeyError, ValueError, TypeError):  # a column was left out, or holds objects
                return False
            if block.dtype.hasobject:
                return False
        return _fine(block, self._low, self._high, self._strict, self._all_strict, self._any_strict)

    def _is_row_fine(self, values: list[float]) -> bool:
        """The same of one row, half as dear as an array of so few numbers."""
        if self._all_strict:
            return all(map(le, self._lows, values)) and all(map(ge, self._highs, values))
        return not (any(map(gt, self._lows, values)) or any(map(lt, self._highs, values)))

    def explain(self, inputs: Inputs, said: _Said) -> None:
        """Say what is wrong, column by column."""
        rows = next((len(array) for array in inputs.values() if array.ndim), 1)
        columns = {place: _floats(inputs[name].reshape(-1)) for place, name in enumerate(self._names) if name in inputs}
        places = np.array(list(columns), dtype=np.intp)
        block = np.array(list(columns.values())).reshape(len(columns), -1)
        bad = _bad(block, self._low[places], self._high[places], self._strict[places]).any(axis=1)
        for place in places[bad].tolist():
            self._features[place].explain(columns[place], said)
        for place in sorted(set(range(len(self._names))) - set(columns)):
            expected = self._features[place].expectation
            if not expected.missing:
                said.find(expected, "missing_value", "a value", range(rows), [None] * rows)


class _Matrix:
    """One array of numbers: a matrix with a feature per column, or a tensor with one expectation of all its values."""

    def __init__(self, field: Field, features: Sequence[Expectation]) -> None:
        self._name = field.name
        self._by_column = features[0].element is not None
        self._features = {feature.element or 0: _Feature(feature) for feature in features}
        columns = field.shape[1] if self._by_column and len(field.shape) == 2 else 1
        self._width = max(columns, max(self._features) + 1)
        self._low, self._high = np.full(self._width, -math.inf), np.full(self._width, math.inf)
        self._strict = np.zeros(self._width, dtype=bool)
        for place, feature in self._features.items():
            self._low[place], self._high[place] = feature.expectation.limits
            self._strict[place] = not feature.expectation.missing
        self._all_strict = bool(self._strict.all())
        self._any_strict = bool(self._strict.any())

    def is_fine(self, inputs: Inputs) -> bool:
        """Whether nothing is to be said of any number."""
        array = inputs.get(self._name)
        if array is None or not array.size:
            return True
        if self._by_column and (array.ndim != 2 or array.shape[1] != self._width):
            return True  # of a width that the reference did not have: each column may be anything
        return _fine(array, self._low, self._high, self._strict, self._all_strict, self._any_strict)

    def explain(self, inputs: Inputs, said: _Said) -> None:
        """Say what is wrong, column by column."""
        if self.is_fine(inputs):
            return
        array = _floats(inputs[self._name])
        if not self._by_column:
            self._features[0].explain(array.reshape(-1), said)
            return
        bad = _bad(array, self._low, self._high, self._strict).any(axis=0)
        for place in np.flatnonzero(bad).tolist():
            self._features[place].explain(array[:, place], said)


class _Feature:
    """The expectation of numbers, with what is worked out from it once."""

    def __init__(self, expectation: Expectation) -> None:
        self.expectation = expectation
        slips = list(slips_of(expectation))
        self._slips = [name for name, _, _ in slips]
        self._factors = np.array([factor for _, factor, _ in slips])
        self._shifts = np.array([shift for _, _, shift in slips])
        self._low, self._high = expectation.limits

    def explain(self, values: NDArray[np.float64], said: _Said) -> None:
        """Tell the violations among the numbers of one column from another."""
        expected = self.expectation
        gaps = np.isnan(values)
        rest = np.nonzero(((values < self._low) | (values > self._high)) & ~gaps)[0]
        if not expected.missing:
            found = np.nonzero(gaps)[0]
            said.find(expected, "missing_value", "a number", found, [None] * len(found))
        if not len(rest):
            return
        numbers = values[rest]
        infinite = np.isinf(numbers) if not expected.infinite else np.zeros(len(rest), bool)
        said.find(expected, "infinite_value", "a finite number", rest[infinite], numbers[infinite].tolist())
        rest, numbers = rest[~infinite], numbers[~infinite]
        least = -math.inf if expected.minimum is None else expected.minimum
        most = math.inf if expected.maximum is None else expected.maximum
        outside = (numbers < least) | (numbers > most)
        said.find(expected, "out_of_range", _range(expected.minimum, expected.maximum), rest[outside],
                  numbers[outside].tolist())  # fmt: skip
        self._explain_unusual(rest[~outside], numbers[~outside], said)

    def _explain_unusual(self, rows: NDArray[np.intp], numbers: NDArray[np.float64], said: _Said) -> None:
        expected = self.expectation
        if not len(rows):
            return
        low, high = expected.usual or (self._low, self._high)
        which = self._slip(numbers)
        for place in np.unique(which[which >= 0]).tolist():
            here = which == place
            said.find(expected, "unit_slip", f"{low:g} to {high:g}, as {self._slips[place]} would give", rows[here],
                      numbers[here].tolist())  # fmt: skip
        plain = which < 0
        said.find(expected, "unusual_value", f"{low:g} to {high:g}", rows[plain], numbers[plain].tolist())

    def _slip(self, numbers: NDArray[np.float64]) -> NDArray[np.intp]:
        """Which change of unit explains each number; -1 where none does."""
        if not self._slips or self.expectation.central is None:
            return np.full(len(numbers), -1)
        low, high = self.expectation.central
        with np.errstate(over="ignore"):
            restored = numbers[:, None] * self._factors + self._shifts
        fits = (restored >= low) & (restored <= high)
        return np.where(fits.any(axis=1), fits.argmax(axis=1), -1)


class _Texts:
    """A column of texts or categories."""

    def __init__(self, field: Field, expectation: Expectation, salt: str) -> None:
        self._name = field.name
        self._expectation = expectation
        self._salt = salt.encode()
        self._known: set[Any] = {None} if expectation.missing else set()
        """Values that were looked up and are in the domain: never more of them than it holds."""

    def is_fine(self, inputs: Inputs) -> bool:
        """Whether nothing is to be said of any value."""
        array = inputs.get(self._name)
        expected = self._expectation
        if array is None:
            return expected.missing
        values = array.ravel().tolist()
        if expected.domain is not None and not self._known.issuperset(values):
            if not all(self._knows(value) for value in set(values)):
                return False
        elif expected.domain is None and not expected.missing and array.dtype.hasobject and None in values:
            return False
        if expected.length is None:
            return True
        shortest, longest = expected.length
        return all(value is None or (isinstance(value, str) and shortest <= len(value) <= longest) for value in values)

    def _knows(self, value: Any) -> bool:
        if value in self._known:
            return True
        if value is None or value != value or self._expectation.domain is None:
            return bool(self._expectation.missing) if value is None or value != value else True
        if category_hash(value, self._salt) not in self._expectation.domain:
            return False
        self._known.add(value)
        return True

    def explain(self, inputs: Inputs, said: _Said) -> None:
        """Say what is wrong, value by value."""
        if self.is_fine(inputs):
            return
        expected = self._expectation
        array = inputs.get(self._name)
        rows = next((len(other) for other in inputs.values() if other.ndim), 1)
        values = [None] * rows if array is None else array.ravel().tolist()
        gaps = [row for row, value in enumerate(values) if value is None or value != value]
        if not expected.missing:
            said.find(expected, "missing_value", "a value", gaps, [None] * len(gaps))
        self._explain_domain(values, set(gaps), said)
        self._explain_length(values, said)

    def _explain_domain(self, values: Sequence[Any], gaps: set[int], said: _Said) -> None:
        if self._expectation.domain is None:
            return
        unseen = {value for value in set(values) if value is not None and value == value and not self._knows(value)}
        rows = [row for row, value in enumerate(values) if row not in gaps and value in unseen]
        said.find(self._expectation, "unseen_category", f"one of {len(self._expectation.domain)} known values", rows,
                  (values[row] for row in rows))  # fmt: skip

    def _explain_length(self, values: Sequence[Any], said: _Said) -> None:
        if self._expectation.length is None:
            return
        shortest, longest = self._expectation.length
        texts = ((row, value) for row, value in enumerate(values) if isinstance(value, str))
        rows = [row for row, value in texts if not shortest <= len(value) <= longest]
        said.find(self._expectation, "text_length", f"{shortest} to {longest} characters", rows,
                  (f"{len(values[row])} characters" for row in rows))  # fmt: skip


def _fine(block: NDArray[Any], low: NDArray[np.float64], high: NDArray[np.float64], strict: NDArray[np.bool_],
          all_strict: bool, any_strict: bool) -> bool:  # fmt: skip
    if all_strict:
        inside = block >= low
        inside &= block <= high
        return int(np.count_nonzero(inside)) == inside.size
    if np.count_nonzero(block < low) or np.count_nonzero(block > high):
        return False
    return not (any_strict and block.dtype.kind == "f" and np.count_nonzero((block != block) & strict))


def _bad(block: NDArray[np.float64], low: NDArray[np.float64], high: NDArray[np.float64],
         strict: NDArray[np.bool_]) -> NDArray[np.bool_]:  # fmt: skip
    """Which values there is something to say of."""
    inside = (block >= low) & (block <= high)
    bad: NDArray[np.bool_] = ~inside & (strict | (block == block))
    return bad


def _is_number(field: Field, features: Sequence[Expectation]) -> bool:
    return field.dtype.kind in "iuf" and features[0].domain is None


def _is_number_column(field: Field, features: Sequence[Expectation]) -> bool:
    return field.shape in ((-1,), (-1, 1)) and len(features) == 1 and _is_number(field, features)


def _floats(array: NDArray[Any]) -> NDArray[np.float64]:
    """Numbers as doubles; what is none (a gap among objects) as NaN."""
    if not array.dtype.hasobject:
        return array.astype(np.float64, copy=False)
    flat = [value if isinstance(value, int | float) else math.nan for value in array.ravel().tolist()]
    return np.array(flat, np.float64).reshape(array.shape)


def _clipped(values: NDArray[Any], low: float, high: float) -> NDArray[Any]:
    if values.dtype.kind in "iu":
        limits = np.iinfo(values.dtype)
        low, high = max(math.ceil(low), limits.min), min(math.floor(high), limits.max)
    clipped: NDArray[Any] = np.clip(values, low, high)
    return clipped


def _fitted(typical: float | str | None, dtype: np.dtype[Any]) -> Any:
    return round(typical) if isinstance(typical, float) and dtype.kind in "iu" else typical


def _range(minimum: float | None, maximum: float | None) -> str:
    low = "" if minimum is None else f"at least {minimum:g}"
    high = "" if maximum is None else f"at most {maximum:g}"
    return f"{minimum:g} to {maximum:g}" if low and high else low or high


def _say(value: object) -> str:
    if value is None:
        return "a gap"
    if isinstance(value, float):
        return f"{value:g}"
    text = str(value)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"
