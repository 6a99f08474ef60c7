"""The prediction log in columns, as truths are joined to it: a few arrays for each version in a segment.

A prediction id says writer and sequence number, and so the segment; within it a prediction is found by bisection.
A growing segment is read on from where it was.
"""

from __future__ import annotations

import logging
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from serinus.models.signature import Signature
from serinus.models.version import ModelVersion
from serinus.monitors.errors import InvalidData
from serinus.monitors.performance import Definition, definition_for
from serinus.monitors.referral import confidence_output
from serinus.monitors.worth import Worth
from serinus.serving.ground_truth.layouts import Piece, pieces
from serinus.serving.prediction_log.frame import (
    CONTEXT,
    HEADER_BYTES,
    PREDICTION,
    Context,
    FrameError,
    decode_context,
    unframe,
    unpack_header,
)
from serinus.serving.settings import PerformanceSettings

__all__ = ["Answers", "Block", "Ids", "SegmentColumns", "answers_of", "block_of", "first_ms", "id_at", "keys_of",
           "worth_answers"]

HOUR_MS = 3_600_000
_ROW_BITS = 24
_STEP = 500
"""Records between two breaths."""
_FLUSH = 20_000
"""Records that are decoded together at most."""
_CONTEXT = struct.Struct("<2xH")
_FIRST_BYTES = 64 * 1024
_UUID_AT = 8
"""In the payload of a prediction frame."""
_NOBODY = np.uint64(2**64 - 1)
"""The key of a row beyond any request's."""
_OTHERS = np.uint64((1 << 62) - 1)

_log = logging.getLogger("serinus.steward")


class Answers(NamedTuple):
    """Where a version's answers stand in its outputs: labels or numbers, and their scores; and what is measured.

    `scale` is the error of a number that counts as a loss of 1, where that is known.
    """

    output: str | None
    scores: str | None
    definition: Definition
    scale: float | None = None


@lru_cache(256)
def answers_of(signature: Signature) -> Answers | None:
    """Find a version's answers; None where it gives none that a truth could be held against."""
    definition = definition_for(signature)
    if definition is None:
        return None
    scores = confidence_output(signature) if definition.task == "classification" else None
    single = [output for output in signature.outputs if len(output.shape) == 1 or output.shape[1:] == (1,)]
    named = [output.name for output in single if output.labels] or [output.name for output in single]
    return Answers(named[0] if named else None, scores, definition) if named or scores else None


def worth_answers(version: ModelVersion, settings: PerformanceSettings) -> Answers | None:
    """A version's answers, measured by what the settings declare of its model; what does not fit it is logged."""
    found, declared = answers_of(version.signature), settings.by_model.get(version.name)
    if found is None or declared is None:
        return found
    try:
        worth = Worth(declared.positive, declared.values, declared.unit)
        return found._replace(definition=worth.of(found.definition))
    except InvalidData as error:
        _log.error("The setting performance.by_model does not fit %s, which is measured without it: %s", version.tag,
                   error)
        return found


class Ids(NamedTuple):
    """Prediction ids in parts, one array each."""

    writers: NDArray[np.uint64]
    keys: NDArray[np.uint64]
    times_ms: NDArray[np.int64]


def keys_of(prediction_ids: Sequence[str]) -> Ids:
    """Take prediction ids apart, many at once; all must be such (`serinus.serving.ids`)."""
    halves = np.frombuffer(bytes.fromhex("".join([text[:36] for text in prediction_ids]).replace("-", "")), ">u8")
    high, low = halves[0::2].astype(np.uint64), halves[1::2].astype(np.uint64) & _OTHERS
    rows = np.array([text[37:] for text in prediction_ids] or [], dtype="U9").astype(np.uint64)
    writers = (high & np.uint64(0xFFF)) << np.uint64(22) | low >> np.uint64(40)
    return Ids(writers, _keys(low & np.uint64((1 << 40) - 1), rows), (high >> np.uint64(16)).astype(np.int64))


def id_at(hour: int) -> str:
    """The text before which no prediction id of an hour (since 1970) stands."""
    text = f"{hour * HOUR_MS:012x}"
    return f"{text[:8]}-{text[8:]}"


@dataclass(frozen=True)
class Block:
    """Predictions of one version and role in one segment, in the order of their keys."""

    model: str
    version: str
    role: str
    keys: NDArray[np.uint64]
    times_ms: NDArray[np.int64]
    answers: NDArray[Any] | None
    scores: NDArray[Any] | None


class SegmentColumns:
    """One segment's predictions in columns; `answers` says where they stand in the outputs of a version."""

    def __init__(self, path: Path, answers: Callable[[str, str], Answers | None]) -> None:
        self.path = path
        self.writer = unpack_header(_head(path))[0]
        self.records = 0
        self._answers = answers
        self._place = HEADER_BYTES
        self._contexts: dict[int, Context] = {}
        self._waiting: dict[tuple[int, int], list[memoryview]] = {}
        self._pieces: dict[tuple[str, str, str], list[Piece]] = {}
        self._blocks: list[Block] | None = None

    def read(self) -> Iterator[None]:
        """Read what was appended, with a breath now and then."""
        with self.path.open("rb") as stream:
            stream.seek(self._place)
            data = memoryview(stream.read())
        begin, offset = self._place, 0
        while (found := unframe(data, offset)) is not None:
            payload, offset = found
            self._place = begin + offset
            if payload[0] == CONTEXT:
                number, context = decode_context(payload)
                self._contexts[number] = context
            elif payload[0] == PREDICTION:
                self._waiting.setdefault((*_CONTEXT.unpack_from(payload), len(payload)), []).append(payload)
                self.records += 1
                if self.records % _STEP == 0:
                    self._blocks = None
                    if self.records % _FLUSH == 0:
                        self._flush()
                    yield
        self._blocks = None

    def blocks(self) -> list[Block]:
        """What was read so far."""
        if self._blocks is None:
            self._flush()
            self._blocks = [_block(name, found) for name, found in self._pieces.items()]
        return self._blocks

    def _flush(self) -> None:
        """Decode what waits, alike frames at once."""
        waiting, self._waiting = self._waiting, {}
        for (number, _), payloads in waiting.items():
            context = self._contexts.get(number)
            if context is None:
                raise FrameError(f"{self.path.name} refers to context {number}, which it does not hold")
            where = self._answers(context.model, context.version)
            wanted = (None, None) if where is None else (where.output, where.scores)
            name = context.model, context.version, context.role
            self._pieces.setdefault(name, []).extend(pieces(payloads, self._contexts, wanted))


def first_ms(path: Path) -> int | None:
    """The time of a segment's first prediction; others of it may be older by the time that a request takes. None while
    there is none."""
    with path.open("rb") as stream:
        for size in (_FIRST_BYTES, -1):
            stream.seek(HEADER_BYTES)
            data, offset = memoryview(stream.read(size)), 0
            while (found := unframe(data, offset)) is not None:
                payload, offset = found
                if payload[0] == PREDICTION:
                    return int.from_bytes(payload[_UUID_AT:_UUID_AT + 6])
    return None


def _block(name: tuple[str, str, str], found: list[Piece]) -> Block:
    sequences = np.concatenate([piece.sequences for piece in found])
    times = np.concatenate([piece.times_ms for piece in found])
    rows = np.concatenate([piece.rows for piece in found])
    begins = np.repeat(np.cumsum(rows) - rows, rows)
    keys = _keys(np.repeat(sequences, rows), (np.arange(rows.sum()) - begins).astype(np.uint64))
    return block_of(name, keys, np.repeat(times, rows), [[piece.outputs[which] for piece in found] for which in (0, 1)])


def block_of(name: tuple[str, str, str], keys: NDArray[np.uint64], times_ms: NDArray[np.int64],
             outputs: Sequence[list[NDArray[Any] | None]]) -> Block:
    """A block of predictions in any order; `outputs` holds their answers and their scores, piece by piece."""
    order = np.argsort(keys, kind="stable")
    answers, scores = (_joined(found, order) for found in outputs)
    return Block(*name, keys[order], times_ms[order], answers, scores)


def _joined(outputs: list[NDArray[Any] | None], order: NDArray[np.int64]) -> NDArray[Any] | None:
    """None where not every row has one: another release wrote some, or the output is not one per row."""
    there = [output for output in outputs if output is not None]
    if not there or len({output.shape[1:] for output in there}) > 1:
        return None
    whole = np.concatenate(there)
    return whole[order] if len(whole) == len(order) else None


def _keys(sequences: NDArray[np.uint64], rows: NDArray[np.uint64]) -> NDArray[np.uint64]:
    keys = sequences << np.uint64(_ROW_BITS) | rows
    return np.where(rows >> np.uint64(_ROW_BITS), _NOBODY, keys)


def _head(path: Path) -> bytes:
    with path.open("rb") as stream:
        head = stream.read(HEADER_BYTES)
    if len(head) < HEADER_BYTES:
        raise FrameError(f"{path.name} is begun, and has no header yet")
    return head
