"""The windows of ground truth as performance looks at them: exact sums by version, role and hour, read once each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from serinus.monitors.harm import LEVELS
from serinus.monitors.metrics import Sums
from serinus.serving.ground_truth.sources import Counts, merged_sources
from serinus.serving.ground_truth.summary import WindowName

__all__ = ["Realised", "Window", "together"]


class Window(NamedTuple):
    """One hour of a version in a role.

    Attributes:
        revision: rises with everything that changes it.
        predictions: rows answered.
        labelled: those whose truth is known.
        sums: of performance, by the name of their definition.
        losses: rows by level of loss `[256]`.
        sources: who gave the truths, and how often they contradict.
    """

    revision: int
    predictions: int
    labelled: int
    sums: Mapping[str, Sums]
    losses: NDArray[np.int64]
    sources: Counts = MappingProxyType({})


class Realised:
    """All windows that are known. What has not changed is not read again."""

    def __init__(self) -> None:
        self.windows: dict[WindowName, Window] = {}

    def take(self, windows: Mapping[WindowName, Mapping[str, Any]], oldest_hour: int) -> None:
        """Follow the windows as they are in the store; older ones, and those that are gone, are forgotten."""
        found = {}
        for name, window in windows.items():
            if name.hour >= oldest_hour:
                known = self.windows.get(name)
                found[name] = known if known and known.revision == window["revision"] else _window(window)
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


def _window(window: Mapping[str, Any]) -> Window:
    parts = window["parts"].values()
    sums: dict[str, Sums] = {}
    for part in parts:
        if "sums" in part:
            known = sums.get(part["definition"], Sums({}, {}))
            sums[part["definition"]] = known + Sums.from_json(part["sums"])
    return Window(window["revision"], sum(part["predictions"] for part in parts),
                  sum(part["labelled"] for part in parts), sums, _losses(parts),
                  merged_sources(part.get("sources", {}) for part in parts))


def _losses(parts: Iterable[Mapping[str, Any]]) -> NDArray[np.int64]:
    counts = np.zeros(LEVELS, np.int64)
    for part in parts:
        for level, rows in part.get("losses", {}).items():
            counts[int(level)] += rows
    return counts
