"""What people hold in their hands (frames, arrays, dicts, lists) as the request that fits it best.

Rows, and tables of up to a few hundred rows, travel as JSON that a person can read. Larger tables and arrays travel as
binary tensors of the Open Inference Protocol: half of the time and a third of the bytes at ten thousand rows. Where a
column is not plainly what the model takes, the table goes as JSON after all, so that the server says what is wrong.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from serinus.models.signature import Field, Signature
from serinus.serving.client.errors import ClientError
from serinus.serving.protocols.binary_tensors import encode
from serinus.serving.protocols.documents import dumps

__all__ = ["Columns", "Document", "Rows", "Tensors", "arrow_table", "is_large", "prepare", "to_document",
           "to_instances", "to_tensors"]

_MANY = 200
"""Rows from which binary tensors are worth the look at what the model takes."""
_MATRIX = "input"
_JSON = frozenset({str, int, float, bool, type(None)})


class Rows(NamedTuple):
    """One object for each row."""

    rows: list[Mapping[str, Any]]


class Columns(NamedTuple):
    """One array for each column; gaps in arrays of objects are None."""

    columns: dict[str, NDArray[Any]]
    rows: int


class Tensors(NamedTuple):
    """Arrays that the model takes as they are: by name, or one without a name."""

    tensors: dict[str | None, NDArray[Any]]

    @property
    def rows(self) -> int:
        """How many rows these are."""
        return next((len(array) for array in self.tensors.values() if array.ndim), 1)


class Document(NamedTuple):
    """A request's body, and the headers that belong to it."""

    body: bytes
    headers: dict[str, str]
    rows: int


def prepare(inputs: Any) -> Rows | Columns | Tensors:
    """Find out what the inputs are. Raises `ClientError` for what can be none."""
    if isinstance(inputs, Mapping):
        return _mapping(inputs)
    if _is_frame(inputs):
        return _frame(inputs)
    if isinstance(inputs, np.ndarray) or hasattr(inputs, "to_frame"):  # an array, or a Series of pandas or Polars
        return Tensors({None: np.asarray(inputs)})
    if (table := arrow_table(inputs)) is not None:
        return Columns({name: _arrow_column(table.column(name)) for name in table.column_names}, table.num_rows)
    if isinstance(inputs, list | tuple) and inputs and all(isinstance(row, Mapping) for row in inputs):
        return Rows([{str(name): _plain(value) for name, value in row.items()} for row in inputs])
    if isinstance(inputs, list | tuple):
        return Tensors({None: np.asarray(inputs)})
    raise ClientError(f"Inputs: expected a DataFrame, an array, a dict of columns or a list of rows, got "
                      f"{type(inputs).__name__}.")


def arrow_table(inputs: Any) -> Any:
    """A frame of Polars, Arrow or any library that speaks Arrow, as Arrow's table; None for anything else."""
    if not hasattr(inputs, "__arrow_c_stream__"):
        return None
    import pyarrow as pa

    return pa.table(inputs)


def is_large(inputs: Rows | Columns | Tensors) -> bool:
    """Whether it is worth the look at the model's signature."""
    return isinstance(inputs, Tensors) or (isinstance(inputs, Columns) and inputs.rows >= _MANY)


def to_document(inputs: Rows | Columns) -> Document:
    """The body of `POST /predict`."""
    if isinstance(inputs, Rows):
        return Document(dumps({"rows": inputs.rows}), {"content-type": "application/json"}, len(inputs.rows))
    columns = {name: array.tolist() if array.dtype.hasobject else np.ascontiguousarray(array)
               for name, array in inputs.columns.items()}
    return Document(dumps({"columns": columns}), {"content-type": "application/json"}, inputs.rows)


def to_instances(inputs: Rows | Columns | Tensors) -> list[Any]:
    """One value or object for each row, as KServe's V1 has them. Raises `ClientError` for several tensors."""
    if isinstance(inputs, Rows):
        return inputs.rows
    if isinstance(inputs, Tensors):
        if len(inputs.tensors) > 1:
            raise ClientError("Inputs: expected rows or columns, got several tensors.")
        name, array = next(iter(inputs.tensors.items()))
        return array.tolist() if name is None else [{name: value} for value in array.tolist()]
    columns = [array.tolist() for array in inputs.columns.values()]
    return [dict(zip(inputs.columns, row, strict=True)) for row in zip(*columns, strict=True)]


def to_tensors(inputs: Columns | Tensors, signature: Signature) -> Document | None:
    """The body of `POST /v2/models/NAME/infer`, its numbers as bytes; None for columns that are not plainly what the
    model takes. Raises `ClientError` for an array that cannot be brought to the model's inputs."""
    if isinstance(inputs, Columns):
        fields = {field.name: field for field in signature.inputs}
        if not inputs.columns.keys() <= fields.keys() or any(field.shape != (-1,) for field in fields.values()):
            return None
        arrays = [(fields[name], _fitting(array, fields[name])) for name, array in inputs.columns.items()]
        found = [(field, array) for field, array in arrays if array is not None]
        return _packed(found, inputs.rows) if len(found) == len(arrays) else None
    fitted = []
    for name, array in inputs.tensors.items():
        field = _field(name, array, signature)
        fitted.append((field, _cast(array, field)))
    return _packed(fitted, inputs.rows)


def _mapping(inputs: Mapping[Any, Any]) -> Rows | Columns | Tensors:
    values = {str(name): value for name, value in inputs.items()}
    many = {name: value for name, value in values.items() if _is_many(value)}
    if not many:
        return Rows([{name: _plain(value) for name, value in values.items()}])
    if len(many) < len(values):
        alone = next(name for name in values if name not in many)
        raise ClientError(f"Inputs: expected a dict of columns or of one row's values, got both: {alone!r} is a single "
                          "value, and others are lists.")
    arrays: dict[Any, NDArray[Any]] = {name: _column(value) for name, value in values.items()}
    if any(array.ndim != 1 for array in arrays.values()):
        return Tensors(arrays)
    lengths = {len(array) for array in arrays.values()}
    if len(lengths) > 1:
        raise ClientError("Inputs: expected columns of one length, got "
                          f"{', '.join(f'{name!r} of {len(array)}' for name, array in arrays.items())}.")
    return Columns(arrays, lengths.pop())


def _is_many(value: Any) -> bool:
    return not isinstance(value, str | bytes) and (isinstance(value, Sequence) or hasattr(value, "__array__")) and \
        np.ndim(value) > 0


def _is_frame(inputs: Any) -> bool:
    pandas = sys.modules.get("pandas")  # who holds a DataFrame has imported it
    return pandas is not None and isinstance(inputs, pandas.DataFrame)


def _frame(frame: Any) -> Columns:
    names = [str(name) for name in frame.columns]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ClientError(f"Inputs: the frame has two columns {twice!r}; names must differ.")
    return Columns({name: _series(frame.iloc[:, place]) for place, name in enumerate(names)}, len(frame))


def _series(column: Any) -> NDArray[Any]:
    """A pandas column: numbers as they are, gaps and everything else as objects, dates as ISO text."""
    gaps = column.isna()
    if isinstance(column.dtype, np.dtype) and column.dtype.kind in "biuf" and not gaps.any():
        array: NDArray[Any] = column.to_numpy()
        return array
    values = column.astype(object).tolist()
    return _objects([None if gap else value for value, gap in zip(_all_plain(values), gaps.tolist(), strict=True)])


def _arrow_column(column: Any) -> NDArray[Any]:
    array: NDArray[Any] | None = None if column.null_count else column.to_numpy()
    if array is not None and array.dtype.kind in "biuf":
        return array
    return _objects(_all_plain(column.to_pylist()))


def _column(value: Any) -> NDArray[Any]:
    if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
        return value
    plain = _all_plain(list(value))
    kinds = set(map(type, plain))
    return np.array(plain) if len(kinds) == 1 and kinds <= {int, float, bool, list} else _objects(plain)


def _all_plain(values: list[Any]) -> list[Any]:
    return values if set(map(type, values)) <= _JSON else [_plain(value) for value in values]


def _plain(value: Any) -> Any:
    """A value as JSON has it: numpy's and pandas' own become Python's, dates ISO text, gaps None."""
    if type(value) in _JSON:
        return value
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, np.generic) and value.dtype.kind not in "mM":
        return value.item()
    if hasattr(value, "isoformat"):
        text = value.isoformat()
        return None if text == "NaT" else text
    if isinstance(value, np.datetime64):
        return None if np.isnat(value) else str(value)
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, str | int | float):
        return value
    if isinstance(value, Decimal):
        return float(value)
    if type(value).__name__ in ("NAType", "NaTType"):
        return None
    raise ClientError(f"Inputs: expected numbers, text, booleans, dates or lists of them, got {type(value).__name__}.")


def _field(name: str | None, array: NDArray[Any], signature: Signature) -> Field:
    """The input that an array is meant for. Raises `ClientError` where that is not clear."""
    fields = {field.name: field for field in signature.inputs}
    if name is not None and name in fields:
        return fields[name]
    if name is None and len(fields) == 1:
        return next(iter(fields.values()))
    wanted = ", ".join(fields)
    if name is not None:
        raise ClientError(f"Inputs: the model takes {wanted}, got {name!r}.")
    if array.ndim != 2 or array.shape[1] != len(fields) or array.dtype.kind not in "biuf":
        raise ClientError(f"Inputs: the model takes {len(fields)} columns ({wanted}), got an array of {array.dtype} "
                          f"and shape {list(array.shape)}. Send numbers as [rows, {len(fields)}], or columns by name.")
    return Field(_MATRIX, "FP64", (-1, len(fields)))


def _fitting(array: NDArray[Any], field: Field) -> NDArray[Any] | None:
    """A column in the field's type where that changes no value, or as objects for JSON; None where it does not fit."""
    if array.dtype.hasobject or field.datatype == "BYTES":
        return array if array.dtype.hasobject else None
    if (array.dtype == np.bool_) != (field.dtype == np.bool_):
        return None
    if array.dtype.kind == "f" and field.dtype.kind in "iu":
        return None
    with np.errstate(all="ignore"):
        cast = array.astype(field.dtype)
        if array.dtype.kind == "f":  # fewer digits are what the model takes anyway, an infinity is not
            same = bool((np.isfinite(cast) == np.isfinite(array)).all())
        else:
            same = bool((cast.astype(array.dtype) == array).all())
    return cast if same else None


def _cast(array: NDArray[Any], field: Field) -> NDArray[Any]:
    if field.datatype == "BYTES" or array.dtype.kind in "OUS":
        return array.astype(object)
    cast = _fitting(array, field)
    if cast is None:
        raise ClientError(f"Inputs: {field.name!r} takes {field.datatype}, and an array of {array.dtype} cannot become "
                          "that without a change of its values.")
    return cast


def _packed(arrays: Sequence[tuple[Field, NDArray[Any]]], rows: int) -> Document:
    inputs, tails = [], []
    for field, array in arrays:
        tensor: dict[str, Any] = {"name": field.name, "shape": list(array.shape), "datatype": field.datatype}
        if array.dtype.hasobject:
            tensor["data"] = array.ravel().tolist()
        else:
            tails.append(encode(np.ascontiguousarray(array)))
            tensor["parameters"] = {"binary_data_size": len(tails[-1])}
        inputs.append(tensor)
    document = dumps({"inputs": inputs, "parameters": {"binary_data_output": True}})
    headers = {"content-type": "application/octet-stream", "inference-header-content-length": str(len(document))}
    return Document(b"".join((document, *tails)), headers, rows)


def _objects(values: list[Any]) -> NDArray[Any]:
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array
