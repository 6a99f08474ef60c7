"""Reads many prediction frames at once: those that are laid out alike are one table of bytes.

Frames of one context and length mostly differ in their values alone. The first one says where everything stands; where
all lengths and shapes of another are the same, its values stand there too. What fits nobody is decoded by itself.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from serinus.serving.prediction_log.frame import ArrayLayout, Context, decode_prediction, layout

__all__ = ["Piece", "flat", "pieces"]

_FEWEST = 4
_HEAD = struct.Struct("<BxHI16s")
_LOW_40 = (1 << 40) - 1

Bytes = NDArray[np.uint8]


class Piece(NamedTuple):
    """Some requests: a sequence number, time and number of rows for each, and for each row what was asked for."""

    sequences: NDArray[np.uint64]
    times_ms: NDArray[np.int64]
    rows: NDArray[np.int64]
    outputs: tuple[NDArray[Any] | None, ...]


def pieces(payloads: Sequence[memoryview], contexts: Mapping[int, Context],
           wanted: Sequence[str | None]) -> list[Piece]:
    """Read frames of one context and length; `wanted` names the outputs."""
    found = []
    context = contexts[_HEAD.unpack_from(payloads[0])[1]]
    rest = np.frombuffer(b"".join(payloads), np.uint8).reshape(len(payloads), -1)
    while len(rest) >= _FEWEST:
        shape = layout(memoryview(rest[0].tobytes()), len(context.inputs) + len(context.outputs))
        alike = np.ones(len(rest), bool)
        for begin, end in shape.fixed:
            alike &= (rest[:, begin:end] == rest[0, begin:end]).all(1)
        if alike.sum() < _FEWEST:
            break
        found.append(_table(rest[alike], context, shape.arrays, wanted))
        rest = rest[~alike]
    return found + [_single(memoryview(each.tobytes()), contexts, wanted) for each in rest]


def _table(table: Bytes, context: Context, arrays: Sequence[ArrayLayout], wanted: Sequence[str | None]) -> Piece:
    rows = int(_HEAD.unpack_from(table[0].tobytes())[2])
    numbers = np.ascontiguousarray(table[:, 8:24]).view(">u8")
    sequences = numbers[:, 1].astype(np.uint64) & np.uint64(_LOW_40)
    times = (numbers[:, 0] >> np.uint64(16)).astype(np.int64)
    outputs = tuple(_column(table, context, arrays, name, rows) for name in wanted)
    return Piece(sequences, times, np.full(len(table), rows), outputs)


def _column(table: Bytes, context: Context, arrays: Sequence[ArrayLayout], name: str | None,
            rows: int) -> NDArray[Any] | None:
    if name is None or name not in context.outputs:
        return None
    array = arrays[len(context.inputs) + context.outputs.index(name)]
    if not array.shape or array.shape[0] != rows:
        return None
    if array.dtype is not None:
        values = np.ascontiguousarray(table[:, _span(array.values[0])]).view(array.dtype)
        return flat(values.reshape(len(table) * rows, *array.shape[1:]))
    texts = np.empty((len(table), len(array.values)), object)
    for index, place in enumerate(array.values):
        if place is not None:
            whole, size = table[:, _span(place)].tobytes(), place[1] - place[0]
            texts[:, index] = [whole[at:at + size].decode("utf-8", "surrogatepass")
                               for at in range(0, size * len(table), size)] if size else ""
    return flat(texts.reshape(len(table) * rows, *array.shape[1:]))


def _span(place: tuple[int, int] | None) -> slice:
    return slice(0) if place is None else slice(*place)


def _single(payload: memoryview, contexts: Mapping[int, Context], wanted: Sequence[str | None]) -> Piece:
    record = decode_prediction(payload, contexts)
    number = int.from_bytes(record.prediction_uuid)
    outputs = []
    for name in wanted:
        array = record.outputs.get(name) if name is not None else None
        fits = array is not None and array.ndim and len(array) == record.rows
        outputs.append(flat(array) if array is not None and fits else None)
    return Piece(np.array([number & _LOW_40], np.uint64), np.array([number >> 80], np.int64),
                 np.array([record.rows], np.int64), tuple(outputs))


def flat(array: NDArray[Any]) -> NDArray[Any]:
    """A column of one is as good as none."""
    return array.ravel() if array.ndim == 2 and array.shape[1] == 1 else array
