"""What both arms of a rollout answered, for truths that come later: a file for each worker's life.

    answers := JSON of rollout, classes and slices, a newline | 48 bytes for each answer

Every answer stands in the step in which its request was assigned, with its routing key's hash and its slices. They are
a sample, taken alike from both arms: the first `RATE` of each second. The files lie beside the prediction log, so
truths find them after restarts too.
"""

from __future__ import annotations

import logging
import os
import struct
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import orjson
from numpy.typing import NDArray

from serinus.serving.rollout.tally import Window
from serinus.serving.shadow.slices import Slices

__all__ = ["NO_CLASS", "RATE", "AnswerWriter", "Answered", "Given", "answers_in", "blank_answers", "read_answers"]

_log = logging.getLogger("serinus.rollout")

FORMAT = 1
SUFFIX = ".answers"
RATE = 50
"""Answers a second that a worker keeps, at most."""
MOST = 1_000_000
NO_CLASS = -1
"""Stands for the class of an answer that has none, a number."""
_ROW = np.dtype([("uuid", "V16"), ("key", "<u8"), ("label", "<i8"), ("slices", "<u8"), ("bucket", "<u4"),
                 ("step", "<u2"), ("arm", "<u2")])
_PACK = struct.Struct("<16sQqQIHH")
assert _PACK.size == _ROW.itemsize


class Given(NamedTuple):
    """One answer: `label` is its class's number or `NO_CLASS`, `arm` 1 for the candidate."""

    uuid: bytes
    key: int
    label: int
    window: Window
    arm: int


@dataclass(frozen=True)
class Answered:
    """What a file holds; `rows` has the fields of a `Given` and its slices' bits."""

    path: Path
    rollout_id: str
    model: str
    labels: tuple[str, ...]
    slices: tuple[str, ...]
    rows: NDArray[Any]


class AnswerWriter:
    """Keeps a sample of answers in `folder`: those with a class, or `any_answer`. The first ones, from which the slices
    are learnt, wait in memory."""

    def __init__(self, folder: Path, rollout_id: str, incarnation: str, model: str, labels: Sequence[object], *,
                 any_answer: bool = False) -> None:
        self.path = folder / f"{rollout_id}-{incarnation}{SUFFIX}"
        self.labels = {label: number for number, label in enumerate(labels)}
        self._head = {"format": FORMAT, "rollout_id": rollout_id, "model": model, "labels": list(map(str, labels))}
        self._slices = Slices()
        self._early: list[tuple[Given, Mapping[str, str]]] = []
        self._file = -1
        self.any_answer = any_answer
        self._left = MOST if labels or any_answer else 0
        self._second = self._taken = 0

    def wants(self, now_ns: int) -> bool:
        """Whether the answer of this moment belongs to the sample."""
        second = now_ns // 1_000_000_000
        if second != self._second:
            self._second, self._taken = second, 0
        self._taken += 1
        return self._taken <= RATE and self._left > 0

    def add(self, given: Given, values: Mapping[str, str]) -> None:
        """Keep an answer; `values` are those of its inputs that may make slices."""
        if self._left <= 0:
            return
        try:
            if self._file >= 0:
                self._write(given, values)
                return
            self._early.append((given, values))
            if self._slices.learn(values):
                self._begin()
        except OSError as error:
            self._left = 0
            _log.error("There is no room for the answers of a rollout (%s): truths that come later tell nothing of "
                       "this worker's. Free space.", error.strerror or error)

    def _begin(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        os.write(self._file, orjson.dumps({**self._head, "slices": list(self._slices.names or ())}) + b"\n")
        for given, values in self._early:
            self._write(given, values)
        self._early = []

    def _write(self, given: Given, values: Mapping[str, str]) -> None:
        self._left -= 1
        window = given.window
        data = _PACK.pack(given.uuid, given.key, given.label, self._slices.of(values), window.bucket, window.step,
                          given.arm)
        if os.write(self._file, data) != len(data):
            raise OSError("short write")

    def close(self) -> None:
        """End it."""
        if self._file >= 0:
            os.close(self._file)
        elif self._early:
            self._slices.names = ()
            self._begin()
            os.close(self._file)
        self._file, self._left = -1, 0


def answers_in(folder: Path) -> dict[str, list[Path]]:
    """The files in a folder, by rollout."""
    found: dict[str, list[Path]] = {}
    for path in sorted(folder.glob(f"*{SUFFIX}")):
        found.setdefault(path.name.rpartition("-")[0], []).append(path)
    return found


def blank_answers(path: Path, predictions: Collection[tuple[bytes, int]]) -> int:
    """Overwrite the answers of some predictions (UUID and row) in a file, be it still written; how many there were."""
    answered, count = read_answers(path), 0
    if answered is None:
        return 0
    begin = path.read_bytes().index(b"\n") + 1
    with path.open("r+b", buffering=0) as stream:
        for index, row in enumerate(answered.rows):
            if (row["uuid"].tobytes(), 0) in predictions:
                os.pwrite(stream.fileno(), bytes(_ROW.itemsize), begin + index * _ROW.itemsize)
                count += 1
    return count


def read_answers(path: Path) -> Answered | None:
    """A file as it is now; None where it is only being made. FileNotFoundError when it is gone."""
    head, newline, rows = path.read_bytes().partition(b"\n")
    if not newline:
        return None
    facts = orjson.loads(head)
    whole = len(rows) - len(rows) % _ROW.itemsize
    return Answered(path, facts["rollout_id"], facts["model"], tuple(facts["labels"]), tuple(facts["slices"]),
                    np.frombuffer(rows[:whole], _ROW))
