"""The sample of live rows is uniform, bounded, and the same however the log was read."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from serinus.models import Field, Signature
from serinus.monitors.record import PredictionRecord
from serinus.serving.ground_truth.columns import HOUR_MS, answers_of
from serinus.serving.ids import IdSource, prediction_id
from serinus.serving.performance.sample import LiveSample, Looker, Rows, Who
from serinus.serving.prediction_log import SegmentWriter
from serinus.serving.prediction_log.compaction import compact
from tests.serving.ground_truth.simulation import START

WHO = Who("credit", "1", "stable")
HOUR = START // 3600


@pytest.fixture(scope="module")
def looker() -> Looker:
    """What is kept of a classifier without a reference."""
    signature = Signature((Field("x", "FP64", (-1,)),), (
        Field("predict", "INT64", (-1,), labels=(0, 1)), Field("predict_proba", "FP64", (-1, 2), labels=(0, 1))))
    return Looker(answers_of(signature), None, declared=("region",))


def _write(log: Path, requests: int, seed: int = 0, rows: int = 3) -> list[str]:
    draw, source = np.random.default_rng(seed), IdSource(seed + 1)
    writer, ids = SegmentWriter(log, seed + 1, 50_000), []
    for _ in range(requests):
        sequence = source.sequence
        uuid, _ = source.next(int((START + draw.uniform(0, 3000)) * 1e9))
        score = draw.random(rows)
        ids += [prediction_id(uuid, row) for row in range(rows)]
        writer.append(PredictionRecord(
            uuid, "", 1, 1, "credit", "1", "stable", rows, {"x": score, "region": np.array(["n"] * rows, object)},
            {"predict": score > 0.5, "predict_proba": np.column_stack([1 - score, score])}, 0, 0, 0), sequence)
    writer.close()
    return ids


def _sample(log: Path, looker: Looker, most: int, patience: float = 60.0) -> Rows:
    live = LiveSample(log, lambda who: looker if who == WHO else None, most)
    while not live.read(time.monotonic() + patience, HOUR - 1):
        pass
    rows = live.hours[WHO][HOUR].rows()
    assert rows is not None
    return rows


def test_it_is_the_same_however_the_log_was_read(tmp_path: Path, looker: Looker) -> None:
    """At once or in small turns, all rows or some: the rows with the smallest keys, of two writers."""
    ids = {*_write(tmp_path, 500), *_write(tmp_path, 500, seed=1)}
    whole, some, turns = (_sample(tmp_path, looker, most, patience) for most, patience in (
        (10_000, 60.0), (200, 60.0), (200, 1e-3)))
    assert set(whole.ids) == ids
    assert set(some.ids) == set(turns.ids)
    order = np.argsort(whole.keys)[:200]
    assert set(some.ids) == {whole.ids[place] for place in order}
    assert set(some.declared["region"]) == {"n"}


def test_what_is_compacted_meanwhile_is_read_once(tmp_path: Path, looker: Looker) -> None:
    """Before, in the middle of it, and after a restart: the same rows."""
    log = tmp_path / "log"
    ids = _write(log, 600)
    before = _sample(log, looker, 10_000)
    live = LiveSample(log, lambda who: looker if who == WHO else None, 10_000)
    assert not live.read(time.monotonic() + 1e-3, HOUR - 1)
    assert compact(log) > 1
    while not live.read(time.monotonic() + 1e-3, HOUR - 1):
        pass
    more = _write(log, 10, seed=5)
    assert live.read(time.monotonic() + 60, HOUR - 1)
    rows = live.hours[WHO][HOUR].rows()
    assert rows is not None
    assert sorted(rows.ids) == sorted(ids + more)
    assert live.hours[WHO][HOUR].seen == len(ids + more)
    compact(log)
    again = _sample(log, looker, 10_000)
    assert set(before.ids) < set(again.ids) == set(rows.ids)


def test_every_row_has_the_same_chance(tmp_path: Path, looker: Looker) -> None:
    """First rows of requests are taken as often as later ones, and scores are not looked at."""
    _write(tmp_path, 2000)
    sample = _sample(tmp_path, looker, 1500)
    places = np.bincount([int(name.rpartition("-")[2]) for name in sample.ids])
    assert abs(places / 1500 - 1 / 3).max() < 0.05
    assert sample.scores is not None
    assert abs(sample.scores[:, 1].mean() - 0.5) < 0.03


def test_what_is_old_or_too_much_is_forgotten(tmp_path: Path, looker: Looker) -> None:
    """Hours that nobody asks for go; a log that is gone, or a segment that is no segment, holds nothing up."""
    _write(tmp_path, 100)
    (tmp_path / "000000099-0000000000.seg").write_bytes(b"no segment")
    live = LiveSample(tmp_path, lambda _: looker, 100)
    assert live.read(time.monotonic() + 60, HOUR - 1)
    live.forget(HOUR + 1)
    assert live.hours[WHO] == {}
    assert LiveSample(tmp_path / "nowhere", lambda _: looker, 100).read(time.monotonic() + 1, 0)
    assert HOUR * HOUR_MS == START * 1000
