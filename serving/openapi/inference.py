"""The operations that answer with predictions: for each protocol, what one version takes and gives."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from serinus.models.examples import example_rows
from serinus.models.signature import Field, Signature
from serinus.serving.openapi.fields import (
    Schema,
    cell,
    columns,
    is_rows,
    output,
    outputs,
    row,
    tensor_schema,
    tensors,
)
from serinus.serving.openapi.parts import PROBLEM, answer, errors, json_body, ref
from serinus.serving.prediction_log.keys import LONGEST
from serinus.serving.settings import LimitSettings

__all__ = ["FORMS", "Described", "operation", "schemas"]

_STATUSES = (400, 404, 413, 415, 429, 500, 503, 504)
_CSV, _PARQUET, _BYTES = "text/csv", "application/vnd.apache.parquet", "application/octet-stream"
_HEAD = ("RequestId", "ModelVersion", "ModelRole", "Traceparent")
_KEY: Schema = {"type": ["string", "number", "boolean", "null"],
                "description": "Requests of one key meet the same version, also during a rollout."}
_OWN: Schema = {"type": ["string", "integer", "null"], "pattern": r"\S", "maxLength": LONGEST}
_KEYS: Schema = {"anyOf": [_OWN, {"type": "array", "items": _OWN, "minItems": 1}],
                 "description": "A key of the caller's own, by which truths may name predictions later: one for all "
                                "rows, or a list with one for each."}
_ID: Schema = {"description": "An id of the caller's own, if it is a string; the header X-Request-ID goes before it."}
_INTEGER: Schema = {"type": "integer", "minimum": -2**63, "maximum": 2**64 - 1}
_COLUMN_MATRIX = "input"
_MANY_VALUES = 2000


class Described(NamedTuple):
    """One version that an address means; its schemas have names that begin with `key`."""

    model: str
    version: str
    key: str
    signature: Signature

    def ref(self, name: str) -> Schema:
        """A reference to one of its schemas."""
        return ref(f"{self.key}.{name}")

    @property
    def is_large(self) -> bool:
        """Whether one row is so large that nobody would read an example of it."""
        return sum(math.prod(map(abs, field.shape)) for field in self.signature.inputs) > _MANY_VALUES


class _Form(NamedTuple):
    """What a protocol takes (`requestBody`), and the answers it gives."""

    summary: str
    body: Schema
    answers: dict[str, Schema]


def schemas(version: Described, limits: LimitSettings) -> dict[str, Schema]:
    """All that the protocols say of one version, by name."""
    signature, closed = version.signature, limits.extra_columns == "refuse"
    found = {"Row": row(signature, closed=closed), "Rows": _rows(version, limits),
             "Columns": columns(signature, closed=closed), "Instances": _instances(version, limits),
             "Split": _split(signature), "Tensors": tensors(signature), "OutputTensors": outputs(signature),
             "Prediction": _prediction(signature), "Values": _values(version),
             "OutputNames": {"type": "array", "minItems": 1,
                             "items": {"enum": [field.name for field in signature.outputs]}}}
    return {f"{version.key}.{name}": schema for name, schema in found.items()}


def operation(protocol: str, version: Described, name: str) -> Schema:
    """The operation of an address. `name` tells it from the protocol's others; the bare address has none."""
    form = FORMS[protocol](version)
    return {"operationId": f"{protocol}.{name}" if name else protocol, "tags": [version.model], "summary": form.summary,
            "parameters": [{"$ref": f"#/components/parameters/{parameter}"}
                           for parameter in ("RequestId", "RoutingKey", "Traceparent")],
            "requestBody": form.body, "responses": form.answers}


def _open_inference(version: Described) -> _Form:
    signature = version.signature
    inputs: Schema = version.ref("Tensors")
    if (field := _matrix_of_columns(signature)) is not None:
        one = {"type": "array", "prefixItems": [tensor_schema(field)], "items": False, "minItems": 1}
        inputs = {"anyOf": [inputs, {**one, "description": "All columns in one matrix."}]}
    flag = {"type": ["boolean", "null"]}
    wanted = {"type": "object", "required": ["name"], "properties": {
        "name": {"enum": [field.name for field in signature.outputs]},
        "parameters": {"type": ["object", "null"], "properties": {"binary_data": flag}}}}
    request = {"type": "object", "required": ["inputs"] if signature.inputs else [], "properties": {
        "id": {"type": ["string", "null"]}, "inputs": inputs,
        "outputs": {"anyOf": [{"type": "array", "items": wanted}, {"type": "null"}]},
        "parameters": {"type": ["object", "null"],
                       "properties": {"routing_key": _KEY, "prediction_key": _KEYS, "binary_data_output": flag}}}}
    text = {"type": "string"}
    reply = {"type": "object", "required": ["model_name", "model_version", "id", "parameters", "outputs"],
             "properties": {
                 "model_name": {"const": version.model}, "model_version": text, "id": text,
                 "outputs": version.ref("OutputTensors"),
                 "parameters": {"type": "object", "required": ["role", "prediction_id"],
                                "properties": {"role": text, "prediction_id": text,
                                               "refer": {"type": "string", "description": "JSON text."},
                                               "violations": {"type": "string", "description": "JSON text."},
                                               "violation_count": _INTEGER}}}}
    body = json_body(request, _example_tensors(version))
    body["content"][_BYTES] = {"schema": _opaque("The JSON, and behind it the bytes of the tensors; the header "
                                                 "Inference-Header-Content-Length is the size of the JSON.")}
    good = answer("The outputs.", reply, *_HEAD)
    good["content"][_BYTES] = {"schema": _opaque("The JSON, and behind it the outputs that were wanted as bytes.")}
    return _Form("Tensors, by the Open Inference Protocol", body, {"200": good, **_errors("Error")})


def _rows_protocol(version: Described) -> _Form:
    row_wise = all(map(is_rows, version.signature.outputs))
    request = _one_of({"rows": version.ref("Rows"), "columns": version.ref("Columns")},
                      {"id": _ID, "routing_key": _KEY, "prediction_key": _KEYS})
    names = {"type": "array", "items": {"type": "string"}}
    text = {"type": "string"}
    reply = {"type": "object", "required": ["predictions", "model", "version", "role", "request_id", "prediction_ids",
                                            "violations"],
             "properties": {
                 "predictions": {"type": "array", "items": version.ref("Prediction"), "minItems": 1,
                                 **({} if row_wise else {"maxItems": 1})},
                 "model": {"const": version.model}, "version": text, "role": text, "request_id": text,
                 "prediction_ids": names, "violations": {"type": "array", "items": ref("Violation")},
                 "violation_count": _INTEGER, "refer": {"type": "array", "items": {
                     "type": "object", "required": ["row", "reason"],
                     "properties": {"row": _INTEGER, "reason": text}}}}}
    body = _with_files(json_body(request, _example(version, "rows")))
    good = answer("One prediction for each row.", reply, *_HEAD)
    good["content"][_CSV] = {"schema": _opaque("One line for each row, where CSV was sent and asked for.")}
    return _Form("Rows, as objects", body,
                 {"200": good, **errors("Problem", sorted((*_STATUSES, 422)), "RequestId", kind=PROBLEM, again=True)})


def _invocations(version: Described) -> _Form:
    forms = {"dataframe_records": version.ref("Rows") if len(version.signature.inputs) != 1 else _objects(version),
             "dataframe_split": version.ref("Split"), "instances": version.ref("Instances"),
             "inputs": version.ref("Instances")}
    request = _one_of(forms, {"params": _wishes(version)}, absent={"not": {}})
    body = _with_files(json_body(request, _example(version, "dataframe_records")))
    good = answer("The values of the first output, or one object for each row.", _predictions(version), *_HEAD,
                  "PredictionId")
    good["content"][_CSV] = {"schema": _opaque("One line for each row, where CSV was sent and asked for.")}
    return _Form("Invocations, as MLflow and SageMaker call a model", body, {"200": good, **_errors("MlflowError")})


def _kserve_v1(version: Described) -> _Form:
    request = _one_of({"instances": version.ref("Instances"), "inputs": version.ref("Instances")},
                      {"id": _ID, "parameters": _wishes(version)}, absent={"not": {}})
    good = answer("The values of the first output, or one object for each instance.", _predictions(version), *_HEAD,
                  "PredictionId")
    return _Form("Instances, as KServe V1, TensorFlow Serving and Vertex AI call a model",
                 json_body(request, _example(version, "instances")), {"200": good, **_errors("Error")})


FORMS: Mapping[str, Callable[[Described], _Form]] = {
    "open_inference": _open_inference, "rows": _rows_protocol, "invocations": _invocations, "kserve_v1": _kserve_v1}
"""By the name of the protocol."""


def _errors(name: str) -> dict[str, Schema]:
    return errors(name, _STATUSES, "RequestId", again=True)


def _one_of(forms: Mapping[str, Schema], others: Mapping[str, Schema], absent: Schema | None = None) -> Schema:
    """An object with exactly one of `forms`. `absent`: what the other ones may be."""
    missing = absent or {"type": "null"}
    return {"type": "object", "properties": dict(others), "oneOf": [
        {"required": [name], "properties": {name: schema, **{other: missing for other in forms if other != name}}}
        for name, schema in forms.items()]}


def _rows(version: Described, limits: LimitSettings) -> Schema:
    fields = version.signature.inputs
    most = {"minItems": 1, "maxItems": limits.rows if any(map(is_rows, fields)) else 1}
    by_name = {"type": "array", "items": version.ref("Row"), **most}
    if len(fields) != 1 or not is_rows(fields[0]):
        return by_name
    part = cell(fields[0])
    if len(fields[0].shape) == 1:
        part = {"type": "array", "items": part, "minItems": 1, "maxItems": 1}
    return {"anyOf": [by_name, {"type": "array", "items": part, **most}]}


def _objects(version: Described) -> Schema:
    return {"type": "array", "items": version.ref("Row"), "minItems": 1}


def _instances(version: Described, limits: LimitSettings) -> Schema:
    fields = version.signature.inputs
    most = {"minItems": 1, "maxItems": limits.rows if any(map(is_rows, fields)) else 1}
    if len(fields) == 1 and is_rows(fields[0]):
        plain: Schema = {**cell(fields[0])}
    elif len(fields) == 1:
        return {"anyOf": [_objects(version), {"type": "array", "description": "The tensor."}, version.ref("Columns")]}
    else:
        plain = _in_order(fields)
    return {"anyOf": [{"type": "array", "items": version.ref("Row"), **most},
                      {"type": "array", "items": plain, **most}, version.ref("Columns")]}


def _in_order(fields: Iterable[Field]) -> Schema:
    parts = [cell(field) for field in fields]
    return {"type": "array", "prefixItems": parts, "items": False, "minItems": len(parts),
            "description": "The values in the signature's order."}


def _split(signature: Signature) -> Schema:
    """What `DataFrame.to_dict(orient="split")` gives."""
    fields = signature.inputs
    names: Schema = {"type": "array", "prefixItems": [{"const": field.name} for field in fields], "items": False,
                     "minItems": len(fields),
                     "description": "In any order, the data in the same; those that may be missing may be left out."}
    values = _in_order(fields)
    if len(fields) == 1 and is_rows(fields[0]) and len(fields[0].shape) == 2:
        values, width = cell(fields[0]), fields[0].shape[1]
        names = {"type": "array", "items": {"anyOf": [{"type": "string"}, _INTEGER]}, "minItems": max(width, 1),
                 **({} if width == -1 else {"maxItems": width})}
    return {"type": "object", "required": ["columns", "data"],
            "properties": {"columns": names, "data": {"type": "array", "items": values, "minItems": 1}}}


def _wishes(version: Described) -> Schema:
    return {"type": ["object", "null"], "properties": {
        "outputs": {"anyOf": [version.ref("OutputNames"), {"type": "null"}]}, "routing_key": _KEY,
        "prediction_key": _KEYS}}


def _prediction(signature: Signature) -> Schema:
    """The outputs of one row, or all of them as whole tensors."""
    row_wise = all(map(is_rows, signature.outputs))
    return {"type": "object",
            "properties": {field.name: output(field) if row_wise or not is_rows(field) else
                           {"type": "array", "items": output(field)}
                           for field in signature.outputs if not field.sequence},
            "required": [field.name for field in signature.outputs if not field.optional and not field.sequence]}


def _values(version: Described) -> Schema:
    """What answers without names hold: one output's values, or objects."""
    fields = version.signature.outputs
    one = [({"type": "array", "items": output(field)} if is_rows(field) else output(field))
           for field in fields if not field.sequence]
    partial = {"type": "object", "properties": _prediction(version.signature)["properties"]}
    return {"anyOf": [*one, {"type": "array", "items": partial}, partial]}


def _predictions(version: Described) -> Schema:
    return {"type": "object", "required": ["predictions"], "properties": {"predictions": version.ref("Values")}}


def _matrix_of_columns(signature: Signature) -> Field | None:
    fields = signature.inputs
    if len(fields) < 2 or any(field.name == _COLUMN_MATRIX or field.dtype.kind != "f" or field.shape != (-1,)
                              or field.sequence or field.optional for field in fields):
        return None
    return Field(_COLUMN_MATRIX, "FP64", (-1, len(fields)))


def _with_files(body: Schema) -> Schema:
    body["content"][_CSV] = {"schema": _opaque("A line of names, and one line for each row.")}
    body["content"][_PARQUET] = {"schema": _opaque("One column for each input.")}
    return body


def _opaque(description: str) -> Schema:
    return {"type": "string", "description": description}


def _example(version: Described, key: str) -> dict[str, Any] | None:
    """A body with one made-up row under `key`."""
    if version.is_large:
        return None
    values = {name: array.tolist() for name, array in example_rows(version.signature, 1).items()}
    return {key: [{field.name: [values[f"{field.name}[0]"]] if field.sequence else
                   values[field.name][0] if is_rows(field) else values[field.name]
                   for field in version.signature.inputs}]}


def _example_tensors(version: Described) -> dict[str, Any] | None:
    """The same as tensors."""
    if version.is_large:
        return None
    rows = example_rows(version.signature, 1)
    return {"inputs": [{"name": name, "datatype": version.signature.input(name).datatype, "shape": list(array.shape),
                        "data": array.ravel().tolist()} for name, array in rows.items()]}
