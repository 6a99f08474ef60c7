"""Logged requests, answered again by another version: the cheapest canary."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serinus.models.model import Model
from serinus.monitors.evaluation.slices import parts_of
from serinus.monitors.evaluation.trial import prediction_field
from serinus.monitors.intervals import Interval, proportion
from serinus.monitors.record import PredictionRecord

__all__ = ["Disagreement", "Replayed", "replay"]

Arrays = Mapping[str, NDArray[Any]]
Progress = Callable[[str, int, int | None], None]
Clock = Callable[[], float]

_SHOWN = 20
_SLICES = 10
_LEAST = 50
_TOLERANCE = 1e-5


@dataclass(frozen=True)
class Disagreement:
    """How often the two answer otherwise in a part of the rows."""

    name: str
    rows: int
    differ: int
    interval: Interval


@dataclass(frozen=True)
class Replayed:
    """What became of logged requests.

    Attributes:
        requests, rows: how many were asked again.
        differ: rows with another answer; for numbers, with one that is further off than rounding is.
        interval: Wilson's, of their share.
        apart: for numbers the mean absolute difference in standard deviations of the logged answers; else None.
        errors: rows that the version refuses.
        first_error: why the first of them is refused.
        p50_ms, p99_ms: how long a request takes this version, without the server around it.
        slices: the parts of the rows where they differ most often.
        examples: prediction ids of rows with another answer.
    """

    requests: int
    rows: int
    differ: int
    interval: Interval | None
    apart: float | None
    errors: int
    first_error: str
    p50_ms: float | None
    p99_ms: float | None
    slices: tuple[Disagreement, ...]
    examples: tuple[str, ...]

    @property
    def share(self) -> float:
        """The share of answered rows with another answer."""
        return self.differ / max(self.rows - self.errors, 1)


@dataclass
class _Seen:
    requests: int = 0
    rows: int = 0
    errors: int = 0
    first_error: str = ""
    times: list[float] = field(default_factory=list)
    differ: list[NDArray[np.bool_]] = field(default_factory=list)
    before: list[NDArray[Any]] = field(default_factory=list)
    after: list[NDArray[Any]] = field(default_factory=list)
    inputs: list[Arrays] = field(default_factory=list)
    versions: list[NDArray[Any]] = field(default_factory=list)
    examples: list[str] = field(default_factory=list)


def replay(records: Iterable[PredictionRecord], model: Model, *, name_of: Callable[[bytes, int], str],
           clock: Clock, whole: int | None = None, progress: Progress | None = None) -> Replayed:
    """Ask a version what was asked before.

    Args:
        records: of the log.
        model: the version.
        name_of: gives a prediction id, of a request's bytes and a row.
        clock: gives seconds.
        whole: how many rows there are, if that is known.
        progress: is told how far it is.
    """
    seen = _Seen()
    output = prediction_field(model.signature)
    labels = not output.datatype.startswith("FP") or output.labels is not None
    for record in records:
        _again(record, model, output.name, labels, name_of, clock, seen)
        if progress is not None:
            progress("replay", seen.rows, whole)
    return _summed_up(seen, labels)


def _again(record: PredictionRecord, model: Model, output: str, labels: bool,
           name_of: Callable[[bytes, int], str], clock: Clock, seen: _Seen) -> None:
    seen.requests += 1
    seen.rows += record.rows
    start = clock()
    try:
        after = model.predict(record.inputs)[output].reshape(-1)
    except Exception as error:  # whatever a model raises is its way to refuse
        seen.errors += record.rows
        seen.first_error = seen.first_error or " ".join(str(error).split())[:200] or type(error).__name__
        return
    seen.times.append((clock() - start) * 1e3)
    before = record.outputs.get(output)
    if before is None:
        return
    before = before.reshape(-1)
    differ = _differ(before, after, labels)
    seen.differ.append(differ)
    seen.before.append(before)
    seen.after.append(after)
    seen.inputs.append(record.inputs)
    seen.versions.append(np.full(len(differ), record.version, object))
    room = _SHOWN - len(seen.examples)
    seen.examples += [name_of(record.prediction_uuid, int(row)) for row in np.flatnonzero(differ)[:max(room, 0)]]


def _differ(before: NDArray[Any], after: NDArray[Any], labels: bool) -> NDArray[np.bool_]:
    if len(before) != len(after):
        return np.ones(max(len(before), 1), bool)
    if labels:
        return np.array([str(one) != str(other) for one, other in zip(before.tolist(), after.tolist(), strict=True)],
                        bool)
    one, other = before.astype(np.float64), after.astype(np.float64)
    with np.errstate(invalid="ignore"):
        return ~(np.isclose(one, other, rtol=_TOLERANCE, atol=_TOLERANCE, equal_nan=True))


def _summed_up(seen: _Seen, labels: bool) -> Replayed:
    differ = np.concatenate(seen.differ) if seen.differ else np.zeros(0, bool)
    count = int(differ.sum())
    p50, p99 = (float(value) for value in np.quantile(seen.times, (0.5, 0.99))) if seen.times else (None, None)
    return Replayed(seen.requests, seen.rows, count, proportion(count, len(differ)), _apart(seen, labels),
                    seen.errors, seen.first_error, p50, p99, tuple(_slices(seen, differ)), tuple(seen.examples))


def _apart(seen: _Seen, labels: bool) -> float | None:
    if labels or not seen.before:
        return None
    before = np.concatenate(seen.before).astype(np.float64)
    after = np.concatenate(seen.after).astype(np.float64)
    if len(before) != len(after):
        return None
    known = np.isfinite(before) & np.isfinite(after)
    spread = float(before[known].std()) if known.any() else 0.0
    return float(np.abs(after - before)[known].mean()) / (spread or 1.0) if known.any() else None


def _slices(seen: _Seen, differ: NDArray[np.bool_]) -> Iterator[Disagreement]:
    """The parts of single inputs, and the versions that answered before, where they differ most often."""
    if not len(differ):
        return
    names = [name for name in seen.inputs[0] if all(name in each and each[name].ndim == 1 for each in seen.inputs)]
    columns = {name: np.concatenate([each[name] for each in seen.inputs]) for name in names}
    columns["version"] = np.concatenate(seen.versions)
    parts = [part for part in parts_of(columns, list(columns)) if part.rows.sum() >= _LEAST]
    parts.sort(key=lambda part: -float(differ[part.rows].mean()))
    for part in parts[:_SLICES]:
        rows, count = int(part.rows.sum()), int(differ[part.rows].sum())
        ends = proportion(count, rows)
        if ends is not None:
            yield Disagreement(part.name, rows, count, ends)
