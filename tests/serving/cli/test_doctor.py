"""`serinus doctor`: lines for people, JSON for programs, an exit code for scripts."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)  # no serinus.toml here


def test_a_home_in_order_exits_with_0(cli: Any, home: Path) -> None:
    """A line for each thing; warnings do not change the exit code."""
    (home / "trust.toml").unlink()
    said = cli("doctor")
    assert said.code == 0 and said.err == ""
    subjects = {line.split()[1] for line in said.out.splitlines()}
    assert {"python", "port", "home", "models", "store", "traces"} <= subjects
    assert any(line.startswith("warning  trust") for line in said.out.splitlines())
    assert not any(line.startswith("problem") for line in said.out.splitlines())


def test_a_problem_exits_with_1(cli: Any, home: Path) -> None:
    """Whatever else is in order."""
    (home / "models" / "iris" / "2" / "manifest.json").write_text("{")
    said = cli("doctor", "--no-load", "--json")
    assert said.code == 1 and said.json["state"] == "problem"
    (found,) = [check for check in said.json["checks"] if check["state"] == "problem"]
    assert found["subject"] == "models" and found["advice"]


def test_wrong_usage_exits_with_2(cli: Any) -> None:
    """As everywhere."""
    assert cli("doctor", "--depe").code == 2


def test_the_home_is_the_one_a_server_would_take(cli: Any, home: Path, tmp_path: Path,
                                                 monkeypatch: pytest.MonkeyPatch) -> None:
    """That of the settings file, unless a flag names another."""
    (tmp_path / "mine.toml").write_text(f"home = '{tmp_path / 'other'}'\n")
    monkeypatch.delenv("SERINUS_HOME")
    assert f"{tmp_path / 'other'} does not exist yet." in cli("doctor", "--no-load", "--config", "mine.toml").out
    assert f"{home} is there" in cli("doctor", "--no-load", "--config", "mine.toml", "--home", home).out


def test_in_depth_digests_are_compared(cli: Any, home: Path) -> None:
    """A byte that changed is a problem only then."""
    (artifact,) = (home / "models" / "iris" / "2" / "artifact").iterdir()
    data = bytearray(artifact.read_bytes())
    data[len(data) // 2] ^= 1
    artifact.chmod(0o600)
    artifact.write_bytes(data)
    assert cli("doctor", "--no-load").code == 0
    assert cli("doctor", "--no-load", "--deep").code == 1


def test_it_needs_no_heavy_library(checkout: Path, tmp_path: Path) -> None:
    """What is in order is known without loading what it is about."""
    look = ("import sys; from serinus.serving.doctor import examine; list(examine()); "
            "print([name for name in ('sklearn', 'pandas', 'onnxruntime', 'bentoml') if name in sys.modules])")
    done = subprocess.run([sys.executable, "-c", look], cwd=tmp_path, text=True, capture_output=True, timeout=60,
                          env={**os.environ, "PYTHONPATH": str(checkout)}, check=False)
    assert (done.stdout, done.stderr) == ("[]\n", "")
