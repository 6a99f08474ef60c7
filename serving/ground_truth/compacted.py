"""What replaced a segment, in columns, as truths are joined to it: the same as of the segment itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serinus.serving.ground_truth.columns import Answers, Block, block_of, keys_of
from serinus.serving.ground_truth.layouts import flat
from serinus.serving.prediction_log.manifest import Manifest, Part, parquet_folder
from serinus.serving.prediction_log.parquet import read_rows, values_in

__all__ = ["CompactedColumns"]

_Rows = tuple[NDArray[np.uint64], NDArray[np.int64], tuple[NDArray[Any] | None, NDArray[Any] | None]]


class CompactedColumns:
    """The predictions of one manifest's Parquet files; `answers` is that of `SegmentColumns`."""

    def __init__(self, path: Path, manifest: Manifest, answers: Callable[[str, str], Answers | None]) -> None:
        self.path = path
        """Of the segment that was."""
        self.writer = int(manifest.segment.partition("-")[0], 16)
        self.records = 0
        self._manifest = manifest
        self._answers = answers
        self._found: dict[tuple[str, str, str], list[_Rows]] = {}
        self._blocks: list[Block] = []
        self._stamps: list[int] | None = None

    def read(self) -> Iterator[None]:
        """Read it all, the first time and after rows were erased, with a breath now and then."""
        stamps = [_stamp(self._path_of(part)) for part in self._manifest.parts]
        if self._stamps == stamps:
            return
        self._found, self.records = {}, 0
        for part in self._manifest.parts:
            with suppress(FileNotFoundError):  # all of its rows were erased
                yield from self._read(part)
        self._blocks = [block_of(name, *_joined(rows)) for name, rows in self._found.items()]
        self._found, self._stamps = {}, stamps

    def blocks(self) -> list[Block]:
        """What was read."""
        return self._blocks

    def _path_of(self, part: Part) -> Path:
        return parquet_folder(self.path.parent) / part.path

    def _read(self, part: Part) -> Iterator[None]:
        shape = part.shape
        where = self._answers(shape.model, shape.version)
        named = {column.name: column for column in shape.outputs}
        wanted = [None if where is None else named.get(name or "") for name in (where or (None, None))[:2]]
        for table in read_rows(self._path_of(part), ["prediction_id", "role", "outputs"]):
            ids = keys_of(table["prediction_id"].to_pylist())
            outputs = [None if column is None else values_in(table, "outputs", column) for column in wanted]
            roles = np.array(table["role"].to_pylist())
            for role in dict.fromkeys(roles.tolist()):
                mine = roles == role
                answers, scores = (None if values is None else flat(values[mine]) for values in outputs)
                self._found.setdefault((shape.model, shape.version, role), []).append(
                    (ids.keys[mine], ids.times_ms[mine], (answers, scores)))
            self.records += table.num_rows
            yield


def _stamp(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return 0


def _joined(rows: list[_Rows]) -> tuple[NDArray[np.uint64], NDArray[np.int64], list[list[NDArray[Any] | None]]]:
    return (np.concatenate([keys for keys, _, _ in rows]), np.concatenate([times for _, times, _ in rows]),
            [[outputs[which] for _, _, outputs in rows] for which in (0, 1)])
