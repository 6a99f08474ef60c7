"""A sample of live rows by version, role and hour, as estimates, slices and causes look at them.

```
prediction log ──LiveSample.read──▶ rows with the smallest keys of each hour ──Looker──▶ Rows ──with_truth──▶ Judged
```

A row's key is a hash of its prediction id, so which rows are looked at does not depend on restarts or order, nor on
what is in them. Rows are kept as bins, numbers and answers, in memory only; after a restart they are read from the log
again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from serinus.monitors.performance import Outcomes
from serinus.monitors.profile import Profile
from serinus.monitors.record import PredictionRecord
from serinus.serving.ground_truth.columns import HOUR_MS, Answers
from serinus.serving.ids import prediction_id
from serinus.serving.performance.promise import numbers_of, outcomes_of
from serinus.serving.prediction_log import Entry, entries
from serinus.serving.prediction_log.frame import (
    HEADER_BYTES,
    PREDICTION,
    Context,
    FrameError,
    beginning,
    decode_prediction,
)
from serinus.serving.prediction_log.manifest import Manifest
from serinus.serving.prediction_log.reader import EVERYTHING, Walk, positioned

__all__ = ["EVENT", "Hour", "LiveSample", "Looker", "Rows", "Who", "novel_share"]

EVENT = "event:"
"""Before the name of an outcome event among what is declared: its values are `yes` and `no`."""
_MOST_ROWS = 20_000
"""Of a version in a role, all hours together."""
_PENDING = 512
_STEP = 200
_AT_ONCE = 1 << 22
"""Bytes of a segment."""
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)

Array = NDArray[Any]
Arrays = Mapping[str, Array]


class Who(NamedTuple):
    """A version in a role."""

    model: str
    version: str
    role: str


@dataclass(frozen=True)
class Looker:
    """What is kept of a version's rows.

    Attributes:
        answers: where its answers stand; None where no truth can be held against them.
        profile: by which its rows are binned; None where they are not.
        features: which of its features.
        personal: fields that do not stand in the log as they were.
        declared: inputs whose values are kept; events among them come with the truths.
        output: where answers stand that no truth can be held against.
    """

    answers: Answers | None
    profile: Profile | None
    features: tuple[int, ...] = ()
    personal: frozenset[str] = frozenset()
    declared: tuple[str, ...] = ()
    output: str = ""

    def look(self, keys: Array, ids: Sequence[str], inputs: Arrays, outputs: Arrays) -> Rows | None:
        """What is kept of some rows; None where their answers are not one for each."""
        outcomes = self._said(outputs, len(keys))
        if outcomes is None:
            return None
        empty = np.empty((len(keys), 0))
        codes, numbers = empty.astype(np.uint8), empty
        novel = np.full(len(keys), np.nan)
        if self.profile is not None:
            codes = self.profile.encoder.encode(inputs, outputs)[:, list(self.features)]
            numbers = numbers_of(self.profile, inputs, self.personal)
            if self.profile.novelty is not None and not self.personal:
                novelty = self.profile.novelty
                categories = self.profile.encoder.categories(inputs)
                novel = novelty.p_values(novelty.scores(self.profile.encoder.numbers(inputs), categories))
        declared = {name: _texts(inputs[name]) for name in self.declared if name in inputs and inputs[name].ndim == 1}
        return Rows(keys, tuple(ids), outcomes.answers, outcomes.scores, codes, numbers, novel, declared)


    def _said(self, outputs: Arrays, rows: int) -> Outcomes | None:
        none = np.empty(rows, object)
        if self.answers is not None:
            return outcomes_of(self.answers, outputs, none)
        said = outputs.get(self.output)
        return None if said is None or said.shape != (rows,) else Outcomes(none, said)


class Rows(NamedTuple):
    """Rows that are kept, `n` of them.

    Attributes:
        keys: hashes `[n]`.
        ids: prediction ids.
        answers, scores: what the model said, `[n]` and `[n, K]` or `[n]`; scores are None without.
        codes: bins `[n, R]`.
        numbers: `[n, F]`.
        novel: novelty p-values `[n]`, NaN where unknown.
        declared: values of declared inputs, and of events once they are known, as text, by their name.
    """

    keys: Array
    ids: tuple[str, ...]
    answers: Array
    scores: Array | None
    codes: Array
    numbers: Array
    novel: Array
    declared: Mapping[str, Array]

    def __len__(self) -> int:
        return len(self.ids)

    def chosen(self, places: Array) -> Rows:
        """Some of the rows."""
        return Rows(self.keys[places], tuple(self.ids[place] for place in places.tolist()), self.answers[places],
                    None if self.scores is None else self.scores[places], self.codes[places], self.numbers[places],
                    self.novel[places], {name: values[places] for name, values in self.declared.items()})

    def declaring(self, more: Mapping[str, Array]) -> Rows:
        """The same rows with more that is declared."""
        return Rows(self.keys, self.ids, self.answers, self.scores, self.codes, self.numbers, self.novel,
                    {**self.declared, **more})

    def outcomes(self, truth: Array) -> Outcomes:
        """With their truth."""
        return Outcomes(truth, self.answers, self.scores)

    @classmethod
    def together(cls, parts: Sequence[Rows]) -> Rows:
        """Rows of several parts; what not all of them have is left out."""
        names = set.intersection(*(set(part.declared) for part in parts))
        scored = all(part.scores is not None for part in parts)
        join = np.concatenate
        return cls(join([part.keys for part in parts]), tuple(each for part in parts for each in part.ids),
                   join([part.answers for part in parts]),
                   join([part.scores for part in parts if part.scores is not None]) if scored else None,
                   join([part.codes for part in parts]), join([part.numbers for part in parts]),
                   join([part.novel for part in parts]),
                   {name: join([part.declared[name] for part in parts]) for name in sorted(names)})


def _texts(column: Array) -> Array:
    return np.array(["missing" if value is None or value != value else str(value) for value in column.tolist()], object)


class _Waiting(NamedTuple):
    """Rows of one record that are not binned yet."""

    keys: Array
    ids: list[str]
    inputs: dict[str, Array]
    outputs: dict[str, Array]

    @property
    def layout(self) -> tuple[Any, ...]:
        """Alike for rows that can be put together."""
        return tuple((name, array.shape[1:], array.dtype.char) for side in (self.inputs, self.outputs)
                     for name, array in side.items())


@dataclass
class Hour:
    """The sample of one hour: at most so many rows, those with the smallest keys."""

    most: int
    looker: Looker
    seen: int = 0
    """Rows of that hour that were read."""
    revision: int = 0
    """Rises with every change of the sample."""
    limit: int = (1 << 64) - 1
    _kept: list[Rows] = field(default_factory=list)
    _waiting: list[_Waiting] = field(default_factory=list)
    _waiting_rows: int = 0

    def add(self, keys: Array, places: Array, record: Any) -> None:
        """Take rows of a record."""
        ids = [prediction_id(record.prediction_uuid, place) for place in places.tolist()]
        inputs, outputs = ({name: array[places] for name, array in side.items() if array.shape[:1] == (record.rows,)}
                           for side in (record.inputs, record.outputs))
        self._waiting.append(_Waiting(keys[places], ids, inputs, outputs))
        self._waiting_rows += len(places)
        self.revision += 1
        if self._waiting_rows >= _PENDING:
            self._look()

    def rows(self) -> Rows | None:
        """The sample; None where it is empty."""
        self._look()
        return self._kept[0] if self._kept and len(self._kept[0]) else None

    def _look(self) -> None:
        """Bin what waits, alike records at once; of more rows than wanted those with the smallest keys stay."""
        alike: dict[Any, list[_Waiting]] = {}
        for one in self._waiting:
            alike.setdefault(one.layout, []).append(one)
        self._waiting, self._waiting_rows = [], 0
        for group in alike.values():
            inputs = {name: np.concatenate([one.inputs[name] for one in group]) for name in group[0].inputs}
            outputs = {name: np.concatenate([one.outputs[name] for one in group]) for name in group[0].outputs}
            found = self.looker.look(np.concatenate([one.keys for one in group]),
                                     [each for one in group for each in one.ids], inputs, outputs)
            if found is not None and all(_fit(found, kept) for kept in self._kept):
                self._kept.append(found)
        if len(self._kept) > 1:
            self._kept = [Rows.together(self._kept)]
        if self._kept and len(self._kept[0]) > self.most:
            order = np.argsort(self._kept[0].keys, kind="stable")[:self.most]
            self._kept = [self._kept[0].chosen(np.sort(order))]
            self.limit = int(self._kept[0].keys.max())


def _fit(ours: Rows, theirs: Rows) -> bool:
    shapes = [None if rows.scores is None else rows.scores.shape[1:] for rows in (ours, theirs)]
    return shapes[0] == shapes[1] and ours.numbers.shape[1:] == theirs.numbers.shape[1:]


class LiveSample:
    """Follows a log's segments, or what replaced them, and keeps samples of the rows of versions that somebody wants to
    look at.

    Args:
        folder: of the segments.
        looker: for a version in a role, what is kept of its rows; None where nothing is.
        most: rows of each hour.
    """

    def __init__(self, folder: Path, looker: Callable[[Who], Looker | None], most: int) -> None:
        self.hours: dict[Who, dict[int, Hour]] = {}
        self._folder, self._looker, self._most = folder, looker, most
        self._places: dict[Path, tuple[int, dict[int, Context]]] = {}
        self._numbers: dict[Path, int] = {}
        """Of the predictions that were read of each segment."""
        self._whole: set[Path] = set()
        self._parts: tuple[Path, Iterator[tuple[int, PredictionRecord]]] | None = None

    def read(self, until: float, oldest_hour: int) -> bool:
        """Read on until a monotonic time, and nothing that is older than an hour; whether all was read."""
        found = entries(self._folder)
        for path in self._numbers.keys() - {entry.path for entry in found}:
            self._places.pop(path, None)
            del self._numbers[path]
            self._whole.discard(path)
        for entry in found:
            try:
                if entry.path in self._whole or entry.last_ns // 1_000_000 < oldest_hour * HOUR_MS or (
                        self._read_entry(entry, until, oldest_hour)):
                    continue
            except (FileNotFoundError, FrameError):  # the log is capped, or the segment is just begun
                continue
            return False
        return True

    def forget(self, oldest_hour: int) -> None:
        """Forget hours that are older, and of many rows those of the oldest hours."""
        for who, hours in list(self.hours.items()):
            kept: dict[int, Hour] = {}
            rows = 0
            for hour in sorted(hours, reverse=True):
                rows += min(hours[hour].seen, self._most)
                if hour >= oldest_hour and (rows <= _MOST_ROWS or not kept):
                    kept[hour] = hours[hour]
            self.hours[who] = kept

    def _read_entry(self, entry: Entry, until: float, oldest_hour: int) -> bool:
        """Whether all of it was read."""
        manifest = entry.manifest
        if manifest is None:
            return self._read(entry.path, until, oldest_hour)
        if not self._read_parts(entry, manifest, until, oldest_hour):
            return False
        self._whole.add(entry.path)
        self._places.pop(entry.path, None)
        return True

    def _read_parts(self, entry: Entry, manifest: Manifest, until: float, oldest_hour: int) -> bool:
        """Go on behind what was read while it was a segment."""
        if self._parts is None or self._parts[0] != entry.path:
            self._parts = entry.path, positioned(entry.folder, manifest, EVERYTHING)
        for position, record in self._parts[1]:
            if position >= self._numbers.get(entry.path, 0):
                self._numbers[entry.path] = position + 1
                self._take_record(record, oldest_hour)
            if position % _STEP == 0 and time.monotonic() >= until:
                return False
        self._numbers.setdefault(entry.path, 0)
        self._parts = None
        return True

    def _read(self, path: Path, until: float, oldest_hour: int) -> bool:
        """Whether all of a segment was read."""
        size = _AT_ONCE
        with path.open("rb") as stream:
            while time.monotonic() < until:
                start, contexts = self._places.get(path, (HEADER_BYTES, {}))
                stream.seek(start)
                data = memoryview(stream.read(size))
                offset, number = self._read_frames(data, contexts, until, oldest_hour)
                self._places[path] = start + offset, contexts
                self._numbers[path] = self._numbers.get(path, 0) + number
                if len(data) < size and time.monotonic() < until:
                    return True
                if not offset:  # a frame that is larger still
                    size *= 2
        return False

    def _read_frames(self, data: memoryview, contexts: dict[int, Context], until: float,
                     oldest_hour: int) -> tuple[int, int]:
        """Take whole frames while there is time; where the next one begins, and how many predictions there were."""
        number = 0
        walk = Walk(data, contexts, 0)
        for payload in walk:
            if payload[0] == PREDICTION:
                self._take(payload, contexts, oldest_hour)
                number += 1
                if number % _STEP == 0 and time.monotonic() >= until:
                    break
        return walk.offset, number

    def _take(self, payload: memoryview, contexts: Mapping[int, Context], oldest_hour: int) -> None:
        number, rows, uuid = beginning(payload)
        hour = int.from_bytes(uuid[:6]) // HOUR_MS
        context = contexts.get(number)
        if context is None or hour < oldest_hour:
            return
        kept = self._hour(Who(context.model, context.version, context.role), hour)
        if kept is None:
            return
        kept.seen += rows
        first = int.from_bytes(blake2b(uuid, digest_size=8).digest())
        if rows == 1 and first >= kept.limit:  # so are most, where there are many
            return
        keys = _keys(first, rows)
        places = np.flatnonzero(keys < np.uint64(kept.limit))
        if len(places):
            kept.add(keys, places, decode_prediction(payload, contexts))

    def _take_record(self, record: PredictionRecord, oldest_hour: int) -> None:
        hour = int.from_bytes(record.prediction_uuid[:6]) // HOUR_MS
        kept = None if hour < oldest_hour else self._hour(Who(record.model, record.version, record.role), hour)
        if kept is None:
            return
        kept.seen += record.rows
        keys = _keys(int.from_bytes(blake2b(record.prediction_uuid, digest_size=8).digest()), record.rows)
        places = np.flatnonzero(keys < np.uint64(kept.limit))
        if len(places):
            kept.add(keys, places, record)

    def _hour(self, who: Who, hour: int) -> Hour | None:
        hours = self.hours.setdefault(who, {})
        if hour not in hours:
            looker = self._looker(who)
            if looker is None:
                return None
            hours[hour] = Hour(self._most, looker)
        return hours[hour]


def _keys(first: int, rows: int) -> NDArray[np.uint64]:
    """A uniform number for each row of a request: `first` for the first one, mixed with its place for others (by the
    finaliser of splitmix64)."""
    with np.errstate(over="ignore"):
        mixed = np.uint64(first) + _GOLDEN * np.arange(rows, dtype=np.uint64)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        mixed ^= mixed >> np.uint64(31)
    mixed[:1] = first
    return np.asarray(mixed)


def novel_share(parts: Iterable[Rows]) -> float | None:
    """The share of rows that at most 1 in 100 reference rows are as unusual as; None where that is unknown."""
    values = np.concatenate([np.zeros(0), *(part.novel for part in parts)])
    known = values[np.isfinite(values)]
    return float((known <= 0.01).mean()) if len(known) else None
