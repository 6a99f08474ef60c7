"""Every answer that a client has is in the prediction log, whatever was killed meanwhile."""

from __future__ import annotations

import itertools
import random
import threading
import uuid
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from serinus.monitors.record import PredictionRecord
from serinus.serving import prediction_log
from serinus.serving.home import Home
from serinus.serving.prediction_log import SegmentWriter, entries, is_open, segments
from serinus.serving.prediction_log.manifest import parquet_folder
from tests.integration.client import Answer, Client, Crowd
from tests.integration.conftest import Start
from tests.integration.deaths import Deaths
from tests.integration.server import eventually
from tests.integration.zoo import CREDIT_INFER, CREDIT_ROWS, IRIS_INFER


@pytest.mark.parametrize("kills", [10, pytest.param(200, marks=pytest.mark.slow)])
def test_no_answer_is_missing_from_the_log(home: Path, start: Start, kills: int) -> None:
    """Every kind of process is killed at random moments under load, some with all the others: each whole answer is read
    once, then and at the end, from a segment or from Parquet, and the server goes on or is started anew."""
    seed = 20_261_121
    deaths = Deaths(home, start, random.Random(seed))
    with Crowd([deaths.server.client(5) for _ in range(6)], _ask, pause=0.05) as crowd:
        for victim in deaths.victims(kills):
            crowd.wait_for(20, 180)
            if deaths.kill(victim):  # all of the server
                _assert_read_once(home, crowd)
        crowd.wait_for(200, 180)
        eventually(lambda: list(parquet_folder(deaths.server.home.log).rglob("*.parquet")), 60)
    assert deaths.server.stop() == 0
    logged = _assert_read_once(home, crowd)
    answers = len(_received(crowd))
    broken = sum(exchange.answer is None for exchange in crowd.exchanges)
    assert len(logged) - answers <= broken  # written, but the answer died with its worker
    compacted = sum(entry.manifest is not None for entry in entries(Home(home).log))
    print(f"\nkilled: {dict(deaths.count)}; {compacted} segments compacted; {answers} answers, each read once; "
          f"{len(logged) - answers} logged but not received; longest silence {max(_silences(crowd)):.1f} s; "
          f"seed {seed}")
    assert deaths.count.total() == kills


def test_a_kill_in_mid_write_leaves_a_log_that_reads(home: Path, start: Start) -> None:
    """A torn last frame, as a kill inside `write` would leave it, hides no whole record and stops no later worker."""
    server = start(home)
    with server.client() as client:
        first = _prediction(client.post("/predict/credit", CREDIT_ROWS))
    server.kill_everything()
    (torn,) = [path for path in segments(server.home.log) if path.stat().st_size]
    torn.write_bytes(torn.read_bytes() + b"\x40\x00\x00\x00half a fra")
    server = start(home)
    with server.client() as client:
        second = _prediction(client.post("/predict/credit", CREDIT_ROWS))
    assert Counter([first, second]) == _logged(server.home.log)


def test_looking_at_a_segment_does_not_disturb_its_writer(tmp_path: Path) -> None:
    """A reader that asks whether segments are open never makes the writer fail, not even in the moment of creation."""
    folder = tmp_path / "log"
    writer = SegmentWriter(folder, 1, 1)  # every record fills a segment
    stop = threading.Event()

    def look() -> None:
        while not stop.is_set():
            for path in segments(folder)[-2:]:
                is_open(path)

    watchers = [threading.Thread(target=look) for _ in range(3)]
    for watcher in watchers:
        watcher.start()
    try:
        for sequence in range(400):
            writer.append(_record(sequence), sequence)
    finally:
        stop.set()
        for watcher in watchers:
            watcher.join()
    assert len(list(prediction_log.read(folder))) == 400


def _ask(client: Client, number: int) -> Answer:
    match number % 3:
        case 0:
            return client.post("/v2/models/credit/infer", CREDIT_INFER)
        case 1:
            return client.post("/predict/credit", CREDIT_ROWS)
    return client.post("/v2/models/iris/infer", IRIS_INFER)


def _assert_read_once(home: Path, crowd: Crowd) -> Counter[str]:
    """What the log says, in which stands every answer that had come before it was read."""
    received = _received(crowd)
    logged = _logged(Home(home).log)
    assert len(received) == len(set(received))
    assert [prediction for prediction in received if logged[prediction] != 1] == []
    assert {1} == set(logged.values())
    return logged


def _received(crowd: Crowd) -> list[str]:
    answers = crowd.answers()
    assert {answer.status for answer in answers} == {200}
    return [_prediction(answer) for answer in answers]


def _prediction(answer: Answer) -> str:
    document = answer.json()
    if "prediction_ids" in document:
        return str(document["prediction_ids"][0]).rpartition("-")[0]
    return str(document["parameters"]["prediction_id"])


def _silences(crowd: Crowd) -> list[float]:
    moments = [exchange.answered for exchange in crowd.exchanges if exchange.answer is not None]
    return [later - earlier for earlier, later in itertools.pairwise(sorted(moments))]


def _logged(folder: Path) -> Counter[str]:
    """How often each prediction stands in the log."""
    return Counter(str(uuid.UUID(bytes=record.prediction_uuid)) for record in prediction_log.read(folder))


def _record(sequence: int) -> PredictionRecord:
    values = {"x": np.array([float(sequence)])}
    return PredictionRecord(sequence.to_bytes(16), "", 1, 1, "m", "1", "stable", 1, values, values, 0, 0, 0)
