"""Tables of indices are checked before compiled code follows them: a forged file cannot crash or hang the process."""

import io
import zipfile

import joblib
import numpy as np
import pytest
import skops.io
from sklearn.datasets import make_blobs
from sklearn.ensemble import (
    BaggingClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    IsolationForest,
    RandomForestClassifier,
)
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import SplineTransformer
from sklearn.tree import DecisionTreeClassifier

from serinus.models import UnsupportedArtifact, load
from serinus.models.index_tables import check_index_tables

ROWS, CLASSES = make_blobs(80, 2, random_state=0)

HONEST = [
    DecisionTreeClassifier(),
    RandomForestClassifier(3),
    GradientBoostingClassifier(n_estimators=3),
    HistGradientBoostingClassifier(max_iter=3, min_samples_leaf=3, categorical_features=[0]),
    BaggingClassifier(DecisionTreeClassifier(), 3, max_features=0.5),
    IsolationForest(n_estimators=3, max_features=0.5),
    KNeighborsClassifier(algorithm="kd_tree", leaf_size=3),
    KNeighborsClassifier(algorithm="ball_tree", leaf_size=3, metric="haversine"),
    SplineTransformer(),
]


def rows_for(estimator):
    return np.abs(ROWS).round() % 8 if isinstance(estimator, HistGradientBoostingClassifier) else ROWS


@pytest.mark.parametrize("estimator", HONEST, ids=lambda estimator: type(estimator).__name__)
def test_honest_tables_pass(estimator):
    """What scikit-learn itself trained is in order."""
    check_index_tables(estimator.fit(rows_for(estimator), CLASSES))


def forged_tree(field, value):
    def forge(tree):
        state = tree.__getstate__()
        state["nodes"][field][0] = value
        tree.__setstate__(state)

    return forge


FORGERIES = {
    "a child outside": forged_tree("left_child", 10_000),
    "a circle": forged_tree("right_child", 0),
    "a negative child": forged_tree("left_child", -7),
    "a feature outside": forged_tree("feature", 99),
    "a negative feature": forged_tree("feature", -3),
}


@pytest.mark.parametrize("forge", FORGERIES.values(), ids=FORGERIES)
def test_a_forged_tree_is_refused(forge):
    """A tree that leads out of itself, or round in a circle, is refused before it is used."""
    forest = RandomForestClassifier(2, random_state=0).fit(ROWS, CLASSES)
    forge(forest.estimators_[1].tree_)
    with pytest.raises(UnsupportedArtifact, match="its Tree leads out of itself"):
        check_index_tables(forest)


@pytest.mark.parametrize("estimator", HONEST[1:3] + HONEST[4:6], ids=lambda estimator: type(estimator).__name__)
def test_an_ensemble_that_lets_in_fewer_columns_than_its_trees_know(estimator):
    """Ensembles hand rows on unchecked, so their width must be their trees'."""
    fitted = estimator.fit(ROWS, CLASSES)
    wide = type(fitted.estimators_[0] if isinstance(fitted.estimators_, list) else fitted.estimators_[0, 0])()
    wide.fit(ROWS[:, [0, 1, 0]], CLASSES)
    if isinstance(fitted.estimators_, list):
        fitted.estimators_[0] = wide
    else:
        fitted.estimators_[0, 0] = wide
    with pytest.raises(UnsupportedArtifact, match="does not fit the trees inside it"):
        check_index_tables(fitted)


@pytest.mark.parametrize(("field", "value"), [("left", 50_000), ("right", 0), ("feature_idx", 77), ("bitset_idx", 9)])
def test_a_forged_boosted_tree_is_refused(field, value):
    """Histogram gradient boosting's trees: children, features and category sets."""
    fitted = HONEST[3].fit(rows_for(HONEST[3]), CLASSES)
    nodes = fitted._predictors[0][0].nodes
    nodes[field] = np.where(nodes["is_leaf"] == 0, value, nodes[field])
    nodes["is_categorical"] = field == "bitset_idx"
    with pytest.raises(UnsupportedArtifact, match=r"TreePredictor leads|does not fit"):
        check_index_tables(fitted)


NEIGHBOURS = {
    "a row outside": (1, lambda part: part.__setitem__(0, 10_000)),
    "a range outside": (2, lambda part: part["idx_end"].__setitem__(0, 10_000)),
    "a leaf that is none": (2, lambda part: part["is_leaf"].fill(0)),
}


@pytest.mark.parametrize("place", NEIGHBOURS, ids=str)
@pytest.mark.parametrize("algorithm", ["kd_tree", "ball_tree"])
def test_a_forged_neighbour_tree_is_refused(place, algorithm):
    """Neighbour trees: rows, ranges and nodes."""
    fitted = KNeighborsClassifier(algorithm=algorithm, leaf_size=3).fit(ROWS, CLASSES)
    part, forge = NEIGHBOURS[place]
    state = [np.copy(item) if isinstance(item, np.ndarray) else item for item in fitted._tree.__getstate__()]
    forge(state[part])
    fitted._tree.__setstate__(tuple(state))
    with pytest.raises(UnsupportedArtifact, match="Tree leads out of itself"):
        check_index_tables(fitted)


def test_a_forged_spline_is_refused():
    """A spline whose degree is more than its knots allow."""
    fitted = SplineTransformer().fit(ROWS)
    fitted.bsplines_[0].k = 500
    with pytest.raises(UnsupportedArtifact, match="BSpline leads out of itself"):
        check_index_tables(fitted)


def test_a_forged_sparse_matrix_is_refused():
    """A sparse matrix whose columns lie outside it."""
    from scipy.sparse import csr_matrix

    fitted = KNeighborsClassifier(algorithm="brute").fit(csr_matrix(ROWS), CLASSES)
    fitted._fit_X.indices[0] = 4_000
    with pytest.raises(ValueError, match="indices"):
        check_index_tables(fitted)


def test_a_forged_file_is_refused_when_it_is_read(tmp_path):
    """A skops file whose tables were overwritten loads neither with nor without trust."""
    path = tmp_path / "model.skops"
    skops.io.dump(DecisionTreeClassifier(random_state=0).fit(ROWS, CLASSES), path)
    load(path)
    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    for name, content in files.items():
        if name.endswith(".npy"):
            array = np.load(io.BytesIO(content))
            if "left_child" in (array.dtype.names or ()):
                array["left_child"][0] = 10_000
                stream = io.BytesIO()
                np.save(stream, array)
                files[name] = stream.getvalue()
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    with pytest.raises(UnsupportedArtifact, match="leads out of itself, so it is damaged or forged"):
        load(path)


def test_looking_changes_nothing(tmp_path):
    """A checked model answers as before."""
    fitted = RandomForestClassifier(3, random_state=0).fit(ROWS, CLASSES)
    before = joblib.hash(fitted.predict_proba(ROWS))
    check_index_tables(fitted)
    assert joblib.hash(fitted.predict_proba(ROWS)) == before
