"""What is known of a model's performance, as a file of the host: written by its steward, read by workers and commands.

A file holds the document that `GET /api/performance/{model}` gives. Whoever reads it answers with the last one,
whatever becomes of steward and store.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from serinus.serving.errors import ControlRefused
from serinus.serving.files import write_atomically

__all__ = ["FORMAT", "documents", "keep_only", "publish", "published"]

FORMAT = 1


def publish(folder: Path, document: Mapping[str, Any]) -> None:
    """Replace what is said of the document's model."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    body = orjson.dumps({"format": FORMAT, **document}, option=orjson.OPT_SERIALIZE_NUMPY)
    write_atomically(folder / f"{document['model']}.json", body)


def documents(folder: Path) -> list[dict[str, Any]]:
    """What was written last of every model, by name; what another release wrote is left out."""
    found = (_read(path) for path in sorted(folder.glob("*.json")))
    return [document for document in found if document is not None]


def published(folder: Path, model: str) -> dict[str, Any]:
    """What was written last of a model. Raises `ControlRefused` where nothing is known of it."""
    found = _read(folder / f"{model}.json") if "/" not in model else None
    if found is None:
        known = ", ".join(sorted(document["model"] for document in documents(folder))) or "of no model"
        raise ControlRefused(f"Nothing is known of the performance of {model!r} yet; known: {known}.", "not_found")
    return found


def keep_only(folder: Path, models: set[str]) -> None:
    """Remove what is said of other models."""
    for path in folder.glob("*.json"):
        if path.stem not in models and not path.name.startswith("."):
            path.unlink(missing_ok=True)


def _read(path: Path) -> dict[str, Any] | None:
    try:
        document: dict[str, Any] = orjson.loads(path.read_bytes())
    except (FileNotFoundError, orjson.JSONDecodeError):
        return None
    return document if document.get("format") == FORMAT else None
