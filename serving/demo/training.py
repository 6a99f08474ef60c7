"""The demo's models: three versions of a pipeline over mixed columns, trained on data that comes with scikit-learn.

Version 1 knows few patients, version 2 knows them all. Version 3 is as good as version 2 by every figure of its own
training, and useless: the program that exported its data gave lengths in another unit than those who ask.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_breast_cancer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from serinus.models import Card, Lineage, ModelVersion, register
from serinus.models.lineage import data_digest

__all__ = ["MODEL", "TARGET", "Data", "Recipe", "accuracy", "prepare", "recipes", "train_and_register"]

MODEL = "tumour"
TARGET = "diagnosis"
_CATEGORY = "size class"
_MISSING_SHARE = 0.03
_UNSEEN_SHARE = 0.6
_FEW = 100
_UNIT = 10.0


@dataclass(frozen=True)
class Data:
    """Rows to learn from, and rows that no version has seen: those are asked about, and are what is normal."""

    known: pd.DataFrame
    unseen: pd.DataFrame

    @property
    def missing(self) -> float:
        """The share of values that are missing."""
        return float(self.known.isna().sum().sum() / self.known.size)

    def exported(self) -> Data:
        """The same rows as a program gave them out that multiplies lengths by ten."""
        return Data(_other_unit(self.known), _other_unit(self.unseen))


@dataclass(frozen=True)
class Recipe:
    """How a version is made."""

    about: str
    data: Data
    rows: int


def prepare(seed: int) -> Data:
    """Breast cancer Wisconsin: 30 measures; made harder by a column of words and by values that are missing."""
    data = load_breast_cancer(as_frame=True)
    frame: pd.DataFrame = data.data
    words = pd.cut(frame["mean area"], [0, 420, 780, np.inf], labels=["small", "medium", "large"]).astype(str)
    lost = np.random.default_rng(seed).random(frame.shape) < _MISSING_SHARE
    names = data.target.map(dict(enumerate(data.target_names)))
    whole = frame.mask(lost).assign(**{_CATEGORY: words, TARGET: names})
    known, unseen = train_test_split(whole, test_size=_UNSEEN_SHARE, random_state=seed, stratify=whole[TARGET])
    return Data(known.reset_index(drop=True), unseen.reset_index(drop=True))


def recipes(data: Data) -> Mapping[str, Recipe]:
    """The three versions by their number."""
    return {"1": Recipe(f"the first {_FEW} patients", data, _FEW),
            "2": Recipe(f"all {len(data.known)} patients", data, len(data.known)),
            "3": Recipe("the same, as another program exported them", data.exported(), len(data.known))}


def train_and_register(home: Path, recipe: Recipe) -> ModelVersion:
    """Train a version and register it with its reference and card."""
    known = recipe.data.known.iloc[:recipe.rows]
    fitted = _pipeline(known)
    card = Card(
        description="Is a tumour benign or malignant, by 30 measures of its cells and its size?",
        owner="serinus demo", intended_use="To show what a monitored model looks like; no medical use.",
        limitations="569 patients of one hospital, in 1993; 3 % of the values were removed on purpose.",
        training_data=f"Breast cancer Wisconsin (diagnostic), as scikit-learn has it: {recipe.about}.",
        license="CC-BY-4.0", metrics={"accuracy": accuracy(fitted, recipe.data.unseen)}, tags=("demo",))
    return register(fitted, MODEL, reference=recipe.data.unseen, target=TARGET, home=home, card=card,
                    lineage=Lineage(data=data_digest(known), rows=len(known)))


def accuracy(fitted: Any, frame: pd.DataFrame) -> float:
    """The share of rows that it is right about."""
    return float(fitted.score(frame.drop(columns=TARGET), frame[TARGET]))


def _other_unit(frame: pd.DataFrame) -> pd.DataFrame:
    lengths = [name for name in frame.columns if "radius" in name or "perimeter" in name]
    areas = [name for name in frame.columns if name.endswith(" area") or name == "area error"]
    return frame.assign(**{name: frame[name] * _UNIT for name in lengths},
                        **{name: frame[name] * _UNIT**2 for name in areas})


def _pipeline(known: pd.DataFrame) -> Any:
    measures = [column for column in known.columns if column not in (_CATEGORY, TARGET)]
    columns = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), [_CATEGORY]),
        (make_pipeline(SimpleImputer(strategy="median"), StandardScaler()), measures))
    estimator = LogisticRegression(C=0.3, max_iter=2000)
    return make_pipeline(columns, estimator).fit(known.drop(columns=TARGET), known[TARGET])
