"""What a server holds, and whether it grows: `python -m tests.benchmarks --memory 1000000`."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.benchmarks.measure import Running, new_home, running
from tests.benchmarks.processes import MEMORY
from tests.benchmarks.servers import Server

MOST_MEGABYTES = 5.0
CONNECTIONS = 16
ENOUGH = 500_000
"""Requests below which a page more or less is taken for growth."""
WARM_UP = 0.1
"""The share of the requests after which caches, pools and the allocator have what they keep."""


def measure_memory(server: Server, venvs: Path, requests: int) -> dict[str, Any]:
    """Put so many single rows on `server` and return what it held at the start, after the warm-up and at the end."""
    with new_home() as home, running(server, venvs, home) as run:
        run.wait_until_ready()
        body = run.body(1)
        held = [{"requests": run.answered, "memory_mb": run.family.memory()}]
        for share in (WARM_UP, 0.25, 0.5, 0.75, 1.0):
            _send(run, body, round(requests * share))
            held.append({"requests": run.answered, "memory_mb": run.family.memory()})
    return {"server": server.name, "held": held, "growth_mb_per_million": _growth(held[1], held[-1])}


def _send(run: Running, body: Path, until: int) -> None:
    """Load it in pieces of seconds until so many requests were answered in all; the last piece may go beyond."""
    speed = 0.0
    while run.answered < until:
        seconds = min(20, max(1, int((until - run.answered) / speed))) if speed else 1
        figures = run.load(body, CONNECTIONS, seconds)
        speed = figures["requests"] / figures["seconds"]


def _growth(first: dict[str, Any], last: dict[str, Any]) -> dict[str, float]:
    """Return each part's growth of resident memory."""
    millions = max(1, last["requests"] - first["requests"]) / 1e6
    before, after = first["memory_mb"], last["memory_mb"]
    return {part: (after[part]["Rss"] - before[part]["Rss"]) / millions for part in after if part in before}


def text(rounds: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Yield the lines of the report."""
    for measured in (server for one in rounds for server in one["servers"]):
        yield from _lines(measured)


def _lines(measured: dict[str, Any]) -> Iterator[str]:
    held = measured["held"]
    yield f"\n{measured['server']}, one worker: resident memory in MB (of it anonymous, proportional share)"
    yield f"{'requests':>12}" + "".join(f"{part:>24}" for part in held[-1]["memory_mb"])
    for each in held:
        parts = (each["memory_mb"].get(part, dict.fromkeys(MEMORY, 0.0)) for part in held[-1]["memory_mb"])
        cells = (f"{part['Rss']:.1f} ({part['Anonymous']:.1f}, {part['Pss']:.1f})" for part in parts)
        yield f"{each['requests']:>12,}" + "".join(f"{cell:>24}" for cell in cells)
    counted = held[-1]["requests"] - held[1]["requests"]
    for part, growth in measured["growth_mb_per_million"].items():
        verdict = f", wanted ≤ {MOST_MEGABYTES:.0f}: {_verdict(growth, counted)}" if part == "worker" else ""
        yield f"{part}: {growth:+.1f} MB per million requests after the warm-up{verdict}"


def _verdict(growth: float, counted: int) -> str:
    if counted < ENOUGH:
        return f"{counted:,} requests are too few to say"
    return "reached" if growth <= MOST_MEGABYTES else "MISSED"
