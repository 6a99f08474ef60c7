"""One prediction with all that is known of it, for whoever may read; and that it was looked at is known too."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from serinus.serving.predictions import ground_truth_of
from serinus.serving.settings import GroundTruthSettings
from serinus.serving.store import GroundTruth, SqliteStore
from tests.serving.asgi import ROW, Line, people_model

ID = "0190a6b2-7c3e-7000-8000-000000000000-0"


@pytest.fixture
def line(tmp_path: Path) -> Iterator[Line]:
    line = Line(tmp_path, {"people": {"1": people_model()}})
    yield line
    line.close()


def answered(line: Line, rows: list[dict[str, Any]]) -> list[str]:
    ids: list[str] = line.call("POST", "/predict", orjson.dumps({"rows": rows})).json["prediction_ids"]
    return ids


def test_a_prediction_is_found_by_its_id(line: Line) -> None:
    """Each row by itself, with missing values as null; without a steward its ground truth is unknown, not absent."""
    first, second = answered(line, [ROW, {**ROW, "age": None, "visits": 4}])
    found = line.call("GET", f"/api/predictions/{second}", host="localhost").json
    assert [found[name] for name in ("prediction_id", "model", "version", "role")] == [second, "people", "1", "stable"]
    assert found["inputs"] == {**ROW, "age": None, "visits": 4}
    assert found["outputs"] == {"predict": 5.0}
    assert found["trace_id"] is None or len(found["trace_id"]) == 32
    assert found["ground_truth"]["state"] == "unknown"
    assert (found["violations"], found["novelty"]) == ({}, None)
    assert line.call("GET", f"/api/predictions/{first}", host="localhost").json["outputs"] == {"predict": 4.0}


def test_who_looked_is_taken_down(line: Line) -> None:
    """One line for what was shown, none for what was not there."""
    (prediction,) = answered(line, [ROW])
    line.call("GET", f"/api/predictions/{ID}", host="localhost")
    line.call("GET", f"/api/predictions/{prediction}", host="localhost")
    (seen,) = map(json.loads, line.home.access.read_text().splitlines())
    assert (seen["actor"], seen["how"], seen["what"]) == ("api", "http", f"prediction {prediction}")


@pytest.mark.parametrize("asked", [ID, "7", "%3Cscript%3E"])
def test_what_is_not_in_the_log_is_not_found(line: Line, asked: str) -> None:
    """An id that nobody gave, and what is no id, are answered with a sentence."""
    answer = line.call("GET", f"/api/predictions/{asked}", host="localhost")
    assert (answer.status, answer.headers["content-type"]) == (404, "application/problem+json")
    assert answer.json["detail"].endswith(".")


def test_it_takes_a_token_that_may_read(tmp_path: Path) -> None:
    """A token for feedback shows nobody's rows."""
    tokens = [{"name": name, "scopes": [name], "token": f"secret-{name}"} for name in ("feedback", "read")]
    line = Line(tmp_path, {"people": {"1": people_model()}}, control={"tokens": tokens})
    (prediction,) = answered(line, [ROW])
    statuses = [line.call("GET", f"/api/predictions/{prediction}", host="localhost", **headers).status for headers in (
        {}, {"authorization": "Bearer secret-feedback"}, {"authorization": "Bearer secret-read"})]
    assert statuses == [401, 403, 200]
    assert json.loads(line.home.access.read_text())["actor"] == "read"
    line.close()


def test_what_became_of_it_is_told_with_all_that_was_sent(tmp_path: Path) -> None:
    """What holds by the policy, and under it every truth and event."""
    store = SqliteStore(tmp_path / "store.db", create=True)
    store.add_ground_truths([GroundTruth(ID, "crm", "final", "bad", 10.0, 11.0),
                             GroundTruth(ID, "crm", "revision", "good", 20.0, 21.0),
                             GroundTruth(ID, "shop", "event", 2.5, 0.0, 30.0, "revenue")])
    known = ground_truth_of(store, GroundTruthSettings(), ID)
    assert known is not None
    assert (known["state"], known["value"], known["revised"]) == ("labelled", "good", True)
    assert known["events"] == {"revenue": {"count": 1, "sum": 2.5}}
    assert [sent["value"] for sent in known["sent"]] == ["bad", "good", 2.5]
    assert orjson.dumps(known)
    assert ground_truth_of(store, GroundTruthSettings(), f"{ID}1") is None
    store.close()
