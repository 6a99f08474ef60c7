"""`serinus log query`: a table or JSON lines, narrowed by model and time, and noted."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from serinus.serving.home import Home
from serinus.serving.ids import prediction_id
from serinus.serving.prediction_log import SegmentWriter
from serinus.serving.store import GroundTruth, SqliteStore
from tests.serving.prediction_log.examples import records

JOIN = "SELECT model, inputs.age, value FROM predictions LEFT JOIN ground_truth USING (prediction_id) ORDER BY model"


@pytest.fixture
def known(home: Path) -> str:
    """Two requests, one just now; the first has a truth. Its prediction id."""
    writer, (old, _, _, new) = SegmentWriter(Home(home).log, 1, 1 << 20), records()
    writer.append(old._replace(rows=1, inputs={"age": old.inputs["age"][:1]}, outputs={}), 0)
    writer.append(new._replace(model="beer", received_ns=time.time_ns()), 1)
    writer.close()
    store = SqliteStore(Home(home).store, create=True)
    known = prediction_id(old.prediction_uuid, 0)
    store.add_ground_truths([GroundTruth(known, "crm", "final", "good", 0.0, 1.0)])
    store.close()
    return known


def test_a_table_for_people(cli: Any, known: str) -> None:
    """Joined with what became of the predictions."""
    assert cli("log", "query", JOIN).out.splitlines() == ["MODEL  AGE   VALUE", "beer   -0.0", "wine   1.5   good"]


def test_json_lines_for_programs(cli: Any, known: str) -> None:
    """One object for each row; times and structures as JSON."""
    said = cli("log", "query", "SELECT prediction_id, time, inputs FROM predictions WHERE model = 'wine'", "--json")
    assert json.loads(said.out) == {"prediction_id": known, "time": "2025-06-15T15:06:40.123456+00:00",
                                    "inputs": {"age": 1.5, "city": None}}


def test_one_model_or_the_last_hours_alone(cli: Any, known: str) -> None:
    """Of answers, or of shadows."""
    counted = "SELECT count(*) AS n FROM predictions"
    assert [json.loads(cli("log", "query", counted, "--json", *more).out)["n"] for more in (
        (), ("--model", "wine"), ("--last", "24h"), ("--model", "wine", "--last", "2w"), ("--shadow",))] == [
        2, 1, 1, 0, 0]


def test_who_asked_is_noted(cli: Any, home: Path, known: str) -> None:
    """With the query and how many rows were shown."""
    cli("log", "query", "SELECT * FROM predictions", "--actor", "jane")
    noted = [json.loads(line) for line in Home(home).access.read_text().splitlines()]
    assert [(line["actor"], line["how"], line["what"], line["rows"]) for line in noted] == [
        ("jane", "cli", "query SELECT * FROM predictions", 2)]


@pytest.mark.parametrize(("words", "sentence"), [
    (("SELEC",), "Parser Error"), (("SELECT 1", "--last", "soon"), "expected a time such as 24h or 7d, got 'soon'")])
def test_wrong_usage_is_said(cli: Any, home: Path, words: tuple[str, ...], sentence: str) -> None:
    """In a sentence."""
    said = cli("log", "query", *words)
    assert said.code == 2
    assert sentence in said.err
    assert "Traceback" not in said.err
