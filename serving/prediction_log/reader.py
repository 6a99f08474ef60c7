"""Reads prediction records back, from segments that may still be growing or end torn."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from pathlib import Path
from typing import NamedTuple

from serinus.monitors.record import PredictionRecord
from serinus.serving.files import is_locked
from serinus.serving.ids import parse_prediction_id
from serinus.serving.prediction_log.frame import (
    CONTEXT,
    HEADER_BYTES,
    PREDICTION,
    Context,
    FrameError,
    decode_context,
    decode_prediction,
    unframe,
    unpack_header,
)
from serinus.serving.prediction_log.writer import SEGMENT_SUFFIX, segment_name

__all__ = ["Follower", "SegmentEnd", "find", "is_open", "read", "read_segment", "segments"]


class SegmentEnd(NamedTuple):
    """Where reading a segment stopped. `torn` bytes after `clean` are no whole frame: a writer died in mid-write."""

    clean: int
    torn: int


def segments(folder: Path) -> list[Path]:
    """The segments in `folder`, by writer and sequence."""
    return sorted(folder.glob(f"*{SEGMENT_SUFFIX}"))


def is_open(segment: Path) -> bool:
    """Whether a living process still writes this segment."""
    return is_locked(segment)


def read(folder: Path) -> Iterator[PredictionRecord]:
    """All records in `folder`, segment by segment; torn tails are passed over."""
    for segment in segments(folder):
        yield from read_segment(segment)


def read_segment(segment: Path) -> Generator[PredictionRecord, None, SegmentEnd]:
    """The records of one segment; the generator's return value is its `SegmentEnd`.

    Raises `FrameError` when the file is no segment of a known format.
    """
    data = memoryview(segment.read_bytes())
    if len(data) < HEADER_BYTES:  # its writer died, or the disk was full, before the header was whole
        return SegmentEnd(0, len(data))
    unpack_header(bytes(data[:HEADER_BYTES]))
    contexts: dict[int, Context] = {}
    offset = HEADER_BYTES
    while (found := unframe(data, offset)) is not None:
        payload, offset = found
        if payload[0] == CONTEXT:
            number, context = decode_context(payload)
            contexts[number] = context
        elif payload[0] == PREDICTION:
            yield decode_prediction(payload, contexts)
        else:
            raise FrameError(f"{segment.name}: unknown frame kind {payload[0]}")
    return SegmentEnd(offset, len(data) - offset)


class Follower:
    """Reads a folder's records as they are appended, each once, oldest segments first."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._places: dict[Path, tuple[int, dict[int, Context]]] = {}

    def read(self) -> Iterator[PredictionRecord]:
        """The records that came since the last call; one may stop in between, and the rest comes with the next call."""
        for segment in sorted(segments(self._folder), key=_created):
            try:
                yield from self._read(segment)
            except FileNotFoundError:  # the log is capped
                continue

    def _read(self, segment: Path) -> Iterator[PredictionRecord]:
        start, contexts = self._places.get(segment, (HEADER_BYTES, {}))
        with segment.open("rb") as stream:
            stream.seek(start)
            data = memoryview(stream.read())
        offset = 0
        while (found := unframe(data, offset)) is not None:
            payload, offset = found
            self._places[segment] = start + offset, contexts
            if payload[0] == CONTEXT:
                number, context = decode_context(payload)
                contexts[number] = context
            elif payload[0] == PREDICTION:
                yield decode_prediction(payload, contexts)


def _created(segment: Path) -> tuple[int, str]:
    try:
        with segment.open("rb") as stream:
            return unpack_header(stream.read(HEADER_BYTES))[2], segment.name
    except (FileNotFoundError, FrameError):  # begun, not yet written: the newest
        return 1 << 63, segment.name


def find(folder: Path, prediction_id: str) -> PredictionRecord | None:
    """The record that holds this prediction, found by arithmetic on its id; None when it is not here."""
    wanted = parse_prediction_id(prediction_id)
    if wanted is None:
        return None
    latest = segment_name(wanted.writer, wanted.sequence)
    own = sorted(path for path in folder.glob(f"{wanted.writer:09x}-*{SEGMENT_SUFFIX}") if path.name <= latest)
    for segment in own[-1:]:
        for record in read_segment(segment):
            if record.prediction_uuid == wanted.uuid and wanted.row < record.rows:
                return record
    return None
