"""`serinus log show`: the newest predictions, one by id, as a table or JSON lines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serinus.monitors.record import PredictionRecord
from serinus.serving.home import Home
from serinus.serving.ids import IdSource, prediction_id
from serinus.serving.prediction_log import SegmentWriter
from serinus.serving.prediction_log.compaction import compact

_SECOND = 1_000_000_000


@pytest.fixture
def ids(home: Path) -> list[str]:
    """Two workers' segments with five requests; the second request has two rows. Their prediction ids by time."""
    given = []
    sources = [IdSource(), IdSource()]
    writers = [SegmentWriter(Home(home).log, source.writer, 1 << 20) for source in sources]
    for number in range(5):
        source, rows = sources[number % 2], 2 if number == 1 else 1
        received = (1_700_000_000 + number) * _SECOND
        uuid, _ = source.next(received)
        writers[number % 2].append(PredictionRecord(
            uuid, f"request-{number}", received, 1000, "iris" if number < 4 else "other", "1", "stable", rows,
            {"x": np.arange(rows, dtype=np.float32) + np.float32(0.1), "word": np.array(["ø", None][:rows], object)},
            {"y": np.full((rows, 2), np.nan)}, 0, number, 0, {"range": 1} if rows > 1 else None,
            np.array([0.25, np.nan]) if rows > 1 else None), source.sequence - 1)
        given += [prediction_id(uuid, row) for row in range(rows)]
    for writer in writers:
        writer.close()
    return given


def test_the_newest_come_last_over_all_workers(cli: Any, ids: list[str]) -> None:
    """Segments are merged by time; a limit counts predictions."""
    shown = [json.loads(line) for line in cli("log", "show", "--json").out.splitlines()]
    assert [row["prediction_id"] for row in shown] == ids
    few = [json.loads(line) for line in cli("log", "show", "--json", "--limit", 2).out.splitlines()]
    assert [row["prediction_id"] for row in few] == ids[-2:]
    assert len(cli("log", "show", "--json", "--limit", 0).out.splitlines()) == 6


def test_a_line_is_one_prediction_with_its_values(cli: Any, ids: list[str]) -> None:
    """Values are those of this row, in short digits; what is missing is null."""
    row = json.loads(cli("log", "show", "--prediction", ids[2], "--json").out)
    assert row == {"prediction_id": ids[2], "request_id": "request-1", "time": "2023-11-14T22:13:21.000000Z",
                   "model": "iris", "version": "1", "role": "stable", "inputs": {"x": 1.1, "word": None},
                   "outputs": {"y": [None, None]}, "violations": {"range": 1}, "novelty": None,
                   "trace_id": f"{1:032x}"}
    other = json.loads(cli("log", "show", "--prediction", ids[1], "--json").out)
    assert other["novelty"] == 0.25


def test_what_was_compacted_is_shown_alike(cli: Any, home: Path, ids: list[str]) -> None:
    """Segment or Parquet, the lines are the same."""
    before = cli("log", "show", "--json").out
    assert compact(Home(home).log) == 2
    assert cli("log", "show", "--json").out == before
    assert cli("log", "show", "--prediction", ids[3], "--json").out in before


def test_a_request_is_shown_whole_by_its_stem(cli: Any, ids: list[str]) -> None:
    """The Open Inference Protocol's answers carry the id without the row."""
    lines = cli("log", "show", "--prediction", ids[1].removesuffix("-0"), "--json").out.splitlines()
    assert [json.loads(line)["prediction_id"] for line in lines] == ids[1:3]


def test_one_model_alone(cli: Any, ids: list[str]) -> None:
    """The others are left out; a table for people."""
    head, line = cli("log", "show", "--model", "other").out.splitlines()
    assert head.split() == ["TIME", "MODEL", "ROLE", "PREDICTION", "OUTPUTS", "INPUTS"]
    assert ids[-1] in line and "other:1" in line


def test_what_a_shadow_answered_is_shown_apart(cli: Any, home: Path, ids: list[str]) -> None:
    """Under the id that its caller has, whose own answer stays where it is."""
    source = IdSource()
    writer = SegmentWriter(Home(home).shadow_log, source.writer, 1 << 20)
    (line,) = cli("log", "show", "--prediction", ids[0], "--json").out.splitlines()
    uuid = bytes.fromhex(ids[0][:36].replace("-", ""))
    source.next(1)
    writer.append(PredictionRecord(uuid, "request-0", 1_700_000_000 * _SECOND, 1000, "iris", "2", "shadow", 1,
                                   {"x": np.zeros(1, np.float32)}, {"y": np.zeros((1, 2))}, 0, 0, 0),
                  source.sequence - 1)
    writer.close()
    assert json.loads(line)["role"] == "stable"
    assert len(cli("log", "show", "--json").out.splitlines()) == 6
    for words in ((), ("--prediction", ids[0]), ("--prediction", ids[0][:36])):
        (shown,) = [json.loads(row) for row in cli("log", "show", "--shadow", "--json", *words).out.splitlines()]
        assert (shown["prediction_id"], shown["role"], shown["version"]) == (ids[0], "shadow", "2")
    assert "is not in" in cli("log", "show", "--shadow", "--prediction", ids[1]).err


@pytest.mark.parametrize(("prediction", "sentence"), [
    ("x", "'x' is no prediction id"),
    ("0190a6b2-7c3e-7000-8000-000000000000-0", "is not in"),
])
def test_what_is_not_there_is_said(prediction: str, sentence: str, cli: Any, ids: list[str]) -> None:
    """Exit code 1."""
    said = cli("log", "show", "--prediction", prediction)
    assert said.code == 1 and sentence in said.err


def test_a_damaged_segment_hides_no_other(cli: Any, home: Path, ids: list[str]) -> None:
    """It is named, and passed over."""
    (Home(home).log / "000000000-0000000000.segment").write_bytes(b"no segment at all, but long enough to have a head")
    said = cli("log", "show", "--json")
    assert len(said.out.splitlines()) == 6
    assert "000000000-0000000000.segment is passed over" in said.err


def test_an_empty_log_says_so(cli: Any, home: Path) -> None:
    """Nothing on standard output, so that a pipe gets nothing."""
    said = cli("log", "show")
    assert (said.code, said.out) == (0, "") and "No prediction is in" in said.err


def test_who_looks_is_taken_down(cli: Any, home: Path, ids: list[str]) -> None:
    """With how many rows were shown; nobody where none were."""
    cli("log", "show", "--limit", 2)
    cli("log", "show", "--model", "none")
    (line,) = map(json.loads, Home(home).access.read_text().splitlines())
    assert (line["how"], line["what"], line["rows"]) == ("cli", "log show", 2)
