"""The Open Inference Protocol's binary tensors: behind the JSON of a request or an answer, its tensors' own bytes in
the same order.

Numbers are little-endian and row by row, a BOOL is one byte, and every text of a BYTES tensor is its length in 4 bytes
and itself in UTF-8. The header `Inference-Header-Content-Length` says where the JSON ends, and 0 that there is none.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from serinus.models.signature import DATATYPES, Field, Signature, element_of
from serinus.serving.errors import InvalidInput, InvalidRequest
from serinus.serving.inputs import quote, say, wanted_inputs

__all__ = ["JSON_LENGTH", "BinaryReply", "Tail", "decode", "encode", "json_length", "lone_tensor"]

JSON_LENGTH = b"inference-header-content-length"

_U32 = struct.Struct("<I")
_MAX_DIGITS = 18


class BinaryReply(NamedTuple):
    """Which outputs the caller wants as bytes: those that it names, and all others or none."""

    named: Mapping[str, bool]
    others: bool

    def wants(self, output: str) -> bool:
        """Whether this output goes behind the JSON; a tensor of a sequence goes where its sequence goes."""
        if output not in self.named and (element := element_of(output)) is not None:
            output = element[0]
        return self.named.get(output, self.others)


class Tail:
    """What follows a request's JSON: the bytes of its tensors, to be taken off one after the other."""

    def __init__(self, data: memoryview) -> None:
        self._data = data
        self._taken = 0

    def take(self, size: int, path: str) -> memoryview:
        """The next `size` bytes. Raises InvalidRequest when fewer are left."""
        left = len(self._data) - self._taken
        if size > left:
            raise InvalidRequest(f"{path}.parameters.binary_data_size: expected at most the {left} bytes that are left "
                                 f"of the body, got {size}.")
        self._taken += size
        return self._data[self._taken - size:self._taken]

    def check_end(self) -> None:
        """Raises InvalidRequest when bytes are left over."""
        if self._taken != len(self._data):
            raise InvalidRequest(f"{len(self._data)} bytes follow the JSON, and the inputs' binary_data_size sum to "
                                 f"{self._taken}. Send every tensor's bytes, and nothing else.")


def json_length(header: bytes, body_size: int) -> int:
    """Where the JSON ends, as the header says. Raises InvalidRequest for what no body of this size can have."""
    if not header.isdigit() or len(header) > _MAX_DIGITS or int(header) > body_size:
        raise InvalidRequest("Inference-Header-Content-Length: expected the size of the JSON in bytes, at most the "
                             f"{body_size} of the body, got {say(header.decode('latin-1'))}.")
    return int(header)


def decode(data: memoryview, datatype: str, shape: Sequence[int], path: str) -> NDArray[Any]:
    """A tensor of `shape` from its bytes, in memory of its own: aligned and writable, as models may expect.

    Raises InvalidRequest where size and shape differ, InvalidInput where the bytes are no such values.
    """
    if datatype == "BYTES":
        return _texts(data, shape, path)
    dtype = DATATYPES[datatype]
    wanted = math.prod(shape) * dtype.itemsize
    if wanted != len(data):
        raise InvalidRequest(f"{path}: shape {list(shape)} of {datatype} takes {wanted} bytes, got {len(data)}.")
    if datatype == "BOOL" and len(data) and max(data) > 1:
        raise InvalidInput(f"{path}: expected a byte 0 or 1 for every BOOL, got {max(data)}.")
    try:
        return np.ndarray(shape, dtype.newbyteorder("<"), data).astype(dtype)
    except ValueError:  # no values, in a shape whose other sizes are beyond all memory
        raise InvalidRequest(f"{path}.shape: expected sizes that an array can have, got {list(shape)}.") from None


def encode(array: NDArray[Any]) -> bytes:
    """A tensor's bytes. A missing text becomes an empty one: the format knows no other."""
    if array.dtype.kind in "OUS":
        return b"".join(_encoded(array.ravel().tolist()))
    return array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()


def lone_tensor(body: bytes, signature: Signature) -> tuple[Field, NDArray[Any]]:
    """The only input of a request without JSON; its shape is worked out from the signature.

    A BYTES input is one text, the whole body. Raises InvalidRequest where input or shape are not plain.
    """
    field = _lone_field(signature)
    if field.datatype == "BYTES":
        shape = [abs(size) for size in field.shape]
        if math.prod(shape) != 1:
            raise _unclear(f"the input {quote(field.name)} of shape {list(field.shape)} holds more than one text")
        return field, _texts(memoryview(_U32.pack(len(body)) + body), shape, "The body")
    return field, decode(memoryview(body), field.datatype, _lone_shape(field, len(body)), "The body")


def _lone_field(signature: Signature) -> Field:
    fields = [field for field in signature.inputs if not field.optional] or list(signature.inputs)
    if len(fields) != 1 or fields[0].sequence:
        raise _unclear(f"the model {wanted_inputs(signature)}")
    return fields[0]


def _lone_shape(field: Field, size: int) -> list[int]:
    row = math.prod(length for length in field.shape if length != -1) * field.dtype.itemsize
    if not field.shape or field.shape.count(-1) > 1:
        raise _unclear(f"the shape {list(field.shape)} of the input {quote(field.name)} leaves more than one size open")
    if -1 in field.shape and (not row or size % row):
        raise InvalidRequest(f"The body: expected a multiple of {row} bytes for the shape {list(field.shape)} of "
                             f"{field.datatype}, got {size}.")
    return [size // row if length == -1 else length for length in field.shape]


def _unclear(why: str) -> InvalidRequest:
    return InvalidRequest(f"Inference-Header-Content-Length: 0 means one tensor without JSON, and {why}. "
                          "Send a JSON object before the tensors.")


def _texts(data: memoryview, shape: Sequence[int], path: str) -> NDArray[Any]:
    array = np.array([*_decoded(data, path), None], dtype=object)[:-1]  # None: else a lone text made no list
    try:
        return array.reshape(shape)
    except ValueError:
        raise InvalidRequest(f"{path}: shape {list(shape)} wants {math.prod(shape)} texts, "
                             f"got {array.size}.") from None


def _decoded(data: memoryview, path: str) -> Iterator[str]:
    start, size, number = 0, len(data), 0
    while start < size:
        end = start + _U32.size
        if end <= size:
            end += _U32.unpack_from(data, start)[0]
        if end > size:
            raise InvalidRequest(f"{path}: text {number} takes {end - start} bytes with its length, "
                                 f"and {size - start} are left.")
        try:
            yield str(data[start + _U32.size:end], "utf-8")
        except UnicodeDecodeError as error:
            raise InvalidInput(f"{path}: expected UTF-8 in every text, got {error.reason} in text {number}.") from None
        start, number = end, number + 1


def _encoded(values: Sequence[Any]) -> Iterator[bytes]:
    for value in values:
        text = b"" if value is None else value if isinstance(value, bytes) else str(value).encode()
        yield _U32.pack(len(text)) + text
