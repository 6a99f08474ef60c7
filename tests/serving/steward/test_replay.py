"""Replays: what stable answered last is tried by the candidate in a process of its own, whatever it does to it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from sklearn.dummy import DummyClassifier

from serinus.models import register
from serinus.monitors.record import PredictionRecord
from serinus.serving.home import Home, RunFolder
from serinus.serving.ids import IdSource
from serinus.serving.prediction_log import SegmentWriter
from serinus.serving.settings import Settings
from serinus.serving.steward.replay import Replay, replay


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two versions of `wine`, a run folder, and 30 logged requests that version 1 answered with "red"."""
    for answer in ("red", "white"):
        register(DummyClassifier(strategy="constant", constant=answer).fit([[0.0], [1.0]], ["red", "white"]), "wine",
                 home=tmp_path)
    run = RunFolder(tmp_path / "run" / "server-1")
    run.claim(os.getpid())
    run.settings.write_text(Settings(home=tmp_path).model_dump_json())
    monkeypatch.setenv("SERINUS_SETTINGS", str(run.settings))
    log(tmp_path, 30)
    return tmp_path


def log(home: Path, number: int, version: str = "1", role: str = "stable") -> None:
    ids = IdSource()
    writer = SegmentWriter(Home(home).log, ids.writer, 1 << 20)
    for index in range(number):
        uuid, name = ids.next(time.time_ns())
        writer.append(PredictionRecord(
            uuid, name, 1, 1, "wine", version, role, 1, {"input": np.array([[float(index)]])},
            {"predict": np.array(["red"]), "predict_proba": np.array([[1.0, 0.0]])}, 0, 0, 0), ids.sequence - 1)
    writer.close()


def ended(home: Path, candidate: str = "2") -> Replay:
    found = Replay.begin(RunFolder(home / "run" / "server-1"), "wine", "1", candidate)
    until = time.monotonic() + 60
    while not found.done:
        assert time.monotonic() < until
        time.sleep(0.05)
    return found


def test_what_stable_answered_is_answered_again(home: Path) -> None:
    """Only what it answered as stable; how many answers differ is said, and decides nothing."""
    log(home, 5, version="2", role="candidate")
    found = ended(home)
    assert found.problem == ""
    assert (found.document["requests"], found.document["compared"]) == (30, 30)
    assert found.document["differs"] == 30
    assert "30 logged requests were answered again without an error, 30 of 30 with another class" in found.report


def test_an_error_turns_the_candidate_away(home: Path) -> None:
    """With the first one's text: here the version takes other inputs than were logged."""
    register(DummyClassifier().fit([[0.0, 1.0], [1.0, 2.0]], ["red", "white"]), "wine", home=home)
    found = replay(Settings(home=home), "wine", "1", "3")
    assert (found["requests"], found["failed"]) == (30, 30)
    problem = ended(home, "3").problem
    assert "wine:3 failed on 30 of 30 logged requests that version 1 has answered" in problem


def test_nothing_logged_is_said(tmp_path: Path) -> None:
    """And is no problem."""
    register(DummyClassifier().fit([[0.0], [1.0]], ["red", "white"]), "wine", home=tmp_path)
    assert "Nothing was logged" in replay(Settings(home=tmp_path), "wine", "1", "1")["why_not"]


def _ran(code: str) -> Replay:
    found = Replay(subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE), "wine:2")
    until = time.monotonic() + 30
    while not found.done:
        assert time.monotonic() < until
        time.sleep(0.02)
    return found


def test_a_death_or_a_failure_of_the_process_turns_it_away() -> None:
    """Better here than in a worker."""
    assert "SIGSEGV" in _ran("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)").problem
    assert "could not be tried" in _ran("raise SystemExit(3)").problem
    assert "could not be tried" in _ran("pass").problem


def test_one_that_does_not_end_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """After its time, or when nobody waits for it any more."""
    monkeypatch.setattr("serinus.serving.steward.replay._LIMIT_S", 0.2)
    assert "did not end its replay" in _ran("import time; time.sleep(60)").problem
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], stdout=subprocess.PIPE)
    left = Replay(process, "wine:2")
    left.end()
    left.end()
    assert process.returncode is not None
