"""Estimators as models: several targets, dicts, labels, and who is to blame when an estimator raises."""

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.ensemble import IsolationForest, RandomForestClassifier
from sklearn.feature_extraction import DictVectorizer
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.neighbors import KernelDensity
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, LabelEncoder, OneHotEncoder, PowerTransformer, StandardScaler

from serinus.models import InvalidInput, InvalidSignature, UnknownOutput, UnsupportedArtifact, wrap

RNG = np.random.default_rng(3)
ROWS = RNG.normal(size=(50, 3))
CLASSES = np.array(["no", "perhaps", "yes"], dtype=object)[RNG.integers(0, 3, 50)]


def outputs(model):
    return [(field.name, field.datatype, field.shape, field.labels) for field in model.signature.outputs]


def inputs(model):
    return [(field.name, field.datatype, field.shape, field.labels) for field in model.signature.inputs]


def test_several_targets_have_an_output_each():
    """Each target's probabilities are an output with its own labels, and so are their logarithms on request."""
    targets = np.column_stack([CLASSES, np.where(ROWS[:, 0] > 0, "a", "b")])
    fitted = RandomForestClassifier(3, random_state=0).fit(ROWS, targets)
    model = wrap(fitted)
    assert outputs(model) == [
        ("predict", "BYTES", (-1, 2), None),
        ("predict_proba_0", "FP64", (-1, 3), ("no", "perhaps", "yes")),
        ("predict_proba_1", "FP64", (-1, 2), ("a", "b")),
    ]
    answer = model.predict({"input": ROWS}, ["predict_log_proba_1", "predict_proba_1"])
    assert list(answer) == ["predict_log_proba_1", "predict_proba_1"]
    assert np.array_equal(answer["predict_proba_1"], fitted.predict_proba(ROWS)[1])
    with pytest.raises(UnknownOutput, match="'predict_proba'; ask for predict, predict_proba_0, predict_proba_1"):
        model.predict({"input": ROWS}, ["predict_proba"])


def test_a_method_runs_once_for_all_its_parts():
    """However many targets are wanted, their probabilities are computed in one call."""

    class Counting(RandomForestClassifier):
        calls = 0

        def predict_proba(self, X):  # noqa: N803
            Counting.calls += 1
            return super().predict_proba(X)

    model = wrap(Counting(2).fit(ROWS, np.column_stack([ROWS[:, 0] > 0, ROWS[:, 1] > 0]).astype(int)))
    Counting.calls = 0
    model.predict({"input": ROWS}, ["predict_proba_0", "predict_proba_1"])
    assert Counting.calls == 1


def test_columns_of_different_kinds_are_outputs_of_their_own():
    """Numbers beside strings cannot share a tensor: each column is an output named after it."""
    frame = pd.DataFrame({"size": [1.5, 2.5, 0.1], "city": ["Bern", "Lyon", "Bern"]})
    columns = make_column_transformer((StandardScaler(), ["size"]), ("passthrough", ["city"]))
    model = wrap(columns.fit(frame), reference=frame)
    assert [(name, datatype) for name, datatype, *_ in outputs(model)] == [
        ("transform_standardscaler__size", "FP64"),
        ("transform_passthrough__city", "BYTES"),
    ]
    answer = model.predict({"size": np.array([2.5]), "city": np.array(["Lyon"], dtype=object)})
    assert answer["transform_passthrough__city"].tolist() == ["Lyon"]
    assert answer["transform_standardscaler__size"].tolist() == columns.transform(frame)[1:2, 0].tolist()


def test_outliers_are_labelled():
    """An outlier detector says −1 or 1."""
    assert outputs(wrap(IsolationForest(n_estimators=2).fit(ROWS))) == [("predict", "INT64", (-1,), (-1, 1))]


def test_scores_where_there_is_nothing_else():
    """A density estimator has neither predict nor transform; its scores are what it answers."""
    model = wrap(KernelDensity().fit(ROWS))
    assert outputs(model) == [("score_samples", "FP64", (-1,), None)]


def test_dicts_are_fields():
    """A DictVectorizer's rows are dicts: text where it learned `name=value`, else numbers; all may be left out."""
    rows = [{"age": 3.0, "city": "Bern"}, {"city": "Lyon"}, {"age": 7.5}]
    fitted = make_pipeline(DictVectorizer(), LinearRegression()).fit(rows, [1, 2, 3])
    model = wrap(fitted)
    assert inputs(model) == [("city", "BYTES", (-1,), ("Bern", "Lyon")), ("age", "FP64", (-1,), None)]
    answer = model.predict({"age": np.array([3.0, np.nan]), "city": np.array(["Bern", "Lyon"], dtype=object)})
    assert answer["predict"].tolist() == fitted.predict(rows[:2]).tolist()
    assert model.predict({"age": np.array([7.5])})["predict"].tolist() == fitted.predict(rows[2:]).tolist()


def test_a_dict_of_two_types_under_one_name_is_refused():
    """Text and numbers under one name have no datatype."""
    with pytest.raises(UnsupportedArtifact, match="both text and numbers as age"):
        wrap(DictVectorizer().fit([{"age": 3.0}, {"age": "old"}]))


def test_columns_that_are_dropped_need_not_be_sent():
    """A ColumnTransformer at the front leaves columns out; so does the signature, whose datatype nobody knows."""
    frame = pd.DataFrame({"a": ROWS[:, 0], "b": ROWS[:, 1], "note": ["x"] * 50})
    columns = make_column_transformer((StandardScaler(), ["b"]))
    fitted = make_pipeline(columns, LinearRegression()).fit(frame, ROWS[:, 2])
    for reference in (frame, None):
        model = wrap(fitted, reference=reference)
        assert [name for name, *_ in inputs(model)] == ["b"]
        assert model.predict({"b": ROWS[:5, 1]})["predict"].tolist() == fitted.predict(frame.head()).tolist()


def test_texts_with_a_reference_are_its_column():
    """A text pipeline with a reference of one column takes that column by its name."""
    frame = pd.DataFrame({"review": ["good day", "bad day"] * 5})
    fitted = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(frame["review"], [1, 0] * 5)
    model = wrap(fitted, reference=frame)
    assert inputs(model) == [("review", "BYTES", (-1,), None)]
    answer = model.predict({"review": np.array(["good", "bad", "day good"], dtype=object)})
    assert answer["predict"].tolist() == [1, 0, 1]


def test_labels_and_isotonic_regressions_are_one_column():
    """What takes one column takes `[k]`, and `[k, 1]` alike; a label encoder's field knows its labels."""
    encoder = wrap(LabelEncoder().fit(CLASSES))
    assert inputs(encoder) == [("input", "BYTES", (-1,), ("no", "perhaps", "yes"))]
    assert encoder.predict({"input": np.array(["yes", "no"], dtype=object)})["transform"].tolist() == [2, 0]
    isotonic = wrap(IsotonicRegression(out_of_bounds="raise").fit([10, 20, 30], [1, 2, 3]))
    assert isotonic.predict({"input": np.array([[15.0]])})["predict"].tolist() == [1.5]


def test_a_bare_matrix_of_strings():
    """Encoders trained on an unnamed matrix of strings take one BYTES matrix; strings beside numbers a field each."""
    strings = np.array([["a", "x"], ["b", "y"]], dtype=object)
    assert inputs(wrap(OneHotEncoder().fit(strings))) == [("input", "BYTES", (-1, 2), None)]
    mixed = np.array([["a", 3], ["b", 4]], dtype=object)
    assert [item[:2] for item in inputs(wrap(OneHotEncoder().fit(mixed)))] == [("x0", "BYTES"), ("x1", "INT64")]


def test_files_named_by_callers_are_not_opened():
    """A vectorizer that reads the files it is told would read any file of the server."""
    with pytest.raises(UnsupportedArtifact, match=r"input='filename'\) opens the files that callers name"):
        wrap(CountVectorizer(input="filename", vocabulary=["a"]))


def test_what_was_not_fitted_is_refused():
    """An estimator that was not fitted is refused by name."""
    with pytest.raises(UnsupportedArtifact, match="LogisticRegression was not fitted; fit it first"):
        wrap(LogisticRegression())


def own(frame):
    return frame["when"].dt.month.to_frame()


def test_what_cannot_be_told_asks_for_a_reference():
    """Where no made-up row goes through, the sentence says what would help, and with it the estimator is served."""
    frame = pd.DataFrame({"when": pd.to_datetime(["2024-05-01", "2024-06-01"])})
    fitted = make_pipeline(FunctionTransformer(own), LinearRegression()).fit(frame, [1, 2])
    with pytest.raises(InvalidSignature, match="give rows like those it was trained with as reference"):
        wrap(fitted)
    model = wrap(fitted, reference=frame)
    assert model.predict({"when": np.array(["2024-06-01"], dtype=object)})["predict"].round(9).tolist() == [2.0]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_numbers_that_the_estimator_cannot_take_are_the_callers_error(bad):
    """NaN and infinity that an estimator refuses are InvalidInput, in its own words."""
    model = wrap(LinearRegression().fit(ROWS, ROWS[:, 0]))
    with pytest.raises(InvalidInput, match=r"The model refused the inputs: Input X contains (NaN|infinity)"):
        model.predict({"input": np.array([[1.0, bad, 2.0]])})


def test_values_outside_the_domain_are_the_callers_error():
    """Unknown categories and negative numbers, where the estimator refuses them and takes rows of our own making."""
    with pytest.raises(InvalidInput, match="refused the inputs: Found unknown categories"):
        wrap(OneHotEncoder().fit(np.array([["a"], ["b"]], dtype=object))).predict(
            {"input": np.array([["c"]], dtype=object)}
        )
    with pytest.raises(InvalidInput, match=r"refused the inputs: .*strictly positive"):
        wrap(PowerTransformer("box-cox").fit(np.abs(ROWS) + 0.1)).predict({"input": -np.abs(ROWS)})


def test_a_model_that_is_broken_is_not_the_callers_error():
    """If rows of our own making fail too, the error stays what it was."""
    fitted = LinearRegression().fit(ROWS, ROWS[:, 0])
    model = wrap(fitted)
    fitted.coef_ = fitted.coef_[:2]
    with pytest.raises(ValueError, match=r"matmul|shapes|mismatch"):
        model.predict({"input": ROWS})


def test_one_row_has_the_shape_of_many():
    """Some transformers drop the dimension of a single row; the answer has the signature's shape all the same."""
    from sklearn.decomposition import SparsePCA

    model = wrap(SparsePCA(2, max_iter=5, random_state=0).fit(ROWS))
    assert outputs(model) == [("transform", "FP64", (-1, 2), None)]
    assert model.predict({"input": ROWS[:1]})["transform"].shape == (1, 2)


def test_precision_is_told_by_what_was_learned():
    """What learned float32 throughout takes FP32, so that answers are those of the trained precision."""
    single = ROWS.astype(np.float32)
    fitted = LinearRegression().fit(single, single[:, 0] * 3)
    model = wrap(fitted)
    assert inputs(model)[0][1] == "FP32"
    assert model.predict({"input": ROWS})["predict"].tolist() == fitted.predict(single).tolist()


def test_integers_are_exact():
    """Integers beyond 2**53 and all seventeen digits of a double reach the estimator."""
    frame = pd.DataFrame({"key": np.array([2**62 + 1, 2**62 + 2]), "x": [0.1, 1 / 3]})
    same = FunctionTransformer().fit(frame)
    model = wrap(same.set_output(transform="pandas"), reference=frame)
    answer = model.predict({"key": np.array([2**62 + 1]), "x": np.array([1 / 3])})
    assert [field.name for field in model.signature.outputs] == ["transform"]
    assert answer["transform"][0, 1] == 1 / 3
    keys = wrap(FunctionTransformer().fit(frame[["key"]]), reference=frame[["key"]])
    assert keys.predict({"key": np.array([2**62 + 1])})["transform"].tolist() == [[2**62 + 1]]
