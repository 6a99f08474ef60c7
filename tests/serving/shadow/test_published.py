"""What the shadow tells survives it: its mark, its pairs, its deaths."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from serinus.serving.shadow.pairs import PairCounts
from serinus.serving.shadow.published import LOAD, PREDICT, Mark, ShadowFiles

DYING = """
import os, signal, sys
from pathlib import Path
from serinus.serving.shadow.published import PREDICT, Mark
Mark(Path(sys.argv[1])).set(PREDICT, "r" * 32)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_mark_outlives_its_process(tmp_path: Path) -> None:
    """SIGKILL in a call: the mark says in whose."""
    files = ShadowFiles(tmp_path)
    ended = subprocess.run([sys.executable, "-c", DYING, os.fspath(files.mark)], check=False)
    assert ended.returncode == -signal.SIGKILL
    doing = files.doing()
    assert doing is not None
    assert (doing.kind, doing.rollout_id) == (PREDICT, "r" * 32)


def test_a_mark_is_gone_when_its_call_came_back(tmp_path: Path) -> None:
    """And a new process begins without one."""
    files = ShadowFiles(tmp_path)
    assert files.doing() is None
    mark = Mark(files.mark)
    mark.set(LOAD, "r1")
    assert files.doing() is not None
    mark.clear()
    assert files.doing() is None
    mark.set(LOAD, "r1")
    Mark(files.mark)
    assert files.doing() is None


def test_pairs_slices_and_deaths_are_read_back(tmp_path: Path) -> None:
    """By rollout; deaths are counted one by one."""
    files = ShadowFiles(tmp_path)
    assert (files.pairs(), files.slices(), files.deaths()) == ({}, {}, {})
    counts = PairCounts("r1", "wine", "1", "2", ("red",), pairs=3)
    files.publish([counts], {"r1": ("region=north",)})
    assert files.pairs()["r1"].to_json() == counts.to_json()
    assert files.slices() == {"r1": ["region=north"]}
    assert [files.note_death("r1", "wine", "2") for _ in range(2)] == [1, 2]
    assert files.deaths() == {"r1": {"model": "wine", "version": "2", "number": 2}}
