"""Tables as CSV: a header line with the names, one line per row, an empty cell for a missing value.

The field says what a cell means: a number stays a text where the field is BYTES, and a text is refused where it is
not. Strict as JSON is: no thousands separators, no spaces, no 1 for true.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from itertools import islice
from math import inf
from typing import Any

from numpy.typing import NDArray

from serinus.models.signature import Field, Signature
from serinus.serving.errors import InvalidInput, InvalidRequest, RequestTooLarge
from serinus.serving.inputs import to_array
from serinus.serving.protocols.tables import Table, from_named
from serinus.serving.settings import LimitSettings

__all__ = ["read_csv", "write_csv"]

_DIGITS = frozenset("+-0123456789")
_NUMBER = frozenset("+-.0123456789eE")
_BOOLEANS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_NOT_FINITE = {"nan": "NaN", "inf": "Infinity", "infinity": "Infinity", "+inf": "Infinity", "-inf": "-Infinity",
               "-infinity": "-Infinity"}


def read_csv(body: bytes, signature: Signature, limits: LimitSettings) -> Table:
    """The table in a CSV body. Raises `InvalidRequest`, `InvalidInput` or `RequestTooLarge` with one sentence."""
    header, rows = _lines(body, limits)
    if not rows:
        raise InvalidInput("The CSV has no rows. Send a line with the columns' names, then one line per row.")
    for index, row in enumerate(rows):
        if len(row) != len(header):
            raise InvalidInput(f"csv[{index}]: expected {len(header)} cells as in the header, got {len(row)}. "
                               "Quote cells that hold a comma.")
    return from_named(header, lambda place: [row[place] for row in rows], len(rows), signature, "csv", _cells)


def write_csv(names: Sequence[str] | None, columns: Iterable[Sequence[Any]]) -> bytes:
    """Columns as CSV, below a header line where there are names."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    if names is not None:
        writer.writerow(names)
    writer.writerows(zip(*columns, strict=True))
    return text.getvalue().encode()


def _lines(body: bytes, limits: LimitSettings) -> tuple[list[str], list[list[str]]]:
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"The CSV is not UTF-8 (byte {error.start}). Save it as UTF-8.") from None
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        lines = list(islice(filter(None, reader), limits.rows + 2))
    except csv.Error as error:
        raise InvalidRequest(f"The CSV cannot be read at line {reader.line_num}: {error}.") from None
    if len(lines) > limits.rows + 1:
        raise RequestTooLarge(f"The CSV has more than {limits.rows} rows, the limit. Send fewer at a time.")
    if not lines:
        raise InvalidRequest("The CSV is empty. Send a line with the columns' names, then one line per row.")
    return lines[0], lines[1:]


def _cells(cells: Sequence[str], field: Field, path: str) -> NDArray[Any] | None:
    values = _values(cells, field)
    if field.optional and field.dtype.kind not in "fO" and not any(cells):
        return None
    return to_array(values, field, path)


def _values(cells: Sequence[str], field: Field) -> list[Any]:
    """What the cells say, as JSON would say it; what they do not say stays a text, for `to_array` to refuse."""
    kind = field.dtype.kind
    if kind == "O":
        return [cell or None for cell in cells]
    if kind == "b":
        return [_BOOLEANS.get(cell, cell or None) for cell in cells]
    if kind == "f":
        values = _all_floats(cells)
        return values if values is not None else [_float(cell) for cell in cells]
    return [_whole(cell) for cell in cells]


def _all_floats(cells: Sequence[str]) -> list[Any] | None:
    """All cells at once; None where one is not a plain number."""
    if not _NUMBER.issuperset(set().union(*cells)):  # Python reads more as a number: 1_000, spaces, nan
        return None
    try:
        values = [float(cell) for cell in cells]
    except ValueError:
        return None
    return None if inf in values or -inf in values else values


def _float(cell: str) -> float | str | None:
    if not _NUMBER.issuperset(cell):
        return _NOT_FINITE.get(cell.lower(), cell)
    try:
        value = float(cell)
    except ValueError:
        return cell or None
    return cell if value in (inf, -inf) else value


def _whole(cell: str) -> int | str | None:
    try:
        return int(cell) if _DIGITS.issuperset(cell) else cell
    except ValueError:  # a sign without digits, or more digits than Python reads
        return cell or None
