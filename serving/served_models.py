"""Which models a server serves: what is registered in its home or came along in its Bento, or what was asked for."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path

import serinus
from serinus.models.registry import Registry
from serinus.serving.settings import Settings
from serinus.serving.wishes import Wish

__all__ = ["bundle_folders", "open_registry", "served"]


def bundle_folders() -> list[Path]:
    """The read-only registry that a Bento carries, if this code runs out of one."""
    folder = Path(serinus.__file__).resolve().parent.parent / "bundle"
    return [folder] if (folder / "models").is_dir() else []


def open_registry(settings: Settings) -> Registry:
    """The registry of the home, and what a Bento brought along."""
    return Registry(settings.home, bundled=bundle_folders())


def served(settings: Settings, registry: Registry, wishes: Mapping[str, Wish] | None = None) -> dict[str, str | None]:
    """The models to serve, each with the version that a person asked for, or None. `wishes` (by model) go before
    what the settings say."""
    wanted = settings.server.models
    found = dict(_resolved(registry.home, tag) for tag in wanted) if wanted else dict.fromkeys(registry.names())
    for name, wish in (wishes or {}).items():
        if wish.served:
            found.setdefault(name, None)
        elif wish.served is False:
            found.pop(name, None)
    return found


@cache
def _resolved(home: Path, tag: str) -> tuple[str, str | None]:
    """Once in a process: moving an alias moves no traffic, a rollout does."""
    return Registry(home, bundled=bundle_folders()).resolve(tag)
