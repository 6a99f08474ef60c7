"""`serinus models recalibrate`: the words, the numbers and the exit codes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sklearn.naive_bayes import GaussianNB

from serinus.models import Registry, register
from tests.serving.test_recalibration import drawn


@pytest.fixture
def rows(tmp_path: Path, home: Path) -> Path:
    """Recent rows, for `churn:1`, a model that is too sure of itself."""
    frame = drawn(0, 1_000)
    register(GaussianNB().fit(frame.drop(columns="churned"), frame["churned"]), "churn", home=home)
    drawn(1, 1_500).to_csv(tmp_path / "recent.csv", index=False)
    return tmp_path / "recent.csv"


def test_it_says_what_changed(cli: Any, home: Path, rows: Path) -> None:
    """What was made of what, by how much probabilities were off and are, and what to do next."""
    said = cli("models", "recalibrate", "churn:1", "--data", rows, "--target", "churned", "--method", "platt")
    assert said.code == 0, said.err
    first, error, loss, following = said.out.splitlines()
    assert first == "churn:2 is registered: churn:1 with platt calibration, fitted to 1,500 rows of recent.csv."
    assert error.startswith("  probabilities are off by  ") and loss.startswith("  Brier score ")
    assert following == "Try it on part of the traffic: serinus rollout start churn:2"
    document = cli("models", "recalibrate", "churn:1", "--data", rows, "--target", "churned", "--json").json
    assert document["parent"] == "churn:1" and document["after"]["brier"] < document["before"]["brier"]


def test_a_refusal_is_one_sentence(cli: Any, home: Path, rows: Path) -> None:
    """Exit code 1, and nothing registered; wrong usage is 2."""
    said = cli("models", "recalibrate", "churn")
    assert (said.code, said.out) == (1, "") and said.err.startswith("serinus: No truth has come for what churn:1")
    assert Registry(home).versions("churn") == ["1"]
    assert cli("models", "recalibrate", "churn", "--method", "magic").code == 2
