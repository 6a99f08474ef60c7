"""Who looked at rows is taken down before anything is shown."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from serinus.serving.access import note_access, without_values
from serinus.serving.errors import SerinusError
from serinus.serving.home import Home


def test_each_look_is_a_line(tmp_path: Path) -> None:
    """Lines are added at the end, each with time, person, way, subject and number of rows."""
    home = Home(tmp_path)
    note_access(home, "jane", "http", "prediction 7", 1)
    note_access(home, "joe\nx", "command", "log show", 20)
    lines = [json.loads(line) for line in home.access.read_text().splitlines()]
    assert [(line["actor"], line["how"], line["what"], line["rows"]) for line in lines] == [
        ("jane", "http", "prediction 7", 1), ("joe\nx", "command", "log show", 20)]
    assert lines[0]["time"] <= lines[1]["time"]
    assert home.access.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(("sql", "kept"), [
    ("SELECT * FROM predictions WHERE inputs.name = 'O''Neill' AND row < 10",
     "SELECT * FROM predictions WHERE inputs.name = ? AND row < ?"),
    ("SELECT x1 FROM predictions WHERE inputs.amount = 73194.15625e-2",
     "SELECT x1 FROM predictions WHERE inputs.amount = ?"),
    ("SELECT $$Neill$$, $a$it's$a$", "SELECT ?, ?"),
    ("SELECT 'never ended", "SELECT 'never ended")])
def test_a_query_is_kept_without_its_values(sql: str, kept: str) -> None:
    """Who is erased later must not be found among what was asked."""
    assert without_values(sql) == kept


def test_what_cannot_be_noted_is_not_shown(tmp_path: Path) -> None:
    """The error names the file, so that a person can put it right."""
    home = Home(tmp_path)
    home.access.mkdir(parents=True)
    with pytest.raises(SerinusError, match=r"cannot be noted in .*access\.ndjson \(Is a directory\)"):
        note_access(home, "jane", "http", "prediction 7", 1)
