"""`serinus models expectations`: learnt at registration, shown to people, exchanged as JSON and with pandera."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from serinus.models import Registry, Trust
from serinus.models.loading import measured_digest

pytestmark = pytest.mark.usefixtures("home")


@pytest.fixture
def words(home: Path, tmp_path: Path) -> list[Any]:
    """What registers a model with its reference, but for the command."""
    rng = np.random.default_rng(2)
    frame = pd.DataFrame({"age": rng.uniform(20, 80, 200), "city": rng.choice(["Bern", "Chur"], 200),
                          "contact": [f"u{i}@example.org" for i in range(200)]})  # fmt: skip
    encoded = make_column_transformer((OneHotEncoder(handle_unknown="ignore"), ["city", "contact"]),
                                      remainder="passthrough")  # fmt: skip
    fitted = make_pipeline(encoded, LinearRegression()).fit(frame, frame["age"])
    joblib.dump(fitted, tmp_path / "model.joblib")
    frame.assign(paid=frame["age"]).to_csv(tmp_path / "rows.csv", index=False)
    Trust(home).remember(measured_digest(tmp_path / "model.joblib"), "test")
    return [tmp_path / "model.joblib", "--reference", tmp_path / "rows.csv", "--target", "paid"]


def test_registration_learns_and_names_what_is_personal(cli: Any, words: list[Any]) -> None:
    """And `show` sums it up."""
    said = cli("models", "register", "people", *words)
    assert said.code == 0
    assert "Personal: contact: it seems personal (e-mail address, by its values), so it is hashed" in said.out
    assert "expectations  of 3 features, learnt from 200 rows; personal: contact" in cli("models", "show", "people").out


def test_a_person_can_read_them(cli: Any, words: list[Any]) -> None:
    """A line for each feature, and a sentence for what is not checked."""
    cli("models", "register", "people", *words)
    head, *lines = cli("models", "expectations", "people").out.splitlines()
    assert head.split() == ["NAME", "EXPECTED", "OTHERWISE"]
    assert any(line.split()[0] == "age" and "usually" in line for line in lines)
    assert any(line.split()[0] == "city" and "one of 2 categories" in line for line in lines)
    assert any(line.startswith("contact: it seems personal") for line in lines)


def test_they_can_be_taken_to_another_home(cli: Any, words: list[Any], tmp_path: Path) -> None:
    """What `--json` prints and what `--pandera` writes, `register --expectations` takes."""
    cli("models", "register", "people", *words)
    printed = cli("models", "expectations", "people", "--json")
    (tmp_path / "own.json").write_text(printed.out)
    assert "Wrote the expectations of people:1" in cli("models", "expectations", "people", "--pandera",
                                                       tmp_path / "own.yaml").out  # fmt: skip
    for name in ("own.json", "own.yaml"):
        other = tmp_path / f"home-{name}"
        Trust(other).remember(measured_digest(words[0]), "test")
        said = cli("models", "register", "people", words[0], "--home", other, "--expectations", tmp_path / name,
                   *words[1:])  # fmt: skip
        assert said.code == 0, said.err
        assert cli("models", "expectations", "people", "--home", other, "--json").json == printed.json


def test_a_file_that_is_none_is_told(cli: Any, words: list[Any], tmp_path: Path) -> None:
    """By name."""
    (tmp_path / "bad.json").write_text("{}")
    for name, said in (("bad.json", "format None"), ("none.json", "no such file")):
        answer = cli("models", "register", "people", *words, "--expectations", tmp_path / name)
        assert answer.code == 1 and said in answer.err and name in answer.err


def test_a_version_without_any_says_how_to_get_some(cli: Any) -> None:
    """As a sentence."""
    said = cli("models", "expectations", "iris:1")
    assert said.code == 0 and "Nothing is expected of the values of iris:1: register it with --reference" in said.out


def test_damage_is_told_and_hides_no_version(cli: Any, words: list[Any], home: Path) -> None:
    """`show` still shows, and says what is wrong."""
    cli("models", "register", "people", *words)
    path = Registry(home).get("people", "1").path / "expectations.json"
    path.chmod(0o600)
    path.write_text(json.dumps({}))
    said = cli("models", "show", "people")
    assert said.code == 0 and "changed after it was attached" in said.err
    assert cli("models", "expectations", "people").code == 1
