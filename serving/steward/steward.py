"""The loop over the jobs, and the socket on which workers hand over control calls."""

from __future__ import annotations

import logging
import os
import socket
import socketserver
import threading
import time
from collections.abc import Sequence
from typing import Any

import orjson

from serinus.serving.files import reachable
from serinus.serving.home import RunFolder
from serinus.serving.served_models import open_registry
from serinus.serving.settings import Settings
from serinus.serving.steward.commands import carry_out
from serinus.serving.steward.job import Job, Shared
from serinus.serving.store import StoreError

__all__ = ["Steward"]

_log = logging.getLogger("serinus.steward")
_TURN_S = 0.05
_REPEAT_ERROR_S = 30.0


class Steward:
    """Runs `jobs` until stopped, each at its own period; one that fails is tried again at its next turn."""

    def __init__(self, settings: Settings, run: RunFolder, jobs: Sequence[Job]) -> None:
        self._jobs = jobs
        self._run = run
        self._due = dict.fromkeys((job.name for job in jobs), 0.0)
        self._complained: dict[tuple[str, str], float] = {}
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._shared = Shared(settings, run, open_registry(settings), f"{socket.gethostname()}-{os.getpid()}")

    def stop(self, *_: Any) -> None:
        """End after the present job. Fit to be a signal handler."""
        self._stopping.set()

    def serve_for_ever(self) -> None:
        """Work until `stop`."""
        self._run.steward_socket.unlink(missing_ok=True)
        with reachable(self._run.steward_socket) as path, _Server(path, self.command) as server:
            threading.Thread(target=server.serve_forever, name="serinus-control", daemon=True).start()
            while not self._stopping.wait(_TURN_S):
                self.turn(time.monotonic())
            server.shutdown()
        with self._lock:
            if self._shared.lease is not None:
                self._try("release_lease", lambda: self._shared.store.release_lease(self._shared.lease))
            self._shared.forget_store()

    def turn(self, now: float) -> None:
        """Run every job whose time has come (`now` in monotonic seconds)."""
        for job in self._jobs:
            if now >= self._due[job.name]:
                self._due[job.name] = now + job.period_s
                with self._lock:
                    self._try(job.name, lambda job=job: job.run(self._shared))

    def command(self, request: dict[str, Any]) -> dict[str, Any]:
        """Carry out one control call and let the workers know before answering."""
        with self._lock:
            try:
                return carry_out(self._shared, request)
            except StoreError as error:
                self._shared.forget_store()
                return {"error": str(error), "kind": "unavailable"}

    def _try(self, name: str, work: Any) -> None:
        try:
            work()
        except StoreError as error:
            self._shared.forget_store()
            self._complain(name, error)
        except Exception as error:
            self._complain(name, error, with_trace=True)

    def _complain(self, name: str, error: Exception, *, with_trace: bool = False) -> None:
        key, now = (name, str(error)), time.monotonic()
        if now - self._complained.get(key, -_REPEAT_ERROR_S) >= _REPEAT_ERROR_S:
            self._complained[key] = now
            _log.warning("Job %s: %s", name, error, exc_info=error if with_trace else None)


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True

    def __init__(self, path: str, command: Any) -> None:
        self.command = command
        super().__init__(path, _Handler)
        os.chmod(path, 0o600)  # noqa: PTH101  (the path is a str here by socketserver's own interface)


class _Handler(socketserver.StreamRequestHandler):
    """One JSON object per line in, one out."""

    timeout = 30

    def handle(self) -> None:
        for line in self.rfile:
            try:
                answer = self.server.command(orjson.loads(line))  # type: ignore[attr-defined]
            except Exception as error:  # whatever goes wrong, the caller gets an answer
                _log.exception("A control call failed")
                answer = {"error": f"The steward failed: {error}", "kind": "internal"}
            self.wfile.write(orjson.dumps(answer) + b"\n")
