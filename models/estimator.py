"""scikit-learn estimators as models: what they take is worked out from what they learned, and tried on one row."""

import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from serinus.models.errors import InvalidInput, InvalidSignature, UnsupportedArtifact, one_line
from serinus.models.frame import MATRIX, FrameBuilder, arrays_of, column_field
from serinus.models.model import unknown_output
from serinus.models.signature import Field, Signature, datatype_of

__all__ = ["EstimatorModel", "infer_signature"]

_ON_REQUEST = ("decision_function", "score_samples", "predict_log_proba", "transform")
_MANY_COLUMNS = 500
"""Above this, whether single columns may have missing values is not tried out one by one."""

Inputs = Mapping[str, NDArray[Any]]


class EstimatorModel:
    """A fitted estimator whose outputs are named after its methods.

    `predict` (and `predict_proba` where it exists), or `transform` where there is no predict, are given by default;
    `decision_function`, `score_samples`, `predict_log_proba` and `transform` on request, where they exist.

    A pipeline's steps before the last run once per call, however many outputs are wanted.
    """

    def __init__(self, fitted: Any, signature: Signature) -> None:
        self.signature = signature
        self._rows = _row_builder(fitted, signature.inputs)
        self._outputs = [field.name for field in signature.outputs]
        self._dtypes: dict[str, np.dtype[Any] | None] = {field.name: field.dtype for field in signature.outputs}
        self._prepare, last = _split(fitted)
        names = [name for name in dict.fromkeys((*self._outputs, *_ON_REQUEST)) if hasattr(fitted, name)]
        self._methods = {name: getattr(last, name) for name in names}

    def predict(self, inputs: Inputs, outputs: Sequence[str] | None = None) -> dict[str, NDArray[Any]]:
        """Call the estimator's methods; see `Model.predict`."""
        names = self._outputs if outputs is None else outputs
        for name in names:
            if name not in self._methods:
                raise unknown_output(name, list(self._methods))
        rows = self._prepare(self._rows(inputs))
        return {name: _array(self._methods[name](rows), self._dtypes.get(name)) for name in names}

    def close(self) -> None:
        """Nothing is held beyond memory."""


def _array(answer: Any, dtype: np.dtype[Any] | None) -> NDArray[Any]:
    dense = answer.toarray() if hasattr(answer, "toarray") else answer
    array = np.asarray(dense, dtype=dtype)
    return array.astype(object) if array.dtype.kind in "US" else array


def _split(fitted: Any) -> tuple[Callable[[Any], Any], Any]:
    """Part a pipeline into the transformation before its last step, and that step.

    Only scikit-learn's own Pipeline is parted: a subclass may do more than its steps say.
    """
    from sklearn.pipeline import Pipeline

    if type(fitted) is not Pipeline or len(fitted.steps) < 2 or isinstance(fitted.steps[-1][1], str | None):
        return _same, fitted
    return fitted[:-1].transform, fitted.steps[-1][1]


def _same(rows: Any) -> Any:
    return rows


def _row_builder(fitted: Any, fields: Sequence[Field]) -> Callable[[Inputs], Any]:
    """Choose what the estimator is called with: its frame, a matrix, or a list of texts."""
    if len(fields) == 1 and fields[0].name == MATRIX and not hasattr(fitted, "feature_names_in_"):
        return _texts if len(fields[0].shape) == 1 else _matrix_of(fields[0])
    builder = FrameBuilder(fields)
    if hasattr(fitted, "feature_names_in_") or not hasattr(fitted, "n_features_in_"):
        return builder.build
    # Trained on a bare array: a frame would only earn a warning per call.
    return lambda inputs: builder.build(inputs).to_numpy()


def _texts(inputs: Inputs) -> NDArray[Any]:
    if MATRIX not in inputs:
        raise InvalidInput(f"The required input {MATRIX!r} is missing; send it.")
    return inputs[MATRIX].reshape(-1)


def _matrix_of(field: Field) -> Callable[[Inputs], NDArray[Any]]:
    width, dtype = field.shape[1], field.dtype

    def matrix(inputs: Inputs) -> NDArray[Any]:
        values = inputs.get(MATRIX)
        if values is None or values.ndim != 2 or (values.shape[1] != width and width != -1):
            got = "nothing" if values is None else f"shape {list(values.shape)}"
            raise InvalidInput(f"Input {MATRIX!r}: wanted a matrix of shape {[-1, width]}, got {got}.")
        return np.asarray(values, dtype=dtype)

    return matrix


def infer_signature(fitted: Any, reference: pd.DataFrame | None = None) -> Signature:
    """Work out an estimator's signature.

    Args:
        fitted: the estimator or pipeline.
        reference: rows like those it was trained with (without the target); gives dtypes and categories.

    Raises:
        UnsupportedArtifact: it has neither predict nor transform, or was not fitted.
        InvalidSignature: the reference does not fit the estimator, or no row of it can be predicted.
    """
    names = _output_names(fitted)
    fields, row = _inputs(fitted, reference)
    draft = Signature(fields, tuple(_draft_output(fitted, name) for name in names))
    # Without a reference the datatypes are a guess, and some estimators trained on float32 take nothing else.
    guesses = [draft] if reference is not None else [draft, _single_precision(draft)]
    failures: list[Exception] = []
    for guess in guesses:
        try:
            with warnings.catch_warnings(action="ignore"):
                return _tried(fitted, guess, row)
        except Exception as error:
            failures.append(error)
    if reference is None:
        return draft
    raise InvalidSignature(
        f"The model cannot predict a row of the reference, so one of the two is the wrong one: {one_line(failures[0])}"
    ) from failures[0]


def _single_precision(draft: Signature) -> Signature:
    fields = (replace(field, datatype="FP32") if field.datatype == "FP64" else field for field in draft.inputs)
    return replace(draft, inputs=tuple(fields))


def _output_names(fitted: Any) -> list[str]:
    names = [name for name in ("predict", "predict_proba") if hasattr(fitted, name)]
    if names or hasattr(fitted, "transform"):
        return names or ["transform"]
    raise UnsupportedArtifact(
        f"{type(fitted).__name__} has neither predict nor transform, so it cannot answer for new rows."
    )


def _draft_output(fitted: Any, name: str) -> Field:
    """Describe an output by the classes alone, as long as no row was tried."""
    labels = _labels(fitted)
    if name == "predict":
        return Field(name, datatype_of(np.asarray(labels).dtype) if labels else "FP64", (-1,), labels=labels)
    return Field(name, "FP64", (-1, len(labels) if labels else -1), labels=labels)


def _labels(fitted: Any) -> tuple[Any, ...] | None:
    classes = getattr(fitted, "classes_", None)
    if not isinstance(classes, np.ndarray) or classes.ndim != 1:
        return None
    return tuple(classes.tolist())


def _inputs(fitted: Any, reference: pd.DataFrame | None) -> tuple[tuple[Field, ...], dict[str, NDArray[Any]]]:
    """Give the input fields, and one row to try them with."""
    if reference is not None and len(reference) == 0:
        raise InvalidSignature("The reference has no rows; give rows like those the model was trained with.")
    names = _column_names(fitted, reference)
    if names is None:
        return _unnamed(fitted, reference)
    if reference is None:
        return _learned(fitted, names)
    missing = [name for name in names if name not in reference.columns]
    if missing:
        raise InvalidSignature(f"The reference lacks the columns {', '.join(missing)} that the model was trained with.")
    fields = tuple(column_field(name, reference[name]) for name in names)
    return fields, arrays_of(_complete_row(reference[names]), fields)


def _column_names(fitted: Any, reference: pd.DataFrame | None) -> list[str] | None:
    if hasattr(fitted, "feature_names_in_"):
        return [str(name) for name in fitted.feature_names_in_]
    if reference is None or not all(isinstance(name, str) for name in reference.columns):
        return None
    width = getattr(fitted, "n_features_in_", len(reference.columns))
    if width != len(reference.columns):
        raise InvalidSignature(
            f"The model was trained with {width} columns and the reference has {len(reference.columns)}; "
            "give the same columns, and name the target."
        )
    return list(reference.columns)


def _complete_row(reference: pd.DataFrame) -> pd.DataFrame:
    complete = reference[~reference.isna().any(axis=1)]
    return (complete if len(complete) else reference).head(1)


def _unnamed(fitted: Any, reference: pd.DataFrame | None) -> tuple[tuple[Field, ...], dict[str, NDArray[Any]]]:
    if hasattr(_steps(fitted)[0], "build_analyzer"):
        return (Field(MATRIX, "BYTES", (-1,)),), {MATRIX: np.array(["text"], dtype=object)}
    single = reference is not None and bool((reference.dtypes == np.float32).all())
    field = Field(MATRIX, "FP32" if single else "FP64", (-1, getattr(fitted, "n_features_in_", -1)))
    if reference is not None:
        return (field,), {MATRIX: _complete_row(reference).to_numpy(dtype=field.dtype)}
    return (field,), {MATRIX: np.zeros((1, max(field.shape[1], 1)), dtype=field.dtype)}


def _learned(fitted: Any, names: list[str]) -> tuple[tuple[Field, ...], dict[str, NDArray[Any]]]:
    """Describe named columns of unknown dtypes by what encoders inside the pipeline learned; else they are FP64."""
    known = dict(_categories(fitted, list(range(len(names)))))
    fields = tuple(_learned_field(name, known.get(place)) for place, name in enumerate(names))
    row = {field.name: _example(field, known.get(place)) for place, field in enumerate(fields)}
    return fields, row


def _learned_field(name: str, categories: NDArray[Any] | None) -> Field:
    if categories is None:
        return Field(name, "FP64", (-1,))
    datatype = datatype_of(categories.dtype)
    if datatype != "BYTES":
        return Field(name, datatype, (-1,))
    return Field(name, "BYTES", (-1,), frame_dtype="object[None]" if None in categories.tolist() else "object")


def _example(field: Field, categories: NDArray[Any] | None) -> NDArray[Any]:
    present = [] if categories is None else [value for value in categories.tolist() if not _is_missing(value)]
    value = present[0] if present else "" if field.datatype == "BYTES" else 0
    return np.array([value], dtype=field.dtype)


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _categories(fitted: Any, places: list[int]) -> Iterator[tuple[int, NDArray[Any]]]:
    """Walk a pipeline as far as its columns stay the same; give each encoder's categories by column place."""
    for step in _steps(fitted):
        inner = getattr(step, "_preprocessor", None)  # HistGradientBoosting encodes its categories itself
        if inner is not None:
            yield from _categories(inner, places)
        if hasattr(step, "_transformer_to_input_indices"):
            yield from _branch_categories(step, places)
            return
        if hasattr(step, "categories_") and len(step.categories_) == len(places):
            yield from zip(places, step.categories_, strict=True)
            return
        if hasattr(step, "build_analyzer"):
            yield places[0], np.array([""], dtype=object)
            return
        if not _keeps_columns(step, len(places)):
            return


def _branch_categories(transformer: Any, places: list[int]) -> Iterator[tuple[int, NDArray[Any]]]:
    for name, step, _ in transformer.transformers_:
        indices = transformer._transformer_to_input_indices.get(name, [])
        if not isinstance(step, str):
            yield from _categories(step, [places[index] for index in indices])


def _keeps_columns(step: Any, width: int) -> bool:
    return type(step).__name__ == "SimpleImputer" and len(getattr(step, "statistics_", ())) == width


def _steps(fitted: Any) -> list[Any]:
    inner = getattr(fitted, "best_estimator_", fitted)
    return [step for _, step in inner.steps] if hasattr(inner, "steps") else [inner]


def _tried(fitted: Any, draft: Signature, row: dict[str, NDArray[Any]]) -> Signature:
    """Predict one row: what comes back has the true datatypes and shapes."""
    build = _row_builder(fitted, draft.inputs)
    rows = build(row)
    outputs = []
    for field in draft.outputs:
        answer = getattr(fitted, field.name)(rows)
        if not isinstance(answer, list):  # several targets: predict_proba gives a list, which has no one shape
            outputs.append(_observed(field, _array(answer, None)))
    return replace(draft, inputs=_optional(fitted, build, draft.inputs, row), outputs=tuple(outputs))


def _observed(field: Field, array: NDArray[Any]) -> Field:
    shape = (-1, *array.shape[1:])
    labels = field.labels if len(shape) == 1 or (field.labels and len(field.labels) == shape[1]) else None
    return replace(field, datatype=datatype_of(array.dtype), shape=shape, labels=labels)


def _optional(fitted: Any, build: Callable[[Inputs], Any], fields: tuple[Field, ...], row: Inputs) -> tuple[Field, ...]:
    """Mark the fields whose values may be missing: those without which the row is still predicted."""
    able = [field.name for field in fields if _can_miss(field)]
    predict = getattr(fitted, _output_names(fitted)[0])

    def predicts_without(names: list[str]) -> bool:
        try:
            predict(build({**row, **{name: _gap(row[name]) for name in names}}))
        except Exception:
            return False
        return True

    if not predicts_without(able):
        able = [name for name in able if len(able) <= _MANY_COLUMNS and predicts_without([name])]
    return tuple(replace(field, optional=field.name in able) for field in fields)


def _can_miss(field: Field) -> bool:
    return field.datatype.startswith("FP") or field.datatype == "BYTES" or field.frame_dtype is not None


def _gap(values: NDArray[Any]) -> NDArray[Any]:
    if values.dtype.kind == "f":
        return np.full(values.shape, math.nan, dtype=values.dtype)
    return np.full(values.shape, None, dtype=object)
