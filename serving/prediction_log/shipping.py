"""Copies Parquet files of the log to a folder or an object store, by any URL that fsspec knows.

Beside the manifests it is noted which file was copied as it was then; one that was written anew since, because rows
were erased, is copied again over the old one. What is removed here stays there: how long is that store's own rule.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from serinus.serving.files import write_atomically
from serinus.serving.prediction_log.manifest import manifest_of, manifests, parquet_folder, shipped_path

__all__ = ["Shipment", "ship", "waiting"]

Stamp = list[int]

_BUCKETS = frozenset({"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az"})
"""Protocols of stores without folders: what fsspec would make there is the bucket, which is not ours to make."""


class Shipment(NamedTuple):
    """What was copied, and why not more was; `problem` is empty where all was."""

    files: int
    problem: str = ""


def waiting(folder: Path, url: str) -> bool:
    """Whether some files of a log are not there yet."""
    return next(_unshipped(folder, url), None) is not None


def ship(folder: Path, url: str) -> Shipment:
    """Copy what is not there yet; the first failure ends it, and the next call goes on."""
    import fsspec

    files = 0
    try:
        system, root = fsspec.core.url_to_fs(url)
        for segment, path, stamp in _unshipped(folder, url):
            source = parquet_folder(folder) / path
            try:
                _copy(system, source, f"{root.rstrip('/')}/{path}")
            except FileNotFoundError:
                if source.exists():
                    raise
                continue  # removed here meanwhile
            _note(folder, segment, url, path, stamp)
            files += 1
    except Exception as error:  # whatever a backend raises
        return Shipment(files, f"{type(error).__name__}: {error}"[:300])
    return Shipment(files)


def _unshipped(folder: Path, url: str) -> Iterator[tuple[str, str, Stamp]]:
    for segment in sorted(manifests(folder)):
        manifest = manifest_of(folder, segment)
        known = _known(folder, segment, url)
        for part in () if manifest is None else manifest.parts:
            stamp = _stamp(parquet_folder(folder) / part.path)
            if stamp is not None and known.get(part.path) != stamp:
                yield segment, part.path, stamp


def _known(folder: Path, segment: str, url: str) -> dict[str, Stamp]:
    """What was copied to this URL: to another one it is copied again."""
    try:
        found = orjson.loads(shipped_path(folder, segment).read_bytes())
    except FileNotFoundError:
        return {}
    return dict(found["files"]) if found["url"] == url else {}


def _note(folder: Path, segment: str, url: str, path: str, stamp: Stamp) -> None:
    target = shipped_path(folder, segment)
    target.parent.mkdir(exist_ok=True)
    write_atomically(target, orjson.dumps({"url": url, "files": _known(folder, segment, url) | {path: stamp}}))


def _stamp(path: Path) -> Stamp | None:
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return [status.st_size, status.st_mtime_ns]


def _copy(system: Any, source: Path, target: str) -> None:
    """Whole or not at all: object stores do so by themselves."""
    protocols = {system.protocol} if isinstance(system.protocol, str) else set(system.protocol)
    if "file" not in protocols:
        if not protocols & _BUCKETS:
            system.makedirs(target.rpartition("/")[0], exist_ok=True)
        system.put_file(str(source), target)
        return
    final = Path(target)
    final.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(final, source.read_bytes())
