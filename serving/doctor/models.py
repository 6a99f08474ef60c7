"""The registry: manifests that can be read, files that are those registered, aliases, libraries, trust."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from serinus.models.adapters import adapter_named
from serinus.models.aliases import read_aliases
from serinus.models.errors import ModelError
from serinus.models.libraries import relevant, skew
from serinus.models.loading import ARTIFACT
from serinus.models.manifest import Manifest
from serinus.models.trust import Trust
from serinus.models.version import ArtifactFile, ModelVersion, is_number
from serinus.serving.doctor.check import Check, counted, ok, problem, warning
from serinus.serving.home import Home

__all__ = ["look_at_models"]

_RESTORE = "Restore it from a copy, or register the model again and delete this version."


def look_at_models(home: Home, *, deep: bool) -> Iterator[Check]:
    """A line for each version or list that is not whole, one on all others, and those on libraries and trust."""
    found: list[ModelVersion] = []
    wrong: list[Check] = []
    for folder in _folders(home.path / "models"):
        for version in _folders(folder):
            if is_number(version.name):
                wrong += _damage(version, found, deep=deep)
        wrong += _damaged_aliases(folder)
    yield from wrong
    if not wrong:
        names = {version.name for version in found}
        held = "digest" if deep else "size (--deep compares the digests)"
        told = f"{counted(len(found), 'version')} of {counted(len(names), 'model')}"
        yield ok("models", f"{told}: every manifest can be read, and every file has its {held}." if found else
                 "None is registered.")
    yield from _skew(found)
    yield from _trust(home.path, found)


def _folders(path: Path) -> list[Path]:
    return sorted(entry for entry in path.iterdir() if entry.is_dir()) if path.is_dir() else []


def _damage(folder: Path, whole: list[ModelVersion], *, deep: bool) -> Iterator[Check]:
    """What is wrong with a version's folder; it is added to `whole` when its manifest can be read."""
    try:
        manifest = Manifest.read(folder)
    except ModelError as error:
        yield problem("models", str(error), "Until then it is passed over.")
        return
    whole.append(manifest.version)
    for files, root in ((manifest.files, folder / ARTIFACT), (manifest.attachments, folder)):
        for file in files:
            says = _difference(file, root, deep=deep)
            if says:
                yield problem("models", f"{manifest.version.tag}: {root / file.path} {says}.", _RESTORE)


def _difference(file: ArtifactFile, root: Path, *, deep: bool) -> str:
    path = root / file.path
    try:
        if path.stat().st_size != file.size:
            return f"has {path.stat().st_size} bytes, and had {file.size} when it was registered"
        if deep and ArtifactFile.of(path, root) != file:
            return "is not the file that was registered: its digest differs"
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    return ""


def _damaged_aliases(folder: Path) -> Iterator[Check]:
    try:
        aliases = read_aliases(folder)
    except ModelError as error:
        yield problem("models", str(error))
        return
    for alias, number in aliases.items():
        if not (folder / number).is_dir():
            yield warning("models", f"The alias {folder.name}:{alias} stands for version {number}, which is not there.",
                          f"serinus models alias {folder.name} {alias} VERSION")


def _skew(versions: Sequence[ModelVersion]) -> Iterator[Check]:
    """One line for all versions that were made with the same other libraries."""
    by_phrase: dict[str, list[str]] = defaultdict(list)
    for version in versions:
        phrases = "; ".join(skew(relevant(version.adapter, version.libraries)))
        if phrases:
            by_phrase[phrases].append(version.tag)
    for phrases, tags in by_phrase.items():
        yield warning("models", f"Made with other libraries ({phrases}): {', '.join(tags)}.",
                      "Their answers may differ from those of training: install the same ones, or register them anew.")


def _trust(home: Path, versions: Sequence[ModelVersion]) -> Iterator[Check]:
    try:
        trust = Trust(home)
    except ModelError as error:
        yield problem("trust", str(error))
        return
    refused = [version for version in versions if version.digest not in trust and _runs_code(version)]
    for version in refused:
        yield warning("trust", f"{version.tag} runs code when it is loaded and is not trusted: it is not served.",
                      f"If you know who made it: serinus models trust {version.digest}")
    if not refused:
        yield ok("trust", f"{counted(len(trust), 'digest')} trusted; no version that runs code is without.")


def _runs_code(version: ModelVersion) -> bool:
    try:
        return adapter_named(version.adapter).runs_code(version.path / version.artifact)
    except (ModelError, OSError):  # damage is told elsewhere
        return False
