"""Requests as bytes, for whatever server speaks the Open Inference Protocol: what it should answer, and how refuse.

Grouped by where real servers differ. Nothing here knows the server: a valid request is made from a model's metadata.
"""

from __future__ import annotations

import gzip
import http.client
import json
import struct
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import numpy as np

__all__ = ["ACCEPTED", "REFUSED", "Accepted", "Answer", "Refused", "Request", "Subject", "send"]

JSON_LENGTH = "Inference-Header-Content-Length"
DTYPES = {"BOOL": "?", "BYTES": "O", "FP16": "<f2", "FP32": "<f4", "FP64": "<f8"} | {
    f"{sign}INT{bits}": f"<{'u' if sign else 'i'}{bits // 8}" for sign in ("", "U") for bits in (8, 16, 32, 64)
}


class Request(NamedTuple):
    """One request; no header is sent beside those named here, Host and Content-Length."""

    path: str
    body: bytes
    headers: Mapping[str, str] = {}
    method: str = "POST"


class Answer(NamedTuple):
    """One answer; header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The document: all of the body, or what stands before the binary tensors."""
        return json.loads(self.body[: int(self.headers.get(JSON_LENGTH.lower(), len(self.body)))])

    def outputs(self) -> dict[str, tuple[str, list[int], list[Any]]]:
        """Every output's datatype, shape and values, in whichever form they came."""
        rest = memoryview(self.body)[int(self.headers.get(JSON_LENGTH.lower(), len(self.body))) :]
        found = {}
        for output in self.json["outputs"]:
            size = output.get("parameters", {}).get("binary_data_size")
            values = output["data"] if size is None else unpacked(rest[:size], output["datatype"])
            rest = rest[size or 0 :]
            found[output["name"]] = output["datatype"], output["shape"], values
        assert not rest
        return found


def send(base_url: str, request: Request) -> Answer:
    """One exchange on a connection of its own."""
    url = urlsplit(base_url)
    connection = http.client.HTTPConnection(url.hostname or "", url.port, timeout=30)
    try:
        connection.putrequest(request.method, url.path.rstrip("/") + request.path, skip_accept_encoding=True)
        for name, value in {"Content-Length": str(len(request.body)), **request.headers}.items():
            connection.putheader(name, value)
        connection.endheaders(request.body)
        response = connection.getresponse()
        return Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, response.read())
    finally:
        connection.close()


def packed(values: list[Any], datatype: str) -> bytes:
    """A tensor's bytes."""
    if datatype == "BYTES":
        return b"".join(struct.pack("<I", len(value.encode())) + value.encode() for value in values)
    return np.array(values, dtype=DTYPES[datatype]).tobytes()


def unpacked(data: memoryview, datatype: str) -> list[Any]:
    """A tensor's values."""
    if datatype != "BYTES":
        return np.frombuffer(data, dtype=DTYPES[datatype]).tolist()
    texts = []
    while data:
        (length,) = struct.unpack_from("<I", data)
        texts.append(bytes(data[4 : 4 + length]).decode())
        data = data[4 + length :]
    return texts


@dataclass(frozen=True)
class Subject:
    """A model that is asked, and a request of two rows that it answers."""

    name: str
    metadata: Mapping[str, Any]

    @property
    def path(self) -> str:
        """Where it answers."""
        return f"/v2/models/{self.name}/infer"

    @property
    def document(self) -> dict[str, Any]:
        """The plain request, made anew each time."""
        return {"inputs": [_tensor(field, number) for number, field in enumerate(self.metadata["inputs"])]}

    def changed(self, **changes: Any) -> Request:
        """The plain request with something else in its document."""
        return self.raw(json.dumps(self.document | changes).encode())

    def first(self, **changes: Any) -> Request:
        """The plain request with something else in its first input; None removes it."""
        tensor, *others = self.document["inputs"]
        tensor = {key: value for key, value in (tensor | changes).items() if value is not None}
        return self.changed(inputs=[tensor, *others])

    def raw(self, body: bytes, **headers: str) -> Request:
        """Any body."""
        return Request(self.path, body, {"Content-Type": "application/json", **headers})

    def binary(self, *, mixed: bool = False, **changes: Any) -> tuple[bytes, bytes]:
        """The request with binary tensors, all or every second one: its JSON and what follows."""
        document, tail = self.document | {"parameters": {"binary_data_output": True}} | changes, b""
        for tensor in document["inputs"][:: 2 if mixed else 1]:
            data = packed(tensor.pop("data"), tensor["datatype"])
            tensor["parameters"] = {"binary_data_size": len(data)}
            tail += data
        return json.dumps(document).encode(), tail

    def with_length(self, text: bytes, tail: bytes, length: str | None = None, name: str = JSON_LENGTH) -> Request:
        """A request with binary tensors, whose header may lie."""
        length = str(len(text)) if length is None else length
        return Request(self.path, text + tail, {name: length, "Content-Type": "application/octet-stream"})


def _tensor(field: Mapping[str, Any], number: int) -> dict[str, Any]:
    shape = [2 if place == 0 and size == -1 else max(size, 1) for place, size in enumerate(field["shape"])]
    count = int(np.prod(shape))
    one: Any = {"BYTES": "a", "BOOL": True}.get(field["datatype"], 1.5 if "FP" in field["datatype"] else 1)
    other: Any = {"BYTES": "b", "BOOL": False}.get(field["datatype"], 2 + number % 5)
    data = [one if index % 2 else other for index in range(count)]
    return {"name": field["name"], "datatype": field["datatype"], "shape": shape, "data": data}


class Accepted(NamedTuple):
    """A request that is answered as the plain one is, and what else holds of its answer."""

    make: Callable[[Subject], Request]
    also: Callable[[Answer], object] = lambda answer: True


class Refused(NamedTuple):
    """A request that is refused with one of these statuses and `{"error": string}`."""

    make: Callable[[Subject], Request]
    status: tuple[int, ...] = (400,)


def _nested(subject: Subject) -> Request:
    tensors = subject.document["inputs"]
    for tensor in tensors:
        tensor["data"] = np.array(tensor["data"], dtype=object).reshape(tensor["shape"]).tolist()
    return subject.changed(inputs=tensors)


def _with_parameters(subject: Subject) -> Request:
    tensors = [tensor | {"parameters": {"content_type": "np"}} for tensor in subject.document["inputs"]]
    return subject.changed(inputs=tensors, model_name=subject.name, parameters={"timeout": 1_000_000, "custom": "x"})


def _plain(subject: Subject, **headers: str) -> Request:
    return Request(subject.path, json.dumps(subject.document).encode(), headers)


def _compressed(subject: Subject, encoding: str, compress: Callable[[bytes], bytes]) -> Request:
    return subject.raw(compress(json.dumps(subject.document).encode()), **{"Content-Encoding": encoding})


def _outputs(subject: Subject, **parameters: Any) -> list[dict[str, Any]]:
    return [{"name": output["name"], "parameters": parameters} for output in subject.metadata["outputs"]]


def _is_binary(answer: Answer) -> bool:
    return JSON_LENGTH.lower() in answer.headers and answer.headers["content-type"] == "application/octet-stream"


def _is_json(answer: Answer) -> bool:
    return JSON_LENGTH.lower() not in answer.headers and answer.headers["content-type"].startswith("application/json")


ACCEPTED: dict[str, Accepted] = {
    "JSON: as it is": Accepted(lambda s: s.changed(), _is_json),
    "JSON: nested data": Accepted(_nested),
    "JSON: parameters at every level, the model's name": Accepted(_with_parameters),
    "JSON: null for what may be left out": Accepted(lambda s: s.changed(id=None, parameters=None, outputs=None)),
    "JSON: outputs by name": Accepted(lambda s: s.changed(outputs=_outputs(s))),
    "content type: none": Accepted(_plain),
    "content type: a form, as curl says": Accepted(
        lambda s: _plain(s, **{"Content-Type": "application/x-www-form-urlencoded"})
    ),
    "content type: with a charset": Accepted(
        lambda s: _plain(s, **{"Content-Type": "application/json; charset=utf-8"})
    ),
    "content type: bytes, of plain JSON": Accepted(lambda s: _plain(s, **{"Content-Type": "application/octet-stream"})),
    "id: none, so one is made": Accepted(
        lambda s: s.changed(), lambda a: isinstance(a.json["id"], str) and a.json["id"]
    ),
    "id: given, so returned": Accepted(lambda s: s.changed(id="käse 7"), lambda a: a.json["id"] == "käse 7"),
    "binary: as tritonclient sends it": Accepted(lambda s: s.with_length(*s.binary()), _is_binary),
    "binary: the header in lower case, as KServe's client sends it": Accepted(
        lambda s: s.with_length(*s.binary(), name=JSON_LENGTH.lower()), _is_binary
    ),
    "binary: mixed with JSON": Accepted(lambda s: s.with_length(*s.binary(mixed=True)), _is_binary),
    "binary: inputs only": Accepted(lambda s: s.with_length(*s.binary(parameters={})), _is_json),
    "binary: outputs only": Accepted(lambda s: s.changed(parameters={"binary_data_output": True}), _is_binary),
    "binary: outputs by name": Accepted(lambda s: s.changed(outputs=_outputs(s, binary_data=True)), _is_binary),
    "binary: an output's word goes before the request's": Accepted(
        lambda s: s.changed(outputs=_outputs(s, binary_data=False), parameters={"binary_data_output": True}), _is_json
    ),
    "binary: a header over plain JSON": Accepted(
        lambda s: s.with_length(json.dumps(s.document).encode(), b""), _is_json
    ),
    "binary: spaces behind the JSON": Accepted(
        lambda s: s.with_length(s.binary()[0] + b"   ", s.binary()[1]), _is_binary
    ),
    "compression: gzip": Accepted(lambda s: _compressed(s, "gzip", gzip.compress)),
    "compression: deflate": Accepted(lambda s: _compressed(s, "deflate", zlib.compress)),
    "compression: identity": Accepted(lambda s: _compressed(s, "identity", bytes)),
}

REFUSED: dict[str, Refused] = {
    "bad JSON: cut short": Refused(lambda s: s.raw(b'{"inputs": [')),
    "bad JSON: nothing": Refused(lambda s: s.raw(b"")),
    "bad JSON: zero bytes": Refused(lambda s: s.raw(bytes(100))),
    "bad JSON: not UTF-8": Refused(lambda s: s.raw(b'{"id": "\xff", "inputs": []}')),
    "bad JSON: a list": Refused(lambda s: s.raw(b"[1]")),
    "bad JSON: too deep": Refused(lambda s: s.raw(b"[" * 100_000)),
    "bad JSON: NaN without quotes": Refused(lambda s: s.first(data=[float("nan")] * 2)),
    "inputs: none": Refused(lambda s: s.raw(b"{}")),
    "inputs: null": Refused(lambda s: s.changed(inputs=None)),
    "inputs: an object": Refused(lambda s: s.changed(inputs=s.document["inputs"][0])),
    "inputs: empty": Refused(lambda s: s.changed(inputs=[])),
    "inputs: an unknown one": Refused(lambda s: s.changed(inputs=[*s.document["inputs"], _stranger(s)])),
    "inputs: one twice": Refused(lambda s: s.changed(inputs=s.document["inputs"] * 2)),
    "inputs: no name": Refused(lambda s: s.first(name=None)),
    "inputs: no data": Refused(lambda s: s.first(data=None)),
    "datatype: none": Refused(lambda s: s.first(datatype=None)),
    "datatype: unknown": Refused(lambda s: s.first(datatype="DOUBLE")),
    "datatype: a number": Refused(lambda s: s.first(datatype=5)),
    "datatype: another kind of values": Refused(lambda s: s.first(data=[{}, {}])),
    "shape: none": Refused(lambda s: s.first(shape=None)),
    "shape: more values than data": Refused(lambda s: s.first(shape=[999])),
    "shape: fewer values than data": Refused(lambda s: s.first(shape=[1])),
    "shape: negative": Refused(lambda s: s.first(shape=[-1])),
    "shape: text": Refused(lambda s: s.first(shape=["2"])),
    "shape: enormous": Refused(lambda s: s.first(shape=[2**62, 2**62])),
    "shape: more dimensions than the model's": Refused(lambda s: s.first(shape=[1, 1, 1, 1, 2])),
    "data: rows of unequal length": Refused(lambda s: s.first(data=[[1, 2], [3]])),
    "parameters: a list": Refused(lambda s: s.changed(parameters=[])),
    "outputs: an unknown name": Refused(lambda s: s.changed(outputs=[{"name": "no such output"}])),
    "outputs: no name": Refused(lambda s: s.changed(outputs=[{}])),
    "outputs: text": Refused(lambda s: s.changed(outputs="predict")),
    "binary: the header beyond the body": Refused(lambda s: s.with_length(*s.binary(), length="99999999")),
    "binary: the header negative": Refused(lambda s: s.with_length(*s.binary(), length="-1")),
    "binary: the header no number": Refused(lambda s: s.with_length(*s.binary(), length="many")),
    "binary: the header within the JSON": Refused(lambda s: s.with_length(*s.binary(), length="20")),
    "binary: no header": Refused(lambda s: s.raw(b"".join(s.binary()))),
    "binary: a byte missing": Refused(lambda s: s.with_length(s.binary()[0], s.binary()[1][:-1])),
    "binary: a byte left over": Refused(lambda s: s.with_length(s.binary()[0], s.binary()[1] + b"\0")),
    "binary: sizes that do not match the shape": Refused(
        lambda s: s.with_length(s.binary()[0].replace(b'"shape": [2', b'"shape": [3'), s.binary()[1])
    ),
    "binary: the tensors missing": Refused(lambda s: s.with_length(s.binary()[0], b"")),
    "compression: cut short": Refused(lambda s: _compressed(s, "gzip", lambda body: gzip.compress(body)[:-9])),
    "compression: none, though announced": Refused(lambda s: _compressed(s, "gzip", bytes)),
    "compression: of an unknown kind": Refused(lambda s: _compressed(s, "br", bytes), (400, 415)),
    "compression: a bomb": Refused(
        lambda s: _compressed(s, "gzip", lambda _: gzip.compress(bytes(1 << 26))), (400, 413)
    ),
    "address: an unknown model": Refused(lambda s: s.changed()._replace(path="/v2/models/no-such-model/infer"), (404,)),
    "address: an unknown version": Refused(
        lambda s: s.changed()._replace(path=f"/v2/models/{s.name}/versions/4711/infer"), (404,)
    ),
    "address: a version that is no number": Refused(
        lambda s: s.changed()._replace(path=f"/v2/models/{s.name}/versions/x/infer"), (404,)
    ),
    "address: an unknown model's metadata": Refused(lambda s: Request("/v2/models/none", b"", method="GET"), (404,)),
    "address: an unknown version's metadata": Refused(
        lambda s: Request(f"/v2/models/{s.name}/versions/4711", b"", method="GET"), (404,)
    ),
    "address: another method": Refused(lambda s: Request(s.path, b"", method="GET"), (405,)),
    "address: nothing there": Refused(lambda s: Request(f"/v2/models/{s.name}/nothing", b""), (404,)),
}


def _stranger(subject: Subject) -> dict[str, Any]:
    return subject.document["inputs"][0] | {"name": "no such input"}
