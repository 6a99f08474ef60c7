"""Where versions are kept: plain folders, written aside and renamed into place, never changed afterwards.

```
HOME/models/NAME/VERSION/manifest.json      what this is: digest, signature, adapter, libraries, files, attachments
HOME/models/NAME/VERSION/artifact/…         the file(s) of the model
HOME/models/NAME/VERSION/…                  attachments: opaque, digested
```

Two guards make registration safe. A lock per model lets one registrar at a time look for an equal version and take the
next number. The rename into place fails where a folder exists, so even where locks do nothing (some network file
systems) no version is ever overwritten.
"""

import difflib
import fcntl
import json
import os
import platform
import shutil
import stat
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path, PurePosixPath
from typing import Any

from serinus.models.errors import (
    DigestMismatch,
    InvalidManifest,
    InvalidSignature,
    ModelError,
    ModelNotFound,
    ReadOnly,
    UnsupportedArtifact,
    VersionNotFound,
)
from serinus.models.loading import ARTIFACT, load
from serinus.models.model import Model
from serinus.models.signature import Signature
from serinus.models.trust import Trust
from serinus.models.version import ArtifactFile, ModelVersion, check_name, digest_of, files_in, parse_tag

__all__ = ["Registry", "default_home"]

FORMAT = 1
MANIFEST = "manifest.json"
_LIBRARIES = ("joblib", "numpy", "onnxruntime", "pandas", "scikit-learn", "scipy", "skops")


def default_home() -> Path:
    """Give `$SERINUS_HOME`, else `~/.serinus`."""
    chosen = os.environ.get("SERINUS_HOME")
    return Path(chosen) if chosen else Path.home() / ".serinus"


class Registry:
    """The versions of a home folder, and of read-only folders of the same layout.

    Half-written or foreign folders are passed over. Where home and a bundle have the same tag the bundle's counts:
    it was pinned when it was built.

    Args:
        home: the folder with `models/NAME/VERSION/`; it is made when the first version is added.
        bundled: further folders with `models/NAME/VERSION/`, never written to.
    """

    def __init__(self, home: Path, *, bundled: Sequence[Path] = ()) -> None:
        self.home = Path(home).absolute()
        self._roots = [*(Path(folder).absolute() / "models" for folder in bundled), self.home / "models"]

    def names(self) -> list[str]:
        """List the models that have at least one version, sorted."""
        found = {folder.name for root in self._roots for folder in _folders(root) if _is_name(folder.name)}
        return sorted(name for name in found if self.versions(name))

    def versions(self, name: str) -> list[str]:
        """List the versions of a model in numeric order; empty where there are none."""
        check_name(name)
        found = {folder.name for root in self._roots for folder in _folders(root / name) if _is_version(folder)}
        return sorted(found, key=int)

    def all(self) -> list[ModelVersion]:
        """List every version that can be read, by name and then in numeric order."""
        return [self.get(name, version) for name in self.names() for version in self.versions(name)]

    def get(self, name: str, version: str | None = None) -> ModelVersion:
        """Give a version; None means the highest.

        Raises:
            InvalidName: the name breaks the naming rule.
            ModelNotFound: nothing is registered under this name.
            VersionNotFound: this version of it does not exist.
            InvalidManifest: it exists, and its manifest cannot be read.
        """
        there = self.versions(name)
        wanted = there[-1] if version is None and there else version
        for root in self._roots:
            if wanted is not None and _is_number(wanted) and (root / name / wanted / MANIFEST).is_file():
                return _read_manifest(root / name / wanted)[0]
        if not there:
            raise self._no_model(name)
        raise VersionNotFound(f"Model {name!r} has no version {version!r}; there are {', '.join(there)}.")

    def add(
        self,
        name: str,
        artifact: Path,
        *,
        adapter: str,
        signature: Signature,
        attachments: Mapping[str, bytes] | None = None,
        companions: Sequence[Path] = (),
    ) -> ModelVersion:
        """Copy an artifact into the registry under the next version number.

        Args:
            name: the model's name.
            artifact: the file that the adapter loads.
            adapter: the adapter's name.
            signature: what the model takes and gives.
            attachments: further bytes to keep with the version, by relative path (`references/abc.json`).
            companions: files that the artifact needs beside it (ONNX external data), below its folder.

        Returns:
            The new version, or the existing one that has the same digest and signature.
        """
        check_name(name)
        folder = self.home / "models" / name
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _locked(folder / ".lock"):
            aside = Path(tempfile.mkdtemp(dir=folder, prefix=".new-"))
            try:
                digest = _copy(artifact, companions, aside / ARTIFACT)
                draft = ModelVersion(name, "0", adapter, digest, _now(), aside, _place(artifact), signature)
                return self._equal(draft) or self._settle(draft, _write_all(aside, attachments or {}))
            finally:
                shutil.rmtree(aside, ignore_errors=True)

    def load(self, model_version: ModelVersion, *, trust: Trust | None = None) -> Model:
        """Make a model of a version, its digest checked now; see `serinus.models.load` for the errors."""
        return load(model_version, trust=trust)

    def attach(self, model_version: ModelVersion, attachments: Mapping[str, bytes]) -> None:
        """Add attachments to a version of the home; the same bytes again are no error.

        Raises ReadOnly for a bundled version, ModelError where other bytes have that name.
        """
        self._refuse_bundled(model_version)
        with _locked(model_version.path.parent / ".lock"):
            listed = {file.path: file for file in _read_manifest(model_version.path)[1]}
            new = {name: data for name, data in attachments.items() if not self._has(model_version, name, data)}
            listed |= {file.path: file for file in _write_all(model_version.path, new)}
            _write(model_version.path / MANIFEST, _manifest(model_version, sorted(listed.values(), key=_path)))

    def attachments(self, model_version: ModelVersion) -> list[str]:
        """List the names of a version's attachments, sorted."""
        return [file.path for file in _read_manifest(model_version.path)[1]]

    def attachment(self, model_version: ModelVersion, name: str) -> bytes:
        """Give an attachment's bytes. Raises ModelError where there is none, DigestMismatch where it was changed."""
        files = {file.path: file for file in _read_manifest(model_version.path)[1]}
        if name not in files:
            raise ModelError(f"{model_version.tag} has no attachment {name!r}; there are {', '.join(files) or 'none'}.")
        path = model_version.path / _attachment_path(name)
        if ArtifactFile.of(path, model_version.path) != files[name]:
            raise DigestMismatch(f"The attachment {name!r} of {model_version.tag} changed after it was attached.")
        return path.read_bytes()

    def delete(self, name: str, version: str) -> None:
        """Delete a version of the home; its number is never given again.

        Raises ModelNotFound or VersionNotFound where it does not exist, ReadOnly where it is bundled.
        """
        doomed = self.get(name, version)
        self._refuse_bundled(doomed)
        folder = doomed.path.parent
        with _locked(folder / ".lock"):
            (folder / f".deleted-{version}").touch()
            trash = Path(tempfile.mkdtemp(dir=folder, prefix=".trash-"))
            doomed.path.rename(trash / version)
        shutil.rmtree(trash)

    def _equal(self, draft: ModelVersion) -> ModelVersion | None:
        for number in reversed(self.versions(draft.name)):
            known = self.get(draft.name, number)
            if known.digest == draft.digest and known.signature == draft.signature:
                return known
        return None

    def _settle(self, draft: ModelVersion, attachments: Sequence[ArtifactFile]) -> ModelVersion:
        """Rename the finished folder to the next free number."""
        number = self._highest(draft.name)
        while True:
            number += 1
            final = replace(draft, version=str(number), path=draft.path.parent / str(number))
            _write(draft.path / MANIFEST, _manifest(final, attachments, draft.path))
            if _renamed(draft.path, final.path):
                _sync(final.path.parent)
                return final

    def _highest(self, name: str) -> int:
        """Give the highest number ever used, deleted and unreadable ones included."""
        entries = [entry.name for root in self._roots for entry in _entries(root / name)]
        numbers = [entry.removeprefix(".deleted-") for entry in entries]
        return max((int(number) for number in numbers if _is_number(number)), default=0)

    def _has(self, model_version: ModelVersion, name: str, data: bytes) -> bool:
        if name not in self.attachments(model_version):
            return False
        if self.attachment(model_version, name) != data:
            raise ModelError(f"{model_version.tag} has another attachment {name!r}; attachments are never replaced.")
        return True

    def _refuse_bundled(self, model_version: ModelVersion) -> None:
        if model_version.path.parent.parent != self.home / "models":
            raise ReadOnly(f"{model_version.tag} is bundled in {model_version.path} and cannot be changed or deleted.")

    def _no_model(self, name: str) -> ModelNotFound:
        there = self.names()
        close = difflib.get_close_matches(name, there, n=3)
        hint = f"did you mean {' or '.join(close)}?" if close else f"there are {', '.join(there) or 'none'}."
        return ModelNotFound(f"No model is named {name!r} in {self.home}; {hint}")


def _read_manifest(folder: Path) -> tuple[ModelVersion, list[ArtifactFile]]:
    """Read a version's folder: the version and its attachments."""
    try:
        document = json.loads((folder / MANIFEST).read_text("utf-8"))
        _check_format(document, folder)
        fields = {key: str(document[key]) for key in ("name", "version", "adapter", "digest", "created", "artifact")}
        signature = Signature.from_json(document["signature"])
        attachments = [ArtifactFile(**file) for file in document["attachments"]]
    except (OSError, ValueError, KeyError, TypeError, InvalidSignature) as error:
        raise InvalidManifest(f"The manifest in {folder} cannot be read ({error!r}); register it again.") from error
    if (fields["name"], fields["version"]) != (folder.parent.name, folder.name):
        raise InvalidManifest(f"The manifest in {folder} is that of {fields['name']}:{fields['version']}.")
    if not _is_inside(fields["artifact"]):
        raise InvalidManifest(f"The manifest in {folder} names an artifact outside of it: {fields['artifact']!r}.")
    return ModelVersion(**fields, path=folder, signature=signature), attachments


def _check_format(document: Any, folder: Path) -> None:
    found = document.get("format") if isinstance(document, dict) else None
    if found != FORMAT:
        raise InvalidManifest(
            f"The manifest in {folder} has format {found!r}, and this Serinus reads format {FORMAT}; upgrade Serinus."
        )


def _manifest(model: ModelVersion, attachments: Sequence[ArtifactFile], folder: Path | None = None) -> bytes:
    document = {
        "format": FORMAT,
        "name": model.name,
        "version": model.version,
        "adapter": model.adapter,
        "digest": model.digest,
        "created": model.created,
        "artifact": model.artifact,
        "files": [asdict(file) for file in files_in((folder or model.path) / ARTIFACT)],
        "signature": model.signature.to_json(),
        "python": platform.python_version(),
        "libraries": dict(_libraries()),
        "attachments": [asdict(file) for file in attachments],
    }
    return json.dumps(document, indent=2, ensure_ascii=False).encode() + b"\n"


def _libraries() -> Iterator[tuple[str, str]]:
    for library in _LIBRARIES:
        try:
            yield library, version(library)
        except PackageNotFoundError:
            continue


def _copy(artifact: Path, companions: Sequence[Path], target: Path) -> str:
    """Copy the files of an artifact, synced to disk and read-only, and give their digest."""
    for source in (artifact, *companions):
        if not source.resolve().is_relative_to(artifact.parent.resolve()):
            raise UnsupportedArtifact(f"{source} must lie beside or below {artifact} to be registered with it.")
        copy = target / source.relative_to(artifact.parent)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, copy)
        copy.chmod(stat.S_IRUSR | stat.S_IRGRP | stat.S_IROTH)
        _sync(copy)
    return digest_of(files_in(target))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _place(artifact: Path) -> str:
    return f"{ARTIFACT}/{artifact.name}"


def _write_all(folder: Path, attachments: Mapping[str, bytes]) -> list[ArtifactFile]:
    files = []
    for name, data in sorted(attachments.items()):
        path = folder / _attachment_path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        _write(path, data)
        files.append(ArtifactFile.of(path, folder))
    return files


def _attachment_path(name: str) -> Path:
    if not _is_inside(name) or PurePosixPath(name).parts[0] in (ARTIFACT, MANIFEST):
        raise ModelError(f"{name!r} is no attachment name: wanted a relative path such as 'references/abc.json'.")
    return Path(name)


def _is_inside(path: str) -> bool:
    parts = PurePosixPath(path)
    return bool(parts.parts) and not parts.is_absolute() and ".." not in parts.parts


def _write(path: Path, data: bytes) -> None:
    """Write aside, sync, rename into place."""
    handle, aside = tempfile.mkstemp(dir=path.parent, prefix=".new-")
    with os.fdopen(handle, "wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
    Path(aside).chmod(0o644)
    Path(aside).replace(path)
    _sync(path.parent)


def _renamed(source: Path, target: Path) -> bool:
    """Rename a folder unless the target exists; renaming fails where the target is a folder with content."""
    try:
        source.rename(target)
    except OSError:
        if target.exists():
            return False
        raise
    return True


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def _entries(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return []


def _folders(folder: Path) -> list[Path]:
    return [entry for entry in _entries(folder) if entry.is_dir()]


def _is_name(name: str) -> bool:
    try:
        return check_name(name) == name
    except ModelError:
        return False


def _is_number(text: str) -> bool:
    try:
        return parse_tag(f"x:{text}")[1] is not None
    except ModelError:
        return False


def _is_version(folder: Path) -> bool:
    """Tell whether this is a finished version; half-written and foreign folders are not."""
    if not _is_number(folder.name):
        return False
    try:
        _read_manifest(folder)
    except ModelError:
        return False
    return True


def _path(file: ArtifactFile) -> str:
    return file.path
