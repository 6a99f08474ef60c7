"""Where the columns of a Parquet file lie, and how large they become when they are unpacked: told without unpacking.

The metadata is what its writer says; the sizes that a reader goes by stand in the header of every page. Both are read
here, and a file that would not fit is refused at the price of a walk over them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from serinus.serving.protocols.compact_thrift import Fields, Malformed, ThriftReader, natural

__all__ = ["Chunk", "Layout", "Pages"]

_MARK = b"PAR1"
_SHORT = 12
_LARGE_METADATA = 1024 * 1024
_MANY_LEVELS = 16
_BYTES_OF_A_VALUE = 8
_DELTA_BYTE_ARRAY = 7
"""An encoding in which each value repeats the beginning of the one before: a short page may hold gigabytes."""
# Numbers of fields: of the file, a schema's element, a row group, a column chunk and what is said of it …
_SCHEMA, _ROWS, _GROUPS = 2, 3, 4
_NAME, _CHILDREN = 4, 5
_COLUMNS, _GROUP_ROWS = 1, 3
_ELSEWHERE, _ABOUT = 1, 3
_VALUES, _LENGTH, _FIRST, _FIRST_DICTIONARY = 5, 7, 9, 11
# … of a page's header, and of its data page (in the first form and in the second).
_UNPACKED, _PACKED, _DATA, _DICTIONARY, _DATA_2 = 2, 3, 5, 7, 8
_PAGE_VALUES, _ENCODING, _ENCODING_2 = 1, 2, 4


class Chunk(NamedTuple):
    """A part of a column: the number of the column, where its pages lie, and how many values they are said to have."""

    column: int
    start: int
    end: int
    values: int


class Pages(NamedTuple):
    """What the pages of a chunk unpack to, in bytes: their own, or those of their values where these are more; and
    whether a dictionary is among them, whose values repeat."""

    unpacked: int
    repeat: bool


class Layout:
    """The layout of one file: its `rows`, the `paths` of its columns, and its `chunks`. Raises `Malformed`."""

    def __init__(self, file: bytes) -> None:
        self._reader = ThriftReader(file)
        self._size = len(file)
        metadata = self._metadata(file)
        self.rows: int = metadata.get(_ROWS, -1)
        self.paths = list(_paths(metadata.get(_SCHEMA)))
        groups = _structures(metadata.get(_GROUPS, []))
        counts = [group.get(_GROUP_ROWS, -1) for group in groups]
        if not natural(self.rows) or not all(map(natural, counts)) or sum(counts) != self.rows:
            raise Malformed(f"it says {self.rows} rows, and its row groups say {counts[:8]}")
        self.chunks = [chunk for group in groups for chunk in self._chunks(group)]

    def pages(self, chunk: Chunk) -> Pages:
        """What the pages of a chunk unpack to. Raises `Malformed`."""
        at, end = chunk.start, chunk.end
        size, values, repeat = 0, 0, False
        while at < end:
            header, at = self._reader.structure(at, end)
            packed, unpacked = header.get(_PACKED, -1), header.get(_UNPACKED, -1)
            if not natural(packed) or not natural(unpacked) or packed > end - at:
                raise Malformed(f"it has a page of impossible size at byte {at}")
            at += packed
            size += unpacked
            values += _values(header)
            repeat = repeat or _DICTIONARY in header
        return Pages(max(size, max(values, chunk.values) * _BYTES_OF_A_VALUE), repeat)

    def _metadata(self, file: bytes) -> Fields:
        if len(file) < _SHORT or file[:4] != _MARK or file[-4:] != _MARK:
            raise Malformed(f"expected {_MARK.decode()} at both of its ends")
        length = int.from_bytes(file[-8:-4], "little")
        if length > _LARGE_METADATA:
            raise Malformed(f"its metadata is over {_LARGE_METADATA} bytes")
        if length > len(file) - _SHORT:
            raise Malformed("its metadata is larger than itself")
        return self._reader.structure(len(file) - 8 - length, len(file) - 8)[0]

    def _chunks(self, group: Fields) -> Iterator[Chunk]:
        columns = _structures(group.get(_COLUMNS, []))
        if len(columns) != len(self.paths):
            raise Malformed(f"it has {len(self.paths)} columns, and a row group with {len(columns)}")
        for number, column in enumerate(columns):
            about = column.get(_ABOUT)
            if _ELSEWHERE in column or not isinstance(about, dict):
                raise Malformed("it has a column that lies elsewhere")
            start, length, values = (about.get(field, -1) for field in (_FIRST, _LENGTH, _VALUES))
            dictionary = about.get(_FIRST_DICTIONARY, 0)
            known = all(map(natural, (start, length, values, dictionary)))
            if known and dictionary:
                start = min(start, dictionary)
            if not known or start + length > self._size:
                raise Malformed(f"it has a column outside of itself (bytes {str(start)[:20]} and on)")
            yield Chunk(number, start, start + length, values)


def _paths(schema: Any) -> Iterator[str]:
    """The paths of a schema's leaves, in their order; it lists every element before those inside it."""
    elements = iter(_structures(schema))
    above: list[tuple[str, int]] = []
    root = next(elements, {})
    left = root.get(_CHILDREN, 0)
    if not natural(left):
        raise Malformed("it has no columns")
    for element in elements:
        while not left and above:
            _, left = above.pop()
        left -= 1
        name = _text(element.get(_NAME))
        if children := element.get(_CHILDREN, 0):
            above.append((name, left))
            left = children
        else:
            yield ".".join([*(outer for outer, _ in above), name])
        if left < 0 or not natural(children) or len(above) > _MANY_LEVELS:
            raise Malformed("its schema is not a tree, or too deep")
    if left or any(rest for _, rest in above):
        raise Malformed("its schema ends early")


def _text(value: Any) -> str:
    if not isinstance(value, memoryview):
        raise Malformed("it has a column without a name")
    return str(value, "utf-8")


def _structures(values: Any) -> list[Fields]:
    if not isinstance(values, list) or not all(isinstance(value, dict) for value in values):
        raise Malformed("its metadata is not that of a table")
    return values


def _values(header: Fields) -> int:
    """How many values a data page holds; 0 for a page of another kind."""
    count = 0
    for form, encoding in ((_DATA, _ENCODING), (_DATA_2, _ENCODING_2)):
        data = header.get(form, {})
        if not isinstance(data, dict) or not natural(data.get(_PAGE_VALUES, 0)):
            raise Malformed("it has a page with an impossible number of values")
        if data.get(encoding) == _DELTA_BYTE_ARRAY:
            raise Malformed("it has a column in the encoding DELTA_BYTE_ARRAY, which is not read here")
        count += data.get(_PAGE_VALUES, 0)
    return count
