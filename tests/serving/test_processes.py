"""The processes of a server start each other, and not more than are wanted."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from serinus.serving import processes
from serinus.serving.home import RunFolder
from serinus.serving.processes import ensure_steward


def test_one_steward_is_on_its_way_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that looks again before its steward has the lock waits for it; it starts another when that one died."""
    monkeypatch.delenv("SERINUS_PARENT", raising=False)
    run = RunFolder(tmp_path / "server-1")
    run.claim(os.getpid())
    for _ in range(2):
        for _ in range(5):
            ensure_steward(run)
        (steward,) = processes._own
        assert steward.poll() is None
        steward.kill()
        steward.wait()
    processes._own.clear()
