"""The encoder: from the arrays of a request to the codes, numbers and deviations of its features.

Made for batches of 1 to 1,000 rows in the request's own process. A number's code is how many of its feature's edges it
reaches: few rows are compared with all edges at once, more rows with one edge of every feature after the other. Both
are exact, and both stream through memory without a search. Nothing a request holds makes it raise: what cannot be read
as the feature's kind is *unseen*, and a field that is not there is *missing*.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import groupby, repeat
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from serinus.monitors import descriptors
from serinus.monitors.features import MISSING, NAMED, UNSEEN, Feature, category_hash, is_missing
from serinus.monitors.novelty import Novelty
from serinus.monitors.projections import Projections

__all__ = ["FURTHEST", "Encoder", "Observation"]

FURTHEST = 10.0
"""Deviations are cut here, in units of the feature's scale."""

_STEPS = 256.0
_FEW = 12
"""Up to so many rows the comparison with all edges at once is the faster one."""
_MANY = 2048
"""Rows that are encoded in one go: what is in between stays in the processor's cache."""
_TILE = 4096
_KNOWN = 10_000
_MATRIX = "input"

Arrays = Mapping[str, NDArray[Any]]
Floats = NDArray[np.float64]
Codes = NDArray[np.uint8]


class Observation(NamedTuple):
    """What the encoder makes of n rows: R features, V of them numeric."""

    codes: Codes
    """[n, R]."""
    deviations: Floats
    """[n, R]: (x − centre) / scale, cut at ±10 and rounded to 1/256; 0 for missing values and categories."""
    values: Floats
    """[n, V]: the values of the numeric features, in their order; NaN where missing."""


class _Part(NamedTuple):
    """Numeric features that come out of the arrays together, and which columns of the values they fill."""

    side: str
    extract: Callable[[Arrays, int], Floats]
    target: slice


class Encoder:
    """Encodes rows for one list of features. Rows are as many as the first array has.

    Args:
        features: inputs first, then outputs, then joint ones.
        columns: the names of all input fields in the model's order, for models whose columns may also come as one
            matrix named `input`.
        salt: of the hashes of categories.
        vocabularies: of text fields, by name.
        seed: of random projections of large tensors.
        novelty, projections: what the joint features are made of.
    """

    def __init__(
        self,
        features: Sequence[Feature],
        columns: Sequence[str] = (),
        *,
        salt: bytes = b"",
        vocabularies: Mapping[str, bytes] | None = None,
        seed: int = 0,
        novelty: Novelty | None = None,
        projections: Projections | None = None,
    ) -> None:
        self.features = tuple(features)
        self.numeric = np.array([i for i, one in enumerate(features) if one.kind == "numeric"], np.intp)
        """Which features are numeric: positions in `features`, in the order of `Observation.values`."""
        self._all_numeric = len(self.numeric) == len(self.features)
        sides = [features[i].side for i in self.numeric]
        self._from_inputs, self._from_outputs = sides.count("input"), sides.count("output")
        self._bins = _Bins([features[i] for i in self.numeric])
        parts = _parts([features[i] for i in self.numeric], vocabularies or {}, seed)
        self._parts = {side: [part for part in parts if part.side == side] for side in ("input", "output")}
        self._categories = [_Categories(i, one, salt) for i, one in enumerate(features) if one.kind == "categorical"]
        watched = [one.side == "input" and one.monitorable for one in features]
        self.number_features = np.array([i for i in self.numeric if watched[i]], np.intp)
        """Which features `numbers` gives: the numeric inputs that are monitorable."""
        surprising = [part.position for part in self._categories if watched[part.position]]
        self.category_features = np.array(surprising, np.intp)
        """Which features `categories` gives: the categorical inputs that are monitorable."""
        told = np.array([column for column, i in enumerate(self.numeric) if watched[i]], np.intp)
        self._told = None if len(told) == self._from_inputs else told
        self._columns = () if _MATRIX in columns else tuple(columns)
        self._novelty, self._projections = novelty, projections
        alone = self._told is None and not self._columns and len(self._parts["input"]) == 1
        self._direct = self._parts["input"][0].extract if alone else None
        """Gives `numbers` in one call, where nothing has to be chosen or put together."""

    def numbers(self, inputs: Arrays) -> Floats:
        """Give the values [n, Rn] of `number_features`, NaN where missing: what `Novelty` takes."""
        if self._direct is not None:
            return self._direct(inputs, _rows(inputs))
        inputs = self._by_column(inputs)
        return self._of_numbers(self._extracted("input", inputs, _rows(inputs), self._from_inputs))

    def _of_numbers(self, values: Floats) -> Floats:
        return values if self._told is None else values[:, self._told]

    def categories(self, inputs: Arrays) -> Codes:
        """Give the codes [n, Rc] of `category_features`: what `Novelty` takes beside the numbers."""
        inputs = self._by_column(inputs)
        rows = _rows(inputs)
        codes = np.empty((rows, len(self.category_features)), np.uint8)
        chosen = (part for part in self._categories if part.position in self.category_features)
        for column, part in enumerate(chosen):
            codes[:, column] = part.codes(inputs, rows)
        return codes

    def encode(self, inputs: Arrays, outputs: Arrays | None = None) -> Codes:
        """Give the codes [n, R] of some rows; without `outputs`, what comes out of them is missing."""
        return self.observe(inputs, outputs).codes

    def observe(self, inputs: Arrays, outputs: Arrays | None = None) -> Observation:
        """Give codes, deviations and values of some rows, as `Counts.add` takes them."""
        rows = _rows(inputs) if inputs else _rows(outputs or {})
        if rows <= _MANY:
            return self._observed(inputs, outputs or {}, rows)
        parts = [
            self._observed(_cut(inputs, start), _cut(outputs or {}, start), min(_MANY, rows - start))
            for start in range(0, rows, _MANY)
        ]
        return Observation(*(np.concatenate(each) for each in zip(*parts, strict=True)))

    def _observed(self, inputs: Arrays, outputs: Arrays, rows: int) -> Observation:
        inputs = self._by_column(inputs)
        codes = np.empty((rows, len(self.features)), np.uint8)
        for part in self._categories:
            codes[:, part.position] = part.codes(inputs if part.side == "input" else outputs, rows)
        values = self._extracted("input", inputs, rows, self._from_inputs)
        if len(self.numeric) > self._from_inputs:
            values = np.concatenate([values, *self._further(values, codes, outputs, rows)], axis=1)
        bins, spread = self._bins.codes(values), self._bins.deviations(values)
        if self._all_numeric:
            return Observation(bins, spread, values)
        codes[:, self.numeric] = bins
        deviations = np.zeros(codes.shape)
        deviations[:, self.numeric] = spread
        return Observation(codes, deviations, values)

    def _further(self, values: Floats, codes: Codes, outputs: Arrays, rows: int) -> Iterable[Floats]:
        numbers = self._of_numbers(values)
        yield self._extracted("output", outputs, rows, self._from_outputs)
        if self._novelty is not None:
            yield self._novelty.scores(numbers, codes[:, self.category_features])[:, None]
        if self._projections is not None:
            yield self._projections.values(numbers)

    def _extracted(self, side: str, arrays: Arrays, rows: int, width: int) -> Floats:
        parts = self._parts[side]
        if len(parts) == 1:
            return parts[0].extract(arrays, rows)
        values = np.empty((rows, width))
        for part in parts:
            values[:, part.target] = part.extract(arrays, rows)
        return values

    def _by_column(self, inputs: Arrays) -> Arrays:
        if not self._columns or len(inputs) != 1 or _MATRIX not in inputs:
            return inputs
        matrix = inputs[_MATRIX]
        if matrix.ndim != 2 or matrix.shape[1] != len(self._columns):
            return inputs
        return {name: matrix[:, index] for index, name in enumerate(self._columns)}


def _rows(arrays: Arrays) -> int:
    for array in arrays.values():
        return len(array) if array.ndim else 1
    return 0


def _cut(arrays: Arrays, start: int) -> Arrays:
    return {name: array[start : start + _MANY] for name, array in arrays.items()}


def _parts(features: Sequence[Feature], vocabularies: Mapping[str, bytes], seed: int) -> tuple[_Part, ...]:
    parts, start = [], 0
    for (side, _), found in groupby(features, key=_source):
        together = list(found)
        if side != "joint":
            extract = descriptors.extractor(together, vocabularies.get(together[0].field, b""), seed)
            parts.append(_Part(side, extract, slice(start, start + len(together))))
        start += len(together)
    # One constant offset per side: outputs are extracted into an array of their own.
    first = {part.side: min(each.target.start for each in parts if each.side == part.side) for part in parts}
    return tuple(
        part._replace(target=slice(part.target.start - first[part.side], part.target.stop - first[part.side]))
        for part in parts
    )


def _source(feature: Feature) -> tuple[str, str]:
    """Features of neighbouring plain columns are extracted together, others with those of the same field."""
    return feature.side, "" if feature.view == "value" else feature.field


class _Bins:
    """Edges, range and scale of numeric features, as arrays."""

    def __init__(self, features: Sequence[Feature]) -> None:
        most = max((len(one.edges) for one in features), default=0)
        self._edges = np.full((most, len(features)), np.inf)
        for column, one in enumerate(features):
            self._edges[: len(one.edges), column] = one.edges
        rows = max(1, _TILE // max(1, len(features)))
        self._tile = rows * max(1, len(features))
        self._tiled = np.tile(self._edges, rows)  # one long loop is faster than many of a row's width
        self._low, self._high, self._centre, scale = (
            np.array([getattr(one, name) for one in features], np.float64)
            for name in ("low", "high", "centre", "scale")
        )
        self._weight = 1.0 / scale

    def codes(self, values: Floats) -> Codes:
        """Give the code [n, V] of each value."""
        codes = self._reached_at_once(values) if len(values) <= _FEW else self._reached(values)
        inside = values >= self._low
        inside &= values <= self._high
        if not inside.all():
            np.copyto(codes, np.where(values != values, MISSING, UNSEEN).astype(np.uint8), where=~inside)
        return codes

    def _reached_at_once(self, values: Floats) -> Codes:
        reached = values[:, None, :] >= self._edges
        return np.asarray(np.add.reduce(reached.view(np.uint8), axis=1, dtype=np.uint8))

    def _reached(self, values: Floats) -> Codes:
        flat = values.ravel()
        codes = np.zeros(flat.shape, np.uint8)
        for start in range(0, len(flat), self._tile):
            part, found = flat[start : start + self._tile], codes[start : start + self._tile]
            reached = np.empty(part.shape, bool)
            for edges in self._tiled:
                np.greater_equal(part, edges[: len(part)], out=reached)
                found += reached.view(np.uint8)
        return codes.reshape(values.shape)

    def deviations(self, values: Floats) -> Floats:
        """Give (x − centre) / scale [n, V], cut and rounded; 0 where missing."""
        with np.errstate(over="ignore"):
            spread = values - self._centre
            spread *= self._weight
        if spread.size == 0:
            return spread
        if not np.abs(spread).max() <= FURTHEST:  # NaN is not
            np.clip(spread, -FURTHEST, FURTHEST, out=spread)
            spread[np.isnan(spread)] = 0.0
        spread *= _STEPS
        np.rint(spread, out=spread)
        spread *= 1 / _STEPS
        return spread


class _Categories:
    """The codes of one categorical feature: a table of the values met so far, hashes for the others."""

    def __init__(self, position: int, feature: Feature, salt: bytes) -> None:
        self.position, self.side = position, feature.side
        self._salt = salt
        self._extract = descriptors.categories(feature)
        self._named = {key: code for code, key in enumerate(feature.keys)}
        self._domain = None if feature.domain is None else frozenset(np.frombuffer(feature.domain, "<u8").tolist())
        self._known: dict[Any, int] = {None: MISSING}

    def codes(self, arrays: Arrays, rows: int) -> Codes | int:
        """Give the code of each row, or one code for all."""
        values = self._extract(arrays, rows)
        if values is None:
            return MISSING
        if len(values) != rows:
            return UNSEEN
        try:
            codes = bytes(map(self._known.get, values, repeat(UNSEEN)))
        except TypeError:  # a list or another value without a hash
            codes = bytes(map(self._code, values))
        if UNSEEN in codes:
            codes = bytes(self._code(one) if code == UNSEEN else code for one, code in zip(values, codes, strict=True))
        return np.frombuffer(codes, np.uint8)

    def _code(self, value: Any) -> int:
        if is_missing(value):
            return MISSING
        key = category_hash(value, self._salt)
        if key is None or (self._domain is not None and key not in self._domain):
            return UNSEEN
        code = self._named.get(key, NAMED + key % 2)
        if len(self._known) < _KNOWN:  # no more than the domain has, or this where the domain is open
            self._known[value] = code
        return code
