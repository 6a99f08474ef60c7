"""The parent of a server's processes: what `serinus serve` stays as.

It makes the run folder, starts BentoML's supervisor and the steward, says when the server is ready, restarts the
steward, and ends all of them: not ready any more, a pause for load balancers, SIGTERM, and SIGKILL for what is left.
If it is killed itself, the kernel tells supervisor and steward, and the supervisor's end tells the workers.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from serinus.serving.board import boards_in, is_owned, read
from serinus.serving.errors import CommandError
from serinus.serving.home import Home, RunFolder
from serinus.serving.processes import child_environment, start_steward
from serinus.serving.settings import Settings
from serinus.serving.telemetry.variables import adopt

__all__ = ["Parent"]

_TURN_S = 0.1
_START_TIMEOUT_S = 120.0
_STEWARD_PAUSE_S = 1.0


class Parent:
    """One server, from its first process to its last. `on_ready` is called once, when it answers."""

    def __init__(self, settings: Settings, on_ready: Callable[[Settings], None]) -> None:
        self._home = Home(settings.home)
        self._settings = settings
        self._on_ready = on_ready
        self._signal: int | None = None
        self._steward: subprocess.Popen[bytes] | None = None
        self._supervisor: subprocess.Popen[bytes] | None = None
        self._run = RunFolder(self._home.run / f"server-{os.getpid()}")

    def serve(self) -> int:
        """Run until a signal or until the supervisor ends; the exit code for the shell."""
        self._settings = _with_port(self._settings)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._on_signal)
        try:
            self._prepare()
            self._start()
            self._wait_until_ready()
            return self._watch()
        finally:
            self._end()

    def _on_signal(self, number: int, _: FrameType | None) -> None:
        if self._signal is not None and self._supervisor is not None:
            with contextlib.suppress(ProcessLookupError):  # the second signal: do not wait any longer
                os.killpg(self._supervisor.pid, signal.SIGKILL)
        self._signal = number

    def _prepare(self) -> None:
        shutil.rmtree(self._run.path, ignore_errors=True)  # of a process that had our pid before
        self._run.claim(os.getpid())
        self._run.settings.write_text(self._settings.model_dump_json())
        self._run.settings.chmod(0o600)
        bentoml_home = self._run.path / "bentoml"
        bentoml_home.mkdir()
        users = Path(os.environ.get("BENTOML_HOME") or Path.home() / "bentoml")
        for name in ("models", "bentos"):  # BentoML wipes its metrics folder when it starts: give it one of our own
            (users / name).mkdir(parents=True, exist_ok=True)
            (bentoml_home / name).symlink_to(users / name)
        adopt(self._settings.telemetry)
        os.environ |= {"SERINUS_SETTINGS": str(self._run.settings), "SERINUS_PARENT": str(os.getpid()),
                       "BENTOML_HOME": str(bentoml_home), "BENTOML_DO_NOT_TRACK": "true",
                       "SERINUS_WORKERS": str(self._settings.server.workers)}

    def _start(self) -> None:
        server = self._settings.server
        self._steward = start_steward(self._run)
        self._supervisor = subprocess.Popen(
            [sys.executable, "-m", "serinus.serving.supervisor", "serve", "serinus.bento:service",
             "--host", server.host, "--port", str(server.port), "--working-dir", os.getcwd(),  # noqa: PTH109
             "--timeout-graceful-shutdown", str(max(1, int(server.drain_seconds)))],
            env=child_environment(self._run), stdin=subprocess.DEVNULL, process_group=0)

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + _START_TIMEOUT_S
        while self._signal is None:
            if self._supervisor is not None and self._supervisor.poll() is not None:
                raise CommandError("The server ended while it was starting; the lines above say why.")
            if self._ready_workers() >= self._settings.server.workers and self._answers():
                self._on_ready(self._settings)
                return
            if time.monotonic() > deadline:
                raise CommandError(f"The server was not ready within {_START_TIMEOUT_S:.0f} s; see the lines above.")
            time.sleep(_TURN_S / 2)

    def _ready_workers(self) -> int:
        ready = 0
        for path in boards_in(self._run.boards):
            with contextlib.suppress(Exception):  # one that is only being made
                ready += is_owned(path) and read(path).heartbeat_ns > 0 and read(path).started_ns > 0
        return ready

    def _answers(self) -> bool:
        """Whether an answer comes; 503 counts: a server without a model starts, and says so."""
        server = self._settings.server
        host = "127.0.0.1" if server.host == "0.0.0.0" else "::1" if server.host == "::" else server.host
        connection = http.client.HTTPConnection(host, server.port, timeout=5)
        try:
            connection.request("GET", "/v2/health/ready")
            body = connection.getresponse().read()
            return b'"ready":true' in body or b"No model is served" in body
        except OSError:
            return False
        finally:
            connection.close()

    def _watch(self) -> int:
        restarted = time.monotonic()
        while self._signal is None:
            time.sleep(_TURN_S)
            assert self._supervisor is not None and self._steward is not None
            code = self._supervisor.poll()
            if code is not None:
                return code or 1
            if self._steward.poll() is not None and time.monotonic() - restarted > _STEWARD_PAUSE_S:
                self._steward, restarted = start_steward(self._run), time.monotonic()
        return 0

    def _end(self) -> None:
        self._drain()
        server = self._settings.server
        if self._supervisor is not None:
            self._supervisor.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._supervisor.wait(server.drain_seconds + 3)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._supervisor.pid, signal.SIGKILL)
            self._supervisor.wait()
        if self._steward is not None:
            self._steward.terminate()
            try:
                self._steward.wait(5)
            except subprocess.TimeoutExpired:
                self._steward.kill()
                self._steward.wait()
        shutil.rmtree(self._run.path, ignore_errors=True)

    def _drain(self) -> None:
        if self._run.path.is_dir():
            self._run.draining.touch()
        if self._signal is not None and self._settings.server.linger_seconds:
            time.sleep(self._settings.server.linger_seconds)


def _with_port(settings: Settings) -> Settings:
    """The same settings with a free port for port 0; a `CommandError` when the address cannot be had."""
    server = settings.server
    family = socket.AF_INET6 if ":" in server.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((server.host, server.port))
        except OSError as error:
            raise CommandError(f"Cannot listen on {server.host}:{server.port}: {error.strerror}. "
                               "Choose another with --port (0: any free one) or --host (an IP address).") from None
        port = probe.getsockname()[1]
    return settings.model_copy(update={"server": server.model_copy(update={"port": port})})
