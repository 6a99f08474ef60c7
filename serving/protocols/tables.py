"""Tables as JSON holds them: rows of objects, rows of lists, columns; and what they mean to a model.

Names decide which column is which, never their order, unless the model itself knows no names. An input that is no
column of rows (a fixed first dimension, any shape) is *whole*: one tensor for the request, given in one row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from math import hypot
from typing import Any, NamedTuple

import numpy as np
import orjson
from numpy.typing import NDArray

from serinus.models.signature import Field, Signature, element_name, element_of
from serinus.serving.errors import InvalidInput, InvalidRequest, Violation
from serinus.serving.inputs import fit, quote, say, to_array
from serinus.serving.request import InferenceRequest
from serinus.serving.settings import LimitSettings

__all__ = ["Table", "column_array", "from_columns", "from_instances", "from_named", "from_objects", "json_object",
           "names_read", "output_names", "remarks", "same_form", "to_request", "whole_answer"]

_COLUMN = (-1,)
_MANY_NAMES = 8
_MANY_EXTRA = 50
_MANY_COLUMNS = 100_000
_LONG_NAME = 60
_MANY_PLANS = 256


class Table(NamedTuple):
    """What a body holds for the model. `extra` are names that the model does not know, `path` where they stand."""

    inputs: dict[str, NDArray[Any]]
    rows: int
    extra: tuple[str, ...] = ()
    path: str = "$"
    where: str = "$.{name}[{row}]"
    """The path of one value, with `name` and `row` to fill in."""
    block: NDArray[Any] | None = None
    """All inputs as one array `[inputs, rows]`, where they were read so."""


class _Plan:
    """What every request to one signature asks of it."""

    __slots__ = ("fields", "has_rows", "limit", "names", "signature", "whole_answer")

    def __init__(self, signature: Signature) -> None:
        inputs = signature.inputs
        self.signature = signature  # held, so that its id stays its own
        self.names = [field.name for field in inputs]
        self.fields = [(field, _is_rows(field)) for field in inputs]
        self.has_rows = any(map(_is_rows, inputs))
        self.whole_answer = not self.has_rows or not all(map(_is_rows, signature.outputs))
        plain = all(field.datatype == "FP64" and field.shape == _COLUMN and not field.sequence for field in inputs)
        self.limit = float("inf") if plain and inputs else 0.0
        """What all values lie below that `_plain_block` reads; 0 where it reads none."""


_plans: dict[int, _Plan] = {}


def _plan(signature: Signature) -> _Plan:
    plan = _plans.get(id(signature))
    if plan is None:
        if len(_plans) >= _MANY_PLANS:
            _plans.clear()
        plan = _plans[id(signature)] = _Plan(signature)
    return plan


def _is_rows(field: Field) -> bool:
    return field.shape[:1] == _COLUMN and not field.sequence


def whole_answer(signature: Signature) -> bool:
    """Whether an answer is one object with whole tensors, since its outputs are not one per row."""
    return _plan(signature).whole_answer


def json_object(body: bytes, wanted: str) -> dict[str, Any]:
    """The JSON object in a body; `wanted` shows what to send, for the sentence that refuses anything else."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidRequest(f"The body is not JSON: {error}. Send {wanted}.") from None
    if not isinstance(document, dict):
        raise InvalidRequest(f"The body: expected a JSON object, got {say(document)}. Send {wanted}.")
    return document


def same_form(rows: list[Any], path: str) -> type:
    """The type of all rows: dict or list. Raises `InvalidInput` for another one, a mixture, or no row at all."""
    if not rows:
        raise InvalidInput(f"{path} is empty. Send at least one row.")
    kind = type(rows[0])
    if kind not in (dict, list):
        raise InvalidInput(f"{path}[0]: expected an object with one value per column, got {say(rows[0])}.")
    for index, row in enumerate(rows):
        if type(row) is not kind:
            raise InvalidInput(f"{path}[{index}]: expected the same form as {path}[0], got {say(row)}.")
    return kind


def from_objects(rows: list[dict[str, Any]], signature: Signature, path: str, *, plain: bool = False) -> Table:
    """One object per row. `plain`: the body holds neither `true` nor `false`."""
    plan = _plan(signature)
    where = f"{path}[{{row}}].{{name}}"
    block = _plain_block(rows, plan) if plain and plan.limit else None
    inputs: dict[str, NDArray[Any]]
    if block is not None:
        inputs, known = dict(zip(plan.names, block, strict=True)), block.size
    else:
        inputs, known = {}, 0
        for field, in_rows in plan.fields:
            read = _read_cells if in_rows else _read_whole
            known += read(rows, field, path, inputs)
    count = _row_count(len(rows), plan, path)
    if sum(map(len, rows)) == known:
        return Table(inputs, count, where=where, block=block)
    names = (name for row in rows for name in row)
    return Table(inputs, count, _unknown(names, signature), f"{path}[*]", where, block)


def from_columns(columns: dict[str, Any], signature: Signature, path: str) -> Table:
    """One list per column, and a whole tensor as it is."""
    inputs: dict[str, NDArray[Any]] = {}
    for field in signature.inputs:
        for name in _names_of(field, columns):
            _put(columns[name], name, field, f"{path}.{name}", inputs)
    rows = next((len(inputs[field.name]) for field in signature.inputs if _is_rows(field) and field.name in inputs), 1)
    return Table(inputs, rows, _unknown(columns, signature), path, f"{path}.{{name}}[{{row}}]")


def from_instances(instances: Any, signature: Signature, path: str, *, plain: bool = False) -> Table:
    """What model servers call instances or inputs: objects by name, lists in the signature's order, the values or
    tensors of the only input, or an object with a list per column."""
    if isinstance(instances, dict):
        return from_columns(instances, signature, path)
    if not isinstance(instances, list):
        raise InvalidRequest(f"{path}: expected a list with one instance per row, got {say(instances)}.")
    if not instances:
        raise InvalidInput(f"{path} is empty. Send at least one instance.")
    if type(instances[0]) is dict:
        same_form(instances, path)
        return from_objects(instances, signature, path, plain=plain)
    if len(signature.inputs) == 1:
        return _from_tensor(instances, signature.inputs[0], path)
    return _from_lists(instances, signature, path)


Reader = Callable[[Any, Field, str], NDArray[Any] | None]
"""Makes the array of a field out of the values of a column, one element per row; the path is for the errors."""


def from_named(names: Sequence[str], column: Callable[[int], Any], rows: int, signature: Signature, path: str,
               read: Reader | None = None) -> Table:
    """Columns in an order of their own, as data frames and files have them: `column(i)` gives the values of `names[i]`,
    `rows` of them. A model of one matrix takes them in that order where none has its name."""
    read = read or column_array
    if (field := _matrix(names, signature)) is not None:
        return Table({field.name: _stacked(names, column, field, path, read)}, rows, where=f"{path}[{{row}}]")
    places = {name: place for place, name in enumerate(names)}
    inputs: dict[str, NDArray[Any]] = {}
    for field in signature.inputs:
        for name in _names_of(field, places):
            if names.count(name) > 1:
                raise InvalidInput(f"Column {quote(name)} stands twice in {path}. Send each column once.",
                                   (Violation(f"{path}[*].{name}", "duplicate_column", "once", "twice"),))
            where = f"{path}[*].{name}"
            array = read(column(places[name]), field, where)
            if array is not None:
                inputs[name] = fit(array if _is_rows(field) else _only(array, field, where), field, where)
    return Table(inputs, _row_count(rows, _plan(signature), path), _unknown(names, signature), f"{path}[*]",
                 f"{path}[{{row}}].{{name}}")


def names_read(names: Sequence[str], signature: Signature) -> list[str]:
    """Those of a table's names whose columns `from_named` looks at."""
    if _matrix(names, signature) is not None:
        return list(names)
    return [name for field in signature.inputs for name in _names_of(field, names)]


def column_array(values: Any, field: Field, path: str) -> NDArray[Any] | None:
    """The values as an array; None for an optional column without any, of a type that has nothing for missing."""
    if (field.optional and isinstance(values, list) and field.dtype.kind not in "fO"
            and all(value is None for value in values)):
        return None
    return to_array(values, field, path)


def remarks(table: Table, signature: Signature, limits: LimitSettings) -> tuple[Violation, ...]:
    """What there is to say of columns that the model does not know. Raises `InvalidInput` where they are refused."""
    if not table.extra:
        return ()
    if limits.extra_columns == "refuse":
        raise InvalidInput(
            f"Column {_quoted(table.extra)} unknown: the model wants {_quoted(_plan(signature).names)}. Leave it out, "
            "or correct its name.",
            tuple(Violation(f"{table.path}.{name}", "unexpected_field", "absent", "present") for name in table.extra))
    return tuple(Violation(f"{table.path}.{name}", "unexpected_field", "absent", "ignored") for name in table.extra)


def to_request(table: Table, signature: Signature, limits: LimitSettings, *, outputs: tuple[str, ...] | None = None,
               request_id: str | None = None, routing_key: str | None = None, reply: Any = None,
               prediction_keys: str | tuple[str | None, ...] | None = None) -> InferenceRequest:
    """The inference request that a table stands for."""
    return InferenceRequest(table.inputs, table.rows, outputs, request_id, routing_key,
                            remarks(table, signature, limits) if table.extra else (), reply, table.where, table.block,
                            prediction_keys=prediction_keys)


def output_names(wanted: Any, path: str) -> tuple[str, ...] | None:
    """The outputs that a request names in a list; None without one."""
    if wanted is None:
        return None
    if not isinstance(wanted, list) or not wanted or not all(isinstance(name, str) for name in wanted):
        raise InvalidRequest(f"{path}: expected a list of names of outputs, got {say(wanted)}.")
    return tuple(dict.fromkeys(wanted))


def _plain_block(rows: list[dict[str, Any]], plan: _Plan) -> NDArray[Any] | None:
    """All columns at once where all are doubles, a row for each; None when anything is unusual about them."""
    try:
        values = [row[name] for name in plan.names for row in rows]
        # hypot takes numbers only and is no smaller than the largest of them
        if not hypot(*values) < plan.limit:
            return None
        return np.array(values, np.float64).reshape(-1, len(rows))
    except (KeyError, TypeError, OverflowError):
        return None


def _read_cells(rows: list[dict[str, Any]], field: Field, path: str, inputs: dict[str, NDArray[Any]]) -> int:
    """Read one column of all rows into `inputs`; how many cells it had."""
    name = field.name
    try:
        values, known = [row[name] for row in rows], len(rows)
    except KeyError:
        values = [row.get(name) for row in rows]
        known = sum(name in row for row in rows)
        if not field.optional:
            raise _missing(rows, field, path) from None
    where = f"{path}[*].{name}"
    array = column_array(values, field, where)
    if array is not None:
        inputs[name] = fit(array, field, where)
    return known


def _missing(rows: list[dict[str, Any]], field: Field, path: str) -> InvalidInput:
    index = next(i for i, row in enumerate(rows) if field.name not in row)
    return InvalidInput(f"Field {quote(field.name)} at {path}[{index}]: expected {field.datatype}, got nothing. "
                        "Send every field by its name.",
                        (Violation(f"{path}[{index}].{field.name}", "missing_field", field.datatype, "nothing"),))


def _read_whole(rows: list[dict[str, Any]], field: Field, path: str, inputs: dict[str, NDArray[Any]]) -> int:
    """A whole tensor stands in the first row; where others have it too, it is the same one."""
    known = 0
    for name in _names_of(field, rows[0]):
        value = rows[0][name]
        for index, row in enumerate(rows):
            if row.get(name, value) != value:
                raise InvalidInput(f"Input {quote(name)} at {path}[{index}]: expected the same tensor as in {path}[0], "
                                   "since the model takes one for the whole request.")
        known += sum(name in row for row in rows)
        _put(value, name, field, f"{path}[0].{name}", inputs)
    return known


def _put(value: Any, name: str, field: Field, path: str, inputs: dict[str, NDArray[Any]]) -> None:
    """Read a column or a tensor into `inputs`; a sequence may come as a list of its tensors."""
    if field.sequence and name == field.name:
        if not isinstance(value, list):
            raise InvalidInput(f"Input {quote(name)} at {path}: expected a list of tensors, got {say(value)}.")
        for index, element in enumerate(value):
            inputs[element_name(name, index)] = fit(to_array(element, field, f"{path}[{index}]"), field,
                                                    f"{path}[{index}]")
        return
    if value is None and field.optional:  # a tensor that is left out
        return
    array = column_array(value, field, path)
    if array is not None:
        inputs[name] = fit(array, field, path)


def _from_tensor(instances: list[Any], field: Field, path: str) -> Table:
    if _is_rows(field):
        array = fit(to_array(instances, field, path), field, path)
        return Table({field.name: array}, len(array), where=f"{path}[{{row}}]")
    inputs: dict[str, NDArray[Any]] = {}
    if len(instances) == 1:  # in its one row, or, where that does not fit, as it is
        try:
            _put(instances[0], field.name, field, f"{path}[0]", inputs)
            return Table(inputs, 1)
        except InvalidInput:
            inputs.clear()
    _put(instances, field.name, field, path, inputs)
    return Table(inputs, 1)


def _from_lists(rows: list[Any], signature: Signature, path: str) -> Table:
    names = _plan(signature).names
    for index, row in enumerate(rows):
        if not isinstance(row, list) or len(row) != len(names):
            got = f"a list of {len(row)}" if isinstance(row, list) else say(row)
            raise InvalidInput(f"{path}[{index}]: expected an object by name, or a list of {len(names)} values in the "
                               f"order {_quoted(names)}, got {got}.")
    return from_named(names, lambda place: [row[place] for row in rows], len(rows), signature, path)


def _matrix(names: Sequence[str], signature: Signature) -> Field | None:
    """The only input, if it is a matrix with a row each, and no column has its name."""
    fields = signature.inputs
    if len(fields) != 1 or len(fields[0].shape) != 2 or not _is_rows(fields[0]) or fields[0].name in names:
        return None
    return fields[0] if names else None


def _stacked(names: Sequence[str], column: Callable[[int], Any], field: Field, path: str, read: Reader) -> NDArray[Any]:
    if field.shape[1] not in (-1, len(names)) or len(names) > _MANY_COLUMNS:
        raise InvalidInput(f"Input {quote(field.name)} at {path}: expected {_wanted_columns(field)}, got {len(names)} "
                           f"({_quoted(names)}).")
    single = Field(field.name, field.datatype, _COLUMN, field.optional and field.dtype.kind in "fO")
    arrays = []
    for place, name in enumerate(names):
        where = f"{path}[*].{name}"
        array = read(column(place), single, where)
        if array is not None:  # a float has something for missing, so it always is
            arrays.append(fit(array, single, where))
    return np.stack(arrays, axis=1)


def _wanted_columns(field: Field) -> str:
    return f"at most {_MANY_COLUMNS} columns" if field.shape[1] == -1 else f"{field.shape[1]} columns"


def _only(array: NDArray[Any], field: Field, path: str) -> NDArray[Any]:
    """The tensor of the only row."""
    if len(array) != 1:
        raise InvalidInput(f"Input {quote(field.name)} at {path}: expected one row, since the model takes one tensor "
                           f"for the whole request, got {len(array)}.")
    return array.reshape(array.shape[1:])


def _row_count(rows: int, plan: _Plan, path: str) -> int:
    if plan.has_rows or rows == 1:
        return rows
    raise InvalidInput(f"{path}: expected one row, since the model takes whole tensors, got {rows} rows.")


def _names_of(field: Field, given: Iterable[str]) -> list[str]:
    """The names among `given` under which the field comes: its own, and `NAME[0]` … of a sequence."""
    own = field.name
    if not field.sequence:
        return [own] if own in given else []
    return [name for name in given if name == own or _sequence_of(name) == own]


def _sequence_of(name: str) -> str | None:
    element = element_of(name)
    return None if element is None else element[0]


def _unknown(names: Iterable[str], signature: Signature) -> tuple[str, ...]:
    """The names that the model does not know, the first ones where there are many, each cut to a readable length."""
    known = set(_plan(signature).names)
    sequences = {field.name for field in signature.inputs if field.sequence}
    extra: dict[str, None] = {}
    for name in names:
        if name not in known and (not sequences or _sequence_of(name) not in sequences):
            extra[name[:_LONG_NAME]] = None
            if len(extra) == _MANY_EXTRA:
                break
    return tuple(extra)


def _quoted(names: Sequence[str]) -> str:
    shown = ", ".join(map(quote, names[:_MANY_NAMES]))
    return shown if len(names) <= _MANY_NAMES else f"{shown} and {len(names) - _MANY_NAMES} more"
