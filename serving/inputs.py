"""From parsed JSON values to arrays of the types that the signature names, refusing what would change meaning.

A string never becomes a number, a fraction never an integer, `true` never 1.0 by itself; integers widen, integers
become floats, and null is accepted where the field is optional. The floats that JSON lacks are the strings "NaN",
"Infinity" and "-Infinity".
"""

from __future__ import annotations

from array import array as strict_array
from collections.abc import Iterator, Mapping
from itertools import chain
from math import hypot
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serinus.models.errors import InvalidSignature
from serinus.models.signature import DATATYPES, Field, Signature, element_name, element_of
from serinus.serving.errors import InvalidInput, InvalidRequest, RequestTooLarge, Violation
from serinus.serving.prediction_log.keys import LONGEST, key_text
from serinus.serving.request import InferenceRequest

__all__ = ["fit", "input_field", "plain_numbers", "prediction_keys", "quote", "refuse_gaps", "routing_key", "say",
           "to_array", "validate", "wanted_inputs", "widen"]

# For each kind of wanted type: the types of JSON values that may stand for it.
_ACCEPTED = {"f": frozenset({float, int}), "i": frozenset({int}), "u": frozenset({int}), "b": frozenset({bool})}
_NON_FINITE = frozenset({"NaN", "Infinity", "-Infinity"})
_MANY_NAMES = 8
_LONG_NAME = 60
_EXACT = 2**53
"""From here on, doubles skip integers."""
# Where C is as strict: no string, no null, nothing out of range, no fraction for an integer. Yet `true` passes for 1.
_WHOLE = {"INT64": "q", "INT32": "i"}
_FLOATS = {"FP64": (float("inf"), DATATYPES["FP64"]), "FP32": (float(np.finfo(np.float32).max), DATATYPES["FP32"])}
"""Types whose values can be told by their size, with the limit."""


def plain_numbers(values: Any, shape: Any, field: Field) -> NDArray[Any] | None:
    """`values` (flat, or one list per row) as an array of the field's type and of `shape`; None when anything is
    unusual about them. `to_array` and `fit` then do the same the long way, and say what is wrong.

    For requests whose body holds neither `true` nor `false`.
    """
    wanted = field.shape
    if type(shape) is not list or len(shape) != len(wanted) or type(values) is not list:
        return None
    for index, expected in enumerate(wanted):
        size = shape[index]
        if (type(size) is not int or size < 0) if expected == -1 else size != expected:
            return None
    try:
        if values and type(values[0]) is list:
            if len(shape) != 2 or [shape[0], *set(map(len, values))] != [len(values), shape[1]]:
                return None
            values = list(chain.from_iterable(values))
        known = _FLOATS.get(field.datatype)
        if known is None:
            code = _WHOLE[field.datatype]
            return np.frombuffer(strict_array(code, values), dtype=code).reshape(shape)
        limit, dtype = known
        # hypot takes numbers only and is no smaller than the largest of them: two checks in one pass
        if not hypot(*values) < limit:
            return None
        array = np.array(values, dtype)
        return array if len(shape) == 1 and len(values) == shape[0] else array.reshape(shape)
    except (KeyError, TypeError, OverflowError, ValueError):
        return None


def to_array(values: Any, field: Field, path: str) -> NDArray[Any]:
    """`values` (a list, nested or flat, or one number) as an array of the field's type.

    `path` says where in the request they stand. Raises `InvalidInput` naming the first value that does not fit.
    """
    if field.datatype == "BYTES":
        return _text_array(values, field, path)
    # Types first: numpy would take `true` among numbers for 1, and make every string as long as the longest.
    wanted = field.dtype
    if not _types(values) <= _ACCEPTED[wanted.kind]:
        _check_values(values, field, path)
    try:
        array = np.array(values, dtype=np.float64 if wanted.kind == "f" else None)
    except ValueError:
        raise _invalid(field, path, "values of one shape", "rows of unequal length") from None
    if array.dtype == wanted:
        return array
    if wanted.kind in "iu":
        return _whole(array, values, field, path)
    return _single(array, field, path) if wanted.kind == "f" else array.astype(wanted)


def fit(array: NDArray[Any], field: Field, path: str) -> NDArray[Any]:
    """`array` in the field's shape; `[k]` and `[k, 1]` are alike for a column, and no shape means any."""
    shape, wanted = array.shape, field.shape
    if not wanted:
        return array
    if len(shape) == len(wanted):
        if shape == wanted or all(w in (-1, s) for w, s in zip(wanted, shape, strict=True)):
            return array
    elif len(wanted) == 1 and len(shape) == 2 and shape[1] == 1:
        return array.reshape(-1)
    elif len(wanted) == 2 and wanted[1] == 1 and len(shape) == 1:
        return array.reshape(-1, 1)
    raise _invalid(field, path, f"shape {list(wanted)}", f"shape {list(shape)}", "shape_mismatch")


def widen(array: NDArray[Any], declared: str, field: Field, path: str) -> NDArray[Any]:
    """A tensor of the `declared` datatype in the field's: the same, or one that holds all of its values."""
    if declared == field.datatype:
        return array
    given, wanted = DATATYPES[declared], field.dtype
    if given.kind not in "iuf" or wanted.kind not in "iuf" or not np.can_cast(given, wanted):
        raise InvalidInput(f"Input {quote(field.name)} at {path}: expected datatype {field.datatype} or one that "
                           f"widens to it, got {declared}. Send {field.datatype}.",
                           (Violation(path, "type_mismatch", field.datatype, declared),))
    if given.kind != "f" and given.itemsize == 8 and wanted.kind == "f" and array.size:
        extreme = max(int(array.max()), int(array.min()), key=abs)
        if abs(extreme) > _EXACT:
            raise _invalid(field, path, f"integers up to {_EXACT}, which {field.datatype} holds exactly", str(extreme),
                           "out_of_range")
    return array.astype(wanted)


def input_field(name: str, signature: Signature) -> Field | None:
    """The field that a request's input of this name belongs to; None where the model takes no such input. The tensors
    of a sequence come one by one, as `NAME[0]`, `NAME[1]`, …"""
    try:
        field = signature.input(name)
    except InvalidSignature:
        return None
    return None if field.sequence and field.name == name else field


def wanted_inputs(signature: Signature) -> str:
    """What the model wants, as the end of a sentence."""
    return f"wants {_names(_expected(signature))}" if signature.inputs else "takes no inputs"


def refuse_gaps(values: Any, signature: Signature, path: str) -> None:
    """Refuse a null in a matrix of all columns where its column is not optional."""
    fields = signature.inputs
    for index, value in enumerate(_leaves(values)):
        row, column = divmod(index, len(fields))
        if value is None and not fields[column].optional:
            raise _invalid(fields[column], f"{path}[{row}][{column}]", fields[column].datatype, "null")


def validate(request: InferenceRequest, signature: Signature, max_rows: int) -> InferenceRequest:
    """The request with its inputs in the signature's order; refuses missing, unknown and uneven ones."""
    inputs = request.inputs
    fields = signature.inputs
    if len(fields) != 1 or len(inputs) != 1 or fields[0].name not in inputs or fields[0].sequence:
        inputs = _complete(inputs, signature)
        _check_even(inputs, signature)
        request = request._replace(inputs=_ordered(inputs, signature))
    if request.rows < 1:
        if _answers_by_row(signature):
            raise InvalidInput("The request has no rows. Send at least one.")
        request = request._replace(rows=1)  # tensors without values may have an answer, as a whole
    if request.rows > max_rows:
        raise RequestTooLarge(f"The request has {request.rows} rows, the limit is {max_rows}. Send fewer at a time.")
    return request


def _answers_by_row(signature: Signature) -> bool:
    return not signature.outputs or any(field.shape[:1] == (-1,) and not field.sequence for field in signature.outputs)


def _text_array(values: Any, field: Field, path: str) -> NDArray[Any]:
    array = np.array(values, dtype=object)
    flat = array.ravel().tolist()
    if any(type(value) is list for value in flat):  # numpy leaves in place what does not line up
        raise _invalid(field, path, "values of one shape", "rows of unequal length")
    for index, value in enumerate(flat):
        if not isinstance(value, str) and (value is not None or not field.optional):
            raise _invalid(field, _at(path, index), "a string", say(value))
    return array


def _types(values: Any) -> set[type]:
    """The types of the values in a list, nested or flat."""
    if not isinstance(values, list):
        return {type(values)}
    while (types := set(map(type, values))) == {list}:
        values = list(chain.from_iterable(values))
    return types


def _check_values(values: Any, field: Field, path: str) -> None:
    """Refuse by name; null passes where it may, and becomes NaN as the string does."""
    kind = field.dtype.kind
    for index, value in enumerate(_leaves(values)):
        passes = kind == "f" and (field.optional if value is None else isinstance(value, str) and value in _NON_FINITE)
        if not passes and type(value) not in _ACCEPTED[kind]:
            raise _invalid(field, _at(path, index), field.datatype, say(value))


def _whole(array: NDArray[Any], values: Any, field: Field, path: str) -> NDArray[Any]:
    """Integers of the field's type; refuses what it cannot hold."""
    if array.dtype.kind not in "iu":  # numpy takes a mixture of huge and negative integers for floats
        array = np.array(values, dtype=object)
    limits = np.iinfo(field.dtype)
    if array.size and (array.min() < limits.min or array.max() > limits.max):
        got = array.min() if array.min() < limits.min else array.max()
        raise _invalid(field, path, f"{field.datatype} from {limits.min} to {limits.max}", str(got), "out_of_range")
    return array.astype(field.dtype)


def _single(array: NDArray[Any], field: Field, path: str) -> NDArray[Any]:
    """The same numbers in fewer bits; refuses one so large that it would become infinite."""
    try:
        with np.errstate(over="raise"):
            return array.astype(field.dtype)
    except FloatingPointError:
        limit = float(np.finfo(field.dtype).max)
        got = array[np.isfinite(array) & (np.abs(array) > limit)][0]
        raise _invalid(field, path, f"{field.datatype} up to {limit:g}", f"{got:g}", "out_of_range") from None


def _complete(inputs: Mapping[str, NDArray[Any]], signature: Signature) -> Mapping[str, NDArray[Any]]:
    fields = signature.inputs
    known = {field.name for field in fields if not field.sequence}
    if fields and len(inputs) == 1 and "input" in inputs and "input" not in known:
        return _split_matrix(inputs["input"], signature)
    missing = [field.name for field in fields if field.name not in inputs and not field.optional and not field.sequence]
    if missing:
        raise InvalidInput(f"Input {_names(missing)} missing: the model {wanted_inputs(signature)}, "
                           f"got {_names(list(inputs)) if inputs else 'none'}. Send every input by its name.",
                           tuple(Violation(f"$.{name}", "missing_field", "present", "absent") for name in missing))
    unknown = [name for name in inputs if name not in known and input_field(name, signature) is None]
    if unknown:
        raise InvalidInput(f"Input {_names(unknown)} unknown: the model {wanted_inputs(signature)}. "
                           "Leave it out or correct its name.",
                           tuple(Violation(f"$.{name}", "unexpected_field", "absent", "present") for name in unknown))
    return inputs


def _ordered(inputs: Mapping[str, NDArray[Any]], signature: Signature) -> Mapping[str, NDArray[Any]]:
    """The inputs in the signature's order, the tensors of each sequence in theirs."""
    ordered = {field.name: inputs[field.name] for field in signature.inputs if field.name in inputs}
    if len(ordered) == len(inputs):
        return ordered
    names = (name for field in signature.inputs
             for name in (_elements(field, inputs) if field.sequence else (field.name,)))
    return {name: inputs[name] for name in names if name in inputs}


def _elements(field: Field, inputs: Mapping[str, NDArray[Any]]) -> list[str]:
    count = sum(found is not None and found[0] == field.name for found in map(element_of, inputs))
    names = [element_name(field.name, index) for index in range(count)]
    for name in names:
        if name not in inputs:
            raise InvalidInput(f"Input {quote(name)} missing: the sequence {quote(field.name)} has {count} tensors. "
                               "Number them from 0, without gaps.",
                               (Violation(f"$.{name}", "missing_field", "present", "absent"),))
    return names


def _expected(signature: Signature) -> list[str]:
    return [element_name(field.name, 0) if field.sequence else field.name for field in signature.inputs]


def _split_matrix(matrix: NDArray[Any], signature: Signature) -> Mapping[str, NDArray[Any]]:
    fields = signature.inputs
    if matrix.ndim != 2 or matrix.shape[1] != len(fields) or any(field.datatype == "BYTES" for field in fields):
        raise InvalidInput(f"Input 'input' has shape {list(matrix.shape)}: expected one input per column "
                           f"({_names(_expected(signature))}), or for purely numeric columns one matrix "
                           f"[-1, {len(fields)}].")
    return {field.name: _column_of(matrix, index, field) for index, field in enumerate(fields)}


def _column_of(matrix: NDArray[Any], index: int, field: Field) -> NDArray[Any]:
    """One column of the matrix, in the field's type; the same values are refused as in a column of its own."""
    column, path = matrix[:, index], f"$.inputs[0].data[*][{index}]"
    if field.dtype.kind == "f":
        return _single(column, field, path)
    if field.dtype.kind == "b":
        raise _invalid(field, path, "a column of its own, as BOOL", "a column of a matrix of numbers")
    fractions = column[~(column % 1 == 0)]  # NaN is one too
    if fractions.size:
        raise _invalid(field, path, field.datatype, f"float {fractions[0]!s}")
    return _whole(column, [int(value) for value in column], field, path)


def _check_even(inputs: Mapping[str, NDArray[Any]], signature: Signature) -> None:
    rows = -1
    for field in signature.inputs:
        if field.shape and field.shape[0] == -1 and field.name in inputs:
            here = inputs[field.name].shape[0]
            if rows not in (-1, here):
                raise InvalidInput(f"Input {quote(field.name)} has {here} rows, the inputs before it {rows}. "
                                   "Give every column the same number of rows.")
            rows = here


def _invalid(field: Field, path: str, wanted: str, got: str, kind: str = "type_mismatch") -> InvalidInput:
    hint = "Clean the input." if field.optional or got != "null" else "Declare it optional or clean the input."
    if field.expect is not None and field.expect.get("personal") and got != "null":
        got = "a value that is personal"
    return InvalidInput(f"Input {quote(field.name)} at {path}: expected {wanted}, got {got}. {hint}",
                        (Violation(path, kind, wanted, got),))


def _at(path: str, index: int) -> str:
    """Where the value of this number stands, in a list or in a column made of rows."""
    return path.replace("[*]", f"[{index}]", 1) if "[*]" in path else f"{path}[{index}]"


def say(value: Any) -> str:
    """A JSON value as part of a sentence: its kind, and of a plain one the beginning."""
    if value is None:
        return "null"
    if isinstance(value, list | dict):
        return "a list" if isinstance(value, list) else "an object"
    text = repr(value[:60] if isinstance(value, str) else value)
    kind = "string" if isinstance(value, str) else type(value).__name__
    return f"{kind} {text if len(text) <= 60 else text[:57] + '…'}"


def routing_key(value: Any, path: str) -> str | None:
    """What a body calls its routing key, as text; None when it has none."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, list | dict):
        raise InvalidRequest(f"{path}: expected a string or a number, got {say(value)}.")
    return str(value)


def prediction_keys(value: Any, path: str) -> str | tuple[str | None, ...] | None:
    """What a body calls its caller's own keys: one for all rows, or a list with one for each, null for none."""
    if value is None:
        return None
    if isinstance(value, list) and value:
        return tuple(None if one is None else _prediction_key(one, f"{path}[{row}]") for row, one in enumerate(value))
    return _prediction_key(value, path)


def _prediction_key(value: Any, path: str) -> str:
    key = key_text(value)
    if key is None:
        raise InvalidRequest(f"{path}: expected a text of 1 to {LONGEST} characters or a whole number, got "
                             f"{say(value)}.")
    return key


def quote(name: str) -> str:
    """A name as part of a sentence; of a long one the beginning."""
    return repr(name if len(name) <= _LONG_NAME else f"{name[:_LONG_NAME]}…")


def _names(names: list[str]) -> str:
    shown = ", ".join(map(quote, names[:_MANY_NAMES]))
    return shown if len(names) <= _MANY_NAMES else f"{shown} and {len(names) - _MANY_NAMES} more"


def _leaves(values: Any) -> Iterator[Any]:
    waiting = [values]  # a stack of our own: JSON nests deeper than Python calls
    while waiting:
        value = waiting.pop()
        if isinstance(value, list):
            waiting.extend(reversed(value))
        else:
            yield value
