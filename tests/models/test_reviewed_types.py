"""What a skops file may name without trust: existing types, none of which can be made to run a stranger's code."""

from functools import partial
from importlib import import_module

import numpy as np
import pytest
import scipy.stats
import skops.io
from sklearn.experimental import enable_halving_search_cv, enable_iterative_imputer  # noqa: F401
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import RandomizedSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import FunctionTransformer

from serinus.models import UntrustedArtifact, load
from serinus.models.reviewed_types import REVIEWED_TYPES

OTHER_LIBRARIES = ("lightgbm.", "xgboost.")
OF_OTHER_VERSIONS = {
    "numpy.character", "scipy._lib.array_api_compat.numpy._aliases.asarray",
    "sklearn.compose._column_transformer._RemainderColsList",
}  # fmt: skip
ROWS = np.random.default_rng(0).normal(size=(30, 2))
TWO = (ROWS[:, 0] > 0).astype(int)


def resolved(name):
    module, _, last = name.rpartition(".")
    return getattr(import_module(module), last, None)


@pytest.mark.parametrize("name", sorted(REVIEWED_TYPES))
def test_every_name_is_something(name):
    """A name that nothing has is a typing error: it would stand for whatever comes to have it."""
    if not name.startswith(OTHER_LIBRARIES):
        assert resolved(name) is not None or name in OF_OTHER_VERSIONS


def test_nothing_on_the_list_compiles_opens_or_calls_back():
    """The names that look harmless and are not: they compile source text, open files, or call any function."""
    for name in (
        "builtins.getattr", "builtins.eval", "operator.methodcaller", "joblib.memory.Memory", "numpy.load",
        "scipy.stats._distn_infrastructure.rv_continuous_frozen", "sklearn.metrics._dist_metrics.PyFuncDistance64",
        "sklearn.metrics._dist_metrics.MahalanobisDistance64", "sklearn.datasets._base.load_files",
    ):  # fmt: skip
        assert name not in REVIEWED_TYPES




def test_a_partial_is_as_safe_as_its_function(tmp_path):
    """`functools.partial` is on the list, and what it holds is looked up all the same."""
    path = tmp_path / "model.skops"
    skops.io.dump(FunctionTransformer(partial(np.clip, a_min=0)), path)
    with pytest.raises(UntrustedArtifact, match=r"numpy\.clip"):
        load(path)
    skops.io.dump(FunctionTransformer(partial(np.log1p)).fit(ROWS), path)
    load(path)


def test_distributions_are_refused(tmp_path):
    """scipy's distributions compile source text from an attribute when they are loaded."""
    path = tmp_path / "model.skops"
    search = RandomizedSearchCV(LogisticRegression(), {"C": scipy.stats.uniform(1, 2)}, n_iter=2, cv=2)
    skops.io.dump(search.fit(ROWS, TWO), path)
    with pytest.raises(UntrustedArtifact, match=r"scipy\.stats\._continuous_distns\.uniform_gen"):
        load(path)


def own(a, b):
    return float(np.abs(a - b).sum())


def test_own_distances_are_refused(tmp_path):
    """A neighbour tree that calls a function for every pair of rows is refused, and so is the function."""
    path = tmp_path / "model.skops"
    skops.io.dump(KNeighborsClassifier(algorithm="ball_tree", metric=own).fit(ROWS, TWO), path)
    with pytest.raises(UntrustedArtifact, match=r"PyFuncDistance64"):
        load(path)
