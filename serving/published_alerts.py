"""The alerts as a file of the host: written by its steward, read by workers and commands, who need no store for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from serinus.serving.files import write_atomically

if TYPE_CHECKING:
    from serinus.monitors.alerts import AlertBook

__all__ = ["as_document", "publish", "published"]

FORMAT = 1
_FILE = "alerts.json"
_NOTHING: Mapping[str, Any] = {"alerts": [], "silences": [], "counts": {"pending": 0, "firing": 0, "resolved": 0},
                               "notifications": {}}


def as_document(book: AlertBook, messages: Mapping[str, Mapping[str, int]], now: float) -> dict[str, Any]:
    """All alerts, silences and counts, for people and programs."""
    alerts = [{**asdict(alert), "silenced": book.is_silenced(alert, now)} for alert in book.alerts]
    return {"alerts": alerts, "silences": [asdict(silence) for silence in book.silences], "counts": book.count(),
            "notifications": {name: dict(counts) for name, counts in sorted(messages.items())}}


def publish(run: Path, document: Mapping[str, Any]) -> None:
    """Write what `as_document` gave into the home's run folder, if it says anything new."""
    path = run / _FILE
    data = orjson.dumps({"format": FORMAT, **document})
    if not path.exists() or path.read_bytes() != data:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, data)


def published(run: Path) -> dict[str, Any]:
    """What was written last into this run folder; no alerts where no steward of this release ever did."""
    try:
        found: dict[str, Any] = orjson.loads((run / _FILE).read_bytes())
    except FileNotFoundError:
        return dict(_NOTHING)
    return {key: found[key] for key in _NOTHING} if found.get("format") == FORMAT else dict(_NOTHING)
