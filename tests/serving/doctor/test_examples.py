"""Models are loaded and asked what they were asked at registration, in a process that may die of them."""

from __future__ import annotations

from pathlib import Path

import joblib
import numpy as np
import orjson
import pytest
from sklearn.linear_model import LinearRegression

from serinus.models import Registry, register
from serinus.models.checks import CHECK
from serinus.serving.doctor.check import Check
from serinus.serving.doctor.examples import look_at_examples, tried
from serinus.serving.home import Home
from serinus.serving.settings import ServerSettings, Settings


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home with two versions of `line`."""
    for slope in (1.0, 2.0):
        rows = np.arange(4.0).reshape(-1, 1)
        register(LinearRegression().fit(rows, slope * rows[:, 0]), "line", home=tmp_path / "home")
    return tmp_path / "home"


def look(home: Path, *models: str, deep: bool = False) -> list[Check]:
    return list(look_at_examples(Settings(home=home, server=ServerSettings(models=models)), Home(home), deep=deep))


def test_what_a_server_would_load_is_tried(home: Path) -> None:
    """Before any server ran, the first version."""
    (found,) = look(home)
    assert found.state == "ok" and found.says.startswith("line:1 loads in ")
    assert found.says.endswith(" and answers its own example as it did when it was registered.")


def test_other_answers_are_a_problem(home: Path) -> None:
    """By how much they differ."""
    path = home / "models" / "line" / "1" / CHECK
    document = orjson.loads(path.read_bytes())
    path.chmod(0o600)
    document["outputs"]["predict"]["data"][0] += 1.0
    path.write_bytes(orjson.dumps(document))
    found = tried(Registry(home), "line:1")
    assert found.state == "problem" and "does not answer its own example as it did" in found.says and found.advice


def test_damage_is_a_problem_in_the_models_own_sentence(home: Path) -> None:
    """As a worker would say it."""
    (artifact,) = (home / "models" / "line" / "1" / "artifact").iterdir()
    artifact.chmod(0o600)
    artifact.write_bytes(b"not a model")
    found = tried(Registry(home), "line:1")
    assert found.state == "problem" and found.says.startswith("line:1 cannot be loaded: The files of line:1")


def test_a_version_without_an_example_answers_a_made_up_row(home: Path) -> None:
    """Those registered long ago keep none."""
    (home / "models" / "line" / "1" / CHECK).unlink()
    assert "answers a made-up row; it keeps no example of its own" in tried(Registry(home), "line:1").says


def test_what_is_not_trusted_is_not_loaded(home: Path) -> None:
    """It would run code; that it is not served is told under trust."""
    joblib.dump(LinearRegression().fit([[0.0], [1.0]], [0.0, 1.0]), home / "x.joblib")
    (home / "trust.toml").unlink()
    runs_code = [version for version in ("1", "2") if tried(Registry(home), f"line:{version}").says == "left out"]
    assert runs_code == ["1", "2"]
    assert look(home, deep=True) == []


def test_a_process_that_dies_is_a_problem_of_the_version_that_it_tried(home: Path) -> None:
    """The others are not judged by it; in depth all are tried."""
    manifest = home / "models" / "line" / "1" / CHECK
    manifest.chmod(0o600)
    manifest.write_bytes(b"{")  # what nobody foresaw
    first, second = look(home, deep=True)
    assert first.state == "problem" and first.says.startswith("line:1 cannot be tried: the process died with code 1 (")
    assert second.says == "1 version after it were not tried."


def test_a_model_that_is_not_there_is_a_problem(home: Path) -> None:
    """The settings name it, and a server would not start."""
    (found,) = look(home, "lines")
    assert found.state == "problem" and "lines" in found.says
