"""Real models, small: a mixed table with gaps, and an all-numeric ONNX graph."""

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler


@pytest.fixture(scope="session")
def people():
    """Numbers, strings with gaps, categories, booleans, and the target `buys` with string classes."""
    rng = np.random.default_rng(7)
    rows = 120
    frame = pd.DataFrame(
        {
            "age": rng.normal(40, 12, rows),
            "visits": rng.integers(0, 9, rows),
            "city": rng.choice(["Bern", "Lyon", None], rows),
            "colour": pd.Categorical(rng.choice(["red", "green", "blue"], rows)),
            "member": rng.random(rows) < 0.5,
        }
    )
    frame.loc[3, "age"] = np.nan
    return frame.assign(buys=np.where(frame["visits"] + rng.normal(size=rows) > 4, "yes", "no"))


@pytest.fixture(scope="session")
def features(people):
    return people.drop(columns="buys")


@pytest.fixture(scope="session")
def pipeline(people, features):
    """A pipeline as one meets it: numbers imputed and scaled, strings and categories encoded."""
    columns = make_column_transformer(
        (make_pipeline(SimpleImputer(), StandardScaler()), ["age", "visits"]),
        (OneHotEncoder(handle_unknown="ignore"), ["city", "colour"]),
        remainder="passthrough",
    )
    return make_pipeline(columns, LogisticRegression()).fit(features, people["buys"])


@pytest.fixture(scope="session")
def cancer():
    """All-numeric rows as float32, and their classes."""
    rows, classes = load_breast_cancer(return_X_y=True)
    return rows.astype(np.float32), classes


@pytest.fixture(scope="session")
def boosted(cancer):
    rows, classes = cancer
    return make_pipeline(StandardScaler(), GradientBoostingClassifier(n_estimators=10)).fit(rows, classes)


@pytest.fixture(scope="session")
def graph(boosted, cancer):
    """The boosted model as an ONNX ModelProto without ZipMap."""
    from skl2onnx import to_onnx

    return to_onnx(boosted, cancer[0][:1], options={"zipmap": False})


@pytest.fixture
def graph_file(graph, tmp_path):
    path = tmp_path / "graph.onnx"
    path.write_bytes(graph.SerializeToString())
    return path


@pytest.fixture
def home(tmp_path):
    return tmp_path / "home"
