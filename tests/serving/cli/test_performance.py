"""`serinus monitor performance`: what is published, said so that a person or a script can act on it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from serinus.serving.home import Home
from serinus.serving.performance.published import publish
from tests.serving.cli.conftest import FakeServer


def _measure(value: float, rows: int = 500, reason: str = "") -> dict[str, Any]:
    return {"value": value, "low": value - 0.02, "high": value + 0.02, "rows": rows, "reason": reason}


def _document(state: str = "ok") -> dict[str, Any]:
    hours = [{"hour": "2026-01-01T00:00:00Z", "rows": 500, "labelled": 450, "mature": True,
              "measures": {"accuracy": _measure(0.9)}, "estimate": {"accuracy": _measure(0.88)}, "withdrawn": None},
             {"hour": "2026-01-01T01:00:00Z", "rows": 30, "labelled": 30, "mature": True,
              "measures": {"accuracy": _measure(0.8, 30, "unknown: 30 rows")}, "estimate": None, "withdrawn": None},
             {"hour": "2026-01-01T02:00:00Z", "rows": 600, "labelled": 0, "mature": False, "measures": {},
              "estimate": None, "withdrawn": "The intervals of 5 cohorts held too seldom."}]
    return {"model": "credit", "at": 0.0, "task": "classification", "measure": "accuracy", "verdict": "", "versions": [{
        "version": "2", "role": "stable", "rows": 1130, "labelled": 480, "measures": {"accuracy": _measure(0.89)},
        "windows": hours, "calibration": None, "harm": {"state": state, "text": "The loss is 12.0%."},
        "estimates": {"text": "Withdrawn."}, "change": None, "slices": [{"text": "region=north: accuracy 0.9"}],
        "fairness": [], "quality": []}]}


def test_the_value_of_a_row_has_its_unit(cli: Any, home: Path) -> None:
    """And any measure can be printed by hour."""
    document = _document()
    document["versions"][0] |= {"unit": "EUR", "measures": {"value": _measure(-1.375)}}
    document["versions"][0]["windows"][0]["measures"] = {"value": _measure(2.5)}
    publish(Home(home).performance, document)
    said = cli("monitor", "performance", "credit", "--measure", "value")
    lines = [" ".join(line.split()) for line in said.out.splitlines()]
    assert "value -1.375 (-1.395 to -1.355) EUR a row" in lines
    assert "HOUR ROWS KNOWN VALUE ESTIMATED" in lines and any("2.5 (2.48 to 2.52)" in line for line in lines)


@pytest.fixture
def told(home: Path) -> dict[str, Any]:
    """What a server on this home has published."""
    publish(Home(home).performance, _document())
    return _document()


def test_a_table_of_hours_beside_what_was_estimated(cli: Any, told: dict[str, Any]) -> None:
    """Too early, unknown and withdrawn are words, never numbers."""
    said = cli("monitor", "performance", "credit")
    assert said.code == 0, said.err
    lines = [" ".join(line.split()) for line in said.out.splitlines()]
    assert lines == [
        "credit:2 stable",
        "1,130 rows in hours with truths, 42.5% of them known; accuracy 0.89 (0.87 to 0.91)",
        "HOUR ROWS KNOWN ACCURACY ESTIMATED",
        "2026-01-01T00:00:00Z 500 450 0.9 (0.88 to 0.92) 0.88 (0.86 to 0.9)",
        "2026-01-01T01:00:00Z 30 30 unknown -",
        "2026-01-01T02:00:00Z 600 0 too early withdrawn",
        "harm The loss is 12.0%.", "estimates Withdrawn.", "slices region=north: accuracy 0.9"]
    assert len(cli("monitor", "performance", "credit", "--hours", "1").out.splitlines()) == len(lines) - 2


def test_a_harm_alarm_is_exit_code_3(cli: Any, home: Path) -> None:
    """So that a script may ask; JSON has the whole document."""
    publish(Home(home).performance, _document("alarm"))
    said = cli("monitor", "performance", "credit", "--json")
    assert (said.code, said.json["versions"][0]["harm"]["state"]) == (3, "alarm")


def test_a_server_is_asked(cli: Any, told: dict[str, Any], server: FakeServer) -> None:
    """By its address, with the same answer."""
    server.answer("GET", "/api/performance/credit", told)
    said = cli("monitor", "performance", "credit", "--url", server.url, "--json")
    assert (said.code, said.json) == (0, told)


def test_nothing_known_is_told(cli: Any, told: dict[str, Any]) -> None:
    """With the models of which something is."""
    said = cli("monitor", "performance", "wine")
    assert said.code == 1
    assert "performance of 'wine' yet; known: credit." in said.err
