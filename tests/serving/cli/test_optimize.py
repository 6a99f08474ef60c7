"""`serinus models optimize`: the words, the numbers and the exit codes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sklearn.datasets import load_iris
from sklearn.ensemble import HistGradientBoostingClassifier

from serinus.models import Registry, register


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """The iris data with their kinds, as a CSV file."""
    file = tmp_path / "rows.csv"
    load_iris(as_frame=True).frame.to_csv(file, index=False)
    return file


def test_a_version_becomes_a_graph(cli: Any, home: Path, rows: Path) -> None:
    """What was done, how the answers compare, how fast it is, and what to do next: a line each."""
    said = cli("models", "optimize", "iris:1", "--data", rows, "--target", "target")
    assert said.code == 0, said.err
    first, answers, one, many, following = said.out.splitlines()
    assert first == "iris:3 is registered: iris:1 as ONNX in single precision."
    assert answers.startswith("  answers  0 of 150 labels changed, predict_proba differs by at most ")
    assert one.startswith("  speed    1 row: ") and many.startswith("  speed    64 rows: ")
    assert following == "Try it on part of the traffic: serinus rollout start iris:3"
    assert Registry(home).get("iris").lineage.parent == "iris:1"
    again = cli("models", "optimize", "iris:1", "--data", rows)
    assert again.out.startswith("iris:3 is registered already: iris:1 as ONNX")


def test_json_has_every_number(cli: Any, home: Path, rows: Path) -> None:
    """The document is the attachment's, with the tag and whether it is new."""
    document = cli("models", "optimize", "iris", "--data", rows, "--json").json
    assert (document["tag"], document["parent"], document["new"]) == ("iris:3", "iris:2", True)
    assert document["parity"]["changed_labels"] == 0
    assert {speed["rows"] for speed in document["speed"]} == {1, 64}
    assert all(speed["low"] <= speed["ratio"] <= speed["high"] for speed in document["speed"])


def test_what_cannot_be_done_is_one_sentence(cli: Any, home: Path, rows: Path) -> None:
    """A model that does not convert, one whose answers are too far apart, and data that are no table: exit code 1."""
    features, kinds = load_iris(return_X_y=True, as_frame=True)
    register(HistGradientBoostingClassifier(max_iter=3).fit(features, kinds), "boosted", home=home)
    for words, sentence in (
        (("boosted",), "serinus: boosted:1 cannot be converted to ONNX and stays as it is: skl2onnx "),
        (("iris", "--tolerance", "0"), "serinus: iris:2 stays as it is, and nothing was registered: ONNX in single"),
        (("iris:9",), "serinus: Model 'iris' has no version '9'"),
    ):
        said = cli("models", "optimize", *words, "--data", rows)
        assert (said.code, said.out) == (1, "") and said.err.startswith(sentence), said.err
        assert said.err.count("\n") == 1
    assert Registry(home).versions("iris") == ["1", "2"]
    assert cli("models", "optimize", "iris").code == 2
