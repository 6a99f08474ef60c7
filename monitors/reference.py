"""The reference: the doors through which data becomes a profile of what is normal.

    Reference.from_frame(frame, target="repaid", time="timestamp")
    Reference.from_file("reference.parquet", target="repaid")
    Reference.from_arrays(inputs, outputs, signature=signature)
    Reference.from_chunks(read, signature=signature)

The data is read twice: once for a sample that says what is watched and where bins lie, once to count every row. Both
times it is read in chunks, so it may be larger than memory (a time column takes 16 bytes a row).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from serinus.monitors import frames
from serinus.monitors.builder import Options, Progress, build
from serinus.monitors.counts import Counts
from serinus.monitors.errors import InvalidData
from serinus.monitors.profile import Profile
from serinus.monitors.sample import Rows

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Learner", "Reference", "count_frame"]

Arrays = Mapping[str, NDArray[Any]]


class Reference:
    """Makes profiles. Every door takes these options as keywords:

    - `signature`: of the model, for labels, categories and the order of fields.
    - `personal`: what is done with personal fields, `{"name": "drop"}`. `drop`: not profiled. `hash`: categories have
      hashed names, texts no vocabulary, numbers are coarsened. `coarsen`: edges have two significant digits.
    - `seasons`: whether to keep counts per hour of working days and weekends too; needs times.
    - `joint`: whether to watch all numbers of a row together: novelty and 16 random projections.
    - `salt`: of the hashes of categories; a deployment's own keeps others from testing guesses.
    - `seed`: of everything random. The same data and options give the same digest.
    - `source`: facts to keep with the profile.
    - `progress`: called with a step's name, the rows done, and all rows once they are known.
    """

    @staticmethod
    def from_frame(
        frame: pd.DataFrame,
        target: str | None = None,
        time: str | None = None,
        group: str | None = None,
        *,
        outputs: Sequence[str] = (),
        **options: Any,
    ) -> Profile:
        """Make a profile of a DataFrame. Target, time and group columns are no features; `outputs` are columns that
        hold what the model answered.

        Raises InvalidData where a named column is missing or no profile can be made.
        """
        return _from_frames(lambda: frames.slices_of(frame), "frame", (target, time, group), outputs, options)

    @staticmethod
    def from_file(
        path: str | Path,
        target: str | None = None,
        time: str | None = None,
        group: str | None = None,
        *,
        outputs: Sequence[str] = (),
        **options: Any,
    ) -> Profile:
        """Make a profile of a CSV or Parquet file, read in chunks.

        Raises InvalidData where the file cannot be read or no profile can be made.
        """
        options["source"] = {"file": Path(path).name, **options.get("source", {})}
        return _from_frames(frames.frames_in(Path(path)), "file", (target, time, group), outputs, options)

    @staticmethod
    def from_arrays(
        inputs: Arrays, outputs: Arrays | None = None, *, times: NDArray[np.float64] | None = None, **options: Any
    ) -> Profile:
        """Make a profile of arrays by name, as requests and answers have them; `times` are seconds since 1970.

        Raises InvalidData where the arrays differ in their rows.
        """
        whole = Rows(inputs, outputs or {}, times)
        rows = whole.length
        if times is not None and len(times) != rows:
            raise InvalidData(f"A reference of {rows:,} rows needs as many times; got {len(times):,}.")
        cells = sum(array[:1].size for array in (*whole.inputs.values(), *whole.outputs.values()))
        step = frames.chunk_rows(cells)
        return _built(lambda: (_cut(whole, start, step) for start in range(0, rows, step)), "arrays", options)

    @staticmethod
    def from_chunks(read: Callable[[], Iterable[Rows]], **options: Any) -> Profile:
        """Make a profile of what `read()` yields, from the beginning at each of its two calls.

        Raises InvalidData where the chunks do not fit together.
        """
        return _built(read, "chunks", options)

    @staticmethod
    def learn(rows: int = 5000, **options: Any) -> Learner:
        """Give what learns a profile from the first live rows, where nobody has given a reference."""
        return Learner(rows, options)


def _from_frames(
    read: Callable[[], Iterable[pd.DataFrame]],
    kind: str,
    left_out: tuple[str | None, str | None, str | None],
    outputs: Sequence[str],
    options: dict[str, Any],
) -> Profile:
    named = zip(("target", "time", "group"), left_out, strict=True)
    facts = {role: column for role, column in named if column is not None}
    options["source"] = {**facts, **options.get("source", {})}
    first = next(iter(read()), None)
    if first is None:
        raise InvalidData("The reference has no rows; give one with at least a few hundred.")
    _check_columns(first, [*facts.values(), *outputs])
    options["categories"] = frozenset(str(name) for name in first.columns if _is_category(first, name))
    return _built(lambda: (_rows(frame, facts, outputs) for frame in read()), kind, options)


def _is_category(frame: pd.DataFrame, name: Any) -> bool:
    column = frame[name]
    return column.ndim == 1 and frames.is_category(column)


def _check_columns(frame: pd.DataFrame, names: Iterable[str]) -> None:
    for name in names:
        if name not in frame.columns:
            known = ", ".join(map(str, frame.columns[:20]))
            raise InvalidData(f"The reference has no column {name!r}; it has {known}.")


def _rows(frame: pd.DataFrame, facts: Mapping[str, str], outputs: Sequence[str]) -> Rows:
    time = facts.get("time")
    times = None if time is None else frames.times_of(frame[time])[0]
    arrays = frames.arrays_of(frame.drop(columns=list(set(facts.values()))))
    answers = {name: arrays.pop(name) for name in outputs}
    return Rows(arrays, answers, times)


def _cut(chunk: Rows, start: int, step: int) -> Rows:
    inputs, outputs = ({name: array[start : start + step] for name, array in side.items()} for side in chunk[:2])
    return Rows(inputs, outputs, None if chunk.times is None else chunk.times[start : start + step])


def _built(read: Callable[[], Iterable[Rows]], kind: str, options: dict[str, Any]) -> Profile:
    source = {"kind": kind, **options.pop("source", {})}
    progress: Progress | None = options.pop("progress", None)
    return build(read, Options(source=source, **options), progress)


@dataclass
class Learner:
    """Collects the first live rows, and makes a profile of them when there are enough.

    Rows that are already broken become the norm: whoever shows a learnt profile says so.

    Attributes:
        wanted: how many rows to learn from.
        options: those of `Reference`.
    """

    wanted: int = 5000
    options: Mapping[str, Any] = field(default_factory=dict)
    _chunks: list[Rows] = field(default_factory=list, repr=False)

    @property
    def rows(self) -> int:
        """How many rows were collected."""
        return sum(chunk.length for chunk in self._chunks)

    @property
    def complete(self) -> bool:
        """Whether there are enough."""
        return self.rows >= self.wanted

    def add(self, inputs: Arrays, outputs: Arrays | None = None, times: NDArray[np.float64] | None = None) -> None:
        """Take the rows of one request; those beyond what is wanted are left."""
        lacking = self.wanted - self.rows
        if lacking > 0:
            self._chunks.append(_cut(Rows(inputs, outputs or {}, times), 0, lacking))

    def profile(self) -> Profile:
        """Make the profile of what was collected."""
        reason = f"learnt from the first {self.rows:,} live rows"
        options = {**self.options, "source": {"kind": "live", "reason": reason}}
        return Reference.from_chunks(lambda: _aligned(self._chunks), **options)


def _aligned(chunks: Sequence[Rows]) -> Iterator[Rows]:
    """Chunks that all have every field: an optional one that a request left out is missing in its rows."""
    inputs = list(dict.fromkeys(name for chunk in chunks for name in chunk.inputs))
    outputs = list(dict.fromkeys(name for chunk in chunks for name in chunk.outputs))
    for chunk in chunks:
        rows = chunk.length
        yield Rows(_filled(chunk.inputs, inputs, rows), _filled(chunk.outputs, outputs, rows), chunk.times)


def _filled(arrays: Arrays, names: Sequence[str], rows: int) -> Arrays:
    return {name: arrays[name] if name in arrays else np.full(rows, None, object) for name in names}


def count_frame(profile: Profile, frame: pd.DataFrame) -> Counts:
    """Count a frame's rows with a profile's bins; columns that the profile does not know are left alone."""
    counts = profile.empty()
    outputs = {feature.field for feature in profile.features if feature.side == "output"}
    for part in frames.slices_of(frame):
        arrays = frames.arrays_of(part)
        answers = {name: array for name, array in arrays.items() if name in outputs}
        inputs = {name: array for name, array in arrays.items() if name not in outputs}
        found = profile.encoder.observe(inputs, answers)
        counts.add(found.codes, found.deviations)
    return counts
