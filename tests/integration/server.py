"""A real server: started as a person would, watched from outside, and gone for certain at the end."""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Self, TypeVar

from serinus.serving.board import Reading, boards_in, is_owned, read
from serinus.serving.home import Home, RunFolder
from tests.integration.client import Client

__all__ = ["CHECKOUT", "USER_CODE", "Server", "eventually", "metric"]

CHECKOUT = Path(__file__).resolve().parents[2]
USER_CODE = Path(__file__).with_name("user_code")
"""Stands for the package in which a user keeps the classes of his estimators."""

_MARK = "INTEGRATION_TEST_SERVER"
T = TypeVar("T")


class Server:
    """One `serinus serve` with two workers on a free port.

    All of its processes carry a mark in their environment, by which they are found wherever they went.
    """

    def __init__(self, home: Path, scratch: Path, *, flags: Sequence[str] = (), workers: int = 2,
                 environ: Mapping[str, str] | None = None, command: Sequence[str] | None = None,
                 port: int = 0) -> None:
        self.home = Home(home)
        self.workers_wanted = workers
        self.port = port
        self._mark = uuid.uuid4().hex
        self._log = scratch / f"output-{self._mark[:8]}.txt"
        self._command = command or [sys.executable, "-m", "serinus", "serve", "--home", str(home), "--workers",
                                    str(workers), "--port", str(port), *flags]
        self._environ = {**os.environ, "PYTHONPATH": os.pathsep.join((str(USER_CODE), str(CHECKOUT))),
                         "PYTHONUNBUFFERED": "1", **(environ or {}), _MARK: self._mark}
        self._scratch = scratch
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.launch()
        self.wait_until_ready()
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def launch(self) -> Self:
        """Start it, without waiting: first of a new session and process group, like a shell's foreground job."""
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(self._command, env=self._environ, cwd=self._scratch, stdout=log,
                                             stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                                             start_new_session=True, preexec_fn=_end_with_the_tests)
        return self

    def wait_until_ready(self, timeout: float = 60.0) -> None:
        """Until every worker says on its board that it is ready, and knows what the snapshot says."""
        eventually(self._is_ready, timeout, self._why_not)

    def wait_for_banner(self, timeout: float = 60.0) -> None:
        """Until the server says that it answers."""
        found = eventually(lambda: self._ended() or re.search(r"answers at http://[^ ]+:(\d+)", self.output()), timeout,
                           self._why_not)
        assert not isinstance(found, bool), self._why_not()
        self.port = int(found[1])

    @property
    def pid(self) -> int:
        """The first process."""
        assert self._process is not None
        return self._process.pid

    @property
    def run_folder(self) -> RunFolder:
        """What the processes share."""
        found = [folder for folder in self.home.run.glob(f"server-{self.pid}*") if RunFolder(folder).is_alive()]
        return RunFolder(found[0] if found else self.home.run / f"server-{self.pid}")

    def output(self) -> str:
        """All that was printed so far."""
        return self._log.read_text(encoding="utf-8", errors="replace")

    def client(self, timeout: float = 20.0) -> Client:
        """A new keep-alive connection."""
        return Client(self.port, timeout)

    def boards(self) -> list[Reading]:
        """The boards of the workers that live."""
        found = []
        for path in boards_in(self.run_folder.boards):
            with contextlib.suppress(Exception):  # one that is being made or removed at this moment
                if is_owned(path):
                    found.append(read(path))
        return found

    def ready_workers(self) -> set[int]:
        """Pids of the workers that are ready."""
        return {board.pid for board in self.boards() if board.ready}

    def processes(self) -> dict[int, str]:
        """Pid and command line of everything that descends from this server and lives."""
        found = {}
        for folder in Path("/proc").iterdir():
            if folder.name.isdigit():
                with contextlib.suppress(OSError):
                    if f"{_MARK}={self._mark}".encode() in (folder / "environ").read_bytes().split(b"\0"):
                        found[int(folder.name)] = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        return found

    def find(self, what: str) -> list[int]:
        """Pids of the processes whose command line contains `what`."""
        return [pid for pid, line in self.processes().items() if what in line]

    def steward(self) -> int:
        """Pid of the steward; waits for it."""
        return eventually(lambda: self.find("serinus.serving.steward"))[0]

    def supervisor(self) -> int:
        """Pid of BentoML's supervisor."""
        return self.find("serinus.serving.supervisor")[0]

    def worker_of(self, client: Client) -> int:
        """Pid of the worker that holds the other end of this connection, as the kernel tells."""
        inode = eventually(lambda: _inode(self.port, client.local_port))
        for board in self.boards():
            for link in Path(f"/proc/{board.pid}/fd").iterdir():
                with contextlib.suppress(OSError):
                    if str(link.readlink()) == f"socket:[{inode}]":
                        return board.pid
        raise LookupError("no worker has accepted this connection")

    def clients_of_each_worker(self, number: int = 1) -> dict[int, list[Client]]:
        """So many connections to every worker."""
        found: dict[int, list[Client]] = {pid: [] for pid in self.ready_workers()}
        spare: list[Client] = []
        for _ in range(400):
            client = self.client()
            client.get("/v2/health/live")  # answered, so accepted
            mine = found.get(self.worker_of(client), spare)
            mine.append(client) if len(mine) < number else spare.append(client)
            if all(len(clients) >= number for clients in found.values()):
                break
        for client in spare:
            client.close()
        assert all(len(clients) == number for clients in found.values()), "a worker accepts no connections"
        return found

    def signal_group(self, number: int) -> None:
        """What a terminal does on Ctrl-C: the signal goes to the whole foreground group."""
        os.killpg(self.pid, number)

    def wait(self, timeout: float = 30.0) -> int:
        """The exit code."""
        assert self._process is not None
        return self._process.wait(timeout)

    def stop(self, number: int = signal.SIGTERM, timeout: float = 30.0) -> int:
        """Signal the first process and wait; the exit code."""
        os.kill(self.pid, number)
        return self.wait(timeout)

    def kill_everything(self) -> None:
        """SIGKILL for all processes at once, as the loss of a container would."""
        for pid in self.processes():
            os.kill(pid, signal.SIGSTOP)  # so that none of them sees another one's death
        for pid in self.processes():
            os.kill(pid, signal.SIGKILL)
        self.wait()
        self.assert_gone()

    def assert_gone(self, timeout: float = 10.0) -> None:
        """Nothing of the server is left."""
        eventually(lambda: not self.processes(), timeout, lambda: f"still there: {self.processes()}")

    def end(self) -> None:
        """Stop what still runs, and make sure that nothing is left."""
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(20)
        left = self._left_after(3.0)
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait()
        assert not left, f"processes outlived their server: {left}\n{self.output()}"

    def _left_after(self, seconds: float) -> dict[int, str]:
        deadline = time.monotonic() + seconds
        while (left := self.processes()) and time.monotonic() < deadline:
            time.sleep(0.05)
        return left

    def _is_ready(self) -> bool:
        if self._ended():
            raise AssertionError(self._why_not())
        if not self.port:
            found = re.search(r"answers at http://[^ ]+:(\d+)", self.output())
            self.port = int(found[1]) if found else 0
        boards = [board for board in self.boards() if board.ready and board.generation > 0]
        return self.port > 0 and len(boards) >= self.workers_wanted

    def _ended(self) -> bool:
        return self._process is not None and self._process.poll() is not None

    def _why_not(self) -> str:
        return f"the server did not become ready:\n{self.output()}"


def eventually(look: Callable[[], T], timeout: float = 10.0, why: Callable[[], str] = lambda: "it did not happen") -> T:
    """The first true value of `look`, which is asked again and again."""
    deadline = time.monotonic() + timeout
    while not (value := look()):
        assert time.monotonic() < deadline, why()
        time.sleep(0.01)
    return value


def metric(text: str, name: str, **labels: str) -> float:
    """The sum of all samples of a metric that carry these labels."""
    total = 0.0
    for line in text.splitlines():
        found = re.fullmatch(r"([a-z_]+)(?:\{(.*)\})? (\S+)", line)
        if found is not None and found[1] == name:
            pairs = dict(re.findall(r'([a-z_]+)="([^"]*)"', found[2] or ""))
            if labels.items() <= pairs.items():
                total += float(found[3])
    return total


def _end_with_the_tests() -> None:
    """A test run that is itself killed must leave no server behind."""
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG


def _inode(port: int, peer: int) -> str:
    """The socket that listens on `port` and talks to `peer`; empty while nobody has accepted the connection."""
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[1].endswith(f":{port:04X}") and fields[2].endswith(f":{peer:04X}") and fields[9] != "0":
            return fields[9]
    return ""
