"""`serinus models evaluate`, `replay` and `register --evaluate`: verdicts, files, and exit codes."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from sklearn.tree import DecisionTreeClassifier

from serinus.models import register
from serinus.models.lineage import data_digest
from serinus.monitors.evaluation import latency
from serinus.monitors.record import PredictionRecord
from serinus.serving.home import Home
from serinus.serving.ids import IdSource
from serinus.serving.prediction_log import SegmentWriter

POLICY = """[margins]
accuracy = 0.2
[leakage]
max_area = 1.0
[robustness]
rows = 20
features = 2
[latency]
max_ratio = 50.0
"""


@pytest.fixture(autouse=True)
def few_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    """What an answer costs is tried elsewhere."""
    monkeypatch.setattr(latency, "_CALLS", 10)


@pytest.fixture
def files(tmp_path: Path, home: Path) -> Path:
    """Rows of iris with their kinds, and a policy that iris can meet."""
    rows, kinds = load_iris(return_X_y=True, as_frame=True)
    rows.assign(kind=kinds).to_csv(tmp_path / "rows.csv", index=False)
    (tmp_path / "policy.toml").write_text(POLICY)
    return tmp_path


def _words(files: Path, tag: str = "iris", *more: Any) -> tuple[Any, ...]:
    return ("models", "evaluate", tag, "--data", files / "rows.csv", "--target", "kind", *more)


def test_a_version_that_is_no_worse_passes(cli: Any, files: Path) -> None:
    """A line for each check, a table of metrics, and what is written where."""
    said = cli(*_words(files, "iris:2", "--policy", files / "policy.toml", "--out", files / "gate", "--html",
                       files / "page.html"))
    assert said.code == 0, said
    head, *lines = said.out.splitlines()
    assert head == "iris:2: pass  150 rows of rows.csv, against iris:1"
    assert [line.split()[1] for line in lines[:10]] == [
        "signature", "metrics", "calibration", "slices", "robustness", "fairness", "leakage", "latency", "profile",
        "provenance"]
    assert "METRIC" in said.out and f"Written: {files / 'page.html'}" in said.out
    assert sorted(path.name for path in (files / "gate").iterdir()) == ["MODEL_CARD.md", "bom.json", "gate.json"]
    assert (files / "page.html").read_text().startswith("<!doctype html>")


def test_show_tells_the_verdict_its_rows_and_who_answers_for_it(cli: Any, files: Path) -> None:
    """The digest is that of the rows in `gate.json`; a version that was never judged has none."""
    cli(*_words(files, "iris:2", "--policy", files / "policy.toml", "--approver", "grace"))
    digest = data_digest(pd.read_csv(files / "rows.csv"))
    gate = cli("models", "show", "iris:2", "--json").json["gate"]
    assert (gate["verdict"], gate["digest"], gate["approver"], gate["against"]) == (
        "pass", digest, "grace", "iris:1")
    shown = cli("models", "show", "iris:2").out
    assert f"(150 rows, {digest})" in shown and ", approver grace" in shown
    assert cli("models", "show", "iris:1", "--json").json["gate"] is None


def test_the_default_margins_need_more_rows(cli: Any, files: Path) -> None:
    """Undecided is exit code 3, and says how many."""
    (files / "policy.toml").write_text("[leakage]\nmax_area = 1.0\n[robustness]\nrows = 20\nfeatures = 2")
    said = cli(*_words(files, "iris:2", "--policy", files / "policy.toml", "--json"))
    assert (said.code, said.json["verdict"]) == (3, "undecided")
    assert "too few rows to decide: have 150, need about" in said.json["sentence"]


def test_a_leak_fails(cli: Any, files: Path) -> None:
    """A petal alone tells the kinds apart: exit code 1, and `models show` remembers."""
    assert cli(*_words(files)).code == 1
    assert "  gate  fail on rows.csv (150 rows, sha256:" in cli("models", "show", "iris").out


def test_a_rollout_of_a_failed_version_is_refused_unless_somebody_answers_for_it(cli: Any, files: Path) -> None:
    """Nobody meets traffic with it unnoticed; whether to go on is theirs to say."""
    cli(*_words(files, "iris:2"))
    for more, code in ((), 1), (("--force",), 0):
        said = cli("rollout", "start", "iris:2", "--manual", "--steps", "50", *more)
        assert said.code == code and "the evaluation of iris:2 on rows.csv failed: " in said.err


def test_a_rollout_of_a_version_that_nobody_judged_says_nothing(cli: Any) -> None:
    """As one that passed."""
    assert "evaluation" not in cli("rollout", "start", "iris:2", "--manual", "--steps", "50").err


@pytest.mark.parametrize(("more", "sentence"), [
    (("--policy", "none.toml"), "Policy none.toml: no such file."),
    (("--against", "iris:2"), "cannot be held against itself"),
    (("--group", "who"), "no column 'who'"),
])
def test_what_does_not_fit_exits_with_2(cli: Any, files: Path, more: tuple[str, ...], sentence: str) -> None:
    """A sentence, and no trace of a stack."""
    said = cli(*_words(files, "iris:2", *more))
    assert said.code == 2 and sentence in said.err and "Traceback" not in said.err


@pytest.mark.parametrize(("words", "sentence"), [
    (("--against", "shadow", "--target", "kind"), "leave out --data, --target"),
    (("--target", "kind"), "Give --data FILE and --target COLUMN, or --against shadow.")])
def test_rows_come_from_a_file_or_from_the_log(cli: Any, words: tuple[str, ...], sentence: str) -> None:
    """Never from both, never from nowhere."""
    said = cli("models", "evaluate", "iris:2", *words)
    assert said.code == 2 and sentence in said.err


def test_a_version_without_a_shadow_is_undecided(cli: Any, files: Path) -> None:
    """With exit code 3."""
    said = cli("models", "evaluate", "iris:2", "--against", "shadow")
    assert said.code == 3 and "has no answer of iris:2" in said.err


def test_a_page_that_cannot_be_written_is_said(cli: Any, files: Path) -> None:
    """After the verdict was kept."""
    said = cli(*_words(files, "iris:2", "--html", files / "rows.csv" / "page.html"))
    assert said.code == 2 and "cannot be written" in said.err


@pytest.fixture
def tree(files: Path) -> tuple[Any, ...]:
    """The words that register a tree."""
    rows, kinds = load_iris(return_X_y=True, as_frame=True)
    path = files / "tree.joblib"
    joblib.dump(DecisionTreeClassifier(max_depth=2).fit(rows, kinds), path)
    digest = f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"
    return ("models", "register", "tree", path, "--trust", digest)


def test_registration_judges_on_request(cli: Any, files: Path, tree: tuple[Any, ...]) -> None:
    """The version is there whatever the verdict, which is the exit code."""
    words = (*tree, "--evaluate", files / "rows.csv", "--target", "kind")
    said = cli(*words, "--policy", files / "policy.toml")
    assert said.code == 0 and "tree:1: pass" in said.out and said.out.rstrip().endswith("serinus serve tree")
    again = cli(*words, "--json")
    assert (again.code, again.json["tag"], again.json["gate"]["verdict"]) == (1, "tree:1", "fail")


@pytest.mark.parametrize("more", [("--evaluate", "rows.csv"), ("--policy", "policy.toml")])
def test_registration_judges_by_a_target(cli: Any, tree: tuple[Any, ...], more: tuple[str, ...]) -> None:
    """A flag that would do nothing is an error."""
    assert cli(*tree, *more).code == 2


def _log(home: Path, answers: Any, ago_s: float = 60.0, role: str = "stable") -> None:
    rows = load_iris(as_frame=True).data
    source = IdSource()
    folder = Home(home).shadow_log if role == "shadow" else Home(home).log
    writer = SegmentWriter(folder, source.writer, 1 << 20)
    received = time.time_ns() - int(ago_s * 1e9)
    for start in range(0, 150, 10):
        uuid, _ = source.next(received)
        part = rows.iloc[start:start + 10]
        inputs = {name: part[name].to_numpy() for name in rows.columns}
        writer.append(PredictionRecord(uuid, "", received, 1, "iris", "1", role, 10, inputs, {
            "predict": np.asarray(answers[start:start + 10])}, 0, 0, 0), source.sequence - 1)
    writer.close()


def _first(home: Path) -> Any:
    rows, kinds = load_iris(return_X_y=True, as_frame=True)
    return LogisticRegression(C=1.0, max_iter=500).fit(rows, kinds).predict(rows)


def test_a_version_is_asked_what_was_asked_before(cli: Any, home: Path) -> None:
    """The same one answers alike; another one does not, and the difference is counted."""
    _log(home, _first(home))
    same = cli("models", "replay", "iris:1", "--json").json
    assert (same["requests"], same["rows"], same["differ"], same["errors"]) == (15, 150, 0, 0)
    rows, kinds = load_iris(return_X_y=True, as_frame=True)
    other = LogisticRegression(C=0.1, max_iter=500).fit(rows, kinds).predict(rows)
    said = cli("models", "replay", "iris:2")
    assert f"  other answers  {(other != _first(home)).sum()} rows" in said.out and said.code == 0
    assert cli("models", "replay", "iris:2", "--max-disagreement", "0.001").code == 1
    assert cli("models", "replay", "iris:1", "--limit", 3, "--json").json["requests"] == 3


def test_a_shadows_answers_are_replayed_apart(cli: Any, home: Path) -> None:
    """Callers' requests are one thing, what a shadow answered to copies of them another."""
    _log(home, _first(home), role="shadow")
    assert cli("models", "replay", "iris:1").code == 3
    found = cli("models", "replay", "iris:1", "--shadow", "--json").json
    assert (found["requests"], found["rows"], found["differ"]) == (15, 150, 0)


def test_old_requests_and_none_are_not_replayed(cli: Any, home: Path) -> None:
    """Exit code 3, with a sentence."""
    said = cli("models", "replay", "iris:1")
    assert said.code == 3 and "has no request of 'iris' in the last 24 h" in said.err
    _log(home, _first(home), ago_s=7200)
    assert cli("models", "replay", "iris:1", "--last", "1h").code == 3
    assert cli("models", "replay", "iris:1", "--last", "3h").code == 0
    assert cli("models", "replay", "iris:1", "--last", "soon").code == 2


def test_redacted_fields_are_not_asked_again(cli: Any, home: Path, files: Path) -> None:
    """What the log holds of them is not what was asked; the gate says so as well."""
    frame = pd.DataFrame({"email": [f"{name}@example.org" for name in "abcd" * 60], "kind": [0, 0, 1, 1] * 60})
    fitted = make_pipeline(OneHotEncoder(), LogisticRegression()).fit(frame[["email"]], frame["kind"])
    register(fitted, "mail", home=home, reference=frame, target="kind")
    said = cli("models", "replay", "mail")
    assert said.code == 3 and "email is redacted in the log" in said.err
    frame.to_csv(files / "rows.csv", index=False)
    checks = {check["name"]: check for check in cli(*_words(files, "mail", "--json")).json["checks"]}
    assert checks["signature"]["status"] == "warn" and "email is redacted" in checks["signature"]["reason"]


def test_the_evaluation_set_is_compared_with_what_was_asked(cli: Any, home: Path, files: Path) -> None:
    """Rows of the log that are larger by half are named; the same rows are not."""
    def profile() -> str:
        checks = {check["name"]: check for check in cli(*_words(files, "iris:2", "--json")).json["checks"]}
        return str(checks["profile"]["reason"])

    for _ in range(2):
        _log(home, _first(home))
    assert "unlike" not in profile()
    rows = pd.read_csv(files / "rows.csv")
    rows.assign(**{"sepal width (cm)": rows["sepal width (cm)"] * 1.5}).to_csv(files / "rows.csv", index=False)
    assert "The evaluation set is unlike the last 300 logged rows: Drift in" in profile()
    assert "sepal width (cm)" in profile()


def test_the_gate_replays_what_was_asked(cli: Any, home: Path, files: Path) -> None:
    """The newest logged rows go through the version, too."""
    _log(home, _first(home))
    checks = {check["name"]: check for check in cli(*_words(files, "iris:2", "--json")).json["checks"]}
    assert "It answers 150 logged rows." in checks["signature"]["reason"]
