"""What one detector is asked, and what is kept of its answers."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np

from tests.benchmarks.drift import report
from tests.benchmarks.drift.peers import Program
from tests.benchmarks.drift.scenarios import CHANGES, FEATURES, SHAPES, changed_windows, clean, masked, streams

RUN_LENGTH = 50_000
"""Rows per false alarm of any of the features, to which detectors are re-tuned."""
ROWS = 250
"""Of the windows in which changes are looked for."""


@dataclass(frozen=True)
class Effort:
    """How much is asked."""

    sizes: tuple[int, ...]
    windows: int
    """Clean windows per shape and size."""
    tuning: int
    """Clean windows of which thresholds are taken."""
    courses: int
    """Times each change is played in each of its columns."""
    longest: int
    """Windows after a change."""
    stream: int
    """Clean rows of streams."""


FULL = Effort((50, 200, 500, 2_000), windows=40, tuning=300, courses=2, longest=48, stream=200_000)
LESS = Effort((50, 200, 500, 2_000), windows=6, tuning=100, courses=1, longest=48, stream=5_000)
"""For those that take tens of milliseconds per column."""
QUICK = Effort((50, 200), windows=4, tuning=20, courses=1, longest=6, stream=5_000)

EFFORTS = {"full": FULL, "less": LESS, "quick": QUICK}

def try_out(peer: Program, effort: Effort) -> dict[str, Any]:
    """Ask everything that the detector offers."""
    false = _false_alarms(peer, effort)
    spoilt = peer.ask("windows", **masked(7))
    first = spoilt["tools"]
    return {
        "versions": spoilt["versions"], "date": date.today().isoformat(),
        "clean": (effort.windows, effort.tuning), "megabytes": peer.megabytes(),
        "false": {tool: {name: {rows: report.shares(one["tools"][tool]["alarms"], FEATURES) for rows, one in by.items()}
                         for name, by in false.items()} for tool in first},
        "delays": _delays_of_windows(peer, effort) if first else {},
        "streams": _delays_of_streams(peer, effort),
        "masking": {tool: _masking(one) for tool, one in first.items()},
        "speed": peer.ask("speed", **_rows())["tools"],
    }


def _false_alarms(peer: Program, effort: Effort) -> dict[str, dict[int, Any]]:
    cells = [(place, rows) for place in range(len(SHAPES)) for rows in effort.sizes]
    asked = [clean(SHAPES[place], effort.windows, rows, 100 * place + rows) for place, rows in cells]
    told = dict(zip(cells, peer.ask_all("windows", asked), strict=True))
    return {shape.name: {rows: told[place, rows] for rows in effort.sizes} for place, shape in enumerate(SHAPES)}


def _delays_of_windows(peer: Program, effort: Effort) -> dict[str, Any]:
    rows = clean(SHAPES[0], effort.tuning, ROWS, 11)
    quiet = peer.ask("windows", **rows)["tools"]
    changed = changed_windows(rows["reference"], effort.courses * effort.longest, ROWS, 12)
    moved = peer.ask("alone", reference=rows["reference"], windows=changed, clean=rows["windows"])["tools"]
    return {tool: _of_windows(quiet[tool], moved[tool], effort.courses) for tool in quiet}


def _of_windows(quiet: dict[str, Any], moved: dict[str, Any], courses: int) -> dict[str, Any]:
    limit = report.threshold(quiet["scores"], ROWS / RUN_LENGTH)
    told = {"as it comes": np.array(moved["alarms"], bool), "re-tuned": np.array(moved["scores"], float) > limit}
    return {"threshold": limit, "any": report.shares(quiet["alarms"], FEATURES)[1],
            **{how: _medians(exceeds.reshape(courses, -1, FEATURES)) for how, exceeds in told.items()}}


def _medians(exceeds: Any) -> list[float]:
    found = np.array([report.delays(course, ROWS) for course in exceeds])
    return [report.median(found[:, place :: len(CHANGES)].ravel()) for place in range(len(CHANGES))]


def _delays_of_streams(peer: Program, effort: Effort) -> dict[str, Any]:
    answered = peer.ask("streams", **streams(effort.stream, ROWS * effort.longest, 13))["tools"]
    return {tool: _of_streams(settings) for tool, settings in answered.items()}


def _of_streams(settings: dict[str, Any]) -> dict[str, Any]:
    kept = {label: {"false": one["false"], "rows": one["rows"], "medians": [report.median(m) for m in one["delays"]]}
            for label, one in settings.items()}
    return {"tuned": report.tuned(kept, RUN_LENGTH), "settings": kept}


def _masking(answer: dict[str, Any]) -> dict[str, tuple[float, float]]:
    plain, spoilt = (np.array(answer[what], float)[:, :FEATURES] for what in ("alarms", "scores"))
    return {"alarms": (float(plain[0].mean()), float(plain[1].mean())),
            "scores": (float(np.median(spoilt[0])), float(np.median(spoilt[1])))}


def _rows() -> dict[str, Any]:
    rng = np.random.default_rng(17)
    return {"reference": rng.normal(size=(5_000, FEATURES)), "rows": rng.normal(size=(2_000, FEATURES))}
