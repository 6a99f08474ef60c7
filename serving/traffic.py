"""What was answered lately, in points of five seconds: a small file that the steward writes and workers read.

`/metrics` counts since the beginning, which suits who asks again and again. Who opens a page wants to see the last
minutes at once: a point is the difference of two looks at what all boards count.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from serinus.serving.board import BOUNDS_NS, EMPTY, VALUE_BOUNDS, VALUES, Labels, Series, read_all
from serinus.serving.files import write_atomically

__all__ = ["POINTS", "Point", "Totals", "look", "point", "publish", "published"]

POINTS = 180
"""Kept: a quarter of an hour at five seconds each."""

FORMAT = 1
_FILE = "traffic.json"


class Totals(NamedTuple):
    """All that was counted up to a time."""

    time: float
    series: Mapping[Labels, Series]
    counters: Mapping[str, int]


class Point(NamedTuple):
    """What was counted between two looks, as it is written.

    `served`: model, version, role, requests, rows, failed (5xx), refused (4xx), and how many requests took how long.
    `predicted`: model, version, role, class, number. `values`: the same with the number of a bucket of numeric
    predictions. `violated`: model, kind, number.
    """

    time: float
    seconds: float
    served: list[list[Any]]
    predicted: list[list[Any]]
    values: list[list[Any]]
    violated: list[list[Any]]


def look(boards: Path, now: float) -> Totals:
    """What the workers with boards in this folder have counted, dead ones included."""
    (counters, series), _ = read_all(boards)
    return Totals(now, series, counters)


def point(before: Totals, after: Totals) -> Point:
    """What came between two looks."""
    tallied = {key: number - before.counters.get(key, 0) for key, number in after.counters.items()
               if key.startswith("[") and number > before.counters.get(key, 0)}
    named = [(orjson.loads(key), number) for key, number in tallied.items()]
    return Point(after.time, after.time - before.time, _served(before.series, after.series),
                 [[*labels, number] for (name, *labels), number in named if name == "predictions"],
                 [[*labels, number] for (name, *labels), number in named if name == VALUES],
                 [[*labels, number] for (name, *labels), number in named if name == "violations"])


def _served(before: Mapping[Labels, Series], after: Mapping[Labels, Series]) -> list[list[Any]]:
    """By version and role, over all routes and outcomes."""
    found: dict[tuple[str, str, str], list[Any]] = {}
    for labels, counts in after.items():
        old = before.get(labels, EMPTY)
        buckets = [new - known for new, known in zip(counts.duration_buckets, old.duration_buckets, strict=True)]
        if number := sum(buckets):
            mine = found.setdefault(labels[:3], [0, 0, 0, 0, [0] * len(buckets)])
            failed, refused = labels.status >= 500, 400 <= labels.status < 500
            for place, more in enumerate((number, counts.rows - old.rows, number * failed, number * refused)):
                mine[place] += more
            mine[4] = [known + more for known, more in zip(mine[4], buckets, strict=True)]
    return [[*key, *numbers] for key, numbers in sorted(found.items())]


def publish(run: Path, points: Iterable[Point]) -> None:
    """Write the points into a server's run folder."""
    write_atomically(run / _FILE, orjson.dumps({"format": FORMAT, "points": [each._asdict() for each in points]}))


def published(run: Path, after: float = 0.0) -> dict[str, Any]:
    """The points behind Unix time `after`, and the upper bounds of the buckets of times and of numeric predictions."""
    try:
        found = orjson.loads((run / _FILE).read_bytes())
    except FileNotFoundError:
        found = {}
    points = found.get("points", ()) if found.get("format") == FORMAT else ()
    return {"points": [each for each in points if each["time"] > after],
            "bounds_ms": [bound / 1e6 for bound in BOUNDS_NS], "value_bounds": list(VALUE_BOUNDS)}
