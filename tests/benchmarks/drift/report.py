"""What the answers of the programs say: shares, thresholds re-tuned to equal false alarms, delays, and the tables."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.benchmarks.drift.scenarios import CHANGES

Array = NDArray[Any]

NEVER = math.inf
MOST = 12_000
"""Rows that are played after a change."""


def shares(alarms: Sequence[Sequence[bool]], features: int) -> tuple[float, float]:
    """Return the share of alarms per feature, and of windows in which anything alarmed, of `[W, F or more]`."""
    table = np.asarray(alarms, bool)
    return float(table[:, :features].mean()), float(table.any(1).mean())


def threshold(scores: Sequence[Sequence[float]], level: float) -> float:
    """Return the smallest score that at most this share of clean windows exceeds in any feature."""
    highest = np.sort(np.nan_to_num(np.asarray(scores, float), nan=-np.inf).max(1))[::-1]
    return float(highest[math.floor(level * len(highest))])


def delays(exceeds: Array, rows: int) -> Array:
    """Return the rows until the end of the first window that alarms, of `[W, …]`; infinite where none does."""
    first = exceeds.argmax(0)
    return np.where(exceeds.any(0), (first + 1.0) * rows, NEVER)


def median(values: Iterable[float | None]) -> float:
    """Return the median delay; None is never."""
    return float(np.median([NEVER if value is None else value for value in values]))


def tuned(settings: dict[str, dict[str, Any]], run_length: float) -> str | None:
    """Return the setting of the shortest delays with at most one false alarm in so many rows; none if all have more."""
    quiet = [label for label, one in settings.items() if one["false"] * run_length <= one["rows"]]
    return min(quiet, key=lambda label: _slowness(settings[label]["medians"])) if quiet else None


def _slowness(medians: Sequence[float]) -> tuple[int, float]:
    seen = [value for value in medians if value != NEVER]
    return len(medians) - len(seen), sum(seen)


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def share(value: float) -> str:
    """Return a share in words: "3.1 %"."""
    return f"{100 * value:.3g} %"


def rows_of(value: float, most: int) -> str:
    """Return a delay in words."""
    return f"> {most:,}" if value == NEVER else f"{value:,.0f}"


def page(answers: dict[str, dict[str, Any]]) -> str:
    """Return all tables of what the detectors answered, by name."""
    asked = {name: one for name, one in answers.items() if "failed" not in one}
    parts = [
        ("False alarms on clean rows", "Per feature / in any of 30, at each tool's defaults.", _false(asked)),
        ("Delay: windows of 250 rows", "Median rows until the end of the first window that alarms; as it comes → "
         "re-tuned to one false alarm in 50,000 rows (0.5 % of windows, any of 30 features).", _windows(asked)),
        ("Delay: streams", "Median rows until the alarm; in brackets false alarms per 50,000 clean rows, any of 30 "
         "features. **Bold**: the setting tried with the shortest delays and at most one.", _streams(asked)),
        ("One value of a million", "Windows of 1,000 rows moved by 0.5 sd: share of features that alarm at defaults, "
         "and the median score, without → with the value.", _masked(asked)),
        ("Cost", "µs per row of 30 features where rows come in batches of …; MB that the packages take.", _cost(asked)),
        ("Versions", "", _versions(answers)),
    ]
    return "\n\n".join("\n\n".join(filter(None, (f"## {head}", lead, table))) for head, lead, table in parts)


def _tools(answers: dict[str, dict[str, Any]], what: str) -> Iterable[tuple[str, Any]]:
    return ((tool, found) for one in answers.values() for tool, found in one[what].items())


def _false(answers: dict[str, dict[str, Any]]) -> str:
    rows, sizes = [], []
    for tool, shapes in _tools(answers, "false"):
        for shape, by in shapes.items():
            sizes = list(by)
            rows.append([tool, shape, *(f"{share(each)} / {share(together)}" for each, together in by.values())])
    return markdown(["tool", "rows are", *(f"n = {int(size):,}" for size in sizes)], rows)


def _windows(answers: dict[str, dict[str, Any]]) -> str:
    rows = [[tool, share(one["any"]), f"{one['threshold']:.3g}",
             *(f"{rows_of(plain, MOST)} → {rows_of(again, MOST)}"
               for plain, again in zip(one["as it comes"], one["re-tuned"], strict=True))]
            for tool, one in _tools(answers, "delays")]
    return markdown(["tool", "clean windows that alarm", "re-tuned threshold", *_changes()], rows)


def _streams(answers: dict[str, dict[str, Any]]) -> str:
    rows = []
    for tool, one in _tools(answers, "streams"):
        for label, setting in one["settings"].items():
            mark = "**" if label == one["tuned"] else ""
            per = 50_000 * setting["false"] / setting["rows"]
            delays_of = [f"{mark}{rows_of(value, MOST)}{mark}" for value in setting["medians"]]
            rows.append([tool, f"{mark}{label}{mark} ({per:.3g})", *delays_of])
    return markdown(["tool", "setting (false alarms)", *_changes()], rows)


def _changes() -> list[str]:
    return [change.name for change in CHANGES]


def _masked(answers: dict[str, dict[str, Any]]) -> str:
    rows = [[tool, *(" → ".join(map(say, one[what])) for say, what in ((share, "alarms"), (_short, "scores")))]
            for tool, one in _tools(answers, "masking")]
    return markdown(["tool", "alarms", "score"], rows)


def _short(value: float) -> str:
    return f"{value:.3g}"


def _cost(answers: dict[str, dict[str, Any]]) -> str:
    rows = [[tool, *map(_micro, by.values()), f"{one['megabytes']:,.0f}"]
            for one in answers.values() for tool, by in one["speed"].items()]
    return markdown(["tool", "1", "8", "64", "1,000", "MB"], rows)


def _micro(value: float) -> str:
    rounded = float(f"{value:.3g}")
    return f"{rounded:,.0f}" if rounded >= 100 else f"{rounded:g}"


def _versions(answers: dict[str, dict[str, Any]]) -> str:
    rows = [[name, one.get("date", ""), " / ".join(map(str, one.get("clean", ()))), one.get("failed") or _list(one)]
            for name, one in answers.items()]
    return markdown(["program", "asked on", "clean windows per cell / for tuning", "with"], rows)


def _list(answer: dict[str, Any]) -> str:
    return ", ".join(f"{package} {version}" for package, version in answer["versions"].items())
