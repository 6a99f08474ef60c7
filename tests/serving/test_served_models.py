"""What a server serves: all that is registered, or what was asked for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression

from serinus.models import VersionNotFound, register
from serinus.serving.served_models import open_registry, served
from serinus.serving.settings import Settings


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Two models, one of them with two versions."""
    for name, slope in (("line", 1.0), ("line", 2.0), ("other", 3.0)):
        register(LinearRegression().fit(np.arange(3.0).reshape(-1, 1), slope * np.arange(3.0)), name, home=tmp_path)
    return tmp_path


def _served(home: Path, *tags: str) -> dict[str, str | None]:
    settings = Settings.resolve(flags={"home": home, "server.models": list(tags)})
    return served(settings, open_registry(settings))


def test_without_a_wish_everything_is_served(home: Path) -> None:
    """No version is asked for: the rollout records say which one answers."""
    assert _served(home) == {"line": None, "other": None}


def test_tags_name_what_is_served(home: Path) -> None:
    """A name alone asks for no version."""
    assert _served(home, "line:1", "other") == {"line": "1", "other": None}


def test_an_alias_is_looked_up_once_in_a_process(home: Path) -> None:
    """A restart follows a moved alias, a running server does not: only a rollout moves traffic."""
    registry = open_registry(Settings(home=home))
    registry.alias("line", "production", "1")
    assert _served(home, "line:production") == {"line": "1"}
    registry.alias("line", "production", "2")
    assert _served(home, "line:production") == {"line": "1"}
    with pytest.raises(VersionNotFound, match=r"there are 1, 2, production \(2\)"):
        _served(home, "line:staging")
