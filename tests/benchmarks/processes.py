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
from http.client import HTTPException
from pathlib import Path
from types import TracebackType
from typing import Self

TICK = os.sysconf("SC_CLK_TCK")
MARK = "BENCHMARK_MARK"


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
        with log.open("wb") as out:
            self.root = subprocess.Popen(
                ["taskset", "-c", str(core), *command],
                env={**environment, MARK: self.mark},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def wait_until_ready(self, url: str, timeout: float = 90) -> float:
        """Poll `url` until it answers 200 and return the seconds since; raise StartError with the log's end."""
        started = time.monotonic()
        while time.monotonic() - started < timeout and self.root.poll() is None:
            if _answers(url):
                return time.monotonic() - started
            time.sleep(0.02)
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
        members = self.pids()
        spent: defaultdict[str, float] = defaultdict(float)
        for pid in members:
            with contextlib.suppress(OSError):
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                spent[_part(pid, alone=len(members) == 1)] += (int(fields[11]) + int(fields[12])) / TICK
        return spent

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


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except (OSError, HTTPException):
        return False


def _part(pid: int, *, alone: bool) -> str:
    command = Path(f"/proc/{pid}/cmdline").read_text("utf-8", "replace") + Path(f"/proc/{pid}/comm").read_text()
    if "steward" in command:
        return "steward"
    return "worker" if alone or "_bentoml_impl.worker" in command else "supervisor"
