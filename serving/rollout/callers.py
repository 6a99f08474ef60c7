"""Callers with routing keys, put together from the tallies of all workers of a host: each counts once.

A caller may meet any worker. His lines are joined by the key's hash, the earliest window of each thing wins, and so
each thing happens to him at most once in a rollout, in the arm in which it happened first. That makes him one
independent unit, however many requests he sends. Callers who meet several hosts are counted by each of them.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import orjson
from numpy.typing import NDArray

from serinus.serving.files import write_atomically
from serinus.serving.rollout.tally import OTHER, PARTS, Part, TallyReading, Window, part_name

__all__ = ["NOBODY", "CallerCounts", "Callers", "join", "read_callers", "write_callers"]

_EVENTS = len(PARTS) - Part.FAILURES
_NEVER = np.uint32(0xFFFFFFFF)
_JOINED = np.dtype([("key", "<u8"), ("first", "<u4", 2), ("last", "<u4"), ("events", "<u4", _EVENTS),
                    ("class_window", "<u4"), ("label", "<u2")])

CallerCounts = Mapping[tuple[Window, str, int], int]
"""By window, what is counted and arm."""


@dataclass(frozen=True, slots=True)
class Callers:
    """A sample of callers, and what happened to them first. Windows are numbers in `windows`, in the order of time;
    of events and classes twice the number, plus one if it was the candidate's."""

    windows: tuple[Window, ...]
    level: int
    lines: NDArray[np.void]

    def count(self) -> CallerCounts:
        """Callers by the window in which they were new to the rollout (`new`); in which each thing first happened to
        them, and in which they first met an arm in which it could (`errors/units`); and those whom the candidate
        answered, by their latest window with it (`active`)."""
        found: dict[tuple[Window, str, int], int] = {}
        first = self.lines["first"]
        met = np.where(first == _NEVER, _NEVER, first * 2 + np.arange(2, dtype=np.uint32))
        self._add(found, "new", met.min(axis=1) if len(met) else met[:, 0])
        last = self.lines["last"]
        self._add(found, "active", np.where(last == _NEVER, _NEVER, last * 2 + 1))
        for number, part in enumerate(PARTS[Part.FAILURES:]):
            event = self.lines["events"][:, number]
            self._add(found, part, event)
            for arm in range(2):  # to whom it happened in the other arm, it cannot happen in this one any more
                spent = (event != _NEVER) & (event % 2 != arm)
                self._add(found, f"{part}/units", np.where(spent, _NEVER, met[:, arm]))
        for place in range(Part.CLASS, OTHER + 1):
            self._add(found, part_name(place), self.lines["class_window"][self.lines["label"] == place])
        return found

    def _add(self, found: dict[tuple[Window, str, int], int], part: str, where: NDArray[np.uint32]) -> None:
        numbers, counts = np.unique(where[where != _NEVER], return_counts=True)
        for number, count in zip(numbers.tolist(), counts.tolist(), strict=True):
            found[self.windows[number // 2], part, number % 2] = count


NOBODY = Callers((), 0, np.empty(0, _JOINED))


def join(parts: Iterable[Callers | TallyReading]) -> Callers:
    """All callers of several tallies, each once. Repeating a part changes nothing."""
    parts = list(parts)
    windows = tuple(sorted({window for part in parts for window in part.windows}))
    level = max((part.level for part in parts), default=0)
    numbers = {window: number for number, window in enumerate(windows)}
    lines = [_translated(part, numbers) for part in parts]
    every = np.concatenate(lines) if lines else NOBODY.lines
    every = every[every["key"] & np.uint64((1 << level) - 1) == 0]
    return Callers(windows, level, _united(every))


def _translated(part: Callers | TallyReading, numbers: Mapping[Window, int]) -> NDArray[np.void]:
    """Lines with windows as numbers of all windows."""
    table = np.array([numbers[window] for window in part.windows], np.uint32)
    if isinstance(part, TallyReading):
        return _from_tally(part, table)
    lines = part.lines.copy()
    for name in ("first", "last"):
        lines[name] = _mapped(table, lines[name])
    for name in ("events", "class_window"):
        old = lines[name]
        lines[name] = np.where(old == _NEVER, _NEVER, _mapped(table, old // 2) * 2 + old % 2)
    return lines


def _from_tally(part: TallyReading, table: NDArray[np.uint32]) -> NDArray[np.void]:
    """A tally's windows count from 1; 0 is never, and the highest bit the candidate's."""
    table = np.concatenate([[_NEVER], table]).astype(np.uint32)
    old = part.callers
    lines = np.empty(len(old), _JOINED)
    lines["key"], lines["label"] = old["key"], old["label"]
    lines["first"] = table[np.stack([old["stable"], old["candidate"]], axis=1)]
    lines["last"] = table[old["last"]]
    for new, words in (("events", old["events"]), ("class_window", old["class_window"])):
        where = words & 0x7FFF
        lines[new] = np.where(where == 0, _NEVER, table[where] * 2 + (words >> 15))
    return lines


def _mapped(table: NDArray[np.uint32], old: NDArray[np.uint32]) -> NDArray[np.uint32]:
    known = old < len(table)
    return np.where(known, table[np.where(known, old, 0)] if len(table) else _NEVER, _NEVER).astype(np.uint32)


def _united(lines: NDArray[np.void]) -> NDArray[np.void]:
    """One line per key: the earliest of everything, the latest `last`."""
    lines = lines[np.argsort(lines["key"], kind="stable")]
    starts = np.flatnonzero(np.diff(lines["key"], prepend=lines["key"][:1] ^ np.uint64(1)))
    if len(starts) == len(lines):
        return lines
    united = lines[starts]
    for name in ("first", "events"):
        united[name] = np.minimum.reduceat(lines[name], starts, axis=0)
    never = lines["last"] == _NEVER
    latest = np.maximum.reduceat(np.where(never, 0, lines["last"]), starts)
    united["last"] = np.where(np.logical_and.reduceat(never, starts), _NEVER, latest)
    classes = lines["class_window"].astype(np.uint64) << np.uint64(16) | lines["label"]
    earliest = np.minimum.reduceat(classes, starts)
    united["class_window"], united["label"] = earliest >> np.uint64(16), earliest & np.uint64(0xFFFF)
    return united


def write_callers(path: Path, callers: Callers) -> None:
    """Keep what dead workers knew."""
    stream = io.BytesIO()
    windows = orjson.dumps([list(window) for window in callers.windows])
    np.savez_compressed(stream, windows=np.frombuffer(windows, np.uint8), level=np.array(callers.level),
                        lines=callers.lines)
    write_atomically(path, stream.getvalue())


def read_callers(path: Path) -> Callers:
    """What `write_callers` kept; nobody when there is no file."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            windows = tuple(Window(*window) for window in orjson.loads(stored["windows"].tobytes()))
            return Callers(windows, int(stored["level"]), stored["lines"])
    except FileNotFoundError:
        return NOBODY
