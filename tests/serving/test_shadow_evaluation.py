"""A candidate judged on its shadow's pairs: the gate's paired tests, of logged rows whose truth came."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from serinus.models import Registry, register
from serinus.monitors.evaluation import Policy, Status, Verdict
from serinus.monitors.intervals import paired_difference
from serinus.monitors.record import PredictionRecord
from serinus.serving.errors import CommandError
from serinus.serving.gates import last_gate
from serinus.serving.home import Home
from serinus.serving.ids import IdSource, prediction_id
from serinus.serving.prediction_log import SegmentWriter
from serinus.serving.shadow_evaluation import AskedOfShadow, evaluate_shadow
from serinus.serving.store import GroundTruth, SqliteStore

ASKED = AskedOfShadow("credit:2", Policy(margins={"accuracy": 0.03}), by="ada")
YES_NO = np.array(["no", "yes"], object)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A home with two versions of a classifier; what they answered is written by hand."""
    rows, truth = np.random.default_rng(0).normal(size=(200, 1)), np.array(["no", "yes"] * 100)
    for strength in (1.0, 2.0):
        register(LogisticRegression(C=strength).fit(rows, truth), "credit", home=tmp_path / "home")
    return Home(tmp_path / "home")


def _log(home: Home, truth: np.ndarray, wrong: Sequence[np.ndarray], *, told: float = 1.0,
         keys: Sequence[int] | None = None, seed: int = 7) -> None:
    """A request of one row for each truth: which of them stable and the shadow got wrong, and the truths that came."""
    ids, stream = IdSource(seed), np.random.default_rng(seed)
    writers = [SegmentWriter(folder, seed, 1 << 24) for folder in (home.log, home.shadow_log)]
    outcomes = []
    for place, true in enumerate(truth):
        now, sequence, inputs = time.time_ns(), ids.sequence, {"x": stream.normal(size=(1, 1))}
        uuid, _ = ids.next(now)
        for writer, number, role, off in zip(writers, ("1", "2"), ("stable", "shadow"), wrong, strict=True):
            outputs = {"predict": YES_NO[[true ^ bool(off[place])]]}
            writer.append(PredictionRecord(uuid, "", now, 1, "credit", number, role, 1, inputs, outputs,
                                           keys[place] if keys else 0, 0, 0), sequence)
        if stream.random() < told:
            outcomes.append(GroundTruth(prediction_id(uuid, 0), "crm", "final", YES_NO[true], 0.0, time.time()))
    for writer in writers:
        writer.close()
    store = SqliteStore(home.store, create=True)
    store.add_ground_truths(outcomes)
    store.close()


def _drawn(rows: int, first: float, second: float, seed: int = 1) -> tuple[np.ndarray, list[np.ndarray]]:
    draw = np.random.default_rng(seed)
    return draw.integers(0, 2, rows), [draw.random(rows) < share for share in (first, second)]


@pytest.mark.parametrize(("worse", "verdict"), [(0.10, Verdict.PASS), (0.25, Verdict.FAIL)])
def test_pairs_are_judged_by_the_gates_tests(home: Home, worse: float, verdict: Verdict) -> None:
    """Newcombe's paired interval of what both got right and wrong, held against the margin."""
    truth, wrong = _drawn(2_500, 0.10, worse)
    _log(home, truth, wrong)
    gate = evaluate_shadow(ASKED, home).gate
    assert (gate.verdict, gate.evaluated.against, gate.evaluated.rows) == (verdict, "credit:1", 2_500)
    accuracy = gate.check("metrics").details.metrics[0]
    stable, mine = (~off for off in wrong)
    cells = [int(cell.sum()) for cell in (mine & stable, mine & ~stable, stable & ~mine, ~mine & ~stable)]
    assert accuracy.difference_interval == pytest.approx(paired_difference(*cells))
    assert gate.check("robustness").status is Status.NOT_RUN


def test_few_pairs_say_how_many_are_needed(home: Home) -> None:
    """Undecided is no pass; pairs without a truth are counted apart."""
    truth, wrong = _drawn(300, 0.10, 0.12)
    _log(home, truth, wrong, told=0.5)
    gate = evaluate_shadow(replace(ASKED, policy=Policy()), home).gate
    assert gate.verdict is Verdict.UNDECIDED
    assert gate.evaluated.rows + gate.evaluated.left_out == 300
    assert f"too few rows to decide: have {gate.evaluated.rows}, need about" in gate.sentence


def test_versions_that_never_differ_need_rows_too(home: Home) -> None:
    """That two versions agree on thirty rows does not say that they agree."""
    truth, wrong = _drawn(30, 0.1, 0.1)
    _log(home, truth, [wrong[0], wrong[0]])
    assert "too few rows to decide: have 30, need about" in evaluate_shadow(ASKED, home).gate.sentence


def test_a_look_at_more_truths_is_another_look(home: Home) -> None:
    """The same truths again are the same look; the journal has each verdict, the version keeps none."""
    looks = []
    for seed, more in ((7, True), (8, False), (9, True)):
        if more:
            _log(home, *_drawn(100, 0.1, 0.1, seed), seed=seed)
        looks.append(evaluate_shadow(ASKED, home).gate.check("metrics").details)
    assert [found.looks for found in looks] == [1, 1, 2]
    assert [found.level for found in looks] == pytest.approx([0.95, 0.95, 1 - 0.05 / 4])
    store = SqliteStore(home.store, create=False)
    entries = [entry for entry in store.journal("credit", limit=100) if entry.kind == "evaluation"]
    store.close()
    assert [entry.actor for entry in entries] == ["ada"] * 3
    assert "was evaluated on its shadow's pairs: undecided." in entries[0].body["text"]
    registry = Registry(home.path)
    assert last_gate(registry, registry.get("credit", "2")) is None


def test_a_callers_rows_are_drawn_together(home: Home) -> None:
    """Twenty callers of fifty rows each tell less than a thousand."""
    draw = np.random.default_rng(5)
    off = [np.repeat(draw.random(20) < 0.3, 50) for _ in range(2)]
    _log(home, draw.integers(0, 2, 1_000), off, keys=[1 + place // 50 for place in range(1_000)])
    found = evaluate_shadow(ASKED, home).gate.check("metrics").details
    assert found.clusters == 20
    assert found.metrics[0].method == "paired bootstrap of clusters"


def test_what_is_not_there_is_said(home: Home) -> None:
    """No shadow, no truth yet, another version's shadow: exit code 3, and nothing is judged."""
    with pytest.raises(CommandError, match="has no answer of credit:2: has it been a shadow") as none:
        evaluate_shadow(ASKED, home)
    truth, wrong = _drawn(20, 0.1, 0.1)
    _log(home, truth, wrong, told=0.0)
    with pytest.raises(CommandError, match="answered 20 rows that credit:1 answered, too, and no final ground truth"):
        evaluate_shadow(ASKED, home)
    with pytest.raises(CommandError, match="no answer of credit:1"):
        evaluate_shadow(AskedOfShadow("credit:1"), home)
    assert none.value.exit_code == 3
