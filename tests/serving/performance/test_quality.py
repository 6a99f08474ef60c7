"""Clusterers and outlier detectors are held against their own reference, over a real log."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.cluster import KMeans
from sklearn.ensemble import IsolationForest

from serinus.models import Registry, register
from serinus.monitors.record import PredictionRecord
from serinus.serving.alerting import conditions
from serinus.serving.ids import IdSource
from serinus.serving.performance import published
from serinus.serving.performance.quality import Quality, quality_of
from serinus.serving.prediction_log import SegmentWriter
from serinus.serving.steward.hold_lease import HoldLease
from serinus.serving.steward.job import Shared
from serinus.serving.steward.join_ground_truth import JoinGroundTruth
from serinus.serving.steward.measure_performance import MeasurePerformance
from tests.serving.ground_truth.simulation import HOUR_S, START
from tests.serving.steward.hosts import shared
from tests.serving.steward.test_join_ground_truth import Clock


def _points(rows: int, seed: int, spread: float = 0.3) -> pd.DataFrame:
    draw = np.random.default_rng(seed)
    centres = np.array([[0.0, 0.0], [5.0, 5.0], [0.0, 5.0]])[draw.integers(0, 3, rows)]
    return pd.DataFrame(centres + draw.normal(0, spread, (rows, 2)), columns=["a", "b"])


def _log(host: Shared, fitted: Any, points: pd.DataFrame, hour: int) -> None:
    source = IdSource(hour + 1)
    sequence = source.sequence
    uuid, _ = source.next(int((START + hour * HOUR_S) * 1e9))
    writer = SegmentWriter(host.home.log, hour + 1, 1 << 22)
    writer.append(PredictionRecord(
        uuid, "", 1, 1, "parts", "1", "stable", len(points), {name: points[name].to_numpy() for name in points},
        {"predict": fitted.predict(points)}, 0, 0, 0), sequence)
    writer.close()


@pytest.mark.parametrize(("model", "measure"), [
    (KMeans(3, n_init=3, random_state=0), "silhouette"),
    (IsolationForest(random_state=0, n_estimators=30), "alarm_rate")])
def test_answers_that_change_are_told(tmp_path: Path, model: Any, measure: str) -> None:
    """Rows like the reference's change nothing; others lower the silhouette, or raise more alarms."""
    reference = _points(900, 0)
    version = register(model.fit(reference), "parts", home=tmp_path, reference=reference)
    quality = quality_of(Registry(tmp_path), version)
    assert quality is not None
    assert Quality.from_bytes(quality.to_bytes()).to_bytes() == quality.to_bytes()
    host = shared(tmp_path)
    HoldLease().run(host)
    told = []
    for hour, spread in ((0, 0.3), (1, 1.5)):
        _log(host, model, _points(800, hour + 1, spread), 3 * hour)
        clock = Clock(START + (3 * hour + 1) * HOUR_S)
        joined = JoinGroundTruth(clock)
        joined.run(host)
        MeasurePerformance(joined, clock).run(host)
        (found,) = published(host.home.performance, "parts")["versions"]
        told.append({one["measure"]: one["changed"] for one in found["quality"]}[measure])
    assert told == [False, True]
    (heard,) = [each for each in conditions(host.store, START + 4 * HOUR_S + 60) if each.kind == "performance"]
    assert heard.active
