"""The manifest of a version's folder: what it is, what belongs to it, where it comes from.

Its format is 1. Keys may be added to it, and a reader passes over those it does not know; they are kept when the
manifest is written again.
"""

import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from serinus.models.card import Card
from serinus.models.errors import InvalidManifest, InvalidSignature, ModelError
from serinus.models.files import write
from serinus.models.lineage import Lineage
from serinus.models.signature import Signature
from serinus.models.version import ArtifactFile, ModelVersion

__all__ = ["FORMAT", "MANIFEST", "Manifest", "is_inside"]

FORMAT = 1
MANIFEST = "manifest.json"
_TEXTS = ("name", "version", "adapter", "digest", "created", "artifact")


@dataclass(frozen=True)
class Manifest:
    """What a version's folder says of itself.

    Attributes:
        version: the version; its card and lineage are empty where the manifest has none.
        files: the files of the artifact, by path below the artifact's folder.
        attachments: the further files, by path below the version's folder.
        document: the JSON object as it was read, or what there is of it before the first writing.
    """

    version: ModelVersion
    files: tuple[ArtifactFile, ...]
    attachments: tuple[ArtifactFile, ...]
    document: Mapping[str, Any]

    @classmethod
    def read(cls, folder: Path) -> "Manifest":
        """Read a version's folder. Raises InvalidManifest unless its manifest is whole and its own."""
        try:
            manifest = cls.parse((folder / MANIFEST).read_bytes(), folder)
        except OSError as error:
            raise _unreadable(str(folder), error) from error
        version = manifest.version
        if (version.name, version.version) != (folder.parent.name, folder.name):
            raise InvalidManifest(f"The manifest in {folder} is that of {version.tag}.")
        return manifest

    @classmethod
    def parse(cls, data: bytes, folder: Path) -> "Manifest":
        """Read a manifest's bytes; `folder` is where the version lies, or the file it came in."""
        try:
            document = json.loads(data)
            _check_format(document, folder)
            manifest = cls._of(document, folder)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError, InvalidSignature) as error:
            raise _unreadable(str(folder), error) from error
        for path in (manifest.version.artifact, *(file.path for file in (*manifest.files, *manifest.attachments))):
            if not is_inside(path):
                raise InvalidManifest(f"The manifest in {folder} names a file outside of it: {path!r}.")
        return manifest

    @classmethod
    def _of(cls, document: Mapping[str, Any], folder: Path) -> "Manifest":
        files = tuple(_file(file) for file in document["files"])
        version = ModelVersion(
            **{key: str(document[key]) for key in _TEXTS},
            path=folder,
            signature=Signature.from_json(document["signature"]),
            card=_card(document.get("card", {})),
            lineage=Lineage.from_json(document.get("lineage", {})),
            libraries={str(name): str(number) for name, number in document.get("libraries", {}).items()},
            size=sum(file.size for file in files),
        )
        return cls(version, files, tuple(_file(file) for file in document["attachments"]), document)

    @classmethod
    def draft(cls, version: ModelVersion, files: Sequence[ArtifactFile], attachments: Sequence[ArtifactFile],
              python: str | None = None) -> "Manifest":  # fmt: skip
        """Make the manifest of a version that is being registered."""
        return cls(version, tuple(files), tuple(attachments), {"python": python or platform.python_version()})

    @property
    def python(self) -> str:
        """The version of Python that the model was registered with."""
        return str(self.document.get("python", ""))

    def with_attachments(self, more: Sequence[ArtifactFile]) -> "Manifest":
        """Give a manifest that lists further attachments too."""
        listed = {file.path: file for file in (*self.attachments, *more)}
        return replace(self, attachments=tuple(listed[path] for path in sorted(listed)))

    def with_card(self, card: Card) -> "Manifest":
        """Give a manifest with another card."""
        return replace(self, version=replace(self.version, card=card))

    def write(self, folder: Path) -> None:
        """Write the manifest into a folder, as one step."""
        write(folder / MANIFEST, self.to_bytes())

    def to_bytes(self) -> bytes:
        """Give the manifest as indented JSON; what is empty and may be left out is."""
        version = self.version
        known = {"format": FORMAT, **{key: getattr(version, key) for key in _TEXTS}} | {
            "files": [asdict(file) for file in self.files],
            "signature": version.signature.to_json(),
            "python": self.python,
            "libraries": dict(version.libraries),
            "attachments": [asdict(file) for file in self.attachments],
            "card": version.card.to_json(),
            "lineage": version.lineage.to_json(),
        }
        kept = {key: value for key, value in known.items() if value or key not in ("card", "lineage")}
        others = {key: value for key, value in self.document.items() if key not in kept}
        return json.dumps(kept | others, indent=2, ensure_ascii=False).encode() + b"\n"


def is_inside(path: str) -> bool:
    """Tell whether a relative POSIX path stays below the folder it is relative to."""
    parts = PurePosixPath(path)
    return bool(parts.parts) and not parts.is_absolute() and ".." not in parts.parts and "\0" not in path


def _file(document: Mapping[str, Any]) -> ArtifactFile:
    return ArtifactFile(str(document["path"]), int(document["size"]), str(document["sha256"]))


def _card(document: Any) -> Card:
    """A card of a later Serinus may say more than this one can read: what people wrote must not hide a version."""
    try:
        return Card.from_json(document)
    except ModelError:
        return Card()


def _check_format(document: Any, folder: Path) -> None:
    found = document.get("format") if isinstance(document, dict) else None
    if found != FORMAT:
        raise InvalidManifest(
            f"The manifest in {folder} has format {found!r}, and this Serinus reads format {FORMAT}; upgrade Serinus."
        )


def _unreadable(where: str, error: Exception) -> InvalidManifest:
    return InvalidManifest(f"The manifest in {where} cannot be read ({error!r}); register it again.")
