"""One measurement: a server started anew, checked, warmed, loaded, counted and stopped."""

import contextlib
import json
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.benchmarks import load
from tests.benchmarks.load import Load
from tests.benchmarks.processes import Family, free_port
from tests.benchmarks.servers import CHECKOUT, Server
from tests.benchmarks.subject import Subject

SERVER_CORE, LOAD_CORE = 0, 1
WARM_UP_SECONDS = 1
FLUSH_SECONDS = 8


@dataclass(frozen=True)
class Sink:
    """The collector's door."""

    port: int

    @property
    def url(self) -> str:
        """Where to export to."""
        return f"http://127.0.0.1:{self.port}"

    def counts(self) -> dict[str, Any]:
        """Ask what came."""
        with urllib.request.urlopen(f"{self.url}/counts", timeout=30) as answer:
            counts: dict[str, Any] = json.load(answer)
        return counts

    def wait_for(self, spans: int) -> dict[str, Any]:
        """Wait until so many SERVER spans came and no more follow, or as long as a flush may take."""
        deadline = time.monotonic() + FLUSH_SECONDS
        counts = self.counts()
        while time.monotonic() < deadline:
            time.sleep(0.5)
            before, counts = counts, self.counts()
            if counts["spans"].get("SERVER", 0) >= spans and counts["spans"] == before["spans"]:
                break
        return counts


@contextlib.contextmanager
def running_sink(folder: Path) -> Iterator[Sink]:
    """Run the collector on the load generator's core."""
    port = free_port()
    command = [sys.executable, "-m", "tests.benchmarks.sink", str(port)]
    with Family(command, LOAD_CORE, {"PYTHONPATH": str(CHECKOUT)}, folder / "sink.log") as family:
        family.wait_until_ready(f"http://127.0.0.1:{port}/counts")
        yield Sink(port)


@contextlib.contextmanager
def running(server: Server, venvs: Path, home: Path) -> Iterator["Running"]:
    """Run `server` on its core; in `home`, a new folder or one of an earlier start, lies all that it keeps."""
    with contextlib.ExitStack() as stack:
        sink = stack.enter_context(running_sink(home)) if server.traced else None
        port = free_port()
        command, environment = server.start(port, home, venvs, sink.url if sink else None)
        family = stack.enter_context(Family(command, SERVER_CORE, environment, home / "server.log"))
        yield Running(server, family, f"http://127.0.0.1:{port}", sink, home)


@contextlib.contextmanager
def new_home() -> Iterator[Path]:
    """Lend a folder."""
    with tempfile.TemporaryDirectory(prefix="serinus-benchmark-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def measure(server: Server, venvs: Path, loads: Sequence[Load], seconds: float) -> dict[str, Any]:
    """Start `server`, put each load on it and return the figures."""
    with new_home() as home, running(server, venvs, home) as run:
        start = run.wait_until_ready()
        return {
            "server": server.name,
            "subject": server.subject.label,
            "start_seconds": round(start, 2),
            "loads": [{**asdict(each), **run.put(each, seconds)} for each in loads],
        }


class Running:
    """A running server and the loads on it; remembers how many answers the collector should have seen."""

    def __init__(self, server: Server, family: Family, base: str, sink: Sink | None, folder: Path) -> None:
        self.server, self.family, self.sink, self.folder = server, family, sink, folder
        self.ready, self.url = base + server.ready, base + server.path
        self.answered = 0

    def wait_until_ready(self) -> float:
        """Return the seconds from the start until it says that it is ready."""
        return self.family.wait_until_ready(self.ready)

    def body(self, rows: int) -> Path:
        """Return the file with a request of so many rows, its answer checked."""
        subject = self.server.subject(rows)
        body = self.folder / f"body-{rows}.json"
        body.write_text(subject.body(self.server.protocol), "utf-8")
        self._check(subject, body)
        return body

    def put(self, each: Load, seconds: float) -> dict[str, Any]:
        """Check one answer, warm up, measure; the traced server's exports count as its work."""
        body = self.body(each.rows)
        self.load(body, each.connections, WARM_UP_SECONDS)
        before, spans_before = self._settled()
        figures = self.load(body, each.connections, seconds)
        after, spans_after = self._settled()
        requests = figures["requests"]
        figures["requests_per_second"] = requests / figures["seconds"]
        figures["cpu_us"] = {part: (after[part] - before.get(part, 0.0)) / requests * 1e6 for part in sorted(after)}
        figures["cpu_us"]["total"] = sum(figures["cpu_us"].values())
        figures["memory_mb"] = self.family.memory()
        if self.sink:
            figures["spans"] = _compare(spans_before, spans_after, requests, each.connections)
        return figures

    def load(self, body: Path, connections: int, seconds: float) -> dict[str, Any]:
        """Run the load generator once."""
        figures = load.run(self.url, body, connections, seconds, LOAD_CORE)
        self.answered += figures["requests"]
        return figures

    def _check(self, subject: Subject, body: Path) -> None:
        request = urllib.request.Request(self.url, body.read_bytes(), {"content-type": "application/json"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            subject.check(self.server.protocol, json.load(answer))
        self.answered += 1

    def _settled(self) -> tuple[dict[str, float], dict[str, Any]]:
        """Return CPU time so far, and what the collector has when everything answered has been exported."""
        counts = self.sink.wait_for(self.answered) if self.sink else {}
        return self.family.cpu_seconds(), counts


def _compare(before: dict[str, Any], after: dict[str, Any], answered: int, in_flight: int) -> dict[str, Any]:
    """Hold what the collector received against what the load generator counted as answered.

    wrk drops up to one request per connection when its time is over: these are served and traced, and not counted, and
    those of the warm-up may come late. A counted answer without its span, or a request id that came twice, makes the
    figures invalid.
    """
    received = after["spans"].get("SERVER", 0) - before["spans"].get("SERVER", 0)
    distinct = after["server_request_ids"] - before["server_request_ids"]
    return {
        "answered": answered,
        "received": received,
        "distinct_request_ids": distinct,
        "all_kinds": {kind: count - before["spans"].get(kind, 0) for kind, count in after["spans"].items()},
        "names": {name: count - before["names"].get(name, 0) for name, count in after["names"].items()},
        "valid": 0 <= received - answered <= 2 * in_flight and distinct == received,
        "undecoded": after["undecoded"] - before["undecoded"],
        "sink_cpu_us": (after["cpu_seconds"] - before["cpu_seconds"]) / answered * 1e6,
    }
