"""Reads prediction records back, from segments that may still be growing or end torn, and from what replaced them."""

from __future__ import annotations

import heapq
import uuid
from collections.abc import Generator, Iterator, Mapping
from contextlib import suppress
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple

from serinus.monitors.record import PredictionRecord
from serinus.serving.files import is_locked
from serinus.serving.ids import parse_prediction_id
from serinus.serving.prediction_log.frame import (
    CONTEXT,
    HEADER_BYTES,
    PREDICTION,
    Context,
    FrameError,
    beginning,
    decode_context,
    decode_prediction,
    unframe,
    unpack_header,
)
from serinus.serving.prediction_log.manifest import Manifest, Part, manifest_of, manifests, parquet_folder
from serinus.serving.prediction_log.parquet import records_in
from serinus.serving.prediction_log.writer import SEGMENT_SUFFIX, segment_name

__all__ = ["EVERYTHING", "Choice", "Entry", "Follower", "SegmentEnd", "Walk", "entries", "find", "is_open",
           "positioned", "read", "read_frames", "read_segment", "segments", "stored"]

HOUR_MS = 3_600_000


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


class Choice(NamedTuple):
    """Which records are wanted; None is all of them. Times are of arrival, in Unix nanoseconds."""

    model: str | None = None
    version: str | None = None
    since_ns: int | None = None
    until_ns: int | None = None
    """Before this."""
    uuid: bytes | None = None
    """This one request."""

    def takes_version(self, model: str, version: str) -> bool:
        """Whether some records of this version may be wanted."""
        return self.model in (None, model) and self.version in (None, version)

    def takes(self, record: PredictionRecord) -> bool:
        """Whether this record is wanted."""
        return (self.takes_version(record.model, record.version)
                and self.uuid in (None, record.prediction_uuid)
                and (self.since_ns is None or record.received_ns >= self.since_ns)
                and (self.until_ns is None or record.received_ns < self.until_ns))

    def takes_part(self, part: Part) -> bool:
        """Whether some of a file's records may be wanted."""
        return (self.takes_version(part.shape.model, part.shape.version)
                and (self.uuid is None or int.from_bytes(self.uuid[:6]) // HOUR_MS == part.hour)
                and (self.since_ns is None or part.last_ns >= self.since_ns)
                and (self.until_ns is None or part.first_ns < self.until_ns))


EVERYTHING = Choice()


def read_segment(segment: Path, choice: Choice = EVERYTHING) -> Generator[PredictionRecord, None, SegmentEnd]:
    """The records of one segment, those that are wanted; the generator's return value is its `SegmentEnd`.

    Raises `FrameError` when the file is no segment of a known format.
    """
    return (yield from read_frames(memoryview(segment.read_bytes()), segment.name, choice))


def read_frames(data: memoryview, name: str, choice: Choice = EVERYTHING) -> Generator[PredictionRecord, None,
                                                                                        SegmentEnd]:
    """The records in a segment's bytes; see `read_segment`."""
    if len(data) < HEADER_BYTES:  # its writer died, or the disk was full, before the header was whole
        return SegmentEnd(0, len(data))
    unpack_header(bytes(data[:HEADER_BYTES]))
    contexts: dict[int, Context] = {}
    walk = Walk(data, contexts, HEADER_BYTES)
    for payload in walk:
        if payload[0] != PREDICTION:
            raise FrameError(f"{name}: unknown frame kind {payload[0]}")
        if choice is EVERYTHING:
            yield decode_prediction(payload, contexts)
        elif _may_be(payload, contexts, choice) and choice.takes(record := decode_prediction(payload, contexts)):
            yield record
    return SegmentEnd(walk.offset, len(data) - walk.offset)


def _may_be(payload: memoryview, contexts: Mapping[int, Context], choice: Choice) -> bool:
    """Whether a record may be wanted, by what is known of it before it is decoded."""
    number, _, uuid = beginning(payload)
    context = contexts.get(number)
    return choice.uuid in (None, uuid) and (
        context is None or choice.takes_version(context.model, context.version))


class Walk:
    """The whole frames in a segment's bytes from `offset` on, which moves along. What is no context is given; contexts
    are put among `contexts`."""

    def __init__(self, data: memoryview, contexts: dict[int, Context], offset: int) -> None:
        self.offset = offset
        self._data, self._contexts = data, contexts

    def __iter__(self) -> Iterator[memoryview]:
        while (found := unframe(self._data, self.offset)) is not None:
            payload, self.offset = found
            if payload[0] == CONTEXT:
                number, context = decode_context(payload)
                self._contexts[number] = context
            else:
                yield payload


class Entry(NamedTuple):
    """What one segment held: the segment itself, or the Parquet files that replaced it."""

    folder: Path
    name: str
    """The segment's file name."""

    @property
    def path(self) -> Path:
        """Where the segment lies, if it does."""
        return self.folder / self.name

    @property
    def manifest(self) -> Manifest | None:
        """What replaced the segment; None while nothing has."""
        return manifest_of(self.folder, self.name)

    @property
    def exists(self) -> bool:
        """Whether its records are still kept."""
        return self.path.exists() or self.manifest is not None

    @property
    def last_ns(self) -> int:
        """When its last record was written, about; 0 where it is gone."""
        manifest = self.manifest
        if manifest is not None:
            return manifest.last_ms * 1_000_000
        try:
            return self.path.stat().st_mtime_ns
        except FileNotFoundError:
            manifest = self.manifest
            return 0 if manifest is None else manifest.last_ms * 1_000_000

    def records(self, choice: Choice = EVERYTHING) -> Iterator[PredictionRecord]:
        """Its records in the order in which they were written; none where it is gone.

        Raises `FrameError` when it is no segment of a known format.
        """
        manifest = self.manifest
        if manifest is None:
            try:
                yield from read_segment(self.path, choice)
                return
            except FileNotFoundError:  # replaced meanwhile, or the log is capped
                manifest = self.manifest
        if manifest is not None:
            yield from (record for _, record in positioned(self.folder, manifest, choice))


class Stored(NamedTuple):
    """When an entry's last record was written, about, and how many bytes it takes."""

    last_ns: int
    size: int
    entry: Entry


def entries(folder: Path) -> list[Entry]:
    """What there is in a log, by writer and sequence, each once."""
    names = [path.name for path in segments(folder)]  # first: what is replaced meanwhile is then found below
    return [Entry(folder, name) for name in sorted({*names, *manifests(folder)})]


def stored(folder: Path) -> Iterator[Stored]:
    """How much there is in a log."""
    for entry in entries(folder):
        manifest = entry.manifest
        size = 0 if manifest is None else manifest.size
        with suppress(FileNotFoundError):
            size += entry.path.stat().st_size
        if size or manifest is not None:
            yield Stored(entry.last_ns, size, entry)


def read(folder: Path, choice: Choice = EVERYTHING) -> Iterator[PredictionRecord]:
    """The records in `folder`, segment by segment, each once; torn tails are passed over."""
    for entry in entries(folder):
        yield from entry.records(choice)


def positioned(folder: Path, manifest: Manifest, choice: Choice) -> Iterator[tuple[int, PredictionRecord]]:
    """The records of a segment that was replaced, in their order, each with its position."""
    reading = [_of_part(folder, part, choice) for part in manifest.parts if choice.takes_part(part)]
    return heapq.merge(*reading, key=itemgetter(0))


def _of_part(folder: Path, part: Part, choice: Choice) -> Iterator[tuple[int, PredictionRecord]]:
    """All of its rows may have been erased, and the file with them."""
    wanted = None if choice.uuid is None else partial(_is_of, choice.uuid)
    with suppress(FileNotFoundError):
        for position, record in records_in(parquet_folder(folder) / part.path, wanted):
            if choice.takes(record):
                yield position, record


def _is_of(wanted: bytes, table: Any) -> Any:
    import pyarrow.compute as pc

    return pc.starts_with(table["prediction_id"], str(uuid.UUID(bytes=wanted)))


class Follower:
    """Reads a folder's records as they are appended, each once, oldest segments first; some may be replaced by Parquet
    files meanwhile.

    Another one goes on where its `progress` says that this one is. What was written before `since_ns` is passed over
    where that is known of a whole segment.
    """

    def __init__(self, folder: Path, progress: Mapping[str, int] | None = None, since_ns: int = 0) -> None:
        self._folder = folder
        self._since_ns = since_ns
        self._places: dict[str, tuple[int, dict[int, Context]]] = {}
        self._read_of = {name: count for name, count in (progress or {}).items() if count >= 0}
        self._known = dict(self._read_of)
        self._whole = {name for name, count in (progress or {}).items() if count < 0}

    @property
    def progress(self) -> dict[str, int]:
        """How many records were read of what there still is, by segment; -1 where nothing will be added."""
        there = {entry.name for entry in entries(self._folder)}
        return {name: count for name, count in {**self._read_of, **dict.fromkeys(self._whole, -1)}.items()
                if name in there}

    def read(self) -> Iterator[PredictionRecord]:
        """The records that came since the last call; one may stop in between, and the rest comes with the next call."""
        for entry in sorted((each for each in entries(self._folder) if each.name not in self._whole), key=_created):
            if self._since_ns and 0 < entry.last_ns < self._since_ns and not is_open(entry.path):
                self._whole.add(entry.name)
                continue
            manifest = entry.manifest
            if manifest is None:
                try:
                    yield from self._read(entry)
                    continue
                except FileNotFoundError:  # replaced, or the log is capped
                    manifest = entry.manifest
            if manifest is not None:
                yield from self._read_parts(entry, manifest)
            self._whole.add(entry.name)

    def _read(self, entry: Entry) -> Iterator[PredictionRecord]:
        start, contexts = self._places.get(entry.name, (HEADER_BYTES, {}))
        with entry.path.open("rb") as stream:
            stream.seek(start)
            walk = Walk(memoryview(stream.read()), contexts, 0)
        for payload in walk:
            self._places[entry.name] = start + walk.offset, contexts
            if payload[0] == PREDICTION and self._known.get(entry.name, 0) > 0:
                self._known[entry.name] -= 1  # by whom this one goes on
            elif payload[0] == PREDICTION:
                self._read_of[entry.name] = self._read_of.get(entry.name, 0) + 1
                yield decode_prediction(payload, contexts)

    def _read_parts(self, entry: Entry, manifest: Manifest) -> Iterator[PredictionRecord]:
        for position, record in positioned(entry.folder, manifest, EVERYTHING):
            if position >= self._read_of.get(entry.name, 0):
                self._read_of[entry.name] = position + 1
                yield record


def _created(entry: Entry) -> tuple[int, str]:
    manifest = entry.manifest
    if manifest is not None:
        return manifest.first_ms * 1_000_000, entry.name
    try:
        with entry.path.open("rb") as stream:
            return unpack_header(stream.read(HEADER_BYTES))[2], entry.name
    except (FileNotFoundError, FrameError):  # begun, not yet written: the newest
        return 1 << 63, entry.name


def find(folder: Path, prediction_id: str) -> PredictionRecord | None:
    """The record that holds this prediction, found by arithmetic on its id; None when it is not here."""
    wanted = parse_prediction_id(prediction_id)
    if wanted is None:
        return None
    latest, prefix = segment_name(wanted.writer, wanted.sequence), f"{wanted.writer:09x}-"
    names = {path.name for path in folder.glob(f"{prefix}*{SEGMENT_SUFFIX}")}.union(manifests(folder, prefix))
    for name in sorted(name for name in names if name <= latest)[-1:]:
        for record in Entry(folder, name).records(Choice(uuid=wanted.uuid)):
            if wanted.row < record.rows:
                return record
    return None
