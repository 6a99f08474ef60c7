"""A version as one file: a plain zip of its folder, so that it can be carried to another registry.

```
manifest.json     as in the registry; its digests are checked
artifact/…        the file(s) of the model
…                 attachments
```

Nothing in it is compressed, so what is unpacked is never larger than the file; names that are not in the manifest are
refused, so nothing is written where the manifest does not say. Importing runs no code: a pickle inside is as little
trusted as any other until somebody trusts its digest.
"""

import hashlib
import os
import shutil
import stat
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from serinus.models.errors import DigestMismatch, InvalidManifest, ModelError, UnsupportedArtifact, one_line
from serinus.models.files import aside_prefix
from serinus.models.loading import ARTIFACT, verify
from serinus.models.manifest import MANIFEST, Manifest
from serinus.models.registry import Registry
from serinus.models.version import ArtifactFile, ModelVersion, digest_of, files_in

__all__ = ["adopt", "export_version", "import_archive", "is_archive"]

_LARGEST_MANIFEST = 1 << 26
_BLOCK = 1 << 20
_DATE = (1980, 1, 1, 0, 0, 0)
"""Every entry's time: the same version gives the same file, byte by byte."""


def export_version(version: ModelVersion, path: Path) -> None:
    """Write a version into one file, aside first. Raises DigestMismatch where its files were changed."""
    verify(version)
    manifest = Manifest.read(version.path)
    names = [f"{ARTIFACT}/{file.path}" for file in manifest.files] + [file.path for file in manifest.attachments]
    handle, aside = tempfile.mkstemp(dir=path.absolute().parent, prefix=aside_prefix("new"))
    try:
        with os.fdopen(handle, "wb") as stream, zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
            for name in (MANIFEST, *names):
                _store(archive, name, version.path / name)
        Path(aside).chmod(0o644)
        Path(aside).replace(path)
    finally:
        Path(aside).unlink(missing_ok=True)


def _store(archive: zipfile.ZipFile, name: str, source: Path) -> None:
    entry = zipfile.ZipInfo(name, _DATE)
    entry.external_attr = (stat.S_IFREG | 0o644) << 16
    entry.file_size = source.stat().st_size
    with source.open("rb") as stream, archive.open(entry, "w") as target:
        shutil.copyfileobj(stream, target, _BLOCK)


def is_archive(path: Path) -> bool:
    """Tell whether a file looks like an exported version."""
    try:
        with zipfile.ZipFile(path) as archive:
            return MANIFEST in archive.namelist()
    except (OSError, zipfile.BadZipFile):
        return False


def import_archive(path: Path, registry: Registry, *, name: str | None = None) -> ModelVersion:
    """Add an exported version to a registry under its next number.

    Args:
        path: the file that `export_version` wrote.
        registry: where it goes.
        name: the model's name there; its own where none is given.

    Returns:
        The new version, whose lineage names the tag it had, or the one there is with the same digest and signature.

    Raises:
        UnsupportedArtifact: the file is no exported version, is damaged, or was not written by `export_version`.
        InvalidManifest: its manifest cannot be read.
        DigestMismatch: a file in it is not the one that was exported.
    """
    with tempfile.TemporaryDirectory(prefix="serinus-import-") as folder:
        with _opened(path) as archive:
            manifest = _unpack(archive, path, Path(folder))
        return adopt(manifest, Path(folder), registry, name=name, origin=manifest.version.tag)


def adopt(manifest: Manifest, folder: Path, registry: Registry, *, name: str | None, origin: str) -> ModelVersion:
    """Add a version of elsewhere, laid out in a folder as its manifest says, under the next number.

    `origin` is kept in its lineage unless that names an earlier one. Raises DigestMismatch where files were changed.
    """
    version = manifest.version
    found = digest_of(files_in(folder / ARTIFACT))
    if found != version.digest:
        raise DigestMismatch(f"{origin} changed after it was exported: wanted {version.digest}, got {found}.")
    artifact = folder / version.artifact
    files = [folder / ARTIFACT / file.path for file in manifest.files]
    return registry.add(
        name or version.name,
        artifact,
        adapter=version.adapter,
        signature=version.signature,
        attachments={file.path: (folder / file.path).read_bytes() for file in manifest.attachments},
        companions=[file for file in files if file != artifact],
        card=version.card,
        lineage=replace(version.lineage, origin=version.lineage.origin or origin),
        libraries=version.libraries,
        python=manifest.python,
    )


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except FileNotFoundError:
        raise UnsupportedArtifact(f"{path}: no such file.") from None
    except ModelError:
        raise
    except Exception as error:
        raise UnsupportedArtifact(
            f"{path} cannot be read as an exported version (damaged, cut short, or another kind of file): "
            f"{one_line(error)}"
        ) from error


def _unpack(archive: zipfile.ZipFile, path: Path, folder: Path) -> Manifest:
    entries = _entries(archive, path)
    manifest = Manifest.parse(_manifest_bytes(archive, entries, path), path)
    wanted = {f"{ARTIFACT}/{file.path}": file for file in manifest.files}
    wanted |= {file.path: file for file in manifest.attachments}
    if set(wanted) | {MANIFEST} != set(entries) or manifest.version.artifact not in wanted:
        strange = sorted(set(entries) ^ {*wanted, MANIFEST, manifest.version.artifact})
        raise InvalidManifest(
            f"{path} does not hold the files that its manifest lists: see {', '.join(strange[:5])}; export it again."
        )
    for name, file in wanted.items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        with archive.open(entries[name]) as source, target.open("wb") as sink:
            _copy(source, sink, file, path)  # type: ignore[arg-type]
    return manifest


def _entries(archive: zipfile.ZipFile, path: Path) -> dict[str, zipfile.ZipInfo]:
    """Give the entries by name, having refused what `export_version` never writes."""
    entries = {entry.filename: entry for entry in archive.infolist()}
    sizes = sum(entry.file_size for entry in entries.values())
    if len(entries) < len(archive.infolist()):
        raise UnsupportedArtifact(f"{path} holds two files of one name, which `serinus models export` never writes.")
    if sizes > path.stat().st_size and all(entry.compress_type == zipfile.ZIP_STORED for entry in entries.values()):
        raise UnsupportedArtifact(f"{path} holds more than its own size, which `serinus models export` never writes.")
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries.values()):
        raise UnsupportedArtifact(
            f"{path} holds compressed files, which `serinus models export` never writes; export the version again, or "
            "zip it without compression."
        )
    return entries


def _manifest_bytes(archive: zipfile.ZipFile, entries: dict[str, zipfile.ZipInfo], path: Path) -> bytes:
    entry = entries.get(MANIFEST)
    if entry is None or entry.file_size > _LARGEST_MANIFEST:
        raise UnsupportedArtifact(
            f"{path} holds no {MANIFEST}, so it is no exported version; a model file is registered with "
            "`serinus models register NAME PATH`."
        )
    return archive.read(entry)


def _copy(source: BinaryIO, sink: BinaryIO, file: ArtifactFile, path: Path) -> None:
    digest, size = hashlib.sha256(), 0
    while block := source.read(_BLOCK):
        digest.update(block)
        size += len(block)
        sink.write(block)
    if (size, digest.hexdigest()) != (file.size, file.sha256):
        raise DigestMismatch(f"{file.path!r} in {path} is not the file that was exported; export the version again.")
