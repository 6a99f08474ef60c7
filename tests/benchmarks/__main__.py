"""`python -m tests.benchmarks`: start every server, load them in turn, print ratios."""

import argparse
import json
import os
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import Any

from tests.benchmarks import report
from tests.benchmarks.load import Load, LoadError
from tests.benchmarks.measure import LOAD_CORE, SERVER_CORE, measure
from tests.benchmarks.processes import StartError
from tests.benchmarks.servers import SERVERS, Server
from tests.benchmarks.subject import model_path


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one round of 2 s, 16 connections only: does it all run?")
    parser.add_argument("--seconds", type=float, help="of each load, in whole seconds (default 8)")
    parser.add_argument("--rounds", type=int, help="each round measures every server once (default 5)")
    parser.add_argument("--only", type=names, help=f"comma-separated, of: {', '.join(SERVERS)}")
    parser.add_argument("--floor-only", action="store_true", help="the floor and bare BentoML only")
    parser.add_argument("--rows", type=numbers, default=[1], help="rows per request, such as 1,64,1000 (default 1)")
    parser.add_argument("--connections", type=numbers, help="such as 16 or 1,16,64 (default 16,1)")
    parser.add_argument("--json", type=Path, default=Path("benchmark.json"), help="default benchmark.json")
    options = parser.parse_args()
    options.seconds = options.seconds or (2 if options.quick else 8)
    options.rounds = options.rounds or (1 if options.quick else 5)
    options.connections = options.connections or ([16] if options.quick else [16, 1])
    options.only = ["floor", "bentoml"] if options.floor_only else options.only or list(SERVERS)
    return options


def names(text: str) -> list[str]:
    """Read a list of servers."""
    chosen = text.split(",")
    if unknown := [name for name in chosen if name not in SERVERS]:
        raise argparse.ArgumentTypeError(f"no server {', '.join(unknown)}; there are {', '.join(SERVERS)}")
    return chosen


def numbers(text: str) -> list[int]:
    """Read a list of positive numbers."""
    found = [int(each) for each in text.split(",")]
    if min(found) < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return found


def require_tools() -> None:
    """Say what is missing before anything starts."""
    for tool, package in (("wrk", "wrk"), ("taskset", "util-linux")):
        if not shutil.which(tool):
            sys.exit(f"The benchmark needs `{tool}`. Install it, on Debian with: apt-get install {package}")
    if not {SERVER_CORE, LOAD_CORE} <= os.sched_getaffinity(0):
        sys.exit("The benchmark needs cores 0 and 1: one for the server, one for the load.")


def main() -> int:
    """Run, print, write; the exit code says whether the figures count."""
    options = arguments()
    require_tools()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    os.sched_setaffinity(0, {LOAD_CORE})
    model = model_path()
    loads = [Load(rows, connections) for rows in options.rows for connections in options.connections]
    machine = report.machine()
    rounds: list[dict[str, Any]] = []
    for number in range(1, options.rounds + 1):
        servers = [one(SERVERS[name], model, loads, options.seconds, number) for name in options.only]
        rounds.append({"round": number, "servers": servers})
    print(*report.text(rounds), sep="\n")
    ran = {"date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "seconds": options.seconds}
    options.json.write_text(json.dumps({**ran, "machine": machine, "rounds": rounds}, indent=1) + "\n", "utf-8")
    print(f"\nEverything is in {options.json}.")
    return 0 if report.is_valid(rounds) else 1


def one(server: Server, model: Path, loads: list[Load], seconds: float, number: int) -> dict[str, Any]:
    """Measure one server and say how far we are; end the run if its figures cannot count."""
    try:
        figures = measure(server, model, loads, seconds)
    except (StartError, LoadError, OSError, ValueError) as error:
        sys.exit(f"{server.name}: {error}")
    reached = ", ".join(f"{each['requests_per_second']:,.0f}/s" for each in figures["loads"])
    print(f"round {number}  {server.name}: ready in {figures['start_seconds']} s, {reached}", file=sys.stderr)
    return figures


if __name__ == "__main__":
    sys.exit(main())
