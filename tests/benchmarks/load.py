"""The load: wrk, pinned to its own core, posting one fixed body."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SCRIPT = Path(__file__).with_name("load.lua")


@dataclass(frozen=True)
class Load:
    """So many rows in a request, over so many connections."""

    rows: int
    connections: int

    def __str__(self) -> str:
        rows = "1 row" if self.rows == 1 else f"{self.rows:,} rows"
        return f"{rows}, {self.connections} connection{'' if self.connections == 1 else 's'}"


class LoadError(Exception):
    """The load met answers that do not count."""


def run(url: str, body: Path, connections: int, seconds: float, core: int) -> dict[str, Any]:
    """Run wrk once and return its figures; raise LoadError if one answer was not 2xx or one connection failed."""
    whole = max(1, round(seconds))
    done = subprocess.run(
        ["taskset", "-c", str(core), "wrk", "-t1", f"-c{connections}", f"-d{whole}s", "--latency", "--timeout", "30s"]
        + ["-s", str(SCRIPT), url],
        capture_output=True,
        text=True,
        env={**os.environ, "BENCHMARK_BODY": str(body)},
        timeout=whole + 60,
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    if not lines:
        raise LoadError(f"wrk said nothing to use: {done.stdout[-500:]}{done.stderr[-500:]}")
    figures: dict[str, Any] = json.loads(lines[0].removeprefix("RESULT "))
    failed = {name: figures[name] for name in ("not_2xx", "connect", "read", "write", "timeout") if figures[name]}
    if failed or "Non-2xx" in done.stdout or not figures["requests"]:
        raise LoadError(f"{figures['requests']} answers, of these failed: {failed or 'all'}")
    return figures


if __name__ == "__main__":
    sys.exit("This is a part; run `python -m tests.benchmarks`.")
