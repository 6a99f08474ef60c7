"""Damage in the registry, other libraries, code that nobody trusts."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression

from serinus.models import Registry, register
from serinus.serving.doctor.check import Check
from serinus.serving.doctor.models import look_at_models
from serinus.serving.home import Home


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A home with two versions of `line`."""
    for slope in (1.0, 2.0):
        rows = np.arange(4.0).reshape(-1, 1)
        register(LinearRegression().fit(rows, slope * rows[:, 0]), "line", home=tmp_path / "home")
    return Home(tmp_path / "home")


def look(home: Home, *, deep: bool = False) -> list[Check]:
    return list(look_at_models(home, deep=deep))


def wrong(home: Home, *, deep: bool = False) -> Check:
    """The one line that is not in order."""
    (found,) = [check for check in look(home, deep=deep) if check.state != "ok"]
    return found


def artifact(home: Home) -> Path:
    (found,) = (home.path / "models" / "line" / "2" / "artifact").iterdir()
    found.chmod(0o600)
    return found


def change_manifest(home: Home, **changes: object) -> None:
    path = home.path / "models" / "line" / "2" / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_whole_versions_are_one_line(home: Home) -> None:
    """And an empty home is in order too."""
    assert [check.state for check in look(home)] == ["ok", "ok"]
    assert look(home)[0].says.startswith("2 versions of 1 model: ")
    assert look(Home(home.path / "other"))[0].says == "None is registered."


def test_a_damaged_manifest_is_a_problem(home: Home) -> None:
    """Where the registry passes over it silently."""
    (home.path / "models" / "line" / "2" / "manifest.json").write_text("{")
    assert Registry(home.path).versions("line") == ["1"]
    assert wrong(home).state == "problem" and str(home.path / "models" / "line" / "2") in wrong(home).says


def test_a_file_cut_short_is_a_problem(home: Home) -> None:
    """By its size, which costs nothing to look at."""
    file = artifact(home)
    file.write_bytes(file.read_bytes()[:-1])
    assert wrong(home).state == "problem" and "line:2: " in wrong(home).says and "bytes, and had" in wrong(home).says


def test_a_file_that_is_gone_is_a_problem(home: Home) -> None:
    """Named by its path."""
    file = artifact(home)
    file.unlink()
    assert wrong(home).says == f"line:2: {file} cannot be read (No such file or directory)."


def test_a_changed_byte_is_found_in_depth(home: Home) -> None:
    """Digests are compared when asked for, since that reads every file."""
    file = artifact(home)
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    assert all(check.state == "ok" for check in look(home))
    assert "its digest differs" in wrong(home, deep=True).says and wrong(home, deep=True).state == "problem"


def test_an_alias_for_nothing_is_a_warning(home: Home) -> None:
    """Its version's folder was removed by hand."""
    Registry(home.path).alias("line", "best", "2")
    (home.path / "models" / "line" / "2").rename(home.path / "elsewhere")
    assert wrong(home).says == "The alias line:best stands for version 2, which is not there."


def test_damaged_aliases_are_a_problem(home: Home) -> None:
    """Somebody edited them."""
    (home.path / "models" / "line" / "aliases.json").write_text("[")
    assert wrong(home).state == "problem" and "aliases.json" in wrong(home).says


def test_other_libraries_are_a_warning(home: Home) -> None:
    """Which, and for which versions."""
    change_manifest(home, libraries={"scikit-learn": "0.1.0"})
    assert wrong(home).state == "warning"
    assert "scikit-learn 0.1.0, here " in wrong(home).says and wrong(home).says.endswith(": line:2.")


def test_code_that_nobody_trusts_is_a_warning(home: Home) -> None:
    """With the command that trusts it."""
    (home.path / "trust.toml").unlink()
    found = [check for check in look(home) if check.state == "warning"]
    digest = Registry(home.path).get("line", "1").digest
    assert [check.subject for check in found] == ["trust", "trust"]
    assert found[0].advice.endswith(f"serinus models trust {digest}")


@pytest.mark.parametrize("text", ["[[trusted]]\n", "no toml"])
def test_a_damaged_trust_list_is_a_problem(home: Home, text: str) -> None:
    """Nothing that runs code can be loaded then."""
    (home.path / "trust.toml").write_text(text)
    assert wrong(home).state == "problem" and wrong(home).subject == "trust"
