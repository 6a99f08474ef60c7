"""Made-up rows and their answers go with a version: what answers otherwise later is noticed."""

import logging
import math

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.linear_model import LinearRegression

from serinus.models import Registry, Trust, UnsupportedArtifact, register, register_file, wrap
from serinus.models.checks import CHECK, Check
from serinus.models.synthetic import synthetic_frame, synthetic_rows


class Forgetful(RegressorMixin, BaseEstimator):
    """Learns a mean, and loses it when it is pickled."""

    def fit(self, rows, target):
        self.n_features_in_, self.mean = rows.shape[1], float(np.mean(target))
        return self

    def predict(self, rows):
        return np.full(len(rows), self.mean)

    def __getstate__(self):
        return {**self.__dict__, "mean": 0.0}


class Random(Forgetful):
    def predict(self, rows):
        return np.random.default_rng().normal(size=len(rows))


class Answering:
    """A model that answers what it is told to."""

    def __init__(self, answer):
        self.answer = answer

    def predict(self, inputs, outputs=None):
        if isinstance(self.answer, Exception):
            raise self.answer
        return {"predict": self.answer}


def test_a_version_keeps_rows_and_answers(home, pipeline, people):
    """What the fitted object answered is there, exact to the bit, and the loaded version answers the same."""
    version = register(pipeline, "churn", reference=people, target="buys", home=home)
    check = Check.from_bytes(Registry(home).attachment(version, CHECK))
    frame = synthetic_frame(people.drop(columns="buys"))
    assert check.outputs["predict_proba"].tobytes() == pipeline.predict_proba(frame).tobytes()
    assert check.outputs["predict"].tolist() == pipeline.predict(frame).tolist()
    assert check.difference(Registry(home).load(version, trust=Trust(home))) is None


def test_a_model_that_forgets_is_not_registered(home):
    """What is saved is loaded back before it is registered, and must answer the same."""
    with pytest.raises(UnsupportedArtifact, match=r"'mean' is not registered.*predict differs by up to 7"):
        register(Forgetful().fit(np.ones((3, 2)), [7.0, 7, 7]), "mean", home=home)
    assert Registry(home).names() == []


def test_a_model_that_is_served_otherwise_is_not_registered(home, people, monkeypatch):
    """The fitted object is asked itself too, with a frame as in training: serving must give the same answers."""
    from serinus.models import frame

    rows = people[["age", "visits"]].fillna(0).astype({"age": "float32"})
    fitted = LinearRegression().fit(rows, rows["age"] * 2)
    assert register(fitted, "line", reference=rows, home=home).tag == "line:1"
    build = frame.FrameBuilder.build
    monkeypatch.setattr(frame.FrameBuilder, "build", lambda self, inputs: build(self, inputs) * 2)
    with pytest.raises(UnsupportedArtifact, match="'line' is not registered, for as it would be served it does not"):
        register(fitted, "line", reference=rows, home=home)


def test_a_model_of_chance_is_registered_without_a_check(home):
    """Who does not answer twice alike can break no promise of doing so."""
    version = register(Random().fit(np.ones((3, 2)), [7.0, 7, 7]), "dice", home=home)
    assert Registry(home).attachments(version) == []


def test_graphs_have_a_check_too(home, graph_file):
    """ONNX files keep rows and answers as well; they need no reference."""
    version = register_file(graph_file, "cancer", home=home)
    assert Check.from_bytes(Registry(home).attachment(version, CHECK)).inputs["X"].shape == (5, 30)


def test_other_answers_are_logged_when_a_version_is_loaded(home, caplog):
    """The version loads all the same; one line says how far its answers are off."""
    fitted = LinearRegression().fit(np.eye(3), [1.0, 2.0, 3.0])
    version = register(fitted, "line", home=home)
    with caplog.at_level(logging.WARNING, "serinus.models"):
        Registry(home).load(version, trust=Trust(home))
        assert caplog.messages == []
        check = Check.from_bytes((version.path / CHECK).read_bytes())
        other = Check(check.inputs, {"predict": check.outputs["predict"] + 0.5})
        (version.path / CHECK).write_bytes(other.to_bytes())
        Registry(home).load(version, trust=Trust(home))
    assert caplog.messages == [
        "line:1 does not answer as it did when it was registered: predict differs by up to 0.5 on made-up rows "
        "(the libraries are the same)."
    ]


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b'{"format": 9}', b'{"format": 1, "inputs": {"a": 3}}'])
def test_a_damaged_check_hinders_nothing(home, caplog, data):
    """A version whose kept rows cannot be read loads; they are an aid, not a guard."""
    version = register(LinearRegression().fit(np.eye(3), [1.0, 2.0, 3.0]), "line", home=home)
    (version.path / CHECK).write_bytes(data)
    Registry(home).load(version, trust=Trust(home))
    with pytest.raises(ValueError):
        Check.from_bytes(data)


def test_a_check_is_exact_to_the_bit():
    """Every kind of array comes back as it was, gaps and what is not finite included."""
    arrays = {
        "double": np.array([0.1, -0.0, math.pi, math.nan, math.inf, -math.inf, 5e-324]),
        "single": np.array([[0.1, 3.3e38]], dtype=np.float32),
        "half": np.array([0.1], dtype=np.float16),
        "whole": np.array([2**63 - 1, -(2**63)]),
        "unsigned": np.array([2**64 - 1], dtype=np.uint64),
        "bool": np.array([True, False]),
        "text": np.array(["ä", None, ""], dtype=object),
        "gaps": np.array([3, None], dtype=object),
        "none": np.zeros((0, 4)),
    }
    back = Check.from_bytes(Check(arrays, arrays).to_bytes()).outputs
    assert list(back) == list(arrays)
    for name, array in arrays.items():
        assert (back[name].shape, back[name].dtype) == (array.shape, array.dtype)
        if array.dtype == object:
            assert back[name].tolist() == array.tolist(), name
        else:
            assert back[name].tobytes() == array.tobytes(), name


@pytest.mark.parametrize(
    ("answer", "phrase"),
    [
        (np.array([1.0, 2.0, math.nan]), None),
        (np.array([1.0, 2.0 + 1e-12, math.nan]), None),
        (np.array([1.0, 2.0 + 1e-6, math.nan]), "predict differs by up to 1e-06"),
        (np.array([1.0, 2.0, 3.0]), "predict is not finite in other places"),
        (np.array([1.0, 2.0]), "predict is float64 [2] and was float64 [3]"),
        (np.array(["1", "2", "3"], dtype=object), "predict is object [3] and was float64 [3]"),
        (RuntimeError("no\nway"), "it cannot answer any more (RuntimeError: no way)"),
    ],
)
def test_differences_are_told(answer, phrase):
    """Numbers may differ in their last digits, as threads and processors do; the rest is said."""
    check = Check({"x": np.zeros(3)}, {"predict": np.array([1.0, 2.0, math.nan])})
    assert phrase == check.difference(Answering(answer))


def test_labels_are_exact():
    """A label is the same or it is not."""
    check = Check({}, {"predict": np.array(["a", "b"], dtype=object)})
    assert check.difference(Answering(np.array(["a", "b"], dtype=object))) is None
    assert check.difference(Answering(np.array(["a", "c"], dtype=object))) == "predict differs in 1 of 2 values"


def test_rows_that_a_model_refuses_are_left_out():
    """One row that the model answers is better than none."""

    class Picky(Answering):
        def predict(self, inputs, outputs=None):
            if (inputs["x"] < 2).any():
                raise ValueError("too small")
            return {"predict": inputs["x"]}

    assert Check.of(Picky(None), {"x": np.arange(5.0)}).inputs["x"].tolist() == [2.0]
    assert Check.of(Answering(ValueError("never")), {"x": np.arange(5.0)}) is None


@pytest.fixture
def table():
    """Every kind of column, with values that only one row has."""
    rng = np.random.default_rng(5)
    rows = 60
    dates = pd.date_range("2024-01-01 10:11:12", periods=rows, freq="7h")
    return pd.DataFrame({
        "income": rng.normal(50_000, 9_000, rows), "visits": rng.integers(0, 4, rows),
        "account": rng.integers(10**8, 10**9, rows), "small": rng.integers(-128, 127, rows).astype(np.int8),
        "single": rng.normal(size=rows).astype(np.float32), "gappy": [1.5, None] * 30,
        "mail": [f"person{row}@example.org" for row in range(rows)], "city": ["Bern", "Lyon", None] * 20,
        "objects": pd.Series(["a", None] * 30, dtype=object), "nans": pd.Series(["a", math.nan] * 30, dtype=object),
        "colour": pd.Categorical(["red", "blue"] * 30), "member": [True, False] * 30,
        "since": dates, "zoned": dates.tz_localize("UTC"), "nullable": pd.array([1, None] * 30, dtype="Int64"),
        "maybe": pd.array([True, None] * 30, dtype="boolean"), "empty": [math.nan] * rows,
    })  # fmt: skip


def test_made_up_rows_have_the_columns_and_dtypes(table):
    """A made-up frame can stand for the reference; gaps are there where the reference has them."""
    made = synthetic_frame(table)
    assert made.dtypes.to_dict() == table.dtypes.to_dict()
    assert made.isna().any().to_dict() == table.isna().any().to_dict()
    assert (made["objects"].tolist()[-1] is None, math.isnan(made["nans"].tolist()[-1])) == (True, True)


def test_made_up_rows_are_nobodys(table):
    """No value that few rows have is among them, and no row of the reference."""
    made = synthetic_frame(table)
    for name in ("income", "account", "single", "mail", "since", "zoned"):
        assert not set(made[name]) & set(table[name]), name
    assert set(made["visits"]) <= set(table["visits"])
    one = synthetic_frame(table.head(1))
    assert one["mail"].tolist()[0] == "text" and one["income"][0] != table["income"][0]


def test_columns_that_cannot_be_summed_up_are_made_up(pipeline, features):
    """A reference is no reason to fail: what it cannot tell, the signature does."""
    signature = wrap(pipeline, reference=features).signature
    odd = pd.DataFrame({"age": [[1], [2]]})
    rows = synthetic_rows(signature, odd)
    assert rows["age"].tolist() == synthetic_rows(signature)["age"].tolist()


def test_a_matrix_is_made_of_the_references_columns(cancer, boosted):
    """A model trained on a bare array gets quantiles of the reference's columns, in order."""
    reference = pd.DataFrame(cancer[0])
    rows = synthetic_rows(wrap(boosted).signature, reference)
    assert rows["input"].shape == (5, 30)
    assert rows["input"][2, 0] == pytest.approx(np.median(cancer[0][:, 0]), rel=0.01)


def test_a_large_reference_costs_no_minutes(home):
    """A sample of the rows is enough; of very many columns none is looked at."""
    rng = np.random.default_rng(2)
    long = pd.DataFrame({"a": np.arange(50_000.0), "b": rng.normal(size=50_000)})
    fitted = LinearRegression().fit(long, long["a"])
    rows = synthetic_rows(wrap(fitted, reference=long).signature, long)
    assert rows["a"].tolist() == pytest.approx([5000, 15000, 25000, 35000, 45000], rel=0.05)
    wide = pd.DataFrame(np.zeros((3, 1500)), columns=[f"c{number}" for number in range(1500)])
    signature = wrap(LinearRegression().fit(wide, [1.0, 2, 3]), reference=wide).signature
    assert synthetic_rows(signature, wide)["c0"].tolist() == synthetic_rows(signature)["c0"].tolist()


def test_a_check_stays_small():
    """A model of images keeps no rows: a check is an aid that must not cost."""
    assert Check.of(Answering(np.zeros(1)), {"x": np.zeros((5, 3, 224, 224))}) is None
    assert Check.of(Answering(np.zeros(20_000)), {"x": np.zeros(5)}) is None
