"""The models that the conformance suite asks, each with its fitted original to compare with.

Written as files for another server by `python -m tests.conformance.zoo FOLDER`.
"""

import functools
import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pandas as pd
from onnx import TensorProto, helper
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_iris
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from serinus.models import register

__all__ = ["CREDIT_ROWS", "IRIS_COLUMNS", "IRIS_ROWS", "credit", "direct", "fill", "iris", "matrix", "types"]

IRIS_COLUMNS = ["sepal_length", "sepal_width", "petal_length", "petal_width"]
IRIS_ROWS = [[5.1, 3.5, 1.4, 0.2], [6.7, 3.1, 4.7, 1.5], [6.3, 3.3, 6.0, 2.5], [5.9, 3.0, 5.1, 1.8]]
CREDIT_ROWS = [
    {"age": 33, "income": 31_000.5, "city": "Oslo", "housing": "rent"},
    {"age": 71, "income": None, "city": "Zürich", "housing": "own"},
    {"age": 52, "income": 12_345.678, "city": "Rome", "housing": "rent"},
]


def iris(version: int = 1) -> Any:
    """A classifier on four named columns of floats with strings as classes; version 2 is more cautious."""
    rows, kinds = load_iris(return_X_y=True)
    frame, names = pd.DataFrame(rows, columns=IRIS_COLUMNS), load_iris().target_names[kinds]
    return make_pipeline(StandardScaler(), LogisticRegression(C=1.0 if version == 1 else 0.01)).fit(frame, names)


def matrix(classes: type = int) -> Any:
    """A graph that takes one FP32 matrix, with whole numbers (`matrix`) or strings (`kinds`) as classes."""
    from skl2onnx import to_onnx
    from skl2onnx.common.data_types import FloatTensorType

    rows, kinds = load_iris(return_X_y=True)
    labels = kinds if classes is int else load_iris().target_names[kinds]
    fitted = make_pipeline(StandardScaler(), LogisticRegression()).fit(rows, labels)
    return to_onnx(fitted, initial_types=[("input", FloatTensorType([None, 4]))],
                   options={id(fitted): {"zipmap": False}})


def credit() -> Any:
    """A pipeline over numbers that may be missing, strings and a pandas category."""
    people = _people()
    columns = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), ["city", "housing"]),
        (make_pipeline(SimpleImputer(), StandardScaler()), ["age", "income"]))
    return make_pipeline(columns, LogisticRegression()).fit(people.drop(columns="late"), people["late"])


def types() -> Any:
    """A graph that gives back what it gets in six columns of as many types; output `NAME_out` is input `NAME`."""
    kinds = {"half": TensorProto.FLOAT16, "text": TensorProto.STRING, "flag": TensorProto.BOOL,
             "big": TensorProto.UINT64, "small": TensorProto.INT8, "exact": TensorProto.DOUBLE}
    graph = helper.make_graph(
        [helper.make_node("Identity", [name], [f"{name}_out"]) for name in kinds], "types",
        [helper.make_tensor_value_info(name, kind, ["rows"]) for name, kind in kinds.items()],
        [helper.make_tensor_value_info(f"{name}_out", kind, ["rows"]) for name, kind in kinds.items()])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def fill(home: Path) -> None:
    """Register all of them; `iris` has two versions."""
    people = _people()
    register(iris(1), "iris", home=home)
    register(iris(2), "iris", home=home)
    register(matrix(int), "matrix", home=home)
    register(matrix(str), "kinds", home=home)
    register(credit(), "credit", reference=people, target="late", home=home)
    register(types(), "types", home=home)


def direct(name: str, inputs: Any, version: int = 1) -> dict[str, np.ndarray]:
    """What the original answers, by output."""
    if name in ("iris", "credit"):
        fitted = _original(name, version)
        return {"predict": fitted.predict(inputs), "predict_proba": fitted.predict_proba(inputs)}
    session = _original(name, version)
    return dict(zip([output.name for output in session.get_outputs()], session.run(None, inputs), strict=True))


@functools.cache
def _original(name: str, version: int) -> Any:
    if name in ("iris", "credit"):
        return iris(version) if name == "iris" else credit()
    graph = types() if name == "types" else matrix(str if name == "kinds" else int)
    return onnxruntime.InferenceSession(graph.SerializeToString())


def _people() -> pd.DataFrame:
    rng = np.random.default_rng(5)
    rows = 400
    frame = pd.DataFrame({
        "age": rng.integers(18, 80, rows), "income": rng.normal(3e4, 9e3, rows),
        "city": rng.choice(["Lyon", "Oslo", "Rome", "Zürich"], rows),
        "housing": pd.Categorical(rng.choice(["own", "rent"], rows))})
    frame.loc[::17, "income"] = np.nan
    return frame.assign(late=np.where(frame["age"] + rng.normal(0, 10, rows) > 50, "yes", "no"))


def _write(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, fitted in (("iris-1", iris(1)), ("iris-2", iris(2)), ("credit", credit())):
        (folder / f"{name}.pkl").write_bytes(pickle.dumps(fitted))
    for name, graph in (("matrix", matrix(int)), ("kinds", matrix(str)), ("types", types())):
        onnx.save(graph, folder / f"{name}.onnx")


if __name__ == "__main__":
    _write(Path(sys.argv[1]))
