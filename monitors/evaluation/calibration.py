"""Whether probabilities mean what they say: 80 % sure should be right 8 times in 10.

The calibration error (ECE) is taken over 15 bins of equally many rows, less what noise alone adds to it (Kumar et al.
2019); the gate's rule is non-inferiority of the Brier score, which rewards calibration and sharpness alike.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serinus.monitors.evaluation.check import Check, Status
from serinus.monitors.evaluation.compare import needed, verdict_on
from serinus.monitors.evaluation.policy import Policy
from serinus.monitors.evaluation.trial import Answers, Trial
from serinus.monitors.intervals import Interval, mean, proportion

__all__ = ["Bin", "CalibrationFound", "calibration_error", "check_calibration"]

Floats = NDArray[np.float64]

BINS = 15


@dataclass(frozen=True)
class Bin:
    """Rows of about the same probability.

    Attributes:
        rows: how many.
        said: the mean probability.
        true: the share that came true.
        low, high: Wilson's interval of that share.
    """

    rows: int
    said: float
    true: float
    low: float
    high: float


@dataclass(frozen=True)
class CalibrationFound:
    """What was found.

    Attributes:
        error, current_error: the calibration error of both versions; the second is None for a trivial answer.
        difference: of the Brier scores, candidate less current, with its interval.
        interval: the difference's.
        intercept, slope: of the outcome's logit on the probability's: 0 and 1 are right, a slope below 1 means too
            sure; None where they cannot be fitted.
        bins, current_bins: the reliability table of both.
    """

    error: float
    current_error: float | None
    difference: float
    interval: Interval | None
    intercept: float | None
    slope: float | None
    bins: tuple[Bin, ...]
    current_bins: tuple[Bin, ...]


def check_calibration(trial: Trial, policy: Policy) -> Check:
    """Hold the candidate's probabilities against the outcome and against the current version's."""
    if not trial.classifies or trial.candidate.probabilities is None:
        return Check("calibration", Status.NOT_RUN, "The version gives no class probabilities.")
    if not np.isfinite(trial.candidate.probabilities).all():
        return Check("calibration", Status.FAIL, "Some probabilities are no numbers.")
    found = _found(trial, policy)
    if trial.trivial or found.interval is None:
        return _alone(found, policy)
    margin = policy.calibration.margin
    status = verdict_on(found.interval, margin)
    said = (f"The Brier score differs by {found.difference:+.3g} ({found.interval.low:+.3g} to "
            f"{found.interval.high:+.3g}) from {trial.against}’s; at most {margin:g} is allowed.").replace("-", "−")
    if status is Status.NOT_RUN:
        error = (found.interval.high - found.interval.low) / 3.92
        asked = needed(error, trial.rows, margin, trial.level(policy.level))
        return Check("calibration", status, f"{said} Too few rows to decide: have {trial.rows:,}, need about "
                     f"{asked:,}.", found, undecided=True)
    alone = _alone(found, policy)
    if status is Status.PASS and alone.status is Status.WARN:
        return Check("calibration", Status.WARN, f"{said} {alone.reason}", found)
    return Check("calibration", status, said, found)


def _alone(found: CalibrationFound, policy: Policy) -> Check:
    said = f"The calibration error is {found.error:.3f}"
    if found.error > policy.calibration.max_error:
        return Check("calibration", Status.WARN, f"{said}, above {policy.calibration.max_error:g}: recalibrate it.",
                     found)
    return Check("calibration", Status.PASS, f"{said}.", found)


def _found(trial: Trial, policy: Policy) -> CalibrationFound:
    said, true = _events(trial, trial.candidate)
    other = None if trial.trivial or trial.current.probabilities is None else _events(trial, trial.current)
    losses = _brier(trial, trial.candidate)
    apart = np.zeros(trial.rows) if other is None else losses - _brier(trial, trial.current)
    ends = mean(trial.rows, float(apart.sum()), float((apart**2).sum()), trial.level(policy.level))
    intercept, slope = _line(said, true) if trial.binary else (None, None)
    return CalibrationFound(
        calibration_error(said, true), None if other is None else calibration_error(*other), float(apart.mean()),
        None if other is None else ends, intercept, slope, _bins(said, true), () if other is None else _bins(*other))


def _events(trial: Trial, answers: Answers) -> tuple[Floats, Floats]:
    """Give what was said and what came true: of the second class where there are two, else of the answer itself."""
    table = answers.probabilities
    assert table is not None
    if trial.binary:
        return table[:, 1], np.asarray(trial.truth == 1, np.float64)
    said = table.argmax(axis=1)
    return table.max(axis=1), np.asarray(said == trial.truth, np.float64)


def _brier(trial: Trial, answers: Answers) -> Floats:
    said, true = _events(trial, answers)
    return np.asarray((said - true) ** 2)


def _parts(said: Floats, true: Floats) -> list[tuple[Floats, Floats]]:
    order = np.argsort(said, kind="stable")
    return [(said[rows], true[rows]) for rows in np.array_split(order, min(BINS, len(said))) if len(rows)]


def calibration_error(said: Floats, true: Floats) -> float:
    """Give the root mean squared gap of 15 bins of equally many rows, less what noise adds to it.

    Example:
        Half of the rows come true, as they are said to:

        >>> calibration_error(np.full(300, 0.5), np.tile([0.0, 1.0], 150))
        0.0
    """
    total = 0.0
    for part, outcome in _parts(said, true):
        share = float(outcome.mean())
        noise = share * (1 - share) / max(len(part) - 1, 1)
        total += len(part) * (float(part.mean() - share) ** 2 - noise)
    return math.sqrt(max(total / max(len(said), 1), 0.0))


def _bins(said: Floats, true: Floats) -> tuple[Bin, ...]:
    rows = []
    for part, outcome in _parts(said, true):
        ends: Any = proportion(float(outcome.sum()), len(part))
        rows.append(Bin(len(part), float(part.mean()), float(outcome.mean()), *ends))
    return tuple(rows)


def _line(said: Floats, true: Floats) -> tuple[float | None, float | None]:
    """Fit the outcome's logit to the probability's by Newton's method."""
    if true.min() == true.max():
        return None, None
    logit = np.log(np.clip(said, 1e-6, 1 - 1e-6) / (1 - np.clip(said, 1e-6, 1 - 1e-6)))
    design, weights = np.column_stack([np.ones(len(logit)), logit]), np.array([0.0, 1.0])
    for _ in range(50):
        with np.errstate(over="ignore"):
            fitted = 1 / (1 + np.exp(-design @ weights))
        curve = (design * (fitted * (1 - fitted) + 1e-9)[:, None]).T @ design + 1e-9 * np.eye(2)
        step = np.linalg.solve(curve, design.T @ (true - fitted))
        weights = weights + np.clip(step, -5, 5)
        if np.abs(step).max() < 1e-9:
            return float(weights[0]), float(weights[1])
    return None, None
