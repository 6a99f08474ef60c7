"""Drift: a monitor, fed with counts, says whether live rows still look like the reference, and how sure it is.

    reference = Reference.from_frame(frame, target="repaid", time="timestamp")
    monitor = DriftMonitor(reference, run_length=1_000_000)
    state = monitor.observe(live_frame)
    state.alarm, state.evidence, state.features[0].name, state.since

Three views of the same counts: the e-detector gives the alarm, at most one false one in `run_length` rows on average;
tumbling windows of 64 to 16,384 rows and of hours, days and weeks give charts and effects; the trailing reference
tells what changed just now. After an alarm the evidence begins anew, and the alarm stays open until a window of 4,096
rows no longer shows the alarm's features changed and the evidence stays below half.

The monitor is deterministic: the same counts in the same steps give the same verdict, also across `to_json`. The server
adds the counts of all workers per second and calls `apply` in the order of the seconds, so neither the order in which
they arrived nor the number of workers matters. A step is taken when at least 64 rows came together.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from serinus.monitors import frames
from serinus.monitors.contrasts import LOCATION, SCALE, shares
from serinus.monitors.counts import Counts
from serinus.monitors.detectors import GROUPS, TOO_WIDE, Detectors, estimated, weights_of, width
from serinus.monitors.distances.boundaries import boundaries_of
from serinus.monitors.distances.wasserstein import Wasserstein
from serinus.monitors.drift_state import WARM_UP, DriftState, FeatureState, Finding, Severity
from serinus.monitors.errors import InvalidData
from serinus.monitors.features import MISSING, UNSEEN
from serinus.monitors.packing import squeeze, unsqueeze
from serinus.monitors.profile import Profile
from serinus.monitors.reference import count_frame
from serinus.monitors.self_check import SelfCheck
from serinus.monitors.sequential.e_detector import Evidence
from serinus.monitors.trailing import Trailing
from serinus.monitors.tumbling import Tumbling, Window
from serinus.monitors.windows import LEVEL, WindowResult, WindowTest, smallest_shift, wilson

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["STEP", "DriftMonitor", "DriftState", "FeatureState", "Finding"]

FORMAT = 1

STEP = 64
"""Rows of a step, at least."""

_SHORT = 256
"""Rows of the window in which a column is lost that has nothing but missing or unseen values."""
_LONG = 4_096
"""Rows of the window that closes an alarm."""
_ACT = 0.1
"""From this corrected PSI on, an alarm asks for action."""
_WARN = 0.5
_CHECKPOINTS = 256


@dataclass(frozen=True, slots=True)
class _Alarm:
    """An open alarm."""

    row: int
    since_row: int
    since: float | None
    features: tuple[str, ...]
    directions: tuple[str, ...]
    severity: Severity


class DriftMonitor:
    """Watches one stream of rows against one reference.

    Args:
        reference: the profile.
        run_length: mean number of observed rows until a false alarm, at least.
        tolerance: how far a contrast's mean may lie from the reference's in any case, as a difference of shares.
        check: the profile's self-check, whose raised dead zones and dispersion are taken over.

    Example:
        >>> import pandas as pd
        >>> from serinus.monitors.reference import Reference
        >>> reference = Reference.from_frame(pd.DataFrame({"age": [float(i * 7 % 60) for i in range(6_000)]}))
        >>> monitor = DriftMonitor(reference)
        >>> monitor.observe(pd.DataFrame({"age": [float(i * 7 % 60) for i in range(1_000)]})).alarm
        False
        >>> monitor.observe(pd.DataFrame({"age": [float(i * 7 % 30) for i in range(1_000)]})).alarm
        True
    """

    def __init__(
        self,
        reference: Profile,
        run_length: float = 1_000_000.0,
        *,
        tolerance: float = 0.0,
        check: SelfCheck | None = None,
    ) -> None:
        if not run_length >= STEP:
            raise InvalidData(f"run_length: wanted {STEP} rows or more until a false alarm, got {run_length}.")
        if check is not None and check.digest != reference.digest:
            raise InvalidData(f"This self-check is of profile {check.digest[:19]}, not of {reference.digest[:19]}.")
        self.reference, self.run_length, self.tolerance, self.check = reference, float(run_length), tolerance, check
        raised = None if check is None else np.array(check.raised)
        self._detectors = Detectors(reference, self.run_length, tolerance, raised)
        self._test = check.test(reference) if check else _test_of(reference)
        self._boundaries = boundaries_of(reference.features)
        self._shifts = reference.tally().shifts()
        self._reasons = self._why_not()
        self.reset()

    def reset(self) -> None:
        """Forget all rows, alarms and windows; the reference stays."""
        self._evidence = self._detectors.pooled.start()
        self._pending = self.reference.empty()
        self._rows = self._alarm_row = self._alarms = 0
        self._interval: int | None = None
        self._time: float | None = None
        self._alarm: _Alarm | None = None
        self._checkpoints: list[tuple[int, float]] = []
        self._windows = Tumbling(self._test, self.reference.names, self.run_length)
        self._trailing = Trailing(self._test, self.run_length)

    def observe(self, rows: pd.DataFrame | Counts, time: float | None = None) -> DriftState:
        """Take rows in the order in which they came, and tell where the stream stands.

        A frame's rows are counted in steps of 64, or of 1/512 of a large frame; its time column, if the reference had
        one, tells when. Counts are one step (with what is pending), `time` is when they ended.
        """
        for counts, when in [(rows, time)] if isinstance(rows, Counts) else self._steps(rows, time):
            self._add(counts, when)
        return self.state

    def apply(self, interval: int, counts: Counts, time: float | None = None) -> bool:
        """Take the counts of one interval, of all workers together; False if this or a later one was taken before.

        Intervals are numbers that rise with time; `time` is the Unix time that stands for it.
        """
        if self._interval is not None and interval <= self._interval:
            return False
        self._add(counts, time)
        self._interval = interval
        return True

    def test_window(self, rows: pd.DataFrame | Counts, level: float = LEVEL) -> WindowResult:
        """Compare some rows with the reference by themselves; nothing is remembered."""
        counts = rows if isinstance(rows, Counts) else count_frame(self.reference, rows)
        return self._test.test(counts.table, level)

    def _steps(self, frame: pd.DataFrame, time: float | None) -> Iterator[tuple[Counts, float | None]]:
        rows = max(STEP, len(frame) // 512)
        times = self._times(frame)
        for start in range(0, len(frame), rows):
            part = frame.iloc[start : start + rows]
            yield count_frame(self.reference, part), time if times is None else float(times[start + len(part) - 1])

    def _times(self, frame: pd.DataFrame) -> NDArray[np.float64] | None:
        column = self.reference.source.get("time")
        if column is None or column not in frame.columns:
            return None
        times, clock = frames.times_of(frame[column])
        return times if clock and not np.isnan(times).any() else None

    def _add(self, counts: Counts, time: float | None) -> None:
        if counts.features != len(self.reference.features):
            raise InvalidData(
                f"These counts have {counts.features} features, the reference {len(self.reference.features)}; "
                "count with the reference's encoder."
            )
        self._pending = self._pending + counts
        self._time = self._time if time is None else time
        if self._pending.rows >= STEP:
            step, self._pending = self._pending, self.reference.empty()
            self._step(step)

    def _step(self, counts: Counts) -> None:
        detector = self._detectors.at(self._time)
        self._evidence = detector.step(self._evidence, counts.table)
        self._rows += counts.rows
        self._note_time()
        expected = self._detectors.expected(self._time) if self._detectors.seasonal else None
        finished = self._windows.add(counts, self._rows, self._time, expected)
        self._trailing.observe(counts.table)
        if detector.alarms(self._evidence):
            self._give_alarm()
        elif _SHORT in finished and (lost := self._lost(finished[_SHORT].counts)):
            self._give_alarm(lost)
        elif self._alarm is not None and _LONG in finished:
            self._close_alarm(self._alarm, finished[_LONG].result(self._test, LEVEL))

    def _note_time(self) -> None:
        if self._time is not None:
            self._checkpoints.append((self._rows, self._time))
        if len(self._checkpoints) > _CHECKPOINTS:
            # The older half is thinned: the further back, the coarser.
            half = _CHECKPOINTS // 2
            self._checkpoints = self._checkpoints[:half:2] + self._checkpoints[half:]

    def _time_of(self, row: int) -> float | None:
        """Return the latest known time at or before a row, else the first."""
        known = [time for at, time in self._checkpoints if at <= row]
        return known[-1] if known else next((time for _, time in self._checkpoints), None)

    def _lost(self, counts: Counts) -> list[int]:
        """Return features of which nothing but missing or unseen values came, and that no alarm names yet.

        In a restless reference the dead zone may cover even that; it is an alarm all the same.
        """
        ends = [MISSING, UNSEEN]
        gone = counts.table[:, ends].sum(-1) == counts.rows
        usual = self.reference.counts[:, ends].sum(-1) >= self.reference.counts.sum(-1) / 2
        named = self._alarm.features if self._alarm else ()
        watched = self._detectors.pooled.weights > 0
        return [int(i) for i in np.flatnonzero(gone & ~usual & watched) if self.reference.names[i] not in named]

    def _give_alarm(self, lost: Sequence[int] = ()) -> None:
        """Open an alarm, or add to the open one; the evidence begins anew."""
        detector = self._detectors.at(self._time)
        strength = detector.log_features(self._evidence)
        top = lost[0] if lost else int((strength + _log(detector.weights)).argmax())
        contrast, sign, age = detector.best_bets(self._evidence)
        window = self._windows.recent(age[top])
        result = window.result(self._test, LEVEL)
        named = detector.certain(self._evidence) | (result.drifted & (detector.weights > 0))
        named[[top, *lost]] = True
        # A joint feature tells that something moved together, its inputs tell what.
        joint = np.array([feature.side == "joint" for feature in self.reference.features])
        order = [int(i) for i in np.lexsort((-strength, joint)) if named[i]]
        words = {self.reference.names[i]: self._direction(i, contrast[i], sign[i], window.counts) for i in order}
        act = result.psi[named].max() >= _ACT
        self._alarm = self._joined(words, max(self._rows - int(age[top]), 0), "act" if act else "alarm")
        self._alarms += 1
        self._alarm_row = self._rows
        self._evidence = detector.start()

    def _joined(self, words: dict[str, str], since_row: int, severity: Severity) -> _Alarm:
        before = self._alarm
        if before is None:
            return _Alarm(
                self._rows, since_row, self._time_of(since_row), tuple(words), tuple(words.values()), severity
            )
        words = {**dict(zip(before.features, before.directions, strict=True)), **words}
        severity = "act" if "act" in (before.severity, severity) else "alarm"
        return _Alarm(self._rows, before.since_row, before.since, tuple(words), tuple(words.values()), severity)

    def _close_alarm(self, alarm: _Alarm, result: WindowResult) -> None:
        """Close the alarm if a whole window after it shows none of its features changed."""
        known = dict(zip(self.reference.names, result.p.tolist(), strict=True))
        quiet = all(known[name] > LEVEL for name in alarm.features)
        after = self._rows - result.rows >= alarm.row
        if quiet and after and self._detectors.at(self._time).meter(self._evidence) < _WARN:
            self._alarm = None

    def _why_not(self) -> tuple[str, ...]:
        """Return for each feature why the run length does not hold for it, or an empty text."""
        profile = self.reference
        small = width(profile.counts, profile.ordered, estimated(profile)) > TOO_WIDE
        wide = width(profile.counts, profile.ordered, self._detectors.pooled.dead_zone) > TOO_WIDE
        texts = np.where(small, "reference too small to monitor", "")
        texts = np.where(wide & ~small, "wanders too much in the reference to monitor at the stated rate", texts)
        return tuple(one.reason or str(text) for one, text in zip(profile.features, texts, strict=True))

    def _direction(self, index: int, contrast: int, sign: int, counts: Counts) -> str:
        """Say in words what a bet won on."""
        p, q = shares(self.reference.counts[index]), shares(counts.table[index])
        if contrast == LOCATION:
            return f"{'up' if sign > 0 else 'down'} {abs(counts.shifts()[index] - self._shifts[index]):.2g} sd"
        if contrast == SCALE:
            return "wider" if sign > 0 else "narrower"
        code = int(contrast) - 2
        label = self.reference.features[index].labels[code]
        what = label if code in (MISSING, UNSEEN) else f"{'more' if sign > 0 else 'less'} {label!r}"
        return f"{what} {100 * p[code]:.3g} % → {100 * q[code]:.3g} %"

    @property
    def alarms(self) -> int:
        """How many alarms were given so far; cheaper to ask for than the state."""
        return self._alarms

    @property
    def recent(self) -> Counts:
        """The rows that features are told of: as far back as the strongest bet grew, or since the open alarm."""
        counts = self._recent().counts
        return counts if counts.rows else self._pending

    def _recent(self) -> Window:
        detector = self._detectors.at(self._time)
        meters, (_, _, age) = detector.meters(self._evidence), detector.best_bets(self._evidence)
        strongest = float(age[int(meters.argmax())]) if len(meters) else 0.0
        return self._windows.recent(self._rows - self._alarm.row if self._alarm else strongest)

    @property
    def state(self) -> DriftState:
        """Where the stream stands."""
        detector = self._detectors.at(self._time)
        meter = 1.0 if self._alarm else detector.meter(self._evidence)
        features = self._features()
        sides: dict[str, list[float]] = {side: [] for side in GROUPS}
        for feature in features:
            sides[feature.side].append(feature.evidence)
        severity: Severity = self._alarm.severity if self._alarm else ("warn" if meter >= _WARN else "ok")
        since_alarm = self._rows - self._alarm_row
        watched = int((detector.weights > 0).sum())
        return DriftState(
            alarm=self._alarm is not None,
            severity=severity,
            evidence=meter,
            text=self._text(meter),
            features=features,
            since=self._alarm.since if self._alarm else None,
            since_row=self._alarm.since_row if self._alarm else None,
            rows=self._rows + self._pending.rows,
            rows_since_alarm=since_alarm + self._pending.rows,
            alarms=self._alarms,
            run_length=self.run_length,
            smallest_shift=smallest_shift(since_alarm, self.reference.rows, watched),
            groups={side: max(found) for side, found in sides.items() if found},
            windows=self._windows.summaries,
            findings=self._findings(meter, features),
            reference=self.reference.digest,
        )

    def _text(self, meter: float) -> str:
        rows = self._rows + self._pending.rows
        if self._alarm:
            told = zip(self._alarm.features[:3], self._alarm.directions, strict=False)
            more = f" and {len(self._alarm.features) - 3} more" if len(self._alarm.features) > 3 else ""
            listed = "; ".join(f"{name} {direction}".strip() for name, direction in told)
            return f"Drift since row {self._alarm.since_row:,}: {listed}{more}."
        if rows < WARM_UP:
            return f"collecting {rows}/{WARM_UP}"
        return f"No drift in {rows - self._alarm_row:,} rows; evidence {meter:.0%}."

    def _findings(self, meter: float, features: tuple[FeatureState, ...]) -> tuple[Finding, ...]:
        found = []
        if self._alarm:
            one = self._alarm
            found.append(Finding("drift", one.severity, self._text(meter), one.features, one.since, one.since_row, 1.0))
        elif meter >= _WARN:
            top = features[0]
            text = f"Evidence of drift at {meter:.0%}, most of it in {top.name} {top.direction}".rstrip() + "."
            found.append(Finding("drift", "warn", text, (top.name,), top.since, top.since_row, meter))
        sudden = self._trailing.result
        if sudden is not None and sudden.alarm:
            order = [int(i) for i in np.argsort(sudden.p, kind="stable") if sudden.drifted[i]]
            names = tuple(self.reference.names[i] for i in order)
            text = f"The latest {sudden.rows:,} rows differ from those before them in {', '.join(names[:3])}."
            row = self._trailing.start_of(self._rows)
            found.append(Finding("sudden_change", "warn", text, names, self._time_of(row), row, 1.0))
        return tuple(found)

    def _features(self) -> tuple[FeatureState, ...]:
        """Return all features: those of the alarm, then by evidence, then by effect."""
        detector = self._detectors.at(self._time)
        meters, certain = detector.meters(self._evidence), detector.certain(self._evidence)
        contrast, sign, age = detector.best_bets(self._evidence)
        window, counts = self._recent(), self.recent
        result = Window(counts, 0, window.expected).result(self._test, LEVEL)
        q, p = shares(counts.table), shares(self.reference.counts)
        with np.errstate(invalid="ignore", over="ignore"):
            moved = Wasserstein().values(self.reference.counts, counts.table, self._boundaries)
        shift = np.where(self.reference.ordered, counts.shifts() - self._shifts, 0.0)
        opened = dict(zip(self._alarm.features, self._alarm.directions, strict=True)) if self._alarm else {}
        told = []
        for i, feature in enumerate(self.reference.features):
            grows = meters[i] > 0
            row = max(self._rows - int(age[i]), 0) if grows else None
            words = self._direction(i, contrast[i], sign[i], counts) if grows or result.drifted[i] else ""
            told.append(
                FeatureState(
                    name=feature.name,
                    side=feature.side,
                    evidence=1.0 if feature.name in opened else float(meters[i]),
                    certain=bool(certain[i]),
                    drifted=feature.name in opened,
                    effect=float(result.psi[i]),
                    shift=float(shift[i]),
                    direction=opened.get(feature.name) or words,
                    missing=float(q[i, MISSING]),
                    missing_reference=float(p[i, MISSING]),
                    missing_interval=wilson(float(counts.table[i, MISSING]), counts.rows),
                    unseen=float(q[i, UNSEEN]),
                    unseen_reference=float(p[i, UNSEEN]),
                    wasserstein=float(moved[i]) if feature.kind == "numeric" and np.isfinite(moved[i]) else None,
                    since_row=row,
                    since=None if row is None else self._time_of(row),
                    monitorable=not self._reasons[i],
                    reason=self._reasons[i],
                )
            )
        ranks = {name: rank for rank, name in enumerate(opened)}
        last = len(ranks)
        return tuple(sorted(told, key=lambda one: (ranks.get(one.name, last), -one.evidence, -one.effect)))

    def to_json(self) -> dict[str, Any]:
        """Give all that was gathered as JSON values, for `from_json` with the same reference."""
        return {
            "format": FORMAT,
            "reference": self.reference.digest,
            "run_length": self.run_length,
            "rows": self._rows,
            "alarm_row": self._alarm_row,
            "alarms": self._alarms,
            "interval": self._interval,
            "time": self._time,
            "alarm": None if self._alarm is None else asdict(self._alarm),
            "evidence": {"bets": squeeze(self._evidence.bets), "age": squeeze(self._evidence.age)},
            "pending": self._pending.to_json(),
            "checkpoints": [list(each) for each in self._checkpoints],
            "windows": self._windows.to_json(),
            "trailing": self._trailing.to_json(),
        }

    @classmethod
    def from_json(
        cls, document: Mapping[str, Any], reference: Profile, *, tolerance: float = 0.0, check: SelfCheck | None = None
    ) -> DriftMonitor:
        """Go on where `to_json` was called. Raises InvalidData for another format or another reference."""
        if document.get("format") != FORMAT:
            raise InvalidData(
                f"This monitor's state has format {document.get('format')!r}, and this Serinus reads format {FORMAT}; "
                "begin anew."
            )
        if document["reference"] != reference.digest:
            raise InvalidData(
                f"This monitor's state was gathered against profile {document['reference'][:19]}, "
                f"not {reference.digest[:19]}; begin anew with the new reference."
            )
        monitor = cls(reference, document["run_length"], tolerance=tolerance, check=check)
        monitor._restore(document)
        return monitor

    def _restore(self, document: Mapping[str, Any]) -> None:
        self._rows, self._alarm_row, self._alarms, self._interval, self._time = (
            document[name] for name in ("rows", "alarm_row", "alarms", "interval", "time")
        )
        alarm = document["alarm"]
        if alarm is not None:
            lists = {name: tuple(alarm[name]) for name in ("features", "directions")}
            self._alarm = _Alarm(**{**alarm, **lists})
        self._evidence = Evidence(*(unsqueeze(document["evidence"][name]) for name in ("bets", "age")))
        self._pending = Counts.from_json(document["pending"])
        self._checkpoints = [(int(row), float(time)) for row, time in document["checkpoints"]]
        self._windows.restore(document["windows"])
        self._trailing.restore(document["trailing"])


def _test_of(reference: Profile) -> WindowTest:
    return WindowTest.of(reference.blocks, reference.ordered, weights_of(reference.features))


def _log(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    with np.errstate(divide="ignore"):
        logs: NDArray[np.float64] = np.log(weights)
    return logs
