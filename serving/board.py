"""The board: one worker's counters, histograms and marks in a memory-mapped file, format 1.

    board  := header 64 × u64 | mark 64 × (kind u64, started u64) | series 256 × (key 256 bytes, 64 × u64)

A request only adds to integers in memory. Because the memory is a shared file mapping, whatever a worker counted
is there for others at once and stays when the worker is killed: the steward *adopts* a board whose owner's lock is
free into the folder's totals. A series is one combination of bounded label values (never a raw path); what does not
fit any more goes to the last series, `overflow`.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import secrets
import struct
import time
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from zlib import crc32

import orjson

from serinus.serving.files import is_locked, write_atomically

__all__ = ["BATCH_BOUNDS", "BOUNDS_NS", "QUEUE_BOUNDS_NS", "VALUES", "VALUE_BOUNDS", "Board", "BoardError", "Exemplar",
           "Labels", "Reading", "Series", "adopt", "boards_in", "mark_tag", "merge", "read_all", "start_ticks"]

FORMAT = 1
SUFFIX = ".board"
TOTALS = "adopted.json"

_MAGIC = int.from_bytes(b"SRNBOARD", "little")
_HEADER_WORDS, _MARKS, _SERIES = 64, 64, 256
_KEY_BYTES, _SERIES_WORDS = 256, 64
_EXEMPLAR_EVERY_NS = 10**9
_SERIES_BYTES = _KEY_BYTES + 8 * _SERIES_WORDS
_SERIES_START = 8 * (_HEADER_WORDS + 2 * _MARKS)
_LAST_MARK = _HEADER_WORDS + 2 * (_MARKS - 1)
_BYTES = _SERIES_START + _SERIES * _SERIES_BYTES

BOUNDS_NS = tuple(int(s * 1e9) for s in (
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10))
"""Upper bounds of the histograms' buckets: OpenTelemetry's advice for HTTP, finer below 5 ms."""
_BUCKETS = len(BOUNDS_NS) + 1

# Words of the header. Part of format 1: never renumber, only add.
(_W_MAGIC, _W_FORMAT, _W_PID, _W_START_TICKS, _W_INCARNATION, _W_STARTED_NS, _W_HEARTBEAT_NS, _W_READY, _W_VETO,
 _W_GENERATION, _W_IN_FLIGHT, _W_SERIES, _W_FRAMES, _W_FRAME_BYTES, _W_LOG_FAILURES, _W_SPANS_EXPORTED,
 _W_SPANS_DROPPED, _W_LOAD_FAILURES, _W_WISHES, _W_ACTIVE) = range(20)
_HEADER_COUNTERS = {"log_frames": _W_FRAMES, "log_bytes": _W_FRAME_BYTES, "log_failures": _W_LOG_FAILURES,
                    "spans_exported": _W_SPANS_EXPORTED, "spans_dropped": _W_SPANS_DROPPED,
                    "load_failures": _W_LOAD_FAILURES}

QUEUE_BOUNDS_NS = tuple(int(s * 1e9) for s in (0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05))
BATCH_BOUNDS = (1, 2, 4, 8, 16, 64, 256)
"""Upper bounds of the buckets of waiting times and of shared calls' rows."""
_SHORT_BUCKETS = len(BATCH_BOUNDS) + 1

_STEPS = tuple(step * 10.0**power for power in range(-2, 6) for step in (1, 2, 5)) + (1e6,)
VALUE_BOUNDS = (*(-step for step in reversed(_STEPS)), 0.0, *_STEPS)
"""Upper bounds of the buckets of numeric predictions, whatever their unit: 1, 2, 5, … on either side of 0."""
VALUES = "values"
"""Name of the counters of such a histogram; the last label of each is the number of its bucket. The values' sum is not
kept: neither OpenMetrics nor OTLP takes one where values may be negative."""

# Words of a series: total time, rows, predict time, predict calls, then two histograms.
_S_DURATION_NS, _S_ROWS, _S_PREDICT_NS, _S_PREDICTS = range(4)
_S_DURATION_BUCKETS = 4
_S_PREDICT_BUCKETS = _S_DURATION_BUCKETS + _BUCKETS
# Of requests that shared a call: time in the queue, rows of the calls, and their histograms.
_S_QUEUE_NS = _S_PREDICT_BUCKETS + _BUCKETS
_S_BATCH_ROWS = _S_QUEUE_NS + 1
_S_QUEUE_BUCKETS = _S_BATCH_ROWS + 1
_S_BATCH_BUCKETS = _S_QUEUE_BUCKETS + _SHORT_BUCKETS
# The latest exemplar: trace id in two halves, span id, the request's time, when (Unix ns).
_S_EXEMPLAR = _S_BATCH_BUCKETS + _SHORT_BUCKETS
_EXEMPLAR_WORDS = 5
_MASK64 = (1 << 64) - 1


class BoardError(Exception):
    """A file is no board of a known format."""


class Labels(NamedTuple):
    """What a series is about. Every value comes from a bounded set."""

    model: str
    version: str
    role: str
    route: str
    method: str
    status: int
    error_type: str


OVERFLOW = Labels("", "", "", "overflow", "", 0, "")


class Exemplar(NamedTuple):
    """One request as an example of its series: its trace, how long it took, and when it ended (Unix ns)."""

    trace_high: int
    trace_low: int
    span_id: int
    duration_ns: int
    time_ns: int

    @property
    def trace_id(self) -> int:
        """All 128 bits."""
        return self.trace_high << 64 | self.trace_low


NO_EXEMPLAR = Exemplar(0, 0, 0, 0, 0)


class Series(NamedTuple):
    """The counts of one combination of labels. Times in nanoseconds; histograms not cumulative."""

    duration_ns: int
    rows: int
    predict_ns: int
    predicts: int
    duration_buckets: tuple[int, ...]
    predict_buckets: tuple[int, ...]
    queue_ns: int = 0
    batch_rows: int = 0
    queue_buckets: tuple[int, ...] = (0,) * _SHORT_BUCKETS
    batch_buckets: tuple[int, ...] = (0,) * _SHORT_BUCKETS
    exemplar: Exemplar = NO_EXEMPLAR
    """The latest; its `time_ns` is 0 where there is none."""

    @property
    def requests(self) -> int:
        """How many requests this series counted."""
        return sum(self.duration_buckets)


class Mark(NamedTuple):
    """A predict call under way: `kind` 1 stable, 2 candidate; when it began (Unix ns); of what (`mark_tag`)."""

    kind: int
    started_ns: int
    tag: int = 0


class Reading(NamedTuple):
    """A board as somebody else sees it at one moment."""

    path: Path
    incarnation: str
    pid: int
    start_ticks: int
    started_ns: int
    heartbeat_ns: int
    ready: bool
    veto_sequence: int
    generation: int
    in_flight: int
    counters: dict[str, int]
    series: dict[Labels, Series]
    marks: tuple[Mark, ...]
    wish_sequence: int
    active: int


EMPTY = Series(0, 0, 0, 0, (0,) * _BUCKETS, (0,) * _BUCKETS)


def mark_tag(model: str, version: str) -> int:
    """32 bits that stand for a version in marks."""
    return crc32(f"{model}:{version}".encode())


def start_ticks(pid: int) -> int:
    """When process `pid` started, in clock ticks since boot; 0 when there is none. With the pid it is unique."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[19])
    except (FileNotFoundError, ProcessLookupError):
        return 0


class Board:
    """This process's own board in `folder`, locked (flock) for as long as the process lives.

    Not thread-safe: counted on the event loop's thread only, but for the two span counters, which belong to the
    exporter's thread.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        pid = os.getpid()
        ticks = start_ticks(pid)
        incarnation = secrets.randbits(64) | 1
        self.path = folder / f"{pid}-{ticks}-{incarnation:016x}{SUFFIX}"
        self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._file, fcntl.LOCK_EX)
        os.posix_fallocate(self._file, 0, _BYTES)  # a full disk is an error now, not a SIGBUS later
        self._map = mmap.mmap(self._file, _BYTES)
        self.words = memoryview(self._map).cast("Q")
        self._bases: dict[Labels, int] = {}
        self._tallies: dict[bytes, int] = {}
        self._free = list(range(_HEADER_WORDS, _LAST_MARK, 2))
        self._sharing = 0
        words = self.words
        words[_W_FORMAT], words[_W_PID], words[_W_START_TICKS] = FORMAT, pid, ticks
        words[_W_INCARNATION], words[_W_STARTED_NS] = incarnation, time.time_ns()
        words[_W_HEARTBEAT_NS] = time.monotonic_ns()
        words[_W_MAGIC] = _MAGIC  # last: a reader takes a board without it for one not yet made

    @property
    def incarnation(self) -> str:
        """Name of this process's life, unique for ever."""
        return f"{self.words[_W_INCARNATION]:016x}"

    def base(self, labels: Labels) -> int:
        """Where the series of `labels` begins, in words; made on first use."""
        found = self._bases.get(labels)
        return self._add_series(labels) if found is None else found

    def count(self, base: int, duration_ns: int, rows: int, predict_ns: int) -> None:
        """Add one request to the series at `base`. `predict_ns` < 0: no model was called."""
        words = self.words
        words[base + _S_DURATION_NS] += duration_ns
        words[base + _S_ROWS] += rows
        words[base + _S_DURATION_BUCKETS + bisect_left(BOUNDS_NS, duration_ns)] += 1
        if predict_ns >= 0:
            words[base + _S_PREDICT_NS] += predict_ns
            words[base + _S_PREDICTS] += 1
            words[base + _S_PREDICT_BUCKETS + bisect_left(BOUNDS_NS, predict_ns)] += 1

    def count_shared(self, base: int, queue_ns: int, batch_rows: int) -> None:
        """Add to the series at `base` that a request waited `queue_ns` for a call of `batch_rows` rows."""
        words = self.words
        words[base + _S_QUEUE_NS] += queue_ns
        words[base + _S_BATCH_ROWS] += batch_rows
        words[base + _S_QUEUE_BUCKETS + bisect_left(QUEUE_BOUNDS_NS, queue_ns)] += 1
        words[base + _S_BATCH_BUCKETS + bisect_left(BATCH_BOUNDS, batch_rows)] += 1

    def exemplify(self, base: int, trace_id: int, span_id: int, duration_ns: int, now_ns: int) -> None:
        """Keep a request as the example of the series at `base`; at most one a second is kept."""
        words, at = self.words, base + _S_EXEMPLAR
        if now_ns - words[at + 4] >= _EXEMPLAR_EVERY_NS:
            words[at], words[at + 1] = trace_id >> 64, trace_id & _MASK64
            words[at + 2], words[at + 3], words[at + 4] = span_id, duration_ns, now_ns

    def tally(self, name: str, *values: str, amount: int = 1) -> None:
        """Add to a counter with label values of its own; few combinations only."""
        self.add(self.tally_base(name, *values), amount)

    def level(self, name: str, *values: str, amount: int) -> None:
        """Set a number of this life with label values of its own; only living workers' are added up."""
        if base := self.tally_base(name, *values):
            self.words[base] = amount

    def tally_base(self, name: str, *values: str) -> int:
        """Where such a counter lies, in words, for `add`; 0 when the board has no room for it."""
        key = orjson.dumps([name, *values])
        base = self._tallies.get(key)
        if base is None:
            base = self._tallies[key] = self._add_key(key) or 0
        return base

    def add(self, base: int, amount: int) -> None:
        """Add to the counter at `base`."""
        if base:
            self.words[base] += amount

    def values_base(self, *labels: str) -> int:
        """Where a histogram of numeric predictions lies, in words, for `observe`; 0 when the board has no room."""
        return self.tally_base(VALUES, *labels)

    def observe(self, base: int, numbers: Iterable[tuple[int, int]]) -> None:
        """Add values to the histogram at `base`: a bucket's number, and how many are in it."""
        for bucket, number in numbers if base else ():
            self.words[base + bucket] += number

    def active(self, number: int) -> None:
        """How many requests are under way in this worker."""
        self.words[_W_ACTIVE] = number

    def begin(self, kind: int, started_ns: int) -> int:
        """Mark a predict call as under way since `started_ns`; the mark outlives a crash. Returns its slot for `end`.
        `kind` has the version's `mark_tag` above its lowest 8 bits.

        More calls at once than there are slots share the last one: it says what the latest of them is, a candidate's
        before any other, until all of them came back.
        """
        words = self.words
        words[_W_IN_FLIGHT] += 1
        if not self._free:
            return self._begin_shared(kind, started_ns)
        slot = self._free.pop()
        words[slot + 1] = started_ns
        words[slot] = kind
        return slot

    def _begin_shared(self, kind: int, started_ns: int) -> int:
        self._sharing += 1
        if kind & 0xFF >= self.words[_LAST_MARK] & 0xFF:
            self.words[_LAST_MARK + 1], self.words[_LAST_MARK] = started_ns, kind
        return _LAST_MARK

    def end(self, slot: int) -> None:
        """The marked call came back."""
        self.words[_W_IN_FLIGHT] -= 1
        if slot != _LAST_MARK:
            self.words[slot] = 0
            self._free.append(slot)
            return
        self._sharing -= 1
        if not self._sharing:
            self.words[slot] = 0

    def abandon(self) -> None:
        """Nobody waits any more for what is under way: it ends with the process, and that is no crash."""
        for slot in range(_HEADER_WORDS, _LAST_MARK + 1, 2):
            self.words[slot] = 0

    def beat(self, *, ready: bool, generation: int) -> None:
        """Say that the worker lives, whether it is ready, and the newest generation that it follows."""
        self.words[_W_HEARTBEAT_NS] = time.monotonic_ns()
        self.words[_W_READY] = ready
        self.words[_W_GENERATION] = generation

    def acknowledge_veto(self, sequence: int) -> None:
        """All vetoes up to `sequence` are obeyed."""
        self.words[_W_VETO] = sequence

    def acknowledge_wishes(self, sequence: int) -> None:
        """All wishes up to `sequence` are followed, as far as versions could be loaded."""
        self.words[_W_WISHES] = sequence

    def log_counts(self, frames: int, size: int) -> None:
        """What the prediction log's writer has written in this life."""
        self.words[_W_FRAMES], self.words[_W_FRAME_BYTES] = frames, size

    def log_failed(self) -> None:
        """A record could not be written."""
        self.words[_W_LOG_FAILURES] += 1

    def load_failed(self) -> None:
        """A version could not be loaded."""
        self.words[_W_LOAD_FAILURES] += 1

    def span_counts(self, exported: int, dropped: int) -> None:
        """What the span exporter has sent and lost in this life."""
        self.words[_W_SPANS_EXPORTED], self.words[_W_SPANS_DROPPED] = exported, dropped

    def close(self) -> None:
        """Give the lock up; the steward adopts the counts."""
        self.words.release()
        self._map.close()
        os.close(self._file)

    def _add_series(self, labels: Labels) -> int:
        base = self._add_key(orjson.dumps(list(labels)))
        if base is None:
            labels, offset = OVERFLOW, _SERIES_START + (_SERIES - 1) * _SERIES_BYTES
            key = orjson.dumps(list(OVERFLOW))
            self._map[offset:offset + len(key)] = key
            base = (offset + _KEY_BYTES) // 8
        self._bases[labels] = base
        return base

    def _add_key(self, key: bytes) -> int | None:
        """Where the words of a new key begin; None when there is no room for it."""
        number = self.words[_W_SERIES]
        if number >= _SERIES - 1 or len(key) > _KEY_BYTES:
            return None
        offset = _SERIES_START + number * _SERIES_BYTES
        self._map[offset:offset + len(key)] = key
        self.words[_W_SERIES] = number + 1
        return (offset + _KEY_BYTES) // 8


def boards_in(folder: Path) -> list[Path]:
    """The boards in `folder`."""
    return sorted(folder.glob(f"*{SUFFIX}"))


def read(path: Path) -> Reading:
    """What the board at `path` says now. FileNotFoundError when it has gone, `BoardError` when it is none."""
    data = path.read_bytes()
    if int.from_bytes(data[:8], "little") != _MAGIC:
        raise BoardError(f"{path} is no board, or is only being made")
    if (found := int.from_bytes(data[8:16], "little")) != FORMAT:
        raise BoardError(f"{path} has format {found}, this program reads format {FORMAT}: upgrade it")
    if len(data) != _BYTES:
        raise BoardError(f"{path} has {len(data)} bytes, a board has {_BYTES}")
    words = struct.unpack_from(f"<{_HEADER_WORDS + 2 * _MARKS}Q", data)
    pairs = zip(words[_HEADER_WORDS::2], words[_HEADER_WORDS + 1::2], strict=True)
    return Reading(
        path, f"{words[_W_INCARNATION]:016x}", words[_W_PID], words[_W_START_TICKS], words[_W_STARTED_NS],
        words[_W_HEARTBEAT_NS], bool(words[_W_READY]), words[_W_VETO], words[_W_GENERATION], words[_W_IN_FLIGHT],
        {name: words[word] for name, word in _HEADER_COUNTERS.items()} | dict(_read_tallies(data, words[_W_SERIES])),
        dict(_read_series(data, words[_W_SERIES])),
        tuple(Mark(kind & 0xFF, began, kind >> 8) for kind, began in pairs if kind),
        words[_W_WISHES], words[_W_ACTIVE])


def is_owned(path: Path) -> bool:
    """Whether the process that made the board at `path` still lives. A child that it forked may hold the lock on."""
    return is_locked(path) and _lives(path)


def _lives(path: Path) -> bool:
    """Whether the process that a board is named after is there; also where nothing can be known of processes."""
    pid, ticks = map(int, path.name.split("-")[:2])
    return start_ticks(pid) == ticks


def adopt(path: Path) -> Reading | None:
    """Add a dead worker's board to the folder's totals and remove it; None when it cannot be (yet).

    Only one process may adopt in a folder (the steward). The totals name the boards they hold, and the board is
    removed after the totals were replaced: a steward killed in between counts nothing twice.
    """
    totals, adopted = _totals(path.parent)
    try:
        reading = read(path)
    except (FileNotFoundError, BoardError):
        return None
    if reading.incarnation not in adopted:
        merged = merge([totals, (reading.counters, reading.series)])
        _write_totals(path.parent, merged, [*adopted, reading.incarnation])
    path.unlink(missing_ok=True)
    return reading


Counts = tuple[dict[str, int], dict[Labels, Series]]


def merge(parts: Iterable[Counts]) -> Counts:
    """The sum of several boards' counts: exact, in any order."""
    counters: dict[str, int] = {}
    series: dict[Labels, Series] = {}
    for part_counters, part_series in parts:
        for name, value in part_counters.items():
            counters[name] = counters.get(name, 0) + value
        for labels, counts in part_series.items():
            series[labels] = _add(series[labels], counts) if labels in series else counts
    return counters, series


def read_all(folder: Path) -> tuple[Counts, list[Reading]]:
    """The totals of all workers that ever counted in `folder`, and the boards that are still there."""
    for _ in range(10):
        before = _stamp(folder)
        totals, adopted = _totals(folder)
        readings = [reading for reading in _readable(folder) if reading.incarnation not in adopted]
        if _stamp(folder) == before:  # else a board was adopted between the two looks: look again
            break
    return merge([totals, *((reading.counters, reading.series) for reading in readings)]), readings


def _readable(folder: Path) -> Iterator[Reading]:
    for path in boards_in(folder):
        try:
            yield read(path)
        except (FileNotFoundError, BoardError):
            continue


def _read_series(data: bytes, number: int) -> Iterator[tuple[Labels, Series]]:
    for key, words in _read_keys(data, number):
        labels = orjson.loads(key)
        if len(labels) == len(Labels._fields):
            yield Labels(*labels), Series(
                words[_S_DURATION_NS], words[_S_ROWS], words[_S_PREDICT_NS], words[_S_PREDICTS],
                words[_S_DURATION_BUCKETS:_S_PREDICT_BUCKETS], words[_S_PREDICT_BUCKETS:_S_QUEUE_NS],
                words[_S_QUEUE_NS], words[_S_BATCH_ROWS], words[_S_QUEUE_BUCKETS:_S_BATCH_BUCKETS],
                words[_S_BATCH_BUCKETS:_S_EXEMPLAR], Exemplar(*words[_S_EXEMPLAR:_S_EXEMPLAR + _EXEMPLAR_WORDS]))


def _read_tallies(data: bytes, number: int) -> Iterator[tuple[str, int]]:
    """Rare counters; their key, a JSON list of name and label values, is their name among the counters."""
    for key, words in _read_keys(data, number):
        labels = orjson.loads(key)
        if labels[0] == VALUES and len(labels) < len(Labels._fields):
            yield from ((orjson.dumps([*labels, str(bucket)]).decode(), number)
                        for bucket, number in enumerate(words) if number)
        elif len(labels) < len(Labels._fields):
            yield key.decode(), words[0]


def _read_keys(data: bytes, number: int) -> Iterator[tuple[bytes, tuple[int, ...]]]:
    for index in (*range(min(number, _SERIES - 1)), _SERIES - 1):
        offset = _SERIES_START + index * _SERIES_BYTES
        key = data[offset:offset + _KEY_BYTES].rstrip(b"\0")
        if key:
            yield key, struct.unpack_from(f"<{_SERIES_WORDS}Q", data, offset + _KEY_BYTES)


def _add(a: Series, b: Series) -> Series:
    latest = max(a.exemplar, b.exemplar, key=lambda exemplar: (exemplar.time_ns, exemplar))
    return Series._make([*map(_sum, a[:-1], b[:-1]), latest])


def _sum(a: Any, b: Any) -> Any:
    return tuple(map(sum, zip(a, b, strict=True))) if isinstance(a, tuple) else a + b


def _stamp(folder: Path) -> tuple[int, int]:
    try:
        status = (folder / TOTALS).stat()
    except FileNotFoundError:
        return 0, 0
    return status.st_ino, status.st_mtime_ns


def _totals(folder: Path) -> tuple[Counts, list[str]]:
    try:
        stored = orjson.loads((folder / TOTALS).read_bytes())
    except FileNotFoundError:
        return ({}, {}), []
    if stored["format"] != FORMAT:
        raise BoardError(f"{folder / TOTALS} has format {stored['format']}, this program reads {FORMAT}: upgrade it")
    series = {Labels(*labels): _stored(counts) for labels, counts in stored["series"]}
    return (stored["counters"], series), stored["adopted"]


def _stored(counts: list[Any]) -> Series:
    """A series as the totals hold it; older ones have fewer fields."""
    fields = [tuple(field) if isinstance(field, list) else field for field in counts]
    found = Series._make([*fields, *EMPTY[len(fields):]])
    return found._replace(exemplar=Exemplar(*found.exemplar))


def _write_totals(folder: Path, counts: Counts, adopted: list[str]) -> None:
    counters, series = counts
    write_atomically(folder / TOTALS, orjson.dumps({
        "format": FORMAT, "counters": counters, "adopted": adopted,
        "series": [(list(labels), [*counts[:-1], list(counts.exemplar)]) for labels, counts in series.items()]}))
