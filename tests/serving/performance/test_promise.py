"""A version promises what its reference showed; what promises nothing says why, and is registered all the same."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.svm import LinearSVC

from serinus.models import Registry, register
from serinus.monitors.errors import InvalidData
from serinus.monitors.estimation import Estimator
from serinus.monitors.performance import Outcomes
from serinus.monitors.profile import Profile
from serinus.serving.ground_truth.columns import answers_of
from serinus.serving.performance.promise import Promise, estimator_sums, numbers_of, promise_of
from serinus.serving.references import profile_bytes_of


def _rows(rows: int, seed: int = 0) -> pd.DataFrame:
    draw = np.random.default_rng(seed)
    frame = pd.DataFrame({"x": draw.normal(size=rows), "z": draw.normal(size=rows)})
    return frame.assign(y=(frame["x"] + draw.normal(size=rows) > 0).astype(int))


def _promise(home: Path, model: object, frame: pd.DataFrame, name: str = "credit") -> Promise | None:
    version = register(model.fit(frame[["x", "z"]], frame["y"]), name, home=home, reference=frame, target="y")
    return promise_of(Registry(home), version)


def test_a_classifier_promises_measures_loss_and_an_estimator(tmp_path: Path) -> None:
    """The bound is above the loss; what is read back says the same."""
    promise = _promise(tmp_path, LogisticRegression(), _rows(1200))
    assert promise is not None
    assert promise.loss == pytest.approx(1 - promise.measures["accuracy"]["value"])
    assert promise.loss < promise.promised < promise.loss + 0.1
    assert isinstance(promise.estimator, Estimator)
    assert promise.codes.shape == (1200, len(promise.features))
    again = Promise.from_bytes(promise.to_bytes())
    assert again.to_bytes() == promise.to_bytes()
    assert np.array_equal(again.losses, promise.losses)


def test_a_regression_is_estimated_from_its_inputs(tmp_path: Path) -> None:
    """Where errors are larger on some rows, those rows are estimated as worse, without their truth."""
    frame = _rows(700)
    draw = np.random.default_rng(1)
    frame["y"] = 2 * frame["x"] + draw.normal(size=700) * np.where(frame["z"] > 0, 2.0, 0.2)
    promise = _promise(tmp_path, LinearRegression(), frame)
    assert promise is not None and promise.estimator is not None
    registry = Registry(tmp_path)
    version = registry.get("credit", "1")
    profile = Profile.from_bytes(profile_bytes_of(registry, version, promise.reference))
    where = answers_of(version.signature)
    assert where is not None
    found = []
    for sign in (1, -1):
        inputs = {"x": draw.normal(size=800), "z": sign * np.abs(draw.normal(size=800))}
        outcomes = Outcomes(np.empty(0), 2 * inputs["x"])
        sums = estimator_sums(promise.estimator, where.definition, outcomes, numbers_of(profile, inputs, ()))
        found.append(promise.estimator.estimate(sums)["rmse"])
    assert found[0].interval is not None and found[0].interval.holds(2.0)
    assert found[1].value is not None and found[1].value < 0.5
    assert promise.scale == pytest.approx(3 * promise.measures["rmse"]["value"])


def test_no_probabilities_no_estimate(tmp_path: Path) -> None:
    """The measures are promised all the same, and a sentence says what is missing."""
    promise = _promise(tmp_path, LinearSVC(), _rows(600))
    assert promise is not None
    assert (promise.estimator, promise.calibration_error) == (None, None)
    assert "no probabilities" in promise.reason


def test_too_few_rows_promise_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The version is registered, and the log says why its performance is known from live truths alone."""
    with caplog.at_level(logging.WARNING, "serinus.monitors"):
        assert _promise(tmp_path, LogisticRegression(), _rows(40)) is None
    assert "credit:1 promises no performance: A promise needs 50 reference rows" in caplog.text


def test_another_release_is_not_read() -> None:
    """A format of another release is refused in a sentence."""
    with pytest.raises(InvalidData, match="another format; register the version again"):
        Promise.from_bytes(b'{"format":99}')
