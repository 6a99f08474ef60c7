"""What workers, commands and pages know of the monitors: small files that the steward publishes, one for each version.

A file holds the document that `GET /api/monitors/{model}` gives. The reference profile that a version is compared with
lies beside it under its digest. Workers read these files only: they answer with the last ones, whatever becomes of
steward and store.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from serinus.monitors.errors import MonitorError
from serinus.monitors.profile import Profile
from serinus.serving.files import write_atomically

__all__ = ["FORMAT", "MonitorFiles", "View", "brief"]

FORMAT = 1


@dataclass(frozen=True)
class View:
    """What is published of one version's monitors."""

    document: Mapping[str, Any]

    @property
    def model(self) -> str:
        """The model's name."""
        return str(self.document["model"])

    @property
    def version(self) -> str:
        """The version."""
        return str(self.document["version"])

    @property
    def state(self) -> str:
        """off | learning | collecting | ok | warn | alarm | act."""
        return str(self.document["state"])

    @property
    def digest(self) -> str | None:
        """Of the reference profile; None while there is none."""
        reference = self.document.get("reference")
        return None if reference is None else str(reference["digest"])

    @property
    def brief(self) -> str:
        """The stream's state for an answer's header."""
        return brief(self.document)


def brief(document: Mapping[str, Any]) -> str:
    """A view's state in a few words of printable ASCII: `drift=ok@2026-01-01T00:00:00Z; evidence=0.12; …`."""
    parts = [f"drift={document['state']}@{_iso(document['judged'])}"]
    if document.get("evidence") is not None:
        parts.append(f"evidence={document['evidence']:.2f}")
    if document["state"] == "learning":
        parts.append(f"rows={document['rows']}/{document['wanted_rows']}")
    elif document.get("reference") is not None:
        parts.append(f"run_length={document['run_length']}")
    return "; ".join(parts)


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True, slots=True)
class MonitorFiles:
    """The published files of a host, in the folder `path`."""

    path: Path

    def stamp(self, model: str, version: str) -> tuple[int, int] | None:
        """Changes when the view of a version was published anew; None while there is none."""
        try:
            status = self._view(model, version).stat()
        except FileNotFoundError:
            return None
        return status.st_ino, status.st_mtime_ns

    def view(self, model: str, version: str) -> View | None:
        """The view of a version; None while there is none, or where another release wrote it."""
        return _read(self._view(model, version))

    def views(self, model: str | None = None) -> list[View]:
        """All views, or those of a model, by name and version."""
        found = [view for path in self.path.glob("*.view.json") if (view := _read(path)) is not None]
        wanted = [view for view in found if model in (None, view.model)]
        return sorted(wanted, key=lambda view: (view.model, int(view.version)))

    def profile(self, digest: str) -> Profile | None:
        """The profile of that digest; None where it is not there or was changed."""
        try:
            profile = Profile.from_bytes(self._profile(digest).read_bytes())
        except (FileNotFoundError, MonitorError):
            return None
        return profile if profile.digest == digest else None

    def has_profile(self, digest: str) -> bool:
        """Whether a profile is published."""
        return self._profile(digest).exists()

    def publish(self, view: View) -> None:
        """Replace the view of a version."""
        self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_atomically(self._view(view.model, view.version), orjson.dumps(dict(view.document)))

    def publish_profile(self, digest: str, data: bytes) -> None:
        """Put a profile there, for views that name its digest."""
        self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_atomically(self._profile(digest), data)

    def keep_only(self, views: set[tuple[str, str]], digests: set[str]) -> None:
        """Remove what is not needed any more."""
        kept = {self._view(*key) for key in views} | {self._profile(digest) for digest in digests}
        for path in self.path.glob("*.json"):
            if path not in kept and not path.name.startswith("."):
                path.unlink(missing_ok=True)

    def forget(self, digest: str) -> None:
        """Remove a profile, and the views that name it."""
        for view in self.views():
            if view.digest == digest:
                self._view(view.model, view.version).unlink(missing_ok=True)
        self._profile(digest).unlink(missing_ok=True)

    def _view(self, model: str, version: str) -> Path:
        return self.path / f"{model}-{version}.view.json"

    def _profile(self, digest: str) -> Path:
        return self.path / f"{digest.removeprefix('sha256:')}.profile.json"


def _read(path: Path) -> View | None:
    try:
        document = orjson.loads(path.read_bytes())
    except (FileNotFoundError, orjson.JSONDecodeError):
        return None
    return View(document) if document.get("format") == FORMAT else None
