"""The tables of indices that compiled code follows without looking: checked, so that a forged file cannot mislead it.

Trees, neighbour trees and sparse matrices keep the places of their children, features and rows as numbers. scikit-learn
follows them unchecked, so a file with a number out of range could make the process read foreign memory, and one with a
circle could make it run for ever.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serinus.models.errors import UnsupportedArtifact
from serinus.models.estimator_structure import is_a

__all__ = ["check_index_tables"]


def check_index_tables(fitted: Any) -> None:
    """Raise UnsupportedArtifact if anything inside the estimator holds a table that leads out of itself."""
    for thing in _things(fitted):
        check = _CHECKS.get(type(thing).__name__)
        if hasattr(thing, "check_format"):
            thing.check_format(full_check=True)
        if check is not None and not check(thing):
            raise UnsupportedArtifact(f"its {type(thing).__name__} leads out of itself, so it is damaged or forged")
        if hasattr(thing, "fit") and not _fits_together(thing):
            raise UnsupportedArtifact(f"its {type(thing).__name__} does not fit the trees inside it")


def _things(root: Any) -> Iterator[Any]:
    """Give everything an estimator is made of, through attributes, containers and arrays of objects."""
    waiting, seen = [root], {id(root)}
    while waiting:
        thing = waiting.pop()
        yield thing
        for inner in _inside(thing):
            if id(inner) not in seen and not isinstance(inner, str | bytes | int | float | type | None):
                seen.add(id(inner))
                waiting.append(inner)


def _inside(thing: Any) -> list[Any]:
    if isinstance(thing, dict):
        return [*thing.values(), *vars(thing).values()] if hasattr(thing, "__dict__") else list(thing.values())
    if isinstance(thing, list | tuple | set | frozenset):
        return list(thing)
    if isinstance(thing, np.ndarray):
        return thing.ravel().tolist() if thing.dtype.hasobject else []
    return list(vars(thing).values()) if hasattr(thing, "__dict__") else []


def _tree(tree: Any) -> bool:
    left, right = tree.children_left, tree.children_right
    inner = left != -1
    return _forest_of(left[inner], right[inner], np.flatnonzero(inner), len(left)) and _within(
        tree.feature[inner], tree.n_features
    )


def _forest_of(left: NDArray[Any], right: NDArray[Any], nodes: NDArray[Any], count: int) -> bool:
    """Children come after their parent (so there is no circle) and inside the table."""
    return all(bool((child.astype(np.int64) > nodes).all()) and _within(child, count) for child in (left, right))


def _within(indices: NDArray[Any], count: int) -> bool:
    return not len(indices) or bool(indices.min() >= 0 and indices.max() < count)


def _predictor(predictor: Any) -> bool:
    nodes = predictor.nodes
    inner = nodes["is_leaf"] == 0
    splits = nodes[inner]
    sets = [len(bits) for bits in (predictor.raw_left_cat_bitsets, predictor.binned_left_cat_bitsets)]
    return (
        len(nodes) > 0
        and _forest_of(splits["left"], splits["right"], np.flatnonzero(inner), len(nodes))
        and _within(splits["bitset_idx"][splits["is_categorical"] != 0], min(sets))
    )


def _neighbours(tree: Any) -> bool:
    """Nodes lie as in a heap: the children of node i are 2i + 1 and 2i + 2."""
    data, indices, nodes, bounds, _, _, count, *_, distance, weights = tree.__getstate__()
    inner = np.flatnonzero(nodes["is_leaf"] == 0)
    return (
        len(nodes) == count > 0
        and bounds.shape[1:] == (count, data.shape[1])
        and len(indices) == len(data)
        and _within(indices, len(data))
        and _within(nodes["idx_start"], len(data) + 1)
        and _within(nodes["idx_end"], len(data) + 1)
        and _within(2 * inner + 2, count)
        and (weights is None or len(weights) == len(data))
        and _measures(distance, data.shape[1])
    )


def _measures(distance: Any, width: int) -> bool:
    """Tell whether a distance looks at no more columns than there are."""
    name = type(distance).__name__
    if name.startswith("Minkowski"):
        return len(distance.__getstate__()[1]) in (0, width)
    return width == 2 or not name.startswith("Haversine")


def _spline(spline: Any) -> bool:
    try:
        type(spline)(spline.t, spline.c, spline.k, spline.extrapolate, spline.axis)
    except (AttributeError, TypeError, ValueError):
        return False
    return True


_CHECKS = {"Tree": _tree, "TreePredictor": _predictor, "KDTree": _neighbours, "BallTree": _neighbours,
           "BSpline": _spline}  # fmt: skip


def _fits_together(estimator: Any) -> bool:
    """Tell whether an ensemble's trees know no more columns than it lets in: it hands rows on unchecked."""
    width = getattr(estimator, "n_features_in_", None)
    if type(getattr(estimator, "tree_", None)).__name__ == "Tree":
        return bool(estimator.tree_.n_features == width)
    if is_a(estimator, "BaseForest", "BaseGradientBoosting"):
        trees = np.asarray(getattr(estimator, "estimators_", []), dtype=object)
        stages = getattr(estimator, "n_trees_per_iteration_", 1)
        return all(tree.n_features_in_ == width for tree in trees.ravel()) and trees.shape[1:] in ((), (stages,))
    if is_a(estimator, "BaseBagging"):
        chosen = getattr(estimator, "estimators_features_", [])
        inner = getattr(estimator, "estimators_", [])
        return all(one.n_features_in_ == len(places) for one, places in zip(inner, chosen, strict=True))
    if is_a(estimator, "BaseHistGradientBoosting"):
        predictors = [one for stage in getattr(estimator, "_predictors", []) for one in stage]
        return all(_within(one.nodes["feature_idx"], estimator._n_features) for one in predictors)
    return True
