"""What an estimator takes: its fields, rows of its domain to try them with, and how a request becomes its rows."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from serinus.models.errors import InvalidInput, InvalidSignature, UnsupportedArtifact
from serinus.models.estimator_structure import categories_by_column, first_step, is_a
from serinus.models.frame import MANY_CATEGORIES, MATRIX, FrameBuilder, arrays_of, column_field, restored_objects
from serinus.models.signature import Field, Label, datatype_of

__all__ = ["TRIAL_ROWS", "Guess", "Inputs", "guesses", "has_gaps", "refuse_if_unservable", "row_builder"]

TRIAL_ROWS = 2
"""Two, since with one row some estimators drop a dimension."""

_MANY_REFERENCE_ROWS = 5
"""So many rows of a reference are tried before it is called the wrong one."""

Inputs = Mapping[str, NDArray[Any]]

_METHODS = ("predict", "predict_proba", "transform", "score_samples", "decision_function")

_REFUSED = {
    "FeatureHasher": "takes dicts or lists of any names, so no fields can be told; train with DictVectorizer or "
    "OneHotEncoder, or send texts to a HashingVectorizer",
    "MultiLabelBinarizer": "encodes sets of labels, which are targets, not rows; serve the classifier instead",
    "PatchExtractor": "takes images and gives many patches for each, not one answer per row",
}
"""scikit-learn classes that have `transform` and yet cannot be served, and why."""


@dataclass(frozen=True)
class Guess:
    """Input fields, and rows to try them with."""

    fields: tuple[Field, ...]
    rows: dict[str, NDArray[Any]]


def refuse_if_unservable(fitted: Any) -> None:
    """Raise UnsupportedArtifact, by name and with the reason, for estimators that cannot answer for new rows."""
    name, first = type(fitted).__name__, first_step(fitted)
    if not any(hasattr(fitted, method) for method in _METHODS):
        only = ", ".join(method for method in ("fit_predict", "fit_transform", "kneighbors") if hasattr(fitted, method))
        raise UnsupportedArtifact(
            f"{name} has neither predict nor transform{f' (only {only})' if only else ''}, "
            "so it cannot answer for new rows."
        )
    for refused, why in _REFUSED.items():
        if is_a(first, refused):
            raise UnsupportedArtifact(f"{refused} cannot be served: it {why}.")
    if hasattr(first, "build_analyzer") and getattr(first, "input", "content") != "content":
        raise UnsupportedArtifact(
            f"{type(first).__name__}(input={first.input!r}) opens the files that callers name, which is not safe to "
            "serve; train it with input='content'."
        )


# How a request becomes rows


def row_builder(fitted: Any, fields: Sequence[Field]) -> Callable[[Inputs], Any]:
    """Choose what the estimator is called with: its frame, a matrix, a column, dicts, or a list of texts."""
    first = first_step(fitted)
    if is_a(first, "DictVectorizer"):
        return _dicts_of(FrameBuilder(fields), fields)
    if len(fields) == 1 and _takes_column(first):
        return _column_of(fields[0])
    if len(fields) == 1 and fields[0].name == MATRIX and not hasattr(fitted, "feature_names_in_"):
        return _column_of(fields[0]) if len(fields[0].shape) == 1 else _matrix_of(fields[0])
    builder = FrameBuilder(fields)
    if hasattr(fitted, "feature_names_in_") or not hasattr(fitted, "n_features_in_"):
        return builder.build
    # Trained on a bare array: a frame would only earn a warning per call.
    return lambda inputs: builder.build(inputs).to_numpy()


def _takes_column(first: Any) -> bool:
    return hasattr(first, "build_analyzer") or is_a(first, "IsotonicRegression", "LabelEncoder", "LabelBinarizer")


def _column_of(field: Field) -> Callable[[Inputs], NDArray[Any]]:
    name, dtype = field.name, field.dtype

    def column(inputs: Inputs) -> NDArray[Any]:
        if name not in inputs:
            raise InvalidInput(f"The required input {name!r} is missing; send it.")
        return _converted(inputs[name], dtype, name).reshape(-1)

    return column


def _matrix_of(field: Field) -> Callable[[Inputs], NDArray[Any]]:
    width, dtype, kind = field.shape[1], field.dtype, field.frame_dtype

    def matrix(inputs: Inputs) -> NDArray[Any]:
        values = inputs.get(MATRIX)
        if values is None or values.ndim != 2 or (values.shape[1] != width and width != -1):
            got = "nothing" if values is None else f"shape {list(values.shape)}"
            raise InvalidInput(f"Input {MATRIX!r}: wanted a matrix of shape {[-1, width]}, got {got}.")
        try:
            return np.asarray(values, dtype=dtype)
        except (ValueError, TypeError):
            return _converted(values, dtype, MATRIX)  # says what is wrong

    if not dtype.hasobject:
        return matrix
    missing = None if kind == "object[None]" else math.nan
    return lambda inputs: restored_objects(matrix(inputs), missing)


def _converted(values: NDArray[Any], dtype: np.dtype[Any], name: str) -> NDArray[Any]:
    try:
        return np.asarray(values, dtype=dtype)
    except (ValueError, TypeError) as error:
        raise InvalidInput(f"Input {name!r}: the {values.dtype} array cannot be read as {dtype}: {error}.") from error


def _dicts_of(builder: FrameBuilder, fields: Sequence[Field]) -> Callable[[Inputs], list[dict[str, Any]]]:
    names = [field.name for field in fields]

    def dicts(inputs: Inputs) -> list[dict[str, Any]]:
        frame = builder.build(inputs)
        rows = zip(*(frame[name].tolist() for name in names), strict=True)
        return [
            {name: value for name, value in zip(names, row, strict=True) if not _is_missing(value)} for row in rows
        ]

    return dicts


def has_gaps(array: NDArray[Any]) -> bool:
    """Tell whether values are missing, or not finite."""
    if array.dtype.kind == "f":
        return not bool(np.isfinite(array).all())
    return array.dtype.hasobject and any(_is_missing(value) for value in array.ravel().tolist())


# What fields there are, and rows of the domain


def guesses(fitted: Any, reference: pd.DataFrame | None) -> Iterator[Guess]:
    """Give the likely input fields with rows to try them, likeliest first.

    A reference gives the fields; without one, what the estimator and the encoders inside it learned. Numbers whose
    precision nobody knows are FP64 (FP32 where all that was learned is float32), else the other, else text.

    Raises:
        InvalidSignature: the reference does not fit the estimator.
    """
    if reference is not None:
        yield from _referenced(fitted, reference)
        return
    first = first_step(fitted)
    if hasattr(first, "build_analyzer"):
        yield Guess((Field(MATRIX, "BYTES", (-1,)),), {MATRIX: _repeated("text", object)})
    elif is_a(first, "DictVectorizer"):
        yield _dict_guess(first)
    elif _takes_column(first):
        yield _column_guess(first)
    elif hasattr(fitted, "feature_names_in_"):
        yield from _columns([str(name) for name in fitted.feature_names_in_], fitted)
    else:
        yield from _unnamed(fitted)


def _referenced(fitted: Any, reference: pd.DataFrame) -> Iterator[Guess]:
    if len(reference) == 0:
        raise InvalidSignature("The reference has no rows; give rows like those the model was trained with.")
    names = _column_names(fitted, reference)
    if names is None:
        yield from _unnamed_reference(fitted, reference)
        return
    known = dict(categories_by_column(fitted, list(range(len(names)))))
    for places in _needed(fitted, len(names)):
        wanted = [names[place] for place in places]
        missing = [name for name in wanted if name not in reference.columns]
        if missing:
            raise InvalidSignature(
                f"The reference lacks the columns {', '.join(missing)} that the model was trained with."
            )
        fields = tuple(_with_labels(column_field(names[i], reference[names[i]]), known.get(i)) for i in places)
        for rows in _complete_rows(reference[wanted]):
            yield Guess(fields, arrays_of(rows, fields))


def _needed(fitted: Any, width: int) -> list[list[int]]:
    """Give the places of the columns that a ColumnTransformer at the front does not drop, then all of them.

    What is dropped need not be sent, and without a reference nobody could tell its type.
    """
    places = list(range(width))
    first = first_step(fitted)
    indices = getattr(first, "_transformer_to_input_indices", None)
    if indices is None or not hasattr(fitted, "feature_names_in_"):
        return [places]
    dropped = {name for name, step, _ in first.transformers_ if isinstance(step, str) and step == "drop"}
    used = sorted({int(place) for name, taken in indices.items() if name not in dropped for place in taken})
    return [used, places] if used and used != places else [places]


def _column_names(fitted: Any, reference: pd.DataFrame) -> list[str] | None:
    if hasattr(fitted, "feature_names_in_"):
        return [str(name) for name in fitted.feature_names_in_]
    if not all(isinstance(name, str) for name in reference.columns):
        return None
    width = 1 if _takes_column(first_step(fitted)) else getattr(fitted, "n_features_in_", len(reference.columns))
    if width != len(reference.columns):
        raise InvalidSignature(
            f"The model was trained with {width} columns and the reference has {len(reference.columns)}; "
            "give the same columns, and name the target."
        )
    return list(reference.columns)


def _complete_rows(reference: pd.DataFrame) -> Iterator[pd.DataFrame]:
    complete = reference[~reference.isna().any(axis=1)]
    for place in range(min(_MANY_REFERENCE_ROWS, len(complete))):
        yield complete.iloc[[place] * TRIAL_ROWS]
    if not len(complete):
        yield reference.iloc[[0] * TRIAL_ROWS]


def _unnamed_reference(fitted: Any, reference: pd.DataFrame) -> Iterator[Guess]:
    dtypes = {_matrix_datatype(column_field(str(name), column)) for name, column in reference.items()}
    width = getattr(fitted, "n_features_in_", reference.shape[1])
    if width != reference.shape[1]:
        raise InvalidSignature(f"The model was trained with {width} columns and the reference has {len(dtypes)}.")
    column = _takes_column(first_step(fitted))
    if len(dtypes) > 1 and "BYTES" in dtypes:
        named = reference.set_axis([f"x{place}" for place in range(width)], axis=1)
        fields = tuple(column_field(name, named[name]) for name in named.columns)
        for rows in _complete_rows(named):
            yield Guess(fields, arrays_of(rows, fields))
        return
    datatype = datatype_of(np.result_type(*reference.dtypes)) if "BYTES" not in dtypes else "BYTES"
    kind = column_field("", reference.iloc[:, 0].astype(object)).frame_dtype if datatype == "BYTES" else None
    field = Field(MATRIX, datatype, (-1,) if column else (-1, width), frame_dtype=None if column else kind)
    for rows in _complete_rows(reference):
        matrix = rows.to_numpy(dtype=field.dtype)
        yield Guess((field,), {MATRIX: matrix.reshape(-1) if column else matrix})


def _matrix_datatype(field: Field) -> str:
    return "BYTES" if field.datatype == "BYTES" else "number"


def _dict_guess(vectorizer: Any) -> Guess:
    """Give a field per name that the vectorizer saw: text where it learned `name=value`, else a number."""
    texts: dict[str, list[Label]] = {}
    numbers = []
    for feature in vectorizer.feature_names_:
        name, separator, value = str(feature).partition(vectorizer.separator)
        if separator:
            texts.setdefault(name, []).append(value)
        else:
            numbers.append(name)
    both = sorted(set(texts) & set(numbers))
    if both:
        raise UnsupportedArtifact(
            f"DictVectorizer was trained with both text and numbers as {', '.join(both)}; give each name one type."
        )
    text_fields = [Field(name, "BYTES", (-1,), True, labels=_few(values)) for name, values in texts.items()]
    fields = tuple(text_fields + [Field(name, "FP64", (-1,), True) for name in numbers])
    rows = {field.name: _repeated(field.labels[0] if field.labels else 0.0, field.dtype) for field in fields}
    return Guess(fields, rows)


def _column_guess(first: Any) -> Guess:
    """Give the one column of an isotonic regression or a label encoder."""
    if is_a(first, "IsotonicRegression"):
        return Guess((Field(MATRIX, "FP64", (-1,)),), {MATRIX: _repeated(first.X_min_, np.float64)})
    classes = np.asarray(first.classes_)
    field = _with_labels(Field(MATRIX, datatype_of(classes.dtype), (-1,)), classes)
    return Guess((field,), {MATRIX: _repeated(classes[0], field.dtype)})


def _columns(names: list[str], fitted: Any) -> Iterator[Guess]:
    """Describe columns by what encoders learned of them; the others are numbers, else text."""
    known = dict(categories_by_column(fitted, list(range(len(names)))))
    learned = [_learned_field(name, known.get(place)) for place, name in enumerate(names)]
    domain = [row.tolist() for row in _domain_rows(fitted, len(names))]
    for places in _needed(fitted, len(names)):
        for datatype, numbers in [*product(_precisions(fitted), domain), ("BYTES", None)]:
            fields = {i: learned[i] if i in known else replace(learned[i], datatype=datatype) for i in places}
            rows = {
                field.name: _repeated(_example(field, known.get(place), numbers and numbers[place]), field.dtype)
                for place, field in fields.items()
            }
            yield Guess(tuple(fields.values()), rows)


_OBJECTS = {"integer": "INT64", "boolean": "BOOL"}
"""Datatype of categories that are objects, by what pandas says of them; other numbers are FP64."""


def _learned_field(name: str, categories: NDArray[Any] | None) -> Field:
    if categories is None:
        return Field(name, "FP64", (-1,))
    kind = pd.api.types.infer_dtype(categories, skipna=True)
    if kind in ("integer", "floating", "boolean", "mixed-integer-float"):
        datatype = datatype_of(categories.dtype) if categories.dtype.kind != "O" else _OBJECTS.get(kind, "FP64")
        return _with_labels(Field(name, datatype, (-1,)), categories)
    missing = "object[None]" if None in categories.tolist() else "object"
    return _with_labels(Field(name, "BYTES", (-1,), frame_dtype=missing), categories)


def _with_labels(field: Field, categories: NDArray[Any] | None) -> Field:
    if categories is None or field.labels is not None:
        return field
    return replace(field, labels=_few([value for value in categories.tolist() if not _is_missing(value)]))


def _few(values: list[Label]) -> tuple[Label, ...] | None:
    return tuple(values) if 0 < len(values) <= MANY_CATEGORIES and values != [""] else None


def _example(field: Field, categories: NDArray[Any] | None, number: float | None) -> Any:
    present = [] if categories is None else [value for value in categories.tolist() if not _is_missing(value)]
    return present[0] if present else "" if field.datatype == "BYTES" else number or 0


def _unnamed(fitted: Any) -> Iterator[Guess]:
    """Give one matrix, or where encoders learned text for some columns only, a column each."""
    width = getattr(fitted, "n_features_in_", -1)
    known = dict(categories_by_column(fitted, list(range(max(width, 0)))))
    learned = [_learned_field(f"x{place}", known.get(place)) for place in range(max(width, 0))]
    texts = [field for field in learned if field.datatype == "BYTES"]
    if texts and len(texts) < width:
        yield from _columns([field.name for field in learned], fitted)
        return
    if texts:
        yield _text_matrix(learned, known)
        return
    for datatype, values in product(_precisions(fitted), _domain_rows(fitted, max(width, 1), known)):
        field = Field(MATRIX, datatype, (-1, width))
        yield Guess((field,), {MATRIX: np.tile(np.asarray(values, dtype=field.dtype), (TRIAL_ROWS, 1))})
    yield Guess((Field(MATRIX, "BYTES", (-1,)),), {MATRIX: _repeated("text", object)})
    row = np.full((TRIAL_ROWS, max(width, 1)), "", dtype=object)
    yield Guess((Field(MATRIX, "BYTES", (-1, width), frame_dtype="object"),), {MATRIX: row})


def _precisions(fitted: Any) -> tuple[str, str]:
    """Give the likelier datatype of numbers first: an estimator that learned float32 throughout was trained on it."""
    learned = [
        value.dtype.itemsize
        for name, value in vars(first_step(fitted)).items()
        if name.endswith("_") and isinstance(value, np.ndarray) and value.dtype.kind == "f"
    ]
    return ("FP32", "FP64") if learned and max(learned) == 4 else ("FP64", "FP32")


def _text_matrix(columns: list[Field], known: Mapping[int, NDArray[Any]]) -> Guess:
    missing = "object[None]" if any(field.frame_dtype == "object[None]" for field in columns) else "object"
    row = [_example(field, known.get(place), None) for place, field in enumerate(columns)]
    field = Field(MATRIX, "BYTES", (-1, len(columns)), frame_dtype=missing)
    return Guess((field,), {MATRIX: np.array([row] * TRIAL_ROWS, dtype=object)})


_FACTS = ("_fit_X", "X_train_", "X_fit_", "X_", "support_vectors_", "cluster_centers_", "subcluster_centers_",
          "means_", "theta_", "statistics_", "mean_", "center_", "location_", "data_min_", "data_range_")  # fmt: skip
"""Where estimators keep training rows, or values between them."""


def _domain_rows(
    fitted: Any, width: int, known: Mapping[int, NDArray[Any]] | None = None
) -> Iterator[NDArray[np.float64]]:
    """Give rows that may lie in the domain: zeros, then what the estimator itself has seen, then positive ones."""
    yield _with_categories(np.zeros(width), known)
    first = first_step(fitted)
    for name in _FACTS:
        row = _fact(getattr(first, name, None), width)
        if row is not None:
            yield _with_categories(row, known)
    for value in (1.0, 0.5):
        yield _with_categories(np.full(width, value), known)


def _with_categories(row: NDArray[np.float64], known: Mapping[int, NDArray[Any]] | None) -> NDArray[np.float64]:
    for place, categories in (known or {}).items():
        present = [value for value in categories.tolist() if not _is_missing(value)]
        row[place] = present[0] if present else row[place]
    return row


def _fact(values: Any, width: int) -> NDArray[np.float64] | None:
    if hasattr(values, "toarray") and values.shape[1:] == (width,) and values.shape[0]:
        values = values[[0]].toarray()
    if not isinstance(values, np.ndarray) or values.dtype.kind not in "fiu" or values.shape[-1:] != (width,):
        return None
    row = values.reshape(-1, width)[:1].ravel().astype(np.float64)
    return row if len(row) and np.isfinite(row).all() else None


def _repeated(value: Any, dtype: Any) -> NDArray[Any]:
    array = np.empty(TRIAL_ROWS, dtype=dtype)
    array[:] = value
    return array


def _is_missing(value: Any) -> bool:
    return value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value))
