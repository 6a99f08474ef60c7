"""Run folders of servers that are gone are removed; of living ones, whoever lives in them, they stay."""

from __future__ import annotations

import os
import subprocess
import sys

from serinus.serving.board import Board
from serinus.serving.home import RunFolder
from serinus.serving.rollout.tally import Tally
from serinus.serving.sheet import Sheet
from serinus.serving.steward.clear_run_folders import ClearRunFolders
from serinus.serving.steward.job import Shared
from serinus.serving.steward.ship_tallies import ShipTallies
from serinus.serving.steward.ship_ticks import ShipTicks
from tests.serving.steward.hosts import host

__all__ = ["host"]


def dead_folder(host: Shared, name: str) -> RunFolder:
    """A folder whose owner has lived and ended."""
    folder = RunFolder(host.home.run / name)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as owner:
        folder.claim(owner.pid)
        assert folder.is_alive()
    assert not folder.is_alive()
    return folder


def test_only_dead_folders_go(host: Shared) -> None:
    """Not our own, not one of a living owner, not one that is only being made, not one with a worker left."""
    dead, orphaned = dead_folder(host, "server-dead"), dead_folder(host, "server-orphaned")
    worker = Board(orphaned.boards)
    alive, begun = RunFolder(host.home.run / "server-alive"), host.home.run / "server-begun"
    alive.claim(os.getpid())
    begun.mkdir()
    ClearRunFolders().run(host)
    assert not dead.path.exists()
    assert all(path.exists() for path in (host.run.path, alive.path, begun, orphaned.path))
    worker.close()
    ClearRunFolders().run(host)
    assert not orphaned.path.exists()


def test_a_reused_pid_is_somebody_else(host: Shared) -> None:
    """The start time tells."""
    folder = RunFolder(host.home.run / "server-old")
    folder.claim(os.getpid())
    assert folder.is_alive()
    folder.owner.write_text(f"{os.getpid()} 1")
    assert not folder.is_alive()
    assert folder.path not in [server.path for server in host.home.servers()]


def test_a_folder_with_counts_stays_until_they_are_shipped(host: Shared) -> None:
    """What its workers observed is not thrown away with it."""
    dead = dead_folder(host, "server-dead")
    sheet = Sheet(dead.sheets, "00aa", "wine", "1", "sha256:d", 1)
    sheet.close()
    ClearRunFolders().run(host)
    assert sheet.path.exists()
    ShipTicks().run(host)
    ClearRunFolders().run(host)
    assert not dead.path.exists()


def test_a_folder_with_a_rollouts_counts_stays_until_they_are_shipped(host: Shared) -> None:
    """What its workers counted of a rollout is evidence."""
    dead = dead_folder(host, "server-dead")
    Tally(dead.tallies, "00aa", "wine", "r1").close()
    ClearRunFolders().run(host)
    assert dead.path.exists()
    ShipTallies().run(host)
    ClearRunFolders().run(host)
    assert not dead.path.exists()
