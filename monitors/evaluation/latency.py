"""What an answer costs in time and space, against the current version's, measured in turns on the same machine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serinus.models.model import Model
from serinus.monitors.evaluation.check import Check, Status
from serinus.monitors.evaluation.policy import Policy
from serinus.monitors.intervals import Interval

__all__ = ["Cost", "LatencyFound", "Timing", "check_latency", "measure"]

Clock = Callable[[], float]
Arrays = Mapping[str, NDArray[Any]]

BATCHES = (1, 32)
_WARM_UP = 20
_CALLS = 200
_MOST_S = 1.5
_DRAWS = 1_000


@dataclass(frozen=True)
class Timing:
    """How long calls of so many rows take, in milliseconds.

    Attributes:
        rows: of a call.
        calls: how many were measured.
        p50, p95, p99: how long they took.
        current_p50: the current version's median.
        ratio, interval: of the two medians, with a bootstrap interval of 95 %.
    """

    rows: int
    calls: int
    p50: float
    p95: float
    p99: float
    current_p50: float | None
    ratio: float | None
    interval: Interval | None


@dataclass(frozen=True)
class Cost:
    """What was measured when a version was loaded.

    Attributes:
        load_ms: from the file to a model that answers.
        rss_mb: by how much the process grew.
        file_mb: size of the artifact.
        machine: on which it was measured.
    """

    load_ms: float
    rss_mb: float
    file_mb: float
    current_file_mb: float | None
    machine: Mapping[str, Any]


@dataclass(frozen=True)
class LatencyFound:
    """All of it."""

    timings: tuple[Timing, ...]
    cost: Cost


def check_latency(inputs: Arrays, policy: Policy, candidate: Model, current: Model | None, cost: Cost,
                  clock: Clock) -> Check:
    """Measure both versions in turns."""
    timings = tuple(measure(inputs, rows, candidate, current, clock) for rows in BATCHES)
    found = LatencyFound(timings, cost)
    limits = policy.latency
    failed = [f"{one.rows} rows take {one.p99:.3g} ms in 1 of 100 calls, and {limit:g} are allowed."
              for one, limit in zip(timings, (limits.p99_ms, limits.p99_ms_of_32), strict=True)
              if limit and one.p99 > limit]
    failed += [f"{one.rows} rows take {one.ratio:.2g} times as long ({one.interval.low:.2g} to "
               f"{one.interval.high:.2g}), and {limits.max_ratio:g} are allowed."
               for one in timings if one.ratio is not None and one.interval and one.interval.low > limits.max_ratio]
    if limits.max_mb and cost.file_mb > limits.max_mb:
        failed.append(f"The artifact has {cost.file_mb:.1f} MB, and {limits.max_mb:g} are allowed.")
    said = " ".join(failed) or ", ".join(_said(one) for one in timings) + "."
    return Check("latency", Status.FAIL if failed else Status.PASS, said, found)


def _said(one: Timing) -> str:
    rows = "1 row" if one.rows == 1 else f"{one.rows} rows"
    ratio = f", {one.ratio:.2g} times the current version’s" if one.ratio is not None else ""
    return f"{rows} {one.p50:.3g} ms{ratio}"


def measure(inputs: Arrays, rows: int, candidate: Model, current: Model | None, clock: Clock) -> Timing:
    """Let both versions answer the same rows in turns, after a warm-up."""
    models = [candidate] if current is None else [candidate, current]
    length = len(next(iter(inputs.values())))
    batches = [{name: array[(np.arange(rows) + place * rows) % length] for name, array in inputs.items()}
               for place in range(16)]
    for model in models:
        for turn in range(_WARM_UP):
            model.predict(batches[turn % 16])
    times: list[list[float]] = [[] for _ in models]
    begin = clock()
    for turn in range(_CALLS):
        order = range(len(models)) if turn % 2 else reversed(range(len(models)))
        for place in order:
            start = clock()
            models[place].predict(batches[turn % 16])
            times[place].append((clock() - start) * 1e3)
        if clock() - begin > _MOST_S and turn >= 20:
            break
    return _timing(rows, [np.array(each) for each in times])


def _timing(rows: int, times: list[NDArray[np.float64]]) -> Timing:
    p50, p95, p99 = (float(value) for value in np.quantile(times[0], (0.5, 0.95, 0.99)))
    if len(times) == 1:
        return Timing(rows, len(times[0]), p50, p95, p99, None, None, None)
    other = float(np.median(times[1]))
    chosen = np.random.default_rng(0).integers(0, len(times[0]), (_DRAWS, len(times[0])))
    ratios = np.median(times[0][chosen], axis=1) / np.maximum(np.median(times[1][chosen], axis=1), 1e-9)
    low, high = (float(value) for value in np.quantile(ratios, (0.025, 0.975)))
    return Timing(rows, len(times[0]), p50, p95, p99, other, p50 / max(other, 1e-9), Interval(low, high))
