"""Job: tell every logged request to a CloudEvents receiver, out of the log: no request waits for it, and what the
receiver misses while it is away it gets later.

A thread of its own reads on in the log and posts; how far it has come lies in the run folder, so what was sent before a
restart is not sent again, but for the last second. What cannot be delivered within `events.deadline_seconds` is dropped
and counted.
"""

from __future__ import annotations

import fcntl
import http.client
import logging
import os
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import orjson

from serinus.serving.cloud_events import CloudEvent, events_of
from serinus.serving.files import write_atomically
from serinus.serving.home import Home
from serinus.serving.prediction_log import Follower
from serinus.serving.prediction_log.frame import FrameError
from serinus.serving.settings import EventSettings
from serinus.serving.steward.job import Shared

__all__ = ["SendEvents", "Sender"]

FORMAT = 1
_LOOK_S = 0.2
_SAVE_S = 1.0
_PAUSES_S = (0.1, 0.5, 2.0, 5.0, 15.0, 30.0)
_TRY_AGAIN = (408, 425, 429)

_log = logging.getLogger("serinus.steward")


class SendEvents:
    """One steward for the log of a home."""

    name = "send_events"
    period_s = 1.0

    def __init__(self) -> None:
        self._lock = -1
        self._sender: Sender | None = None

    def run(self, shared: Shared) -> None:
        """See `Job.run`."""
        if shared.settings.events.url is None or not shared.settings.log.enabled:
            return
        if self._lock < 0:
            self._lock = _hold(shared.home.events.with_suffix(".lock"))
        if self._lock >= 0 and (self._sender is None or not self._sender.is_alive()):
            self._sender = Sender(shared.settings.events, shared.home)
            self._sender.start()


class Sender(threading.Thread):
    """Reads on in the log of a home and posts two events for each request. A daemon: it ends with its process."""

    def __init__(self, settings: EventSettings, home: Home, clock: Callable[[], float] = time.time) -> None:
        super().__init__(name="serinus-events", daemon=True)
        assert settings.url is not None
        self._settings = settings
        self._source = settings.source or f"/serinus/{socket.gethostname()}"
        self._clock = clock
        self._path = home.events
        self._state = _read(self._path) or {"format": FORMAT, "begun_ns": int(clock() * 1e9), "read_of": {}, "sent": 0,
                                            "dropped": 0}
        self._follower = Follower(home.log, self._state["read_of"], self._state["begun_ns"])
        self._receiver = _Receiver(settings.url, settings.timeout_seconds)
        self._saved = 0.0
        self._failing = False
        self._ending = threading.Event()

    def run(self) -> None:
        """Work until the process ends."""
        while not self._ending.wait(_LOOK_S):
            try:
                self.turn()
            except (FrameError, OSError) as error:
                _log.warning("The prediction log cannot be read for events: %s", error)
                self._ending.wait(_PAUSES_S[-1])

    def end(self) -> None:
        """Stop after what is under way."""
        self._ending.set()

    def turn(self) -> None:
        """Send what has come since the last time."""
        self._save()
        for record in self._follower.read():
            if record.received_ns < self._state["begun_ns"]:
                continue
            deadline = record.received_ns / 1e9 + self._settings.deadline_seconds
            for event in events_of(record, self._settings.namespace, self._source):
                if self._settings.mode not in ("all", event.headers["ce-type"].rpartition(".")[2]):
                    continue
                done = self._deliver(event, deadline)
                if done is None:
                    return
                self._state["sent" if done else "dropped"] += 1
            if time.monotonic() - self._saved >= _SAVE_S:
                self._save()
        self._save()

    def _deliver(self, event: CloudEvent, deadline: float) -> bool | None:
        """Whether it arrived; None when the process ends meanwhile, so that it is sent again later."""
        attempt = 0
        while True:
            if self._failing and self._clock() >= deadline:  # no more time is lost with it
                return False
            problem, final = self._receiver.post(event)
            if problem is None:
                self._tell(None)
                return True
            self._tell(problem)
            if final or self._clock() >= deadline:
                return False
            if self._ending.wait(_PAUSES_S[min(attempt, len(_PAUSES_S) - 1)]):
                return None
            attempt += 1

    def _tell(self, problem: str | None) -> None:
        """One line when an outage begins, and one when it is over."""
        if problem is not None and not self._failing:
            _log.warning("Events are not delivered: %s", problem)
        elif problem is None and self._failing:
            _log.info("Events are delivered again.")
        self._failing = problem is not None

    def _save(self) -> None:
        self._state["read_of"] = self._follower.progress
        self._saved = time.monotonic()
        data = orjson.dumps(self._state)
        if data != _bytes(self._path):
            write_atomically(self._path, data)


class _Receiver:
    """One connection that is kept, to one address."""

    def __init__(self, url: str, timeout_s: float) -> None:
        parts = urlsplit(url)
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._connection = kind(parts.hostname or "", parts.port, timeout=timeout_s)
        self._path = f"{parts.path or '/'}{f'?{parts.query}' if parts.query else ''}"

    def post(self, event: CloudEvent) -> tuple[str | None, bool]:
        """None, or what was wrong and whether it is no use to try again."""
        try:
            self._connection.request("POST", self._path, event.body, dict(event.headers))
            answer = self._connection.getresponse()
            answer.read()
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            return f"{type(error).__name__}: {error}", False
        if answer.status < 300:
            return None, False
        return f"the receiver answered {answer.status} {answer.reason}", (
            answer.status < 500 and answer.status not in _TRY_AGAIN)


def _hold(path: Path) -> int:
    """The lock that one process has for the rest of its life; -1 while another one has it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(file)
        return -1
    return file


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def _read(path: Path) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = orjson.loads(_bytes(path))
    except orjson.JSONDecodeError:
        return None
    return found if found.get("format") == FORMAT else None
