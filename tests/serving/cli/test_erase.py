"""`serinus log erase`: who was meant, what went, and an exit code that says whether there was anything."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.serving.test_erasure import Kept


def test_it_tells_what_went(cli: Any, tmp_path: Path) -> None:
    """In one sentence or as JSON; a second time there is nothing, by the exit code too."""
    kept = Kept(tmp_path / "home", 2)
    kept.name("order-1", kept.ids[1])
    said = cli("log", "erase", "--key", "order-1", "--yes", "--home", kept.home.path)
    assert (said.code, said.out) == (0, "Erased: predictions 2 of credit; 0 truths and events, 1 entries of the key "
                                        "index, 0 pairs of shadows.\n")
    again = cli("log", "erase", "--key", "order-1", "--yes", "--home", kept.home.path, "--json")
    assert (again.code, again.json) == (3, {"predictions": {}, "truths": 0, "keys": 0, "pairs": 0})


def test_keys_may_come_by_standard_input(cli: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There they stand in no history and no list of processes."""
    kept = Kept(tmp_path / "home", 2)
    kept.name("order-1", kept.ids[0])
    kept.name("order-2", kept.ids[2])
    monkeypatch.setattr(sys, "stdin", io.StringIO("order-1\n\norder-2\n"))
    said = cli("log", "erase", "--key", "-", "--home", kept.home.path, "--json")
    assert (said.code, said.json["predictions"], said.json["keys"]) == (0, {"credit": 4}, 2)


def test_somebody_must_be_meant(cli: Any, tmp_path: Path) -> None:
    """Without a key or an id nothing happens, nor with an id that is none, nor where there is no home."""
    assert cli("log", "erase", "--home", tmp_path).code == 2
    assert cli("log", "erase", "--prediction-id", "7", "--yes", "--home", tmp_path).code == 1
    assert cli("log", "erase", "--key", "7", "--yes", "--home", tmp_path / "none").code == 1
