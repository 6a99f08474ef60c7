"""The demo's models: two pipelines over mixed columns, trained on data that comes with scikit-learn."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from serinus.models import ModelVersion, register

__all__ = ["MODEL", "Trained", "train_and_register"]

MODEL = "tumour"
_TARGET = "diagnosis"
_CATEGORY = "size class"
_MISSING_SHARE = 0.03


class Trained(NamedTuple):
    """A registered version, what it is, and its accuracy on rows that it has not seen."""

    version: ModelVersion
    about: str
    accuracy: float


def train_and_register(home: Path) -> tuple[pd.DataFrame, list[dict[str, Any]], list[Trained]]:
    """The training frame, unseen rows as JSON values, and versions 1 and 2."""
    known, unseen = train_test_split(_frame(), test_size=0.4, random_state=7)
    estimators = {"logistic regression": LogisticRegression(max_iter=2000),
                  "gradient boosting": GradientBoostingClassifier(n_estimators=40, random_state=7)}
    trained = []
    for about, estimator in estimators.items():
        pipeline = _pipeline(known, estimator)
        version = register(pipeline, MODEL, reference=known, target=_TARGET, home=home)
        trained.append(Trained(version, about, pipeline.score(unseen.drop(columns=_TARGET), unseen[_TARGET])))
    return known, json.loads(unseen.drop(columns=_TARGET).to_json(orient="records", double_precision=15)), trained


def _frame() -> pd.DataFrame:
    """Breast cancer Wisconsin: 30 measures; made harder by a column of words and by values that are missing."""
    data = load_breast_cancer(as_frame=True)
    frame: pd.DataFrame = data.data
    words = pd.cut(frame["mean area"], [0, 420, 780, np.inf], labels=["small", "medium", "large"]).astype(str)
    lost = np.random.default_rng(7).random(frame.shape) < _MISSING_SHARE
    names = data.target.map(dict(enumerate(data.target_names)))
    return frame.mask(lost).assign(**{_CATEGORY: words, _TARGET: names})


def _pipeline(known: pd.DataFrame, estimator: Any) -> Any:
    measures = [column for column in known.columns if column not in (_CATEGORY, _TARGET)]
    columns = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), [_CATEGORY]),
        (make_pipeline(SimpleImputer(strategy="median"), StandardScaler()), measures))
    return make_pipeline(columns, estimator).fit(known.drop(columns=_TARGET), known[_TARGET])
