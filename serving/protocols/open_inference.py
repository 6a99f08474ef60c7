"""Open Inference Protocol v2: `POST /v2/models/{model}[/versions/{version}]/infer`, in JSON and in binary tensors."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import orjson

from serinus.models.errors import InvalidSignature
from serinus.models.signature import DATATYPES, Field, Signature, datatype_of
from serinus.serving.errors import InvalidInput, InvalidRequest, RequestError, Violation
from serinus.serving.inputs import (
    fit,
    input_field,
    plain_numbers,
    prediction_keys,
    quote,
    refuse_gaps,
    routing_key,
    say,
    to_array,
    wanted_inputs,
    widen,
)
from serinus.serving.protocols import STATUS, ErrorAnswer, Headers, Rendered
from serinus.serving.protocols.binary_tensors import (
    JSON_LENGTH,
    BinaryReply,
    Tail,
    decode,
    encode,
    json_length,
    lone_tensor,
)
from serinus.serving.protocols.documents import SHORT, dumps, holds
from serinus.serving.protocols.predictions import novelty, refer, remarked
from serinus.serving.request import Answer, InferenceRequest

__all__ = ["OpenInference"]

_MATRIX = "input"
_WHERE = "$.inputs[{index}].data[{row}]"
_MAX_DIMENSIONS = 64
_DATATYPES: dict[str, str] = {}


class OpenInference:
    """The protocol of KServe, Triton and MLServer; errors are `{"error": string}`."""

    name = "open_inference"
    routes: tuple[str, ...] = ("/v2/models/{model}/infer", "/v2/models/{model}/versions/{version}/infer")

    def parse(self, body: bytes, headers: Headers, signature: Signature) -> InferenceRequest:
        """See `Protocol.parse`. A body that says nothing of its type is JSON, and so is one that says another."""
        tail = None
        if JSON_LENGTH in headers:
            length = json_length(headers[JSON_LENGTH], len(body))
            if not length:
                return _lone(body, signature)
            body, tail = body[:length], Tail(memoryview(body)[length:])
        try:
            document = orjson.loads(body)
        except orjson.JSONDecodeError as error:
            raise _not_json(error, body) from None
        if type(document) is not dict:
            raise InvalidRequest(f"The body: expected a JSON object, got {_kind(document)}.")
        inputs: dict[str, Any] = {}
        rows = None
        quick = tail is None and (b"true" not in body and b"false" not in body if len(body) < SHORT
                                  else not holds(body, b"true", b"u") and not holds(body, b"false", b"l"))
        tensors = document.get("inputs")
        for index, tensor in enumerate(tensors if type(tensors) is list else _no_tensors(tensors, signature)):
            name, field, array = (_plain(tensor, signature) if quick else None) or _tensor(
                tensor, f"$.inputs[{index}]", signature, tail)
            if name in inputs:
                raise InvalidInput(f"Input {quote(name)} stands twice in $.inputs. Send each input once.",
                                   (Violation(f"$.inputs[{index}]", "duplicate_column", "once", "twice"),))
            inputs[name] = array
            if rows is None and field.shape and field.shape[0] == -1 and not field.sequence:
                rows = array.shape[0]
        if tail is not None:
            tail.check_end()
        parameters, wanted, client_id = document.get("parameters"), document.get("outputs"), document.get("id")
        names = reply = key = own = None
        if parameters is not None or wanted is not None:
            names, reply, key, own = _wishes(_parameters(document, "$"), wanted)
        if client_id is not None and not isinstance(client_id, str):
            raise InvalidRequest(f"$.id: expected a string, got {say(client_id)}.")
        request = InferenceRequest(inputs, 1 if rows is None else rows, names, client_id or None, key, (), reply,
                                   _WHERE)
        return request if own is None else request._replace(prediction_keys=own)

    def render(self, answer: Answer) -> Rendered:
        """See `Protocol.render`."""
        if answer.request.reply is not None:
            return _render_binary(answer, answer.request.reply)
        return Rendered(dumps(_document(answer, [
            {"name": name, "shape": array.shape, "datatype": _DATATYPES.get(array.dtype.char) or _datatype(array),
             "data": array.ravel().tolist() if array.dtype.hasobject else array.ravel()}
            for name, array in answer.outputs.items()])))

    def error(self, error: RequestError, request_id: str) -> ErrorAnswer:
        """See `Protocol.error`."""
        body: dict[str, Any] = {"error": str(error)}
        if error.violations:
            body["violations"] = [violation.as_json() for violation in error.violations]
        return ErrorAnswer(STATUS[error.kind], b"application/json", orjson.dumps(body))


def _document(answer: Answer, outputs: list[dict[str, Any]]) -> dict[str, Any]:
    return {"model_name": answer.model, "model_version": answer.version,
            "id": answer.request.request_id or answer.request_id,
            "parameters": {"role": answer.role, "prediction_id": answer.prediction, **_remarked(answer)},
            "outputs": outputs}


def _remarked(answer: Answer) -> dict[str, Any]:
    """What was remarked upon, as parameters, which hold plain values only: the list is JSON text."""
    return {name: value if isinstance(value, int) else orjson.dumps(value).decode()
            for name, value in (remarked(answer.request) | refer(answer) | novelty(answer)).items()}


def _render_binary(answer: Answer, reply: BinaryReply) -> Rendered:
    outputs, tensors = [], []
    for name, array in answer.outputs.items():
        output: dict[str, Any] = {"name": name, "shape": array.shape, "datatype": _datatype(array)}
        if reply.wants(name):
            tensors.append(encode(array))
            output["parameters"] = {"binary_data_size": len(tensors[-1])}
        else:
            output["data"] = array.ravel().tolist() if array.dtype.hasobject else array.ravel()
        outputs.append(output)
    document = dumps(_document(answer, outputs))
    if not tensors:
        return Rendered(document)
    return Rendered(b"".join((document, *tensors)), b"application/octet-stream",
                    b"%b: %d\r\n" % (JSON_LENGTH, len(document)))


def _datatype(array: Any) -> str:
    return _DATATYPES.setdefault(array.dtype.char, datatype_of(array.dtype))


def _lone(body: bytes, signature: Signature) -> InferenceRequest:
    field, array = lone_tensor(body, signature)
    rows = array.shape[0] if field.shape and field.shape[0] == -1 else 1
    return InferenceRequest({field.name: array}, rows, reply=BinaryReply({}, True), where=_WHERE)


def _not_json(error: orjson.JSONDecodeError, body: bytes) -> InvalidRequest:
    literals = b"NaN" in body or b"Infinity" in body
    hint = ', with NaN and Infinity as the strings "NaN", "Infinity"' if literals else ""
    return InvalidRequest(f"The body is not JSON: {error}. Send a JSON object{hint}.")


def _no_tensors(tensors: Any, signature: Signature) -> tuple[()]:
    if tensors is None and not signature.inputs:
        return ()
    raise InvalidRequest(f"$.inputs: expected a list of tensors, got {_kind(tensors)}. "
                         'Send {"inputs": [{"name", "shape", "datatype", "data"}]}.')


def _wishes(parameters: dict[str, Any], outputs: Any) -> tuple[
        tuple[str, ...] | None, BinaryReply | None, str | None, str | tuple[str | None, ...] | None]:
    """The outputs wanted, which of them as bytes, the routing key, and the predictions' keys."""
    if outputs is not None:
        _check_outputs(outputs)
    names = tuple(dict.fromkeys(output["name"] for output in outputs)) if outputs else None
    key = routing_key(parameters.get("routing_key"), "$.parameters.routing_key")
    own = prediction_keys(parameters.get("prediction_key"), "$.parameters.prediction_key")
    return names, _reply(parameters, outputs or ()), key, own


def _check_outputs(wanted: Any) -> None:
    if not isinstance(wanted, list) or not all(isinstance(o, dict) and isinstance(o.get("name"), str) for o in wanted):
        raise InvalidRequest('$.outputs: expected a list of {"name": …} objects.')


def _reply(parameters: dict[str, Any], outputs: Iterable[dict[str, Any]]) -> BinaryReply | None:
    """Which outputs are wanted as bytes; None when none is."""
    others = _flag(parameters, "binary_data_output", "$")
    named: dict[str, bool] = {}
    for index, output in enumerate(outputs):
        path = f"$.outputs[{index}]"
        flag = _flag(_parameters(output, path), "binary_data", path)
        if flag is not None:
            named[output["name"]] = flag
    return BinaryReply(named, bool(others)) if others or any(named.values()) else None


def _parameters(holder: dict[str, Any], path: str) -> dict[str, Any]:
    parameters = holder.get("parameters")
    if parameters is None:
        return {}
    if not isinstance(parameters, dict):
        raise InvalidRequest(f"{path}.parameters: expected an object, got {_kind(parameters)}.")
    return parameters


def _flag(parameters: dict[str, Any], name: str, path: str) -> bool | None:
    flag = parameters.get(name)
    if flag is not None and not isinstance(flag, bool):
        raise InvalidRequest(f"{path}.parameters.{name}: expected true or false, got {say(flag)}.")
    return flag


def _plain(tensor: Any, signature: Signature) -> tuple[str, Field, Any] | None:
    """A tensor that is just what the signature says; None sends it the long way, which also says what is wrong."""
    try:
        name = tensor["name"]
        field = signature.input(name)
        if tensor["datatype"] != field.datatype or "parameters" in tensor:
            return None
        array = plain_numbers(tensor["data"], tensor["shape"], field)
    except (KeyError, TypeError, InvalidSignature):
        return None
    return None if array is None else (name, field, array)


def _tensor(tensor: Any, path: str, signature: Signature, tail: Tail | None) -> tuple[str, Field, Any]:
    if not isinstance(tensor, dict):
        raise InvalidRequest(f"{path}: expected an object with name, shape, datatype and data, got {_kind(tensor)}.")
    name, declared = tensor.get("name"), tensor.get("datatype")
    if not isinstance(name, str):
        raise InvalidRequest(f"{path}.name: expected the input's name, got {_kind(name)}.")
    field = _field(name, path, signature)
    if not isinstance(declared, str) or declared not in DATATYPES:
        raise InvalidRequest(f"{path}.datatype: expected one of {', '.join(DATATYPES)}, got {say(declared)}.")
    if (declared == "BYTES") != (field.datatype == "BYTES"):
        raise InvalidInput(f"Input {quote(name)} at {path}: expected datatype {field.datatype}, got {declared}.")
    size = _parameters(tensor, path).get("binary_data_size")
    if size is None:
        return name, field, _from_json(tensor, field, path, signature)
    return name, field, _from_bytes(tensor, field, path, _taken(tensor, size, path, tail))


def _field(name: str, path: str, signature: Signature) -> Field:
    field = input_field(name, signature)
    if field is not None:
        return field
    fields = signature.inputs
    if name == _MATRIX and fields and all(field.datatype != "BYTES" and field.shape == (-1,) and not field.sequence
                                          for field in fields):
        # All columns in one matrix, gaps allowed; `validate` takes it apart.
        return Field(_MATRIX, "FP64", (-1, len(fields)), optional=True)
    raise InvalidInput(f"Input {quote(name)} at {path} unknown: the model {wanted_inputs(signature)}. "
                       "Leave it out or correct its name.")


def _from_json(tensor: dict[str, Any], field: Field, path: str, signature: Signature) -> Any:
    if "data" not in tensor:
        raise InvalidRequest(f"{path}.data: expected the tensor's values, got nothing.")
    array = to_array(tensor["data"], field, f"{path}.data")
    shape = tensor.get("shape")
    if shape != list(array.shape):
        array = _reshape(array, _sizes(shape, path), path)
    array = fit(array, field, path)
    if field.name == _MATRIX and input_field(_MATRIX, signature) is None and np.isnan(array).any():
        refuse_gaps(tensor["data"], signature, f"{path}.data")
    return array


def _from_bytes(tensor: dict[str, Any], field: Field, path: str, data: memoryview) -> Any:
    declared = tensor["datatype"]
    array = decode(data, declared, _sizes(tensor.get("shape"), path), path)
    return fit(widen(array, declared, field, path), field, path)


def _taken(tensor: dict[str, Any], size: Any, path: str, tail: Tail | None) -> memoryview:
    if type(size) is not int or size < 0:
        raise InvalidRequest(f"{path}.parameters.binary_data_size: expected a number of bytes, got {say(size)}.")
    if tensor.get("data") is not None:
        raise InvalidRequest(f"{path}: expected data or binary_data_size, got both. Send the values once.")
    if tail is None:
        raise InvalidRequest(f"{path}.parameters.binary_data_size: expected the header Inference-Header-Content-Length "
                             "with the size of the JSON, got none.")
    return tail.take(size, path)


def _sizes(shape: Any, path: str) -> list[int]:
    if not isinstance(shape, list) or not all(type(size) is int and size >= 0 for size in shape):
        raise InvalidRequest(f"{path}.shape: expected a list of sizes, got {say(shape)}.")
    if len(shape) > _MAX_DIMENSIONS:
        raise InvalidRequest(f"{path}.shape: expected at most {_MAX_DIMENSIONS} dimensions, got {len(shape)}.")
    return shape


def _reshape(array: Any, shape: list[int], path: str) -> Any:
    try:
        return array.reshape(shape)
    except ValueError:
        wanted = math.prod(shape)
        raise InvalidInput(f"{path}: shape {shape} wants {wanted} values, data has {array.size}.") from None


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a string", bool: "a boolean", type(None): "nothing"}
    return names.get(type(value), "a number")
