"""`serinus monitor report NAME`: in plain words, on the terminal, as a page, as JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest


def test_it_answers_three_questions(cli: Any, home: Path) -> None:
    """Of a model that no server has served yet, much is unknown, and nothing is wrong."""
    said = cli("monitor", "report", "iris")
    assert said.code == 0 and said.err == ""
    lines = said.out.splitlines()
    assert [lines.index(title) for title in ("Is it fine?", "What changed", "What to do")]
    assert "Nothing is known to be wrong with iris, but 4 things cannot be told." in lines
    assert "No server has run with this model yet." in said.out and "1. serinus serve iris" in said.out


def test_a_page_is_written(cli: Any, home: Path, tmp_path: Path) -> None:
    """Where it was asked for; the terminal says where it is."""
    out = tmp_path / "iris.html"
    assert f"The page is {out}." in cli("monitor", "report", "iris", "--last", "24h", "--out", out).out
    assert "Is it fine?" in out.read_text()
    assert cli("monitor", "report", "iris", "--out", tmp_path / "none" / "x.html").code == 2


def test_json_has_the_same(cli: Any, home: Path) -> None:
    """For programs."""
    found = cli("monitor", "report", "iris", "--last", "2d", "--json").json
    assert (found["model"], found["state"]) == ("iris", "unknown")
    assert "serinus serve iris" in found["actions"] and len(found["days"]) == 3


@pytest.mark.parametrize("words", [
    (), ("iris", "--reference", "x.csv"), ("iris", "--last", "soon"), ("iris", "--last", "0d"), ("irs",),
    ("--current", "x.csv")])
def test_wrong_usage_is_exit_code_2(words: tuple[str, ...], cli: Any, home: Path) -> None:
    """A name that nobody knows too."""
    said = cli("monitor", "report", *words)
    assert said.code == 2 and "Traceback" not in said.err and said.out == ""
