"""Trials: what monitors say of real streams, in windows of 500 rows and row by row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serinus.monitors import DriftMonitor, Profile, SelfCheck
from serinus.monitors.features import WIDTH
from tests.statistics.streams import Stream, windows

Table = NDArray[np.int64]
ROWS = 500


@dataclass(frozen=True)
class Windows:
    """Shares of 500-row windows that alarm.

    Attributes:
        shuffled: further rows of the reference's population, in random order, against a random half of it; five times.
        own_order: the reference's own rows in time order.
        held_out: its second half in time order, against the first.
        live: windows after the reference (after the known change, where there is one).
        first: the first window that alarms after it.
        before: windows of the time between the reference and the known change.
        named: how often exactly the changed features were named, joint ones left aside; None where nobody knows.
        mixed: windows of 400 rows of the reference and 100 of what came after the change.
        mixed_1000: the same at 1,000 rows.
    """

    shuffled: float
    own_order: float
    held_out: float
    live: float
    first: int | None
    before: float | None
    named: float | None
    mixed: float
    mixed_1000: float


def checked(stream: Stream, profile: Profile, rows: slice | NDArray[np.intp]) -> SelfCheck:
    """Return the self-check on steps of 64 rows of the rows that the profile was made of."""
    return SelfCheck.of(profile, steps_of(stream, profile, rows))


def steps_of(stream: Stream, profile: Profile, rows: slice | NDArray[np.intp]) -> Table:
    """Return counts of 64 rows, as `count_steps` has them."""
    return windows(stream.codes(profile, stream.reference.iloc[rows]), 64)


def _monitor(stream: Stream, rows: slice | NDArray[np.intp], **options: Any) -> DriftMonitor:
    profile = stream.profile(rows, **options)
    return DriftMonitor(profile, check=checked(stream, profile, rows))


def _alarms(monitor: DriftMonitor, tables: Table) -> NDArray[np.bool_]:
    """Return which features each window says have changed, `[windows, R]`."""
    found = [monitor.test_window(_counts(monitor, table)).drifted for table in tables]
    return np.array(found, bool).reshape(len(tables), -1)


def _counts(monitor: DriftMonitor, table: Table) -> Any:
    counts = monitor.reference.empty()
    counts.rows = int(table.sum(-1).max())
    counts.table += table
    return counts


def _mixed(monitor: DriftMonitor, old: NDArray[np.uint8], new: NDArray[np.uint8], rows: int, seed: int) -> float:
    rng = np.random.default_rng(seed)
    fifth = rows // 5
    drawn = [codes[rng.integers(len(codes), size=(200, n))] for codes, n in ((old, rows - fifth), (new, fifth))]
    mixtures = np.concatenate(drawn, 1).reshape(200 * rows, -1)
    return float(_alarms(monitor, windows(mixtures, rows)).any(1).mean())


def try_windows(stream: Stream, seed: int = 0) -> Windows:
    """Try all 500-row windows of a stream."""
    half = len(stream.reference) // 2
    first_half = _monitor(stream, slice(half))
    held_out = windows(stream.codes(first_half.reference, stream.reference.iloc[half:]), ROWS)
    whole = _monitor(stream, slice(None))
    own, live = (stream.codes(whole.reference, frame) for frame in (stream.reference, stream.live))
    change = stream.change or 0
    after = _alarms(whole, windows(live[change:], ROWS))
    any_after = after.any(1)
    return Windows(
        shuffled=float(np.mean([_shuffled(stream, order) for order in range(5)])),
        own_order=float(_alarms(whole, windows(own, ROWS)).any(1).mean()),
        held_out=float(_alarms(first_half, held_out).any(1).mean()),
        live=float(any_after.mean()),
        first=int(any_after.argmax()) if any_after.any() else None,
        before=float(_alarms(whole, windows(live[:change], ROWS)).any(1).mean()) if change else None,
        named=_named(whole, after, stream.changed) if stream.changed else None,
        mixed=_mixed(whole, own, live[change:], 500, seed),
        mixed_1000=_mixed(whole, own, live[change:], 1_000, seed),
    )


def _shuffled(stream: Stream, seed: int) -> float:
    order = np.random.default_rng(seed).permutation(len(stream.reference))
    half = len(order) // 2
    monitor = _monitor(stream, order[:half])
    further = stream.codes(monitor.reference, stream.reference.iloc[order[half:]])
    return float(_alarms(monitor, windows(further, ROWS)).any(1).mean())


def _named(monitor: DriftMonitor, drifted: NDArray[np.bool_], changed: frozenset[str]) -> float:
    named = np.array([one.side != "joint" for one in monitor.reference.features], bool)
    wanted = np.array([one.name in changed for one in monitor.reference.features], bool)
    return float((drifted[:, named] == wanted[named]).all(1).mean())


@dataclass(frozen=True)
class Sequence:
    """What the e-detector says of a stream, row by row in steps of 64.

    Attributes:
        promise: the self-check's sentences, made of the first half of the reference.
        rows: of the second half, and `alarms` on it without and with what the check raised.
        first: the row of the first alarm after the reference (counted from the known change, where there is one);
            `before`: alarms until then. `features`: that it names.
    """

    promise: str
    rows: int
    alarms_unchecked: int
    alarms: int
    before: int
    first: int | None
    features: tuple[str, ...]


def try_sequence(stream: Stream, most: int = 60_000) -> Sequence:
    """Replay the second half of the reference, then at most so many later rows until the first alarm."""
    half = len(stream.reference) // 2
    profile = stream.profile(slice(half))
    check = checked(stream, profile, slice(half))
    held_out = windows(stream.codes(profile, stream.reference.iloc[half:]), 64)
    unchecked, with_check = (_replayed(DriftMonitor(profile, check=each), held_out) for each in (None, check))
    whole = _monitor(stream, slice(None))
    assert whole.check is not None
    live = windows(stream.codes(whole.reference, stream.live.iloc[: (stream.change or 0) + most]), 64)
    before, first, features = _until_alarm(whole, live, stream.change or 0)
    return Sequence(whole.check.text, len(held_out) * 64, unchecked, with_check, before, first, features)


def _replayed(monitor: DriftMonitor, tables: Table) -> int:
    for interval, table in enumerate(tables):
        monitor.apply(interval, _counts(monitor, table))
    return monitor.state.alarms


def _until_alarm(monitor: DriftMonitor, tables: Table, change: int) -> tuple[int, int | None, tuple[str, ...]]:
    before = 0
    for interval, table in enumerate(tables):
        known = monitor.alarms
        monitor.apply(interval, _counts(monitor, table))
        if monitor.alarms > known and (interval + 1) * 64 <= change:
            before += 1
        elif monitor.alarms > known:
            return before, (interval + 1) * 64 - change, monitor.state.findings[0].features
    return before, None, ()


def lost_columns(stream: Stream) -> list[str]:
    """Return the input columns that may go wholly missing in a window of 500 rows without an alarm."""
    monitor = _monitor(stream, slice(None))
    table = windows(stream.codes(monitor.reference, stream.reference.iloc[:ROWS]), ROWS)[0]
    quiet = []
    for index, feature in enumerate(monitor.reference.features):
        gone = table.copy()
        gone[index] = ROWS * np.eye(WIDTH, dtype=np.int64)[16]
        if feature.side == "input" and not monitor.test_window(_counts(monitor, gone)).drifted[index]:
            quiet.append(feature.name)
    return quiet
