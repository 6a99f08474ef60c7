"""`serinus bento build`: chosen versions, named by number, alias, or as the stable one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from serinus.models import Registry

pytestmark = pytest.mark.usefixtures("home")


@pytest.mark.parametrize(("tag", "sentence"), [
    ("iris:9", "no version '9'"), ("iris:staging", "no alias 'staging'"), ("absent", "No model is named 'absent'"),
])
def test_what_is_not_there_is_not_built(cli: Any, tag: str, sentence: str) -> None:
    """Before anything is built."""
    said = cli("bento", "build", tag)
    assert said.code == 1 and sentence in said.err


def test_an_alias_is_built_as_what_it_stands_for(cli: Any, home: Path) -> None:
    """The Bento is pinned: moving the alias later changes nothing in it."""
    cli("models", "alias", "iris", "production", "2")
    built = cli("bento", "build", "iris:production", "--json").json
    assert built["versions"] == {"iris:2": Registry(home).get("iris", "2").digest}
    held = Path(built["path"]) / "src" / "bundle" / "models" / "iris"
    assert [entry.name for entry in held.iterdir()] == ["2"]
