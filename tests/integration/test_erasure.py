"""What a server keeps of single predictions: told as CloudEvents, and of one person erased: he is in no file then."""

from __future__ import annotations

import json
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pyarrow import parquet

from serinus.serving import prediction_log
from serinus.serving.ids import prediction_id
from tests.integration.client import Client
from tests.integration.server import Server, eventually, metric
from tests.integration.zoo import CREDIT_INFER
from tests.serving.sink import Sink

NAME, AMOUNT, KEY = "Quillfeather", 73194.15625, "order-Zephyrine"
MARKS = (NAME.encode(), b"73194.156", struct.pack("<d", AMOUNT), KEY.encode(), b"Paid-by-Zephyrine")
ROW = {"age": 33, "income": AMOUNT, "city": NAME}
OTHER = {"age": 34, "income": 40.0, "city": "Oslo"}


@pytest.fixture(scope="module")
def sink() -> Iterator[Sink]:
    with Sink() as running:
        yield running


@pytest.fixture(scope="module")
def server(filled_home: Path, sink: Sink, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("erasure")
    with Server(shutil.copytree(filled_home, folder / "home"), folder,
                environ={"SERINUS_EVENTS_URL": sink.url}) as running:
        yield running


def test_every_answered_request_is_told(server: Server, sink: Sink) -> None:
    """In any protocol, by the ids that its callers have; none of them waits for the receiver."""
    with server.client() as client:
        eventually(lambda: (server.home.run / "events.json").exists(), 30, server.output)
        ids = {_predict(client, [OTHER])[0][:36] for _ in range(5)}
        ids.add(str(client.post("/v2/models/credit/infer", CREDIT_INFER).json()["parameters"]["prediction_id"]))
        eventually(lambda: {(event.headers["ce-id"], event.kind) for event in list(sink.received)} >= {
            (each, kind) for each in ids for kind in ("request", "response")}, 60, server.output)
        assert metric(client.get("/metrics").body.decode(), "serinus_events_dropped_total") == 0


def test_a_person_is_in_no_file_afterwards(server: Server) -> None:
    """By his key, from segments, Parquet, spool, store and index, with other people's rows in the same request; they
    and the windows lose nothing of theirs."""
    home = server.home
    with server.client() as client:
        others = [_predict(client, [OTHER])[0] for _ in range(20)]
        mine = _predict(client, [ROW], KEY) + _predict(client, [OTHER, ROW, OTHER], f"a,{KEY},b")[1:2]
        mine += _predict(client, [ROW], KEY)
        _tell(client, [{"key": KEY, "value": "yes", "source": "Paid-by-Zephyrine"},
                       {"key": KEY, "name": "revenue", "value": AMOUNT}, {"prediction_id": others[0], "value": "no"}])
        eventually(lambda: _labelled(client) == 4, 60, server.output)
        assert {mark for _, mark in found(home.path)} >= {MARKS[0], MARKS[2], MARKS[4]}
        before = {prediction_id(record.prediction_uuid, row): record.outputs["predict"][row]
                  for record in prediction_log.read(home.log) for row in range(record.rows)}
        done = json.loads(_run(home.path, "log", "erase", "--key", KEY, "--yes", "--json", "--actor", "ana"))
        assert done == {"predictions": {"credit": 3}, "truths": 6, "keys": 3, "pairs": 0}
    with server.client() as client:  # the first connection was idle for long, maybe
        assert _predict(client, [OTHER])
        eventually(lambda: _labelled(client) == 1, 60, server.output)
        assert client.get(f"/api/predictions/{mine[0]}").status == 404
        assert client.get(f"/api/predictions/{others[0]}").json()["ground_truth"]["value"] == "no"
        journal = client.get("/api/rollouts/credit/journal").json()["entries"]
    assert [(entry["actor"], entry["body"]["predictions"]) for entry in journal if entry["kind"] == "log.erase"] == [
        ("ana", 3)]
    kept = {prediction_id(record.prediction_uuid, row): record.outputs["predict"][row]
            for record in prediction_log.read(home.log) for row in range(record.rows)}
    assert {each: kept[each] for each in before if each not in mine} == {
        each: value for each, value in before.items() if each not in mine}
    eventually(lambda: not found(home.path), 30, lambda: str(found(home.path)))
    assert "Nothing is kept of it" in _run(home.path, "log", "erase", "--key", KEY, "--yes", code=3)


def found(home: Path) -> list[tuple[str, bytes]]:
    """Where a mark of the person is, in files as they are and in what Parquet files hold."""
    places = []
    for path in sorted(home.rglob("*")):
        try:
            data = path.read_bytes() if path.is_file() else b""
            if path.suffix == ".parquet":
                rows = parquet.ParquetFile(path).read().to_pylist()
                data += repr([{**row, "time": str(row["time"])} for row in rows]).encode()
        except (FileNotFoundError, OSError):  # replaced meanwhile
            continue
        places += [(str(path.relative_to(home)), mark) for mark in MARKS if mark in data]
    return places


def _predict(client: Client, rows: list[dict[str, Any]], key: str | None = None) -> list[str]:
    answer = client.post("/predict/credit", {"rows": rows}, {"X-Prediction-Key": key} if key else {})
    assert answer.status == 200, answer.body
    return [str(each) for each in answer.json()["prediction_ids"]]


def _tell(client: Client, outcomes: list[dict[str, Any]]) -> None:
    answer = client.post("/api/ground-truth", outcomes)
    assert (answer.status, answer.json()["rejected"]) == (202, []), answer.body


def _labelled(client: Client) -> int:
    answer = client.get("/api/ground-truth/credit")
    windows = answer.json()["models"]["credit"]["windows"] if answer.status == 200 else []
    return sum(window["labelled"] for window in windows)


def _run(home: Path, *words: str, code: int = 0) -> str:
    done = subprocess.run([sys.executable, "-m", "serinus", *words, "--home", str(home)], capture_output=True,
                          text=True, timeout=120, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout
