"""Estimated errors of a regression: right where only rows change, with intervals that hold, and no pickle."""

from __future__ import annotations

import json

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingRegressor

from serinus.monitors.error_estimation import ErrorEstimator, Trees, _trees, fit_error_estimator
from serinus.monitors.errors import InvalidData


def drawn(seed: int, rows: int, shift: float = 0.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Errors are larger where the first input is; `shift` moves it; some of the second are missing."""
    rng = np.random.default_rng(seed)
    inputs = np.column_stack([np.clip(rng.normal(shift, 1, rows), -2.5, 2.5), rng.normal(size=rows)])
    inputs[rng.random(rows) < 0.1, 1] = np.nan
    answers = 3 * inputs[:, 0]
    return inputs, answers, answers + rng.normal(size=rows) * np.exp(0.5 * inputs[:, 0])


FITTED = fit_error_estimator(*drawn(0, 3_000))


@pytest.mark.parametrize("shift", [-0.7, 0.0, 0.7])
def test_other_rows_of_the_same_world_are_estimated_well(shift: float) -> None:
    """MAE and RMSE within a tenth, though they triple from one shift to the other."""
    inputs, answers, truth = drawn(1, 6_000, shift)
    found = FITTED.estimate(FITTED.sums(inputs, answers))
    assert found["mae"].value == pytest.approx(np.abs(answers - truth).mean(), rel=0.12)
    assert found["rmse"].value == pytest.approx(np.sqrt(((answers - truth) ** 2).mean()), rel=0.15)


def test_the_realised_value_lies_in_the_interval() -> None:
    """30 cohorts of 400 rows: nine of ten intervals hold what turned out."""
    held = {"mae": 0, "rmse": 0}
    for seed in range(30):
        inputs, answers, truth = drawn(10 + seed, 400, (seed - 15) / 30)
        found = FITTED.estimate(FITTED.sums(inputs, answers))
        realised = {"mae": np.abs(answers - truth).mean(), "rmse": np.sqrt(((answers - truth) ** 2).mean())}
        for name, value in realised.items():
            held[name] += found[name].interval is not None and found[name].interval.holds(value)
    assert min(held.values()) >= 27, held


def test_the_trees_answer_as_scikit_learns_do() -> None:
    """Node by node, missing values included."""
    inputs, _, truth = drawn(2, 1_500)
    ours = _trees(inputs, truth)
    theirs = HistGradientBoostingRegressor(early_stopping=False, random_state=20_260_103)
    theirs.fit(inputs, truth / np.abs(truth).max())
    wanted = theirs.predict(inputs) * np.abs(truth).max()
    assert ours(inputs) == pytest.approx(wanted)
    assert Trees.from_json(json.loads(json.dumps(ours.to_json())))(inputs).tolist() == ours(inputs).tolist()


def test_sums_of_parts_are_the_sums_of_the_whole() -> None:
    """To the last bit; no rows estimate nothing."""
    inputs, answers, _ = drawn(3, 300)
    parts = FITTED.sums(inputs[:99], answers[:99]) + FITTED.sums(inputs[99:], answers[99:])
    assert parts == FITTED.sums(inputs, answers)
    assert FITTED.estimate(FITTED.sums(inputs[:0], answers[:0])) == {}


def test_it_travels_as_json() -> None:
    """And estimates the same; half of a document is refused."""
    document = json.loads(json.dumps(FITTED.to_json()))
    sums = FITTED.sums(*drawn(4, 200)[:2])
    assert ErrorEstimator.from_json(document).estimate(sums) == FITTED.estimate(sums)
    document.pop("square")
    with pytest.raises(InvalidData, match="fit it again"):
        ErrorEstimator.from_json(document)


def test_what_cannot_be_learnt_from_is_refused() -> None:
    """Too few rows, and rows with another number of inputs."""
    inputs, answers, truth = drawn(5, 600)
    with pytest.raises(InvalidData, match="needs 500 reference rows"):
        fit_error_estimator(inputs, answers, np.where(np.arange(600) < 200, np.nan, truth))
    with pytest.raises(InvalidData, match="fitted to 2 inputs, got 1"):
        FITTED.sums(inputs[:, :1], answers)


def test_a_perfect_model_and_huge_errors_are_ordinary() -> None:
    """No error at all is estimated as none, and 1e300 overflows nothing."""
    inputs, answers, _ = drawn(6, 500)
    perfect = fit_error_estimator(inputs, answers, answers)
    assert perfect.estimate(perfect.sums(inputs, answers))["mae"].value == pytest.approx(0.0, abs=1e-9)
    wild = fit_error_estimator(inputs, answers, np.where(np.arange(500) % 7 == 0, 1e300, answers))
    assert np.isfinite(wild.estimate(wild.sums(inputs, answers))["rmse"].value)
