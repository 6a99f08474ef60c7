"""Which models a server serves: what is registered in its home or came along in its Bento, or what was asked for."""

from __future__ import annotations

from pathlib import Path

import serinus
from serinus.models.registry import Registry
from serinus.models.version import parse_tag
from serinus.serving.settings import Settings

__all__ = ["bundle_folders", "open_registry", "served"]


def bundle_folders() -> list[Path]:
    """The read-only registry that a Bento carries, if this code runs out of one."""
    folder = Path(serinus.__file__).resolve().parent.parent / "bundle"
    return [folder] if (folder / "models").is_dir() else []


def open_registry(settings: Settings) -> Registry:
    """The registry of the home, and what a Bento brought along."""
    return Registry(settings.home, bundled=bundle_folders())


def served(settings: Settings, registry: Registry) -> dict[str, str | None]:
    """The models to serve, each with the version that a person asked for, or None."""
    wanted = settings.server.models
    return dict(parse_tag(tag) for tag in wanted) if wanted else dict.fromkeys(registry.names())
