"""One run of a command: how it ended is written down, also when it is asked to end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from serinus.serving.retraining_run import main


def asked(folder: Path, *argv: str, timeout_seconds: float = 30.0) -> Path:
    (folder / "run.json").write_text(json.dumps({"argv": argv, "timeout_seconds": timeout_seconds}))
    return folder


@pytest.fixture(autouse=True)
def handler() -> Iterator[None]:
    """The run takes SIGTERM for itself; the tests take it back."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize(("argv", "code"), [
    (("true",), 0), (("sh", "-c", "exit 7"), 7), (("sh", "-c", "kill -9 $$"), -9)])
def test_the_exit_code_is_written_down(tmp_path: Path, argv: tuple[str, ...], code: int) -> None:
    """A signal is negative."""
    began = time.time()
    assert main(asked(tmp_path, *argv)) == 0
    outcome = json.loads((tmp_path / "outcome.json").read_text())
    assert (outcome["exit_code"], outcome["timed_out"]) == (code, False) and began <= outcome["ended"] <= time.time()


def test_nothing_is_a_shell(tmp_path: Path) -> None:
    """Words are arguments as they stand."""
    main(asked(tmp_path, "echo", "$HOME; `id` && *"))
    assert (tmp_path / "output.log").read_text() == "$HOME; `id` && *\n"


def test_a_signal_ends_the_command_and_is_written_down(tmp_path: Path) -> None:
    """Who ends the runner ends the run."""
    runner = subprocess.Popen([sys.executable, "-m", "serinus.serving.retraining_run",
                               str(asked(tmp_path, "sh", "-c", "touch began; sleep 99"))])
    deadline = time.monotonic() + 20
    while not (tmp_path / "began").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.kill(runner.pid, signal.SIGTERM)
    assert runner.wait(20) == 0
    assert json.loads((tmp_path / "outcome.json").read_text())["exit_code"] == -signal.SIGTERM


def test_who_does_not_listen_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a while; the time-out is told."""
    monkeypatch.setattr("serinus.serving.retraining_run._GRACE_S", 0.2)
    main(asked(tmp_path, "sh", "-c", "trap '' TERM; while true; do sleep 0.1; done", timeout_seconds=0.3))
    outcome = json.loads((tmp_path / "outcome.json").read_text())
    assert (outcome["exit_code"], outcome["timed_out"]) == (-signal.SIGKILL, True)
