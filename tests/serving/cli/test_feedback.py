"""`serinus feedback`: outcomes from files, laid down in a home or sent to a server; what is known of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from serinus.serving.ground_truth.published import publish
from serinus.serving.ground_truth.spool import read_on, spooled
from serinus.serving.home import Home
from serinus.serving.store import GroundTruth

IDS = [f"0190a6b2-7c3e-7000-8000-00000000000{number}-0" for number in range(3)]
FRAME = pd.DataFrame({"prediction_id": IDS, "value": [1, 0, 1], "event_time": ["2026-01-05T10:00:00Z"] * 3,
                      "source": ["crm", "crm", "bank"], "note": ["x", "y", "z"]})


def _spooled(home: Path) -> list[GroundTruth]:
    return [row for path in spooled(Home(home).spool) for portion in read_on(path, 0) for row in portion.rows]


@pytest.mark.parametrize("suffix", ["csv", "parquet", "jsonl"])
def test_a_file_of_any_kind_is_laid_down(cli: Any, home: Path, tmp_path: Path, suffix: str) -> None:
    """CSV, Parquet and JSON lines say the same; columns that mean nothing are left out."""
    path = tmp_path / f"truths.{suffix}"
    {"csv": lambda: FRAME.to_csv(path, index=False), "parquet": lambda: FRAME.to_parquet(path),
     "jsonl": lambda: FRAME.to_json(path, orient="records", lines=True)}[suffix]()
    said = cli("feedback", "iris", str(path), "--home", str(home))
    assert said.code == 0, said.err
    assert said.out.startswith("3 accepted, 0 rejected, ") and "as soon as a server runs" in said.out
    found = _spooled(home)
    assert [row._replace(received_time=0.0) for row in found] == [
        GroundTruth(each, source, "final", value, 1_767_607_200.0, 0.0)
        for each, value, source in zip(IDS, (1, 0, 1), ("crm", "crm", "bank"), strict=True)]


def test_columns_may_have_other_names(cli: Any, home: Path, tmp_path: Path) -> None:
    """`--id`, `--value` and `--time` name them, and a column that happens to be called like ours is not meant then."""
    path = tmp_path / "truths.csv"
    path.write_text(f"id,paid,value,source\n{IDS[0]},12.5,99,shop\n")
    said = cli("feedback", "iris", str(path), "--home", str(home), "--id", "id", "--value", "paid", "--event",
               "revenue", "--source", "web", "--json")
    assert said.code == 0, said.err
    assert said.json["accepted"] == 1
    (row,) = _spooled(home)
    assert (row.kind, row.name, row.value, row.source) == ("event", "revenue", 12.5, "shop")


def test_rejected_rows_are_told(cli: Any, home: Path, tmp_path: Path) -> None:
    """By their number in the file, and by the exit code; the others are taken."""
    path = tmp_path / "truths.jsonl"
    path.write_text("".join(json.dumps({"prediction_id": each, "value": 1}) + "\n" for each in (*IDS, "order-7")))
    said = cli("feedback", "iris", str(path), "--home", str(home))
    assert said.code == 3
    assert "3 accepted, 1 rejected" in said.out
    assert said.err.startswith("Row 3: prediction_id: expected one that an answer carried")


@pytest.mark.parametrize(
    ("name", "content", "code", "sentence"),
    [
        ("truths.xlsx", "", 2, "expected a file .csv, .parquet, .jsonl or .ndjson"),
        ("truths.jsonl", "{}\n{", 1, "line 2 is not JSON"),
        ("truths.parquet", "no", 1, "cannot be read"),
        ("truths.csv", 'a,b\n"x', 1, "cannot be read"),
    ])
def test_a_file_that_is_none_is_refused(cli: Any, home: Path, tmp_path: Path, name: str, content: str, code: int,
                                        sentence: str) -> None:
    """In one sentence that names it."""
    (tmp_path / name).write_text(content)
    said = cli("feedback", "iris", str(tmp_path / name), "--home", str(home))
    assert (said.code, sentence in said.err) == (code, True), said.err


def test_a_mistyped_model_is_told(cli: Any, home: Path, tmp_path: Path) -> None:
    """Before anything is laid down."""
    (tmp_path / "truths.csv").write_text(f"prediction_id,value\n{IDS[0]},1\n")
    said = cli("feedback", "irsi", str(tmp_path / "truths.csv"), "--home", str(home))
    assert (said.code, "irsi" in said.err, _spooled(home)) == (1, True, [])


def test_a_server_is_sent_it_in_parts(cli: Any, home: Path, tmp_path: Path, server: Any) -> None:
    """Ten thousand rows at a time; rows that it rejects are numbered as in the file."""
    path = tmp_path / "truths.csv"
    lines = (f"0190a6b2-7c3e-7000-8000-{number:012x}-0,1\n" for number in range(10_001))
    path.write_text("prediction_id,value\n" + "".join(lines))
    server.answer("POST", "/api/ground-truth", {
        "accepted": 5, "rejected": [{"row": 0, "reason": "no"}], "rejected_count": 1}, 202)
    said = cli("feedback", "iris", str(path))
    assert said.code == 3
    assert [len(body["outcomes"]) for _, _, body, _ in server.asked] == [10_000, 1]
    assert "10 accepted, 2 rejected" in said.out
    assert said.err.splitlines() == ["Row 0: no.", "Row 10000: no."]


def test_what_is_known_is_told(cli: Any, home: Path) -> None:
    """Without a file: by windows, and loudly where what is measured is not what all predictions are worth."""
    said = cli("feedback", "iris", "--home", str(home))
    assert (said.code, "No ground truth of 'iris' has come yet" in said.err) == (1, True)
    window = {"window": "2026-01-05T10:00:00Z", "version": "1", "role": "stable", "predictions": 1200,
              "labelled_share": 0.9, "expected_share": 0.95, "mature": True, "corrected_accuracy": 0.875, "revision": 3}
    publish(Home(home).run, {"received": 1100, "waiting_bytes": 0, "orphans": 7, "forgotten": 0, "models": {"iris": {
        "delays": {}, "selection": {"depends": True}, "windows": [window, {**window, "mature": False}]}}})
    said = cli("feedback", "iris", "--home", str(home))
    assert said.code == 0, said.err
    assert "1,200        90.0%  95.0%     87.5%      3" in said.out
    assert "too early" in said.out and "Send `action_probability`" in said.out
    assert cli("feedback", "iris", "--home", str(home), "--json").json["orphans"] == 7
