"""`python -m tests.benchmarks`: start every server, load them in turn, print ratios."""

import argparse
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from tests.benchmarks import memory, report, start
from tests.benchmarks.load import Load, LoadError
from tests.benchmarks.measure import LOAD_CORE, SERVER_CORE, measure
from tests.benchmarks.memory import measure_memory
from tests.benchmarks.peers import PEERS, PeerError, default_venvs
from tests.benchmarks.processes import StartError
from tests.benchmarks.servers import SERVERS, Server
from tests.benchmarks.start import measure_starts
from tests.benchmarks.subject import FrameSubject, Subject

MODELS: dict[str, type[Subject]] = {"onnx": Subject, "sklearn": FrameSubject}


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one round of 2 s, 16 connections only: does it all run?")
    parser.add_argument("--seconds", type=float, help="of each load, in whole seconds (default 8)")
    parser.add_argument("--rounds", type=int, help="each round measures every server once (default 5)")
    parser.add_argument("--only", type=choice(SERVERS), help=f"comma-separated, of: {', '.join(SERVERS)}")
    parser.add_argument("--floor-only", action="store_true", help="the floor and bare BentoML only")
    parser.add_argument("--peers", type=choice(PEERS), default=[], help=f"also, of: {', '.join(PEERS)}; or all")
    parser.add_argument("--venvs", type=Path, default=default_venvs(), help="where peers live (default %(default)s)")
    parser.add_argument("--models", type=choice(MODELS), default=["onnx"], help="of: onnx, sklearn (default onnx)")
    parser.add_argument("--rows", type=numbers, default=[1], help="rows per request, such as 1,64,1000 (default 1)")
    parser.add_argument("--connections", type=numbers, help="such as 16 or 1,16,64 (default 16,1)")
    parser.add_argument("--start", action="store_true", help="instead: seconds from the start to the first answer")
    help_memory = "instead: what a server holds over so many requests (default 1000000)"
    parser.add_argument("--memory", type=int, nargs="?", const=1_000_000, metavar="N", help=help_memory)
    parser.add_argument("--json", type=Path, default=Path("benchmark.json"), help="default benchmark.json")
    options = parser.parse_args()
    options.seconds = options.seconds or (2 if options.quick else 8)
    options.rounds = options.rounds or (1 if options.quick or options.memory else 5)
    options.connections = options.connections or ([16] if options.quick else [16, 1])
    return options


def servers(options: argparse.Namespace) -> list[Server]:
    """Return the chosen servers, in the order in which they are measured."""
    if options.only:
        return [SERVERS[name] for name in options.only]
    if options.floor_only:
        return [SERVERS["floor"], SERVERS["bentoml"]]
    alone = {"start": ("bentoml", "serinus-default"), "memory": ("serinus-default",)}
    usual = next((names for option, names in alone.items() if getattr(options, option)), tuple(SERVERS))
    subjects = [MODELS[name] for name in options.models]
    return [
        server
        for server in SERVERS.values()
        if server.subject in subjects and (server.peer.name in options.peers if server.peer else server.name in usual)
    ]


def choice(known: Iterable[str]) -> Callable[[str], list[str]]:
    """Return what reads a list of these names, or `all`."""

    def read(text: str) -> list[str]:
        chosen = list(known) if text == "all" else text.split(",")
        if unknown := [name for name in chosen if name not in known]:
            raise argparse.ArgumentTypeError(f"there is no {', '.join(unknown)}; there are {', '.join(known)}")
        return chosen

    return read


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
    chosen = servers(options)
    found: dict[str, Any] = {"date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "machine": report.machine()}
    found["seconds"] = options.seconds
    found["peers"] = installed(chosen, options.venvs)
    found["rounds"] = [
        {"round": number, "servers": [one(each, measurement(options), number) for each in chosen]}
        for number in range(1, options.rounds + 1)
    ]
    print(*(memory if options.memory else start if options.start else report).text(found["rounds"]), sep="\n")
    options.json.write_text(json.dumps(found, indent=1) + "\n", "utf-8")
    print(f"\nEverything is in {options.json}.")
    return 0 if options.start or options.memory or report.is_valid(found["rounds"]) else 1


def installed(chosen: list[Server], venvs: Path) -> dict[str, dict[str, str]]:
    """Install the peers and return the versions of all that is in their environments."""
    wanted = {server.peer.name: server.peer for server in chosen if server.peer}
    try:
        for peer in wanted.values():
            peer.install(venvs)
        return {name: peer.versions(venvs) for name, peer in wanted.items()}
    except PeerError as error:
        sys.exit(str(error))


def measurement(options: argparse.Namespace) -> Callable[[Server], dict[str, Any]]:
    """Return what is done with each server."""
    if options.memory:
        return lambda server: measure_memory(server, options.venvs, options.memory)
    if options.start:
        return lambda server: measure_starts(server, options.venvs)
    loads = [Load(rows, connections) for rows in options.rows for connections in options.connections]
    return lambda server: measure(server, options.venvs, loads, options.seconds)


def one(server: Server, measured: Callable[[Server], dict[str, Any]], number: int) -> dict[str, Any]:
    """Measure one server and say how far we are; end the run if its figures cannot count."""
    try:
        figures = measured(server)
    except (StartError, LoadError, PeerError, OSError, ValueError) as error:
        sys.exit(f"{server.name}: {error}")
    reached = [f"{each['requests_per_second']:,.0f}/s" for each in figures.get("loads", ())]
    print(f"round {number}  {server.name}: {', '.join(reached) or 'measured'}", file=sys.stderr)
    return figures


if __name__ == "__main__":
    sys.exit(main())
