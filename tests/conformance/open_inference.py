"""A plain client of the Open Inference Protocol: requests of arrays, answers as arrays, in JSON and in bytes."""

import json
import math
import struct
from collections.abc import Iterator, Mapping
from typing import Any

import httpx
import numpy as np

from serinus.models.signature import DATATYPES, datatype_of

JSON_LENGTH = "Inference-Header-Content-Length"


def binary_request(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Headers and content of a request whose tensors are bytes, and that wants bytes back."""
    parts = {name: _bytes(array) for name, array in inputs.items()}
    tensors = [{**_described(name, array), "parameters": {"binary_data_size": len(parts[name])}}
               for name, array in inputs.items()]
    document = json.dumps({"inputs": tensors, "parameters": {"binary_data_output": True}}).encode()
    headers = {JSON_LENGTH: str(len(document)), "Content-Type": "application/octet-stream"}
    return {"headers": headers, "content": b"".join([document, *parts.values()])}


def json_request(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Headers and content of a request in JSON."""
    tensors = [{**_described(name, array), "data": [_sayable(value) for value in array.ravel().tolist()]}
               for name, array in inputs.items()]
    content = json.dumps({"inputs": tensors}, allow_nan=False).encode()
    return {"headers": {"Content-Type": "application/json"}, "content": content}


def answered(response: httpx.Response) -> dict[str, Any]:
    """The arrays of an answer, whichever way each of them travels."""
    length = int(response.headers.get(JSON_LENGTH, len(response.content)))
    document, rest = json.loads(response.content[:length]), response.content[length:]
    arrays = {}
    for output in document["outputs"]:
        dtype, shape = DATATYPES[output["datatype"]], output["shape"]
        size = output.get("parameters", {}).get("binary_data_size")
        if size is None:
            values = list(map(_meant, output["data"])) if dtype.kind == "f" else output["data"]
        else:
            values, rest = list(_texts(rest[:size])) if dtype.hasobject else rest[:size], rest[size:]
        if isinstance(values, bytes):
            arrays[output["name"]] = np.frombuffer(values, dtype).reshape(shape)
        else:
            arrays[output["name"]] = np.array([*values, None], dtype=object)[:-1].astype(dtype).reshape(shape)
    assert not rest
    return arrays


def _described(name: str, array: Any) -> dict[str, Any]:
    return {"name": name, "shape": list(array.shape), "datatype": datatype_of(array.dtype)}


def _bytes(array: Any) -> bytes:
    if array.dtype.kind not in "OUS":
        return bytes(array.tobytes())
    return b"".join(struct.pack("<I", len(text)) + text for text in map(str.encode, array.ravel().tolist()))


def _texts(data: bytes) -> Iterator[str]:
    while data:
        size = struct.unpack_from("<I", data)[0]
        yield data[4 : 4 + size].decode()
        data = data[4 + size :]


def _sayable(value: Any) -> Any:
    if not isinstance(value, float) or math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _meant(value: Any) -> float:
    return float(value)
