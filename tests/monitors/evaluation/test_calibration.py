"""Probabilities held against the outcome and against the version before."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from serinus.monitors.evaluation.calibration import check_calibration, score_table
from serinus.monitors.evaluation.check import Status
from serinus.monitors.evaluation.policy import Policy
from serinus.monitors.evaluation.trial import Answers, Trial
from serinus.monitors.intervals import mean
from tests.monitors.evaluation.trials import Scorer, classified, measured


def _sharpened(trial: Trial, power: float) -> Trial:
    table = trial.candidate.probabilities
    assert table is not None
    sharp = table**power / (table**power).sum(axis=1, keepdims=True)
    return replace(trial, candidate=Answers(trial.candidate.values, sharp))


def test_right_probabilities_pass() -> None:
    """And are no worse than the same ones."""
    check = check_calibration(classified(4_000, current=Scorer()), Policy())
    assert check.status is Status.PASS and check.details.candidate.error < 0.03


def test_too_sure_a_version_fails_against_a_calibrated_one() -> None:
    """The ranks are the same, so no area under a curve sees it."""
    check = check_calibration(_sharpened(classified(4_000, current=Scorer()), 4), Policy())
    assert check.status is Status.FAIL and check.details.candidate.slope == pytest.approx(0.25, abs=0.05)


def test_the_difference_is_that_of_the_brier_scores() -> None:
    """With Student's interval of its rows."""
    trial = classified(1_000, current=Scorer(debt=0.7))
    found = check_calibration(trial, Policy()).details
    assert trial.candidate.probabilities is not None and trial.current.probabilities is not None
    apart = ((trial.candidate.probabilities[:, 1] - trial.truth) ** 2
             - (trial.current.probabilities[:, 1] - trial.truth) ** 2)
    assert found.difference == pytest.approx(apart.mean())
    assert found.interval == pytest.approx(mean(1_000, float(apart.sum()), float((apart**2).sum())))


def test_a_first_version_is_judged_alone() -> None:
    """Too sure is a remark: recalibration mends it."""
    assert check_calibration(classified(4_000), Policy()).status is Status.PASS
    check = check_calibration(_sharpened(classified(4_000), 4), Policy())
    assert check.status is Status.WARN and "Recalibrate it." in check.reason


def test_few_rows_decide_nothing() -> None:
    """And say how many would."""
    check = check_calibration(classified(250, candidate=Scorer(debt=0.8), current=Scorer()), Policy())
    assert check.status is Status.NOT_RUN and check.undecided and "need about" in check.reason
    assert "need 200" in check_calibration(classified(150), Policy()).reason


def test_what_gives_no_probabilities_is_not_run() -> None:
    """Numbers, and classes without a table; a table with gaps fails."""
    assert check_calibration(measured(), Policy()).status is Status.NOT_RUN
    trial = classified(400)
    assert check_calibration(replace(trial, candidate=Answers(trial.candidate.values)), Policy()).status \
        is Status.NOT_RUN
    gaps = Answers(trial.candidate.values, np.full((400, 2), np.nan))
    assert check_calibration(replace(trial, candidate=gaps), Policy()).status is Status.FAIL


def test_the_table_holds_rows_positives_and_scores() -> None:
    """Its columns add up to those of the rows."""
    table = score_table(np.array([0.1, 0.1, 0.9]), np.array([0.0, 1.0, 1.0]))
    assert table.shape == (256, 3) and table[:, :2].sum(axis=0).tolist() == [3, 2]
    assert table[:, 2].sum() / (1 << 20) == pytest.approx(1.1, abs=1e-5)
