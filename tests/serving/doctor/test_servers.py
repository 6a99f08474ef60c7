"""Servers that lost something, hang, or are not ready; boards of real processes stand for them."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from serinus.serving.board import _W_HEARTBEAT_NS, Board, start_ticks
from serinus.serving.doctor.check import Check
from serinus.serving.doctor.home import look_at_log
from serinus.serving.doctor.servers import log_rate, look_at_servers
from serinus.serving.home import Home, RunFolder
from serinus.serving.settings import LogSettings, ServerSettings, Settings


class Running:
    """A server of one worker and a steward, which are all this process."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self.run = RunFolder(home.run / "server-1")
        self.run.claim(os.getpid())
        self.run.settings.write_text(Settings(server=ServerSettings(workers=1)).model_dump_json())
        self.board = Board(self.run.boards)
        self.board.beat(ready=True, generation=1)
        self.steward = os.open(self.run.steward_lock, os.O_CREAT | os.O_RDWR)
        fcntl.flock(self.steward, fcntl.LOCK_EX)

    def began(self, seconds_ago: float) -> None:
        """Have its owner be a process that began so long ago: this machine's first one."""
        ticks = (time.clock_gettime(time.CLOCK_BOOTTIME) - seconds_ago) * os.sysconf("SC_CLK_TCK")
        self.run.owner.write_text(f"{os.getpid()} {int(ticks)}")


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    server = Running(Home(tmp_path / "home"))
    yield server
    os.close(server.steward)
    server.board.close()


def look(running: Running) -> list[Check]:
    return list(look_at_servers(running.home))


def wrong(running: Running) -> Check:
    (found,) = [check for check in look(running) if check.state != "ok"]
    return found


def test_a_server_that_is_well_is_one_line(running: Running) -> None:
    """With its process, its workers and their last sign of life."""
    (found,) = look(running)
    assert found.state == "ok" and f"Process {os.getpid()}, for " in found.says
    assert "1 of 1 worker" in found.says and "last sign of life 0." in found.says


def test_no_server_is_in_order(tmp_path: Path) -> None:
    """Folders of servers that have ended do not count."""
    run = RunFolder(tmp_path / "run" / "server-1")
    run.claim(os.getpid())
    run.owner.write_text(f"{os.getpid()} {start_ticks(os.getpid()) - 1}")
    (found,) = look_at_servers(Home(tmp_path))
    assert found == Check("servers", "ok", f"None runs on {tmp_path}.")


def test_a_worker_that_is_not_ready_is_a_warning(running: Running) -> None:
    """Of the workers that the server was told to have."""
    running.board.beat(ready=False, generation=1)
    assert wrong(running).state == "warning" and "0 of 1 workers ready" in wrong(running).says


def test_a_silent_worker_is_a_warning(running: Running) -> None:
    """It beats twice a second, unless its event loop hangs."""
    running.board.words[_W_HEARTBEAT_NS] = time.monotonic_ns() - 30 * 10**9
    assert "silent for 30 s" in wrong(running).says


def test_a_missing_steward_is_a_warning(running: Running) -> None:
    """Its lock is free."""
    fcntl.flock(running.steward, fcntl.LOCK_UN)
    assert "has no steward now" in wrong(running).says


def test_what_was_lost_is_told(running: Running) -> None:
    """Records are a problem, spans and versions a warning."""
    running.board.span_counts(5, 7)
    running.board.log_failed()
    running.board.load_failed()
    found = [check for check in look(running) if check.state != "ok"]
    assert [check.state for check in found] == ["problem", "warning", "warning"]
    assert "could not write 1 record to the prediction log" in found[0].says
    assert "lost 7 spans and sent 5" in found[1].says


def test_days_of_the_log_at_the_present_rate(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes since the server began, over that time; less than a day is a warning, a minute too short to tell."""
    running.board.log_counts(1000, 1_000_000)
    monkeypatch.setattr(RunFolder, "is_alive", lambda _: True)  # its owner's start is made up
    running.began(30)
    assert log_rate(running.home) == 0
    running.began(1000)
    assert log_rate(running.home) == pytest.approx(1000, rel=0.01)
    for cap, state, told in ((864_000_000, "ok", "10 days"), (36_000_000, "warning", "10 hours")):
        (found,) = look_at_log(running.home, Settings(log=LogSettings(cap_bytes=cap)))
        assert found.state == state and f"reaches back {told} at most" in found.says
