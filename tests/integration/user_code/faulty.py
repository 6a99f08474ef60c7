"""A classifier of a user that goes wrong in a share of its calls, in the one way it is told to."""

from __future__ import annotations

import os
import random
import signal
import time
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin


class Faulty(ClassifierMixin, BaseEstimator):
    """Says "yes" to a share of the rows; `fault` is errors, slow, nan, segfault, or nothing.

    With crash it goes wrong for rows from 1000 on, and for no others; with other it says "yes" to other rows, and to
    as many; with wrong it takes as many "yes" for "no" as the other way round, in `share` of all rows when `yes` is
    0.2."""

    def __init__(self, fault: str = "", share: float = 0.0, yes: float = 0.2) -> None:
        self.fault = fault
        self.share = share
        self.yes = yes

    def fit(self, X: Any, y: Any) -> Self:  # noqa: N803  (scikit-learn's names)
        self.classes_ = np.unique(y)
        self.n_features_in_ = np.asarray(X).shape[1]
        return self

    def predict(self, X: Any) -> NDArray[Any]:  # noqa: N803
        chances = self._chances(X)
        said = chances < self.yes
        if self.fault == "wrong":
            said ^= self._affected(X) & (chances * 997 % 1 < np.where(said, 2.5, 0.625) * self.share)
        return self.classes_[said.astype(int)]

    def predict_proba(self, X: Any) -> NDArray[Any]:  # noqa: N803
        struck = random.random() < self.share
        if struck and self.fault == "errors":
            raise RuntimeError("struck")
        if struck and self.fault == "slow":
            time.sleep(0.05)
        if struck and self.fault == "segfault":
            os.kill(os.getpid(), signal.SIGSEGV)
        if self.fault == "crash" and np.asarray(X, dtype=float)[0, 0] >= 1000:
            os.kill(os.getpid(), signal.SIGSEGV)
        chances = self._chances(X) * (np.nan if struck and self.fault == "nan" else 1.0)
        return np.stack([chances, 1.0 - chances], axis=1)

    def _chances(self, X: Any) -> NDArray[Any]:  # noqa: N803
        """Uniform on [0, 1) over ordinary rows, and the same whenever a row comes again."""
        return (self._numbers(X) + 0.5 * (self.fault == "other")) % 1.0

    def _numbers(self, X: Any) -> NDArray[Any]:  # noqa: N803
        return np.asarray(X, dtype=float)[:, 0]

    def _affected(self, X: Any) -> NDArray[Any]:  # noqa: N803
        return np.ones(len(X), bool)


class Regional(Faulty):
    """Takes a column `region` beside `x`, and is wrong in the north only."""

    def fit(self, X: Any, y: Any) -> Self:  # noqa: N803
        super().fit(X, y)
        self.feature_names_in_ = np.array(X.columns, object)
        return self

    def _numbers(self, X: Any) -> NDArray[Any]:  # noqa: N803
        return X["x"].to_numpy(float)

    def _affected(self, X: Any) -> NDArray[Any]:  # noqa: N803
        return (X["region"] == "north").to_numpy()
