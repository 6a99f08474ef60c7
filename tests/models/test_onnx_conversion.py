"""Conversion: the graph takes and gives what the estimator's signature says, by the same names, and answers alike."""

import numpy as np
import pandas as pd
import pytest
from sklearn.cluster import KMeans
from sklearn.compose import make_column_transformer
from sklearn.ensemble import (
    ExtraTreesRegressor,
    HistGradientBoostingClassifier,
    IsolationForest,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LinearRegression, LogisticRegression, RidgeClassifier
from sklearn.model_selection import GridSearchCV
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

from serinus.models import Field, Signature, wrap
from serinus.models.adapters.onnx import OnnxAdapter
from serinus.models.frame import arrays_of
from serinus.models.onnx_conversion import NotConvertible, convert
from serinus.models.parity import compare
from serinus.models.testing import check_adapter


def both(fitted, reference=None, **how):
    """The estimator as a model, and its graph as one with the same signature."""
    model = wrap(fitted, reference=reference)
    proto = convert(fitted, model.signature, **how)
    return model, proto, OnnxAdapter().wrap(proto, model.signature)


def agree(model, graph, rows, tolerance=1e-5):
    return compare(model.signature, model.predict(rows), graph.predict(rows)).within(tolerance)


@pytest.fixture(scope="module")
def numbers(cancer):
    """Named numeric columns, and classes."""
    return pd.DataFrame(cancer[0][:200, :4].astype(float), columns=["a b", "c(cm)", "d", "é"]), cancer[1][:200]


ESTIMATORS = [
    LinearRegression(), LogisticRegression(max_iter=500), RidgeClassifier(), SVC(), RandomForestRegressor(5),
    RandomForestClassifier(5), ExtraTreesRegressor(3), DecisionTreeClassifier(), KMeans(3, n_init=1),
    StandardScaler(), MLPClassifier((8,), max_iter=20), IsolationForest(n_estimators=5),
    GridSearchCV(make_pipeline(StandardScaler(), LogisticRegression()), {"logisticregression__C": [1, 2]}, cv=2),
]  # fmt: skip


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda estimator: type(estimator).__name__)
def test_the_graph_stands_in_for_the_estimator(estimator, numbers):
    """Same names, datatypes and shapes, nothing that an older request misses, and the same answers."""
    frame, classes = numbers
    scaled = frame / frame.max()
    model, proto, graph = both(estimator.fit(scaled, classes), scaled)
    assert OnnxAdapter().infer_signature(proto).incompatibilities(model.signature) == []
    assert agree(model, graph, arrays_of(scaled, model.signature.inputs))


def test_mixed_columns_with_gaps(pipeline, features):
    """Strings with gaps, categories, booleans and integers: one tensor per column, with the answers of the pipeline."""
    model, _, graph = both(pipeline, features)
    rows = arrays_of(features, model.signature.inputs)
    assert {field.name: field.datatype for field in graph.signature.inputs} == {
        "age": "FP64", "visits": "INT64", "city": "BYTES", "colour": "BYTES", "member": "BOOL"}  # fmt: skip
    assert graph.predict(rows)["predict"].dtype == object
    assert agree(model, graph, rows)


def test_the_graph_keeps_the_adapter_contract(pipeline, features):
    """Left out columns, gaps, unequal lengths, threads: a converted model behaves like any other."""
    model, proto, _ = both(pipeline, features)
    rows = arrays_of(features.head(8), model.signature.inputs)
    assert check_adapter(OnnxAdapter(), proto, rows, signature=model.signature).left_out == {}


@pytest.mark.parametrize("missing", [None, np.nan])
def test_gaps_among_strings_are_what_they_were_in_training(missing):
    """Encoders tell None from NaN, and give either a column of its own; unknown strings have none."""
    frame = pd.DataFrame({"city": pd.Series(["Bern", missing, "Lyon", "Lyon", missing, "Bern"], dtype=object)})
    model, _, graph = both(OneHotEncoder(handle_unknown="ignore", sparse_output=False).fit(frame), frame)
    rows = {"city": np.array([None, "Lyon", "Oslo", "Bern"], dtype=object)}
    assert agree(model, graph, rows, 0)
    assert model.predict(rows)["transform"].sum() == 3


def test_trees_send_gaps_where_they_learned_to():
    """scikit-learn's trees choose a side for missing values at every split; skl2onnx alone would send all right."""
    rng = np.random.default_rng(3)
    frame = pd.DataFrame(rng.normal(size=(300, 4)), columns=list("abcd"))
    target = frame["a"] * 2 + frame["b"]
    gappy = frame.mask(rng.random(frame.shape) < 0.2)
    for trained in (frame, gappy):
        model, _, graph = both(RandomForestRegressor(10, random_state=0).fit(trained, target), trained)
        rows = arrays_of(gappy, model.signature.inputs)
        assert agree(model, graph, rows)
        left_out = {name: rows[name] for name in "acd"}
        assert agree(model, graph, left_out)


def test_one_matrix_stays_one_matrix(boosted, cancer):
    """An estimator trained on a bare array is a graph with one matrix `input`."""
    model, _, graph = both(boosted)
    assert [(field.name, field.shape) for field in graph.signature.inputs] == [("input", (-1, 30))]
    assert agree(model, graph, {"input": cancer[0].astype(float)})


def test_a_matrix_of_strings():
    """Unnamed string columns are one matrix of BYTES, gaps included."""
    values = np.array([["a", "x"], ["b", "y"], ["a", "y"]], dtype=object)
    model, _, graph = both(OneHotEncoder(handle_unknown="ignore", sparse_output=False).fit(values))
    assert agree(model, graph, {"input": np.array([["b", "x"], ["c", None]], dtype=object)}, 0)


def test_texts():
    """A text pipeline takes one column of texts, on any Linux: no locale of a country is needed."""
    fitted = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(["good day", "BAD day"] * 4, [1, 0] * 4)
    model, _, graph = both(fitted)
    assert agree(model, graph, {"input": np.array(["good", "Bad day", "neither", ""], dtype=object)})


def test_string_classes_and_integer_categories():
    """Classes stay strings, and whole numbers reach an encoder as whole numbers."""
    frame = pd.DataFrame({"level": [1, 2, 3, 1] * 5, "size": [0.5, 1, 2, 4] * 5, "colour": ["r", "g", "b", "r"] * 5})
    columns = make_column_transformer(
        (OneHotEncoder(), ["level"]), (OrdinalEncoder(), ["colour"]), remainder="passthrough"
    )
    fitted = make_pipeline(columns, LogisticRegression()).fit(frame, ["x", "y", "z", "x"] * 5)
    model, _, graph = both(fitted, frame)
    assert model.signature.output("predict").labels == ("x", "y", "z")
    assert agree(model, graph, arrays_of(frame, model.signature.inputs))


def test_double_precision_where_it_is_needed():
    """Numbers far larger than their differences need double precision; single precision is off by more than 1e-9."""
    rng = np.random.default_rng(5)
    rows = rng.normal(size=(50, 3)) + 1e4
    fitted = LinearRegression().fit(rows, rows @ [1.0, -1.0, 2.0])
    for precision, enough in (("FP32", False), ("FP64", True)):
        model, _, graph = both(fitted, precision=precision)
        assert agree(model, graph, {"input": rows}, 1e-9) is enough


@pytest.mark.parametrize(("make", "sentence"), [
    (lambda x, y: HistGradientBoostingClassifier(max_iter=3).fit(x, y),
     r"skl2onnx .* cannot convert this HistGradientBoostingClassifier of scikit-learn"),
    (lambda x, y: make_pipeline(StandardScaler(), OddRegression()).fit(x, y),
     r"cannot convert this pipeline of StandardScaler, OddRegression"),
], ids=["HistGradientBoosting", "a class of one's own"])  # fmt: skip
def test_what_cannot_be_converted_is_said_in_one_sentence(make, sentence, numbers):
    """Neither a stack trace nor a dump of the trees."""
    frame, classes = numbers
    fitted = make(frame, classes)
    with pytest.raises(NotConvertible, match=sentence) as caught:
        convert(fitted, wrap(fitted, reference=frame).signature)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400


class OddRegression(LinearRegression):
    """A class that no converter knows."""

    def predict(self, rows):
        return super().predict(rows) + 1


@pytest.mark.parametrize(("field", "why"), [
    (Field("when", "BYTES", (-1,), frame_dtype="datetime64[us]"), "'when' holds dates"),
    (Field("n", "INT64", (-1,), optional=True, frame_dtype="Int64"), "'n' may be missing, and INT64 tensors have no"),
    (Field("t", "FP64", (-1, 2, 2)), r"'t' has shape \[-1, 2, 2\]"),
], ids=["dates", "integers with gaps", "tensors"])  # fmt: skip
def test_columns_without_an_equivalent_are_named(field, why):
    """What no tensor can hold is refused before anything is converted."""
    signature = Signature((field,), (Field("predict", "FP64", (-1,)),))
    with pytest.raises(NotConvertible, match=why):
        convert(LinearRegression().fit([[1]], [1]), signature)
