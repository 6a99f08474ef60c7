"""All looks together, where each thing is out of order or out of reach."""

from __future__ import annotations

from pathlib import Path

import pytest

from serinus.serving.doctor import examine
from tests.serving.doctor.privileges import without_privileges


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")  # no serinus.toml here


def test_everything_is_looked_at(tmp_path: Path) -> None:
    """In this order, and nothing is made."""
    subjects = [check.subject for check in examine(home=tmp_path / "home")]
    assert list(dict.fromkeys(subjects)) == [
        "python", "libraries", "event loop", "settings", "port", "home", "disk", "log", "models", "trust", "store",
        "traces", "metrics", "logs", "sampler", "propagators", "alerts", "servers"]
    assert not (tmp_path / "home").exists()


def test_what_cannot_be_entered_is_a_problem_each(tmp_path: Path) -> None:
    """Told by itself; collectors and libraries are looked at all the same."""
    home = tmp_path / "home"
    (home / "log" / "segments").mkdir(parents=True)
    list(examine(home=home))  # imports what it needs: nobody may not be able to read this checkout either
    tmp_path.chmod(0)
    with without_privileges():
        found = list(examine(home=home))
    tmp_path.chmod(0o700)
    problems = [check for check in found if check.state == "problem"]
    assert [check.subject for check in problems] == ["home", "log", "models", "examples", "store", "alerts", "servers"]
    assert all("cannot be looked at: Permission denied" in check.says for check in problems)
    assert {"traces", "libraries"} <= {check.subject for check in found}
