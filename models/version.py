"""A model version: one immutable artifact under a name, and the digest that identifies it."""

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from serinus.models.card import Card
from serinus.models.errors import InvalidName
from serinus.models.lineage import Lineage
from serinus.models.signature import Signature

__all__ = ["LATEST", "ArtifactFile", "ModelVersion", "check_alias", "check_name", "digest_of", "files_in", "is_number",
           "parse_tag", "split_tag"]  # fmt: skip

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}", re.ASCII)
_VERSION = re.compile(r"[1-9][0-9]{0,8}", re.ASCII)
_ALIAS = re.compile(r"[a-z][a-z0-9._-]{0,62}", re.ASCII)

LATEST = "latest"
"""Stands for the highest version in a tag, so no alias may be called so."""


@dataclass(frozen=True)
class ModelVersion:
    """One immutable artifact under a name.

    Attributes:
        name: the model's name.
        version: "1", "2", …; models that live in memory only are version "0".
        adapter: name of the adapter that loads it.
        digest: "sha256:…" of the artifact's bytes.
        created: ISO 8601 time in UTC.
        path: the version's folder.
        artifact: the file to load, relative to `path`.
        signature: what the model takes and gives.
        card: what people should know of it.
        lineage: where it comes from.
        libraries: the versions of the libraries it was made with, by distribution name.
        size: bytes of the artifact.
    """

    name: str
    version: str
    adapter: str
    digest: str
    created: str
    path: Path
    artifact: str
    signature: Signature
    card: Card = field(default_factory=Card)
    lineage: Lineage = field(default_factory=Lineage)
    libraries: Mapping[str, str] = field(default_factory=dict, hash=False)
    size: int = 0

    @property
    def tag(self) -> str:
        """The version as text, "name:version"."""
        return f"{self.name}:{self.version}"


@dataclass(frozen=True, slots=True)
class ArtifactFile:
    """One file of an artifact: its relative POSIX path, size in bytes and hex SHA-256."""

    path: str
    size: int
    sha256: str

    @classmethod
    def of(cls, path: Path, root: Path) -> "ArtifactFile":
        """Measure a file below `root`."""
        with path.open("rb") as stream:
            sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
        return cls(path.relative_to(root).as_posix(), path.stat().st_size, sha256)


def files_in(folder: Path) -> tuple[ArtifactFile, ...]:
    """Measure every file below a folder, sorted by path."""
    paths = (path for path in folder.rglob("*") if path.is_file())
    return tuple(sorted((ArtifactFile.of(path, folder) for path in paths), key=lambda file: file.path))


def digest_of(files: Iterable[ArtifactFile]) -> str:
    """Give the digest of an artifact.

    A single file has the SHA-256 of its bytes, the same as `sha256sum` prints. Several files have the
    SHA-256 over their sorted (path, size, sha256), one line each, separated by tabs.
    """
    listed = sorted(files, key=lambda file: file.path)
    if len(listed) == 1:
        return f"sha256:{listed[0].sha256}"
    lines = "".join(f"{file.path}\t{file.size}\t{file.sha256}\n" for file in listed)
    return f"sha256:{hashlib.sha256(lines.encode()).hexdigest()}"


def check_name(name: str) -> str:
    """Give the model name back. Raises InvalidName where it breaks the rule."""
    if not _NAME.fullmatch(name):
        raise InvalidName(
            f"{name!r} is no model name: wanted 1 to 63 of a-z, 0-9, '.', '_' and '-', starting with a letter or digit."
        )
    return name


def check_alias(alias: str) -> str:
    """Give the alias back. Raises InvalidName where it breaks the rule, or is `latest`."""
    if alias == LATEST:
        raise InvalidName(f"{LATEST!r} always means the highest version and cannot be an alias; choose another name.")
    if not _ALIAS.fullmatch(alias):
        raise InvalidName(
            f"{alias!r} is no alias: wanted 1 to 63 of a-z, 0-9, '.', '_' and '-', starting with a letter."
        )
    return alias


def is_number(version: str) -> bool:
    """Tell whether this is a version's number, a whole one from 1."""
    return bool(_VERSION.fullmatch(version))


def split_tag(tag: str) -> tuple[str, str | None]:
    """Split "name", "name:version" or "name:alias" into its parts; the second is None where none is given.

    Raises InvalidName where a part breaks its rule. `Registry.resolve` makes a number of the second.
    """
    name, colon, version = tag.partition(":")
    check_name(name)
    if colon and not (_VERSION.fullmatch(version) or _ALIAS.fullmatch(version)):
        raise InvalidName(
            f"{tag!r} is no tag: wanted a whole number from 1 or an alias behind the colon, got {version!r}."
        )
    return name, version if colon else None


def parse_tag(tag: str) -> tuple[str, str | None]:
    """Split "name" or "name:version" into its parts; the version is None where none is given.

    Raises InvalidName where the name breaks the rule or the version is not a whole number from 1.
    """
    name, version = split_tag(tag)
    if version is not None and not is_number(version):
        raise InvalidName(f"{tag!r} is no tag: versions are whole numbers from 1, got {version!r}.")
    return name, version
