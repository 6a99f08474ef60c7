"""What was loaded and unloaded by hand goes before what the settings say, for as long as the server lives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import orjson
import pytest
from sklearn.dummy import DummyRegressor

from serinus.models import register
from serinus.models.registry import Registry
from serinus.serving.errors import SerinusError
from serinus.serving.served_models import served
from serinus.serving.settings import ServerSettings, Settings
from serinus.serving.wishes import Wish, Wishes, make_wish, read_wishes

WISHES = "wishes.json"


def test_no_file_is_no_wish(tmp_path: Path) -> None:
    """As before anybody asked."""
    assert read_wishes(tmp_path / WISHES) == Wishes(0, {})


def test_every_wish_counts_on(tmp_path: Path) -> None:
    """One that says the same again too: it is a call to try again."""
    path = tmp_path / WISHES
    assert [make_wish(path, "iris", load=True), make_wish(path, "iris", load=True)] == [1, 2]
    assert make_wish(path, "wine", load=False) == 3
    assert read_wishes(path) == Wishes(3, {"iris": Wish(True, (), 2), "wine": Wish(False, (), 3)})


def test_versions_come_and_go_alone(tmp_path: Path) -> None:
    """Letting one go says nothing of the model; unloading the model forgets them."""
    path = tmp_path / WISHES
    make_wish(path, "iris", load=False, version="9")
    assert read_wishes(path).by_model["iris"] == Wish(None, (), 1)
    for version in ("2", "3", "2"):
        make_wish(path, "iris", load=True, version=version)
    assert read_wishes(path).by_model["iris"] == Wish(True, ("3", "2"), 4)
    make_wish(path, "iris", load=False, version="3")
    assert read_wishes(path).by_model["iris"] == Wish(True, ("2",), 5)
    make_wish(path, "iris", load=False)
    assert read_wishes(path).by_model["iris"] == Wish(False, (), 6)


def test_a_newer_format_is_refused_aloud(tmp_path: Path) -> None:
    """Not taken for no wish at all."""
    (tmp_path / WISHES).write_bytes(orjson.dumps({"format": 2}))
    with pytest.raises(SerinusError, match=r"has format 2, this program reads 1"):
        read_wishes(tmp_path / WISHES)


@pytest.mark.parametrize(("named", "wish", "expected"), [
    ((), Wish(None), {"iris", "wine"}),
    ((), Wish(False), {"wine"}),
    ((), Wish(True), {"iris", "wine"}),
    (("wine",), Wish(None), {"wine"}),
    (("wine",), Wish(True), {"iris", "wine"}),
    (("iris:1", "wine"), Wish(False), {"wine"}),
])
def test_a_wish_goes_before_the_settings(tmp_path: Path, named: tuple[str, ...], wish: Wish,
                                         expected: set[str]) -> None:
    """It adds what they leave out, and takes away what they name."""
    for name in ("iris", "wine"):
        register(DummyRegressor().fit(np.zeros((2, 1)), [0, 1]), name, home=tmp_path)
    settings = Settings(home=tmp_path, server=ServerSettings(models=named))
    assert set(served(settings, Registry(tmp_path), {"iris": wish})) == expected
