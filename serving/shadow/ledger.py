"""The ledger: each pair of a rollout as a few bytes on disk, for truths that come later.

    ledger := JSON of rollout, labels and slices, a newline | 44 bytes for each pair

An answer is its class's number, or, without labels, the number that was given. The ledger lies beside the prediction
log, so truths find their pairs after restarts too. After the first million pairs nothing is added.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

__all__ = ["Entry", "Ledger", "LedgerWriter", "blank_pairs", "ledgers_in", "read_ledger"]

FORMAT = 2
SUFFIX = ".pairs"
MOST = 1_000_000
_ROW = np.dtype([("uuid", "V16"), ("row", "<u4"), ("stable", "<f8"), ("candidate", "<f8"), ("slices", "<u8")])
_HEAD_BYTES = 64 * 1024

Entry = tuple[bytes, int, float, float, int]
"""Prediction's UUID, row, stable's and the candidate's answer, and the slices' bits."""


@dataclass(frozen=True)
class Ledger:
    """What a ledger holds; `rows` has the fields of an `Entry`."""

    path: Path
    rollout_id: str
    model: str
    source: str
    labels: tuple[str, ...]
    slices: tuple[str, ...]
    rows: NDArray[Any]


class LedgerWriter:
    """Appends to a rollout's ledger in `folder`; one that is there already is gone on with, unless another release
    wrote it."""

    def __init__(self, folder: Path, rollout_id: str, model: str, source: str, labels: Sequence[str],
                 slices: Sequence[str]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{rollout_id}-{source}{SUFFIX}"
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        head = orjson.dumps({"format": FORMAT, "rollout_id": rollout_id, "model": model, "source": source,
                             "labels": list(labels), "slices": list(slices)}) + b"\n"
        size = os.fstat(self._file).st_size
        if size == 0:
            os.write(self._file, head)
        else:
            before = os.pread(self._file, _HEAD_BYTES, 0)
            begun = before.index(b"\n") + 1
            if orjson.loads(before[:begun])["format"] != FORMAT:
                self._left = 0
                return
            os.ftruncate(self._file, size - (size - begun) % _ROW.itemsize)  # its writer may have died in mid-write
            size -= begun
        self._left = MOST - size // _ROW.itemsize

    def append(self, entries: Sequence[Entry]) -> None:
        """Add pairs, as far as there is room."""
        fitting = entries[:max(0, self._left)]
        if fitting:
            os.write(self._file, np.array(fitting, _ROW).tobytes())
            self._left -= len(fitting)

    def close(self) -> None:
        """End it."""
        os.close(self._file)


def ledgers_in(folder: Path) -> list[Path]:
    """The ledgers in a folder."""
    return sorted(folder.glob(f"*{SUFFIX}"))


def blank_pairs(path: Path, predictions: Collection[tuple[bytes, int]]) -> int:
    """Overwrite the pairs of some predictions (UUID and row) in a ledger, be it still written; how many there were."""
    ledger, count = read_ledger(path), 0
    if ledger is None:
        return 0
    begin = path.read_bytes().index(b"\n") + 1
    with path.open("r+b", buffering=0) as stream:
        for index, row in enumerate(ledger.rows):
            if (row["uuid"].tobytes(), int(row["row"])) in predictions:
                os.pwrite(stream.fileno(), bytes(_ROW.itemsize), begin + index * _ROW.itemsize)
                count += 1
    return count


def read_ledger(path: Path) -> Ledger | None:
    """A ledger as it is now; None where it is only being made, or of another release. FileNotFoundError when it is
    gone."""
    head, newline, rows = path.read_bytes().partition(b"\n")
    if not newline:
        return None
    facts = orjson.loads(head)
    if facts["format"] != FORMAT:
        return None
    whole = len(rows) - len(rows) % _ROW.itemsize
    return Ledger(path, facts["rollout_id"], facts["model"], facts["source"], tuple(facts["labels"]),
                  tuple(facts["slices"]), np.frombuffer(rows[:whole], _ROW))
