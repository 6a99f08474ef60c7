"""Makes a profile of chunks of rows: what is watched, where bins lie, and the counts of every row in time order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from serinus.models.signature import Field, Label, Signature
from serinus.monitors import bins, descriptors, kinds
from serinus.monitors.encoder import Encoder
from serinus.monitors.errors import InvalidData
from serinus.monitors.features import NAMED, WIDTH, Feature, Side, category_hash
from serinus.monitors.novelty import Novelty, halves
from serinus.monitors.profile import BLOCKS, SEASONS, Profile
from serinus.monitors.projections import Projections
from serinus.monitors.sample import DOMAIN, Rows, Sample, Tally

__all__ = ["NAMEABLE", "Options", "Progress", "build"]

NAMEABLE = 10
"""Rows a category needs before it is told by name."""

Progress = Callable[[str, int, int | None], None]
Floats = NDArray[np.float64]
Source = tuple[str, str]

_NOVELTY = "novelty"
_BLOCK_ROWS = 200
_ENOUGH = 200
_PARTS = 8
_KNOWN_WORD = 10
_SECONDS_FROM = 1e8
"""In March 1973; a year or a counter is smaller."""
_LARGEST = float(np.finfo(np.float64).max)


@dataclass(frozen=True)
class Options:
    """How a profile is made; `Reference` says what each means."""

    signature: Signature | None = None
    personal: Mapping[str, Literal["drop", "hash", "coarsen"]] = field(default_factory=dict)
    seasons: bool = False
    joint: bool = True
    salt: bytes = b""
    seed: int = 0
    source: Mapping[str, Any] = field(default_factory=dict)
    categories: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        for name, what in self.personal.items():
            if what not in ("drop", "hash", "coarsen"):
                raise InvalidData(f"Personal field {name!r}: wanted drop, hash or coarsen, got {what!r}.")

    def declared(self, side: str, name: str) -> Field | None:
        """Give the signature's field, or one that says what the frame said."""
        if self.signature is not None:
            fields = self.signature.inputs if side == "input" else self.signature.outputs
            return next((one for one in fields if one.name == name), None)
        return Field(name, "BYTES", (-1,), frame_dtype="category") if name in self.categories else None


def build(read: Callable[[], Iterable[Rows]], options: Options, progress: Progress | None = None) -> Profile:
    """Read the chunks twice and give their profile."""
    builder = _Builder(options, progress or (lambda step, rows, total: None))
    builder.look(read())
    builder.decide()
    builder.count(read())
    return builder.profile()


class _Builder:
    """The steps of `build`, in order, and what each leaves for the next."""

    def __init__(self, options: Options, progress: Progress) -> None:
        self._options, self._progress = options, progress
        self._tensors: dict[Source, list[Feature]] = {}
        self._sample = Sample(self._described, options.seed)
        self._columns: tuple[str, ...] = ()
        self._notes: list[str] = []
        self._found: dict[Source, list[Feature]] = {}
        self._descriptions: dict[Source, Floats] = {}
        self._vocabularies: dict[str, bytes] = {}
        self._novelty: Novelty | None = None
        self._projections: Projections | None = None

    # The first reading

    def look(self, chunks: Iterable[Rows]) -> None:
        """Read every chunk for the sample."""
        for chunk in chunks:
            if not self._sample.rows:
                self._meet(chunk)
            self._sample.add(self._watched(chunk))
            self._progress("reading", self._sample.rows, None)
        if not self._sample.rows:
            raise InvalidData("The reference has no rows; give one with at least a few hundred.")
        if self._sample.rows < _ENOUGH:
            self._notes.append(
                f"The reference is too small: {self._sample.rows} rows hardly say what is normal; give 1,000 or more."
            )

    def _watched(self, chunk: Rows) -> Rows:
        """The chunk without what is not to be profiled."""
        dropped = {name for name, what in self._options.personal.items() if what == "drop"}
        if self._options.signature is None:
            inputs, outputs = set(chunk.inputs), set(chunk.outputs)
        else:
            inputs, outputs = ({one.name for one in side} for side in _sides(self._options.signature))
        return Rows(_only(chunk.inputs, inputs - dropped), _only(chunk.outputs, outputs - dropped), chunk.times)

    def _meet(self, chunk: Rows) -> None:
        """Note the order of the inputs, and what is not in the reference."""
        signature = self._options.signature
        if signature is None:
            self._columns = tuple(chunk.inputs)
            return
        self._columns = tuple(one.name for one in signature.inputs)
        for name in self._columns:
            if name not in chunk.inputs and self._options.personal.get(name) != "drop":
                self._notes.append(f"Field {name!r} of the signature is not in the reference, so it is not watched.")

    def _described(self, side: str, name: str, array: NDArray[Any]) -> NDArray[Any]:
        """What the sample keeps of an array: a tensor's values, any other as it is."""
        if not kinds.is_tensor(array):
            return array
        source = (side, name)
        if source not in self._tensors:
            self._tensors[source] = kinds.tensor_features(_side(side), name, array)
        features = self._tensors[source]
        if not features or features[0].kind == "categorical":
            return array
        return descriptors.extractor(features, b"", self._options.seed)({name: array}, len(array))

    # Between the readings

    def decide(self) -> None:
        """Choose features and their bins by the sample."""
        places, arrays = self._sample.kept()
        order = self._in_time(places)
        self._places = places[order]
        fitted, self._kept = halves(len(places), 1, self._options.seed)
        self._fitted = np.zeros(self._sample.rows, bool)
        self._fitted[self._places[fitted]] = True
        self._arrays = {source: array[order] for source, array in arrays.items()}
        self._rows = len(places)
        features = [one for source, array in self._arrays.items() for one in self._features(source, array)]
        features = self._without_certain(features)
        features.sort(key=lambda one: one.side != "input")
        features = [self._binned(one) for one in features]
        self.features = features + self._joint(features)
        self._encoder = self._encoding([_open(one) for one in self.features])

    def _in_time(self, places: NDArray[np.int64]) -> NDArray[np.int64]:
        times = self._sample.times
        self._blocks = _blocks(self._sample.rows, times)
        return np.argsort(places if times is None else times[places], kind="stable")

    def _features(self, source: Source, array: NDArray[Any]) -> list[Feature]:
        side, name = source
        if source in self._tensors:
            return self._tensors[source]
        tally, personal = self._sample.tallies.get(source), self._options.personal.get(name)
        declared = self._options.declared(side, name)
        found = kinds.column_features(_side(side), name, array, tally, declared, personal)
        self._found[source] = found
        if any(one.view == "unknown_words" for one in found):
            self._vocabularies[name] = _vocabulary(np.delete(array, self._kept, axis=0))
        return found

    def _without_certain(self, features: list[Feature]) -> list[Feature]:
        """Of two scores that add up to 1, one says it all."""
        certain = set()
        for source, found in self._tensors.items():
            if source[0] == "output" and len(found) == 2 and found[0].view == "element":
                sums = np.asarray(self._arrays[source]).sum(axis=1)
                if np.abs(sums - 1).max(initial=0.0) < 1e-3:
                    certain.add(found[0].name)
        return [one for one in features if one.side == "input" or one.name not in certain]

    def _values(self, feature: Feature) -> Floats:
        """A numeric feature's values in the sample."""
        source = (feature.side, feature.field)
        if source in self._tensors:
            return np.asarray(self._arrays[source][:, self._tensors[source].index(_bare(feature))], np.float64)
        if feature.view == "value":
            return descriptors.floats(self._arrays[source])
        together = [one for one in self._found[source] if one.kind == "numeric"]
        if source not in self._descriptions:
            extract = descriptors.extractor(together, self._vocabularies.get(feature.field, b""), self._options.seed)
            self._descriptions[source] = extract({feature.field: self._arrays[source]}, self._rows)
        return self._descriptions[source][:, together.index(_bare(feature))]

    def _binned(self, feature: Feature) -> Feature:
        if feature.kind == "categorical":
            return self._named(feature)
        values = self._values(feature)
        seen = values[self._kept] if feature.is_learnt else values
        found = self._running(_numeric(feature, seen), values)
        return _coarse(found) if feature.field in self._options.personal else found

    def _running(self, feature: Feature, values: Floats) -> Feature:
        """Mark a number that grows with time (a date, a counter): new values of it are no news."""
        if not _runs(values):
            return feature
        reason = (
            f"Feature {feature.name!r} runs with time: none of the last rows' values occurred among the first; "
            "give the model a difference instead."
        )
        return replace(feature, monitorable=False, reason=reason)

    def _named(self, feature: Feature) -> Feature:
        tally = self._tally(feature)
        declared = self._options.declared(feature.side, feature.field)
        labels = (declared.labels or ()) if declared is not None and feature.view == "value" else ()
        hidden = self._options.personal.get(feature.field) is not None
        salt, found = self._options.salt, tally.categories
        known = [(key, value, count) for value, count in found if (key := category_hash(value, salt)) is not None]
        domain = {key for key, _, _ in known} | {key for one in labels if (key := category_hash(one, salt)) is not None}
        closed = tally.complete and len(domain) <= DOMAIN
        if not closed:
            self._notes.append(
                f"Feature {feature.name!r} has more than {DOMAIN:,} categories: unseen ones are not told apart."
            )
        top, public = known[:NAMED], {False, True, *labels}
        names = [_name(value, key, not hidden and (count >= NAMEABLE or value in public)) for key, value, count in top]
        return replace(
            feature,
            categories=tuple(names),
            keys=tuple(key for key, _, _ in top),
            domain=np.array(sorted(domain), "<u8").tobytes() if closed else None,
            monitorable=bool(known),
            reason="" if known else f"Feature {feature.name!r} has no value in the reference.",
        )

    def _tally(self, feature: Feature) -> Tally:
        source = (feature.side, feature.field)
        if feature.view == "value" and source in self._sample.tallies:
            return self._sample.tallies[source]
        tally = Tally()
        found = descriptors.categories(feature)({feature.field: self._arrays[source]}, self._rows)
        tally.add(np.array(found, object))
        return tally

    # Joint features

    def _joint(self, features: list[Feature]) -> list[Feature]:
        if not self._options.joint:
            return []
        watched = [one for one in features if one.side == "input" and one.monitorable]
        numbers = [self._values(one) for one in watched if one.kind == "numeric"]
        if not watched:
            return []
        values = np.stack(numbers, axis=1) if numbers else np.empty((self._rows, 0))
        return [*self._novel(features, values), *self._projected(values)]

    def _novel(self, features: list[Feature], values: Floats) -> list[Feature]:
        codes = self._encoding(features).categories(self._raw("input"))
        self._novelty = Novelty.fit(values, codes=codes, seed=self._options.seed)
        scores = self._novelty.scores(values[self._kept], codes[self._kept])
        return [_numeric(Feature(_NOVELTY, "", "joint", "numeric", _NOVELTY), scores)]

    def _projected(self, values: Floats) -> list[Feature]:
        if values.shape[1] < 2:
            return []
        self._projections = Projections.fit(values, seed=self._options.seed)
        columns = self._projections.values(values).T
        return [
            _numeric(Feature(f"joint[{i}]", "", "joint", "numeric", "projection", i), column)
            for i, column in enumerate(columns)
        ]

    def _raw(self, side: str) -> dict[str, NDArray[Any]]:
        """The sample's arrays that are as they came."""
        return {name: array for (where, name), array in self._arrays.items() if where == side}

    def _encoding(self, features: Sequence[Feature]) -> Encoder:
        return Encoder(
            features,
            self._columns,
            salt=self._options.salt,
            vocabularies=self._vocabularies,
            seed=self._options.seed,
            novelty=self._novelty,
            projections=self._projections,
        )

    # The second reading

    def count(self, chunks: Iterable[Rows]) -> None:
        """Count every row into its time block and its season, and note the ranges."""
        features, encoder = len(self.features), self._encoder
        self._table = np.zeros((self._blocks.max(initial=0) + 1, features, WIDTH), np.int64)
        self._seasons = self._empty_seasons()
        self._sums = np.zeros((features, 2))
        self._low, self._high = np.full(len(encoder.numeric), np.inf), np.full(len(encoder.numeric), -np.inf)
        self._learnt = [index for index, one in enumerate(self.features) if one.is_learnt]
        done = 0
        for chunk in map(self._watched, chunks):
            found = encoder.observe(chunk.inputs, chunk.outputs)
            rows = len(found.codes)
            fitted = np.flatnonzero(self._fitted[done : done + rows])
            for index in self._learnt:
                found.deviations[fitted, index] = 0.0
            self._add(self._table, self._blocks[done : done + rows], found.codes, fitted)
            if self._seasons is not None and chunk.times is not None:
                self._add(self._seasons, _season(chunk.times), found.codes, fitted)
            self._sums += np.stack([found.deviations.sum(axis=0), (found.deviations**2).sum(axis=0)], axis=1)
            finite = np.isfinite(found.values)
            self._low = np.minimum(self._low, np.where(finite, found.values, np.inf).min(axis=0, initial=np.inf))
            self._high = np.maximum(self._high, np.where(finite, found.values, -np.inf).max(axis=0, initial=-np.inf))
            done += rows
            self._progress("counting", done, self._sample.rows)

    def _add(
        self, table: NDArray[np.int64], cells: NDArray[np.intp], codes: NDArray[np.uint8], fitted: NDArray[np.intp]
    ) -> None:
        """Count rows, but not what was learnt from these rows themselves: they seem more usual than new ones do."""
        _add(table, cells, codes)
        for index in self._learnt:
            np.subtract.at(table[:, index], (cells[fitted], codes[fitted, index]), 1)

    def _empty_seasons(self) -> NDArray[np.int64] | None:
        if not self._options.seasons:
            return None
        if not _are_seconds(self._sample.times):
            raise InvalidData("Seasons need the time of each row: name a column of dates and times.")
        return np.zeros((SEASONS, len(self.features), WIDTH), np.int64)

    def profile(self) -> Profile:
        """Give what was found."""
        features = list(self.features)
        for column, index in enumerate(self._encoder.numeric):
            features[index] = self._ranged(features[index], float(self._low[column]), float(self._high[column]))
        return Profile(
            tuple(features),
            self._table,
            self._sums,
            self._sample.rows,
            columns=self._columns,
            salt=self._options.salt,
            vocabularies=self._vocabularies,
            seed=self._options.seed,
            novelty=self._novelty,
            projections=self._projections,
            seasons=self._seasons,
            span=_span(self._sample.times),
            source=self._options.source,
            notes=(*self._notes, *(one.reason for one in features if one.reason)),
        )

    def _ranged(self, feature: Feature, low: float, high: float) -> Feature:
        if low > high:
            return feature
        low, high = bins.widened(low, high)
        if feature.field in self._options.personal:
            low, high = bins.rounded(low), bins.rounded(high, up=True)
        return replace(feature, low=low, high=high)


def _sides(signature: Signature) -> tuple[tuple[Field, ...], tuple[Field, ...]]:
    return signature.inputs, signature.outputs


def _only(arrays: Mapping[str, NDArray[Any]], names: set[str]) -> dict[str, NDArray[Any]]:
    return {name: array for name, array in arrays.items() if name in names}


def _side(side: str) -> Side:
    return "input" if side == "input" else "output"


def _bare(feature: Feature) -> Feature:
    """The feature before it had bins."""
    return Feature(feature.name, feature.field, feature.side, feature.kind, feature.view, feature.index)


def _blocks(rows: int, times: Floats | None) -> NDArray[np.intp]:
    """The time block of each row."""
    count = max(1, min(BLOCKS, rows // _BLOCK_ROWS))
    block = np.arange(rows) * count // max(rows, 1)
    if times is None:
        return block
    blocks = np.empty(rows, np.intp)
    blocks[np.argsort(times, kind="stable")] = block
    return blocks


def _add(table: NDArray[np.int64], cells: NDArray[np.intp], codes: NDArray[np.uint8]) -> None:
    """Count rows into `table[cell of the row]`."""
    places = codes + np.arange(0, codes.shape[1] * WIDTH, WIDTH)
    for cell in np.unique(cells):
        found = np.bincount(places[cells == cell].ravel(), minlength=table[cell].size)
        table[cell] += found.reshape(table[cell].shape)


def _season(times: Floats) -> NDArray[np.intp]:
    """The season cell of each time: its hour in UTC, weekends after working days. A missing time counts as 1970."""
    known = np.nan_to_num(times, nan=0.0)
    day = (known // 86400 + 3) % 7  # the first of January 1970 was a Thursday
    return np.asarray((known % 86400 // 3600 + 24 * (day >= 5)).astype(np.intp))


def _are_seconds(times: Floats | None) -> bool:
    """Say whether times are seconds since 1970, and no years or counters, which only tell an order."""
    return times is not None and bool(np.isfinite(times).any() and np.nanmin(times) >= _SECONDS_FROM)


def _span(times: Floats | None) -> tuple[str, str] | None:
    if times is None or not _are_seconds(times):
        return None
    first, last = (datetime.fromtimestamp(float(end), UTC).isoformat() for end in (np.nanmin(times), np.nanmax(times)))
    return first, last


def _numeric(feature: Feature, values: Floats) -> Feature:
    rising = np.sort(values[np.isfinite(values)])
    if not rising.size:
        reason = f"Feature {feature.name!r} has no value in the reference."
        return replace(feature, monitorable=False, reason=reason)
    centre, scale = bins.centre_and_scale(rising)
    return replace(feature, edges=bins.inner_edges(rising), centre=centre, scale=scale)


def _open(feature: Feature) -> Feature:
    """The feature while the reference itself is counted: nothing in it is unseen but what is infinite."""
    return replace(feature, low=-_LARGEST, high=_LARGEST) if feature.kind == "numeric" else feature


def _runs(values: Floats) -> bool:
    """Say whether values in time order only rise, or only fall, and the last ones are apart from the first."""
    if len(values) < 10 * _PARTS:
        return False
    parts = [part[np.isfinite(part)] for part in np.array_split(values, _PARTS)]
    first, last = parts[0], parts[-1]
    if not (first.size and last.size) or (last.min() <= first.max() and last.max() >= first.min()):
        return False
    steps = np.diff([np.median(part) for part in parts if part.size])
    return bool((steps > 0).all() or (steps < 0).all())


def _coarse(feature: Feature) -> Feature:
    edges = sorted({bins.rounded(edge) for edge in feature.edges})
    return replace(
        feature, edges=tuple(edges), centre=bins.rounded(feature.centre), scale=bins.rounded(feature.scale, up=True)
    )


def _name(value: Any, key: int, nameable: bool) -> Label:
    plain = value.decode("utf-8", "replace") if isinstance(value, bytes) else value
    return plain if nameable and isinstance(plain, str | int | float) else f"#{key:016x}"[:9]


def _vocabulary(array: NDArray[Any]) -> bytes:
    """The map of words that at least 10 rows have: none that only one person writes."""
    rows = np.zeros(descriptors.VOCABULARY_BYTES * 8, np.int64)
    for value in array.ravel().tolist():
        if isinstance(value, str | bytes):
            rows[list(set(descriptors.words(value)))] += 1
    return np.packbits(rows >= _KNOWN_WORD, bitorder="little").tobytes()
