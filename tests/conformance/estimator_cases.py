"""scikit-learn's estimators, each fitted as its own tests do, and pipelines and outputs as awkward as they come."""

import inspect
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.sparse import csr_matrix
from sklearn.base import BaseEstimator, TransformerMixin, clone, is_regressor
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor, make_column_selector, make_column_transformer
from sklearn.datasets import make_blobs
from sklearn.decomposition import NMF, PCA, TruncatedSVD
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    IsolationForest,
    RandomForestClassifier,
    RandomForestRegressor,
    StackingClassifier,
    VotingClassifier,
)
from sklearn.experimental import enable_halving_search_cv, enable_iterative_imputer  # noqa: F401
from sklearn.feature_extraction import DictVectorizer
from sklearn.feature_extraction.text import CountVectorizer, HashingVectorizer, TfidfVectorizer
from sklearn.feature_selection import SelectKBest, VarianceThreshold, chi2
from sklearn.frozen import FrozenEstimator
from sklearn.gaussian_process import GaussianProcessClassifier, GaussianProcessRegressor
from sklearn.gaussian_process import kernels as gp
from sklearn.impute import KNNImputer, MissingIndicator, SimpleImputer
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge, SGDClassifier
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GridSearchCV
from sklearn.multiclass import OneVsRestClassifier
from sklearn.multioutput import ClassifierChain, MultiOutputClassifier, MultiOutputRegressor
from sklearn.naive_bayes import CategoricalNB, MultinomialNB
from sklearn.neighbors import KNeighborsClassifier, LocalOutlierFactor, RadiusNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline, make_union
from sklearn.preprocessing import (
    FunctionTransformer,
    KBinsDiscretizer,
    LabelBinarizer,
    LabelEncoder,
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    PowerTransformer,
    SplineTransformer,
    StandardScaler,
    TargetEncoder,
)
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier
from sklearn.utils import all_estimators
from sklearn.utils._test_common.instance_generator import _construct_instances
from sklearn.utils.estimator_checks import _enforce_estimator_tags_X, _enforce_estimator_tags_y

TEXTS = ["good day", "bad day", "good night", "sleep well", "bad luck", "well done", "good luck", "day and night"]


@dataclass
class Case:
    """A fitted estimator, rows it answers, and perhaps the frame it was trained with."""

    name: str
    fitted: Any
    rows: Any
    reference: pd.DataFrame | None = None


def every_estimator() -> Iterator[Case]:
    """All of scikit-learn's estimators, with every set of parameters that its own tests have."""
    for name, kind in all_estimators():
        if kind.__module__.startswith("sklearn."):
            for place, estimator in enumerate(_instances(kind)):
                yield _fitted(f"{name}-{place}" if place else name, estimator)


def _instances(kind: Any) -> list[Any]:
    special = {
        "FrozenEstimator": [FrozenEstimator(LogisticRegression().fit(*_data(LogisticRegression())))],
        "HashingVectorizer": [HashingVectorizer(n_features=32)],
        "LocalOutlierFactor": [LocalOutlierFactor(novelty=True), LocalOutlierFactor()],
        "SparseCoder": [kind(dictionary=np.eye(4)[:3] + 0.5)] if kind.__name__ == "SparseCoder" else [],
        "DummyClassifier": [DummyClassifier(strategy="most_frequent"), DummyClassifier(strategy="uniform")],
    }
    return special[kind.__name__] if kind.__name__ in special else list(_construct_instances(kind))


def _fitted(name: str, estimator: Any) -> Case:
    if "random_state" in estimator.get_params():
        estimator.set_params(random_state=0)
    kind = type(estimator).__name__
    if kind in ("CountVectorizer", "TfidfVectorizer", "HashingVectorizer"):
        rows: Any = TEXTS
        targets = None
    elif kind in ("DictVectorizer", "FeatureHasher"):
        rows, targets = [{"age": 3.0, "city": "Bern"}, {"age": 5.5}, {"city": "Lyon"}], None
    elif kind in ("LabelEncoder", "LabelBinarizer"):
        rows, targets = np.array(["no", "yes", "perhaps", "no"], dtype=object), None
    elif kind == "MultiLabelBinarizer":
        rows, targets = [{"a", "b"}, {"b"}], None
    elif kind == "PatchExtractor":
        rows, targets = np.zeros((3, 12, 12)), None
    else:
        rows, targets = _data(estimator)
    with warnings.catch_warnings(action="ignore"):
        takes_targets = {"y", "Y"} & set(inspect.signature(estimator.fit).parameters) and targets is not None
        estimator.fit(rows, targets) if takes_targets else estimator.fit(rows)
    return Case(name, estimator, rows)


def _data(estimator: Any) -> tuple[Any, Any]:
    rows, targets = make_blobs(
        n_samples=40, centers=[[0, 0, 0, 0], [1, 1, 1, 1.5], [3, 3, 2, 2]], cluster_std=0.3, random_state=0
    )
    targets = _enforce_estimator_tags_y(estimator, targets)
    if type(estimator).__name__ == "ClassifierChain":
        targets = np.column_stack([targets[:, 0] > 0, targets[:, 0] > 1]).astype(int)
    return _enforce_estimator_tags_X(estimator, rows), targets


# Outputs and inputs as awkward as they come

ROWS, THREE = make_blobs(60, 4, centers=3, random_state=0)
POSITIVE = np.abs(ROWS) + 0.1
TWO = (THREE > 0).astype(int)
NAMES = np.array(["no", "perhaps", "yes"], dtype=object)[THREE]


class Strings(TransformerMixin, BaseEstimator):
    """Gives strings, as a user's own transformer may."""

    def fit(self, rows, y=None):
        self.n_features_in_ = rows.shape[1]
        return self

    def transform(self, rows):
        return np.array([["big" if value > 0 else "small" for value in row] for row in rows], dtype=object)


class Answers(BaseEstimator):
    """Answers whatever it is told to."""

    def __init__(self, answer=None):
        self.answer = answer

    def fit(self, rows, y=None):
        self.n_features_in_ = rows.shape[1]
        return self

    def predict(self, rows):
        return self.answer(np.asarray(rows))


def awkward() -> Iterator[Case]:
    """Answers that are no plain matrix of numbers."""
    several = np.column_stack([THREE, TWO])
    yield _case("string classes", LogisticRegression(), ROWS, NAMES)
    yield _case("fixed-width string classes", LogisticRegression(), ROWS, NAMES.astype(str))
    yield _case("byte classes", DecisionTreeClassifier(), ROWS, NAMES.astype("S"))
    yield _case("boolean classes", LogisticRegression(), ROWS, TWO == 1)
    yield _case("classes of one byte", LogisticRegression(), ROWS, THREE.astype(np.int8))
    yield _case("unsigned classes", LogisticRegression(), ROWS, THREE.astype(np.uint64))
    yield _case("float classes", LogisticRegression(), ROWS, THREE.astype(float))
    yield _case("huge integer classes", DecisionTreeClassifier(), ROWS, THREE + 2**60)
    yield _case("integer regression targets", DecisionTreeClassifier(), ROWS, THREE * 1000)
    yield _case("single-precision regression", LinearRegression(), ROWS.astype(np.float32), THREE.astype(np.float32))
    yield _case("one column of targets", LinearRegression(), ROWS, THREE.reshape(-1, 1))
    yield _case("two columns of targets", LinearRegression(), ROWS, several)
    for inner in (RandomForestClassifier(3, random_state=0), KNeighborsClassifier(), DecisionTreeClassifier()):
        yield _case(f"several targets {type(inner).__name__}", inner, ROWS, several)
    yield _case("several targets with names", RandomForestClassifier(3, random_state=0), ROWS,
                np.column_stack([NAMES, np.where(TWO, "a", "b")]))  # fmt: skip
    yield _case("MultiOutputClassifier", MultiOutputClassifier(LogisticRegression()), ROWS, several)
    yield _case("targets of two kinds", Answers(_name_and_number), ROWS)
    yield _case("ClassifierChain", ClassifierChain(LogisticRegression()), ROWS, np.column_stack([TWO, 1 - TWO]))
    yield _case("MultiOutputRegressor", MultiOutputRegressor(Ridge()), ROWS, several * 1.5)
    labels = np.column_stack([TWO, THREE == 2, THREE == 0]).astype(int)
    yield _case("multilabel", OneVsRestClassifier(LogisticRegression()), ROWS, labels)
    yield _case("sparse multilabel", OneVsRestClassifier(LogisticRegression()), ROWS, csr_matrix(labels))
    yield _case("multilabel network", MLPClassifier(max_iter=5, random_state=0), ROWS, labels)
    yield _case("outliers", IsolationForest(n_estimators=3, random_state=0), ROWS)
    yield _case("sparse transform", OneHotEncoder(), THREE.reshape(-1, 1))
    yield _case("strings out", Strings(), ROWS)
    encoded = make_pipeline(Strings(), OneHotEncoder(), LogisticRegression())
    yield _case("strings through a pipeline", encoded, ROWS, TWO)
    yield _case("bins", KBinsDiscretizer(3, encode="ordinal"), ROWS)
    yield _case("booleans out", MissingIndicator(features="all"), ROWS)
    single = ROWS.astype(np.float32)
    yield _case("float32 out", make_pipeline(StandardScaler(), PCA(2)), single, reference=pd.DataFrame(single))
    yield _case("a list of floats", Answers(_list_of_floats), ROWS)
    yield _case("mean and deviation", Answers(_mean_and_deviation), ROWS)
    frame = pd.DataFrame(ROWS, columns=list("abcd"))
    yield _case("frame out", StandardScaler().set_output(transform="pandas"), frame, reference=frame)
    scaled = ColumnTransformer([("n", StandardScaler(), ["a", "b"]), ("s", "passthrough", ["name", "b"])])
    mixed = frame.assign(name=NAMES)
    yield _case("numbers beside strings", scaled.set_output(transform="default"), mixed, reference=mixed)
    yield _case("numbers beside strings as a frame", scaled.set_output(transform="pandas"), mixed, reference=mixed)


def _list_of_floats(rows):
    return [float(value) for value in rows[:, 0]]


def _name_and_number(rows):
    return np.array([["big" if row[0] > 0 else "small", round(row[1])] for row in rows], dtype=object)


def _mean_and_deviation(rows):
    return rows.mean(axis=1), rows.std(axis=1)


def unusual_inputs() -> Iterator[Case]:
    """Rows that are no plain matrix of numbers, or where not every number is in the domain."""
    strings = np.column_stack([NAMES, np.where(TWO, "x", "y")]).astype(object)
    yield _case("a bare matrix of strings", OneHotEncoder(handle_unknown="ignore"), strings)
    yield _case("ordinals of bare strings", make_pipeline(OrdinalEncoder(), LogisticRegression()), strings, TWO)
    yield _case("strings beside integers, bare", OneHotEncoder(), np.column_stack([NAMES, THREE.astype(object)]))
    gaps = np.where(THREE[:, None] == 1, np.array([[np.nan]], dtype=object), strings)
    yield _case("bare strings with gaps", OneHotEncoder(handle_unknown="ignore"), gaps)
    yield _case("integers", make_pipeline(OrdinalEncoder(), LogisticRegression()), THREE.reshape(-1, 1) * 7 + 3, TWO)
    yield _case("booleans", LogisticRegression(), ROWS > 0, TWO)
    yield _case("positive only", make_pipeline(MinMaxScaler(), MultinomialNB()), ROWS, TWO)
    yield _case("chi2", SelectKBest(chi2, k=2), POSITIVE, TWO)
    yield _case("Box-Cox", PowerTransformer("box-cox"), POSITIVE)
    yield _case("NMF", NMF(2, random_state=0, max_iter=500), POSITIVE)
    yield _case("logarithm", make_pipeline(FunctionTransformer(np.log), LinearRegression()), POSITIVE, TWO)
    yield _case("categories by number", CategoricalNB(), (POSITIVE * 2).astype(int) % 3, TWO)
    yield _case("inside the radius", RadiusNeighborsClassifier(0.5), ROWS + 100, TWO)
    yield _case("inside the knots", SplineTransformer(extrapolation="error"), ROWS / 50)
    yield _case("isotonic", IsotonicRegression(out_of_bounds="raise"), np.arange(5.0, 65.0), np.arange(60) * 2.0)
    yield _case("precomputed", KNeighborsClassifier(metric="precomputed"), np.abs(ROWS @ ROWS.T), TWO)
    yield _case("precomputed kernel", SVC(kernel="precomputed"), ROWS @ ROWS.T, TWO)
    yield _case("labels", LabelEncoder(), NAMES)
    yield _case("binary labels", LabelBinarizer(), THREE)
    yield _case("gaps", make_pipeline(SimpleImputer(add_indicator=True), Ridge()), _with_gaps(ROWS), TWO)
    yield _case("gaps of neighbours", KNNImputer(), _with_gaps(ROWS))
    yield _case("sparse training", make_pipeline(TruncatedSVD(2, random_state=0), SGDClassifier(random_state=0)),
                csr_matrix(POSITIVE), TWO)  # fmt: skip
    kernel = gp.RBF() + gp.WhiteKernel() * gp.Matern()
    yield _case("Gaussian process", GaussianProcessRegressor(kernel), ROWS, TWO)
    yield _case("Gaussian classes", GaussianProcessClassifier(gp.RationalQuadratic() ** 2), ROWS, TWO)


def _with_gaps(rows):
    return np.where(np.arange(rows.size).reshape(rows.shape) % 7 == 0, np.nan, rows)


def texts() -> Iterator[Case]:
    """Vectorizers, alone and as deep inside as they are found."""
    vectors, words = [CountVectorizer(), TfidfVectorizer(), HashingVectorizer(n_features=16)], np.array(TEXTS, object)
    likes = [1, 0, 1, 1, 0, 1, 1, 0]
    for vectorizer in vectors:
        model = make_pipeline(vectorizer, LogisticRegression())
        yield _case(f"text {type(vectorizer).__name__}", model, words, likes)
    yield _case("text union", make_pipeline(make_union(*vectors), LogisticRegression()), words, likes)
    plain = make_pipeline(TfidfVectorizer(), LogisticRegression())
    yield _case("text search", GridSearchCV(plain, {"logisticregression__C": [1, 2]}, cv=2), words, likes)
    calibrated = CalibratedClassifierCV(plain, cv=2)
    yield _case("text calibrated", calibrated, words, likes)
    voting = VotingClassifier([("a", make_pipeline(TfidfVectorizer(), LogisticRegression())),
                               ("b", make_pipeline(CountVectorizer(), MultinomialNB()))], voting="soft")  # fmt: skip
    yield _case("text voting", voting, words, likes)
    frozen = FrozenEstimator(make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(words, likes))
    yield Case("text frozen", frozen, words)
    frame = pd.DataFrame({"review": TEXTS, "stars": [5, 1, 4, 5, 2, 5, 4, 3]})
    columns = make_column_transformer((TfidfVectorizer(), "review"), (StandardScaler(), ["stars"]))
    yield _case("text beside numbers", make_pipeline(columns, LogisticRegression()), frame, likes, reference=frame)
    yield _case("text beside numbers, unknown", make_pipeline(columns, LogisticRegression()), frame, likes)
    fitted = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(frame["review"], likes)
    yield Case("text with a reference", fitted, frame["review"].to_numpy(), frame[["review"]])
    dicts = [{"age": 3.0, "city": "Bern"}, {"age": 5.5}, {"city": "Lyon", "age": 1.0}, {"city": "Bern"}]
    yield _case("dicts", make_pipeline(DictVectorizer(), LogisticRegression()), dicts, [0, 1, 0, 1])


def tables() -> Iterator[Case]:
    """Pipelines over frames of numbers, categories, strings, dates, gaps and text; with and without a reference."""
    frame, buys = people()
    for name, model in _table_models().items():
        for reference in (frame, None):
            known = "" if reference is not None else ", unknown"
            columns = frame.drop(columns=["when", "level"]) if "dates" not in name else frame
            if reference is None and name in _NEED_A_REFERENCE:
                continue
            given = None if reference is None else columns
            yield _case(f"{name}{known}", model, columns, buys, reference=given)


_NEED_A_REFERENCE = ("dates", "selector", "boosting by dtype")
"""Without one nobody can tell dates from strings, nor the dtypes that a selector chose by."""


def people() -> tuple[pd.DataFrame, np.ndarray]:
    """Two hundred people and whether they buy."""
    rng, count = np.random.default_rng(5), 200
    frame = pd.DataFrame(
        {
            "age": np.where(rng.random(count) < 0.1, np.nan, rng.normal(40, 12, count)),
            "height": rng.normal(170, 9, count).astype(np.float32),
            "visits": rng.integers(0, 9, count),
            "city": rng.choice(["Bern", "Lyon", None], count),
            "colour": pd.Categorical(rng.choice(["red", "green", "blue"], count)),
            "size": pd.Categorical(rng.choice(["S", "M", "L"], count), categories=["S", "M", "L"], ordered=True),
            "code": pd.Categorical(rng.choice([30, 10, 20], count)),
            "member": rng.random(count) < 0.5,
            "count": pd.array(rng.choice([1, 2, None], count), dtype="Int64"),
            "when": pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 300, count), unit="D"),
            "level": pd.array(rng.choice(["low", "high"], count), dtype="string"),
        }
    )
    frame["precise"] = rng.random(count) / 3
    return frame, np.where(frame["visits"] + rng.normal(size=count) > 4, "yes", "no")


def month(frame):
    """A user's own function on a column of dates."""
    return frame.apply(lambda column: column.dt.month)


def _table_models() -> dict[str, Any]:
    numbers = make_pipeline(SimpleImputer(), StandardScaler())
    words = OneHotEncoder(handle_unknown="ignore")
    columns = make_column_transformer(
        (numbers, ["age", "height", "visits", "precise", "count"]),
        (words, ["city", "colour", "size", "code"]),
        remainder="passthrough",
    )
    ordinal = make_column_transformer(
        (OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1), ["city", "colour", "size", "code"]),
        ("drop", ["count"]),
        remainder="passthrough",
    )
    target = make_column_transformer(
        (TargetEncoder(random_state=0), ["city", "colour", "code"]), (numbers, ["age", "visits"])
    )
    selector = make_column_transformer(
        (numbers, make_column_selector(dtype_include=np.number)),
        (words, make_column_selector(dtype_exclude=np.number)),
    )
    dated = make_column_transformer((FunctionTransformer(month), ["when"]), (words, ["level", "city"]))
    return {
        "logistic": make_pipeline(columns, LogisticRegression(max_iter=2000)),
        "forest": make_pipeline(ordinal, HistGradientBoostingClassifier(max_iter=5)),
        "boosting by dtype": make_pipeline(
            make_column_transformer(("passthrough", ["age", "visits", "colour", "code"])),
            HistGradientBoostingClassifier(max_iter=5),
        ).set_output(transform="pandas"),
        "target encoder": make_pipeline(target, RandomForestClassifier(5, random_state=0)),
        "selector": make_pipeline(selector, VarianceThreshold(), LogisticRegression(max_iter=2000)),
        "dates": make_pipeline(dated, LogisticRegression()),
        "search": GridSearchCV(Pipeline([("c", columns), ("m", SVC(probability=False))]), {"m__C": [1, 2]}, cv=2),
        "stacking": make_pipeline(
            columns,
            StackingClassifier([("a", LogisticRegression(max_iter=2000)), ("b", DecisionTreeClassifier(max_depth=3))]),
        ),
        "union": make_pipeline(
            columns,
            FeatureUnion([("p", PCA(2, random_state=0)), ("k", SelectKBest(k=2))]),
            GaussianMixture(2, random_state=0),
        ),
        "target": TransformedTargetRegressor(
            make_pipeline(target, RandomForestRegressor(3, random_state=0)), func=np.log1p, inverse_func=np.expm1
        ),
        "regression": make_pipeline(ordinal, HistGradientBoostingRegressor(max_iter=3)),
    }


def _case(name: str, estimator: Any, rows: Any, targets: Any = None, reference: pd.DataFrame | None = None) -> Case:
    fitted = clone(estimator)
    if getattr(targets, "dtype", np.dtype(int)).kind == "U" and is_regressor(fitted):
        targets = (targets == "yes").astype(float)
    with warnings.catch_warnings(action="ignore"):
        fitted.fit(rows) if targets is None else fitted.fit(rows, targets)
    return Case(name, fitted, rows.toarray() if hasattr(rows, "toarray") else rows, reference)
