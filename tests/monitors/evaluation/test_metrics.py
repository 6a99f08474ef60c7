"""The gate's metrics: each as scikit-learn has it, and sums that say the same as rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from sklearn import metrics as sk

from serinus.monitors import performance
from serinus.monitors.evaluation.metrics import METRICS, influences, metrics_of
from serinus.monitors.evaluation.policy import Policy
from serinus.monitors.evaluation.trial import Answers, Trial
from serinus.monitors.worth import Worth
from tests.monitors.evaluation.trials import classified, measured
from tests.monitors.test_performance import Broken, Profit

Wanted = dict[str, Callable[[Any, Any, Any], float]]

OF_TWO: Wanted = {
    "accuracy": lambda y, said, p: sk.accuracy_score(y, said),
    "balanced_accuracy": lambda y, said, p: sk.balanced_accuracy_score(y, said),
    "f1": lambda y, said, p: sk.f1_score(y, said),
    "roc_auc": lambda y, said, p: sk.roc_auc_score(y, p[:, 1]),
    "log_loss": lambda y, said, p: sk.log_loss(y, p),
    "brier": lambda y, said, p: sk.brier_score_loss(y, p[:, 1]),
}
OF_THREE: Wanted = {
    "accuracy": lambda y, said, p: sk.accuracy_score(y, said),
    "balanced_accuracy": lambda y, said, p: sk.balanced_accuracy_score(y, said),
    "f1": lambda y, said, p: sk.f1_score(y, said, average="macro"),
    "roc_auc": lambda y, said, p: sk.roc_auc_score(y, p, multi_class="ovr"),
    "log_loss": lambda y, said, p: sk.log_loss(y, p),
}
OF_NUMBERS = {
    "mae": sk.mean_absolute_error,
    "rmse": lambda y, said: sk.mean_squared_error(y, said) ** 0.5,
    "r2": sk.r2_score,
    "bias": lambda y, said: float(np.mean(said - y)),
}


def _three() -> Trial:
    draw = np.random.default_rng(3)
    truth = draw.integers(0, 3, 400).astype(float)
    table = draw.dirichlet((1, 1, 1), 400) + 0.5 * (truth[:, None] == np.arange(3))
    table /= table.sum(axis=1, keepdims=True)
    given = Answers(table.argmax(axis=1).astype(float), table)
    return replace(classified(400), truth=truth, classes=("a", "b", "c"), candidate=given, current=given)


@pytest.mark.parametrize("name", OF_TWO)
def test_metrics_of_two_classes(name: str) -> None:
    """As scikit-learn has them; the second class is the positive one."""
    trial = classified()
    given = trial.candidate
    wanted = OF_TWO[name](trial.truth, given.values, given.probabilities)
    assert METRICS[name].of(trial, given) == pytest.approx(wanted)


def test_the_value_of_answers_is_counted_by_hand() -> None:
    """Two right positives (+10), one missed (−20), one false (−1); the row whose answer is no class does not count."""
    given = Answers(np.array([1.0, 1, 0, 1, 0, -1]))
    trial = replace(classified(6), truth=np.array([1.0, 1, 1, 0, 0, 1]), candidate=given,
                    worth=Worth(values={"1": {"1": 5, "0": -20}, "0": {"1": -1}}, unit="EUR"))
    assert METRICS["value"].of(trial, given) == -11 / 5
    assert [metric.title for metric in metrics_of(trial) if metric.name == "value"] == ["Value of a row (EUR)"]
    assert "value" not in [metric.name for metric in metrics_of(classified(6))]


def test_metrics_of_installed_packages_are_measured(monkeypatch: pytest.MonkeyPatch,
                                                    caplog: pytest.LogCaptureFixture) -> None:
    """Over the rows that count for them; one that fails is logged and left out; a policy may ask for them."""
    monkeypatch.setattr(performance, "installed_metrics", lambda: (Broken(), Profit()))
    given = Answers(np.array([1.0, 1, 0, 1]))
    trial = replace(classified(4), truth=np.array([1.0, 0, 1, 1]), classes=("no", "yes"), candidate=given)
    found = {metric.name: metric.of(trial, given) for metric in metrics_of(trial) if metric.name not in METRICS}
    assert found == {"broken": None, "profit": (10.0 - 1.0 + 10.0) / 3} and "The metric broken failed" in caplog.text
    assert Policy.from_toml("[floors]\nprofit = -1").floors == {"profit": -1}


@pytest.mark.parametrize("name", OF_THREE)
def test_metrics_of_more_classes(name: str) -> None:
    """Means over the classes, each against the others."""
    trial = _three()
    given = trial.candidate
    wanted = OF_THREE[name](trial.truth, given.values, given.probabilities)
    assert METRICS[name].of(trial, given) == pytest.approx(wanted)


@pytest.mark.parametrize("name", OF_NUMBERS)
def test_metrics_of_numbers(name: str) -> None:
    """As scikit-learn has them."""
    trial = measured()
    wanted = OF_NUMBERS[name](trial.truth, trial.candidate.values)
    assert METRICS[name].of(trial, trial.candidate) == pytest.approx(wanted)


def test_influences_average_to_the_area_with_ties() -> None:
    """Of rounded scores too."""
    trial = classified()
    assert trial.candidate.probabilities is not None
    table = np.round(trial.candidate.probabilities, 1)
    found = influences(trial, Answers(trial.candidate.values, table))
    assert found is not None
    assert found.mean() == pytest.approx(sk.roc_auc_score(trial.truth, table[:, 1]))


def test_what_is_not_there_is_not_measured() -> None:
    """Without probabilities, or with one class alone, there is no area."""
    trial = classified()
    plain = Answers(trial.candidate.values)
    assert [metric.name for metric in metrics_of(trial) if metric.of(trial, plain) is None] == [
        "roc_auc", "log_loss", "brier"]
    assert influences(replace(trial, truth=np.ones(trial.rows)), trial.candidate) is None


def test_hopeless_numbers_crash_nothing() -> None:
    """Infinite and huge answers have infinite errors; a constant truth has no R²."""
    trial = measured(50)
    wild = Answers(np.where(np.arange(50) % 2, np.inf, 1e300))
    assert METRICS["mae"].of(trial, wild) == np.inf and METRICS["rmse"].of(trial, wild) == np.inf
    assert np.isnan(METRICS["r2"].of(replace(trial, truth=np.ones(50)), trial.candidate) or 0.0)
