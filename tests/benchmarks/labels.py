"""How many truths per second of its processor the steward brings into the store and the windows, and what their
measures, estimates and alarms cost beside that.

    python -m tests.benchmarks.labels [ROWS]

Predictions of two workers over two hours, truths in random order. Everything is real but the clock: spool, store, log,
jobs. Seconds are those of the processor, so that a busy machine changes little.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression

from serinus.models import register
from serinus.monitors.record import PredictionRecord
from serinus.serving.ground_truth import Spool
from serinus.serving.ground_truth.spool import spooled
from serinus.serving.home import Home, RunFolder
from serinus.serving.ids import IdSource, prediction_id
from serinus.serving.prediction_log import SegmentWriter
from serinus.serving.served_models import open_registry
from serinus.serving.settings import Settings
from serinus.serving.steward.hold_lease import HoldLease
from serinus.serving.steward.job import Job, Shared
from serinus.serving.steward.join_ground_truth import INTAKE, JoinGroundTruth
from serinus.serving.steward.measure_performance import MeasurePerformance
from serinus.serving.store import GroundTruth

_BEGIN = 1_750_000_000 // 3600 * 3600
_ROWS, _HOURS, _BATCH = 300_000, 2, 10_000


def main(rows: int = _ROWS) -> dict[str, float]:
    """Measure, and tell it as JSON."""
    with tempfile.TemporaryDirectory() as folder:
        host = _host(Path(folder) / "home")
        truths = _predictions(host.home.log, rows)
        spool = Spool(host.home.spool, 10**10)
        for start in range(0, rows, _BATCH):
            spool.append(truths[start:start + _BATCH])
        spool.close()
        join = JoinGroundTruth(lambda: _BEGIN + (_HOURS + 1) * 3600.0)
        joined = _cost(join, host, lambda: _is_done(host))
        measure = MeasurePerformance(join, lambda: _BEGIN + (_HOURS + 1) * 3600.0)
        began = time.monotonic()
        measured = _cost(measure, host, lambda: time.monotonic() - began > 20)
        return {"rows": rows, "join_seconds": round(joined, 2), "truths_per_second": round(rows / joined),
                "measure_seconds": round(measured, 2), "measure_share": round(measured / 20, 3)}


def _host(home: Path) -> Shared:
    draw = np.random.default_rng(0)
    frame = pd.DataFrame({"x": draw.normal(size=2000)})
    frame["late"] = (draw.random(2000) < 1 / (1 + np.exp(-frame["x"]))).astype(int)
    register(LogisticRegression().fit(frame[["x"]], frame["late"]), "credit", home=home, reference=frame, target="late")
    settings = Settings.model_validate({"home": home})
    run = RunFolder(Home(home).run / "server-1")
    run.path.mkdir(parents=True)
    host = Shared(settings, run, open_registry(settings), "steward-1")
    HoldLease().run(host)
    return host


def _predictions(log: Path, rows: int) -> list[GroundTruth]:
    """Write them, and give their truths in random order."""
    draw = np.random.default_rng(1)
    sources = [IdSource(1), IdSource(2)]
    writers = [SegmentWriter(log, source.writer, 1 << 26) for source in sources]
    found = []
    for number in range(rows):
        which, moment, score = number % 2, _BEGIN + number / rows * _HOURS * 3600, draw.random(1)
        sequence = sources[which].sequence
        uuid, _ = sources[which].next(int(moment * 1e9))
        writers[which].append(PredictionRecord(
            uuid, "", int(moment * 1e9), 1, "credit", "1", "stable", 1, {"x": score},
            {"predict": (score > 0.5).astype(np.int64), "predict_proba": np.column_stack([1 - score, score])}, 0, 0, 0),
            sequence)
        found.append(GroundTruth(prediction_id(uuid, 0), "crm", "final", int(draw.random() < score[0]), 0.0,
                                 moment + 60.0))
    for writer in writers:
        writer.close()
    return [found[place] for place in draw.permutation(rows).tolist()]


def _cost(job: Job, host: Shared, done: Callable[[], bool]) -> float:
    """Processor seconds until it is done."""
    began = time.process_time()
    while not done():
        job.run(host)
        time.sleep(0.01)
    return time.process_time() - began


def _is_done(host: Shared) -> bool:
    found = host.store.document(INTAKE, "all")
    if found is None:
        return False
    intake = json.loads(found.body)
    waiting = [path for path in spooled(host.home.spool) if intake["places"].get(path.name, 0) < path.stat().st_size]
    return not intake["dirty"] and not waiting


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(*map(int, sys.argv[1:]))) + "\n")
