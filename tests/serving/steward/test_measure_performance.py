"""What live answers are worth is said by version and hour, with intervals, from the same sums as the windows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, roc_auc_score

from serinus.models import register
from serinus.monitors.record import PredictionRecord
from serinus.serving.alerting import conditions
from serinus.serving.errors import ControlRefused
from serinus.serving.ground_truth import Spool
from serinus.serving.ids import IdSource, prediction_id
from serinus.serving.performance import published
from serinus.serving.prediction_log import SegmentWriter
from serinus.serving.steward.hold_lease import HoldLease
from serinus.serving.steward.job import Shared
from serinus.serving.steward.join_ground_truth import JoinGroundTruth
from serinus.serving.steward.measure_performance import MeasurePerformance
from serinus.serving.store import GroundTruth
from tests.serving.ground_truth.simulation import HOUR_S, START
from tests.serving.steward.hosts import shared
from tests.serving.steward.test_join_ground_truth import Clock, _finish

NOW = START + 30 * HOUR_S


@pytest.fixture
def host(tmp_path: Path) -> Shared:
    """A host with one version, this steward in the lead."""
    draw = np.random.default_rng(0)
    rows = pd.DataFrame({"x": draw.normal(size=500)})
    truth = (draw.random(500) < 0.5 + rows["x"] / 8).astype(int)
    register(LogisticRegression().fit(rows, truth), "credit", home=tmp_path, target="late",
             reference=rows.assign(late=truth))
    made = shared(tmp_path)
    HoldLease().run(made)
    return made


def _hour(host: Shared, hour: int, scores: np.ndarray, truths: Sequence[Any], *, writer: int = 5) -> None:
    """Log a request with a row for each score, and tell what became of each that has a truth."""
    at, source = START + hour * HOUR_S + 60.0, IdSource(writer + hour)
    sequence = source.sequence
    uuid, _ = source.next(int(at * 1e9))
    log = SegmentWriter(host.home.log, writer + hour, 1 << 22)
    outputs = {"predict": (scores > 0.5).astype(np.int64), "predict_proba": np.column_stack([1 - scores, scores])}
    log.append(PredictionRecord(uuid, "", int(at * 1e9), 1, "credit", "1", "stable", len(scores), {"x": scores},
                                outputs, 0, 0, 0), sequence)
    log.close()
    spool = Spool(host.home.spool, 10**9)
    spool.append([GroundTruth(prediction_id(uuid, row), "crm", "final", truth, 0.0, at + 60.0)
                  for row, truth in enumerate(truths) if truth is not None])
    spool.close()


def _told(host: Shared) -> dict[str, Any]:
    _finish(host, join := JoinGroundTruth(Clock(NOW)))
    join._publish_at = float("-inf")
    join.run(host)
    MeasurePerformance(Clock(NOW)).run(host)
    return published(host.home.performance, "credit")


def test_measures_are_those_of_all_rows(host: Shared) -> None:
    """By hour and together, with intervals that hold them; an hour of few truths is not judged."""
    draw = np.random.default_rng(1)
    scores = [draw.random(600) for _ in range(3)]
    truths = [(draw.random(600) < each).astype(int) for each in scores]
    for hour in range(2):
        _hour(host, hour, scores[hour], truths[hour].tolist())
    _hour(host, 2, scores[2], [*truths[2][:40].tolist(), *[None] * 560])
    (version,) = _told(host)["versions"]
    score, truth = np.concatenate(scores[:2]), np.concatenate(truths[:2])
    whole = version["measures"]
    assert whole["accuracy"]["value"] == accuracy_score(truth, score > 0.5)
    assert abs(whole["roc_auc"]["value"] - roc_auc_score(truth, score)) < 0.002
    assert whole["accuracy"]["low"] < whole["accuracy"]["value"] < whole["accuracy"]["high"]
    assert [(window["rows"], window["labelled"], window["mature"]) for window in version["windows"]] == [
        (600, 600, True), (600, 600, True), (600, 40, False)]
    assert [window["measures"].get("accuracy", {}).get("value") for window in version["windows"]] == [
        accuracy_score(truths[0], scores[0] > 0.5), accuracy_score(truths[1], scores[1] > 0.5), None]
    assert version["calibration"]["error"] < 0.03
    assert sum(each["rows"] for each in version["calibration"]["classes"][0]["bins"]) == 1200


def test_probabilities_that_are_off_are_told(host: Shared) -> None:
    """With the class, the error without what chance gives, and the reliability table."""
    draw = np.random.default_rng(2)
    scores = draw.random(3000)
    _hour(host, 0, scores, (draw.random(3000) < 0.5 + (scores - 0.5) * 0.4).astype(int).tolist())
    calibration = _told(host)["versions"][0]["calibration"]
    assert calibration["classes"][0]["class"] == "1"
    assert abs(calibration["error"] - 0.15) < 0.03
    assert calibration["classes"][0]["slope"] < 0.6
    assert "too sure of themselves" in calibration["text"]


def test_nothing_is_known_of_others(host: Shared) -> None:
    """A model without performance is refused in a sentence that names those that have some."""
    _hour(host, 0, np.full(60, 0.7), [1] * 60)
    _told(host)
    with pytest.raises(ControlRefused, match="performance of 'wine' yet; known: credit"):
        published(host.home.performance, "wine")


def test_harm_is_seen_and_survives_a_restart(host: Shared) -> None:
    """More wrong answers than were promised raise an alarm that alerts hear of; the evidence is in the store."""
    draw = np.random.default_rng(3)
    told = []
    for hour in range(4):
        scores = draw.choice([0.1, 0.9], 300)
        wrong = draw.random(300) < (0.4 if hour < 2 else 0.9)
        _hour(host, hour, scores, ((scores > 0.5) != wrong).astype(int).tolist())
        told.append(_told(host)["versions"][0]["harm"])  # each time by another steward
    assert [harm["state"] for harm in told] == ["ok", "ok", "alarm", "alarm"]
    assert [harm["rows"] for harm in told] == [300, 600, 900, 1200]
    assert 0.8 < told[3]["loss"] < 1
    assert "promised" in told[3]["text"]
    (heard,) = [each for each in conditions(host.store, NOW) if each.kind == "loss"]
    assert (heard.active, heard.severity, heard.facts["rows"]) == (True, "alarm", 1200)


def test_a_truth_counts_once(host: Shared) -> None:
    """What is looked at again, or revised, adds no evidence a second time."""
    _hour(host, 0, np.full(200, 0.9), [0] * 200)
    first = _told(host)["versions"][0]["harm"]
    assert _told(host)["versions"][0]["harm"] == first
    assert first["rows"] == 200
