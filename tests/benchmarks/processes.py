"""Processes under measurement: started on one core, counted from /proc with all they start, never left behind."""

import contextlib
import os
import signal
import socket
import subprocess
import time
import urllib.request
import uuid
from collections import defaultdict
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path
from types import TracebackType
from typing import Self

TICK = os.sysconf("SC_CLK_TCK")
MARK = "BENCHMARK_MARK"
MEMORY = ("Rss", "Anonymous", "Pss")
MARKS = {
    "serinus.serving.steward": "steward",
    "serinus.serving.shadow": "shadow",
    "_bentoml_impl.worker": "worker",
    "serinus.serving.supervisor": "supervisor",
    "-m bentoml serve": "supervisor",
    "-m serinus serve": "parent",
}
"""What a command line tells of the part that a process plays."""


class StartError(Exception):
    """A server did not come up."""


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


class Family:
    """A process and everything it starts, found by a mark in the environment even in sessions of their own."""

    def __init__(self, command: list[str], core: int, environment: dict[str, str], log: Path) -> None:
        self.mark = uuid.uuid4().hex
        self.log = log
        self.started = time.monotonic()
        with log.open("wb") as out:
            self.root = subprocess.Popen(
                ["taskset", "-c", str(core), *command],
                env={**environment, MARK: self.mark},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                cwd=log.parent,
                start_new_session=True,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def wait_until_ready(self, url: str, timeout: float = 90) -> float:
        """Poll `url` until it answers 200 and return the seconds since the start; raise StartError otherwise."""
        self._wait_for(lambda: _answers(url, None, 2), timeout)
        return time.monotonic() - self.started

    def wait_for_answer(self, url: str, body: bytes, timeout: float = 90) -> float:
        """Post `body` until it is answered 200 and return the seconds since the start; raise StartError otherwise.

        An answer may take as long as it likes: who accepts before he can answer is not asked twice.
        """
        self._wait_for(lambda: _answers(url, body, timeout), timeout)
        return time.monotonic() - self.started

    def _wait_for(self, look: Callable[[], bool], timeout: float) -> None:
        while time.monotonic() - self.started < timeout and self.root.poll() is None:
            if look():
                return
            time.sleep(0.01)
        ended = "ended" if self.root.poll() is not None else f"was not ready after {timeout:.0f} s"
        raise StartError(f"The server {ended}. The end of its output:\n{self.tail()}")

    def tail(self) -> str:
        """Return the end of what it printed."""
        return self.log.read_text("utf-8", "replace")[-3000:]

    def pids(self) -> list[int]:
        """Return the living members."""
        wanted = f"{MARK}={self.mark}".encode()
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    if wanted in (entry / "environ").read_bytes().split(b"\0"):
                        found.append(int(entry.name))
        return found

    def cpu_seconds(self) -> dict[str, float]:
        """Return user and system time so far, by the part each process plays."""
        spent: defaultdict[str, float] = defaultdict(float)
        for pid in self.pids():
            with contextlib.suppress(OSError):
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                spent[_part(pid)] += (int(fields[11]) + int(fields[12])) / TICK
        return spent

    def memory(self) -> dict[str, dict[str, float]]:
        """Return megabytes by part: all that is resident, what is anonymous of it, and the proportional share."""
        held: defaultdict[str, dict[str, float]] = defaultdict(lambda: dict.fromkeys(MEMORY, 0.0))
        for pid in self.pids():
            with contextlib.suppress(OSError):
                lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
                for name, value in (line.split(":", 1) for line in lines[1:]):
                    if name in MEMORY:
                        held[_part(pid)][name] += int(value.split()[0]) / 1024
        return dict(held)

    def stop(self) -> None:
        """End the group politely, then every member for certain."""
        if self.root.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.root.pid, signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.root.wait(10)
        for pid in self.pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.root.wait(10)


def _answers(url: str, body: bytes | None, timeout: float) -> bool:
    request = urllib.request.Request(url, body, {"content-type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            return bool(answer.status == 200)
    except (OSError, HTTPException):
        return False


def _part(pid: int) -> str:
    """Return the part that a process plays; everything of a server that we do not know is the worker."""
    command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
    return next((part for mark, part in MARKS.items() if mark in command), "worker")
