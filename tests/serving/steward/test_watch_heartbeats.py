"""A worker that has been silent for a minute is killed, and nobody else is."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from serinus.serving.board import boards_in
from serinus.serving.steward.job import Shared
from serinus.serving.steward.watch_heartbeats import WatchHeartbeats
from tests.serving.steward.hosts import host, worker

__all__ = ["host"]

ROOT = Path(__file__).parents[3]
SILENT = """
import sys, time
from pathlib import Path
from serinus.serving.board import Board

board = Board(Path(sys.argv[1]))
board.words[6] = max(0, time.monotonic_ns() - int(sys.argv[2]) * 10**9)  # the heartbeat
print("ready", flush=True)
time.sleep(60)
"""


def silent(host: Shared, seconds: int) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", SILENT, str(host.run.boards), str(seconds)],
        cwd=ROOT,
        text=True,
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert process.stdout is not None
    process.stdout.readline()
    return process


def test_the_silent_are_killed(host: Shared) -> None:
    """One that beat a moment ago lives on."""
    hanging, quiet = silent(host, 61), silent(host, 30)
    worker(host, 1)
    try:
        WatchHeartbeats().run(host)
        assert hanging.wait(10) == -signal.SIGKILL
        time.sleep(0.05)
        assert quiet.poll() is None
    finally:
        for process in (hanging, quiet):
            process.kill()
            process.communicate()


def test_a_dead_workers_pid_is_safe(host: Shared) -> None:
    """Its board may stand there for a while, its number may be somebody else's: here, this very process."""
    board = worker(host, 1)
    board.words[6] = 1
    board.close()
    assert len(boards_in(host.run.boards)) == 1
    WatchHeartbeats().run(host)  # would end this test
