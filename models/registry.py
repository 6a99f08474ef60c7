"""Where versions are kept: plain folders, written aside and renamed into place, never changed afterwards.

```
HOME/models/NAME/VERSION/manifest.json      what this is: digest, signature, card, lineage, files, attachments …
HOME/models/NAME/VERSION/artifact/…         the file(s) of the model
HOME/models/NAME/VERSION/…                  attachments: opaque, digested
HOME/models/NAME/aliases.json               movable names for versions
```

Two guards make registration safe. A lock per model lets one registrar at a time look for an equal version and take the
next number. The rename into place fails where a folder exists, so even where locks do nothing (some network file
systems) no version is ever overwritten. A registrar that is killed leaves a folder whose name says whose it was; the
next one removes it.
"""

import difflib
import shutil
import stat
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

from serinus.models.aliases import read_aliases, write_aliases
from serinus.models.card import Card
from serinus.models.errors import (
    DigestMismatch,
    ModelError,
    ModelNotFound,
    ReadOnly,
    UnsupportedArtifact,
    VersionNotFound,
)
from serinus.models.files import aside_prefix, locked, sweep, sync, write
from serinus.models.home import default_home
from serinus.models.libraries import installed
from serinus.models.lineage import Lineage
from serinus.models.loading import ARTIFACT, load
from serinus.models.manifest import MANIFEST, Manifest, is_inside
from serinus.models.model import Model
from serinus.models.signature import Signature
from serinus.models.trust import Trust
from serinus.models.version import (
    LATEST,
    ArtifactFile,
    ModelVersion,
    check_alias,
    check_name,
    digest_of,
    files_in,
    is_number,
    split_tag,
)

__all__ = ["Registry", "default_home"]


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
        check_name(name)
        found = self._found(name, version) if version is not None else None
        if found is not None:
            return found
        there = self.versions(name)
        if not there:
            raise self._no_model(name)
        if version is None and (found := self._found(name, there[-1])) is not None:
            return found
        raise VersionNotFound(f"Model {name!r} has no version {version!r}; there are {self._listed(name)}.")

    def resolve(self, tag: str) -> tuple[str, str | None]:
        """Split a tag into name and version number; an alias, or `latest`, becomes the number it stands for.

        The version is None where the tag names none; whether a number exists is for `get` to say.

        Raises:
            InvalidName: the tag breaks the rule.
            ModelNotFound: the tag has an alias, and nothing is registered under the name.
            VersionNotFound: there is no such alias.
        """
        name, version = split_tag(tag)
        if version is None or is_number(version):
            return name, version
        if version == LATEST:
            return name, self.get(name).version
        number = self.aliases(name).get(version)
        if number is not None:
            return name, number
        if not self.versions(name):
            raise self._no_model(name)
        raise VersionNotFound(f"Model {name!r} has no alias {version!r}; there are {self._listed(name)}.")

    def aliases(self, name: str) -> dict[str, str]:
        """Give a model's aliases and the version number each stands for, sorted. Raises InvalidManifest if damaged."""
        return read_aliases(self.home / "models" / check_name(name))

    def alias(self, name: str, alias: str, version: str) -> str | None:
        """Let an alias stand for a version from now on, and give the number it stood for before.

        Raises InvalidName where the alias breaks the rule, ModelNotFound or VersionNotFound without the version.
        """
        check_alias(alias)
        self.get(name, version)  # no folder is made for a model that is not there
        folder = self._folder(name)
        with locked(folder / ".lock"):
            found = self.get(name, version)
            known = read_aliases(folder)
            write_aliases(folder, known | {alias: found.version})
        return known.get(alias)

    def unalias(self, name: str, alias: str) -> str:
        """Remove an alias, and give the number it stood for. Raises VersionNotFound where there is none."""
        _, number = self.resolve(f"{name}:{check_alias(alias)}")
        folder = self._folder(name)
        with locked(folder / ".lock"):
            write_aliases(folder, {key: value for key, value in read_aliases(folder).items() if key != alias})
        return str(number)

    def add(
        self,
        name: str,
        artifact: Path,
        *,
        adapter: str,
        signature: Signature,
        attachments: Mapping[str, bytes] | None = None,
        companions: Sequence[Path] = (),
        card: Card | None = None,
        lineage: Lineage | None = None,
        libraries: Mapping[str, str] | None = None,
        python: str | None = None,
    ) -> ModelVersion:
        """Copy an artifact into the registry under the next version number.

        Args:
            name: the model's name.
            artifact: the file that the adapter loads.
            adapter: the adapter's name.
            signature: what the model takes and gives.
            attachments: further bytes to keep with the version, by relative path (`references/abc.json`).
            companions: files that the artifact needs beside it (ONNX external data), below its folder.
            card: what people should know of it.
            lineage: where it comes from.
            libraries: the versions it was made with, where they are not the installed ones.
            python: the version of Python it was made with, likewise.

        Returns:
            The new version, or the existing one that has the same digest and signature; that one gets the card, if
            there is one, and nothing else of it changes.
        """
        check_name(name)
        folder = self._folder(name)
        with locked(folder / ".lock"):
            sweep(folder)
            aside = Path(tempfile.mkdtemp(dir=folder, prefix=aside_prefix("new")))
            try:
                files = _copy(artifact, companions, aside / ARTIFACT)
                draft = ModelVersion(
                    name, "0", adapter, digest_of(files), _now(), aside, _place(artifact), signature,
                    card or Card(), lineage or Lineage(), dict(installed() if libraries is None else libraries),
                    sum(file.size for file in files),
                )  # fmt: skip
                equal = self._equal(draft)
                if equal is not None:
                    return self._described(equal, card)
                return self._settle(Manifest.draft(draft, files, _write_all(aside, attachments or {}), python))
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
        with locked(model_version.path.parent / ".lock"):
            manifest = Manifest.read(model_version.path)
            new = {name: data for name, data in attachments.items() if not self._has(model_version, name, data)}
            manifest.with_attachments(_write_all(model_version.path, new)).write(model_version.path)

    def attachments(self, model_version: ModelVersion) -> list[str]:
        """List the names of a version's attachments, sorted."""
        return [file.path for file in Manifest.read(model_version.path).attachments]

    def attachment(self, model_version: ModelVersion, name: str) -> bytes:
        """Give an attachment's bytes. Raises ModelError where there is none, DigestMismatch where it was changed."""
        files = {file.path: file for file in Manifest.read(model_version.path).attachments}
        if name not in files:
            raise ModelError(f"{model_version.tag} has no attachment {name!r}; there are {', '.join(files) or 'none'}.")
        path = model_version.path / _attachment_path(name)
        try:
            unchanged = ArtifactFile.of(path, model_version.path) == files[name]
        except FileNotFoundError:
            unchanged = False
        if not unchanged:
            raise DigestMismatch(f"The attachment {name!r} of {model_version.tag} changed after it was attached.")
        return path.read_bytes()

    def describe(self, model_version: ModelVersion, card: Card) -> ModelVersion:
        """Give a version of the home another card. Raises ReadOnly for a bundled one."""
        self._refuse_bundled(model_version)
        with locked(model_version.path.parent / ".lock"):
            return self._described(model_version, card)

    def delete(self, name: str, version: str, *, force: bool = False) -> None:
        """Delete a version of the home; its number is never given again.

        Raises ModelNotFound or VersionNotFound where it does not exist, ReadOnly where it is bundled, ModelError where
        aliases stand for it; with `force` they are removed too.
        """
        doomed = self.get(name, version)
        self._refuse_bundled(doomed)
        folder = doomed.path.parent
        with locked(folder / ".lock"):
            self._let_go(folder, doomed, force)
            (folder / f".deleted-{doomed.version}").touch()
            trash = Path(tempfile.mkdtemp(dir=folder, prefix=aside_prefix("trash")))
            doomed.path.rename(trash / doomed.version)
        shutil.rmtree(trash)

    def _let_go(self, folder: Path, doomed: ModelVersion, force: bool) -> None:
        aliases = read_aliases(folder)
        naming = [alias for alias, number in aliases.items() if number == doomed.version]
        if naming and not force:
            raise ModelError(
                f"{doomed.tag} is not deleted, for it is called {' and '.join(naming)}. Move the alias: "
                f"serinus models alias {doomed.name} {naming[0]} VERSION, or delete both with --force."
            )
        if naming:
            write_aliases(folder, {alias: number for alias, number in aliases.items() if alias not in naming})

    def _described(self, known: ModelVersion, card: Card | None) -> ModelVersion:
        """Put a card into a version's manifest, unless it is there already. The caller holds the lock."""
        if not card or card == known.card:
            return known
        self._refuse_bundled(known)
        manifest = Manifest.read(known.path).with_card(card)
        manifest.write(known.path)
        return manifest.version

    def _folder(self, name: str) -> Path:
        folder = self.home / "models" / name
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return folder

    def _listed(self, name: str) -> str:
        """List versions and aliases, for sentences."""
        return ", ".join((*self.versions(name), *(f"{alias} ({n})" for alias, n in self.aliases(name).items())))

    def _found(self, name: str, version: str) -> ModelVersion | None:
        """A version by its number, without a look at the others."""
        for root in self._roots:
            if is_number(version) and (root / name / version / MANIFEST).is_file():
                return Manifest.read(root / name / version).version
        return None

    def _equal(self, draft: ModelVersion) -> ModelVersion | None:
        for number in reversed(self.versions(draft.name)):
            known = self.get(draft.name, number)
            if known.digest == draft.digest and known.signature == draft.signature:
                return known
        return None

    def _settle(self, manifest: Manifest) -> ModelVersion:
        """Rename the finished folder to the next free number."""
        draft = manifest.version
        number = self._highest(draft.name)
        while True:
            number += 1
            final = replace(draft, version=str(number), path=draft.path.parent / str(number))
            replace(manifest, version=final).write(draft.path)
            if _renamed(draft.path, final.path):
                sync(final.path.parent)
                return final

    def _highest(self, name: str) -> int:
        """Give the highest number ever used, deleted and unreadable ones included."""
        entries = [entry.name for root in self._roots for entry in _entries(root / name)]
        numbers = [entry.removeprefix(".deleted-") for entry in entries]
        return max((int(number) for number in numbers if is_number(number)), default=0)

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


def _copy(artifact: Path, companions: Sequence[Path], target: Path) -> tuple[ArtifactFile, ...]:
    """Copy the files of an artifact, synced to disk and read-only, and measure them."""
    for source in (artifact, *companions):
        if not source.resolve().is_relative_to(artifact.parent.resolve()):
            raise UnsupportedArtifact(f"{source} must lie beside or below {artifact} to be registered with it.")
        copy = target / source.relative_to(artifact.parent)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, copy)
        copy.chmod(stat.S_IRUSR | stat.S_IRGRP | stat.S_IROTH)
        sync(copy)
    sync(target)
    return files_in(target)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _place(artifact: Path) -> str:
    return f"{ARTIFACT}/{artifact.name}"


def _write_all(folder: Path, attachments: Mapping[str, bytes]) -> list[ArtifactFile]:
    files = []
    for name, data in sorted(attachments.items()):
        path = folder / _attachment_path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        sweep(path.parent)
        write(path, data)
        files.append(ArtifactFile.of(path, folder))
    return files


def _attachment_path(name: str) -> Path:
    if not is_inside(name) or PurePosixPath(name).parts[0] in (ARTIFACT, MANIFEST):
        raise ModelError(f"{name!r} is no attachment name: wanted a relative path such as 'references/abc.json'.")
    return Path(name)


def _renamed(source: Path, target: Path) -> bool:
    """Rename a folder unless the target exists; renaming fails where the target is a folder with content."""
    try:
        source.rename(target)
    except OSError:
        if target.exists():
            return False
        raise
    return True


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


def _is_version(folder: Path) -> bool:
    """Tell whether this is a finished version; half-written and foreign folders are not."""
    if not is_number(folder.name):
        return False
    try:
        Manifest.read(folder)
    except ModelError:
        return False
    return True
