"""The sheet: what one worker counted of one version's rows for its monitors, in a memory-mapped file, format 1.

    sheet := header 64 × u64 | names 1024 bytes | pane | pane
    pane  := `serinus.monitors.counts.Counts` of the features | ring 32 × (uuid 16 bytes, row u64, time u64, p f64,
             feature i64)

The worker changes the pane that nobody reads and then flips: the header's sequence counts the flips, and its last bit
names the pane that is whole. So there is no lock, and a worker that is killed at any moment leaves a whole pane behind.
Counts are cumulative over the sheet's life. The steward reads sheets, ships their counts, and removes a sheet whose
owner is dead (its lock is free) once they are shipped.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import struct
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import orjson

from serinus.monitors.counts import Counts
from serinus.serving.board import start_ticks
from serinus.serving.files import is_locked

__all__ = ["RING", "Pane", "Sheet", "SheetError", "SheetReading", "Unusual", "is_owned", "read", "sheets_in"]

FORMAT = 1
SUFFIX = ".sheet"
RING = 32
"""How many unusual rows a sheet remembers, the latest."""

_MAGIC = int.from_bytes(b"SRNSHEET", "little")
_HEADER_WORDS, _NAME_BYTES = 64, 1024
_PANES = 8 * _HEADER_WORDS + _NAME_BYTES
_LOOKS = 100
_RING_TYPE = np.dtype([("uuid", "V16"), ("row", "<u8"), ("time_ns", "<u8"), ("p", "<f8"), ("feature", "<i8")])

# Words of the header. Part of format 1: never renumber, only add.
(_W_MAGIC, _W_FORMAT, _W_PID, _W_START_TICKS, _W_CREATED_NS, _W_FEATURES, _W_SEQUENCE, _W_SEEN, _W_FLUSHED_NS,
 _W_UNUSUAL, _W_REMEMBERED) = range(11)


class SheetError(Exception):
    """A file is no sheet of a known format."""


class Unusual(NamedTuple):
    """One row that few reference rows are as unusual as: its prediction, when, its p-value, and the feature that
    contributes most (its index in the profile; -1: unknown)."""

    prediction_uuid: bytes
    row: int
    time_ns: int
    p: float
    feature: int


class SheetReading(NamedTuple):
    """A sheet as somebody else sees it at one moment. `seen` rows were answered, `counts.rows` of them counted."""

    path: Path
    incarnation: str
    model: str
    version: str
    digest: str
    """Of the reference profile that says what is counted."""
    pid: int
    created_ns: int
    sequence: int
    flushed_ns: int
    seen: int
    counts: Counts
    unusual: tuple[Unusual, ...]
    """Latest last."""
    unusual_rows: int
    """How many there were in all."""


class Pane:
    """One whole set of counts and unusual rows, as arrays over a part of a buffer."""

    __slots__ = ("counts", "memory", "ring")

    def __init__(self, view: Any, features: int) -> None:
        self.counts = Counts(features, view)
        self.ring = np.frombuffer(view, _RING_TYPE, RING, Counts.size(features))
        self.memory = np.frombuffer(view, np.uint8)


def pane_bytes(features: int) -> int:
    """The size of a pane."""
    return Counts.size(features) + RING * _RING_TYPE.itemsize


class Sheet:
    """A worker's own sheet in `folder`, locked (flock) for as long as the process lives.

    `incarnation` names the worker's life. Not thread-safe: counted on the event loop's thread only.
    """

    def __init__(self, folder: Path, incarnation: str, model: str, version: str, digest: str, features: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        names = orjson.dumps([incarnation, model, version, digest])
        self.path = folder / f"{incarnation}-{model}-{version}-{digest[-12:]}{SUFFIX}"
        self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._file, fcntl.LOCK_EX)
        size = _PANES + 2 * pane_bytes(features)
        os.posix_fallocate(self._file, 0, size)  # a full disk is an error now, not a SIGBUS later
        self._map = mmap.mmap(self._file, size)
        self._map[8 * _HEADER_WORDS:8 * _HEADER_WORDS + len(names)] = names
        one = pane_bytes(features)
        self._panes = [Pane(memoryview(self._map)[start:start + one], features) for start in (_PANES, _PANES + one)]
        self._words = memoryview(self._map).cast("Q")
        words, pid = self._words, os.getpid()
        words[_W_FORMAT], words[_W_PID], words[_W_START_TICKS] = FORMAT, pid, start_ticks(pid)
        words[_W_CREATED_NS], words[_W_FEATURES] = time.time_ns(), features
        words[_W_MAGIC] = _MAGIC  # last: a reader takes a sheet without it for one not yet made

    @property
    def rows(self) -> int:
        """How many rows are counted."""
        return self._panes[self._words[_W_SEQUENCE] & 1].counts.rows

    @property
    def seen(self) -> int:
        """How many rows were answered."""
        return self._words[_W_SEEN]

    def see(self, rows: int) -> None:
        """So many rows were answered, whether or not they will be counted."""
        self._words[_W_SEEN] += rows

    def begin(self) -> Pane:
        """A pane with all counts so far, to add to; `flip` shows it to readers."""
        shown = self._words[_W_SEQUENCE] & 1
        pane = self._panes[1 - shown]
        pane.memory[:] = self._panes[shown].memory
        return pane

    def remember(self, pane: Pane, examples: Iterable[Unusual], unusual: int) -> None:
        """Put examples into the ring of a pane that was begun, the oldest make room; of so many unusual rows in all."""
        number = self._words[_W_REMEMBERED]
        for row in examples:
            pane.ring[number % RING] = (np.void(row.prediction_uuid), row.row, row.time_ns, row.p, row.feature)
            number += 1
        self._words[_W_REMEMBERED] = number
        self._words[_W_UNUSUAL] += unusual

    def flip(self, now_ns: int) -> None:
        """Let readers see what was added at Unix time `now_ns`."""
        self._words[_W_FLUSHED_NS] = now_ns
        self._words[_W_SEQUENCE] += 1

    def close(self) -> None:
        """Give the lock up; the steward ships what is left and removes the file."""
        self._words.release()
        self._panes.clear()
        fcntl.flock(self._file, fcntl.LOCK_UN)  # the map has the file open too, until the last array over it goes
        os.close(self._file)


def sheets_in(folder: Path) -> list[Path]:
    """The sheets in `folder`."""
    return sorted(folder.glob(f"*{SUFFIX}"))


def is_owned(path: Path) -> bool:
    """Whether the process that made the sheet at `path` still uses it."""
    return is_locked(path)


def read(path: Path) -> SheetReading:
    """What the sheet at `path` says now. FileNotFoundError when it has gone, `SheetError` when it is none."""
    with path.open("rb", buffering=0) as stream:
        for _ in range(_LOOKS):
            head = os.pread(stream.fileno(), _PANES, 0)
            words = _header(path, head, os.fstat(stream.fileno()).st_size)
            features, sequence = words[_W_FEATURES], words[_W_SEQUENCE]
            size = pane_bytes(features)
            data = os.pread(stream.fileno(), size, _PANES + (sequence & 1) * size)
            again = os.pread(stream.fileno(), 8, 8 * _W_SEQUENCE)
            if int.from_bytes(again, "little") == sequence:  # else the worker may have changed the pane meanwhile
                return _reading(path, head, words, Pane(data, features))
    raise SheetError(f"{path} changes faster than it can be read: try again")


def _header(path: Path, data: bytes, size: int) -> tuple[int, ...]:
    if len(data) < _PANES or int.from_bytes(data[:8], "little") != _MAGIC:
        raise SheetError(f"{path} is no sheet, or is only being made")
    words = struct.unpack_from(f"<{_HEADER_WORDS}Q", data)
    if words[_W_FORMAT] != FORMAT:
        raise SheetError(f"{path} has format {words[_W_FORMAT]}, this program reads format {FORMAT}: upgrade it")
    if size != (wanted := _PANES + 2 * pane_bytes(words[_W_FEATURES])):
        raise SheetError(f"{path} has {size} bytes, a sheet of {words[_W_FEATURES]} features has {wanted}")
    return words


def _reading(path: Path, head: bytes, words: tuple[int, ...], pane: Pane) -> SheetReading:
    sequence, number = words[_W_SEQUENCE], words[_W_UNUSUAL]
    names = head[8 * _HEADER_WORDS:_PANES].rstrip(b"\0")
    incarnation, model, version, digest = orjson.loads(names)
    ring = [Unusual(bytes(slot["uuid"]), int(slot["row"]), int(slot["time_ns"]), float(slot["p"]),
                    int(slot["feature"])) for slot in pane.ring if slot["time_ns"]]
    return SheetReading(
        path, incarnation, model, version, digest, words[_W_PID], words[_W_CREATED_NS], sequence,
        words[_W_FLUSHED_NS], words[_W_SEEN], pane.counts.copy(),
        tuple(sorted(ring, key=lambda row: row.time_ns)), number)
