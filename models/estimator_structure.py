"""How scikit-learn's estimators nest: pipelines, searches and ensembles around the one that sees the rows."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["categories_by_column", "first_step", "is_a", "steps_of"]

_WRAPPED = (
    "best_estimator_",
    "estimator_",
    "regressor_",
    "calibrated_classifiers_",
    "estimators_",
)
"""Fitted attributes under which a wrapper keeps what it hands its rows on to; of several, the first is looked at."""


def is_a(fitted: Any, *names: str) -> bool:
    """Tell whether the estimator is of a scikit-learn class of one of these names, or of a class derived from it."""
    return any(kind.__name__ in names and kind.__module__.startswith("sklearn.") for kind in type(fitted).__mro__)


def first_step(fitted: Any) -> Any:
    """Give the estimator that sees the rows first: inside pipelines and wrappers, of several branches the first."""
    return steps_of(fitted)[0]


def steps_of(fitted: Any) -> list[Any]:
    """Give a pipeline's steps in a row, through wrappers and nested pipelines; of anything else, itself."""
    inner = _unwrapped(fitted)
    if hasattr(inner, "steps"):
        return [step for _, outer in inner.steps if not _passes(outer) for step in steps_of(outer)] or [inner]
    if is_a(inner, "FeatureUnion"):
        branches = [branch for _, branch in inner.transformer_list if not _passes(branch)]
        return steps_of(branches[0])[:1] + [inner] if branches else [inner]
    return [inner]


def _passes(step: Any) -> bool:
    return step is None or isinstance(step, str)


def _unwrapped(fitted: Any) -> Any:
    while (inner := _inner(fitted)) is not None:
        fitted = inner
    return fitted


def _inner(fitted: Any) -> Any:
    if hasattr(fitted, "steps") or hasattr(fitted, "transformers_"):
        return None
    if is_a(fitted, "FrozenEstimator", "_CalibratedClassifier"):
        return fitted.estimator
    for name in _WRAPPED:
        inner = _first(getattr(fitted, name, None))
        if inner is not None and _same_width(fitted, inner):
            return inner
    return None


def _first(inner: Any) -> Any:
    if isinstance(inner, np.ndarray):
        inner = inner.ravel().tolist()
    if isinstance(inner, list | tuple):
        return next((_first(item) for item in inner if not _passes(item)), None)
    return inner if hasattr(inner, "fit") or is_a(inner, "_CalibratedClassifier") else None


def _same_width(outer: Any, inner: Any) -> bool:
    width = getattr(outer, "n_features_in_", None)
    return width is None or getattr(inner, "n_features_in_", width) == width


def categories_by_column(fitted: Any, places: list[int]) -> Iterator[tuple[int, NDArray[Any]]]:
    """Walk a pipeline as far as its columns stay the same; give each encoder's categories by column place.

    A text column has the one category "".
    """
    for step in steps_of(fitted):
        if hasattr(step, "_preprocessor"):  # HistGradientBoosting encodes its categories itself
            yield from () if step._preprocessor is None else categories_by_column(step._preprocessor, places)
        if hasattr(step, "_transformer_to_input_indices"):
            yield from _branch_categories(step, places)
            return
        if is_a(step, "FeatureUnion"):
            for _, branch in step.transformer_list:
                yield from () if _passes(branch) else categories_by_column(branch, places)
            return
        if _has_categories(step, len(places)):
            yield from zip(places, map(np.asarray, step.categories_), strict=True)
            return
        if hasattr(step, "build_analyzer"):
            yield places[0], np.array([""], dtype=object)
            return
        if not _keeps_columns(step, len(places)):
            return


def _branch_categories(transformer: Any, places: list[int]) -> Iterator[tuple[int, NDArray[Any]]]:
    for name, step, _ in transformer.transformers_:
        indices = transformer._transformer_to_input_indices.get(name, [])
        if not _passes(step) and len(indices):
            yield from categories_by_column(step, [places[index] for index in indices])


def _has_categories(step: Any, width: int) -> bool:
    categories = getattr(step, "categories_", None)
    return isinstance(categories, list | tuple | np.ndarray) and len(categories) == width


def _keeps_columns(step: Any, width: int) -> bool:
    return is_a(step, "SimpleImputer") and len(getattr(step, "statistics_", ())) == width
