"""The composition: one request line, its log, board and telemetry, the steward beside it, the commands above it."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from serinus.serving.embedded import EmbeddedApp, create_app
    from serinus.serving.settings import Settings

__all__ = ["EmbeddedApp", "Settings", "create_app"]

_HOMES = {"EmbeddedApp": "embedded", "Settings": "settings", "create_app": "embedded"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"serinus.serving.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
