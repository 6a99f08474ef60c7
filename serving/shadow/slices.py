"""The slices by which pairs are told apart: learned from the inputs of the first pairs, then fixed.

A slice is a value of a text or boolean input that is not rare, `region=north`. Which slices there are depends on inputs
alone, never on answers. What is personal makes no slice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["LEARNT_FROM", "Slices"]

LEARNT_FROM = 200
"""Pairs that are looked at before the slices are fixed."""
_VALUES = 12
_MOST = 16
_SHARE = 0.03
"""A slice of 5 % is seen as one in 19 of 20 samples."""
_LONGEST = 40


class Slices:
    """Names the slices of a row. `names` is None until they are fixed."""

    def __init__(self, names: Sequence[str] | None = None) -> None:
        self.names = None if names is None else tuple(names)
        self._seen: list[dict[str, str]] = []

    def learn(self, values: Mapping[str, str]) -> bool:
        """Look at one more row; after enough of them the slices are fixed. Whether they are now."""
        self._seen.append(dict(values))
        if len(self._seen) >= LEARNT_FROM:
            self.names = tuple(_frequent(self._seen))
            self._seen = []
        return self.names is not None

    def of(self, values: Mapping[str, str]) -> int:
        """The slices of a row, a bit each; 0 until they are fixed."""
        mine = {f"{name}={value}" for name, value in values.items()}
        return sum(1 << number for number, name in enumerate(self.names or ()) if name in mine)

    def told(self, bits: int) -> Iterable[str]:
        """The names behind the bits."""
        return [name for number, name in enumerate(self.names or ()) if bits >> number & 1]


def values_at(inputs: Mapping[str, NDArray[Any]], row: int) -> dict[str, str]:
    """The values of a row that may make slices."""
    found = {}
    for name, array in inputs.items():
        if array.dtype.kind in "bOU" and array.ndim and array.size == len(array) > row:
            value = array.reshape(-1)[row]
            if isinstance(value, str | bool | np.bool_) and len(text := str(value)) <= _LONGEST:
                found[name] = text
    return found


def _frequent(rows: Sequence[Mapping[str, str]]) -> list[str]:
    found: list[tuple[int, str]] = []
    for name in sorted({name for row in rows for name in row}):
        counts = Counter(row[name] for row in rows if name in row)
        if 1 < len(counts) <= _VALUES:
            found += [(-number, f"{name}={value}") for value, number in counts.items()
                      if number >= _SHARE * len(rows)]
    return [name for _, name in sorted(found)[:_MOST]]
