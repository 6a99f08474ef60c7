"""How large the columns of a Parquet file become when they are unpacked, told before anything is unpacked.

A file's metadata is what its writer says; the sizes that a reader goes by stand in the header of every page. So the
headers are read here, and a file that would not fit is refused at the price of a walk over them. They are structures
of Thrift's compact protocol: fields of a type, a number and a value.
"""

from __future__ import annotations

from typing import Any, NamedTuple

__all__ = ["BadPages", "PageWalk", "Pages"]

_MANY_FIELDS = 200_000
_DEEP = 8
_BYTES_OF_A_VALUE = 8
_DELTA_BYTE_ARRAY = 7
"""An encoding in which each value repeats the beginning of the one before: a short page may hold gigabytes."""
# Numbers of a page header's fields, and of those of its data page (the first form and the second).
_UNPACKED, _PACKED, _DATA, _DICTIONARY, _DATA_2 = 2, 3, 5, 7, 8
_VALUES, _ENCODING, _ENCODING_2 = 1, 2, 4

Fields = dict[int, Any]


class BadPages(ValueError):
    """The pages are not what Parquet says; the text is the end of a sentence about the file."""


class Pages(NamedTuple):
    """What a row of pages unpacks to, in bytes: their own, or those of their values where these are more; and whether
    a dictionary is among them, whose values repeat."""

    unpacked: int
    repeat: bool


class PageWalk:
    """Walks over pages of one file, with the same patience for all of them together."""

    def __init__(self, file: bytes) -> None:
        self._file = file
        self._at = self._end = 0
        self._patience = _MANY_FIELDS

    def pages(self, start: int, end: int) -> Pages:
        """What lies between two places. Raises `BadPages`."""
        if not 0 <= start <= end <= len(self._file):
            raise BadPages(f"it has a column outside of itself (bytes {start} to {end} of {len(self._file)})")
        self._at, self._end = start, end
        size, values, repeat = 0, 0, False
        while self._at < end:
            header = self._structure(0)
            packed, unpacked = header.get(_PACKED, -1), header.get(_UNPACKED, -1)
            if not _natural(packed) or not _natural(unpacked) or packed > end - self._at:
                raise BadPages(f"it has a page of impossible size ({packed} bytes, {unpacked} unpacked)")
            self._at += packed
            size += unpacked
            values += _values(header)
            repeat = repeat or _DICTIONARY in header
        return Pages(max(size, values * _BYTES_OF_A_VALUE), repeat)

    def _structure(self, depth: int) -> Fields:
        """The fields of a structure, by number."""
        fields: Fields = {}
        number = 0
        while (head := self._byte()) != 0:
            self._patience -= 1
            if self._patience < 0:
                raise BadPages("it has too many pages")
            number = number + (head >> 4) if head >> 4 else self._integer()
            fields[number] = self._value(head & 15, depth)
        return fields

    def _value(self, kind: int, depth: int) -> Any:
        """A field's value; None for what is only passed over."""
        match kind:
            case 1 | 2:  # a boolean is its own type
                return kind == 1
            case 3:
                return self._byte()
            case 4 | 5 | 6:
                return self._integer()
            case 7:
                self._at += 8
                return None
            case 8:
                length = self._natural()
                self._at += length
                return None
            case 12 if depth < _DEEP:
                return self._structure(depth + 1)
        raise BadPages(f"it has a page header that cannot be read (at byte {self._at})")

    def _integer(self) -> int:
        number = self._natural()
        return (number >> 1) ^ -(number & 1)

    def _natural(self) -> int:
        number = 0
        for shift in range(0, 70, 7):
            byte = self._byte()
            number |= (byte & 127) << shift
            if byte < 128:
                return number
        raise BadPages(f"it has a page header with an endless number (at byte {self._at})")

    def _byte(self) -> int:
        if self._at >= self._end:
            raise BadPages("it has a page header that is cut short")
        self._at += 1
        return self._file[self._at - 1]


def _values(header: Fields) -> int:
    """How many values a data page holds; 0 for a page of another kind."""
    count = 0
    for form, encoding in ((_DATA, _ENCODING), (_DATA_2, _ENCODING_2)):
        data = header.get(form, {})
        if not isinstance(data, dict) or not _natural(data.get(_VALUES, 0)):
            raise BadPages("it has a page with an impossible number of values")
        if data.get(encoding) == _DELTA_BYTE_ARRAY:
            raise BadPages("it has a column in the encoding DELTA_BYTE_ARRAY, which is not read here")
        count += data.get(_VALUES, 0)
    return count


def _natural(value: Any) -> bool:
    return type(value) is int and value >= 0
