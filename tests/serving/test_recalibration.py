"""Recalibration: the same classifier, probabilities that mean what they say, nothing registered that does not help."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.cluster import KMeans
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB

from serinus.models import Registry, Trust, load, register
from serinus.models.optimize import optimize
from serinus.monitors.record import PredictionRecord
from serinus.serving.errors import CommandError
from serinus.serving.home import Home
from serinus.serving.ids import IdSource, prediction_id
from serinus.serving.prediction_log import SegmentWriter
from serinus.serving.recalibration import ATTACHMENT, recalibrate
from serinus.serving.store import GroundTruth, SqliteStore


def drawn(seed: int, rows: int) -> pd.DataFrame:
    """Four columns that say the same: naive Bayes counts them as four witnesses, and is far too sure."""
    rng = np.random.default_rng(seed)
    truth = rng.random(rows) < 0.4
    hint = np.where(truth, 0.7, -0.7) + rng.normal(size=rows)
    frame = pd.DataFrame({f"x{k}": hint + rng.normal(0, 0.1, rows) for k in range(4)})
    return frame.assign(churned=np.where(truth, "yes", "no"))


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A home with `churn:1`, a model that is too sure of itself."""
    frame = drawn(0, 2_000)
    register(GaussianNB().fit(frame.drop(columns="churned"), frame["churned"]), "churn", home=tmp_path / "home")
    return Home(tmp_path / "home")


@pytest.fixture
def recent(tmp_path: Path) -> Path:
    """Recent rows with their truth."""
    drawn(1, 3_000).to_csv(tmp_path / "recent.csv", index=False)
    return tmp_path / "recent.csv"


@pytest.mark.parametrize(("method", "part"), [("isotonic", 0.2), ("platt", 0.6), (None, 0.2)])
def test_the_new_versions_probabilities_mean_what_they_say(
    home: Home, recent: Path, method: str | None, part: float
) -> None:
    """On fresh rows the error falls, isotonic's to a fifth; the classifier's order of rows stays what it was."""
    done = recalibrate("churn", home, data=recent, target="churned", method=method)
    fresh = drawn(2, 20_000)
    inputs = {name: fresh[name].to_numpy() for name in fresh if name != "churned"}
    scores = {}
    for version in (done.parent, done.version):
        model = load(version, trust=Trust(home.path))
        scores[version.tag] = model.predict(inputs)["predict_proba"][:, 1]
    truth = (fresh["churned"] == "yes").to_numpy()
    bins = {tag: np.array_split(np.argsort(p), 10) for tag, p in scores.items()}
    error = {tag: np.mean([abs(p[rows].mean() - truth[rows].mean()) for rows in bins[tag]])
             for tag, p in scores.items()}
    assert error["churn:2"] < error["churn:1"] * part and error["churn:1"] > 0.1
    order = np.argsort(scores["churn:1"])
    assert (np.diff(scores["churn:2"][order]) >= -1e-9).all()
    assert done.before.error > 0.1 and done.after.error < done.before.error * part


def test_where_it_comes_from_is_kept(home: Home, recent: Path) -> None:
    """Lineage, signature and card are the parent's; the numbers are an attachment; the same again is no new version."""
    done = recalibrate("churn:1", home, data=recent, target="churned", method="platt")
    assert (done.version.tag, done.version.lineage.parent) == ("churn:2", "churn:1")
    assert done.version.lineage.step == "recalibrated (platt) on 3,000 rows of recent.csv"
    assert done.version.signature == done.parent.signature
    kept = json.loads(Registry(home.path).attachment(done.version, ATTACHMENT))
    facts = {name: value for name, value in done.to_json().items() if name not in ("tag", "parent")}
    assert kept == {"format": 1} | facts


def test_it_can_be_optimised_and_then_says_where_to_go(home: Home, recent: Path) -> None:
    """Platt's calibration converts to ONNX; a graph is not recalibrated itself, but what it was made of."""
    calibrated = recalibrate("churn:1", home, data=recent, target="churned", method="platt").version
    graph = optimize(calibrated, drawn(7, 300).drop(columns="churned"), registry=Registry(home.path),
                     trust=Trust(home.path)).version
    with pytest.raises(CommandError, match=f"It was made of {calibrated.tag}: recalibrate that"):
        recalibrate(graph.tag, home, data=recent, target="churned")


def logged(home: Home, frame: pd.DataFrame) -> None:
    """Put a request per 100 rows into the log, and half of the truths into the store."""
    ids, writer = IdSource(7), SegmentWriter(home.log, 7, 1 << 30)
    columns = [name for name in frame if name != "churned"]
    store = SqliteStore(home.store, create=True)
    for sequence, start in enumerate(range(0, len(frame), 100)):
        part = frame.iloc[start : start + 100]
        uuid, _ = ids.next(time.time_ns())
        inputs = {name: part[name].to_numpy() for name in columns}
        outputs = {"predict": np.array(["no"] * len(part), object)}
        writer.append(PredictionRecord(uuid, "r", time.time_ns(), 1, "churn", "1", "stable", len(part), inputs, outputs,
                                       0, 0, 0), sequence)
        store.add_ground_truths([
            GroundTruth(prediction_id(uuid, row), "crm", "final", part["churned"].iloc[row], 0.0, time.time())
            for row in range(0, len(part), 2)])
    writer.close()
    store.close()


def test_the_log_and_its_truths_are_enough(home: Home) -> None:
    """Rows of this version whose truth has come: half of them here."""
    logged(home, drawn(3, 3_000))
    done = recalibrate("churn", home)
    assert (done.rows, done.source) == (1_500, "the log")
    assert done.after.error < done.before.error / 2


def test_what_does_not_help_is_not_registered(home: Home, recent: Path) -> None:
    """A model that is calibrated already stays as it is, unless somebody insists."""
    frame = drawn(4, 5_000)
    register(LogisticRegression().fit(frame.drop(columns="churned"), frame["churned"]), "calm", home=home.path)
    with pytest.raises(CommandError, match=r"calm:1 stays as it is: .* would not help .*--force does it"):
        recalibrate("calm", home, data=recent, target="churned")
    assert Registry(home.path).versions("calm") == ["1"]
    assert recalibrate("calm", home, data=recent, target="churned", force=True).version.tag == "calm:2"


def test_what_cannot_be_recalibrated_says_why(home: Home, recent: Path, tmp_path: Path) -> None:
    """No truths, too few rows, no target, no probabilities: a sentence each, and nothing is registered."""
    register(KMeans(2, n_init=1).fit(drawn(5, 50).drop(columns="churned")), "groups", home=home.path)
    few = tmp_path / "few.csv"
    drawn(6, 80).to_csv(few, index=False)
    for words, sentence in (
        ({"tag": "churn"}, "No truth has come"),
        ({"tag": "churn", "data": few, "target": "churned"}, "80 rows of few.csv have a truth .* 400 are needed"),
        ({"tag": "churn", "data": recent}, "--data needs --target"),
        ({"tag": "churn", "data": recent, "target": "nothing"}, "no target column 'nothing'"),
        ({"tag": "groups", "data": recent, "target": "churned"}, "takes a scikit-learn classifier with predict_proba"),
    ):
        with pytest.raises(CommandError, match=sentence):
            recalibrate(words.pop("tag"), home, **words)
    assert Registry(home.path).versions("churn") == ["1"]
