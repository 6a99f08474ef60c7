"""The prediction log's frames, format 1.

    segment := header frame*
    header  := magic "SRNSEG\\r\\n" | format u16 | 6 zero bytes | writer u64 | first sequence u64 | created ns u64
    frame   := length u32 | CRC-32C of the payload u32 | payload
    payload := kind u8 …    all integers little-endian

A *context* frame (kind 1) holds the JSON of what many records share: model, version, role and the names of
inputs and outputs. A *prediction* frame (kind 2) refers to it by number and is otherwise binary: ids, times and
the arrays' own bytes, so that nothing is converted on the way in and no digit is lost. Behind the arrays stand
*remarks*, where there are any: code u8 | length u32 | bytes. Who does not know a code passes over it.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
import orjson
from google_crc32c import value as crc32c
from numpy.typing import NDArray

from serinus.monitors.record import PredictionRecord

__all__ = ["CONTEXT", "FORMAT", "HEADER_BYTES", "MAGIC", "PREDICTION", "ArrayLayout", "Context", "FrameError",
           "Layout", "beginning", "decode_context", "decode_prediction", "encode_context", "encode_prediction", "frame",
           "layout", "pack_header", "unpack_header"]

FORMAT = 1
MAGIC = b"SRNSEG\r\n"
CONTEXT, PREDICTION = 1, 2

_HEADER = struct.Struct("<8sH6xQQQ")
HEADER_BYTES = _HEADER.size
_FRAME = struct.Struct("<II")
FRAME_BYTES = _FRAME.size
_CONTEXT_HEAD = struct.Struct("<BxH")
# kind, context, rows, uuid, received, duration, key hash, trace id (two halves), span id, request id
_PREDICTION_HEAD = struct.Struct("<BxHI16sQQQQQQH")
_BEGINNING = struct.Struct("<2xHI16s")  # of the same
_ARRAY_HEAD = struct.Struct("<BB")
_U32 = struct.Struct("<I")
_MISSING = 0xFFFF_FFFF
_MASK64 = (1 << 64) - 1
_REMARK = struct.Struct("<BI")
_VIOLATIONS, _NOVELTY = 1, 2

# The codes are part of format 1: never renumber, only add.
_DTYPES = {1: np.dtype(np.bool_), 2: np.dtype(np.uint8), 3: np.dtype(np.uint16), 4: np.dtype(np.uint32),
           5: np.dtype(np.uint64), 6: np.dtype(np.int8), 7: np.dtype(np.int16), 8: np.dtype(np.int32),
           9: np.dtype(np.int64), 10: np.dtype(np.float16), 11: np.dtype(np.float32), 12: np.dtype(np.float64)}
_CODES: dict[str, int] = {str(dtype.char): code for code, dtype in _DTYPES.items()} | {"q": 9, "Q": 5}
_HEADS: dict[tuple[str, tuple[int, ...]], bytes] = {}
_MOST_HEADS = 4096
_TEXT = 32  # elements one by one: length u32 (0xFFFFFFFF: missing), UTF-8


class FrameError(Exception):
    """The bytes are not a frame of this format."""


class Context(NamedTuple):
    """What the records of one version and role share."""

    model: str
    version: str
    role: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


def pack_header(writer: int, first_sequence: int, created_ns: int) -> bytes:
    """The first bytes of a segment."""
    return _HEADER.pack(MAGIC, FORMAT, writer, first_sequence, created_ns)


def unpack_header(data: bytes) -> tuple[int, int, int]:
    """Writer, first sequence number and creation time of a segment; a `FrameError` says what is wrong with it."""
    if len(data) < HEADER_BYTES or data[:8] != MAGIC:
        raise FrameError("not a prediction log segment")
    _, version, writer, first, created = _HEADER.unpack_from(data)
    if version != FORMAT:
        raise FrameError(f"segment has format {version}, this program reads format {FORMAT}: upgrade it")
    return writer, first, created


def frame(payload: bytes) -> bytes:
    """The payload with its length and checksum in front."""
    return _FRAME.pack(len(payload), crc32c(payload)) + payload


def unframe(data: memoryview, offset: int) -> tuple[memoryview, int] | None:
    """The payload at `offset` and where the next frame starts; None when it is torn or damaged."""
    start = offset + FRAME_BYTES
    if start > len(data):
        return None
    length, checksum = _FRAME.unpack_from(data, offset)
    end = start + length
    if end > len(data) or not length or crc32c(bytes(data[start:end])) != checksum:
        return None
    return data[start:end], end


def encode_context(number: int, context: Context) -> bytes:
    """Payload of a context frame."""
    return _CONTEXT_HEAD.pack(CONTEXT, number) + orjson.dumps(context._asdict())


def decode_context(payload: memoryview) -> tuple[int, Context]:
    """The number and the context of a context frame's payload."""
    _, number = _CONTEXT_HEAD.unpack_from(payload)
    fields = orjson.loads(payload[_CONTEXT_HEAD.size:])
    return number, Context(fields["model"], fields["version"], fields["role"],
                           tuple(fields["inputs"]), tuple(fields["outputs"]))


def encode_prediction(record: PredictionRecord, context: int) -> bytes:
    """Payload of a prediction frame."""
    request_id = record.request_id.encode()
    parts = [
        _PREDICTION_HEAD.pack(
            PREDICTION, context, record.rows, record.prediction_uuid,
            record.received_ns, record.duration_ns, record.routing_key_hash,
            record.trace_id >> 64, record.trace_id & _MASK64, record.span_id, len(request_id)),
        request_id,
    ]
    for array in (*record.inputs.values(), *record.outputs.values()):
        char, shape = array.dtype.char, array.shape
        parts.append(_HEADS.get((char, shape)) or _head_of(char, shape, array.itemsize))
        if char in _CODES:
            parts.append(array.tobytes())
        else:
            parts.extend(_encode_texts(array.ravel().tolist()))
    if record.violations:
        parts += _remark(_VIOLATIONS, orjson.dumps(record.violations))
    if record.novelty is not None:
        parts += _remark(_NOVELTY, record.novelty.tobytes())
    return b"".join(parts)


def _head_of(char: str, shape: tuple[int, ...], itemsize: int) -> bytes:
    """What stands before an array's values; requests repeat the same few."""
    if len(_HEADS) >= _MOST_HEADS:
        _HEADS.clear()
    size = math.prod(shape) * itemsize if char in _CODES else 0
    head = _ARRAY_HEAD.pack(_CODES.get(char, _TEXT), len(shape)) + struct.pack(f"<{len(shape) + 1}Q", *shape, size)
    _HEADS[char, shape] = head
    return head


def _remark(code: int, data: bytes) -> tuple[bytes, bytes]:
    return _REMARK.pack(code, len(data)), data


def beginning(payload: memoryview) -> tuple[int, int, bytes]:
    """The number of a prediction frame's context, its rows and its UUID, without decoding the rest."""
    return _BEGINNING.unpack_from(payload)


def decode_prediction(payload: memoryview, contexts: Mapping[int, Context]) -> PredictionRecord:
    """The record in a prediction frame's payload; its arrays are views of the payload."""
    (_, number, rows, prediction_uuid, received, duration, key_hash, trace_high, trace_low, span_id,
     id_length) = _PREDICTION_HEAD.unpack_from(payload)
    context = contexts.get(number)
    if context is None:
        raise FrameError(f"prediction frame refers to context {number}, which its segment does not hold")
    offset = _PREDICTION_HEAD.size
    request_id = bytes(payload[offset:offset + id_length]).decode()
    arrays, offset = [], offset + id_length
    for _ in range(len(context.inputs) + len(context.outputs)):
        array, offset = _decode_array(payload, offset)
        arrays.append(array)
    split = len(context.inputs)
    remarks = _decode_remarks(payload, offset) if offset < len(payload) else {}
    violations, novelty = remarks.get(_VIOLATIONS), remarks.get(_NOVELTY)
    return PredictionRecord(
        prediction_uuid, request_id, received, duration, context.model, context.version, context.role, rows,
        dict(zip(context.inputs, arrays[:split], strict=True)),
        dict(zip(context.outputs, arrays[split:], strict=True)),
        key_hash, trace_high << 64 | trace_low, span_id,
        None if violations is None else orjson.loads(violations),
        None if novelty is None else np.frombuffer(novelty, np.float64))


def _decode_remarks(payload: memoryview, offset: int) -> dict[int, memoryview]:
    found = {}
    while offset < len(payload):
        code, length = _REMARK.unpack_from(payload, offset)
        offset += _REMARK.size
        found[code] = payload[offset:offset + length]
        offset += length
    return found


class ArrayLayout(NamedTuple):
    """Where one array stands in a payload: its whole values, or where `dtype` is None each text (None: missing)."""

    dtype: np.dtype[Any] | None
    shape: tuple[int, ...]
    values: tuple[tuple[int, int] | None, ...]


class Layout(NamedTuple):
    """Where everything stands in a prediction frame's payload.

    Another payload of the same context and length, that has the same bytes in every `fixed` span, has the same layout.
    """

    fixed: tuple[tuple[int, int], ...]
    arrays: tuple[ArrayLayout, ...]


def layout(payload: memoryview, arrays: int) -> Layout:
    """The layout of a prediction frame with so many arrays: for reading many such frames at once."""
    rows, id_length = 4, _PREDICTION_HEAD.size - 2
    fixed = [(rows, rows + 4), (id_length, id_length + 2)]
    offset = _PREDICTION_HEAD.size + int.from_bytes(payload[id_length:id_length + 2], "little")
    found = []
    for _ in range(arrays):
        code, dimensions = _ARRAY_HEAD.unpack_from(payload, offset)
        *shape, size = struct.unpack_from(f"<{dimensions + 1}Q", payload, offset + _ARRAY_HEAD.size)
        fixed.append((offset, offset := offset + _ARRAY_HEAD.size + 8 * (dimensions + 1)))
        values: list[tuple[int, int] | None] = []
        if code != _TEXT:
            values.append((offset, offset := offset + size))
        for _ in range(math.prod(shape) if code == _TEXT else 0):
            (length,) = _U32.unpack_from(payload, offset)
            fixed.append((offset, offset := offset + 4))
            values.append(None if length == _MISSING else (offset, offset := offset + length))
        found.append(ArrayLayout(_DTYPES.get(code), tuple(shape), tuple(values)))
    return Layout(tuple(fixed), tuple(found))


def _encode_texts(values: Iterable[Any]) -> Iterable[bytes]:
    for value in values:
        if value is None or value != value:
            yield _U32.pack(_MISSING)
        else:
            text = value if isinstance(value, bytes) else _utf8(str(value))
            yield _U32.pack(len(text)) + text


def _utf8(text: str) -> bytes:
    return text.encode() if text.isascii() else text.encode("utf-8", "surrogatepass")


def _decode_array(payload: memoryview, offset: int) -> tuple[NDArray[Any], int]:
    code, dimensions = _ARRAY_HEAD.unpack_from(payload, offset)
    *shape, size = struct.unpack_from(f"<{dimensions + 1}Q", payload, offset + _ARRAY_HEAD.size)
    offset += _ARRAY_HEAD.size + 8 * (dimensions + 1)
    if code == _TEXT:
        return _decode_texts(payload, offset, tuple(shape))
    if code not in _DTYPES:
        raise FrameError(f"prediction frame has an array of unknown type code {code}")
    array = np.frombuffer(payload[offset:offset + size], dtype=_DTYPES[code]).reshape(shape)
    return array, offset + size


def _decode_texts(payload: memoryview, offset: int, shape: tuple[int, ...]) -> tuple[NDArray[Any], int]:
    array = np.empty(shape, dtype=object)
    for index in range(array.size):
        (length,) = _U32.unpack_from(payload, offset)
        offset += 4
        if length != _MISSING:
            array.flat[index] = bytes(payload[offset:offset + length]).decode("utf-8", "surrogatepass")
            offset += length
    return array, offset
