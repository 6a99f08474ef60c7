"""Requests share a call only where every part of the estimator is known to look at one row at a time."""

import numpy as np
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import TransformedTargetRegressor, make_column_transformer
from sklearn.decomposition import NMF, PCA, MiniBatchSparsePCA
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import BaggingClassifier, RandomForestClassifier, StackingClassifier, VotingClassifier
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.feature_selection import SelectKBest
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline, make_union
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler
from sklearn.svm import SVC

from serinus.models import wrap
from serinus.models.examples import example_rows
from serinus.models.row_wise import is_row_wise
from serinus.models.row_wise_estimators import ROW_WISE, answers_row_by_row

ROWS = np.abs(np.random.default_rng(0).normal(size=(40, 4))) + 0.1
TWO = (ROWS[:, 0] > 0.7).astype(int)


def centred(rows):
    return rows - rows.mean(axis=0)


class Own(LinearRegression):
    """A class that nobody has read."""


TOGETHER = [
    LogisticRegression(),
    make_pipeline(SimpleImputer(), StandardScaler(), PCA(2), SVC()),
    make_pipeline(make_column_transformer((StandardScaler(), [0, 1]), remainder="passthrough"), LogisticRegression()),
    make_pipeline(make_union(StandardScaler(), SelectKBest(k=1)), LogisticRegression()),
    make_pipeline(FunctionTransformer(np.log1p), LogisticRegression()),
    GridSearchCV(RandomForestClassifier(2), {"max_depth": [2]}, cv=2),
    StackingClassifier([("a", LogisticRegression()), ("b", KNeighborsClassifier())]),
    CalibratedClassifierCV(BaggingClassifier(LogisticRegression(), 2), cv=2),
    TransformedTargetRegressor(LinearRegression(), func=np.log1p, inverse_func=np.expm1),
    DummyClassifier(strategy="prior"),
]

ALONE = [
    NMF(2, max_iter=500),
    MiniBatchSparsePCA(2, max_iter=2),
    make_pipeline(FunctionTransformer(centred), LogisticRegression()),
    VotingClassifier([("a", LogisticRegression()), ("b", make_pipeline(NMF(2, max_iter=500), LogisticRegression()))]),
    GridSearchCV(make_pipeline(FunctionTransformer(centred), SVC()), {"svc__C": [1]}, cv=2),
    DummyClassifier(strategy="stratified"),
    KNeighborsClassifier(metric=lambda a, b: abs(a - b).sum()),
    Own(),
    make_pipeline(StandardScaler(), Own()),
]


@pytest.mark.parametrize("estimator", TOGETHER, ids=lambda estimator: type(estimator).__name__)
def test_known_types_answer_row_by_row(estimator):
    """Where every part is on the list, a model says so, and made-up rows prove it."""
    model = wrap(estimator.fit(ROWS, TWO))
    assert is_row_wise(model)
    rows = example_rows(model.signature, 5)
    together = model.predict(rows)
    for row in range(5):
        alone = model.predict({name: array[row : row + 1] for name, array in rows.items()})
        for name, array in together.items():
            np.testing.assert_allclose(array[row : row + 1].astype(float), alone[name].astype(float), rtol=1e-9)


@pytest.mark.parametrize("estimator", ALONE, ids=lambda estimator: type(estimator).__name__)
def test_one_unknown_part_is_enough(estimator):
    """What iterates over its rows, draws random numbers, or was never read stays alone, however deep inside it is."""
    assert not answers_row_by_row(estimator.fit(ROWS, TWO))


def test_own_functions_in_vectorizers_are_unknown():
    """Vectorizers are on the list; with a tokenizer of one's own they are not."""
    assert answers_row_by_row(make_pipeline(TfidfVectorizer(), OneHotEncoder()))
    assert not answers_row_by_row(CountVectorizer(tokenizer=lambda text: text.split()))


def test_the_list_names_existing_classes():
    """Every public name on the list is a class of the installed scikit-learn: a typing error would only be slow."""
    from sklearn.experimental import enable_halving_search_cv  # noqa: F401
    from sklearn.utils import all_estimators

    known = {name for name, _ in all_estimators()}
    assert {name for name in ROW_WISE if not name.startswith("_")} <= known
