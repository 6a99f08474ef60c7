"""`serinus models`: register, list, show, delete."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import joblib
import pytest
from sklearn.datasets import load_iris
from sklearn.tree import DecisionTreeClassifier

pytestmark = pytest.mark.usefixtures("home")


@pytest.fixture
def pickled(tmp_path: Path) -> Path:
    """A fitted tree as a file, and beside it the rows it was trained with."""
    rows, kinds = load_iris(return_X_y=True, as_frame=True)
    rows.assign(kind=kinds).to_csv(tmp_path / "rows.csv", index=False)
    joblib.dump(DecisionTreeClassifier(max_depth=2).fit(rows, kinds), tmp_path / "tree.joblib")
    return tmp_path / "tree.joblib"


def _digest(path: Path) -> str:
    return f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"


def test_a_pickle_is_refused_with_the_command_that_trusts_it(cli: Any, pickled: Path) -> None:
    """The sentence says what, why and how; nothing is asked where no terminal is."""
    said = cli("models", "register", "tree", pickled)
    assert said.code == 1 and said.out == ""
    assert f"serinus models register tree {pickled} --trust {_digest(pickled)}" in said.err


def test_a_trusted_file_becomes_a_version_once(cli: Any, pickled: Path) -> None:
    """The same file again is the same version."""
    words = ("models", "register", "tree", pickled, "--trust", _digest(pickled), "--reference",
             pickled.parent / "rows.csv", "--target", "kind")
    assert cli(*words).out == "Registered tree:1 (sklearn, 4 fields in, 2 fields out).\nServe it: serinus serve tree\n"
    assert cli(*words).out.startswith("tree:1 is registered already, with the same digest")
    assert cli(*words, "--json").json["tag"] == "tree:1"


def test_a_target_needs_a_reference(cli: Any, pickled: Path) -> None:
    """A flag that would do nothing is an error."""
    said = cli("models", "register", "tree", pickled, "--target", "kind")
    assert (said.code, said.err) == (1, "serinus: --target names a column of the reference: give --reference FILE too, "
                                        "or leave it out.\n")


def test_the_list_is_an_aligned_table(cli: Any) -> None:
    """One line for each version, columns below their heads."""
    head, *lines = cli("models", "list").out.splitlines()
    assert head.split() == ["NAME", "VERSION", "ROLE", "ADAPTER", "CREATED", "DIGEST"]
    assert [line[:len("iris  1        -")] for line in lines] == ["iris  1        -", "iris  2        -"]
    assert [version["tag"] for version in cli("models", "list", "--json").json] == ["iris:1", "iris:2"]


def test_an_empty_home_says_what_to_do(cli: Any, tmp_path: Path) -> None:
    """A first look at nothing is no error, and makes nothing."""
    said = cli("models", "list", "--home", tmp_path / "none")
    assert said.code == 0 and "serinus models register NAME PATH" in said.out
    assert not (tmp_path / "none").exists()


def test_show_tells_the_signature(cli: Any) -> None:
    """The newest version where none is named."""
    assert cli("models", "show", "iris").out.startswith("iris:2\n  adapter  sklearn\n  digest   sha256:")
    assert [field["name"] for field in cli("models", "show", "iris:1", "--json").json["signature"]["outputs"]] == [
        "predict", "predict_proba"]


@pytest.mark.parametrize(("tag", "sentence"), [
    ("iris:9", "Model 'iris' has no version '9'; there are 1, 2."),
    ("irs", "No model is named 'irs'"),
    ("Iris", "'Iris' is no model name"),
])
def test_what_is_not_there_is_said_with_what_is(tag: str, sentence: str, cli: Any) -> None:
    """Names and versions are never guessed."""
    said = cli("models", "show", tag)
    assert said.code == 1 and sentence in said.err and "Traceback" not in said.err


def test_a_version_in_use_is_not_deleted(cli: Any) -> None:
    """Stable, candidate and the version a rollback returns to stay; what does nothing goes, for good."""
    cli("rollout", "start", "iris:2", "--steps", "100")
    assert "iris:1 is stable" in cli("models", "delete", "iris:1").err
    assert "iris:2 is candidate" in cli("models", "delete", "iris:2").err
    cli("rollout", "promote", "iris")
    assert "iris:1 is previous" in cli("models", "delete", "iris:1").err
    cli("rollback", "iris")
    assert cli("models", "delete", "iris:2").out == "Deleted iris:2.\n"
    assert cli("models", "delete", "iris:2").code == 1


def test_delete_wants_a_version(cli: Any) -> None:
    """A name alone deletes nothing."""
    assert "Which version of 'iris'? There are 1, 2" in cli("models", "delete", "iris").err
