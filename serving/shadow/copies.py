"""Copies of requests on their way to the shadow, several in a message.

    message := rollout id, 64 bytes | frame*

The frames are those of the prediction log: contexts, and a prediction for each copy with stable's answer. `duration_ns`
is the time of stable's own call; a copy without outputs is one in which stable failed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from serinus.monitors.record import PredictionRecord
from serinus.serving.prediction_log.frame import (
    CONTEXT,
    Context,
    FrameError,
    decode_context,
    decode_prediction,
    encode_context,
    encode_prediction,
    frame,
    unframe,
)

__all__ = ["MESSAGE_BYTES", "pack", "unpack"]

MESSAGE_BYTES = 96 * 1024
"""The largest message; a copy that does not fit is not sent."""
_HEAD_BYTES = 64


def pack(rollout_id: str, copies: Iterable[PredictionRecord]) -> tuple[bytes, int]:
    """A message with as many of the copies as fit, in their order, and how many these are."""
    parts = [rollout_id.encode().ljust(_HEAD_BYTES, b"\0")]
    size, packed = _HEAD_BYTES, 0
    contexts: dict[tuple[str | None, ...], int] = {}
    for record in copies:
        more = list(_frames(record, contexts))
        size += sum(map(len, more))
        if size > MESSAGE_BYTES:
            break
        parts += more
        packed += 1
    return b"".join(parts), packed


def unpack(message: bytes) -> tuple[str, Iterator[PredictionRecord]]:
    """The rollout and the copies in a message. Raises `FrameError` where it is damaged."""
    if len(message) < _HEAD_BYTES:
        raise FrameError(f"A message of {len(message)} bytes is no message of copies")
    return message[:_HEAD_BYTES].rstrip(b"\0").decode(), _copies(memoryview(message))


def _copies(message: memoryview) -> Iterator[PredictionRecord]:
    contexts: dict[int, Context] = {}
    offset = _HEAD_BYTES
    while (found := unframe(message, offset)) is not None:
        payload, offset = found
        if payload[0] == CONTEXT:
            number, context = decode_context(payload)
            contexts[number] = context
        else:
            yield decode_prediction(payload, contexts)


def _frames(record: PredictionRecord, contexts: dict[tuple[str | None, ...], int]) -> Iterator[bytes]:
    key = (record.version, *record.inputs, None, *record.outputs)
    number = contexts.get(key)
    if number is None:
        number = contexts[key] = len(contexts)
        yield frame(encode_context(number, Context(record.model, record.version, record.role, tuple(record.inputs),
                                                   tuple(record.outputs))))
    yield frame(encode_prediction(record, number))
