"""Which settings are not the default ones, and what gave them."""

from __future__ import annotations

from collections.abc import Iterator
from functools import reduce
from pathlib import Path
from typing import Any

from serinus.serving.doctor.check import Check, ok, problem
from serinus.serving.errors import SettingsError
from serinus.serving.settings import Settings

__all__ = ["look_at_settings"]

_SECRETS = ("control.token", "control.tokens", "alerts.notifiers")


def look_at_settings(config: Path | None, home: Path | None) -> tuple[Settings, list[Check]]:
    """The settings that a server would have here, and a line for each that somebody set; the defaults and a problem
    where they cannot be."""
    flags = {"home": home}
    try:
        settings = Settings.resolve(config=config, flags=flags)
        return settings, list(_told(settings, Settings.sources(config=config, flags=flags)))
    except SettingsError as error:
        remark = "The rest is looked at with the defaults."
        return Settings() if home is None else Settings(home=home), [problem("settings", str(error), remark)]


def _told(settings: Settings, sources: dict[str, str]) -> Iterator[Check]:
    for key, source in sorted(sources.items()):
        value: Any = reduce(getattr, key.split("."), settings)
        shown = "set" if key in _SECRETS else ", ".join(value) if isinstance(value, tuple) else value
        yield ok("settings", f"{key} is {shown}, by {'a flag' if source == 'flag' else source}.")
    if not sources:
        yield ok("settings", "All are the default ones: no serinus.toml here, no variable SERINUS_….")
