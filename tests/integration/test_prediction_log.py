"""Every answer that a client has is in the prediction log, whatever was killed meanwhile."""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import signal
import threading
import time
import uuid
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from serinus.monitors.record import PredictionRecord
from serinus.serving import prediction_log
from serinus.serving.prediction_log import SegmentWriter, entries, is_open, segments
from serinus.serving.prediction_log.manifest import parquet_folder
from tests.integration.client import Answer, Client, Crowd
from tests.integration.conftest import Start
from tests.integration.server import Server, eventually
from tests.integration.zoo import CREDIT_INFER, CREDIT_ROWS, IRIS_INFER

RESPAWN_S = 3.0
SILENCE_S = 2.0
_OTHERS = ("serinus.serving.steward ", "serinus.serving.prediction_log.upkeep")


@pytest.mark.parametrize("kills", [10, pytest.param(200, marks=pytest.mark.slow)])
def test_no_answer_is_missing_from_the_log(home: Path, start: Start, kills: int) -> None:
    """Workers, the steward and the compaction are killed again and again under load: each whole answer is logged once,
    in a segment or in Parquet, and the server goes on."""
    server = start(home, environ={"SERINUS_LOG_SEGMENT_BYTES": "8192"})
    seed = 20_261_121
    picks = random.Random(seed)
    respawns, others = [], 0
    with Crowd([server.client(5) for _ in range(6)], _ask, pause=0.02) as crowd:
        for _ in range(kills):
            crowd.wait_for(50)
            victim = picks.choice(sorted(server.ready_workers()))
            respawns.append(_kill_and_time_respawn(server, victim))
            for name in picks.sample(_OTHERS, picks.randrange(len(_OTHERS) + 1)):
                others += _kill(server, name)
            eventually(lambda: len(server.ready_workers()) == 2, 120)
        crowd.wait_for(200)
        eventually(lambda: list(parquet_folder(server.home.log).rglob("*.parquet")), 60)
    assert server.stop() == 0
    answers = crowd.answers()
    assert Counter({200: len(answers)}) == Counter(answer.status for answer in answers)
    received = [_prediction(answer) for answer in answers]
    logged = _logged(server.home.log)
    assert len(received) == len(set(received))
    assert [prediction for prediction in received if logged[prediction] != 1] == []
    assert {1} == set(logged.values())
    assert len(logged) - len(received) <= 6 * kills  # written, but the answer died with its worker
    silences = _silences([exchange.answered for exchange in crowd.exchanges if exchange.answer is not None])
    compacted = sum(entry.manifest is not None for entry in entries(server.home.log))
    print(f"\n{kills} kills of workers, {others} of stewards and compactions, {compacted} segments compacted, "
          f"{len(received)} answers, {len(logged) - len(received)} logged but not received, "
          f"respawn max {max(respawns):.2f} s, longest silence {max(silences):.2f} s, seed {seed}")
    assert max(respawns) <= RESPAWN_S
    assert max(silences) <= SILENCE_S


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


def _kill_and_time_respawn(server: Server, victim: int) -> float:
    before = set(server.find("worker.service"))
    os.kill(victim, signal.SIGKILL)
    killed = time.monotonic()
    eventually(lambda: set(server.find("worker.service")) - before, 30)
    return time.monotonic() - killed


def _kill(server: Server, name: str) -> int:
    """How many of these processes there were."""
    found = server.find(name)
    for pid in found:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return len(found)


def _prediction(answer: Answer) -> str:
    document = answer.json()
    if "prediction_ids" in document:
        return str(document["prediction_ids"][0]).rpartition("-")[0]
    return str(document["parameters"]["prediction_id"])


def _silences(moments: list[float]) -> list[float]:
    return [later - earlier for earlier, later in itertools.pairwise(sorted(moments))]


def _logged(folder: Path) -> Counter[str]:
    """How often each prediction stands in the log."""
    return Counter(str(uuid.UUID(bytes=record.prediction_uuid)) for record in prediction_log.read(folder))


def _record(sequence: int) -> PredictionRecord:
    values = {"x": np.array([float(sequence)])}
    return PredictionRecord(sequence.to_bytes(16), "", 1, 1, "m", "1", "stable", 1, values, values, 0, 0, 0)
