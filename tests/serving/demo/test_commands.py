"""The demo runs public commands as a shell would."""

from __future__ import annotations

from pathlib import Path

import pytest
from sklearn.linear_model import LogisticRegression

from serinus.models import register
from serinus.serving.demo.commands import Commands


@pytest.fixture
def shown() -> list[str]:
    return []


@pytest.fixture
def commands(tmp_path: Path, shown: list[str]) -> Commands:
    register(LogisticRegression().fit([[0.0], [1.0]], [0, 1]), "coin", home=tmp_path)
    return Commands(tmp_path, shown.append)


def test_a_command_is_shown_as_it_would_be_typed(commands: Commands, shown: list[str], tmp_path: Path) -> None:
    """Files by their names, the home left out, and with its output and exit code."""
    done = commands.do("models", "show", "coin:1")
    assert (done.code, "coin:1" in done.text) == (0, True)
    commands.do("rollout", "start", "coin:1", "--plan", tmp_path / "none.toml", "--reason", "it is new")
    assert shown == ["serinus models show coin:1",
                     'serinus rollout start coin:1 --plan none.toml --reason "it is new"']


def test_what_is_refused_is_a_sentence_and_a_code(commands: Commands, tmp_path: Path) -> None:
    """No exception comes through."""
    done = commands.do("models", "show", "nobody")
    assert done.code == 1
    assert done.text.startswith("serinus: ")


def test_what_is_asked_comes_as_values(commands: Commands, capsys: pytest.CaptureFixture[str]) -> None:
    """And nothing of it is printed."""
    assert commands.ask("models", "show", "coin:1")["name"] == "coin"
    assert capsys.readouterr().out == ""
