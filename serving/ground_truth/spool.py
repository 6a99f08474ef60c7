"""Where accepted ground truth waits until the steward brings it into the store: files that survive the death of all.

    file  := magic "SRNSPL\\r\\n" | format u16 | 6 zero bytes | frame*
    frame := length u32 | CRC-32C of the payload u32 | payload, the JSON of a list of outcomes

A worker appends to a file of its own, which it holds locked; nobody is asked, so a store that is away stops nothing.
The steward reads on from where it was, and removes a file that it has read and whose writer is gone.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import struct
import threading
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import orjson

from serinus.serving.errors import SerinusError
from serinus.serving.files import is_locked, write_atomically
from serinus.serving.prediction_log.frame import FrameError, frame, unframe
from serinus.serving.store import GroundTruth

__all__ = ["Portion", "Spool", "SpoolError", "is_finished", "leave_out", "read_on", "spooled", "waiting_bytes"]

FORMAT = 1
_HEADER = struct.Struct("<8sH6x")
_MAGIC = b"SRNSPL\r\n"
_ROWS = 2_000
"""Of one frame."""
_FILE_BYTES = 16 * 1024 * 1024
_SUFFIX = ".spool"


class SpoolError(SerinusError):
    """What came could not be kept, and nothing of it was accepted."""


class Portion(NamedTuple):
    """Some outcomes, and where the next ones begin."""

    rows: list[GroundTruth]
    end: int


class Spool:
    """Appends to one file after another in `folder`, from any thread; all files together are at most `cap_bytes`."""

    def __init__(self, folder: Path, cap_bytes: int, file_bytes: int = _FILE_BYTES) -> None:
        self._folder = folder
        self._cap = cap_bytes
        self._file_bytes = file_bytes
        self._file = -1
        self._size = 0
        self._lock = threading.Lock()

    def append(self, rows: Sequence[GroundTruth]) -> None:
        """Keep outcomes; when this returns they survive the death of every process. Raises `SpoolError`."""
        chunks = (rows[start:start + _ROWS] for start in range(0, len(rows), _ROWS))
        data = b"".join(frame(orjson.dumps([row[:8] for row in chunk])) for chunk in chunks)
        with self._lock:
            if waiting_bytes(self._folder) + len(data) > self._cap:
                raise SpoolError(f"Ground truth is not taken: {self._folder} has reached ground_truth.spool_bytes "
                                 f"({self._cap:,}). It waits for the store; see `serinus doctor`.")
            try:
                self._write(data)
            except OSError as error:
                raise SpoolError(f"Ground truth is not taken: {self._folder} cannot be written "
                                 f"({error.strerror or error}).") from error

    def close(self) -> None:
        """Let go of the file; what comes later begins another one."""
        with self._lock:
            self._let_go()

    def _write(self, data: bytes) -> None:
        if self._file < 0:
            self._open()
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[os.write(self._file, rest):]
        except OSError:
            os.ftruncate(self._file, self._size)
            raise
        self._size += len(data)
        if self._size >= self._file_bytes:
            self._let_go()

    def _open(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = self._folder / f"{os.getpid()}-{secrets.token_hex(8)}{_SUFFIX}"
        aside = path.with_suffix(".new")
        self._file = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX)
            self._size = os.write(self._file, _HEADER.pack(_MAGIC, FORMAT))
            aside.rename(path)  # only now may the steward see it: one that nobody holds is removed
        except OSError:
            self._let_go()
            aside.unlink(missing_ok=True)
            raise

    def _let_go(self) -> None:
        if self._file >= 0:
            os.close(self._file)  # and with it the lock
            self._file = -1


def spooled(folder: Path) -> list[Path]:
    """The files that wait, oldest first."""
    return sorted(folder.glob(f"*{_SUFFIX}"), key=_age)


def waiting_bytes(folder: Path) -> int:
    """How much waits."""
    found = 0
    for path in folder.glob(f"*{_SUFFIX}"):
        with contextlib.suppress(FileNotFoundError):
            found += path.stat().st_size
    return found


def read_on(path: Path, place: int) -> Iterator[Portion]:
    """What a file holds from `place` on (0: all of it). Raises `FrameError` where it is of another format."""
    with path.open("rb") as stream:
        head = stream.read(_HEADER.size)
        if len(head) < _HEADER.size:
            return
        magic, version = _HEADER.unpack(head)
        if magic != _MAGIC or version != FORMAT:
            raise FrameError(f"{path} is no spool of format {FORMAT}: upgrade this program, or move the file away")
        begin = max(place, _HEADER.size)
        stream.seek(begin)
        data = memoryview(stream.read())
    offset = 0
    while (found := unframe(data, offset)) is not None:
        payload, offset = found
        yield Portion([GroundTruth(*row) for row in orjson.loads(payload)], begin + offset)


def leave_out(path: Path, prediction_ids: Collection[str]) -> int:
    """Write a finished file anew without the outcomes of some predictions, each frame as long as it was, so that who
    reads on finds his place; answers how many there were."""
    try:
        data = bytearray(path.read_bytes())
    except FileNotFoundError:
        return 0
    whole, offset, count = memoryview(bytes(data)), _HEADER.size, 0
    while (found := unframe(whole, offset)) is not None:
        payload, end = found
        rows = orjson.loads(payload)
        kept = [row for row in rows if row[0] not in prediction_ids]
        if len(kept) < len(rows):
            count += len(rows) - len(kept)
            data[offset:end] = frame(orjson.dumps(kept).ljust(len(payload)))
        offset = end
    if count:
        write_atomically(path, bytes(data[:offset]))
    return count


def is_finished(path: Path) -> bool:
    """Whether nobody appends to a file any more."""
    return not is_locked(path)


def _age(path: Path) -> tuple[int, str]:
    try:
        return path.stat().st_mtime_ns, path.name
    except FileNotFoundError:
        return 0, path.name
