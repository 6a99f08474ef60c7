"""The tally: what one worker counted of one rollout's requests, in a memory-mapped file, format 1.

    tally  := header 64 × u64 | names 1024 bytes | window 256 × (step u64, bucket u64) | counts 256 × 2 × 32 × u64
              | caller 50,000 × (key's hash u64, 12 × u16)

A window is a stretch of time (ten minutes, later six hours) within one step. Requests without a routing key are
counted by window, arm and part. Of requests with a key the caller is the unit: he has a line of his own with the
windows in which he first met each arm, and in which each thing first happened to him (with the arm's bit). Callers are
a sample chosen by their key's hash, the same for both arms: when 50,000 are full, every second one goes.

An assignment is counted before its outcome is known. A request only changes integers in memory, and what a killed
worker counted stays: the steward reads it, and removes the file when it is in the store.
"""

from __future__ import annotations

import fcntl
import logging
import mmap
import os
import struct
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import orjson
from numpy.typing import NDArray

from serinus.serving.board import start_ticks
from serinus.serving.files import is_locked

__all__ = ["BUCKET_S", "CALLERS", "CALLER_TYPE", "CLASSES", "OTHER", "PARTS", "SOAK_STEP", "Part", "Tally",
           "TallyError", "TallyReading", "Window", "is_fresh", "is_owned", "note_crashes", "part_name", "read",
           "step_name", "step_number", "tallies_in"]

_log = logging.getLogger("serinus.rollout")

FORMAT = 1
SUFFIX = ".tally"
BUCKET_S = 600
"""The length of a window. A window's bucket is the Unix time of its beginning in such units."""
CLASSES = 20
"""Classes of predictions that are counted each by itself."""
CALLERS = 50_000
"""How many callers a worker remembers, at most."""
SOAK_STEP = 65_535
"""The number that stands for the soak among the steps."""

_MAGIC = int.from_bytes(b"SRNTALLY", "little")
_HEADER_WORDS, _NAME_BYTES, _WINDOWS, _WINDOW_WORDS, _PLACES = 64, 1024, 256, 2, 32
_LATE, _LATE_BUCKETS = 200, 36
_WINDOW, _FRESH = 0x1FF, 0x200
_NEVER = 1 << 63
_WINDOWS_START = 8 * _HEADER_WORDS + _NAME_BYTES
_COUNTS_START = _WINDOWS_START + 8 * _WINDOWS * _WINDOW_WORDS
_CALLERS_START = _COUNTS_START + 8 * _WINDOWS * 2 * _PLACES
_FIELDS = 16
_BYTES = _CALLERS_START + 2 * _FIELDS * CALLERS

# Words of the header. Part of format 1: never renumber, only add.
(_W_MAGIC, _W_FORMAT, _W_PID, _W_START_TICKS, _W_CREATED_NS, _W_WINDOWS, _W_LEVEL, _W_CALLERS, _W_CRASHES) = range(9)


class Part:
    """What is counted, by its place. Part of format 1."""

    UNITS = 0
    """Requests without a key."""
    KEYED = 1
    """Requests with a key, whether or not their caller is in the sample."""
    FAILURES = 2
    ERRORS = 3
    INVALID = 4
    LATENCY = 5
    """Over stable's median; over its 95th and 99th percentile follow."""
    CLASS = 8
    """The first class; the others follow, then one for all that are not named."""


PARTS = ("units", "keyed", "failures", "errors", "invalid", "latency:p50", "latency:p95", "latency:p99")
"""Names of the parts before the classes."""

# Fields of a caller: 4 × u16 are the hash, then windows: of the first request in each arm, of the last in the
# candidate's, of the first event of each part from FAILURES on, of the first class; then that class.
_F_FIRST, _F_LAST, _F_EVENTS, _F_CLASS = 4, 6, 5, 13
OTHER = Part.CLASS + CLASSES
"""The place of all classes that are not counted by themselves."""
CALLER_TYPE = np.dtype([("key", "<u8"), ("stable", "<u2"), ("candidate", "<u2"), ("last", "<u2"), ("events", "<u2", 6),
                        ("class_window", "<u2"), ("label", "<u2"), ("spare", "<u2")])
"""A caller's line. A window is its number from 1 on; in events the highest bit says that it was the candidate's."""


class TallyError(Exception):
    """A file is no tally of a known format."""


class Window(NamedTuple):
    """A stretch of time in one step."""

    step: int
    bucket: int


class TallyReading(NamedTuple):
    """A tally as somebody else sees it at one moment."""

    path: Path
    incarnation: str
    model: str
    rollout_id: str
    windows: tuple[Window, ...]
    counts: NDArray[np.uint64]
    """`[windows, 2, places]`; stable is arm 0."""
    level: int
    """Only callers whose hash ends in so many zero bits are in the sample."""
    callers: NDArray[Any]
    """Of `CALLER_TYPE`; windows are numbers from 1 on in `windows`."""
    crashes: int
    """Calls of the candidate that its worker died in."""


def is_fresh(assigned: int) -> bool:
    """Whether the outcome of an assignment depends on none before it: a request without a key, or a new caller's."""
    return assigned & _FRESH != 0 or assigned > _WINDOW | _FRESH


def part_name(place: int) -> str:
    """What is counted at a place: one of `PARTS`, or `class:3`."""
    return PARTS[place] if place < Part.CLASS else f"class:{place - Part.CLASS}"


def step_number(step_id: str) -> int:
    """The number of a step, from the name that the record gives it."""
    name = step_id.rpartition("/")[2]
    return int(name) if name.isdigit() else SOAK_STEP


def step_name(rollout_id: str, number: int) -> str:
    """What the record calls the step of that number."""
    return f"{rollout_id}/{'soak' if number == SOAK_STEP else number}"


class Tally:
    """A worker's own tally in `folder`, locked (flock) for as long as the process lives.

    `thresholds_ns` are stable's median, 95th and 99th percentile, empty where they are not known; `labels` the classes
    that are counted each by itself. Not thread-safe: counted on the event loop's thread only.
    """

    def __init__(self, folder: Path, incarnation: str, model: str, rollout_id: str, *,
                 thresholds_ns: Sequence[int] = (), labels: Sequence[object] = ()) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        names = orjson.dumps([incarnation, model, rollout_id])
        self.path = folder / f"{incarnation}-{rollout_id}{SUFFIX}"
        self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._file, fcntl.LOCK_EX)
        os.posix_fallocate(self._file, 0, _CALLERS_START)  # a full disk is an error now, not a SIGBUS later
        os.ftruncate(self._file, _BYTES)
        self._map = mmap.mmap(self._file, _BYTES)
        self._map[8 * _HEADER_WORDS:8 * _HEADER_WORDS + len(names)] = names
        view = memoryview(self._map)
        self._words = view.cast("Q")
        self._fields = view[_CALLERS_START:].cast("H")
        self.measure_by(thresholds_ns)
        self._places = {label: Part.CLASS + number for number, label in enumerate(labels[:CLASSES])}
        self._known = len(labels) <= CLASSES
        self._numbers: dict[Window, int] = {}
        self._windows: list[Window] = []
        self._callers: dict[int, int] = {}
        self._free: deque[int] = deque()
        self._room: bool | None = None
        self._mask = 0
        self._step = self._window = 0
        self._base = self._until_ns = 0
        words, pid = self._words, os.getpid()
        words[_W_FORMAT], words[_W_PID], words[_W_START_TICKS] = FORMAT, pid, start_ticks(pid)
        words[_W_CREATED_NS] = time.time_ns()
        words[_W_MAGIC] = _MAGIC  # last: a reader takes a tally without it for one not yet made

    def begin_step(self, step: int) -> None:
        """What is assigned from now on belongs to this step."""
        if step != self._step:
            self._step, self._until_ns = step, 0

    def measure_by(self, thresholds_ns: Sequence[int]) -> None:
        """What is slow from now on."""
        self._median, self._p95, self._p99 = thresholds_ns or (_NEVER, _NEVER, _NEVER)

    def assign(self, arm: int, key: int, now_ns: int) -> int:
        """Count a request as given to `arm` (1: the candidate) at Unix time `now_ns`; what its outcome is to be told
        with, 0 when its caller is not in the sample. `key` is its routing key's hash, 0 without one."""
        if now_ns >= self._until_ns:
            self._turn(now_ns)
        if not key:
            at = self._base + arm * _PLACES
            self._words[at] += 1
            return at
        self._words[self._base + arm * _PLACES + Part.KEYED] += 1
        if key & self._mask:
            return 0
        caller = self._callers.get(key)
        if caller is None and (caller := self._add(key)) is None:
            return 0
        fields, window = self._fields, self._window
        if arm:
            fields[caller + _F_LAST] = window
        if fields[caller + _F_FIRST + arm]:
            return window
        fields[caller + _F_FIRST + arm] = window
        return window | _FRESH

    def count(self, arm: int, key: int, assigned: int, part: int) -> None:
        """Count that something happened to a request that was `assigned`."""
        if not key:
            self._words[assigned + part] += 1
        elif (caller := self._callers.get(key)) is not None and not self._fields[caller + _F_EVENTS + part]:
            self._fields[caller + _F_EVENTS + part] = assigned & _WINDOW | arm << 15

    def time(self, arm: int, key: int, assigned: int, took_ns: int) -> None:
        """Count how slow a request was."""
        if took_ns > self._median:
            self.count(arm, key, assigned, Part.LATENCY)
            if took_ns > self._p95:
                self.count(arm, key, assigned, Part.LATENCY + 1)
                if took_ns > self._p99:
                    self.count(arm, key, assigned, Part.LATENCY + 2)

    def classify(self, arm: int, key: int, assigned: int, label: object) -> bool:
        """Count the class of an answer; False when the version should not give it."""
        place = self._places.get(label, OTHER)
        if not key:
            self._words[assigned + place] += 1
        elif (caller := self._callers.get(key)) is not None and not self._fields[caller + _F_CLASS]:
            self._fields[caller + _F_CLASS + 1] = place
            self._fields[caller + _F_CLASS] = assigned & _WINDOW | arm << 15
        return place != OTHER or not self._known

    def window_of(self, key: int, assigned: int) -> Window:
        """The window in which a request was `assigned`."""
        number = assigned & _WINDOW if key else (assigned - _COUNTS_START // 8) // (2 * _PLACES) + 1
        return self._windows[number - 1]

    def close(self) -> None:
        """Give the lock up. Requests under way may still count: the memory stays as long as they know it."""
        fcntl.flock(self._file, fcntl.LOCK_UN)
        os.close(self._file)

    def _turn(self, now_ns: int) -> None:
        """Begin the window of this moment. When most are used up, windows get longer."""
        length = 1 if len(self._numbers) < _LATE else _LATE_BUCKETS
        bucket = now_ns // 10**9 // (BUCKET_S * length) * length
        self._until_ns = (bucket + length) * BUCKET_S * 10**9
        window = Window(self._step, bucket)
        number = self._numbers.get(window)
        if number is None:
            number = self._new_window(window)
        self._window, self._base = number, _base(number)

    def _new_window(self, window: Window) -> int:
        number = len(self._numbers) + 1
        if number > _WINDOWS:  # weeks in one step: its last window goes on
            return max((known for each, known in self._numbers.items() if each.step == window.step), default=_WINDOWS)
        at = (_WINDOWS_START // 8) + (number - 1) * _WINDOW_WORDS
        self._words[at], self._words[at + 1] = window
        self._words[_W_WINDOWS] = number
        self._numbers[window] = number
        self._windows.append(window)
        return number

    def _add(self, key: int) -> int | None:
        """A line for a new caller; None when he is not in the sample."""
        while not self._free and len(self._callers) == CALLERS and not key & self._mask:
            self._halve()
        if key & self._mask:
            return None
        if self._room is None:
            self._room = self._take_room()
        if not self._room:
            return None
        caller = self._free.popleft() if self._free else len(self._callers) * _FIELDS
        self._words[(_CALLERS_START + 2 * caller) // 8] = key
        self._callers[key] = caller
        self._words[_W_CALLERS] = max(self._words[_W_CALLERS], caller // _FIELDS + 1)
        return caller

    def _halve(self) -> None:
        """Keep every second caller."""
        self._mask = self._mask << 1 | 1
        self._words[_W_LEVEL] = self._mask.bit_length()
        for key in [key for key in self._callers if key & self._mask]:
            caller = self._callers.pop(key)
            for field in range(caller, caller + _FIELDS):
                self._fields[field] = 0
            self._free.append(caller)

    def _take_room(self) -> bool:
        """Only rollouts with routing keys need it."""
        try:
            os.posix_fallocate(self._file, _CALLERS_START, _BYTES - _CALLERS_START)
        except OSError as error:
            _log.error("There is no room to count the callers of a rollout (%s): those with routing keys are left out "
                       "of its evidence. Free space.", error.strerror or error)
            return False
        return True


def tallies_in(folder: Path) -> list[Path]:
    """The tallies in `folder`."""
    return sorted(folder.glob(f"*{SUFFIX}"))


def is_owned(path: Path) -> bool:
    """Whether the process that made the tally at `path` still counts in it."""
    return is_locked(path)


def note_crashes(folder: Path, incarnation: str, rollout_id: str, crashes: int) -> None:
    """A worker died in so many calls of a rollout's candidate: write it into what it left. May be repeated."""
    path = folder / f"{incarnation}-{rollout_id}{SUFFIX}"
    try:
        with path.open("r+b") as stream:
            stream.seek(8 * _W_CRASHES)
            stream.write(crashes.to_bytes(8, "little"))
    except FileNotFoundError:
        return


def read(path: Path) -> TallyReading:
    """What the tally at `path` says now. FileNotFoundError when it has gone, `TallyError` when it is none."""
    with path.open("rb") as stream:
        head = stream.read(_CALLERS_START)
        words = _header(path, head)
        lines = stream.read(2 * _FIELDS * words[_W_CALLERS])
    incarnation, model, rollout_id = orjson.loads(head[8 * _HEADER_WORDS:_WINDOWS_START].rstrip(b"\0"))
    number = words[_W_WINDOWS]
    windows = struct.iter_unpack("<2Q", head[_WINDOWS_START:_WINDOWS_START + 8 * _WINDOW_WORDS * number])
    counts = np.frombuffer(head, "<u8", number * 2 * _PLACES, _COUNTS_START).reshape(number, 2, _PLACES)
    callers = np.frombuffer(lines, CALLER_TYPE)
    return TallyReading(path, incarnation, model, rollout_id, tuple(Window(*window) for window in windows), counts,
                        words[_W_LEVEL], callers[callers["key"] != 0], words[_W_CRASHES])


def _header(path: Path, data: bytes) -> tuple[int, ...]:
    if len(data) < _CALLERS_START or int.from_bytes(data[:8], "little") != _MAGIC:
        raise TallyError(f"{path} is no tally, or is only being made")
    words = struct.unpack_from(f"<{_HEADER_WORDS}Q", data)
    if words[_W_FORMAT] != FORMAT:
        raise TallyError(f"{path} has format {words[_W_FORMAT]}, this program reads format {FORMAT}: upgrade it")
    return words


def _base(window: int) -> int:
    """Where the counts of a window begin, in words."""
    return _COUNTS_START // 8 + (window - 1) * 2 * _PLACES
