"""Estimators of a user who has classes of his own: one that takes its time, one that is slow to load."""

from __future__ import annotations

import time
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, RegressorMixin


class Patient(RegressorMixin, BaseEstimator):
    """Predicts, after as many seconds as its input says, the same number."""

    def fit(self, X: Any, y: Any = None) -> Self:  # noqa: N803  (scikit-learn's names)
        self.n_features_in_ = np.asarray(X).shape[1]
        return self

    def predict(self, X: Any) -> NDArray[Any]:  # noqa: N803
        seconds = np.asarray(X, dtype=float)[:, 0]
        time.sleep(max(0.005, float(seconds.max())))
        return seconds


class Heavy(RegressorMixin, BaseEstimator):
    """Answers at once, but takes `seconds` to load."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds

    def fit(self, X: Any, y: Any = None) -> Self:  # noqa: N803
        self.n_features_in_ = np.asarray(X).shape[1]
        return self

    def predict(self, X: Any) -> NDArray[Any]:  # noqa: N803
        return np.full(len(np.asarray(X)), self.seconds)

    def __setstate__(self, state: dict[str, Any]) -> None:
        time.sleep(state["seconds"])
        super().__setstate__(state)
