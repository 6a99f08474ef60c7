"""A sample of a reference that streams by: enough rows to place bins, in bounded memory, and what must be exact.

Rows are kept by the smallest of seeded random keys, so the sample is uniform and does not depend on how the rows were
cut into chunks; where everything fits, it is everything. Counts of categories are exact up to 10,000 different values.
Tensors are described at once (`descriptors`), so that images cost a few numbers a row.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from serinus.monitors.errors import InvalidData
from serinus.monitors.features import is_missing

__all__ = ["DOMAIN", "Rows", "Sample", "Tally"]

DOMAIN = 10_000
"""Different categories that are kept; beyond, a category is never unseen."""

_ROWS = 200_000
_CELLS = 1 << 25

Arrays = Mapping[str, NDArray[Any]]
Floats = NDArray[np.float64]
Describe = Callable[[str, str, NDArray[Any]], NDArray[Any]]


class Rows(NamedTuple):
    """A chunk of a reference: arrays by name, and a time for each row if there is one."""

    inputs: Arrays
    outputs: Arrays
    times: Floats | None = None

    @property
    def length(self) -> int:
        """How many rows there are; raises InvalidData where the arrays differ in that."""
        lengths = {name: len(array) for name, array in (*self.inputs.items(), *self.outputs.items()) if array.ndim}
        if len(set(lengths.values())) > 1:
            found = ", ".join(f"{name} {length:,}" for name, length in list(lengths.items())[:5])
            raise InvalidData(f"The arrays of a reference need one row count; got {found}.")
        return next(iter(lengths.values()), 0)


class Tally:
    """How often each category occurred.

    Attributes:
        counts: by value; the rarest are forgotten when there are more than twice `DOMAIN`.
        complete: whether nothing was forgotten.
    """

    def __init__(self) -> None:
        self.counts: Counter[Hashable] = Counter()
        self.complete = True

    def add(self, array: NDArray[Any]) -> None:
        """Count the values of an array; missing values and what has no hash are no categories."""
        values = array.ravel().tolist()
        try:
            found = Counter(values)
        except TypeError:
            found = Counter(value for value in values if isinstance(value, Hashable))
        self.counts.update(found)
        if len(self.counts) > 2 * DOMAIN:
            self.counts, self.complete = Counter(dict(self.counts.most_common(DOMAIN))), False

    @property
    def categories(self) -> list[tuple[Any, int]]:
        """The categories and their rows, the most frequent first; ties by name, so that order does not matter."""
        known = [(value, count) for value, count in self.counts.items() if not is_missing(value)]
        return sorted(known, key=lambda item: (-item[1], type(item[0]).__name__, str(item[0])))


class Sample:
    """Reads chunks once: `rows` in all, `times` of all, tallies of columns that are no numbers, a uniform sample.

    Args:
        describe: gives what is kept of a field's array, by side and name.
        seed: of the sample.
    """

    def __init__(self, describe: Describe, seed: int) -> None:
        self.rows = 0
        self.tallies: dict[tuple[str, str], Tally] = {}
        self._describe, self._random = describe, np.random.default_rng(seed)
        self._parts: list[dict[tuple[str, str], NDArray[Any]]] = []
        self._keys: list[Floats] = []
        self._places: list[NDArray[np.int64]] = []
        self._times: list[Floats] = []
        self._budget = _ROWS

    def add(self, chunk: Rows) -> None:
        """Read one chunk."""
        count = chunk.length
        if not count:
            return
        found = {("input", name): array for name, array in chunk.inputs.items()}
        found |= {("output", name): array for name, array in chunk.outputs.items()}
        self._check(found)
        for source, array in found.items():
            self._tally(source, array)
        kept = {(side, name): self._describe(side, name, array) for (side, name), array in found.items()}
        if chunk.times is not None:
            self._times.append(chunk.times)
        self._keys.append(self._random.random(count))
        self._places.append(np.arange(self.rows, self.rows + count))
        self._parts.append(kept)
        self.rows += count
        self._prune(sum(array[:1].size for array in kept.values()))

    def _check(self, found: Iterable[tuple[str, str]]) -> None:
        known = self._parts[0].keys() if self._parts else set(found)
        odd = sorted(name for _, name in known ^ set(found))
        if odd:
            raise InvalidData(
                f"Field {odd[0]!r} is in some chunks of the reference only; every chunk needs the same fields."
            )

    def _tally(self, source: tuple[str, str], array: NDArray[Any]) -> None:
        whole = array.dtype.kind in "iu" and source[0] == "output"
        if array.dtype.kind in "OUSb" or (whole and array[:1].size == 1):
            self.tallies.setdefault(source, Tally()).add(array)

    def _prune(self, cells: int) -> None:
        budget = max(1000, min(_ROWS, _CELLS // max(cells, 1)))
        if sum(map(len, self._keys)) <= 2 * budget and self.rows > 0:
            self._budget = budget
            return
        self._cut(budget)

    def _cut(self, budget: int) -> None:
        keys = np.concatenate(self._keys)
        if len(keys) <= budget:
            return
        limit = np.partition(keys, budget - 1)[budget - 1]
        chosen = [part <= limit for part in self._keys]
        self._parts = [
            {source: array[rows] for source, array in part.items()}
            for part, rows in zip(self._parts, chosen, strict=True)
        ]
        self._places = [part[rows] for part, rows in zip(self._places, chosen, strict=True)]
        self._keys = [part[rows] for part, rows in zip(self._keys, chosen, strict=True)]

    @property
    def times(self) -> Floats | None:
        """The times of all rows, if they have any."""
        return np.concatenate(self._times) if self._times else None

    def kept(self) -> tuple[NDArray[np.int64], dict[tuple[str, str], NDArray[Any]]]:
        """Give the places of the sampled rows among all rows, and their arrays by side and name."""
        self._cut(self._budget)
        if not self._parts:
            return np.empty(0, np.int64), {}
        arrays = {source: _joined([part[source] for part in self._parts]) for source in self._parts[0]}
        return np.concatenate(self._places), arrays


def _joined(parts: list[NDArray[Any]]) -> NDArray[Any]:
    kinds = {part.dtype.kind for part in parts}
    if len(kinds) > 1 and not kinds <= set("iuf"):  # a chunk of numbers, a chunk of texts: keep each value as it is
        parts = [part.astype(object) for part in parts]
    return np.concatenate(parts)
