"""`serinus rollback`: with workers, with none, and with the store gone."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from serinus.serving.home import Home
from serinus.serving.veto import read_vetoes
from tests.serving.cli.conftest import FakeWorker


@pytest.fixture
def promoted(cli: Any, home: Path) -> Path:
    """A home in which version 2 became stable."""
    cli("rollout", "start", "iris:2", "--manual", "--steps", "100")
    cli("rollout", "promote", "iris")
    return home


def test_it_says_who_obeyed_and_when(cli: Any, promoted: Path, worker: FakeWorker) -> None:
    """Milliseconds, by process."""
    said = cli("rollback", "iris", "--reason", "complaints")
    assert said.code == 0
    assert re.fullmatch(r"iris: version 1 answers again in 1 of 1 workers after \d+ ms\.\n"
                        r"  Process \d+ obeyed after \d+ ms\.\n", said.out)
    veto = read_vetoes(Home(promoted).vetoes).by_model["iris"]
    assert (veto.version, veto.stable, veto.reason) == ("2", "1", "complaints")


def test_a_worker_that_does_not_obey_is_exit_code_3(cli: Any, promoted: Path) -> None:
    """The answer names the process."""
    with FakeWorker(promoted, deaf=True):
        said = cli("rollback", "iris")
    assert said.code == 3
    assert "in 0 of 1 workers" in said.out and "has not obeyed yet" in said.out


def test_without_a_server_the_store_is_told_at_once(cli: Any, promoted: Path) -> None:
    """No veto is left, and the record is at rest: a new rollout may begin."""
    said = cli("rollback", "iris", "--json")
    assert (said.code, said.json["stable"], said.json["workers"], said.json["remark"]) == (0, "1", [], None)
    assert read_vetoes(Home(promoted).vetoes).by_model == {}
    assert cli("rollout", "status", "iris", "--json").json["record"]["phase"] == "rolled_back"


def test_with_the_store_gone_the_veto_stands(cli: Any, promoted: Path) -> None:
    """The last-known-good snapshot is all it needs."""
    for path in promoted.glob("store.db*"):
        path.unlink()
    said = cli("rollback", "iris")
    assert said.code == 0
    assert "The store is out of reach, so the rollback stands as a veto on this host" in said.out
    assert read_vetoes(Home(promoted).vetoes).by_model["iris"].stable == "1"
    assert not (promoted / "store.db").exists()


def test_without_a_snapshot_the_store_is_used(cli: Any, promoted: Path) -> None:
    """A home that no server of this host ever served from."""
    (promoted / "run" / "snapshot.json").unlink()
    said = cli("rollback", "iris")
    assert (said.code, said.out) == (0, f"iris: version 1 will answer; no server runs on home {promoted} now.\n")


def test_twice_goes_back_once(cli: Any, promoted: Path) -> None:
    """A nervous second call does not bring the bad version back."""
    cli("rollback", "iris")
    said = cli("rollback", "iris")
    assert (said.code, said.out) == (1, "")
    assert "Stable 1 of model 'iris' answers already" in said.err


@pytest.mark.parametrize(("words", "sentence"), [
    (("nobody",), "No model is named 'nobody'"),
    (("iris", "--to", "7"), "not kept loaded"),
    (("iris:1",), "expected a model's name without a version"),
])
def test_a_refusal_is_one_sentence(words: tuple[str, ...], sentence: str, cli: Any, promoted: Path) -> None:
    """What, and what to do instead."""
    said = cli("rollback", *words)
    assert said.code in (1, 2) and sentence in said.err and "Traceback" not in said.err


def test_a_model_without_history_has_nothing_to_go_back_to(cli: Any, home: Path) -> None:
    """Exit code 1: nothing to roll back."""
    said = cli("rollback", "iris")
    assert said.code == 1 and "iris" in said.err
