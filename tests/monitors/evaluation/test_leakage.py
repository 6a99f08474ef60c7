"""What is too good to be true, and what is wrong with the rows themselves."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from serinus.monitors.evaluation.check import Status
from serinus.monitors.evaluation.leakage import check_leakage, row_digests
from serinus.monitors.evaluation.policy import Policy
from serinus.monitors.evaluation.trial import Trial
from tests.monitors.evaluation.trials import Scorer, classified, measured

CLEAN = classified(1_000, current=Scorer())
UNSEEN = frozenset(row_digests(classified(500, seed=9).inputs))


def _with(trial: Trial, **columns: Any) -> Trial:
    return replace(trial, inputs={**trial.inputs, **columns})


def test_clean_rows_pass() -> None:
    """Nothing alone tells the answer, and the training's rows are others."""
    check = check_leakage(CLEAN, Policy(), UNSEEN)
    assert (check.status, check.details.trained) == (Status.PASS, 0.0)


def test_a_features_area_is_the_area_of_its_values() -> None:
    """As scikit-learn has it, whichever way it points."""
    area = check_leakage(CLEAN, Policy(), UNSEEN).details.areas["debt"]
    assert area == pytest.approx(roc_auc_score(CLEAN.truth, CLEAN.inputs["debt"]))
    turned = _with(CLEAN, debt=-CLEAN.inputs["debt"])
    assert check_leakage(turned, Policy(), UNSEEN).details.areas["debt"] == pytest.approx(area)


@pytest.mark.parametrize("leak", [
    CLEAN.truth * 2 + np.random.default_rng(0).normal(0, 0.1, 1_000),
    np.where(CLEAN.truth == 1, np.nan, 1.0),
], ids=["noisy copy", "gaps tell it"])
def test_a_feature_that_tells_the_answer_fails(leak: Any) -> None:
    """Its values, or its gaps."""
    check = check_leakage(_with(CLEAN, paid=leak), Policy(), UNSEEN)
    assert check.status is Status.FAIL and "Alone, paid (" in check.reason


def test_a_number_that_tells_a_number_fails() -> None:
    """By rank correlation."""
    trial = measured()
    check = check_leakage(_with(trial, price=trial.truth**3), Policy(), UNSEEN)
    assert check.status is Status.FAIL and check.details.areas["price"] == pytest.approx(1.0)


def test_rows_of_the_training_fail() -> None:
    """Found by digests of rows, whatever order the columns have."""
    seen = {name: array[:50] for name, array in reversed(CLEAN.inputs.items())}
    check = check_leakage(CLEAN, Policy(), frozenset(row_digests(seen)))
    assert check.status is Status.FAIL and "5.0% of the rows were in the training" in check.reason


def test_names_of_rows_and_rows_that_are_there_twice_are_remarks() -> None:
    """A counter, a text of its own for each row, a fifth that repeats."""
    names = np.array([f"loan-{row}" for row in range(1_000)], object)
    check = check_leakage(_with(CLEAN, number=np.arange(1_000), name=names), Policy(), UNSEEN)
    assert check.status is Status.WARN and check.details.names == ("number", "name")
    twice = np.concatenate([np.arange(800), np.arange(200)])
    again = replace(CLEAN, inputs={name: array[twice] for name, array in CLEAN.inputs.items()})
    assert check_leakage(again, Policy(), UNSEEN).details.twice == pytest.approx(0.2)


def test_labels_that_may_be_wrong_are_named() -> None:
    """Twenty labels turned where the version is surest are more than chance would give, and found by name."""
    table = CLEAN.candidate.probabilities
    assert table is not None
    surest = np.argsort(-table.max(axis=1))[:20]
    truth = CLEAN.truth.copy()
    truth[surest] = 1 - table[surest].argmax(axis=1)
    check = check_leakage(replace(CLEAN, truth=truth), Policy(), UNSEEN)
    assert check.status is Status.WARN and "labels may be wrong" in check.reason
    assert {one.row for one in check.details.suspects} == {str(row) for row in surest}


def test_a_calibrated_versions_surprises_are_no_wrong_labels() -> None:
    """It is 96 % sure, and wrong in 4 % of those rows: as many as it says."""
    found = check_leakage(classified(8_000), Policy(), UNSEEN).details
    assert found.doubted == pytest.approx(found.expected, abs=4 * found.expected**0.5)
    assert not found.more_than_chance


def test_a_rare_class_and_an_unknown_training_are_remarks() -> None:
    """Both make other checks worth less."""
    rare = replace(CLEAN, truth=(np.arange(1_000) < 12).astype(float))
    assert "Few rows of class 1: 12." in check_leakage(rare, Policy(), UNSEEN).reason
    assert "are not known (--reference)" in check_leakage(CLEAN, Policy()).reason


def test_odd_columns_crash_nothing() -> None:
    """Constant, empty, infinite."""
    odd = _with(CLEAN, same=np.ones(1_000), none=np.full(1_000, np.nan), wild=np.full(1_000, 1e300),
                endless=np.where(np.arange(1_000) % 2, np.inf, -np.inf))
    assert check_leakage(odd, Policy(), UNSEEN).details.areas["same"] == pytest.approx(0.5)
