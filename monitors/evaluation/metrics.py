"""What is measured of answers: each metric as sums over rows, so that any rows can be drawn again by their sums.

A metric has a matrix of columns per row and a function of their sums; so do its differences. The area under the ROC
curve alone is none of sums: it has an influence per row instead (`influences`), whose mean is the area.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serinus.monitors import performance
from serinus.monitors.evaluation.trial import Answers, Trial

__all__ = ["METRICS", "Metric", "influences", "known_metrics", "metrics_of"]

Floats = NDArray[np.float64]

_FEW_CLASSES = 50
_LEAST = 1e-15

_log = logging.getLogger("serinus.monitors")


@dataclass(frozen=True)
class Metric:
    """One metric.

    Attributes:
        name: what it is called.
        title: what people call it.
        higher: whether more is better.
        columns: the numbers of each row, `[rows, n]`; the first is 1. None where the answers do not have them.
        value: the metric, of the sums `[…, n]`.
        relative: whether margins are shares of the current version's value.
    """

    name: str
    title: str
    higher: bool
    columns: Callable[[Trial, Answers], Floats | None]
    value: Callable[[Floats], Floats]
    relative: bool = False

    def of(self, trial: Trial, answers: Answers) -> float | None:
        """Give the metric of all rows; None where the answers do not have it."""
        columns = self.columns(trial, answers)
        return None if columns is None else float(self.value(columns.sum(axis=0)))


def metrics_of(trial: Trial) -> list[Metric]:
    """Give the metrics that make sense for a trial, in the order of a report; those of installed packages last."""
    names = ("accuracy", "balanced_accuracy", "f1", "roc_auc", "log_loss", "brier") if trial.classifies else (
        "mae", "rmse", "r2", "bias")
    unit = f" ({trial.worth.unit})" if trial.worth.unit else ""
    value = [replace(METRICS["value"], title=f"Value of a row{unit}")] if trial.worth.values else []
    return [*(METRICS[name] for name in names), *value, *_installed()]


def known_metrics() -> Mapping[str, Metric]:
    """Every metric by its name, those of installed packages too."""
    return {**{metric.name: metric for metric in _installed()}, **METRICS}


def _installed() -> list[Metric]:
    return [Metric(one.name, one.name, one.higher_is_better, partial(_of_installed, one), _mean)
            for one in performance.installed_metrics() if one.name not in METRICS]


def influences(trial: Trial, answers: Answers) -> Floats | None:
    """Give each row's part of the area under the ROC curve: their mean is the area, their spread its error.

    DeLong's structural components, of each class against the others; with more than two classes the mean of all. A
    row's part is, of the rows of the other side, the share that it is on the right side of, weighted so that the mean
    over rows is the area. None without probabilities, or where a class has no row or all.
    """
    table = answers.probabilities
    if table is None or not np.isfinite(table).all():
        return None
    classes = [1] if trial.binary else [place for place in range(len(trial.classes)) if (trial.truth == place).any()]
    found = [_components(trial.truth == place, table[:, place]) for place in classes]
    if not found or any(part is None for part in found):
        return None
    return np.asarray(np.mean([part for part in found if part is not None], axis=0))


def _components(positive: NDArray[np.bool_], scores: Floats) -> Floats | None:
    many = int(positive.sum())
    others = len(positive) - many
    if many < 2 or others < 2:
        return None
    above, below = _share_below(scores[positive], scores[~positive]), _share_below(scores[~positive], scores[positive])
    area = float(above.mean())
    parts = np.empty(len(positive))
    parts[positive] = area + (above - area) * len(positive) / many
    parts[~positive] = area + (1 - below - area) * len(positive) / others
    return parts


def _share_below(values: Floats, among: Floats) -> Floats:
    rising = np.sort(among)
    places = np.searchsorted(rising, values, "left") + np.searchsorted(rising, values, "right")
    return np.asarray(places / (2 * len(among)))


def _rows(*columns: Any) -> Floats:
    return np.column_stack([np.ones(len(columns[0])), *columns]).astype(np.float64)


def _mean(sums: Floats) -> Floats:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(sums[..., 1] / sums[..., 0])


def _right(trial: Trial, answers: Answers) -> Floats | None:
    return _rows(answers.values == trial.truth)


def _cells(trial: Trial, answers: Answers) -> Floats | None:
    """Right answers, answers and rows of each class: the second alone where there are two."""
    if len(trial.classes) > _FEW_CLASSES:
        return None
    classes = [1] if trial.binary else range(len(trial.classes))
    parts: list[Any] = []
    for place in classes:
        true, said = trial.truth == place, answers.values == place
        parts += [true & said, said, true]
    return _rows(*parts)


def _f1(sums: Floats) -> Floats:
    right, said, true = sums[..., 1::3], sums[..., 2::3], sums[..., 3::3]
    with np.errstate(invalid="ignore", divide="ignore"):
        each = np.where(said + true > 0, 2 * right / (said + true), np.nan)
    return _known_mean(each)


def _both_cells(trial: Trial, answers: Answers) -> Floats | None:
    if len(trial.classes) > _FEW_CLASSES:
        return None
    parts: list[Any] = []
    for place in range(len(trial.classes)):
        true = trial.truth == place
        parts += [true & (answers.values == place), true]
    return _rows(*parts)


def _balanced(sums: Floats) -> Floats:
    right, true = sums[..., 1::2], sums[..., 2::2]
    with np.errstate(invalid="ignore", divide="ignore"):
        each = np.where(true > 0, right / true, np.nan)
    return _known_mean(each)


def _known_mean(each: Floats) -> Floats:
    known = np.isfinite(each)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(known, each, 0.0).sum(axis=-1) / known.sum(axis=-1))


def _log_losses(trial: Trial, answers: Answers) -> Floats | None:
    if answers.probabilities is None:
        return None
    sizes = np.clip(answers.probabilities, _LEAST, None)
    chosen = sizes[np.arange(trial.rows), trial.truth.astype(int)] / sizes.sum(axis=1)
    return _rows(-np.log(chosen))


def _brier_losses(trial: Trial, answers: Answers) -> Floats | None:
    """The squared distance from the outcome: of the second class where there are two, else of all."""
    if answers.probabilities is None:
        return None
    if trial.binary:
        return _rows((answers.probabilities[:, 1] - trial.truth) ** 2)
    outcome = trial.truth[:, None] == np.arange(len(trial.classes))
    return _rows(((answers.probabilities - outcome) ** 2).sum(axis=1))


def _values(trial: Trial, answers: Answers) -> Floats | None:
    """What each row is worth; a row whose answer is no class does not count."""
    worth, known = np.array(trial.worth.matrix(trial.classes)), answers.values >= 0
    places = np.where(known, answers.values, 0).astype(int)
    return np.column_stack([known, np.where(known, worth[trial.truth.astype(int), places], 0.0)]).astype(np.float64)


def _of_installed(metric: performance.Metric, trial: Trial, answers: Answers) -> Floats | None:
    """A number of each row that counts for somebody else's metric; None where it fails, or no row counts."""
    rows = performance.Outcomes(_named(trial, trial.truth), _named(trial, answers.values), answers.probabilities)
    try:
        values = np.asarray(metric.values(rows), np.float64).reshape(trial.rows)
    except Exception as error:
        _log.error("The metric %s failed for %d rows, and is left out: %s: %s", metric.name, trial.rows,
                   type(error).__name__, error)
        return None
    known = np.isfinite(values)
    return np.column_stack([known, np.where(known, values, 0.0)]).astype(np.float64) if known.any() else None


def _named(trial: Trial, values: Floats) -> NDArray[Any]:
    """Classes by their names, None for what is none of them; numbers as they are."""
    return np.array([*trial.classes, None], object)[values.astype(int)] if trial.classifies else values


def _errors(trial: Trial, answers: Answers) -> Floats:
    with np.errstate(over="ignore", invalid="ignore"):
        return np.asarray(answers.values - trial.truth)


def _absolute(trial: Trial, answers: Answers) -> Floats | None:
    return _rows(np.abs(_errors(trial, answers)))


def _squared(trial: Trial, answers: Answers) -> Floats | None:
    with np.errstate(over="ignore"):
        return _rows(_errors(trial, answers) ** 2)


def _signed(trial: Trial, answers: Answers) -> Floats | None:
    return _rows(_errors(trial, answers))


def _explained(trial: Trial, answers: Answers) -> Floats | None:
    with np.errstate(over="ignore"):
        centred = trial.truth - trial.truth.mean()
        return _rows(_errors(trial, answers) ** 2, centred, centred**2)


def _r2(sums: Floats) -> Floats:
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        spread = sums[..., 3] - sums[..., 2] ** 2 / sums[..., 0]
        return np.asarray(np.where(spread > 0, 1 - sums[..., 1] / spread, np.nan))


def _root(sums: Floats) -> Floats:
    return np.asarray(np.sqrt(_mean(sums)))


def _areas(trial: Trial, answers: Answers) -> Floats | None:
    found = influences(trial, answers)
    return None if found is None else _rows(found)


_ALL = (
    Metric("accuracy", "Accuracy", True, _right, _mean),
    Metric("balanced_accuracy", "Balanced accuracy", True, _both_cells, _balanced),
    Metric("f1", "F1", True, _cells, _f1),
    Metric("roc_auc", "ROC AUC", True, _areas, _mean),
    Metric("log_loss", "Log loss", False, _log_losses, _mean),
    Metric("brier", "Brier score", False, _brier_losses, _mean),
    Metric("value", "Value of a row", True, _values, _mean),
    Metric("mae", "Mean absolute error", False, _absolute, _mean, relative=True),
    Metric("rmse", "Root mean squared error", False, _squared, _root, relative=True),
    Metric("r2", "R²", True, _explained, _r2),
    Metric("bias", "Mean error", False, _signed, _mean),
)

METRICS: Mapping[str, Metric] = MappingProxyType({metric.name: metric for metric in _ALL})
"""Every metric by its name."""
