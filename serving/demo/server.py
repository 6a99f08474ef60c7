"""The demo's server: `serinus serve` as a process of its own, that ends with the demo however that ends."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from serinus.serving.board import Reading
from serinus.serving.errors import CommandError
from serinus.serving.home import Home, RunFolder
from serinus.serving.processes import child_environment
from serinus.serving.rollback import live_boards

__all__ = ["DemoServer"]

_START = ("from serinus.serving.processes import die_with_parent; die_with_parent(); "
          "from serinus.serving.cli import main; main()")
_START_S, _STOP_S, _LINGER_S = 240.0, 30.0, 20.0
_MARK = "DEMO_OF_SERINUS"
_WORKERS = 2


class DemoServer:
    """Two workers on a free port of this host, with no settings but ours."""

    def __init__(self, home: Home, environ: Mapping[str, str]) -> None:
        self.home = home
        self.output = home.path / "server.log"
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        inherited = {name: value for name, value in child_environment(RunFolder(home.run)).items()
                     if not name.startswith("SERINUS_")}
        temporary = home.path / "tmp"  # a worker that is killed cannot tidy up after itself
        temporary.mkdir()
        self._environ = inherited | {"BENTOML_HOME": str(home.path / "bentoml"), "TMPDIR": str(temporary),
                                     "SERINUS_SHADOW_PRIORITY": "normal", **environ, _MARK: str(home.path)}
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        """Launch it, without waiting; see `wait_until_ready`."""
        arguments = ["serve", "--workers", str(_WORKERS), "--port", str(self.port), "--home", str(self.home.path)]
        with self.output.open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _START, *arguments], env=self._environ, cwd=self.home.path, stdout=output,
                stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, process_group=0)
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def wait_until_ready(self) -> None:
        """Until both workers answer. Raises CommandError when they do not."""
        deadline = time.monotonic() + _START_S
        while b"answers at http://" not in self.output.read_bytes():
            if self._process is not None and self._process.poll() is not None:
                raise CommandError(f"The demo's server did not start: {_last_line(self.output)}")
            if time.monotonic() > deadline:
                raise CommandError(f"The demo's server was not ready in {_START_S:.0f} s. Its last line: "
                                   f"{_last_line(self.output)}")
            time.sleep(0.05)
        self.wait_for_workers()

    def workers(self) -> list[Reading]:
        """The workers that are ready."""
        return [board for board in live_boards(self.home) if board.ready]

    def wait_for_workers(self, without: int = 0) -> float:
        """Until two workers are ready, none of them `without`; seconds waited."""
        started = time.monotonic()
        while len([board for board in self.workers() if board.pid != without and board.generation]) < _WORKERS:
            if time.monotonic() - started > _START_S:
                raise CommandError(f"The demo's server has too few workers. Its last line: {_last_line(self.output)}")
            time.sleep(0.02)
        return time.monotonic() - started

    def processes(self) -> list[int]:
        """Pids of everything that descends from this server and lives, found by a mark in their environment."""
        mark = f"{_MARK}={self.home.path}".encode()
        found = []
        for folder in Path("/proc").iterdir():
            if folder.name.isdigit() and int(folder.name) != os.getpid():
                with contextlib.suppress(OSError):
                    if mark in (folder / "environ").read_bytes().split(b"\0"):
                        found.append(int(folder.name))
        return found

    def stop(self) -> int | None:
        """End it and all that descends from it; the exit code, or None when something had to be killed."""
        process = self._process
        if process is None:
            return 0
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_STOP_S)
        deadline = time.monotonic() + _LINGER_S
        while (left := self.processes()) and time.monotonic() < deadline:
            time.sleep(0.02)
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        code = process.wait()
        return None if left else code


def _last_line(path: Path) -> str:
    lines = [line for line in path.read_text("utf-8", "replace").splitlines() if line.strip()]
    return lines[-1] if lines else f"{path} is empty."
