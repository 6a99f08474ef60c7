"""SIGKILL for a server's processes, one after another at random moments, and a new server where all of it went."""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from tests.integration.conftest import Start
from tests.integration.server import Server, eventually

__all__ = ["Deaths"]

_TEN = ("worker", "worker", "worker", "steward", "steward", "steward", "compaction", "compaction", "supervisor",
        "parent")
_PROGRAMS = {"steward": "serinus.serving.steward ", "compaction": "serinus.serving.prediction_log.upkeep",
             "supervisor": "serinus.serving.supervisor"}
_LONG_S = 120.0
_LATEST_S = 1.5
"""In the life of a compaction, which takes a second or two."""


class Deaths:
    """Kills, and sees to it that there is a server again; `count` says how often which process died."""

    def __init__(self, home: Path, start: Start, picks: random.Random) -> None:
        self.count: Counter[str] = Counter()
        self._home, self._start, self._picks = home, start, picks
        self.server = self._started(0)

    def victims(self, number: int) -> Iterator[str]:
        """Whom to kill: all kinds among each ten."""
        for _ in range(number // len(_TEN)):
            yield from self._picks.sample(_TEN, len(_TEN))

    def kill(self, victim: str) -> bool:
        """Kill one of these; whether all of the server went with it, and is here anew."""
        time.sleep(self._picks.random())
        while not self._is_killed(victim):  # it has ended by itself
            pass
        self.count[victim] += 1
        if victim not in ("supervisor", "parent"):
            return False
        self.server.wait(60)
        self.server.assert_gone(30)
        self.server = self._started(self.server.port)
        return True

    def _is_killed(self, victim: str) -> bool:
        pid = self._find(victim)
        if pid not in self.server.processes():
            return False
        os.kill(pid, signal.SIGKILL)
        return True

    def _find(self, victim: str) -> int:
        if victim == "parent":
            return self.server.pid
        if victim == "worker":  # of two, so that somebody answers
            eventually(lambda: len(self.server.ready_workers()) == 2, _LONG_S, self._state)
            return self._picks.choice(sorted(self.server.ready_workers()))
        found = eventually(lambda: self.server.find(_PROGRAMS[victim]), _LONG_S, self._state)
        if victim == "compaction":
            time.sleep(self._picks.uniform(0, _LATEST_S))
        return found[0]

    def _started(self, port: int) -> Server:
        """Ready, at the same port, and its steward has the store."""
        server = self._start(self._home, port=port, environ={"SERINUS_LOG_SEGMENT_BYTES": "32768"}, ready=False)
        server.wait_until_ready(_LONG_S)
        with server.client(60) as client:
            eventually(lambda: client.post("/api/rollouts/credit/pause", {}).status == 409, _LONG_S, server.output)
        return server

    def _state(self) -> str:
        return f"{self.server.processes()}\n{self.server.output()}"
