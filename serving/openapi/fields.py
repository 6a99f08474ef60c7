"""JSON Schemas of a signature's fields, as requests may give them and as answers do.

A schema says what the server takes, no more and no less, as far as JSON Schema can: that columns are equally long, or
that a shape is that of the data, stands in a description.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from serinus.models.signature import DATATYPES, Field, Signature

__all__ = ["NON_FINITE", "Schema", "cell", "columns", "is_rows", "output", "outputs", "row", "tensor_schema",
           "tensors", "value"]

Schema = dict[str, Any]

NON_FINITE: Schema = {"enum": ["NaN", "Infinity", "-Infinity"]}
_NUMBERS = [name for name in DATATYPES if name != "BYTES"]
_SIZES: Schema = {"type": "array", "items": {"type": "integer", "minimum": 0}}


def is_rows(field: Field) -> bool:
    """Whether a field has one element for each row; else it is one tensor for the whole request."""
    return field.shape[:1] == (-1,) and not field.sequence


def value(field: Field) -> Schema:
    """One value of an input."""
    match field.dtype.kind:
        case "f":
            return {"anyOf": [_number(field), NON_FINITE, *([{"type": "null"}] if field.optional else [])]}
        case "b":
            return {"type": "boolean"}
        case "O":
            return {"type": ["string", "null"] if field.optional else "string", **_categories(field)}
        case _:
            limits = np.iinfo(field.dtype)
            return {"type": "integer", "minimum": int(limits.min), "maximum": int(limits.max)}


def cell(field: Field) -> Schema:
    """An input's part of one row; of a field without rows, all of it."""
    if field.sequence:
        return {"type": "array", "items": _nested(value(field), field.shape), "description": _said(field)}
    if not field.shape:
        return {"description": f"{_said(field)}, of any shape"}
    schema = _nested(value(field), field.shape[1:] if is_rows(field) else field.shape)
    if field.optional and field.dtype.kind not in "fO":
        schema = {"anyOf": [schema, {"type": "null"}]}
    return {**schema, "description": _said(field)}


def row(signature: Signature, *, closed: bool) -> Schema:
    """An object with one value per input. `closed`: unknown names are refused."""
    return _object({field.name: cell(field) for field in signature.inputs},
                   (field.name for field in signature.inputs if not field.optional and not field.sequence), closed)


def columns(signature: Signature, *, closed: bool) -> Schema:
    """An object with one list per column, and whole tensors as they are."""
    properties = {field.name: _column(field) if is_rows(field) else cell(field) for field in signature.inputs}
    needed = (field.name for field in signature.inputs if not field.optional and not field.sequence)
    return {**_object(properties, needed, closed), "description": "All columns have the same number of rows."}


def _column(field: Field) -> Schema:
    column = {"type": "array", "items": cell(field), "minItems": 1}
    return {"anyOf": [column, {"type": "null"}]} if field.optional else column


def tensors(signature: Signature) -> Schema:
    """The list of input tensors of the Open Inference Protocol."""
    fields = signature.inputs
    needed = [field.name for field in fields if not field.optional and not field.sequence]
    schema: Schema = {"type": "array", "items": {"anyOf": [tensor_schema(field) for field in fields]},
                      "minItems": len(needed),
                      "description": "One tensor for each input, in any order, each once; all have the same number of "
                                     "rows."}
    if len(fields) == 1 and needed:
        schema["items"] = tensor_schema(fields[0])
    elif needed:
        schema["allOf"] = [{"contains": {"type": "object", "required": ["name"],
                                         "properties": {"name": {"const": name}}}} for name in needed]
    return schema if any(field.sequence for field in fields) else {**schema, "maxItems": len(fields)}


def tensor_schema(field: Field) -> Schema:
    """One input tensor in JSON."""
    name: Schema = {"const": field.name}
    if field.sequence:
        name = {"type": "string", "description": f"{field.name}[0], {field.name}[1], …"}
    kinds = ["BYTES"] if field.datatype == "BYTES" else [field.datatype,
                                                         *(kind for kind in _NUMBERS if kind != field.datatype)]
    return {"type": "object", "required": ["name", "datatype", "shape", "data"], "description": _said(field),
            "properties": {"name": name, "datatype": {"enum": kinds}, "shape": _shape(field),
                           "data": _data(field), "parameters": {"type": ["object", "null"]}}}


def output(field: Field) -> Schema:
    """An output's part of one row; of a field without rows, all of it."""
    shape = field.shape[1:] if is_rows(field) else field.shape
    if not field.shape:
        return {"description": f"{_said(field)}, of any shape"}
    return {**_nested(_answered(field), shape), "description": _said(field)}


def outputs(signature: Signature) -> Schema:
    """The list of output tensors of the Open Inference Protocol."""
    return {"type": "array", "items": {"anyOf": [_output_tensor(field) for field in signature.outputs]}}


def _output_tensor(field: Field) -> Schema:
    name: Schema = {"type": "string"} if field.sequence else {"const": field.name}
    return {"type": "object", "required": ["name", "datatype", "shape"], "description": _said(field),
            "properties": {"name": name, "datatype": {"const": field.datatype}, "shape": _SIZES,
                           "data": {"type": "array", "items": _answered(field)}, "parameters": {"type": "object"}}}


def _answered(field: Field) -> Schema:
    """One value of an output."""
    kind = field.dtype.kind
    if field.labels and len(field.shape) == 1 and kind != "f":
        return {"enum": [*field.labels, *([None] if field.optional else [])]}
    if kind == "f":
        return {"anyOf": [{"type": "number"}, NON_FINITE]}
    name = {"b": "boolean", "O": "string"}.get(kind, "integer")
    return {"type": [name, "null"] if field.optional else name}


def _object(properties: dict[str, Schema], needed: Iterable[str], closed: bool) -> Schema:
    return {"type": "object", "properties": properties, "required": list(needed),
            **({"additionalProperties": False} if closed else {})}


def _nested(leaf: Schema, lengths: Iterable[int]) -> Schema:
    schema = leaf
    for length in reversed(tuple(lengths)):
        schema = {"type": "array", "items": schema,
                  **({} if length == -1 else {"minItems": length, "maxItems": length})}
    return schema


def _data(field: Field) -> Schema:
    if not field.shape:
        return {"description": "Flat or nested values, or one value."}
    flat = {"type": "array", "items": value(field)}
    other = value(field) if len(field.shape) == 1 else _nested(value(field), field.shape)
    return {"anyOf": [flat, other]}


def _shape(field: Field) -> Schema:
    if not field.shape:
        return _SIZES
    sizes = [{"type": "integer", "minimum": 1 if place == 0 else 0} if length == -1 else {"const": length}
             for place, length in enumerate(field.shape)]
    return {"type": "array", "prefixItems": sizes, "items": False, "minItems": len(sizes),
            "description": "The shape of the data; its first dimension is the rows." if is_rows(field) else
            "The shape of the data."}


def _number(field: Field) -> Schema:
    known = np.finfo(field.dtype)
    limit = float(known.max)
    if field.datatype == "FP64":
        return {"type": "number", "minimum": -limit, "maximum": limit}
    limit += 2.0 ** (known.maxexp - known.nmant - 2)  # half a step further, numbers are rounded to the largest one
    return {"type": "number", "exclusiveMinimum": -limit, "exclusiveMaximum": limit}


def _categories(field: Field) -> Schema:
    return {"examples": list(field.labels)} if field.labels else {}


def _said(field: Field) -> str:
    """What a field is, in words."""
    words = [f"{field.datatype} {list(field.shape)}"]
    if field.sequence:
        words.append("a sequence of tensors")
    if field.optional:
        words.append("may be missing")
    if field.frame_dtype:
        words.append(f"a column of {field.frame_dtype}")
    if field.labels:
        shown = ", ".join(map(str, field.labels[:20]))
        words.append(f"{'one of' if len(field.shape) < 2 else 'one for each of'} {shown}"
                     f"{', …' if len(field.labels) > 20 else ''}")
    return "; ".join(words)
