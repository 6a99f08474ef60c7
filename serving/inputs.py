"""From parsed JSON values to arrays of the types that the signature names, refusing what would change meaning.

A string never becomes a number, a fraction never an integer, `true` never 1.0 by itself; integers widen, integers
become floats, and null is accepted where the field is optional.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serinus.models.signature import Field, Signature
from serinus.serving.errors import InvalidInput, RequestTooLarge, Violation
from serinus.serving.request import InferenceRequest

__all__ = ["fit", "to_array", "validate"]

# For each kind of wanted type: the kinds of JSON values that may stand for it.
_ACCEPTED = {"f": "fiu", "i": "iu", "u": "iu", "b": "b"}
_MANY_NAMES = 8


def to_array(values: Any, field: Field, path: str) -> NDArray[Any]:
    """`values` (a list, nested or flat, or one number) as an array of the field's type.

    `path` says where in the request they stand. Raises `InvalidInput` naming the first value that does not fit.
    """
    if field.datatype == "BYTES":
        return _text_array(values, field, path)
    try:
        array = np.array(values)
    except (ValueError, OverflowError):
        raise _invalid(field, path, "values of one shape", "rows of unequal length") from None
    wanted = field.dtype
    kind = array.dtype.kind
    if kind not in _ACCEPTED[wanted.kind]:
        array = _mend(array, values, field, path)
    elif wanted.kind in "iu" and array.dtype != wanted:
        _check_range(array, field, path)
    return array.astype(wanted, copy=False)


def fit(array: NDArray[Any], field: Field, path: str) -> NDArray[Any]:
    """`array` in the field's shape; `[k]` and `[k, 1]` are alike for a column."""
    shape, wanted = array.shape, field.shape
    if len(shape) == len(wanted):
        if shape == wanted or all(w in (-1, s) for w, s in zip(wanted, shape, strict=True)):
            return array
    elif len(wanted) == 1 and len(shape) == 2 and shape[1] == 1:
        return array.reshape(-1)
    elif len(wanted) == 2 and wanted[1] == 1 and len(shape) == 1:
        return array.reshape(-1, 1)
    raise _invalid(field, path, f"shape {list(wanted)}", f"shape {list(shape)}", "shape_mismatch")


def validate(request: InferenceRequest, signature: Signature, max_rows: int) -> InferenceRequest:
    """The request with its inputs in the signature's order; refuses missing, unknown and uneven ones."""
    inputs = request.inputs
    fields = signature.inputs
    if len(inputs) != len(fields) or any(field.name not in inputs for field in fields):
        inputs = _complete(inputs, signature)
    if request.rows > max_rows:
        raise RequestTooLarge(f"The request has {request.rows} rows, the limit is {max_rows}. Send fewer at a time.")
    if len(inputs) > 1:
        _check_even(inputs, signature)
        inputs = {field.name: inputs[field.name] for field in fields if field.name in inputs}
    if inputs is not request.inputs:
        request = request._replace(inputs=inputs)
    return request


def rows_of(array: NDArray[Any], field: Field) -> int:
    """How many rows an input holds: its first dimension where that is variable, else one."""
    return array.shape[0] if field.shape and field.shape[0] == -1 else 1


def _text_array(values: Any, field: Field, path: str) -> NDArray[Any]:
    flat = list(_leaves(values))
    for index, value in enumerate(flat):
        if not isinstance(value, str) and (value is not None or not field.optional):
            raise _invalid(field, f"{path}[{index}]", "a string", _say(value))
    array = np.empty(len(flat), dtype=object)
    array[:] = flat
    try:
        return array.reshape(_shape(values))
    except ValueError:
        raise _invalid(field, path, "values of one shape", "rows of unequal length") from None


def _mend(array: NDArray[Any], values: Any, field: Field, path: str) -> NDArray[Any]:
    """Nulls become NaN where they may; anything else is refused by name."""
    if array.size == 0:  # an empty list has no kind
        return array
    for index, value in enumerate(_leaves(values)):
        missing = value is None and field.optional and field.dtype.kind == "f"
        if not missing and not _is_a(value, field.dtype.kind):
            raise _invalid(field, f"{path}[{index}]", field.datatype, _say(value))
    if array.dtype.kind == "O":
        return array.astype(np.float64 if field.dtype.kind == "f" else field.dtype)
    return array


def _is_a(value: Any, kind: str) -> bool:
    if isinstance(value, bool):
        return kind == "b"
    if isinstance(value, int):
        return kind in "fiu" and -(1 << 63) <= value < 1 << 64
    return isinstance(value, float) and kind == "f"


def _check_range(array: NDArray[Any], field: Field, path: str) -> None:
    limits = np.iinfo(field.dtype)
    if array.size and (int(array.min()) < limits.min or int(array.max()) > limits.max):
        got = int(array.min()) if int(array.min()) < limits.min else int(array.max())
        raise _invalid(field, path, f"{field.datatype} from {limits.min} to {limits.max}", str(got), "out_of_range")


def _complete(inputs: Mapping[str, NDArray[Any]], signature: Signature) -> Mapping[str, NDArray[Any]]:
    fields = signature.inputs
    if len(inputs) == 1 and "input" in inputs and "input" not in {field.name for field in fields}:
        return _split_matrix(inputs["input"], signature)
    known = {field.name for field in fields}
    unknown = [name for name in inputs if name not in known]
    missing = [field.name for field in fields if field.name not in inputs and not field.optional]
    if missing:
        raise InvalidInput(f"Input {_names(missing)} missing: the model wants {_names([f.name for f in fields])}, "
                           f"got {_names(list(inputs)) if inputs else 'none'}. Send every input by its name.",
                           tuple(Violation(f"$.{name}", "missing_field", "present", "absent") for name in missing))
    if unknown:
        raise InvalidInput(f"Input {_names(unknown)} unknown: the model wants {_names([f.name for f in fields])}. "
                           "Leave it out or correct its name.",
                           tuple(Violation(f"$.{name}", "unexpected_field", "absent", "present") for name in unknown))
    return inputs


def _split_matrix(matrix: NDArray[Any], signature: Signature) -> Mapping[str, NDArray[Any]]:
    fields = signature.inputs
    if matrix.ndim != 2 or matrix.shape[1] != len(fields) or any(field.datatype == "BYTES" for field in fields):
        raise InvalidInput(f"Input 'input' has shape {list(matrix.shape)}: expected one input per column "
                           f"({_names([f.name for f in fields])}), or for purely numeric columns one matrix "
                           f"[-1, {len(fields)}].")
    return {field.name: matrix[:, index].astype(field.dtype, copy=False) for index, field in enumerate(fields)}


def _check_even(inputs: Mapping[str, NDArray[Any]], signature: Signature) -> None:
    rows = -1
    for field in signature.inputs:
        if field.shape and field.shape[0] == -1 and field.name in inputs and len(field.shape) == 1:
            here = inputs[field.name].shape[0]
            if rows not in (-1, here):
                raise InvalidInput(f"Input {field.name!r} has {here} rows, the inputs before it {rows}. "
                                   "Give every column the same number of rows.")
            rows = here


def _invalid(field: Field, path: str, wanted: str, got: str, kind: str = "type_mismatch") -> InvalidInput:
    hint = "Clean the input." if field.optional or got != "null" else "Declare it optional or clean the input."
    return InvalidInput(f"Input {field.name!r} at {path}: expected {wanted}, got {got}. {hint}",
                        (Violation(path, kind, wanted, got),))


def _say(value: Any) -> str:
    if value is None:
        return "null"
    text = repr(value)
    kind = "string" if isinstance(value, str) else type(value).__name__
    return f"{kind} {text if len(text) <= 60 else text[:57] + '…'}"


def _names(names: list[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:_MANY_NAMES])
    return shown if len(names) <= _MANY_NAMES else f"{shown} and {len(names) - _MANY_NAMES} more"


def _leaves(values: Any) -> Iterator[Any]:
    if isinstance(values, list):
        for value in values:
            yield from _leaves(value)
    else:
        yield values


def _shape(values: Any) -> tuple[int, ...]:
    shape = []
    while isinstance(values, list):
        shape.append(len(values))
        if not values:
            break
        values = values[0]
    return tuple(shape)
