"""Slices: a part that got worse is named, chance is not, and churn names the rows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from serinus.monitors.evaluation.check import Status
from serinus.monitors.evaluation.policy import Policy, Slices
from serinus.monitors.evaluation.slices import check_slices, parts_of
from serinus.monitors.evaluation.trial import Answers
from tests.monitors.evaluation.trials import Scorer, classified, measured

DECLARED = Policy(slices=Slices(columns=("region",), discover=False))


def test_a_declared_slice_that_got_worse_fails() -> None:
    """Though the whole is no worse by much."""
    check = check_slices(classified(4_000, candidate=Scorer(west=3.0), current=Scorer()), DECLARED)
    assert check.status is Status.FAIL
    assert [one.name for one in check.details.slices if one.named] == ["region = west"]
    assert "Worse than credit:1 where region = west" in check.reason


def test_a_slices_p_value_is_the_one_sided_exact_test() -> None:
    """Of broke and fixed rows, as scipy has it."""
    trial = classified(1_000, candidate=Scorer(west=1.0), current=Scorer(debt=0.7))
    for one in check_slices(trial, DECLARED).details.slices:
        rows = trial.columns["region"] == one.name.rpartition(" ")[2]
        ours, theirs = (answers.values[rows] == trial.truth[rows] for answers in (trial.candidate, trial.current))
        broke, fixed = int((theirs & ~ours).sum()), int((ours & ~theirs).sum())
        assert one.p == pytest.approx(stats.binomtest(broke, broke + fixed, alternative="greater").pvalue)
        assert one.difference == pytest.approx((broke - fixed) / rows.sum())


def test_a_slice_that_nobody_declared_is_found() -> None:
    """By features, and on rows that had no part in the search."""
    check = check_slices(classified(6_000, candidate=Scorer(west=3.0), current=Scorer()), Policy())
    named = [one.name for one in check.details.slices if one.named]
    assert any("region = west" in name for name in named)
    assert not any(one.declared for one in check.details.slices)


def test_searching_names_nothing_where_nothing_is_wrong() -> None:
    """Two versions that differ by chance alone, 40 times: hardly ever is a slice named."""
    named = 0
    for seed in range(40):
        base = classified(1_000, current=Scorer(), seed=seed)
        draw = np.random.default_rng(seed + 10_000)
        ours, theirs = (np.abs(base.truth - (draw.random(1_000) < 0.2)) for _ in range(2))
        trial = replace(base, candidate=Answers(ours), current=Answers(theirs))
        named += check_slices(trial, Policy()).status is not Status.PASS
    assert named <= 10  # one in ten on average, and three standard deviations


def test_churn_names_the_rows() -> None:
    """Fixed and broken ones by their ids."""
    trial = classified(300, candidate=Scorer(debt=0.5), current=Scorer())
    trial = replace(trial, ids=np.array([f"loan-{row}" for row in range(300)], object))
    churn = check_slices(trial, DECLARED).details.churn
    ours, theirs = trial.candidate.values == trial.truth, trial.current.values == trial.truth
    assert (churn.fixed, churn.broke) == (int((ours & ~theirs).sum()), int((theirs & ~ours).sum()))
    assert set(churn.broke_rows) <= {f"loan-{row}" for row in np.flatnonzero(theirs & ~ours)}
    assert churn.sentence == f"It fixed {churn.fixed} rows and broke {churn.broke}."


def test_few_rows_are_unknown() -> None:
    """And nothing but unknown slices is no pass."""
    check = check_slices(classified(60, current=Scorer()), DECLARED)
    assert check.status is Status.NOT_RUN and all(one.unknown for one in check.details.slices)


def test_a_first_version_is_held_against_itself() -> None:
    """A slice where it errs more than on the whole is a remark."""
    check = check_slices(classified(4_000, candidate=Scorer(west=4.0)), DECLARED)
    assert check.status is Status.WARN and "region = west" in check.reason
    assert check.details.churn is None


def test_numbers_are_held_against_mean_errors() -> None:
    """A slice with three times the error."""
    trial = measured(2_000)
    values = trial.candidate.values.copy()
    old = trial.inputs["age"] > 50
    values[old] += 3
    check = check_slices(replace(trial, candidate=Answers(values)), Policy())
    assert check.status is Status.FAIL and "age ≥" in check.reason


def test_parts_of_odd_columns() -> None:
    """Constant, missing, and infinite values make parts too; what is no column makes none."""
    columns = {"same": np.ones(20), "gaps": np.where(np.arange(20) % 4, np.arange(20.0), np.nan),
               "wild": np.where(np.arange(20) % 2, np.inf, 1e300), "matrix": np.ones((20, 2))}
    names = [part.name for part in parts_of(columns, [*columns, "none"])]
    assert names[0] == "same = 1.0" and "gaps = missing" in names
    assert not any(name.startswith(("matrix", "none")) for name in names)


def test_personal_values_are_no_slices() -> None:
    """What is redacted elsewhere is not searched either."""
    trial = classified(4_000, candidate=Scorer(west=3.0), current=Scorer())
    check = check_slices(replace(trial, personal=frozenset({"region"})), Policy())
    assert not any("region" in one.name for one in check.details.slices)
