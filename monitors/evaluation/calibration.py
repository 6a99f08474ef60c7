"""Whether probabilities mean what they say: 80 % sure should be right 8 times in 10.

The rule is non-inferiority of the Brier score, which rewards calibration and sharpness alike; the calibration error of
`serinus.monitors.calibration` gives a remark, for recalibration mends it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serinus.monitors.calibration import FEWEST, Calibration, calibration_of
from serinus.monitors.evaluation.check import Check, Status
from serinus.monitors.evaluation.compare import needed, verdict_on
from serinus.monitors.evaluation.policy import Policy
from serinus.monitors.evaluation.trial import Answers, Trial
from serinus.monitors.intervals import Interval, mean, normal_quantile
from serinus.monitors.metrics import BINS, FINE, score_bins

__all__ = ["CalibrationFound", "check_calibration", "score_table"]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class CalibrationFound:
    """What was found.

    Attributes:
        candidate, current: both versions' calibration; the second is None for a trivial answer.
        difference, interval: of the Brier scores, candidate less current; the interval is None where there is none.
    """

    candidate: Calibration
    current: Calibration | None
    difference: float
    interval: Interval | None


def check_calibration(trial: Trial, policy: Policy) -> Check:
    """Hold the candidate's probabilities against the outcome and against the current version's."""
    table = trial.candidate.probabilities
    if not trial.classifies or table is None:
        return Check("calibration", Status.NOT_RUN, "The version gives no class probabilities.")
    if not np.isfinite(table).all():
        return Check("calibration", Status.FAIL, "Some probabilities are no numbers.")
    found = _found(trial, policy)
    if found is None:
        return Check("calibration", Status.NOT_RUN, f"Too few rows to decide: have {trial.rows:,}, need {FEWEST}.")
    if found.interval is None:
        return _alone(found, policy)
    margin = policy.calibration.margin
    status = verdict_on(found.interval, margin)
    said = (f"The Brier score differs by {found.difference:+.3g} ({found.interval.low:+.3g} to "
            f"{found.interval.high:+.3g}) from {trial.against}’s; at most {margin:g} is allowed.").replace("-", "−")
    if status is Status.NOT_RUN:
        level = trial.level(policy.level)
        error = (found.interval.high - found.interval.low) / 2 / normal_quantile(level)
        asked = needed(error, trial.rows, margin, level)
        return Check("calibration", status, f"{said} Too few rows to decide: have {trial.rows:,}, need about "
                     f"{max(asked, trial.rows):,}.", found, undecided=True)
    alone = _alone(found, policy)
    if status is Status.PASS and alone.status is Status.WARN:
        return Check("calibration", Status.WARN, f"{said} {alone.reason}", found)
    return Check("calibration", status, said, found)


def _alone(found: CalibrationFound, policy: Policy) -> Check:
    said = found.candidate.sentence
    if found.candidate.error > policy.calibration.max_error:
        return Check("calibration", Status.WARN, f"{said} Recalibrate it.", found)
    return Check("calibration", Status.PASS, said, found)


def _found(trial: Trial, policy: Policy) -> CalibrationFound | None:
    said, true = _events(trial, trial.candidate)
    ours = calibration_of(score_table(said, true))
    if ours is None:
        return None
    table = trial.current.probabilities
    if trial.trivial or table is None or not np.isfinite(table).all():
        return CalibrationFound(ours, None, 0.0, None)
    theirs_said, theirs_true = _events(trial, trial.current)
    apart = (said - true) ** 2 - (theirs_said - theirs_true) ** 2
    ends = mean(trial.rows, float(apart.sum()), float((apart**2).sum()), trial.level(policy.level))
    return CalibrationFound(ours, calibration_of(score_table(theirs_said, theirs_true)), float(apart.mean()), ends)


def _events(trial: Trial, answers: Answers) -> tuple[Floats, Floats]:
    """Give what was said and what came true: of the second class where there are two, else of the surest one."""
    table = answers.probabilities
    assert table is not None
    if trial.binary:
        return table[:, 1], np.asarray(trial.truth == 1, np.float64)
    said = table.argmax(axis=1)
    return table.max(axis=1), np.asarray(said == trial.truth, np.float64)


def score_table(said: Floats, true: Floats) -> NDArray[np.int64]:
    """Give rows, positives and the sum of scores by score bin, as `calibration_of` takes them."""
    places = score_bins(said)
    columns = (np.ones(len(said)), true, np.clip(said, 0, 1) * FINE)
    return np.column_stack([np.rint(np.bincount(places, column, minlength=BINS)) for column in columns]).astype(
        np.int64)
