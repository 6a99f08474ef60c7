"""What the measured ratios are held against."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any

from tests.benchmarks.load import Load
from tests.benchmarks.servers import SERVERS

BEST = "best model server"
Figures = Mapping[str, list[dict[str, Any]]]
"""What one load gave: each server's figures, one per round."""
Speed = Callable[[Mapping[str, Any]], float]


@dataclass(frozen=True)
class Target:
    """So many times the requests per second of another server, under these loads (of all, if none is named)."""

    server: str
    other: str
    at_least: float
    rows: tuple[int, ...] = ()
    connections: tuple[int, ...] = ()

    def covers(self, load: Load) -> bool:
        """Say whether the target is meant for this load."""
        return (not self.rows or load.rows in self.rows) and (
            not self.connections or load.connections in self.connections
        )

    def reached(self, figures: Figures, speed: Speed) -> float | None:
        """Return the median over rounds of the ratio within a round; None if one of the two was not measured."""
        mine = figures.get(self.server)
        others = best(figures, speed) if self.other == BEST else [speed(each) for each in figures.get(self.other, [])]
        if not mine or not others:
            return None
        return median(speed(each) / other for each, other in zip(mine, others, strict=True))


ONE_ROW = {"rows": (1,), "connections": (1, 16)}
TARGETS = (
    Target("serinus-unmonitored", BEST, 4.0, **ONE_ROW),
    Target("serinus-unmonitored", "fastapi", 3.5, **ONE_ROW),
    Target("serinus-default", BEST, 2.5, **ONE_ROW),
    Target("serinus-default", "floor", 0.75, **ONE_ROW),
    Target("serinus-monitored", "floor", 0.75, **ONE_ROW),
    Target("serinus-telemetry", "floor", 0.75, **ONE_ROW),
    Target("serinus-telemetry-traced", "floor", 0.40, **ONE_ROW),
    Target("serinus-telemetry-traced", "floor", 0.80, rows=(64,), connections=(16,)),
    Target("serinus-traced", BEST, 2.5, **ONE_ROW),
    Target("serinus-traced", "bentoml", 10.0, **ONE_ROW),
    Target("serinus-traced", "floor", 0.40, **ONE_ROW),
    Target("serinus-traced", "floor", 0.60, rows=(64,), connections=(16,)),
    Target("serinus-traced", "floor", 0.75, rows=(1000,), connections=(16,)),
    Target("serinus-traced", "floor", 0.55, rows=(1,), connections=(64,)),
    Target("serinus-sklearn-unmonitored", BEST, 2.0),
    Target("serinus-sklearn-default", BEST, 2.0),
)


def lines(load: Load, figures: Figures) -> Iterator[str]:
    """Yield a line for each target whose two sides were measured."""
    for target in TARGETS:
        reached = target.reached(figures, per_second) if target.covers(load) else None
        if reached is not None:
            what = f"target  {target.server} to {target.other}"
            verdict = "reached" if reached >= target.at_least else "MISSED"
            by_cpu = target.reached(figures, per_cpu_second)
            yield f"{what:<58}wanted ≥{target.at_least:6.2f}, got{reached:6.2f} (by CPU{by_cpu:6.2f}): {verdict}"


def best(figures: Figures, speed: Speed) -> list[float] | None:
    """Return the speed of the best model server of each round; None if none was measured."""
    servers = [mine for name, mine in figures.items() if SERVERS[name].is_model_server]
    return [max(speed(each) for each in one) for one in zip(*servers, strict=True)] or None


def per_second(figures: Mapping[str, Any]) -> float:
    """Return requests per second."""
    return float(figures["requests_per_second"])


def per_cpu_second(figures: Mapping[str, Any]) -> float:
    """Return requests per second of the server's CPU time."""
    return 1e6 / float(figures["cpu_us"]["total"])
