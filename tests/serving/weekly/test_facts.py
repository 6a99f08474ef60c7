"""What is known of a model, read from the real files of a home."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score

from serinus.models import register
from serinus.models.errors import ModelError
from serinus.monitors.alerts import Condition
from serinus.monitors.record import PredictionRecord
from serinus.serving.alerting import report
from serinus.serving.ground_truth import Spool
from serinus.serving.home import Home
from serinus.serving.ids import IdSource, prediction_id
from serinus.serving.monitoring import MonitorFiles, View
from serinus.serving.prediction_log import SegmentWriter
from serinus.serving.prediction_log.compaction import compact
from serinus.serving.steward.hold_lease import HoldLease
from serinus.serving.steward.job import Shared
from serinus.serving.steward.join_ground_truth import JoinGroundTruth
from serinus.serving.store import GroundTruth, JournalEntry
from serinus.serving.weekly import gather
from serinus.serving.weekly.facts import DAY_S, traffic
from tests.serving.steward.hosts import shared

END = 20_000 * DAY_S + 12 * 3600.0
BEGIN = END - 7 * DAY_S


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a classifier, used by all."""
    home = tmp_path_factory.mktemp("facts") / "home"
    rows = pd.DataFrame({"x": np.linspace(-1, 1, 80)})
    register(LogisticRegression().fit(rows, (rows["x"] > 0).astype(int)), "credit", home=home)
    return home


@pytest.fixture(scope="module")
def host(folder: Path) -> Shared:
    """Requests of three days, truths, an alert, a journal."""
    made = shared(folder)
    HoldLease().run(made)
    for writer, (at, rows, wrong) in enumerate(((BEGIN - DAY_S, 80, 0), (BEGIN + 3600, 100, 30), (END - 9000, 60, 6))):
        answer(made, 5 + writer, at, rows, wrong)
    compact(made.home.log)
    answer(made, 9, END - 9000, 10, 0)
    job = JoinGroundTruth(lambda: END)
    for _ in range(50):
        job.run(made)
    for time in (BEGIN - 5, BEGIN + 5, END + 5):
        made.store.append(JournalEntry("credit", "note", time, 0, "ana", "", {"text": str(time)}))
    report(made.store, Condition("credit", "1", "drift", "alarm", True, "age moved"), END)
    MonitorFiles(made.home.monitors).publish(View({"format": 1, "model": "credit", "version": "1", "state": "ok"}))
    return made


def answer(host: Shared, writer: int, at: float, rows: int, wrong: int) -> None:
    """Log a request, and tell what became of its rows: `wrong` of them were answered wrongly."""
    source = IdSource(writer)
    sequence = source.sequence
    uuid, _ = source.next(int(at * 1e9))
    log = SegmentWriter(host.home.log, writer, 1 << 22)
    said = np.ones(rows, np.int64)
    outputs = {"predict": said, "predict_proba": np.tile([0.2, 0.8], (rows, 1))}
    log.append(PredictionRecord(uuid, "", int(at * 1e9), 1, "credit", "1", "stable", rows, {"x": np.ones(rows)},
                                outputs, 0, 0, 0), sequence)
    log.close()
    spool = Spool(host.home.spool, 10**9)
    spool.append([GroundTruth(prediction_id(uuid, row), "crm", "final", int(row >= wrong), 0.0, at + 60)
                  for row in range(rows)])
    spool.close()


def test_rows_are_counted_by_hour_in_segments_and_in_parquet(host: Shared) -> None:
    """The log's files are opened only where no manifest knows how many rows there are."""
    found = traffic(host.home.log, "credit", BEGIN, END)
    assert found.rows == {(int(BEGIN // 3600) + 1, "1"): 100, (int((END - 9000) // 3600), "1"): 70}
    assert found.since is not None and found.since <= END
    assert traffic(host.home.log, "other", BEGIN, END).rows == {}


def test_quality_is_that_of_all_rows_of_the_days(host: Shared) -> None:
    """Not a mean of hours; the days before are judged by themselves."""
    (found,) = gather(Home(host.home.path), "credit", BEGIN, END).quality
    truths = np.concatenate([np.arange(100) >= 30, np.arange(60) >= 6, np.ones(10, bool)])
    assert found.now.value == accuracy_score(truths, np.ones(170, bool)) and found.now.rows == 170
    assert (found.before.value, found.before.rows) == (1.0, 80)
    assert (found.measure, found.larger_is_better, found.version, found.role) == ("accuracy", True, "1", "stable")


def test_the_journal_is_that_of_the_days(host: Shared) -> None:
    """Neither what came before nor what came after."""
    assert [entry.body["text"] for entry in gather(host.home, "credit", BEGIN, END).journal
            if entry.kind == "note"] == [str(BEGIN + 5)]


def test_alerts_and_monitors_are_the_models_own(host: Shared) -> None:
    """As they stand now."""
    facts = gather(host.home, "credit", BEGIN, END)
    assert [view["state"] for view in facts.monitors] == ["ok"]
    assert all(alert["model"] == "credit" for alert in facts.alerts)


def test_without_a_store_the_rest_is_told(folder: Path, tmp_path: Path) -> None:
    """And that the journal is missing."""
    (tmp_path / "models").symlink_to(folder / "models")
    facts = gather(Home(tmp_path), "credit", BEGIN, END)
    assert facts.record is None and facts.journal == ()
    assert len(facts.remarks) == 1 and "journal is missing" in facts.remarks[0]


def test_a_model_that_nobody_knows_is_an_error(folder: Path) -> None:
    """With the names that there are."""
    with pytest.raises(ModelError, match="credit"):
        gather(Home(folder), "credti", BEGIN, END)
