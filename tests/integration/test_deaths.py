"""Whatever process is killed, the server goes on or ends as a whole."""

from __future__ import annotations

import os
import signal
import socket
import time
from pathlib import Path

import pytest

from tests.integration.client import Crowd
from tests.integration.conftest import Start
from tests.integration.server import eventually
from tests.integration.zoo import CREDIT_ROWS


def test_the_death_of_the_parent_ends_everything(home: Path, start: Start) -> None:
    """SIGKILL for the first process: supervisor, workers and steward end by themselves, and the port is free."""
    server = start(home)
    os.kill(server.pid, signal.SIGKILL)
    killed = time.monotonic()
    server.wait()
    server.assert_gone(timeout=6)
    print(f"\nall gone after {time.monotonic() - killed:.2f} s")
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", server.port))
        taken.listen()
    again = start(home, port=server.port)
    with again.client() as client:
        assert client.post("/predict/credit", CREDIT_ROWS).status == 200


@pytest.mark.parametrize(("who", "moment"), [
    ("parent", 0.3), ("supervisor", 1.6),
    *(pytest.param(who, tenths / 10, marks=pytest.mark.slow) for who in ("parent", "supervisor")
      for tenths in range(30))])
def test_a_death_while_it_starts_ends_everything(home: Path, start: Start, who: str, moment: float) -> None:
    """A child whose parent is gone before it could ask the kernel for the news ends all the same."""
    server = start(home, ready=False)
    eventually(lambda: server.find("serinus.serving.supervisor"), 20)
    time.sleep(moment)
    os.kill(server.pid if who == "parent" else server.supervisor(), signal.SIGKILL)
    server.wait()
    server.assert_gone(timeout=8)


def test_the_death_of_the_steward_is_mended(home: Path, start: Start) -> None:
    """SIGKILL for the steward: every request is answered meanwhile, and another steward takes over."""
    server = start(home)
    before = server.steward()
    with Crowd([server.client() for _ in range(4)], lambda client, _: client.post("/predict/credit", CREDIT_ROWS),
               pause=0.002) as crowd:
        crowd.wait_for(50)
        os.kill(before, signal.SIGKILL)
        eventually(lambda: [pid for pid in server.find("serinus.serving.steward") if pid != before], 5)
        eventually(lambda: server.client().post("/api/rollouts/credit/pause", {}).status == 409, 5)
        crowd.wait_for(50)
    assert {exchange.answer is not None and exchange.answer.status for exchange in crowd.exchanges} == {200}


def test_the_death_of_the_supervisor_ends_everything(home: Path, start: Start) -> None:
    """SIGKILL for BentoML's supervisor: its workers and the steward end, and the shell sees a failure."""
    server = start(home)
    os.kill(server.supervisor(), signal.SIGKILL)
    killed = time.monotonic()
    assert server.wait(15) != 0
    server.assert_gone(timeout=3)
    print(f"\nall gone after {time.monotonic() - killed:.2f} s")
    assert "Traceback" not in server.output()


def test_workers_killed_together_come_back(home: Path, start: Start) -> None:
    """SIGKILL for all workers at once: the supervisor replaces them, and what was counted before still counts."""
    server = start(home)
    with server.client() as client:
        for _ in range(10):
            client.post("/predict/credit", CREDIT_ROWS)
    victims = server.ready_workers()
    for pid in victims:
        os.kill(pid, signal.SIGKILL)
    eventually(lambda: len(server.ready_workers() - victims) == 2, 20)
    with server.client() as client:
        assert client.post("/predict/credit", CREDIT_ROWS).status == 200
        assert "serinus_log_frames_total 11" in client.get("/metrics").body.decode()
