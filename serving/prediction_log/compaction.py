"""Turns finished segments into Parquet, and lets go of both; whatever dies at any moment, each record is there once.

    1  the records are written as Parquet files into `_new`, and the manifest that names them beside them
    2  the files are renamed to where they belong; nobody reads them yet
    3  the manifest is renamed: from here on it is they that are read
    4  the segment is removed

Who dies before the manifest lies in `_new` has done nothing, and what is there is thrown away. Who dies later has
everything on the disk, and the next one goes on from there.
"""

from __future__ import annotations

import mmap
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

from serinus.monitors.record import PredictionRecord
from serinus.serving.prediction_log.frame import HEADER_BYTES, FrameError
from serinus.serving.prediction_log.manifest import (
    Manifest,
    Part,
    exclusive,
    manifest_of,
    manifest_path,
    new_folder,
    parquet_folder,
    shipped_path,
)
from serinus.serving.prediction_log.parquet import Shape, read_rows, table_of
from serinus.serving.prediction_log.reader import SegmentEnd, is_open, read_frames, segments

__all__ = ["as_parquet", "compact", "compact_segment", "finished", "recover", "remove", "rewrite"]

_ROWS = 10_000
"""Of all files together that wait in memory, about."""
_BYTES = 16 * 1024 * 1024
_FILES = 64
"""Written at a time."""
_HOUR_MS = 3_600_000
_YOUNG_S = 60.0


def finished(folder: Path) -> list[Path]:
    """The segments that nobody writes any more, oldest first."""
    found = []
    for path in segments(folder):
        with suppress(FileNotFoundError):
            status = path.stat()
            begun = status.st_size <= HEADER_BYTES and time.time() - status.st_mtime < _YOUNG_S  # not yet locked, maybe
            if not begun and not is_open(path):
                found.append((status.st_mtime_ns, path))
    return [path for _, path in sorted(found)]


def compact(folder: Path, *, breath: Callable[[], None] = lambda: None,
            refused: Callable[[Path, Exception], None] = lambda *_: None) -> int:
    """Replace every finished segment of a log by Parquet files; answers how many were.

    `breath` is called often, to rest; `refused` is told of a segment that cannot be read, which stays as it is.
    """
    done = 0
    with exclusive(folder, wait=False) as mine:
        if mine:
            recover(folder)
    for segment in finished(folder):
        with exclusive(folder, wait=False) as mine:
            if not mine:
                return done
            try:
                done += compact_segment(segment, breath=breath) is not None
            except FileNotFoundError:  # removed meanwhile
                continue
            except FrameError as error:
                refused(segment, error)
    return done


def compact_segment(segment: Path, *, rows: int = _ROWS, breath: Callable[[], None] = lambda: None) -> Manifest | None:
    """Replace one finished segment; None where that was done before. The caller holds the log's lock."""
    folder = segment.parent
    if manifest_of(folder, segment.name) is not None:
        segment.unlink(missing_ok=True)
        return None
    aside = new_folder(folder)
    aside.mkdir(parents=True, exist_ok=True)
    parts = _Parts(aside, segment.stem, rows)
    try:
        manifest = parts.write(segment, breath)
    except OSError:  # a full disk: what was begun takes no room
        parts.discard()
        raise
    _write_through(aside / f"{segment.stem}.json", manifest.to_bytes())
    _put_in_place(folder, manifest)
    return manifest


def as_parquet(segment: Path, folder: Path) -> Manifest:
    """Write a segment's records as Parquet files into another folder, without replacing anything."""
    return _Parts(folder, segment.stem, _ROWS).write(segment, lambda: None)


def recover(folder: Path) -> None:
    """Finish, or throw away, what somebody who died was making. The caller holds the log's lock."""
    aside = new_folder(folder)
    for path in sorted(aside.glob("*.json")):
        _put_in_place(folder, Manifest.from_bytes(path.read_bytes()))
    for path in aside.glob("*"):
        path.unlink()


def rewrite(path: Path, keep: Callable[[Sequence[str]], Sequence[bool]]) -> int:
    """Write a Parquet file anew with those rows only that `keep` says yes to, by their prediction ids; answers how many
    went. It stays, be it empty, so that its copies elsewhere are replaced too. The caller holds the log's lock."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    gone, tables = 0, []
    for table in read_rows(path):
        kept = table.filter(pa.array(keep(table["prediction_id"].to_pylist()), pa.bool_()))
        gone += table.num_rows - kept.num_rows
        tables.append(kept)
    if not gone:
        return 0
    aside = path.parents[3] / "_new" / path.name
    aside.parent.mkdir(exist_ok=True)
    with _writer(aside, pq.read_schema(path)) as writer:
        for table in tables:
            if table.num_rows:
                writer.write_table(table)
    _sync(aside)
    aside.replace(path)
    return gone


def remove(folder: Path, segment: str) -> None:
    """Let go of all records of one segment, wherever they lie. The caller holds the log's lock."""
    manifest = manifest_of(folder, segment)
    (folder / segment).unlink(missing_ok=True)
    if manifest is None:
        return
    for part in manifest.parts:
        path = parquet_folder(folder) / part.path
        path.unlink(missing_ok=True)
        with suppress(OSError):  # others lie there
            for empty in list(path.parents)[:3]:
                empty.rmdir()
    shipped_path(folder, segment).unlink(missing_ok=True)
    manifest_path(folder, segment).unlink(missing_ok=True)


def _put_in_place(folder: Path, manifest: Manifest) -> None:
    aside = new_folder(folder)
    for part in manifest.parts:
        target = parquet_folder(folder) / part.path
        target.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):  # it is there
            (aside / target.name).replace(target)
        _sync(target.parent)
    target = manifest_path(folder, manifest.segment)
    target.parent.mkdir(exist_ok=True)
    (aside / target.name).replace(target)
    _sync(target.parent)
    (folder / manifest.segment).unlink(missing_ok=True)


class _Parts:
    """The files that one segment becomes: one for each version, hour and shape of its records."""

    def __init__(self, folder: Path, stem: str, rows: int) -> None:
        self._folder = folder
        self._stem = stem
        self._rows = rows
        self._waiting: dict[tuple[Shape, int], list[tuple[int, PredictionRecord]]] = {}
        self._many = self._size = self._files = 0
        self._open: dict[tuple[Shape, int], tuple[str, Any]] = {}
        self._parts: dict[str, Part] = {}

    def write(self, segment: Path, breath: Callable[[], None]) -> Manifest:
        """Write all records of the segment, and say what there is now."""
        position, first, last = -1, 1 << 62, 0
        reading = _Reading(segment)
        for position, record in enumerate(reading):
            moment = int.from_bytes(record.prediction_uuid[:6])
            first, last = min(first, moment), max(last, moment)
            self._add(position, record, moment // _HOUR_MS)
            if self._many >= self._rows or self._size >= _BYTES:
                self._flush()
                breath()
        self._flush()
        while self._open:
            self._end(next(iter(self._open)))
        return Manifest(segment.name, tuple(self._parts.values()), position + 1, reading.end.torn,
                        first if position >= 0 else 0, last)

    def discard(self) -> None:
        """Throw away what was written so far."""
        for _, writer in self._open.values():
            with suppress(OSError):
                writer.close()
        for path in self._folder.glob(f"{self._stem}.*.parquet"):
            path.unlink()

    def _add(self, position: int, record: PredictionRecord, hour: int) -> None:
        if record.rows:
            self._waiting.setdefault((Shape.of(record), hour), []).append((position, record))
            self._many += record.rows
            self._size += sum(array.nbytes for side in (record.inputs, record.outputs) for array in side.values())

    def _flush(self) -> None:
        for key, waiting in self._waiting.items():
            positions, records = zip(*waiting, strict=True)
            self._write(key, table_of(key[0], records, positions), [record.received_ns for record in records])
        self._waiting.clear()
        self._many = self._size = 0

    def _write(self, key: tuple[Shape, int], table: Any, received: Sequence[int]) -> None:
        shape, hour = key
        if key not in self._open:
            self._begin(key, table.schema)
        name, writer = self._open[key]
        writer.write_table(table)
        known = self._parts.get(name, Part(name, shape, hour, 0, 0, 1 << 62, 0))
        self._parts[name] = Part(name, shape, hour, known.rows + table.num_rows, 0, min(known.first_ns, *received),
                                 max(known.last_ns, *received))

    def _begin(self, key: tuple[Shape, int], schema: Any) -> None:
        if len(self._open) >= _FILES:
            self._end(next(iter(self._open)))
        shape, hour = key
        name = f"{self._stem}.{self._files}.parquet"
        self._files += 1
        partition = f"model={quote(shape.model)}/version={quote(shape.version)}/hour={_hour(hour)}"
        self._open[key] = f"{partition}/{name}", _writer(self._folder / name, schema)

    def _end(self, key: tuple[Shape, int]) -> None:
        name, writer = self._open.pop(key)
        writer.close()
        path = self._folder / Path(name).name
        _sync(path)
        self._parts[name] = replace(self._parts[name], size=path.stat().st_size)


class _Reading:
    """A finished segment's records; `end` says where they ended. Its bytes stay the system's, which may take them."""

    def __init__(self, segment: Path) -> None:
        self._segment = segment
        self.end = SegmentEnd(0, 0)

    def __iter__(self) -> Iterator[PredictionRecord]:
        with self._segment.open("rb") as stream:
            size = os.fstat(stream.fileno()).st_size
            data = mmap.mmap(stream.fileno(), size, access=mmap.ACCESS_READ) if size else b""
        self.end = yield from read_frames(memoryview(data), self._segment.name)


def _hour(hour: int) -> str:
    return time.strftime("%Y-%m-%dT%H", time.gmtime(hour * 3600))


def _writer(path: Path, schema: Any) -> Any:
    import pyarrow.parquet as pq

    path.unlink(missing_ok=True)
    path.touch(0o600)
    return pq.ParquetWriter(path, schema, compression="zstd", compression_level=3,
                            use_dictionary=["role", "request_id", "inputs", "outputs"], write_page_index=True)


def _write_through(path: Path, data: bytes) -> None:
    """Whole under its name, or not there."""
    aside = path.with_name(f"{path.name}.part")
    aside.write_bytes(data)
    _sync(aside)
    aside.replace(path)
    _sync(path.parent)


def _sync(path: Path) -> None:
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(file)
    finally:
        os.close(file)
