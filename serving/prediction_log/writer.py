"""Appends prediction records: one `write()` each, before the answer leaves.

What `write()` has taken lies in the kernel's page cache, so it survives the death of the process (SIGKILL
included), not the loss of power.
"""

from __future__ import annotations

import fcntl
import math
import os
import time
from pathlib import Path

from serinus.monitors.record import PredictionRecord
from serinus.serving.prediction_log.frame import Context, encode_context, encode_prediction, frame, pack_header

__all__ = ["SEGMENT_SUFFIX", "SegmentWriter", "segment_name"]

SEGMENT_SUFFIX = ".segment"


def segment_name(writer: int, first_sequence: int) -> str:
    """File name of a segment: writer and first sequence number, so that a prediction id leads to it."""
    return f"{writer:09x}-{first_sequence:010x}{SEGMENT_SUFFIX}"


class SegmentWriter:
    """Appends to one segment after another in `folder`; the open one is locked (flock) while its writer lives.

    A segment is full at `segment_bytes`, and ended by the first record after `segment_seconds`, or by `end_if_old`.

    Raises OSError when a record cannot be written; what was written of it is cut off at once, so that the next
    record stands at a clean end.
    """

    def __init__(self, folder: Path, writer: int, segment_bytes: int, segment_seconds: float = math.inf) -> None:
        self.frames = 0
        self.bytes = 0
        self._folder = folder
        self._writer = writer
        self._segment_bytes = segment_bytes
        self._segment_s = segment_seconds
        self._until = math.inf
        self._file = -1
        self._size = 0
        self._contexts: dict[tuple[str | None, ...], int] = {}
        folder.mkdir(parents=True, exist_ok=True)

    def append(self, record: PredictionRecord, sequence: int) -> None:
        """Write `record`, whose id has the writer's `sequence`; it is in the file when this returns."""
        self.end_if_old()
        if self._file < 0:
            self._open(sequence)
        key = (record.model, record.version, record.role, *record.inputs, None, *record.outputs)
        number = self._contexts.get(key)
        if number is None:
            number = self._add_context(key, record)
        self._write(frame(encode_prediction(record, number)))
        self.frames += 1
        if self._size >= self._segment_bytes or len(self._contexts) > 60_000:
            self.close()

    def end_if_old(self) -> None:
        """End a segment that has been written for long enough."""
        if self._file >= 0 and time.monotonic() >= self._until:
            self.close()

    def close(self) -> None:
        """End the open segment; the next record starts a new one."""
        if self._file >= 0:
            os.close(self._file)  # and with it the lock
            self._file = -1

    def _add_context(self, key: tuple[str | None, ...], record: PredictionRecord) -> int:
        number = len(self._contexts)
        context = Context(record.model, record.version, record.role, tuple(record.inputs), tuple(record.outputs))
        self._write(frame(encode_context(number, context)))
        self._contexts[key] = number  # only now: a context that was not written must not be referred to
        return number

    def _open(self, sequence: int) -> None:
        path = self._folder / segment_name(self._writer, sequence)
        while True:
            self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._file, fcntl.LOCK_EX)  # waits a moment for a reader that only asks whether it is free
            if os.fstat(self._file).st_nlink:
                break
            os.close(self._file)  # removed before it was locked, as one that nobody writes
        self._until = time.monotonic() + self._segment_s
        self._size = os.fstat(self._file).st_size
        self._contexts = {}
        if self._size == 0:
            try:
                self._write(pack_header(self._writer, sequence, time.time_ns()))
            except OSError:  # a full disk: no empty file for every request that it refuses
                self.close()
                path.unlink(missing_ok=True)
                raise

    def _write(self, data: bytes) -> None:
        try:
            written = os.write(self._file, data)
        except OSError:
            self._cut()
            raise
        if written != len(data):
            self._cut()
            raise OSError(f"prediction log took {written} of {len(data)} bytes")
        self._size += written
        self.bytes += written

    def _cut(self) -> None:
        os.ftruncate(self._file, self._size)
