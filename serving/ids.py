"""Prediction ids: UUIDv7 whose random bits carry the writer and a sequence number.

Layout of the 128 bits: 48 bits Unix time in ms | version 7 | 12 bits | variant | 62 bits, where the 74 bits
that RFC 9562 leaves free hold `writer` (34 bits, drawn anew by every worker process) and `sequence` (40 bits,
counting that writer's requests). So an id alone says its hour and, since segments are named by writer and
first sequence number, the segment that holds its record: no index of predictions is needed.
"""

from __future__ import annotations

import re
import secrets
import uuid
from typing import NamedTuple

__all__ = ["IdSource", "PredictionId", "is_prediction_id", "parse_prediction_id", "prediction_id", "uuid_text"]

_SEQUENCE_BITS = 40
_WRITER_BITS = 34
_TEXT = re.compile(r"([0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12})-(0|[1-9][0-9]{0,8})")


class PredictionId(NamedTuple):
    """What a prediction id says by itself. `time_ms` is Unix time."""

    uuid: bytes
    time_ms: int
    writer: int
    sequence: int
    row: int


class IdSource:
    """Gives one UUIDv7 per request of this process, as 16 bytes and as text.

    Not thread-safe: a worker answers on one event loop.
    """

    def __init__(self, writer: int | None = None) -> None:
        self.writer = secrets.randbits(_WRITER_BITS) if writer is None else writer
        self.sequence = 0
        self._last_ms = -1
        self._head_bytes = b""
        self._head_text = ""

    def next(self, now_ns: int) -> tuple[bytes, str]:
        """The next id at Unix time `now_ns`; ids of one source sort in the order they were given."""
        now_ms = now_ns // 1_000_000
        if now_ms > self._last_ms:  # a clock that steps back keeps the latest time, so that ids stay sorted
            self._start_millisecond(now_ms)
        sequence = self.sequence
        self.sequence = sequence + 1
        return self._head_bytes + sequence.to_bytes(5), f"{self._head_text}{sequence:010x}"

    def _start_millisecond(self, now_ms: int) -> None:
        self._last_ms = now_ms
        value = _compose(now_ms, self.writer, 0)
        self._head_bytes = value.to_bytes(16)[:11]
        text = f"{value:032x}"
        self._head_text = f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:22]}"


def prediction_id(prediction_uuid: bytes, row: int) -> str:
    """The text form given to callers: the request's UUID, `-`, the row's number."""
    return f"{uuid_text(prediction_uuid)}-{row}"


def uuid_text(value: bytes) -> str:
    """A UUID's 16 bytes as text; what `uuid.UUID` gives, in a fourth of the time."""
    text = value.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def is_prediction_id(text: str) -> bool:
    """Whether `text` looks like a prediction id of ours."""
    return _TEXT.fullmatch(text) is not None


def parse_prediction_id(text: str) -> PredictionId | None:
    """What `text` says, or None when it is no prediction id of ours."""
    match = _TEXT.fullmatch(text)
    if match is None:
        return None
    value = uuid.UUID(match[1]).int
    free = ((value >> 64) & 0xFFF) << 62 | value & ((1 << 62) - 1)
    return PredictionId(value.to_bytes(16), value >> 80, free >> _SEQUENCE_BITS,
                        free & ((1 << _SEQUENCE_BITS) - 1), int(match[2]))


def _compose(now_ms: int, writer: int, sequence: int) -> int:
    free = writer << _SEQUENCE_BITS | sequence
    high, low = free >> 62, free & ((1 << 62) - 1)
    return (now_ms & ((1 << 48) - 1)) << 80 | 0x7 << 76 | high << 64 | 0b10 << 62 | low
