"""The process, in a thread: it follows the snapshot, answers what comes, and survives whatever that is."""

from __future__ import annotations

import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

import numpy as np
import pytest

from serinus.serving.files import reachable
from serinus.serving.rollout import Judgement, Plan, RolloutRecord
from serinus.serving.shadow.copies import pack
from serinus.serving.shadow.process import ShadowServer
from serinus.serving.shadow.published import ShadowFiles
from serinus.serving.shadow.spans import ShadowSpans
from serinus.serving.steward.job import Shared
from tests.serving.shadow.copies import copy_of
from tests.serving.steward.trials import judged, past_preflight

__all__ = ["judged"]

PLAN = Plan((1000,), manual=False, judgement=Judgement(shadow=1000))


class Running:
    """A shadow of `wine` 2 (which answers 2.0), and a worker's end of its socket."""

    def __init__(self, host: Shared) -> None:
        self.host = host
        self.record: RolloutRecord = past_preflight(host, PLAN)
        host.run.shadow.mkdir(parents=True, exist_ok=True)
        self.files = ShadowFiles(host.run.shadow)
        self.begin()

    def begin(self) -> None:
        self.server = ShadowServer(self.host.settings, self.host.run, self.host.registry,
                                   ShadowSpans({}, enabled=False))
        self._thread = threading.Thread(target=self.server.serve_for_ever)
        self._thread.start()
        self.connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        soon(self._connects)

    def _connects(self) -> bool:
        with suppress(OSError), reachable(self.files.socket) as name:
            self.connection.connect(name)
            return True
        return False

    def end(self) -> None:
        self.server.stop()
        self._thread.join()
        self.connection.close()

    def send(self, number: int) -> None:
        """So many requests, in one message."""
        copies = [copy_of({"predict": np.array([1.0])}) for _ in range(number)]
        copies = [copy._replace(inputs={"input": np.array([[1.0]])}) for copy in copies]
        self.connection.send(pack(self.record.rollout_id, copies)[0])

    def pairs(self) -> int:
        found = self.files.pairs().get(self.record.rollout_id)
        return 0 if found is None else found.pairs + found.late


def soon(look: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not look():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture
def running(judged: Shared) -> Iterator[Running]:
    made = Running(judged)
    yield made
    made.end()


def test_copies_are_answered_over_damage_and_new_beginnings(running: Running) -> None:
    """Damaged messages, unknown rollouts and workers that leave do no harm; the next process counts on."""
    running.connection.send(b"nonsense")
    running.connection.send(pack("other", [copy_of({})])[0])
    running.send(3)
    soon(lambda: running.pairs() == 3)
    running.end()
    running.begin()
    running.send(2)
    soon(lambda: running.pairs() == 5)
    counts = running.files.pairs()[running.record.rollout_id]
    assert (counts.candidate_failed, counts.candidate, counts.scores.mean) == (0, "2", pytest.approx(1.0))


def test_a_version_that_cannot_be_loaded_ends_nothing(running: Running, caplog: pytest.LogCaptureFixture) -> None:
    """Its copies are passed over, and the log says why."""
    running.end()
    shutil.rmtree(running.host.home.path / "models" / "wine" / "2")
    running.begin()
    running.send(1)
    soon(lambda: "cannot be loaded into the shadow" in caplog.text)
    assert running.pairs() == 0
