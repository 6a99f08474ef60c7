"""What is known of ground truth as a file of the host: written by its steward, read by workers and commands."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from serinus.serving.errors import ControlRefused
from serinus.serving.files import write_atomically

__all__ = ["publish", "published"]

FORMAT = 1
_FILE = "ground_truth.json"
_NOTHING: Mapping[str, Any] = {"received": 0, "waiting_bytes": 0, "orphans": 0, "unlogged": 0, "forgotten": 0,
                                  "models": {}}


def publish(run: Path, document: Mapping[str, Any]) -> None:
    """Write it into the home's run folder."""
    run.mkdir(parents=True, exist_ok=True)
    write_atomically(run / _FILE, orjson.dumps({"format": FORMAT, **document}, option=orjson.OPT_SERIALIZE_NUMPY))


def published(run: Path, model: str | None = None) -> dict[str, Any]:
    """What was written last, of all models or of one. Raises `ControlRefused` where nothing is known of that one."""
    try:
        found: dict[str, Any] = orjson.loads((run / _FILE).read_bytes())
    except FileNotFoundError:
        found = {}
    known = found if found.get("format") == FORMAT else {}
    told = {key: known.get(key, usual) for key, usual in _NOTHING.items()}
    if model is None:
        return told
    if model not in told["models"]:
        raise ControlRefused(f"No ground truth of {model!r} has come yet; known: "
                             f"{', '.join(sorted(told['models'])) or 'of no model'}.", "not_found")
    return {**told, "models": {model: told["models"][model]}}
