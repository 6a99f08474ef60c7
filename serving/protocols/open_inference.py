"""Open Inference Protocol v2 over JSON: `POST /v2/models/{model}[/versions/{version}]/infer`."""

from __future__ import annotations

import math
from typing import Any

import orjson

from serinus.models.errors import InvalidSignature
from serinus.models.signature import DATATYPES, Field, Signature, datatype_of
from serinus.serving.errors import InvalidInput, InvalidRequest, RequestError
from serinus.serving.inputs import fit, plain_numbers, routing_key, rows_of, say, to_array
from serinus.serving.protocols import STATUS, ErrorAnswer, Headers, Rendered
from serinus.serving.request import Answer, InferenceRequest

__all__ = ["OpenInference"]

_MATRIX = "input"
_DATATYPES: dict[str, str] = {}


class OpenInference:
    """The protocol of KServe, Triton and MLServer; errors are `{"error": string}`."""

    name = "open_inference"
    routes = ("/v2/models/{model}/infer", "/v2/models/{model}/versions/{version}/infer")

    def parse(self, body: bytes, headers: Headers, signature: Signature) -> InferenceRequest:
        """See `Protocol.parse`."""
        document = _load(body)
        tensors = document.get("inputs")
        if not isinstance(tensors, list):
            raise InvalidRequest(f"$.inputs: expected a list of tensors, got {_kind(tensors)}. "
                                 'Send {"inputs": [{"name", "shape", "datatype", "data"}]}.')
        inputs: dict[str, Any] = {}
        rows = 1
        without_booleans = b"true" not in body and b"false" not in body
        for index, tensor in enumerate(tensors):
            field, array = (_plain(tensor, signature) if without_booleans else None) or _tensor(
                tensor, f"$.inputs[{index}]", signature)
            if field.name in inputs:
                raise InvalidInput(f"Input {field.name!r} stands twice in $.inputs. Send each input once.")
            inputs[field.name] = array
            if index == 0:
                rows = rows_of(array, field)
        parameters = document.get("parameters")
        key = parameters.get("routing_key") if isinstance(parameters, dict) else None
        wanted = document.get("outputs")
        client_id = document.get("id")
        return InferenceRequest(
            inputs, rows, _output_names(wanted) if wanted else None,
            client_id if isinstance(client_id, str) and client_id else None,
            routing_key(key, "$.parameters.routing_key"))

    def render(self, answer: Answer) -> Rendered:
        """See `Protocol.render`."""
        outputs = [
            {"name": name, "shape": array.shape, "datatype": _DATATYPES.get(array.dtype.char) or _datatype(array),
             "data": array.ravel().tolist() if array.dtype.hasobject else array.ravel()}
            for name, array in answer.outputs.items()]
        return Rendered(orjson.dumps(
            {"model_name": answer.model, "model_version": answer.version,
             "id": answer.request.request_id or answer.request_id,
             "parameters": {"role": answer.role, "prediction_id": answer.prediction}, "outputs": outputs},
            option=orjson.OPT_SERIALIZE_NUMPY))

    def error(self, error: RequestError, request_id: str) -> ErrorAnswer:
        """See `Protocol.error`."""
        body: dict[str, Any] = {"error": str(error)}
        if error.violations:
            body["violations"] = [violation._asdict() for violation in error.violations]
        return ErrorAnswer(STATUS[error.kind], b"application/json", orjson.dumps(body))


def _datatype(array: Any) -> str:
    return _DATATYPES.setdefault(array.dtype.char, datatype_of(array.dtype))


def _load(body: bytes) -> dict[str, Any]:
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidRequest(f"The body is not JSON: {error}. Send a JSON object.") from None
    if not isinstance(document, dict):
        raise InvalidRequest(f"The body: expected a JSON object, got {_kind(document)}.")
    return document


def _plain(tensor: Any, signature: Signature) -> tuple[Field, Any] | None:
    """A tensor that is just what the signature says; None sends it the long way, which also says what is wrong."""
    try:
        field = signature.input(tensor["name"])
        if tensor["datatype"] != field.datatype:
            return None
        array = plain_numbers(tensor["data"], tensor["shape"], field)
    except (KeyError, TypeError, InvalidSignature):
        return None
    return None if array is None else (field, array)


def _tensor(tensor: Any, path: str, signature: Signature) -> tuple[Field, Any]:
    if not isinstance(tensor, dict):
        raise InvalidRequest(f"{path}: expected an object with name, shape, datatype and data, got {_kind(tensor)}.")
    if not isinstance(tensor.get("name"), str):
        raise InvalidRequest(f"{path}.name: expected the input's name, got {_kind(tensor.get('name'))}.")
    field = _field(tensor["name"], tensor, path, signature)
    declared = tensor.get("datatype")
    if declared != field.datatype and not (isinstance(declared, str) and declared in DATATYPES):
        raise InvalidRequest(f"{path}.datatype: expected one of {', '.join(DATATYPES)}, got {say(declared)}.")
    if (declared == "BYTES") != (field.datatype == "BYTES"):
        raise InvalidInput(f"Input {field.name!r} at {path}: expected datatype {field.datatype}, got {declared}.")
    if "data" not in tensor:
        raise InvalidRequest(f"{path}.data: expected the tensor's values, got nothing.")
    array = to_array(tensor["data"], field, f"{path}.data")
    shape = tensor.get("shape")
    if shape != list(array.shape):
        array = _reshape(array, shape, path)
    return field, fit(array, field, path)


def _field(name: str, tensor: dict[str, Any], path: str, signature: Signature) -> Field:
    for field in signature.inputs:
        if field.name == name:
            return field
    if name == _MATRIX and all(field.datatype != "BYTES" and len(field.shape) == 1 for field in signature.inputs):
        # All columns in one matrix, gaps allowed; `validate` takes it apart.
        return Field(_MATRIX, "FP64", (-1, len(signature.inputs)), optional=True)
    known = ", ".join(repr(field.name) for field in signature.inputs[:8])
    raise InvalidInput(f"Input {name!r} at {path} unknown: the model wants {known}. "
                       "Leave it out or correct its name.")


def _reshape(array: Any, shape: Any, path: str) -> Any:
    if not isinstance(shape, list) or not all(type(n) is int and n >= 0 for n in shape):
        raise InvalidRequest(f"{path}.shape: expected a list of sizes, got {say(shape)}.")
    try:
        return array.reshape(shape)
    except ValueError:
        wanted = math.prod(shape)
        raise InvalidInput(f"{path}: shape {shape} wants {wanted} values, data has {array.size}.") from None


def _output_names(wanted: Any) -> tuple[str, ...]:
    if not isinstance(wanted, list) or not all(isinstance(o, dict) and isinstance(o.get("name"), str) for o in wanted):
        raise InvalidRequest('$.outputs: expected a list of {"name": …} objects.')
    return tuple(output["name"] for output in wanted)


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a string", bool: "a boolean", type(None): "nothing"}
    return names.get(type(value), "a number")
