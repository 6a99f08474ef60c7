"""Real models for a real server: two versions each of a mixed-column pipeline and of an ONNX graph."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from serinus.models import register

__all__ = ["CREDIT_INFER", "CREDIT_ROWS", "IRIS_INFER", "IRIS_ROWS", "fill"]

_ROW = {"age": 33, "income": 31_000.0, "city": "Oslo"}
CREDIT_ROWS = {"rows": [_ROW]}
CREDIT_INFER = {"inputs": [
    {"name": "age", "shape": [1], "datatype": "INT64", "data": [_ROW["age"]]},
    {"name": "income", "shape": [1], "datatype": "FP64", "data": [_ROW["income"]]},
    {"name": "city", "shape": [1], "datatype": "BYTES", "data": [_ROW["city"]]}]}
_PETALS = [5.1, 3.5, 1.4, 0.2]
IRIS_ROWS = {"rows": [_PETALS]}
IRIS_INFER = {"inputs": [{"name": "petals", "shape": [1, 4], "datatype": "FP32", "data": _PETALS}]}


def fill(home: Path) -> None:
    """Register `credit` (scikit-learn) and `iris` (ONNX), versions 1 and 2."""
    people = _people()
    for strength in (1.0, 0.05):
        register(_credit(people, strength), "credit", reference=people, target="late", home=home)
        register(_iris(strength), "iris", home=home)


def _people() -> pd.DataFrame:
    rng = np.random.default_rng(5)
    rows = 400
    frame = pd.DataFrame({"age": rng.integers(18, 80, rows), "income": rng.normal(3e4, 9e3, rows),
                          "city": rng.choice(["Lyon", "Oslo", "Rome"], rows)})
    frame.loc[::17, "income"] = np.nan
    return frame.assign(late=np.where(frame["age"] + rng.normal(0, 10, rows) > 50, "yes", "no"))


def _credit(people: pd.DataFrame, strength: float) -> Any:
    columns = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), ["city"]),
        (make_pipeline(SimpleImputer(), StandardScaler()), ["age", "income"]))
    return make_pipeline(columns, LogisticRegression(C=strength)).fit(people.drop(columns="late"), people["late"])


def _iris(strength: float) -> Any:
    from skl2onnx import to_onnx
    from skl2onnx.common.data_types import FloatTensorType
    from sklearn.datasets import load_iris

    rows, kinds = load_iris(return_X_y=True)
    fitted = make_pipeline(StandardScaler(), LogisticRegression(C=strength)).fit(rows, kinds)
    return to_onnx(fitted, initial_types=[("petals", FloatTensorType([None, 4]))],
                   options={id(fitted): {"zipmap": False}})
