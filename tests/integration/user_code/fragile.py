"""An estimator of a user that cannot take every value, and says so only when it is called."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, RegressorMixin


class Fragile(RegressorMixin, BaseEstimator):
    """Answers with its input, and breaks on what is below zero."""

    def fit(self, X: Any, y: Any = None) -> Self:  # noqa: N803  (scikit-learn's names)
        self.n_features_in_ = np.asarray(X).shape[1]
        return self

    def predict(self, X: Any) -> NDArray[Any]:  # noqa: N803
        values = np.asarray(X, dtype=float)[:, 0]
        if values.min() < 0:
            raise RuntimeError("below zero")
        return values
