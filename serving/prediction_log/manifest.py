"""Which Parquet files replaced which segment: a small file for each, whose appearance is the moment of replacement.

    log/segments/WRITER-FIRST.segment             as it was written
    log/parquet/_segments/WRITER-FIRST.json       its manifest: from now on the files hold its records
    log/parquet/model=M/version=V/hour=H/WRITER-FIRST.N.parquet
    log/parquet/_new/                             what is being made
    log/parquet/_shipped/WRITER-FIRST.json        which of its files were copied elsewhere
    log/parquet/_lock                             held by who changes any of these

A segment that has a manifest is not read, a Parquet file that no manifest names neither. So every record is there once
at any moment: readers look for segments first and for manifests second.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import orjson

from serinus.serving.prediction_log.parquet import Shape

__all__ = ["FORMAT", "Manifest", "Part", "exclusive", "manifest_of", "manifest_path", "manifests", "new_folder",
           "parquet_folder", "shipped_path"]

FORMAT = 1
_SUFFIX = ".json"


@dataclass(frozen=True)
class Part:
    """One Parquet file of a segment's records; times are of arrival."""

    path: str
    """Below the Parquet folder."""
    shape: Shape
    hour: int
    """Of its predictions by their ids, since 1970."""
    rows: int
    size: int
    first_ns: int
    last_ns: int


@dataclass(frozen=True)
class Manifest:
    """What replaced one segment."""

    segment: str
    """The segment's file name."""
    parts: tuple[Part, ...]
    records: int
    torn: int
    """Bytes at its end that were no whole frame."""
    first_ms: int
    last_ms: int
    """Of its first and last prediction, by their ids."""

    @property
    def size(self) -> int:
        """What its files take, about."""
        return sum(part.size for part in self.parts)

    def to_bytes(self) -> bytes:
        """As JSON."""
        parts = [{"path": part.path, "hour": part.hour, "rows": part.rows, "size": part.size,
                  "first_ns": part.first_ns, "last_ns": part.last_ns, "shape": part.shape.to_json()}
                 for part in self.parts]
        return orjson.dumps({"format": FORMAT, "segment": self.segment, "records": self.records, "torn": self.torn,
                             "first_ms": self.first_ms, "last_ms": self.last_ms, "parts": parts})

    @classmethod
    def from_bytes(cls, data: bytes) -> Manifest:
        """What `to_bytes` told. Raises ValueError where it is of another format."""
        fields: dict[str, Any] = orjson.loads(data)
        if fields["format"] != FORMAT:
            raise ValueError(f"manifest has format {fields['format']}, this program reads format {FORMAT}: upgrade it")
        parts = tuple(Part(part["path"], Shape.from_json(part["shape"]), part["hour"], part["rows"],
                           part["size"], part["first_ns"], part["last_ns"]) for part in fields["parts"])
        return cls(fields["segment"], parts, fields["records"], fields["torn"], fields["first_ms"], fields["last_ms"])


def parquet_folder(segments: Path) -> Path:
    """Where the Parquet files of a folder of segments lie: beside it."""
    return segments.with_name("parquet" if segments.name == "segments" else f"{segments.name}-parquet")


def new_folder(segments: Path) -> Path:
    """Where files lie until they are whole."""
    return parquet_folder(segments) / "_new"


def manifest_path(segments: Path, segment: str) -> Path:
    """Where the manifest of a segment lies."""
    return parquet_folder(segments) / "_segments" / f"{segment.partition('.')[0]}{_SUFFIX}"


def shipped_path(segments: Path, segment: str) -> Path:
    """Where it is noted which of a segment's files were copied elsewhere."""
    return parquet_folder(segments) / "_shipped" / f"{segment.partition('.')[0]}{_SUFFIX}"


def manifest_of(segments: Path, segment: str) -> Manifest | None:
    """The manifest of a segment; None where it has not been replaced, or is gone."""
    path = manifest_path(segments, segment)
    try:
        status = path.stat()
        return _read(path, status.st_ino, status.st_mtime_ns)
    except FileNotFoundError:
        return None


def manifests(segments: Path, prefix: str = "") -> list[str]:
    """The names of the segments that have been replaced."""
    folder = parquet_folder(segments) / "_segments"
    return [f"{path.name.removesuffix(_SUFFIX)}.segment" for path in folder.glob(f"{prefix}*{_SUFFIX}")]


@lru_cache(4096)
def _read(path: Path, _inode: int, _changed: int) -> Manifest:
    """A manifest is replaced whole, so what was read once holds for that file."""
    return Manifest.from_bytes(path.read_bytes())


@contextlib.contextmanager
def exclusive(segments: Path, *, wait: bool = True) -> Iterator[bool]:
    """Keep every other process from changing what is finished of a log. Without `wait`, False where somebody does."""
    folder = parquet_folder(segments)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    file = os.open(folder / "_lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        yield _taken(file, wait)
    finally:
        os.close(file)


def _taken(file: int, wait: bool) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    return True
