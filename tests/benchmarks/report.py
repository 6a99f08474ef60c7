"""What a run says: ratios first, then the figures behind them, and a file with everything."""

import os
import platform
import subprocess
from collections import defaultdict
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Any

from tests.benchmarks import targets
from tests.benchmarks.load import Load
from tests.benchmarks.servers import CHECKOUT

PACKAGES = (
    "serinus",
    "bentoml",
    "uvicorn",
    "uvloop",
    "httptools",
    "orjson",
    "numpy",
    "onnxruntime",
    "scikit-learn",
    "skl2onnx",
    "opentelemetry-sdk",
    "opentelemetry-exporter-otlp",
    "protobuf",
)
PARTS = ("total", "worker", "supervisor", "steward", "parent")
Round = dict[str, Any]


def machine() -> dict[str, Any]:
    """Return what the figures were made with."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    cpu = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "cpu": cpu[0] if cpu else platform.machine(),
        "cores": os.cpu_count(),
        "system": platform.platform(),
        "load_average": os.getloadavg(),
        "python": platform.python_version(),
        "wrk": _first_line("wrk", "-v"),
        "commit": _first_line("git", "-C", str(CHECKOUT), "describe", "--always", "--dirty"),
        "packages": {name: _version(name) for name in PACKAGES},
    }


def _first_line(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True)
    return (done.stdout or done.stderr).partition("\n")[0].strip()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def text(rounds: list[Round]) -> Iterator[str]:
    """Yield the lines of the report, one block per model and load."""
    for subject in dict.fromkeys(server["subject"] for server in rounds[0]["servers"]):
        for load in dict.fromkeys(map(_load, rounds[0]["servers"][0]["loads"])):
            by_server = _by_server(rounds, subject, load)
            yield from _ratios(f"{subject}, {load}", by_server)
            yield from targets.lines(load, by_server)
            yield from _figures(by_server)
            yield from _spans(by_server)


def _by_server(rounds: list[Round], subject: str, load: Load) -> dict[str, list[dict[str, Any]]]:
    """Return each server's figures under one load, one per round."""
    found: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    for server in (server for one in rounds for server in one["servers"] if server["subject"] == subject):
        found[server["server"]] += [each for each in server["loads"] if _load(each) == load]
    return found


def _load(figures: dict[str, Any]) -> Load:
    return Load(figures["rows"], figures["connections"])


def ratio(mine: list[dict[str, Any]], other: list[dict[str, Any]] | None, key: str) -> float | None:
    """Return the median over rounds of the ratio within a round."""
    if not other:
        return None
    return median(_value(a, key) / _value(b, key) for a, b in zip(mine, other, strict=True))


def _value(figures: dict[str, Any], key: str) -> float:
    return float(figures["cpu_us"]["total"] if key == "cpu_us" else figures[key])


def _ratios(load: str, by_server: dict[str, list[dict[str, Any]]]) -> Iterator[str]:
    floor, bare, best = by_server.get("floor"), by_server.get("bentoml"), targets.best(by_server, targets.per_second)
    yield f"\n{load}: ratios, medians over {len(next(iter(by_server.values())))} round(s)"
    yield _row("", "req/s to floor", "to bare BentoML", "to best server", "CPU to floor", "p99 to floor")
    for name, mine in by_server.items():
        cells = [ratio(mine, floor, "requests_per_second"), ratio(mine, bare, "requests_per_second")]
        cells += [median(targets.per_second(a) / b for a, b in zip(mine, best, strict=True)) if best else None]
        cells += [ratio(mine, floor, "cpu_us"), ratio(mine, floor, "p99_ms")]
        note = "" if all(each.get("spans", {}).get("valid", True) for each in mine) else "   INVALID: see spans"
        yield _row(name, *("-" if cell is None else f"{cell:.2f}" for cell in cells)) + note


def _figures(by_server: dict[str, list[dict[str, Any]]]) -> Iterator[str]:
    yield ""
    yield _row("medians", "requests/s", "p50 ms", "p99 ms", "memory MB", "CPU µs/request", *PARTS[1:])
    for name, mine in by_server.items():
        parts = [median(each["cpu_us"].get(part, 0.0) for each in mine) for part in PARTS]
        cells = [f"{median(each['requests_per_second'] for each in mine):,.0f}"]
        cells += [f"{median(each[key] for each in mine):.2f}" for key in ("p50_ms", "p99_ms")]
        cells += [f"{median(sum(part['Pss'] for part in each['memory_mb'].values()) for each in mine):.0f}"]
        yield _row(name, *cells, *(f"{part:.1f}" for part in parts))


def _spans(by_server: dict[str, list[dict[str, Any]]]) -> Iterator[str]:
    for name, mine in by_server.items():
        for number, each in enumerate(mine, 1):
            if spans := each.get("spans"):
                yield (
                    f"{name}, round {number}: {spans['answered']:,} answers, "
                    f"{spans['received']:,} SERVER spans received ({spans['distinct_request_ids']:,} request ids), "
                    f"{sum(spans['all_kinds'].values()):,} spans in all, "
                    f"collector {spans['sink_cpu_us']:.1f} µs CPU an answer: {'valid' if spans['valid'] else 'INVALID'}"
                )


def _row(name: str, *cells: str) -> str:
    return f"{name:<28}" + "".join(f"{cell:>17}" for cell in cells)


def is_valid(rounds: list[Round]) -> bool:
    """Say whether every traced answer of every round was received."""
    loads = [each for one in rounds for server in one["servers"] for each in server["loads"]]
    return all(each.get("spans", {}).get("valid", True) for each in loads)
