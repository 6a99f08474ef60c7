"""`serinus monitor retrain`: what would be done is said, and done when a person asks."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from serinus.monitors.alerts import AlertPolicy, Condition
from serinus.serving.alerting import change_book, waiting
from serinus.serving.home import Home
from serinus.serving.rollout import controller
from serinus.serving.store import SqliteStore
from tests.serving.cli.conftest import Cli

MISSING = Condition("iris", "1", "drift", "act", True, "petal width is missing in 40 % of the rows.",
                    {"pattern": "missing"}, ("petal width",))


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "serinus.toml"
    path.write_text(f'[retraining]\nenabled = true\ncommand = ["{sys.executable}", "-c", "open(\'done\', \'w\')"]\n')
    return path


@pytest.fixture
def store(home: Path) -> SqliteStore:
    made = SqliteStore(Home(home).store, create=True)
    controller.set_stable(made, "iris", "1", "d1", "ana", now=time.time())
    return made


def test_a_dry_run_says_what_and_why(cli: Cli, store: SqliteStore, config: Path, home: Path) -> None:
    """And starts nothing."""
    assert cli("monitor", "retrain", "iris", "--dry-run", "--config", config).out == (
        "iris:1  recommended: none\nA server would start nothing now. Nothing asks for it.\n")
    change_book(store, lambda book: book.evaluate([MISSING], time.time(), AlertPolicy(for_seconds=0)))
    said = cli("monitor", "retrain", "iris", "--dry-run", "--config", config)
    assert said.out == (
        "iris:1  recommended: fix pipeline\n"
        "  The data is broken: petal width is missing in 40 % of the rows. Mend what delivers it; a model trained on "
        "it would learn the fault.\n"
        "A server would start nothing now. The recommended action is to fix the pipeline, which a person does.\n")
    found = cli("monitor", "retrain", "iris", "--dry-run", "--json", "--config", config).json
    assert (found["recommendation"]["action"], found["decision"]["start"]) == ("fix pipeline", False)
    assert not (home / "retraining").exists()


def test_a_person_starts_it(cli: Cli, store: SqliteStore, config: Path, home: Path) -> None:
    """Whatever the monitors say; not twice at once; its name stands in the journal."""
    said = cli("monitor", "retrain", "iris", "--config", config, "--actor", "ana")
    (folder,) = (home / "retraining" / "iris").iterdir()
    assert said.out == f"Started in {folder}; its output goes to output.log.\n"
    assert store.journal("iris")[-1].reason == "ana asked for it."
    deadline = time.monotonic() + 30
    while not (folder / "outcome.json").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert (folder / "done").exists()


def test_one_at_a_time(cli: Cli, store: SqliteStore, tmp_path: Path) -> None:
    """The one under way is named."""
    path = tmp_path / "serinus.toml"
    path.write_text('[retraining]\ncommand = ["sleep", "5"]\n')
    assert cli("monitor", "retrain", "iris", "--config", path).code == 0
    said = cli("monitor", "retrain", "iris", "--config", path)
    assert said.code == 1 and "One is under way in " in said.err


def test_a_message_instead(cli: Cli, store: SqliteStore, tmp_path: Path) -> None:
    """By the notifier of the settings."""
    path = tmp_path / "serinus.toml"
    path.write_text('[alerts.notifiers.ops]\nkind = "slack"\nurl = "http://h/"\n[retraining]\nnotifier = "ops"\n')
    assert cli("monitor", "retrain", "iris", "--config", path).out == "The message to ops is on its way.\n"
    assert [message.notifier for message, _ in waiting(store)] == ["ops"]


def test_what_cannot_be_started(cli: Cli, store: SqliteStore, tmp_path: Path) -> None:
    """No such model; nothing that could be started."""
    assert "nothing" in cli("monitor", "retrain", "iris").err.lower()
    said = cli("monitor", "retrain", "beer")
    assert said.code == 1 and "beer" in said.err
