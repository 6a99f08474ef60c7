"""scikit-learn's estimators: read without running strangers' code, called with what they were trained with."""

import os
import pickle

import joblib
import numpy as np
import pandas as pd
import pytest
import skops.io
from sklearn.calibration import CalibratedClassifierCV
from sklearn.cluster import DBSCAN, KMeans
from sklearn.compose import make_column_transformer
from sklearn.ensemble import (
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    IsolationForest,
    RandomForestClassifier,
)
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler
from sklearn.svm import SVC

from serinus.models import (
    InvalidInput,
    InvalidSignature,
    UnknownOutput,
    UnsupportedArtifact,
    UntrustedArtifact,
    load,
    register_file,
    wrap,
)
from serinus.models.adapters.sklearn import SklearnAdapter
from serinus.models.frame import arrays_of
from serinus.models.loading import measured_digest
from serinus.models.trust import Trust


def datatypes(model):
    return {field.name: field.datatype for field in model.signature.inputs}


def optional(model):
    return {field.name for field in model.signature.inputs if field.optional}


def test_one_field_per_trained_column(pipeline, features):
    """With a reference, each trained column is a field of its own datatype, and outputs are named after methods."""
    model = wrap(pipeline, reference=features)
    expected = {"age": "FP64", "visits": "INT64", "city": "BYTES", "colour": "BYTES", "member": "BOOL"}
    assert datatypes(model) == expected
    assert [(f.name, f.datatype, f.shape, f.labels) for f in model.signature.outputs] == [
        ("predict", "BYTES", (-1,), ("no", "yes")),
        ("predict_proba", "FP64", (-1, 2), ("no", "yes")),
    ]


def test_mixed_columns_answer_like_the_estimator(pipeline, features):
    """Numbers, strings with gaps, categories and booleans reach the estimator as in training."""
    model = wrap(pipeline, reference=features)
    answer = model.predict(arrays_of(features, model.signature.inputs))
    assert answer["predict"].dtype == object
    assert answer["predict"].tolist() == pipeline.predict(features).tolist()
    assert (answer["predict_proba"] == pipeline.predict_proba(features)).all()


def test_columns_come_in_any_order_and_as_one_column_matrices(pipeline, features):
    """[k] and [k, 1] mean the same, order does not matter, and unknown inputs are ignored."""
    model = wrap(pipeline, reference=features)
    inputs = arrays_of(features, model.signature.inputs)
    reordered = {name: array.reshape(-1, 1) for name, array in reversed(inputs.items())} | {"more": np.zeros(3)}
    assert model.predict(reordered)["predict"].tolist() == model.predict(inputs)["predict"].tolist()


def test_optional_is_what_the_model_can_answer_without(pipeline, features):
    """A field is optional if the model predicts without it: imputed and encoded columns are, integers are not."""
    model = wrap(pipeline, reference=features)
    assert optional(model) == {"age", "city", "colour"}
    inputs = {name: array for name, array in arrays_of(features, model.signature.inputs).items() if name != "city"}
    expected = pipeline.predict(features.assign(city=pd.Series([None] * len(features), dtype="str")))
    assert model.predict(inputs)["predict"].tolist() == expected.tolist()


def test_without_a_reference_encoders_tell_the_datatypes(pipeline, features):
    """Without a reference, string columns are known from the encoders inside the pipeline; the rest is FP64."""
    model = wrap(pipeline)
    assert datatypes(model) == {"age": "FP64", "visits": "FP64", "city": "BYTES", "colour": "BYTES", "member": "FP64"}
    answer = model.predict(arrays_of(features, model.signature.inputs))
    assert answer["predict"].tolist() == pipeline.predict(features).tolist()


@pytest.mark.parametrize("missing", [None, np.nan])
def test_none_and_nan_stay_what_they_were(missing):
    """Encoders tell None from NaN, so a gap comes back as what the training data had, with and without reference."""
    frame = pd.DataFrame({"city": pd.Series(["Bern", missing, "Lyon", "Lyon"], dtype=object)})
    encoder = OneHotEncoder(handle_unknown="error", sparse_output=False).fit(frame)
    for reference in (frame, None):
        model = wrap(encoder, reference=reference)
        answer = model.predict({"city": np.array([None, "Lyon"], dtype=object)})
        assert (answer["transform"] == encoder.transform(frame.iloc[1:3])).all()


def test_pandas_dtypes_come_back():
    """Nullable, dated, ordered and single-precision columns are restored as they were."""
    frame = pd.DataFrame(
        {
            "size": pd.Categorical(["S", "L", "S"], categories=["S", "M", "L"], ordered=True),
            "count": pd.array([1, None, 3], dtype="Int64"),
            "yes": pd.array([True, None, False], dtype="boolean"),
            "when": pd.to_datetime(["2024-05-01", "2024-05-02", None]),
            "zoned": pd.to_datetime(["2024-05-01", "2024-05-02", None], utc=True),
            "text": pd.array(["a", None, "b"], dtype="string"),
            "plain": pd.Series(["a", np.nan, "b"], dtype=object),
            "ratio": np.array([1, 2, 3], dtype=np.float32),
            "level": pd.Categorical([3, 1, None]),
            "tiny": np.array([1, 2, 3], dtype=np.uint8),
        }
    )
    from serinus.models.frame import FrameBuilder, column_field

    fields = [column_field(name, frame[name]) for name in frame]
    assert [field.datatype for field in fields][:4] == ["BYTES", "INT64", "BOOL", "BYTES"]
    pd.testing.assert_frame_equal(FrameBuilder(fields).build(arrays_of(frame, fields)), frame)


def test_unseen_categories_stay_themselves():
    """A category that training never saw is not turned into a gap: what to do with it is the model's choice."""
    frame = pd.DataFrame({"colour": pd.Categorical(["red", "green", None])})
    encoder = OneHotEncoder(handle_unknown="ignore", sparse_output=False).fit(frame)
    model = wrap(encoder, reference=frame)
    answer = model.predict({"colour": np.array(["purple", None, "red"], dtype=object)})["transform"]
    assert answer.tolist() == [[0, 0, 0], [0, 0, 1], [0, 1, 0]]


def test_numeric_columns_come_as_one_matrix_too(cancer):
    """All-numeric named columns also come as one matrix named `input`, with the same answers."""
    frame = pd.DataFrame(cancer[0][:, :4], columns=list("abcd")).assign(e=np.arange(len(cancer[0])))
    model = wrap(LinearRegression().fit(frame, cancer[1]), reference=frame)
    columns = model.predict(arrays_of(frame, model.signature.inputs))
    matrix = model.predict({"input": frame.to_numpy()})
    assert (columns["predict"] == matrix["predict"]).all()
    with pytest.raises(InvalidInput, match="matrix of 5 columns"):
        model.predict({"input": np.zeros((2, 4))})


@pytest.mark.parametrize(("dtype", "datatype"), [(np.float64, "FP64"), (np.float32, "FP32")])
def test_unnamed_columns_are_one_matrix(cancer, dtype, datatype):
    """An estimator trained on a bare array takes one matrix `input`; a float32 reference makes it FP32."""
    rows = cancer[0].astype(dtype)
    model = wrap(LinearRegression().fit(rows, cancer[1]), reference=pd.DataFrame(rows))
    (field,) = model.signature.inputs
    assert (field.name, field.datatype, field.shape) == ("input", datatype, (-1, 30))
    with pytest.raises(InvalidInput, match=r"\[-1, 30\]"):
        model.predict({"input": np.zeros(30)})


def test_a_reference_names_the_columns_of_an_unnamed_model(cancer):
    """Where the estimator was trained on an array and the reference has names, fields are named, without warnings."""
    rows = cancer[0][:, :3]
    fitted = LogisticRegression().fit(rows, cancer[1])
    model = wrap(fitted, reference=pd.DataFrame(rows, columns=["a", "b", "c"]))
    assert list(datatypes(model)) == ["a", "b", "c"]
    answer = model.predict({"a": rows[:, 0], "b": rows[:, 1], "c": rows[:, 2]})
    assert answer["predict"].tolist() == fitted.predict(rows).tolist()


ESTIMATORS = [
    SVC(),
    RandomForestClassifier(5),
    GradientBoostingClassifier(n_estimators=3),
    HistGradientBoostingClassifier(max_iter=3),
    LinearRegression(),
    KMeans(3, n_init=1),
    IsolationForest(n_estimators=3),
    StandardScaler(),
    make_pipeline(StandardScaler(), SimpleImputer()),
    make_pipeline(StandardScaler(), CalibratedClassifierCV(LogisticRegression())),
]


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda estimator: type(estimator).__name__)
def test_all_kinds_keep_their_signature(estimator, cancer):
    """Whatever the kind, each answer has exactly the datatype and shape that the signature promises."""
    rows, classes = cancer[0].astype(float), cancer[1]
    fitted = estimator.fit(rows[:150], classes[:150])
    model = wrap(fitted)
    for count in (1, 7):
        answer = model.predict({"input": rows[:count]})
        assert list(answer) == [field.name for field in model.signature.outputs]
        for field in model.signature.outputs:
            array = answer[field.name]
            assert (array.dtype, array.shape) == (field.dtype, (count, *field.shape[1:]))
            assert np.array_equal(array, getattr(fitted, field.name)(rows[:count]))


def test_a_model_that_takes_single_precision_only(cancer):
    """Some estimators trained on float32 refuse float64; without a reference that is found out by trying."""
    fitted = KMeans(3, n_init=1).fit(cancer[0])
    model = wrap(fitted)
    assert datatypes(model) == {"input": "FP32"}
    assert model.predict({"input": cancer[0].astype(float)})["predict"].tolist() == fitted.predict(cancer[0]).tolist()


def test_outputs_on_request(boosted, cancer):
    """Further methods answer when asked for by name; an unknown name is answered with the known ones."""
    model = wrap(boosted)
    rows = cancer[0].astype(float)
    answer = model.predict({"input": rows}, ["decision_function", "predict"])
    assert list(answer) == ["decision_function", "predict"]
    assert np.array_equal(answer["decision_function"], boosted.decision_function(rows))
    with pytest.raises(UnknownOutput, match="'explain'; ask for predict, predict_proba, decision_function"):
        model.predict({"input": rows}, ["explain"])


def test_texts_are_one_column():
    """A text pipeline takes one BYTES column."""
    fitted = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(["good day", "bad day"] * 5, [1, 0] * 5)
    model = wrap(fitted)
    assert model.signature.inputs[0].datatype == "BYTES"
    assert model.predict({"input": np.array(["good", "bad"], dtype=object)})["predict"].tolist() == [1, 0]


def test_categories_inside_the_estimator():
    """HistGradientBoosting's own category encoder tells its columns' datatypes."""
    frame = pd.DataFrame({"x": np.arange(40.0), "colour": pd.Categorical(["red", "green"] * 20)})
    fitted = HistGradientBoostingClassifier(categorical_features="from_dtype", max_iter=5).fit(frame, [0, 1] * 20)
    for reference in (frame, None):
        model = wrap(fitted, reference=reference)
        assert datatypes(model) == {"x": "FP64", "colour": "BYTES"}
        answer = model.predict(arrays_of(frame, model.signature.inputs))
        assert answer["predict"].tolist() == fitted.predict(frame).tolist()


def test_missing_and_misfitting_inputs(pipeline, features):
    """Absent required inputs, unequal lengths, wide columns and words for numbers are named in one sentence."""
    model = wrap(pipeline, reference=features)
    good = arrays_of(features.head(2), model.signature.inputs)
    for wrong, sentence in [
        ({"visits": None}, "required inputs visits are missing"),
        ({"visits": np.array([1, 2, 3])}, "same number of rows, got age 2, visits 3"),
        ({"age": np.zeros((2, 2))}, r"'age': wanted shape \[k\] or \[k, 1\], got \[2, 2\]"),
        ({"age": np.array(["x", "y"], dtype=object)}, "'age': the object array cannot be read as FP64"),
    ]:
        inputs = {name: array for name, array in (good | wrong).items() if array is not None}
        with pytest.raises(InvalidInput, match=sentence):
            model.predict(inputs)


def test_a_reference_that_does_not_fit(pipeline, features):
    """A reference without a trained column, without rows, or that the model cannot predict is refused."""
    with pytest.raises(InvalidSignature, match="lacks the columns city"):
        wrap(pipeline, reference=features.drop(columns="city"))
    with pytest.raises(InvalidSignature, match="no rows"):
        wrap(pipeline, reference=features.head(0))
    with pytest.raises(InvalidSignature, match="cannot predict a row"):
        wrap(pipeline, reference=features.assign(age="old"))


def test_what_cannot_answer_is_refused():
    """An estimator with neither predict nor transform, and an object of no known kind, are refused."""
    with pytest.raises(UnsupportedArtifact, match=r"DBSCAN has neither predict nor transform \(only fit_predict\)"):
        wrap(DBSCAN())
    with pytest.raises(UnsupportedArtifact, match="type dict"):
        wrap({})


class Malicious:
    """Writes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("name", ["model.pkl", "model.joblib", "model", "model.onnx"])
def test_untrusted_pickles_run_nothing(tmp_path, home, name):
    """A pickle is refused by load and by registration before any of its code runs, whatever it is called."""
    trap = tmp_path / "trap"
    path = tmp_path / name
    path.write_bytes(pickle.dumps(Malicious(trap)))
    digest = measured_digest(path)
    with pytest.raises(UntrustedArtifact, match=digest):
        load(path)
    with pytest.raises(UntrustedArtifact, match=f"serinus models register churn .*{name} --trust {digest}"):
        register_file(path, "churn", home=home)
    assert not trap.exists()
    assert not home.exists()


def test_compressed_pickles_run_nothing(tmp_path):
    """A compressed joblib file is a pickle too."""
    path = tmp_path / "model.joblib"
    joblib.dump(Malicious(tmp_path / "trap"), path, compress=3)
    with pytest.raises(UntrustedArtifact):
        load(path)
    assert not (tmp_path / "trap").exists()


def test_trusted_pickles_load(tmp_path, home, pipeline):
    """With its digest trusted a pickle loads; registered with --trust, its digest is remembered."""
    path = tmp_path / "model.pkl"
    path.write_bytes(pickle.dumps(pipeline))
    digest = measured_digest(path)
    assert load(path, trust=Trust(extra=[digest])).signature == wrap(pipeline).signature
    version = register_file(path, "churn", home=home, trust=[digest])
    assert load(version, trust=Trust(home)).signature == version.signature


@pytest.mark.parametrize("content", [b"", b"\x80\x04", b"not a pickle", b"\x80\x04\x95" + b"\0" * 60])
def test_damaged_pickles(tmp_path, content):
    """Even a trusted file that is damaged is refused in one sentence."""
    path = tmp_path / "model.joblib"
    path.write_bytes(content)
    with pytest.raises(UnsupportedArtifact, match=r"model\.joblib cannot be loaded"):
        load(path, trust=Trust(extra=[measured_digest(path)]))


SKOPS = [
    RandomForestClassifier(3),
    GradientBoostingClassifier(n_estimators=3),
    HistGradientBoostingClassifier(max_iter=3),
    CalibratedClassifierCV(LogisticRegression()),
]


@pytest.mark.parametrize("estimator", SKOPS, ids=lambda estimator: type(estimator).__name__)
def test_skops_files_load_without_trust(tmp_path, people, features, estimator):
    """Common pipelines in skops files need no trust: all their types were reviewed."""
    columns = make_column_transformer(
        (make_pipeline(SimpleImputer(), StandardScaler()), ["age", "visits"]),
        (make_pipeline(SimpleImputer(strategy="most_frequent"), OrdinalEncoder()), ["colour"]),
        (OneHotEncoder(sparse_output=False, handle_unknown="ignore"), ["city"]),
    )
    fitted = make_pipeline(columns, estimator).fit(features, people["buys"])
    path = tmp_path / "model.skops"
    skops.io.dump(fitted, path)
    model = load(path)
    answer = model.predict(arrays_of(features, model.signature.inputs))
    assert answer["predict"].tolist() == fitted.predict(features).tolist()


class Home(LinearRegression):
    """A class that nobody has reviewed."""


def test_skops_files_with_unknown_types_are_refused_by_name(tmp_path, cancer):
    """A skops file that needs further types is refused, and the sentence names them."""
    path = tmp_path / "model.skops"
    skops.io.dump(Home().fit(*cancer), path)
    with pytest.raises(UntrustedArtifact, match=rf"not known to be safe \({Home.__module__}\.Home\)"):
        load(path)
    assert SklearnAdapter().runs_code(path)
