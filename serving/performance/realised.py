"""The windows of ground truth as performance looks at them: exact sums by version, role and hour, read once each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
import orjson
from numpy.typing import NDArray

from serinus.monitors.harm import LEVELS
from serinus.monitors.metrics import Sums
from serinus.serving.ground_truth.summary import WindowName
from serinus.serving.store import Document

__all__ = ["Realised", "Window", "together"]


class Window(NamedTuple):
    """One hour of a version in a role.

    Attributes:
        revision: rises with everything that changes it.
        predictions: rows answered.
        labelled: those whose truth is known.
        sums: of performance, by the name of their definition.
        losses: rows by level of loss `[256]`.
    """

    revision: int
    predictions: int
    labelled: int
    sums: Mapping[str, Sums]
    losses: NDArray[np.int64]


class Realised:
    """All windows that are known. What has not changed is not read again."""

    def __init__(self) -> None:
        self.windows: dict[WindowName, Window] = {}

    def take(self, documents: Iterable[Document]) -> None:
        """Follow the store's windows; what is not among them any more is forgotten."""
        found = {}
        for document in documents:
            name = WindowName.of(document.key)
            known = self.windows.get(name)
            found[name] = known if known is not None and known.revision == document.revision else _window(document)
        self.windows = found

    def of(self, model: str, version: str, role: str) -> dict[int, Window]:
        """The windows of a version in a role, by their hour, oldest first."""
        mine = [(name.hour, window) for name, window in self.windows.items() if name[:3] == (model, version, role)]
        return dict(sorted(mine, key=lambda item: item[0]))


def together(windows: Iterable[Window], definition: str) -> Sums:
    """The sums of several windows under one definition; exactly those of all rows at once."""
    whole = Sums({}, {})
    for window in windows:
        if definition in window.sums:
            whole = whole + window.sums[definition]
    return whole


def _window(document: Document) -> Window:
    parts = orjson.loads(document.body)["parts"].values()
    sums: dict[str, Sums] = {}
    for part in parts:
        if "sums" in part:
            known = sums.get(part["definition"], Sums({}, {}))
            sums[part["definition"]] = known + Sums.from_json(part["sums"])
    return Window(document.revision, sum(part["predictions"] for part in parts),
                  sum(part["labelled"] for part in parts), sums, _losses(parts))


def _losses(parts: Iterable[Mapping[str, Any]]) -> NDArray[np.int64]:
    counts = np.zeros(LEVELS, np.int64)
    for part in parts:
        for level, rows in part.get("losses", {}).items():
            counts[int(level)] += rows
    return counts
