"""`serinus serve`: what it is told to serve is found, registered, trusted and named before anything starts."""

from __future__ import annotations

import hashlib
import socket
from pathlib import Path
from typing import Any

import joblib
import pytest
from sklearn.datasets import load_iris
from sklearn.tree import DecisionTreeClassifier

from serinus.models import Registry, Trust
from tests.serving.cli.terminal import Terminal

pytestmark = pytest.mark.usefixtures("home")


@pytest.fixture
def pickled(tmp_path: Path) -> Path:
    """A fitted tree as a file."""
    joblib.dump(DecisionTreeClassifier(max_depth=2).fit(*load_iris(return_X_y=True)), tmp_path / "tree.joblib")
    return tmp_path / "tree.joblib"


def _digest(path: Path) -> str:
    return f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"


@pytest.mark.parametrize(("words", "code", "sentence"), [
    (("irs",), 1, "No model is named 'irs' in"),
    (("iris:9",), 1, "no version '9'"),
    (("iris:production",), 1, "no alias 'production'; there are 1, 2."),
    (("absent.joblib",), 1, "absent.joblib: no such file or folder."),
    (("./absent",), 1, "absent: no such file or folder."),
    (("iris:1", "iris:2"), 1, "iris:1 and iris:2 are versions of one model"),
    (("iris", "--name", "x"), 2, "--name is for one PATH, got none"),
    (("a.onnx", "b.onnx", "--name", "x"), 2, "--name is for one PATH, got a.onnx, b.onnx"),
    (("a.onnx", "b.onnx", "--reference", "x.csv"), 2, "--reference is for one PATH"),
    (("a.onnx", "--target", "x"), 1, "no such file"),
])
def test_what_cannot_be_served_is_told(cli: Any, words: tuple[str, ...], code: int, sentence: str) -> None:
    """Nothing starts; one sentence says what there is."""
    said = cli("serve", *words)
    assert said.code == code and sentence in said.err and "Traceback" not in said.err, said.err


def test_a_target_needs_a_reference(cli: Any, pickled: Path) -> None:
    """A flag that would do nothing is an error here too."""
    assert "give --reference FILE too" in cli("serve", pickled, "--target", "kind", "--trust", _digest(pickled)).err


def test_a_reference_sharpens_what_is_served(cli: Any, pickled: Path, home: Path) -> None:
    """As with `register`. The port is taken, so that the command ends as soon as it would start the server."""
    rows, kinds = load_iris(return_X_y=True, as_frame=True)
    joblib.dump(DecisionTreeClassifier(max_depth=2).fit(rows.astype("float32"), kinds), pickled)
    rows.astype("float32").assign(kind=kinds).to_parquet(pickled.parent / "rows.parquet")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        said = cli("serve", pickled, "--trust", _digest(pickled), "--reference", pickled.parent / "rows.parquet",
                   "--target", "kind", "--port", taken.getsockname()[1])
    assert said.code == 1 and "Cannot listen on" in said.err
    assert [field.datatype for field in Registry(home).get("tree", "1").signature.inputs] == ["FP32"] * 4


def test_a_pickle_is_refused_where_nobody_can_be_asked(cli: Any, pickled: Path) -> None:
    """The sentence has digest and command."""
    said = cli("serve", pickled)
    assert said.code == 1 and f"serinus models register tree {pickled} --trust {_digest(pickled)}" in said.err


def test_a_registered_pickle_that_is_not_trusted_is_refused_at_the_door(cli: Any, home: Path) -> None:
    """An imported version is told here, with the command that trusts it, not by a server that is never ready."""
    (home / "trust.toml").unlink()
    said = cli("serve", "iris")
    digest = Registry(home).get("iris", "1").digest
    assert said.code == 1 and f"run: serinus models trust {digest}\n" in said.err


def test_paths_and_aliases_are_served_together(cli: Any, pickled: Path, home: Path) -> None:
    """A pickle is asked about once and registered; an alias is the number that it stands for now."""
    cli("models", "alias", "iris", "production", "2")
    terminal = Terminal("serve", pickled, "iris:production", "--port", "0", "--workers", "1")
    terminal.until("[y/N]")
    terminal.type("y")
    terminal.until("Try:")
    assert "tree: version 1 is stable" in terminal.said and "iris: version 2 is stable" in terminal.said
    terminal.interrupt()
    assert terminal.end() == 0, terminal.said
    assert _digest(pickled) in Trust(home)
