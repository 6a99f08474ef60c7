"""What live answers are worth is said by version and hour, with intervals, from the same sums as the windows."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.metrics import accuracy_score, roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from serinus.models import register
from serinus.monitors.record import PredictionRecord
from serinus.serving.alerting import conditions
from serinus.serving.errors import ControlRefused
from serinus.serving.ground_truth import Spool
from serinus.serving.ground_truth.spool import spooled
from serinus.serving.ids import IdSource, prediction_id
from serinus.serving.performance import published
from serinus.serving.prediction_log import SegmentWriter, read, segments
from serinus.serving.steward.hold_lease import HoldLease
from serinus.serving.steward.job import Shared
from serinus.serving.steward.join_ground_truth import JoinGroundTruth
from serinus.serving.steward.measure_performance import MeasurePerformance
from serinus.serving.store import GroundTruth
from tests.serving.ground_truth.simulation import HOUR_S, START
from tests.serving.steward.hosts import shared
from tests.serving.steward.test_join_ground_truth import Clock, _finish

NOW = START + 30 * HOUR_S


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a classifier whose probabilities are right, and its reference."""
    home = tmp_path_factory.mktemp("trained") / "home"
    rows = _people(4000, np.random.default_rng(0))
    register(LogisticRegression(C=1e6).fit(rows[["x"]], rows["late"]), "credit", home=home, target="late",
             reference=rows)
    return home


def _people(rows: int, draw: np.random.Generator, middle: float = 0.0) -> pd.DataFrame:
    """People, of whom those with a large x are late."""
    frame = pd.DataFrame({"x": draw.normal(middle, 1.0, rows), "region": draw.choice(["north", "south"], rows)})
    return frame.assign(late=(draw.random(rows) < 1 / (1 + np.exp(-3 * frame["x"]))).astype(int))


@pytest.fixture
def host(trained: Path, tmp_path: Path) -> Shared:
    """A host with one version, this steward in the lead."""
    shutil.copytree(trained, tmp_path / "home")
    made = shared(tmp_path / "home", performance={"slices": ["region", "event:complaint"], "groups": ["region"]})
    HoldLease().run(made)
    return made


def _hour(host: Shared, hour: int, scores: np.ndarray, truths: Sequence[Any], senders: Sequence[str] = ("crm",),
          **inputs: Any) -> None:
    """Log a request with a row for each score, and tell what became of each that has a truth."""
    at, source = START + hour * HOUR_S + 60.0, IdSource(5 + hour)
    sequence = source.sequence
    uuid, _ = source.next(int(at * 1e9))
    log = SegmentWriter(host.home.log, 5 + hour, 1 << 22)
    outputs = {"predict": (scores > 0.5).astype(np.int64), "predict_proba": np.column_stack([1 - scores, scores])}
    log.append(PredictionRecord(uuid, "", int(at * 1e9), 1, "credit", "1", "stable", len(scores),
                                inputs or {"x": np.log(scores / (1 - scores)) / 3}, outputs, 0, 0, 0), sequence)
    log.close()
    if not truths:
        return
    spool = Spool(host.home.spool, 10**9)
    spool.append([GroundTruth(prediction_id(uuid, row), senders[row % len(senders)], "final", truth, 0.0, at + 60.0)
                  for row, truth in enumerate(truths) if truth is not None])
    spool.close()


def _live(host: Shared, hour: int, people: pd.DataFrame, *, labelled: bool = True) -> None:
    """What the model says of people, and what became of them."""
    score = 1 / (1 + np.exp(-3 * people["x"].to_numpy()))
    _hour(host, hour, np.clip(score, 1e-9, 1 - 1e-9), people["late"].tolist() if labelled else [],
          x=people["x"].to_numpy(), region=people["region"].to_numpy())


def _complain(host: Shared, hour: int, upset: pd.Series[bool]) -> None:
    """Tell of those whom an hour's request was about that they complained, some of them twice."""
    at = START + hour * HOUR_S + 60.0
    (record,) = (each for each in read(host.home.log) if each.received_ns == int(at * 1e9))
    spool = Spool(host.home.spool, 10**9)
    rows = [prediction_id(record.prediction_uuid, row) for row in np.flatnonzero(upset)]
    spool.append([GroundTruth(name, "desk", "event", 1.0, at + 90.0 + again, at + 90.0, "complaint")
                  for name in rows for again in range(1 + (name[-1] in "02468"))])
    spool.close()


def _told(host: Shared, job: MeasurePerformance | None = None) -> dict[str, Any]:
    join = JoinGroundTruth(Clock(NOW))
    if spooled(host.home.spool):
        _finish(host, join)
        join._publish_at = float("-inf")
    join.run(host)
    job = job or MeasurePerformance(join, Clock(NOW))
    job._joined = join
    for _ in range(16):  # an hour is judged at a time
        job._look_at = float("-inf")
        for live in job._live.values():
            live._due.clear()
        job.run(host)
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


def test_what_a_model_is_worth_is_declared_in_the_settings(trained: Path, tmp_path: Path,
                                                           caplog: pytest.LogCaptureFixture) -> None:
    """Value and precision of the declared class, counted by hand, of windows that were counted before it was; what
    fits no class is logged, and the rest is measured."""
    shutil.copytree(trained, tmp_path / "home")
    plain = shared(tmp_path / "home", performance={"by_model": {"credit": {"positive": "late"}}})
    HoldLease().run(plain)
    scores = np.repeat([0.9, 0.1], [60, 140])
    _hour(plain, 0, scores, [1] * 45 + [0] * 15 + [1] * 20 + [0] * 120)
    assert "value" not in _told(plain)["versions"][0]["measures"] and "'late'" in caplog.text
    declared = shared(tmp_path / "home", performance={"by_model": {"credit": {
        "positive": "0", "unit": "EUR", "values": {"1": {"1": 5, "0": -20}, "0": {"1": -1}}}}})
    declared.lease = plain.lease
    (version,) = _told(declared)["versions"]
    assert version["measures"]["value"]["value"] == (45 * 5 - 15 - 20 * 20) / 200 and version["unit"] == "EUR"
    assert version["windows"][0]["measures"]["precision"]["value"] == 120 / 140
    assert version["measures"]["recall"]["value"] == 120 / 135
    assert "precision" not in version["promised"] and "precision" not in version["windows"][0]["estimate"]


def test_a_source_that_poisons_truths_is_an_alert(host: Shared) -> None:
    """One of two sources flips the truths of confident answers: it is named; with honest truths nothing is active."""
    draw, seen = np.random.default_rng(6), []
    for hour, flipped in ((0, 0.0), (1, 0.4)):
        scores = draw.beta(0.2, 0.2, 1200).clip(0.01, 0.99)
        truths = draw.random(1200) < scores
        wrong = (np.arange(1200) % 2 == 1) & (draw.random(1200) < flipped)
        _hour(host, hour, scores, (truths ^ wrong).astype(int).tolist(), ["crm", "bot"])
        _told(host)
        seen += [each for each in conditions(host.store, NOW) if each.kind == "label_source"]
    assert [(each.active, each.severity) for each in seen] == [(False, "alarm"), (True, "alarm")]
    assert "Truths of bot (" in seen[1].summary and "crm" not in seen[1].summary


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
    (heard,) = [each for each in conditions(host.store, NOW) if each.kind == "calibration"]
    assert heard.active


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
        wrong = draw.random(300) < (0.15 if hour < 2 else 0.9)
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


def test_decay_is_seen_without_any_truth(host: Shared) -> None:
    """Harder rows: the estimate falls below what was promised by its whole interval, and alerts hear of it."""
    draw = np.random.default_rng(4)
    hard = [frame[frame["x"].abs() < 0.4] for frame in (_people(4000, draw) for _ in range(3))]
    _live(host, 0, _people(1500, draw), labelled=False)
    for hour in (1, 2):
        _live(host, hour, hard[hour], labelled=False)
    (version,) = _told(host)["versions"]
    promised = version["promised"]["accuracy"]["value"]
    estimates = [window["estimate"]["accuracy"] for window in version["windows"]]
    assert estimates[0]["low"] < promised < estimates[0]["high"]
    for hour in (1, 2):
        right = ((hard[hour]["x"] > 0) == hard[hour]["late"]).mean()
        assert estimates[hour]["low"] < right < estimates[hour]["high"] < promised - 0.02
    assert version["windows"][1]["labelled"] == 0
    (heard,) = [each for each in conditions(host.store, NOW) if each.kind == "estimated_performance"]
    assert heard.active
    assert "Without truths, accuracy is estimated at" in heard.summary
    assert heard.summary in version["estimates"]["text"]


def test_estimates_are_compared_and_withdrawn(host: Shared) -> None:
    """While P(truth | row) is what it was, intervals hold; when it is not, five wrong hours are enough."""
    draw = np.random.default_rng(5)
    for hour in range(6):
        _live(host, hour, _people(600, draw, 0.2))
    good = _told(host)["versions"][0]
    assert (good["estimates"]["cohorts"], good["estimates"]["withdrawn"]) == (6, False)
    assert good["estimates"]["coverage"] >= 0.8
    assert good["change"]["verdict"] in ("no change", "inputs")
    for hour in range(6, 14):
        people = _people(600, draw)
        _live(host, hour, people.assign(late=1 - people["late"]) if hour < 13 else people, labelled=hour < 13)
    bad = _told(host)["versions"][0]
    assert bad["estimates"]["withdrawn"]
    assert "of 13 cohorts held the realised value" in bad["windows"][13]["withdrawn"]
    assert bad["windows"][13]["estimate"] is None
    assert bad["windows"][12]["estimate"] is not None  # beside what was realised
    assert bad["change"]["verdict"] in ("relation", "both")
    assert "P(truth | row) is not what it was" in bad["change"]["text"] or "has changed" in bad["change"]["text"]
    assert bad["harm"]["state"] == "alarm"


def test_slices_and_gaps_are_told(host: Shared) -> None:
    """Of declared inputs every value, of declared events those with one and those without, of other inputs what was
    found and tested; gaps between groups."""
    draw, complaints = np.random.default_rng(6), 0
    for hour in range(3):
        people = _people(1500, draw)
        odd = (people["region"] == "south") & (draw.random(1500) < 0.5) | (people["x"] > 1.6)
        _live(host, hour, people.assign(late=people["late"].where(~odd, 1 - people["late"])))
        if hour < 2:
            upset = odd & (draw.random(1500) < 0.5)
            _complain(host, hour, upset)
            complaints += int(upset.sum())
    version = _told(host)["versions"][0]
    declared = {one["slice"]: one for one in version["slices"] if one["kind"] == "declared"}
    assert {name: one["verdict"] for name, one in declared.items()} == {
        "region=north": "no worse", "region=south": "worse", "event:complaint=no": "no worse",
        "event:complaint=yes": "worse"}
    assert declared["event:complaint=yes"]["rows"] == complaints
    south, north = (declared[f"region={name}"]["measures"]["accuracy"] for name in ("south", "north"))
    assert south["high"] < north["low"]
    found = [one for one in version["slices"] if one["kind"] == "found"]
    assert "x is from" in found[0]["slice"]
    assert found[0]["p_value"] < 0.01
    assert len(found[0]["examples"]) == 5
    gaps = {gap["measure"]: gap for gap in version["fairness"]}
    assert gaps["recall"]["groups"] == ["region=north", "region=south"]
    assert gaps["recall"]["verdict"] == "gap"


def test_estimates_outlive_a_steward_and_the_log(host: Shared) -> None:
    """What was estimated is in the store: another steward tells it, the log's cap takes nothing away."""
    _live(host, 0, _people(500, np.random.default_rng(7)), labelled=False)
    before = _told(host)["versions"][0]["windows"][0]["estimate"]
    for path in segments(host.home.log):
        path.unlink()
    _live(host, 1, _people(500, np.random.default_rng(8)), labelled=False)
    after = _told(host)["versions"][0]["windows"]
    assert [window["hour"] for window in after] == sorted(window["hour"] for window in after)
    assert after[0]["estimate"] == before
    assert after[1]["estimate"] is not None


def test_truths_that_come_when_the_sample_is_gone_are_compared(host: Shared) -> None:
    """An estimate waits for them in the store, whatever became of log and steward."""
    people = _people(600, np.random.default_rng(9))
    _live(host, 0, people)
    before = {path: path.read_bytes() for path in host.home.spool.iterdir()}
    for path in before:
        path.unlink()
    first = _told(host)["versions"][0]
    assert (first["estimates"]["cohorts"], first["windows"][0]["labelled"]) == (0, 0)
    for path, data in before.items():
        path.write_bytes(data)
    _finish(host, JoinGroundTruth(Clock(NOW)))
    for path in segments(host.home.log):
        path.unlink()
    later = _told(host)["versions"][0]
    assert (later["estimates"]["cohorts"], later["windows"][0]["labelled"]) == (1, 600)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_intervals_hold_and_nothing_cries_wolf(host: Shared, seed: int) -> None:
    """Over a day of inputs that wander while P(truth | row) stays: nine in ten intervals hold, nothing is withdrawn, no
    harm is seen; then the relation turns, and both are told within three hours."""
    draw, job = np.random.default_rng(100 + seed), MeasurePerformance(JoinGroundTruth(), Clock(NOW))
    for hour in range(24):
        _live(host, hour, _people(500, draw, float(np.sin(hour / 4)) / 2))
    for _ in range(2):  # the same job, so that all hours are judged
        calm = _told(host, job)["versions"][0]
    assert calm["estimates"]["cohorts"] == 24
    assert calm["estimates"]["coverage"] >= 0.9
    assert (calm["estimates"]["withdrawn"], calm["harm"]["state"]) == (False, "ok")
    for hour in range(24, 27):
        people = _people(500, draw)
        _live(host, hour, people.assign(late=(people["late"] + (draw.random(500) < 0.4)) % 2))
    turned = _told(host, job)["versions"][0]
    assert turned["harm"]["state"] == "alarm"
    assert turned["change"]["relation"]["low"] > 0


@pytest.mark.slow
def test_a_regression_is_estimated_and_watched_too(tmp_path: Path) -> None:
    """Rows on which errors are larger raise the estimate without truths, and the loss with them; words as inputs, and
    missing ones, are no hindrance."""
    draw = np.random.default_rng(11)

    def houses(rows: int, hard: bool) -> pd.DataFrame:
        size = draw.uniform(1.2, 2.0, rows) if hard else np.abs(draw.normal(size=rows))
        frame = pd.DataFrame({"x": draw.normal(size=rows), "z": size * draw.choice([-1, 1], rows),
                              "town": draw.choice(["Oslo", "Rome"], rows)})
        frame.loc[::9, "z"] = np.nan
        return frame.assign(price=10 * frame["x"] + draw.normal(size=rows) * (0.3 + frame["z"].abs().fillna(0.5) ** 2))

    reference = houses(1500, False)
    columns = make_column_transformer((OneHotEncoder(), ["town"]), (SimpleImputer(), ["x", "z"]))
    fitted = make_pipeline(columns, LinearRegression()).fit(reference.drop(columns="price"), reference["price"])
    register(fitted, "houses", home=tmp_path, reference=reference, target="price")
    host = shared(tmp_path)
    HoldLease().run(host)
    for hour, (hard, labelled) in enumerate(((False, True), (True, False), (True, True))):
        frame = houses(800, hard)
        at, source = START + hour * HOUR_S + 60.0, IdSource(5 + hour)
        sequence = source.sequence
        uuid, _ = source.next(int(at * 1e9))
        log = SegmentWriter(host.home.log, 5 + hour, 1 << 22)
        inputs = {name: frame[name].to_numpy() for name in ("x", "z", "town")}
        log.append(PredictionRecord(uuid, "", int(at * 1e9), 1, "houses", "1", "stable", 800, inputs, {
            "predict": fitted.predict(frame)}, 0, 0, 0), sequence)
        log.close()
        if labelled:
            spool = Spool(host.home.spool, 10**9)
            spool.append([GroundTruth(prediction_id(uuid, row), "crm", "final", float(price), 0.0, at + 60.0)
                          for row, price in enumerate(frame["price"])])
            spool.close()
    join = JoinGroundTruth(Clock(NOW))
    _finish(host, join)
    join._publish_at = float("-inf")
    join.run(host)
    job = MeasurePerformance(join, Clock(NOW))
    for _ in range(6):
        job._look_at = float("-inf")
        for live in job._live.values():
            live._due.clear()
        job.run(host)
    document = published(host.home.performance, "houses")
    (version,) = document["versions"]
    promised = version["promised"]["rmse"]["value"]
    estimates = [window["estimate"]["rmse"] for window in version["windows"]]
    assert document["measure"] == "rmse"
    assert estimates[0]["low"] < promised < estimates[0]["high"]
    assert estimates[1]["low"] > promised
    assert version["windows"][2]["measures"]["rmse"]["low"] > promised
    assert version["harm"]["rows"] == 1600
    assert version["harm"]["state"] == "alarm"
    assert version["change"]["verdict"] in ("inputs", "both", "unknown")
