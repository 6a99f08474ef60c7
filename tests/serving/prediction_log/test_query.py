"""SQL over the log sees every prediction once, whether it was compacted or not, and what became of it."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serinus.serving.errors import CommandError
from serinus.serving.ids import prediction_id
from serinus.serving.prediction_log import Choice, SegmentWriter
from serinus.serving.prediction_log.compaction import compact
from serinus.serving.prediction_log.query import query
from serinus.serving.store import GroundTruth
from tests.serving.prediction_log.examples import NOW_NS, records, texts, write


@pytest.fixture(params=["segments", "parquet", "both"])
def log(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Four requests in two segments, of which none, all or one was compacted."""
    folder = tmp_path / "log"
    write(folder, records()[:2]).close()
    if request.param == "both":
        compact(folder)
    writer = SegmentWriter(folder, 7, 1 << 20)
    for sequence, record in enumerate(records()[2:]):
        writer.append(record, sequence)
    if request.param == "parquet":
        writer.close()
        compact(folder)
    return folder


def ask(sql: str, log: Path, choice: Choice = Choice(), truths: tuple[GroundTruth, ...] = ()) -> list[Any]:  # noqa: B008
    with query(sql, log, choice, truths) as answer:
        return [dict(zip(answer.columns, row, strict=True)) for row in answer.rows]


def test_every_prediction_is_there_once(log: Path) -> None:
    """With its ids, its time, its version, and its values in their own types."""
    rows = ask("SELECT * FROM predictions ORDER BY prediction_id", log)
    assert [row["prediction_id"] for row in rows] == sorted(
        prediction_id(record.prediction_uuid, row) for record in records() for row in range(record.rows))
    first = rows[0]
    assert (first["model"], first["version"], first["role"], first["row"]) == ("wine", "1", "stable", 0)
    assert first["time"] == datetime(2025, 6, 15, 15, 6, 40, 123456, UTC)
    assert (first["inputs"]["age"], first["inputs"]["city"], first["outputs"]["predict"]) == (1.5, "Zürich", "yes")
    assert rows[2]["outputs"]["proba"] == [[0.0, 1.0], [2.0, 3.0]]
    assert rows[2]["inputs"]["uint64"] == 0


def test_fields_are_reached_by_name(log: Path) -> None:
    """And counted with; what a version has not is missing."""
    assert ask("SELECT version, sum(inputs.float64) AS x, count(inputs.age) AS n FROM predictions "
               "GROUP BY version ORDER BY version", log) == [{"version": "1", "x": None, "n": 3},
                                                             {"version": "2", "x": 1.0, "n": 0}]


def test_the_truth_is_joined_by_id(log: Path) -> None:
    """As text and as a number; predictions without one stay."""
    first, second = (prediction_id(records()[0].prediction_uuid, row) for row in (0, 1))
    truths = (GroundTruth(first, "crm", "final", True, 0.0, 1_750_000_100.0, weight=2.0),
              GroundTruth(second, "shop", "event", 12.5, 1_750_000_050.0, 1_750_000_100.0, name="revenue"))
    rows = ask("SELECT row, value, number, name, event_time FROM predictions LEFT JOIN ground_truth "
               "USING (prediction_id) WHERE request_id = 'order-17' ORDER BY row", log, truths=truths)
    assert rows == [
        {"row": 0, "value": "true", "number": 1.0, "name": None, "event_time": None},
        {"row": 1, "value": "12.5", "number": 12.5, "name": "revenue",
         "event_time": datetime(2025, 6, 15, 15, 7, 30, tzinfo=UTC)}]
    assert ask("SELECT count(*) AS n FROM ground_truth", log) == [{"n": 0}]


def test_a_choice_leaves_files_out(log: Path) -> None:
    """By model and time."""
    assert ask("SELECT count(*) AS n FROM predictions", log, Choice("beer")) == [{"n": 0}]
    assert ask("SELECT count(*) AS n FROM predictions", log, Choice("wine")) == [{"n": 5}]
    assert ask("SELECT count(*) AS n FROM predictions", log, Choice(since_ns=NOW_NS + 1)) == [{"n": 0}]
    assert ask("SELECT count(*) AS n FROM predictions", log, Choice(since_ns=NOW_NS)) == [{"n": 5}]


def test_an_empty_log_has_the_same_columns(tmp_path: Path) -> None:
    """A query need not know whether anything was asked yet."""
    with query("SELECT * FROM predictions", tmp_path / "log", Choice(), ()) as answer:
        assert list(answer.rows) == []
        assert answer.columns[:6] == ["prediction_id", "request_id", "row", "time", "model", "version"]


def test_fields_of_different_types_have_a_common_one(tmp_path: Path) -> None:
    """Numbers are doubles; a number and a text are texts; names may hold anything."""
    folder = tmp_path / "log"
    writer = SegmentWriter(folder, 1, 1 << 20)
    for sequence, values in enumerate((np.array([1.5, 2.5]), np.array([3, 4]))):
        writer.append(records()[0]._replace(inputs={'odd "name"': values, "mixed": texts("a", "b") if sequence else
                                                    np.array([True, False])}), sequence)
    writer.close()
    assert ask('SELECT sum(inputs."odd ""name""") AS n, string_agg(inputs.mixed, \',\' ORDER BY inputs.mixed) AS m '
               "FROM predictions", folder) == [{"n": 11.0, "m": "a,b,false,true"}]


def test_what_sql_cannot_say_is_told(tmp_path: Path) -> None:
    """In DuckDB's words, without a stack trace; its exit code is that of wrong usage."""
    with pytest.raises(CommandError, match="The query cannot be carried out: Parser Error") as told:
        ask("SELEC", tmp_path / "log")
    assert told.value.exit_code == 2


def test_without_duckdb_one_sentence_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is an extra."""
    monkeypatch.setitem(sys.modules, "duckdb", None)
    with pytest.raises(CommandError, match=r"not installed: pip install 'serinus\[query\]'\."):
        ask("SELECT 1", tmp_path / "log")
