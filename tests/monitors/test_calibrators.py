"""Calibrators against scikit-learn's, and what they promise."""

from __future__ import annotations

import json

import numpy as np
import pytest
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from serinus.monitors.calibrators import Platt, calibrator_from_json, fit_calibrator, fit_isotonic, fit_platt
from serinus.monitors.errors import InvalidData


def overconfident(seed: int, rows: int, ties: bool = False) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, rows)
    truth = (rng.random(rows) < 1 / (1 + np.exp(-0.5 * logits - 0.3))).astype(int)
    scores = 1 / (1 + np.exp(-logits))
    return (np.round(scores, 2) if ties else scores), truth


@pytest.mark.parametrize("ties", [False, True])
def test_isotonic_is_scikit_learns(ties: bool) -> None:
    """The same function, everywhere between 0 and 1, with equal scores too."""
    scores, truth = overconfident(0, 2_000, ties)
    grid = np.linspace(0, 1, 1_001)
    wanted = IsotonicRegression(out_of_bounds="clip").fit(scores, truth).predict(grid)
    assert fit_isotonic(scores, truth)(grid) == pytest.approx(wanted)


def test_platt_is_logistic_regression() -> None:
    """With many rows Platt's targets hardly matter."""
    scores, truth = overconfident(1, 20_000)
    logits = np.log(scores / (1 - scores))[:, None]
    wanted = LogisticRegression(C=1e9, tol=1e-8).fit(logits, truth)
    fitted = fit_platt(scores, truth)
    assert (fitted.slope, fitted.intercept) == pytest.approx((wanted.coef_[0, 0], wanted.intercept_[0]), abs=2e-3)
    assert (fitted.slope, fitted.intercept) == pytest.approx((0.5, 0.3), abs=0.05)


@pytest.mark.parametrize("method", ["isotonic", "platt"])
def test_weights_count_rows_so_many_times(method: str) -> None:
    """A row of weight 2 is two rows."""
    scores, truth = overconfident(2, 300, ties=True)
    weights = np.random.default_rng(3).integers(0, 3, 300)
    twice = fit_calibrator(method, np.repeat(scores, weights), np.repeat(truth, weights))
    weighted = fit_calibrator(method, scores, truth, weights)
    grid = np.linspace(0, 1, 101)
    assert weighted(grid) == pytest.approx(twice(grid), abs=0.01 if method == "platt" else 1e-9)


@pytest.mark.parametrize("method", ["isotonic", "platt"])
def test_they_travel_as_json(method: str) -> None:
    """And answer the same afterwards."""
    scores, truth = overconfident(4, 500)
    fitted = fit_calibrator(method, scores, truth)
    back = calibrator_from_json(json.loads(json.dumps(fitted.to_json())))
    assert back(scores).tolist() == fitted(scores).tolist()
    with pytest.raises(InvalidData, match="fit it again"):
        calibrator_from_json({"method": "isotonic"})


def test_separable_rows_have_an_answer() -> None:
    """Scores of exactly 0 and 1 that are always right: sure, but not infinitely so."""
    fitted = fit_platt(np.array([0.0] * 50 + [1.0] * 50), np.array([0] * 50 + [1] * 50))
    assert 0.9 < fitted(np.array([1.0]))[0] < 1 and 0 < fitted(np.array([0.0]))[0] < 0.1
    assert Platt(1.0, 0.0)(np.array([0.2, 0.7])) == pytest.approx([0.2, 0.7])


@pytest.mark.parametrize("truth", [[1, 1, 1], [0, 0, 0], []])
def test_one_class_alone_is_refused(truth: list[int]) -> None:
    """There is nothing to learn from it."""
    with pytest.raises(InvalidData, match="both classes"):
        fit_calibrator("isotonic", np.full(len(truth), 0.5), np.array(truth))


@pytest.mark.parametrize("method", ["isotonic", "platt"])
def test_a_constant_score_becomes_the_share(method: str) -> None:
    """Nothing is known but how frequent the event is."""
    fitted = fit_calibrator(method, np.full(1_000, 0.9), np.arange(1_000) < 300)
    assert fitted(np.array([0.1, 0.9]))[1] == pytest.approx(0.3, abs=0.005)
