"""Verdicts of the evaluation gate, as they are kept with a version."""

from __future__ import annotations

from typing import Any

import orjson

from serinus.models.registry import Registry
from serinus.models.version import ModelVersion

__all__ = ["FOLDER", "last_gate"]

FOLDER = "gates"
"""Attachments of a version: `gates/SHA/gate.json`, and beside it the card and the bill of materials."""


def last_gate(registry: Registry, version: ModelVersion) -> dict[str, Any] | None:
    """The newest verdict on a version, as `gate.json` has it; None where it was never judged."""
    names = [name for name in registry.attachments(version) if name.startswith(f"{FOLDER}/")
             and name.endswith("/gate.json")]
    found = [orjson.loads(registry.attachment(version, name)) for name in names]
    return max(found, key=lambda document: str(document["at"]), default=None)
