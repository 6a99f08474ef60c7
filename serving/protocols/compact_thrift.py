"""Structures of Thrift's compact protocol, as Parquet's metadata and page headers are: fields of a type, a number and
a value. Read here, without knowing what they mean, because a reader in C++ may end the process over a hostile one.
"""

from __future__ import annotations

from typing import Any

__all__ = ["Fields", "Malformed", "ThriftReader", "natural"]

_MANY_VALUES = 300_000
_DEEP = 12
_SMALL_LIST = 15

Fields = dict[int, Any]
"""The values of a structure by their numbers; texts are views of the file, and what is only passed over is None."""


class Malformed(ValueError):
    """The file is not what it should be; the text is the end of a sentence about it."""


def natural(value: Any) -> bool:
    """Whether a value is a number from 0 on."""
    return type(value) is int and value >= 0


class ThriftReader:
    """Reads structures out of one file, with the same patience for all of them together."""

    def __init__(self, file: bytes) -> None:
        self._file = memoryview(file)
        self._at = self._end = 0
        self._patience = _MANY_VALUES

    def structure(self, start: int, end: int) -> tuple[Fields, int]:
        """The structure that begins at `start` and ends before `end`, and where it ends. Raises `Malformed`."""
        self._at, self._end = start, end
        return self._structure(0), self._at

    def _structure(self, depth: int) -> Fields:
        fields: Fields = {}
        number = 0
        while (head := self._byte()) != 0:
            number = number + (head >> 4) if head >> 4 else self._integer()
            if number in fields:  # readers differ in which one they take
                raise Malformed(f"its metadata has field {number} twice")
            kind = head & 15
            fields[number] = kind == 1 if kind in (1, 2) else self._value(kind, depth)
        return fields

    def _value(self, kind: int, depth: int) -> Any:
        self._patience -= 1
        if self._patience < 0:
            raise Malformed("it has too many columns, row groups or pages")
        if depth > _DEEP:
            raise Malformed("its metadata is nested too deeply")
        match kind:
            case 1 | 2 | 3:
                return self._byte()
            case 4 | 5 | 6:
                return self._integer()
            case 7:
                self._at += 8
                return None
            case 8:
                return self._text()
            case 9:
                return self._list(depth)
            case 12:
                return self._structure(depth + 1)
        raise Malformed(f"its metadata cannot be read at byte {self._at}")

    def _list(self, depth: int) -> list[Any]:
        head = self._byte()
        size = head >> 4 if head >> 4 != _SMALL_LIST else self._natural()
        if size > self._end - self._at:
            raise Malformed("its metadata is cut short")
        return [self._value(head & 15, depth + 1) for _ in range(size)]

    def _text(self) -> memoryview:
        length = self._natural()
        start = self._at
        self._at += length
        return self._file[start : self._at]

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
        raise Malformed(f"its metadata has an endless number at byte {self._at}")

    def _byte(self) -> int:
        if self._at >= self._end:
            raise Malformed("its metadata is cut short")
        self._at += 1
        return self._file[self._at - 1]
