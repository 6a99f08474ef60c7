"""`serinus models export` and `import`: a version leaves as a file or into BentoML's store, and comes back."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

from serinus.models import Registry, Trust
from tests.serving.cli.terminal import Terminal

pytestmark = pytest.mark.usefixtures("home")


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """Another home, still empty."""
    return tmp_path / "elsewhere"


@pytest.fixture
def store() -> Iterator[Path]:
    """BentoML's model store of this test run, emptied afterwards."""
    folder = Path(os.environ["BENTOML_HOME"]) / "models"
    yield folder
    for model in folder.glob("*"):
        shutil.rmtree(model)


def test_a_version_travels_as_a_file(cli: Any, home: Path, tmp_path: Path, elsewhere: Path) -> None:
    """What is said at each step is the next step."""
    digest = Registry(home).get("iris", "1").digest
    said = cli("models", "export", "iris:1", tmp_path / "iris.zip")
    assert said.code == 0 and said.out.endswith(f"serinus models import {tmp_path}/iris.zip\n")
    said = cli("models", "import", tmp_path / "iris.zip", "--home", elsewhere)
    assert said.out.startswith("Imported iris:1 as iris:1 (sklearn, 4 fields in, 2 fields out).\n")
    again = cli("models", "import", tmp_path / "iris.zip", "--home", elsewhere)
    assert again.out.startswith("iris:1 is registered already, with the same digest")
    assert "origin  iris:1" in cli("models", "show", "iris", "--home", elsewhere).out
    assert f"not trusted here: serinus models trust {digest}" in cli("models", "show", "iris", "--home", elsewhere).out
    assert f"serinus models trust {digest} --home {elsewhere}" in cli("serve", "iris", "--home", elsewhere).err


def test_an_alias_is_exported_as_what_it_stands_for(cli: Any, tmp_path: Path, elsewhere: Path) -> None:
    """The file knows numbers only; the import may have a name of its own."""
    cli("models", "alias", "iris", "production", "1")
    assert cli("models", "export", "iris:production", tmp_path / "iris.zip", "--json").json["tag"] == "iris:1"
    arrived = cli("models", "import", tmp_path / "iris.zip", "--name", "flower", "--json", "--home", elsewhere).json
    assert (arrived["tag"], arrived["lineage"]["origin"], arrived["aliases"]) == ("flower:1", "iris:1", [])


def test_a_trusted_import_can_be_served(cli: Any, home: Path, tmp_path: Path, elsewhere: Path) -> None:
    """`--trust` with the file's own digest is remembered, another one is not."""
    digest = Registry(home).get("iris", "1").digest
    cli("models", "export", "iris:1", tmp_path / "iris.zip")
    cli("models", "import", tmp_path / "iris.zip", "--home", elsewhere, "--trust", "sha256:" + "0" * 64)
    assert list(Trust(elsewhere)) == []
    cli("models", "import", tmp_path / "iris.zip", "--home", elsewhere, "--trust", digest)
    assert list(Trust(elsewhere)) == [digest]


@pytest.mark.parametrize(("target", "sentence"), [
    ("there.zip", "is there already"), ("absent/iris.zip", "cannot be written"), ("bentoml:other:1", "keeps its tag"),
])
def test_where_nothing_can_be_written_is_told(cli: Any, tmp_path: Path, target: str, sentence: str) -> None:
    """Nothing is overwritten, and no folder made."""
    (tmp_path / "there.zip").write_text("mine")
    said = cli("models", "export", "iris:1", target if ":" in target else tmp_path / target)
    assert (said.code, said.err.count("\n")) == (1, 1) and sentence in said.err
    assert (tmp_path / "there.zip").read_text() == "mine"


@pytest.mark.parametrize(("name", "data", "sentence"), [
    ("absent.zip", None, "no such file"), ("empty.zip", b"", "cannot be read as an exported version"),
    ("text.zip", b"hello", "cannot be read as an exported version"),
    ("other.zip", b"PK\x05\x06" + bytes(18), "holds no manifest.json"), (".", None, "cannot be read"),
])
def test_what_was_not_exported_is_told(cli: Any, tmp_path: Path, name: str, data: bytes | None, sentence: str) -> None:
    """Missing, empty, or of another kind: one sentence."""
    if data is not None:
        (tmp_path / name).write_bytes(data)
    said = cli("models", "import", tmp_path / name)
    assert (said.code, said.err.count("\n")) == (1, 1) and sentence in said.err, said.err


def test_other_libraries_are_told_at_import(cli: Any, home: Path, tmp_path: Path, elsewhere: Path) -> None:
    """One line says what the version was made with and what is here."""
    manifest = home / "models" / "iris" / "1" / "manifest.json"
    document = json.loads(manifest.read_text())
    document["libraries"]["scikit-learn"] = "0.24.1"
    manifest.write_text(json.dumps(document))
    cli("models", "export", "iris:1", tmp_path / "iris.zip")
    said = cli("models", "import", tmp_path / "iris.zip", "--home", elsewhere)
    assert said.code == 0
    assert said.err.startswith("serinus: iris:1 was made with other libraries (scikit-learn 0.24.1, here ")


def test_a_version_goes_through_bentoml(cli: Any, store: Path, elsewhere: Path) -> None:
    """Into BentoML's store under its own tag, and into another home from there."""
    assert cli("models", "export", "iris:2", "bentoml:").out == (
        "Exported iris:2 to BentoML's store: bentoml models get iris:2\n")
    assert (store / "iris" / "2" / "saved_model.pkl").is_file()
    arrived = cli("models", "import", "bentoml:iris:2", "--json", "--home", elsewhere).json
    assert (arrived["tag"], arrived["lineage"]["origin"]) == ("iris:1", "bentoml:iris:2")
    said = cli("models", "import", "bentoml:iris:3", "--home", elsewhere)
    assert said.code == 1 and "BentoML's 'iris' has no version '3'; there are 2." in said.err


def test_bentomls_own_pickle_must_be_trusted(cli: Any, store: Path, home: Path) -> None:
    """It is loaded to learn its signature: refused with the whole command, or asked about at a terminal."""
    import bentoml

    saved = bentoml.sklearn.save_model("flower", LogisticRegression(max_iter=500).fit(*load_iris(return_X_y=True)))
    said = cli("models", "import", f"bentoml:{saved.tag}", "--name", "bloom")
    assert said.code == 1
    command = said.err.partition("run: serinus ")[2].split()
    assert command[:4] == ["models", "import", f"bentoml:{saved.tag}", "--name"]
    terminal = Terminal("models", "import", f"bentoml:{saved.tag}", "--name", "bloom")
    terminal.until("[y/N]")
    terminal.type("y")
    assert terminal.end() == 0
    assert f"Imported bentoml:{saved.tag} as bloom:1" in terminal.said
    assert cli(*command).out.startswith("bloom:1 is registered already")
