"""What an estimator answers: its methods' results as arrays of the signature's datatypes.

A method's result is one output of its name. Where no single tensor can hold it, it comes in parts: a list with an array
per target (several targets' `predict_proba`), or columns of different kinds (text beside numbers). Parts are outputs
`METHOD_0`, `METHOD_1`, …, or `METHOD_COLUMN` where the columns have names.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from serinus.models.errors import InvalidSignature, UnsupportedArtifact
from serinus.models.signature import Field, Label, datatype_of

__all__ = ["DEFAULT", "ON_REQUEST", "Converter", "Part", "converter_of", "item", "observed", "parts_of"]

DEFAULT = ("predict", "predict_proba")
"""The methods whose answers are given without being asked for."""

ON_REQUEST = ("decision_function", "score_samples", "predict_log_proba", "transform")

_KINDS = {"string": "BYTES", "bytes": "BYTES", "boolean": "BOOL", "floating": "FP64", "mixed-integer-float": "FP64"}
"""Datatype of an object column by what pandas says of it; integers: see `_object_datatype`."""

Converter = Callable[[Any], NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Part:
    """Where an output comes from if not from a method of its name.

    Attributes:
        method: the estimator's method.
        index: which item of its list, or column of its matrix.
    """

    method: str
    index: int


def item(answer: Any, index: int) -> Any:
    """Give one part of a method's answer: a target's array, or a column."""
    if isinstance(answer, list | tuple):
        return answer[index]
    return answer.iloc[:, index] if hasattr(answer, "iloc") else np.asarray(_dense(answer))[:, index]


def _dense(answer: Any) -> Any:
    return answer.toarray() if hasattr(answer, "toarray") else answer


def converter_of(field: Field | None) -> Converter:
    """Choose how a method's answer becomes the output's array; without a field its own dtype decides."""
    if field is None:
        return _undeclared
    if field.datatype == "BYTES":
        plain = field.labels is not None and all(isinstance(label, str) for label in field.labels)
        return _class_names if plain else _texts
    dtype, dimensions, shape = field.dtype, len(field.shape), field.shape

    def numbers(answer: Any) -> NDArray[Any]:
        array = np.asarray(answer.toarray() if hasattr(answer, "toarray") else answer, dtype=dtype)
        return array if array.ndim == dimensions else _reshaped(array, shape)

    return numbers


def _reshaped(array: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """Mend what means the same: some estimators drop the dimension of a single row, some answer `[k, 1]` for `[k]`."""
    if not shape:
        return array
    if array.ndim > len(shape) and array.size != len(array):
        raise ValueError(f"an answer of shape {list(array.shape)}, where {list(shape)} was promised")
    return array.reshape(shape)


def _undeclared(answer: Any) -> NDArray[Any]:
    array = np.asarray(_dense(answer))
    if array.dtype.kind in "cMmV":
        raise InvalidSignature(f"An answer of {array.dtype} cannot be served; ask for another output.")
    return _texts(array) if array.dtype.kind in "OSUT" else array


def _class_names(answer: Any) -> NDArray[Any]:
    array = np.asarray(_dense(answer))
    return array.astype(object) if array.dtype.kind in "UT" else _texts(array) if array.dtype.kind == "S" else array


def _texts(answer: Any) -> NDArray[Any]:
    array = np.asarray(_dense(answer))
    texts = np.empty(array.size, dtype=object)
    texts[:] = [_text(value) for value in array.ravel().tolist()]
    return texts.reshape(array.shape)


def _text(value: Any) -> str | None:
    if isinstance(value, str):
        return str(value)
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return None if value is None or value is pd.NA or value != value else str(value)


def observed(fitted: Any, method: str, answer: Any, rows: int) -> list[Field]:
    """Describe what a method answered for some rows: one output, or one per part.

    Raises:
        InvalidSignature: an output's dtype cannot be carried.
        UnsupportedArtifact: the answer is not one per row.
    """
    labels = _labels_of(fitted) if method in DEFAULT else None
    if _is_list_of_targets(answer, rows):
        each = labels if isinstance(labels, list) and len(labels) == len(answer) else [None] * len(answer)
        arrays = [np.asarray(_dense(target)) for target in answer]
        return [_field(f"{method}_{place}", array, rows, each[place]) for place, array in enumerate(arrays)]
    array = np.asarray(_dense(answer))
    whole = labels if isinstance(labels, tuple) else None
    if array.ndim == 2 and array.dtype == object and len(set(_datatypes(method, array))) > 1:
        names = _part_names(fitted, method, answer, array.shape[1])
        each = labels if isinstance(labels, list) and len(labels) == len(names) else [None] * len(names)
        return [_field(name, array[:, place], rows, each[place]) for place, name in enumerate(names)]
    return [_field(method, array, rows, whole)]


def _is_list_of_targets(answer: Any, rows: int) -> bool:
    if not isinstance(answer, list | tuple) or not answer:
        return False
    least = 1 if isinstance(answer, tuple) else 2  # a list of 1-d arrays is a list of rows
    return all(hasattr(item, "shape") and len(item.shape) >= least and item.shape[0] == rows for item in answer)


def _part_names(fitted: Any, method: str, answer: Any, width: int) -> list[str]:
    columns = list(answer.columns) if hasattr(answer, "columns") else None
    if columns is None and method == "transform":
        try:
            columns = list(fitted.get_feature_names_out())
        except Exception:
            columns = None
    if columns is None or len(columns) != width or len(set(map(str, columns))) != width:
        columns = list(range(width))
    return [f"{method}_{column}" for column in columns]


def _field(name: str, array: NDArray[Any], rows: int, labels: tuple[Label, ...] | None) -> Field:
    if array.ndim == 0 or array.shape[0] != rows:
        raise UnsupportedArtifact(
            f"Output {name!r} has shape {list(array.shape)} for {rows} rows, so it cannot be served: an estimator "
            "must answer once per row."
        )
    shape = (-1, *array.shape[1:])
    fits = labels is not None and (len(shape) == 1 or (name != "predict" and shape[1:] == (len(labels),)))
    return Field(name, _datatype(name, array), shape, labels=labels if fits else None)


def _datatype(name: str, array: NDArray[Any]) -> str:
    if array.dtype == object:
        kinds = set(_datatypes(name, array.reshape(len(array), -1)))
        return kinds.pop() if len(kinds) == 1 else "BYTES"
    try:
        return datatype_of(array.dtype)
    except InvalidSignature as error:
        raise _uncarried(name, str(array.dtype)) from error


def _datatypes(name: str, matrix: NDArray[Any]) -> list[str]:
    return [_object_datatype(name, matrix[:, place]) for place in range(matrix.shape[1])]


def _object_datatype(name: str, column: NDArray[Any]) -> str:
    kind = pd.api.types.infer_dtype(column, skipna=True)
    if kind == "integer":  # a transformer may leave gaps among them
        return "INT64" if name.startswith("predict") else "FP64"
    if kind == "empty":
        return "FP64" if any(isinstance(value, float) for value in column) else "BYTES"
    if kind not in _KINDS:
        raise _uncarried(name, f"objects of kind {kind}")
    return _KINDS[kind]


def _uncarried(name: str, what: str) -> InvalidSignature:
    return InvalidSignature(
        f"Output {name!r} holds {what}, which no datatype of the Open Inference Protocol can carry; "
        "end the pipeline with a step that gives numbers, booleans or strings."
    )


def _labels_of(fitted: Any) -> tuple[Label, ...] | list[tuple[Label, ...] | None] | None:
    """Give the class labels: one tuple, or a list with one per target; None where there are none to give."""
    classes = getattr(fitted, "classes_", None)
    if isinstance(classes, list) and all(isinstance(each, np.ndarray) for each in classes):
        return [_labels(each) for each in classes]
    if classes is None and _is_outlier_detector(fitted):
        return (-1, 1)
    return _labels(classes)


def _is_outlier_detector(fitted: Any) -> bool:
    from sklearn.base import is_outlier_detector

    try:
        return bool(is_outlier_detector(fitted))
    except Exception:  # an estimator that is not derived from scikit-learn's may have no tags
        return False


def _labels(classes: Any) -> tuple[Label, ...] | None:
    if not isinstance(classes, np.ndarray | pd.Index) or classes.ndim != 1:
        return None
    labels = tuple(label.decode(errors="replace") if isinstance(label, bytes) else label for label in classes.tolist())
    return labels if all(_is_label(label) for label in labels) else None


def _is_label(label: Any) -> bool:
    return isinstance(label, str | int) or (isinstance(label, float) and math.isfinite(label))


def parts_of(methods: Mapping[str, Any], outputs: Sequence[str]) -> dict[str, Part]:
    """Tell which of a signature's outputs are parts of which method's answer, and of what else that holds.

    `predict_log_proba` comes in the same parts as `predict_proba`.
    """
    parts: dict[str, Part] = {}
    counts: dict[str, int] = {}
    for name in outputs:
        owners = [method for method in methods if name not in methods and name.startswith(f"{method}_")]
        if owners:
            method = max(owners, key=len)
            parts[name] = Part(method, counts.setdefault(method, 0))
            counts[method] += 1
    if "predict_log_proba" in methods:
        for name, part in list(parts.items()):
            if part.method == "predict_proba":
                log = name.replace("predict_proba_", "predict_log_proba_", 1)
                parts[log] = Part("predict_log_proba", part.index)
    return parts
