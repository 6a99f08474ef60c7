"""The gate over a registry: versions judged on files, verdicts kept, journaled, chained, and looks counted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_iris
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.metrics import f1_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from serinus.models import Registry, Trust, register
from serinus.models.optimize import optimize
from serinus.monitors.evaluation import Policy, Status, Verdict, latency
from serinus.monitors.evaluation.policy import Robustness
from serinus.monitors.worth import Worth
from serinus.serving.errors import CommandError
from serinus.serving.evaluation import Asked, evaluate, read_policy
from serinus.serving.gates import last_gate
from serinus.serving.home import Home
from serinus.serving.store import SqliteStore

QUICK = Policy(robustness=Robustness(rows=40, features=2))


def _rows(count: int, seed: int) -> pd.DataFrame:
    draw = np.random.default_rng(seed)
    frame = pd.DataFrame({"age": draw.normal(40, 10, count), "debt": draw.normal(0, 1, count)})
    frame["default"] = np.where(draw.random(count) < 1 / (1 + np.exp(-2 * frame["debt"])), "yes", "no")
    return frame


@pytest.fixture(autouse=True)
def few_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    """What an answer costs is tried elsewhere."""
    monkeypatch.setattr(latency, "_CALLS", 10)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A home with a good version and one that never saw the feature that matters, and rows to judge them by."""
    train = _rows(1_000, 0)
    for seen in (1.0, 0.0):
        rows = train[["age", "debt"]].assign(debt=train["debt"] * seen)
        register(LogisticRegression().fit(rows, train["default"]), "credit", home=tmp_path / "home")
    _rows(1_500, 1).to_csv(tmp_path / "test.csv", index=False)
    return Home(tmp_path / "home")


def _asked(home: Home, tag: str = "credit:2", **changes: Any) -> Asked:
    return replace(Asked(tag, home.path.parent / "test.csv", "default", policy=QUICK, by="ada"), **changes)


def test_a_worse_version_fails_against_the_one_before(home: Home) -> None:
    """And the verdict stays with it, whole and digested."""
    judged = evaluate(_asked(home), home)
    assert judged.gate.verdict is Verdict.FAIL and judged.gate.evaluated.against == "credit:1"
    registry = Registry(home.path)
    kept = last_gate(registry, registry.get("credit", "2"))
    assert kept is not None and (kept["verdict"], kept["rows"]) == ("fail", 1_500)
    names = [name for name in registry.attachments(registry.get("credit", "2")) if name.startswith("gates/")]
    assert {name.rpartition("/")[2] for name in names} == {"gate.json", "MODEL_CARD.md", "bom.json"}
    assert last_gate(registry, registry.get("credit", "1")) is None


def test_what_answers_are_worth_decides_where_the_policy_says_so(home: Home) -> None:
    """The mean over rows as counted from the file, of the declared class F1 too."""
    worth = Worth("no", {"no": {"yes": -3.0}, "yes": {"no": -20.0, "yes": 5.0}}, "EUR")
    gate = evaluate(_asked(home, policy=replace(QUICK, margins={"value": 0.1}, worth=worth)), home).gate
    metrics = {one.metric: one for one in gate.check("metrics").details.metrics}
    rows = pd.read_csv(home.path.parent / "test.csv")
    registry = Registry(home.path)
    said = registry.load(registry.get("credit", "2"), trust=Trust(home.path)).predict(
        {name: rows[name].to_numpy() for name in ("age", "debt")})["predict"]
    wanted = np.mean([worth.values[truth].get(str(answer), 0.0)
                      for truth, answer in zip(rows["default"], said, strict=True)])
    assert gate.verdict is Verdict.FAIL and metrics["value"].value == pytest.approx(wanted)
    assert metrics["f1"].value == pytest.approx(f1_score(rows["default"], said.astype(str), pos_label="no"))
    assert metrics["roc_auc"].value < metrics["roc_auc"].current > 0.7 and "EUR" in metrics["value"].reason


def test_the_first_version_is_held_against_a_trivial_answer(home: Home) -> None:
    """It has nobody before it."""
    gate = evaluate(_asked(home, "credit:1"), home).gate
    assert gate.verdict is Verdict.PASS and gate.evaluated.against == ""
    assert gate.check("metrics").details.against == "a trivial answer"


def test_the_journal_has_verdict_digests_and_approver_in_a_chain(home: Home) -> None:
    """Each gate names the one before it."""
    first = evaluate(_asked(home, "credit:1", approver="grace"), home).gate
    second = evaluate(_asked(home), home).gate
    store = SqliteStore(home.store, create=False)
    entries = [entry for entry in store.journal("credit", limit=100) if entry.kind == "evaluation"]
    store.close()
    assert [(entry.actor, entry.body["verdict"]) for entry in entries] == [("grace", "pass"), ("ada", "fail")]
    assert entries[0].body["data"] == first.evaluated.digest and entries[0].body["approver"] == "grace"
    assert second.check("provenance").details.previous == first.digest == entries[0].body["digest"]


def test_looks_at_the_same_rows_are_counted(home: Home) -> None:
    """Another version is another look, the same one again is none, and other rows begin anew."""
    def looks(tag: str, **changes: Any) -> int:
        return int(evaluate(_asked(home, tag, **changes), home).gate.check("metrics").details.looks)

    assert [looks("credit:1"), looks("credit:2"), looks("credit:1")] == [1, 2, 1]
    _rows(500, 7).to_csv(home.path.parent / "other.csv", index=False)
    assert looks("credit:2", data=home.path.parent / "other.csv") == 1


def test_another_version_may_be_named(home: Home) -> None:
    """The better one holds its own against the worse."""
    gate = evaluate(_asked(home, "credit:1", against="2"), home).gate
    assert gate.verdict is Verdict.PASS and gate.evaluated.against == "credit:2"


@pytest.mark.parametrize(("changes", "sentence"), [
    ({"target": "defalt"}, "it has no column 'defalt' (--target); it has age, debt, default."),
    ({"group": "who"}, "no column 'who' (--group)"),
    ({"data": Path("/nowhere.csv")}, "There is no file '/nowhere.csv'"),
    ({"target": "age"}, "The frame lacks the columns age that the model takes."),
    ({"against": "2"}, "credit:2 cannot be held against itself"),
])
def test_what_does_not_fit_is_said(home: Home, changes: dict[str, Any], sentence: str) -> None:
    """With exit code 2, and nothing is kept."""
    with pytest.raises(CommandError) as refused:
        evaluate(_asked(home, **changes), home)
    assert sentence in str(refused.value) and refused.value.exit_code == 2
    registry = Registry(home.path)
    assert last_gate(registry, registry.get("credit", "2")) is None


def test_rows_without_ground_truth_are_left_out(home: Home) -> None:
    """And counted; rows that the version refuses fail it."""
    rows = _rows(400, 3)
    rows.loc[:49, "default"] = None
    rows.to_parquet(home.path.parent / "gaps.parquet")
    gate = evaluate(_asked(home, "credit:1", data=home.path.parent / "gaps.parquet"), home).gate
    assert (gate.evaluated.rows, gate.evaluated.left_out) == (350, 50)
    rows.loc[60:69, "debt"] = np.nan
    rows.to_parquet(home.path.parent / "gaps.parquet")
    gate = evaluate(_asked(home, "credit:1", data=home.path.parent / "gaps.parquet"), home).gate
    assert gate.check("signature").reason == "It refuses 10 of 350 rows of the evaluation set."
    assert (gate.verdict, gate.evaluated.rows, gate.evaluated.left_out) == (Verdict.FAIL, 340, 60)


def test_the_trainings_rows_are_recognised(home: Home) -> None:
    """By --reference, which also makes a profile."""
    gate = evaluate(_asked(home, "credit:1", reference=home.path.parent / "test.csv"), home).gate
    assert gate.check("leakage").status is Status.FAIL and gate.check("leakage").details.trained == 1.0
    assert gate.check("profile").details.rows == 1_500


def test_numbers_are_judged_by_relative_errors(tmp_path: Path) -> None:
    """A regression whose error grew by a tenth fails."""
    draw = np.random.default_rng(0)
    rows = pd.DataFrame({"x": draw.normal(size=3_000), "z": draw.normal(size=3_000)})
    rows["y"] = 3 * rows["x"] + rows["z"] + draw.normal(size=3_000)
    for blind in (False, True):
        inputs = rows[["x", "z"]].assign(z=0.0 if blind else rows["z"])
        register(LinearRegression().fit(inputs, rows["y"]), "price", home=tmp_path / "home")
    rows.to_csv(tmp_path / "rows.csv", index=False)
    gate = evaluate(Asked("price", tmp_path / "rows.csv", "y", policy=QUICK), Home(tmp_path / "home")).gate
    assert gate.verdict is Verdict.FAIL and "Mean absolute error" in gate.check("metrics").reason
    assert gate.check("calibration").status is Status.NOT_RUN


def test_many_classes_texts_and_few_rows(tmp_path: Path) -> None:
    """Iris with a text column: three classes by name; a hundred rows do not decide half a point."""
    whole, kinds = load_iris(return_X_y=True, as_frame=True)
    frame = whole.iloc[:, :2]  # a petal alone tells the kinds apart, which the gate would take for a leak
    names = np.array(["setosa", "versicolor", "virginica"], object)[kinds]
    for strength in (1.0, 0.02):
        register(LogisticRegression(C=strength, max_iter=900).fit(frame, names), "iris", home=tmp_path / "home")
    frame.assign(kind=names)[1::2].to_csv(tmp_path / "rows.csv", index=False)
    gate = evaluate(Asked("iris", tmp_path / "rows.csv", "kind", policy=QUICK), Home(tmp_path / "home")).gate
    assert gate.classes == ("setosa", "versicolor", "virginica")
    assert gate.verdict is Verdict.UNDECIDED, gate.sentence
    assert "too few rows to decide: have 75, need about" in gate.sentence


def test_a_converted_version_is_held_against_its_parent(home: Home) -> None:
    """The ONNX form of a version answers as it does, and says so."""
    pytest.importorskip("skl2onnx")
    registry = Registry(home.path)
    optimize(registry.get("credit", "1"), _rows(50, 5), registry=registry, trust=Trust(home.path), target="default")
    check = evaluate(_asked(home, "credit:3", against="1"), home).gate.check("signature")
    assert check.status is Status.PASS and "credit:1 answers alike (0.00% changed" in check.reason
    assert check.details.agreement.apart < 1e-5


def test_a_category_nobody_knows_crashes_nothing(tmp_path: Path) -> None:
    """One column of text, one constant answer."""
    frame = pd.DataFrame({"region": list("abab") * 60, "y": [0, 1] * 120})
    fitted = make_pipeline(OneHotEncoder(handle_unknown="ignore"), LogisticRegression()).fit(frame[["region"]],
                                                                                            frame["y"])
    register(fitted, "one", home=tmp_path / "home")
    frame.assign(region="z", y=1).to_csv(tmp_path / "rows.csv", index=False)
    gate = evaluate(Asked("one", tmp_path / "rows.csv", "y", policy=QUICK), Home(tmp_path / "home")).gate
    assert gate.verdict is not Verdict.PASS and len(gate.checks) == 10


def test_a_policy_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    """With exit code 2."""
    (tmp_path / "policy.toml").write_text("[slice]")
    for path, sentence in ((tmp_path / "policy.toml", "did you mean 'slices'?"), (tmp_path / "none", "no such file")):
        with pytest.raises(CommandError, match=sentence) as refused:
            read_policy(path)
        assert refused.value.exit_code == 2
    assert read_policy(None) == Policy()
