"""The ad hoc report: two batches of any size, compared feature by feature, with no server.

    Report.of(reference, current)                          # frames, in a notebook
    Report.of_files("january.parquet", "march.csv", target="repaid", time="created")
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from serinus.monitors import frames
from serinus.monitors.counts import Counts
from serinus.monitors.distances import Distance, distance_named
from serinus.monitors.errors import InvalidData
from serinus.monitors.personal_data import found_in
from serinus.monitors.profile import Profile
from serinus.monitors.reference import Reference
from serinus.monitors.report.comparison import Comparison, Verdict, WindowComparison, compare, compare_windows
from serinus.monitors.report.periods import Periods, check_period
from serinus.monitors.windows import LEVEL, WindowTest, smallest_shift

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["EFFECT", "FORMAT", "Report"]

FORMAT = 1

EFFECT = 0.01
"""The smallest corrected PSI that matters: about that of a shift by a tenth of a standard deviation."""

Progress = Callable[[str, int, int | None], None]


@dataclass(frozen=True)
class _How:
    """How batches are compared; `Report.of` says what each means."""

    distance: str | None = None
    level: float = LEVEL
    effect: float = EFFECT
    window: str | None = None
    names: tuple[str, str] = ("reference", "current")
    progress: Progress | None = None

    def __post_init__(self) -> None:
        """Refuse names that nobody knows before anything is read."""
        if self.distance is not None:
            distance_named(self.distance)
        check_period(self.window)


@dataclass(frozen=True)
class Batch:
    """One side of a report.

    Attributes:
        name: a file's name, or "reference" and "current".
        rows: how many rows it has.
        span: its first and last time in ISO 8601, where a time column was named.
    """

    name: str
    rows: int
    span: tuple[str, str] | None = None


@dataclass(frozen=True)
class Report:
    """What became of a reference: a verdict, and the facts of every feature.

    Attributes:
        reference, current: the two batches.
        features: the features, those that changed most first.
        windows: the current batch by time, where a time column was named.
        period: how long each of them is.
        level: the chance that a batch of an unchanged population names any feature.
        effect: the corrected PSI below which a change does not matter.
        distance: the distance that judged; None for the window test.
        smallest: the shift of a mean, in standard deviations, that this many rows would show.
        notes: what a reader should know.
        digest: of the reference's profile.
    """

    reference: Batch
    current: Batch
    features: tuple[Comparison, ...]
    windows: tuple[WindowComparison, ...] = ()
    period: str = ""
    level: float = LEVEL
    effect: float = EFFECT
    distance: str | None = None
    smallest: float = float("inf")
    notes: tuple[str, ...] = ()
    digest: str = ""

    @classmethod
    def of(
        cls,
        reference: pd.DataFrame | Profile,
        current: pd.DataFrame,
        target: str | None = None,
        time: str | None = None,
        group: str | None = None,
        *,
        outputs: Sequence[str] = (),
        **how: Any,
    ) -> Report:
        """Compare two frames, or a frame with a profile.

        Args:
            reference: what normal is. Of a frame's columns that seem to hold personal data (`personal_data.found_in`)
                no value is told: categories are hashes, numbers coarse.
            current: what is to be judged.
            target, outputs: columns that hold the outcome and what a model answered; they may lack in `current`.
            time: a column of times; the report then shows windows of time. It is no feature.
            group: a column of ids, which is no feature.
            how: `distance` that judges (by name; else the window test), `level` and `effect` of the verdict, `window`
                of time (hour, day, week, month, quarter, year), `names` of the two batches, `progress` that is called
                with a step, the rows done, and all rows once they are known.

        Raises InvalidData where a column is missing or the data cannot be read, UnknownDistance for such a name.
        """
        asked = _How(**how)
        profile = reference if isinstance(reference, Profile) else Reference.from_frame(
            reference, time=time, group=group, outputs=_outputs(target, outputs), progress=asked.progress,
            personal=_personal(reference))
        return _report(profile, frames.slices_of(current), time, asked)

    @classmethod
    def of_files(
        cls,
        reference: str | Path,
        current: str | Path,
        target: str | None = None,
        time: str | None = None,
        group: str | None = None,
        *,
        outputs: Sequence[str] = (),
        **how: Any,
    ) -> Report:
        """Compare two CSV or Parquet files of any size, read in chunks; see `of`."""
        asked, first, second = _How(**how), Path(reference), Path(current)
        chunks = frames.frames_in(second)  # a wrong name is told before the first file is read
        personal = _personal(next(iter(frames.frames_in(first)()), None))
        profile = Reference.from_file(first, time=time, group=group, outputs=_outputs(target, outputs),
                                      progress=asked.progress, personal=personal)
        return _report(profile, chunks(), time, replace(asked, names=(first.name, second.name)))

    @property
    def changed(self) -> tuple[Comparison, ...]:
        """The features that drifted or are gone."""
        return tuple(feature for feature in self.features if feature.changed)

    @property
    def drifted(self) -> bool:
        """Whether there are any."""
        return bool(self.changed)

    @property
    def sentence(self) -> str:
        """The verdict in one sentence."""
        judged = [each for each in self.features if each.verdict is not Verdict.UNKNOWN and each.side != "joint"]
        changed = [each for each in self.changed if each.side != "joint"]
        if not judged:
            return "Nothing can be said: no feature could be compared."
        if changed:
            named = ", ".join(f"{each.name} ({each.change})" if each.change else each.name for each in changed[:3])
            more = f" and {len(changed) - 3} more" if len(changed) > 3 else ""
            return f"Drift in {len(changed)} of {_counted(len(judged), 'feature')}: {named}{more}."
        if self.drifted:
            return "Drift of the combination: each feature is as it was, and how they go together has changed."
        return f"No drift: {_counted(len(judged), 'feature')} compared, and none has changed by what matters."

    def to_json(self) -> dict[str, Any]:
        """Give all facts of the page as JSON values."""
        return {
            "format": FORMAT,
            "drifted": self.drifted,
            "verdict": self.sentence,
            "reference": {**asdict(self.reference), "digest": self.digest},
            "current": asdict(self.current),
            "level": self.level,
            "effect": self.effect,
            "distance": self.distance,
            "smallest_shift": self.smallest if np.isfinite(self.smallest) else None,
            "features": [feature.to_json() for feature in self.features],
            "period": self.period or None,
            "windows": [{**asdict(window), "psi": dict(zip((each.name for each in self.features), window.psi,
                                                           strict=True))} for window in self.windows],
            "notes": list(self.notes),
        }

    def to_html(self) -> str:
        """Give the report as one HTML page that needs nothing else."""
        from serinus.monitors.report.page import page

        return page(self)

    def _repr_html_(self) -> str:
        """Show the report in a notebook, in a frame of its own: its style stays its own."""
        from html import escape

        return (f'<iframe title="Drift report" style="width:100%;height:720px;border:0" '
                f'srcdoc="{escape(self.to_html())}"></iframe>')


def _outputs(target: str | None, outputs: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*outputs, *([target] if target is not None else []))))


def _personal(frame: pd.DataFrame | None) -> dict[str, str]:
    """Whose values no report tells: what seems to be personal among a reference's first rows."""
    return {} if frame is None else {found.column: "hash" for found in found_in(frame)}


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}" + ("s" if count != 1 else "")


def _report(profile: Profile, chunks: Iterable[pd.DataFrame], time: str | None, how: _How) -> Report:
    distance: Distance | None = None if how.distance is None else distance_named(how.distance)
    seen = _Seen(profile, time, how.window)
    for frame in chunks:
        seen.add(frame)
        if how.progress is not None:
            how.progress("comparing the current data", seen.counts.rows, None)
    if not seen.counts.rows:
        raise InvalidData("The current data has no rows; give a batch with at least one.")
    test = WindowTest.of(profile.blocks, profile.ordered)
    limits = {"effect": how.effect, "level": how.level}
    every = compare(profile, seen.counts, test, distance=distance, absent=seen.absent, **limits)
    order = sorted(range(len(every)), key=partial(_rank, every))
    windows = compare_windows(profile, seen.windows, test, every, **limits)
    return Report(
        Batch(how.names[0], profile.rows, profile.span),
        Batch(how.names[1], seen.counts.rows, seen.span),
        tuple(every[row] for row in order),
        tuple(_reordered(window, order) for window in windows),
        seen.period,
        how.level,
        how.effect,
        None if distance is None else distance.name,
        smallest_shift(seen.counts.rows, profile.rows, len(every), how.level),
        (*profile.notes, *seen.notes),
        profile.digest,
    )


def _rank(every: Sequence[Comparison], row: int) -> tuple[int, float, int]:
    """The gone first, then the drifted by their effect; joint features after those that have a name in the data."""
    one = every[row]
    group = {Verdict.ABSENT: 0, Verdict.DRIFTED: 1, Verdict.SLIGHT: 2, Verdict.SAME: 3, Verdict.UNKNOWN: 4}
    return group[one.verdict], -(one.psi or 0.0) if one.side != "joint" else 1.0, row


def _reordered(window: WindowComparison, order: Sequence[int]) -> WindowComparison:
    return WindowComparison(window.start, window.rows, window.drifted, tuple(window.psi[row] for row in order))


class _Seen:
    """The current batch, counted as it is read."""

    def __init__(self, profile: Profile, time: str | None, window: str | None) -> None:
        self.counts = profile.empty()
        self.notes: list[str] = []
        self.absent: frozenset[str] = frozenset()
        self._profile, self._time = profile, time
        self._outputs = {feature.field for feature in profile.features if feature.side == "output"}
        self._periods = Periods(len(profile.features), window) if time is not None else None
        self._range = (np.inf, -np.inf)
        self._known = False

    @property
    def windows(self) -> Mapping[Any, Counts]:
        """Counts by the beginning of their window of time."""
        return {} if self._periods is None else self._periods.windows()

    @property
    def period(self) -> str:
        """How long the windows are; empty where there are none."""
        return self._periods.period if self._periods is not None else ""

    @property
    def span(self) -> tuple[str, str] | None:
        """First and last time."""
        if self._range[0] > self._range[1]:
            return None
        first, last = (np.datetime64(int(time), "s") for time in self._range)
        return f"{first}Z", f"{last}Z"

    def add(self, frame: pd.DataFrame) -> None:
        """Count one chunk."""
        if not self._known:
            self._look(frame)
        arrays = frames.arrays_of(frame)
        outputs = {name: array for name, array in arrays.items() if name in self._outputs}
        inputs = {name: array for name, array in arrays.items() if name not in outputs}
        found = self._profile.encoder.observe(inputs, outputs)
        self.counts.add(found.codes, found.deviations)
        if self._periods is not None and self._time is not None:
            times = self._times(frame)
            self._periods.add(times, found)

    def _look(self, frame: pd.DataFrame) -> None:
        """See from the first chunk which columns there are."""
        self._known = True
        columns = [str(name) for name in frame.columns]
        fields = {feature.field for feature in self._profile.features if feature.field}
        self.absent = frozenset(fields - set(columns))
        if self.absent == fields:
            have = ", ".join(columns[:20])
            raise InvalidData(f"The current data has none of the reference's columns; it has {have}.")
        if self._time is not None and self._time not in columns:
            self.notes.append(f"The current data has no time column {self._time!r}, so no windows of time are shown.")
            self._time, self._periods = None, None
        left_out = {str(self._profile.source.get(role)) for role in ("target", "time", "group")}
        new = [name for name in columns if name not in fields | left_out | set(self._profile.columns)]
        if new:
            more = f" and {len(new) - 10} more" if len(new) > 10 else ""
            self.notes.append(f"New columns, which the reference lacks: {', '.join(new[:10])}{more}.")

    def _times(self, frame: pd.DataFrame) -> Any:
        times, clock = frames.times_of(frame[self._time])
        if not clock:
            self.notes.append(f"The column {self._time!r} holds numbers, no times, so no windows of time are shown.")
            self._periods, self._time = None, None
            return np.full(len(frame), np.nan)
        known = times[np.isfinite(times)]
        if len(known):
            self._range = min(self._range[0], float(known.min())), max(self._range[1], float(known.max()))
        return times
