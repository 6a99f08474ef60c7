"""Gaps between groups: measured with intervals, against a limit, and unknown where rows are few."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from serinus.monitors.evaluation.check import Status
from serinus.monitors.evaluation.fairness import check_fairness
from serinus.monitors.evaluation.policy import Fairness, Policy
from serinus.monitors.evaluation.trial import Answers
from serinus.monitors.intervals import proportion_difference
from tests.monitors.evaluation.trials import Scorer, classified, measured

BY_SEX = Policy(fairness=Fairness(groups=("sex",)))


def _trial(rows: int, share: float, others: float, few: int | None = None) -> Any:
    """Women are chosen with one probability, men with another, whatever the truth."""
    trial = classified(rows, current=Scorer())
    draw = np.random.default_rng(0)
    women = np.arange(rows) < (rows // 2 if few is None else few)
    chosen = draw.random(rows) < np.where(women, share, others)
    sex = np.array(["f" if each else "m" for each in women], object)
    return replace(trial, candidate=Answers(chosen.astype(float)), columns={**trial.columns, "sex": sex})


@pytest.mark.parametrize(("rows", "others", "status"), [
    (6_000, 0.5, Status.PASS), (6_000, 0.8, Status.FAIL), (300, 0.55, Status.NOT_RUN)])
def test_a_gap_is_judged_by_its_interval(rows: int, others: float, status: Status) -> None:
    """Surely below the limit, surely above, or too few rows to say."""
    check = check_fairness(_trial(rows, 0.5, others), BY_SEX)
    assert check.status is status
    assert check.undecided is (status is Status.NOT_RUN)


def test_the_gap_is_the_difference_of_two_proportions() -> None:
    """With Newcombe's interval."""
    trial = _trial(2_000, 0.4, 0.6)
    gap = check_fairness(trial, BY_SEX).details.gaps[0]
    chosen, women = trial.candidate.values == 1, trial.columns["sex"] == "f"
    counts = (chosen & ~women).sum(), (~women).sum(), (chosen & women).sum(), women.sum()
    assert gap.rate == "selection rate" and (gap.high, gap.low) == ("sex = m", "sex = f")
    assert gap.value == pytest.approx(counts[0] / counts[1] - counts[2] / counts[3])
    assert gap.interval == pytest.approx(proportion_difference(*map(int, counts)))


def test_rates_are_of_those_who_count() -> None:
    """True positives of the positive rows, false ones of the others."""
    trial = _trial(2_000, 0.4, 0.6)
    gaps = {gap.rate: gap for gap in check_fairness(trial, BY_SEX).details.gaps}
    assert sum(rate.rows for rate in gaps["true positive rate"].rates) == (trial.truth == 1).sum()
    assert sum(rate.rows for rate in gaps["false positive rate"].rates) == (trial.truth == 0).sum()


def test_a_small_group_is_unknown_and_never_fair() -> None:
    """Thirty women."""
    check = check_fairness(_trial(2_000, 0.5, 0.5, few=30), BY_SEX)
    assert check.status is Status.NOT_RUN and "unknown" in check.reason
    assert check.details.gaps[0].rates[1].value is None


def _coloured(rows: int, missed: float, few: int | None = None) -> Any:
    """Three classes; of women's third class a share is missed."""
    draw = np.random.default_rng(2)
    truth = draw.integers(0, 3, rows).astype(float)
    women = np.arange(rows) < (rows // 2 if few is None else few)
    said = np.where(women & (truth == 2) & (draw.random(rows) < missed), 1.0, truth)
    sex = np.array(["f" if each else "m" for each in women], object)
    trial = classified(rows, current=Scorer())
    return replace(trial, truth=truth, classes=("red", "green", "blue"), candidate=Answers(said),
                   current=Answers(truth), columns={**trial.columns, "sex": sex})


@pytest.mark.parametrize(("missed", "status"), [(0.0, Status.PASS), (0.5, Status.FAIL)])
def test_of_more_classes_each_is_held_against_the_rest(missed: float, status: Status) -> None:
    """And recall as a mean over the classes, a third of the gap."""
    check = check_fairness(_coloured(6_000, missed), BY_SEX)
    gaps = {gap.rate: gap for gap in check.details.gaps}
    assert check.status is status and len(gaps) == 11
    assert gaps["true positive rate of blue"].value == pytest.approx(missed, abs=0.05)
    assert gaps["macro recall"].value == pytest.approx(missed / 3, abs=0.02)
    assert gaps["macro recall"].rates[0].interval is not None


def test_a_class_that_is_rare_in_a_group_is_unknown() -> None:
    """Forty women of three classes tell nothing of a class."""
    check = check_fairness(_coloured(3_000, 0.0, few=90), BY_SEX)
    assert check.status is Status.NOT_RUN
    gaps = {gap.rate: gap for gap in check.details.gaps}
    assert gaps["macro recall"].value is None and gaps["true positive rate of red"].value is None
    assert gaps["accuracy"].value is not None


@pytest.mark.parametrize(("trial", "policy", "sentence"), [
    (classified(60), Policy(), "names no groups"),
    (classified(60), BY_SEX, "no column 'sex'"),
    (measured(60), BY_SEX, "predicts numbers"),
])
def test_what_cannot_be_told_is_said(trial: Any, policy: Policy, sentence: str) -> None:
    """With its reason."""
    check = check_fairness(trial, policy)
    assert check.status is Status.NOT_RUN and sentence in check.reason
