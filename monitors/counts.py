"""Counts: how often each code of each feature was seen, and the sums that tell a direction.

One flat buffer holds all of it, so counts can live in an array, in a memory-mapped file or in a message. Adding is
exact: counts are integers, and deviations come rounded to 1/256 (`encoder`), so that their sums in float64 lose nothing
up to 10⁹ rows. Therefore merging is associative and commutative to the last bit, whoever counted which rows.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serinus.monitors.errors import InvalidData
from serinus.monitors.features import MISSING, WIDTH

__all__ = ["Counts"]

Buffer = Any
"""Anything writable with the buffer protocol: a bytearray, an mmap, a memoryview."""


class Counts:
    """A table of counts over a flat buffer.

    Layout, 8 bytes each: the rows, `table` int64 [R, 18], `sums` float64 [R, 2].

    Attributes:
        table: how often each code was seen; the row sums are equal where every feature was seen in every row.
        sums: Σd and Σd² of the deviations d = (x − centre) / scale, clipped to ±10, so that a value of 1e300 neither
            overflows nor hides what the others say; 0 for missing values and for categories.
    """

    __slots__ = ("_rows", "sums", "table")

    def __init__(self, features: int, buffer: Buffer | None = None) -> None:
        memory = bytearray(self.size(features)) if buffer is None else buffer
        cells = features * WIDTH
        self._rows: NDArray[np.int64] = np.frombuffer(memory, np.int64, 1)
        self.table: NDArray[np.int64] = np.frombuffer(memory, np.int64, cells, 8).reshape(features, WIDTH)
        self.sums: NDArray[np.float64] = np.frombuffer(memory, np.float64, 2 * features, 8 + 8 * cells).reshape(-1, 2)

    @staticmethod
    def size(features: int) -> int:
        """Give the bytes that the counts of so many features take."""
        return 8 * (1 + features * (WIDTH + 2))

    @property
    def rows(self) -> int:
        """How many rows were counted."""
        return int(self._rows[0])

    @rows.setter
    def rows(self, rows: int) -> None:
        self._rows[0] = rows

    @property
    def features(self) -> int:
        """How many features are counted."""
        return len(self.table)

    def add(self, codes: NDArray[np.uint8], deviations: NDArray[np.float64] | None = None) -> None:
        """Count rows: `codes` [n, R] and `deviations` [n, R], as `Encoder.observe` gives them."""
        if codes.shape[1:] != (self.features,):
            raise InvalidData(f"These counts have {self.features} features; got codes of shape {codes.shape}.")
        cells = codes + np.arange(0, self.features * WIDTH, WIDTH)
        self.table += np.bincount(cells.ravel(), minlength=self.table.size).reshape(self.table.shape)
        if deviations is not None:
            self.sums[:, 0] += deviations.sum(axis=0)
            self.sums[:, 1] += np.einsum("nr,nr->r", deviations, deviations)
        self._rows += len(codes)

    def shifts(self) -> NDArray[np.float64]:
        """Give the mean deviation of each feature [R] in units of its scale; 0 where nothing was seen."""
        seen = self.table.sum(axis=1) - self.table[:, MISSING]
        return np.asarray(self.sums[:, 0] / np.maximum(seen, 1))

    def copy(self) -> Counts:
        """Give counts of one's own: these may live in memory that others write."""
        return Counts.from_bytes(self.to_bytes())

    def __add__(self, other: Counts) -> Counts:
        return self._joined(other, 1)

    def __sub__(self, other: Counts) -> Counts:
        return self._joined(other, -1)

    def _joined(self, other: Counts, sign: int) -> Counts:
        if other.features != self.features:
            raise InvalidData(
                f"Counts of {self.features} and of {other.features} features do not fit; count with one profile."
            )
        joined = self.copy()
        joined._rows += sign * other._rows
        joined.table += sign * other.table
        joined.sums += sign * other.sums
        return joined

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Counts) and self.to_bytes() == other.to_bytes()

    __hash__ = None  # type: ignore[assignment]  # they change

    def __repr__(self) -> str:
        return f"Counts(rows={self.rows}, features={self.features})"

    def to_bytes(self) -> bytes:
        """Give the buffer's bytes."""
        sums = self.sums + 0.0  # −0.0 + 0.0 is 0.0, so that equal sums are equal bytes
        return self._rows.tobytes() + self.table.tobytes() + sums.tobytes()

    @classmethod
    def from_bytes(cls, data: bytes) -> Counts:
        """Read what `to_bytes` gave. Raises InvalidData for another length."""
        features, rest = divmod(len(data) - 8, 8 * (WIDTH + 2))
        if rest or features < 0:
            raise InvalidData(f"Counts take 8 bytes and {8 * (WIDTH + 2)} a feature; got {len(data)} bytes.")
        return cls(features, bytearray(data))

    def to_json(self) -> dict[str, Any]:
        """Give the counts as JSON values."""
        return {"rows": self.rows, "features": self.features, "data": base64.b64encode(self.to_bytes()).decode()}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Counts:
        """Read what `to_json` wrote. Raises InvalidData where that cannot be."""
        try:
            return cls.from_bytes(base64.b64decode(document["data"]))
        except (KeyError, TypeError, binascii.Error) as error:
            raise InvalidData(f"Counts cannot be read ({error!r}): got {document!r:.200}.") from error
