"""Reads what people send as ground truth: JSON, NDJSON or CSV; one row or a hundred thousand.

    {"prediction_id": "0190…-0", "value": "bad", "event_time": "2026-01-05T10:00:00Z", "source": "crm"}

`value` is required (but of a retraction), and so is `prediction_id`, or in its place `key`, the caller's own. `kind` is
final, provisional, revision, retract or event; an event has a `name` (click, revenue) and a number. A row that cannot
be used is named with its reason, and keeps no other row out.
"""

from __future__ import annotations

import contextlib
import csv
import difflib
import io
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import Any, NamedTuple

import orjson

from serinus.serving.errors import SerinusError
from serinus.serving.ids import is_prediction_id
from serinus.serving.prediction_log.keys import LONGEST, hash_of, key_id, key_text
from serinus.serving.store import GroundTruth

__all__ = ["FIELDS", "KINDS", "MEDIA_TYPES", "SHOWN", "BodyUnreadable", "Intake", "csv_rows", "read_body", "take"]

KINDS = ("final", "provisional", "revision", "retract", "event")
FIELDS = ("prediction_id", "key", "value", "kind", "name", "event_time", "source", "weight")
MEDIA_TYPES = ("application/json", "application/x-ndjson", "text/csv")
SHOWN = 20
"""So many rejected rows are named in an answer."""

_KNOWN = frozenset(FIELDS)
_LONGEST = 256
_LATEST_S = 253_402_300_800.0
_TEXTS = frozenset({"prediction_id", "key", "kind", "name", "source"})


class BodyUnreadable(SerinusError):
    """Nothing of what was sent can be read."""


class Intake(NamedTuple):
    """What was taken of what was sent, and what was not: row number and reason, the first ones."""

    rows: list[GroundTruth]
    rejected: list[tuple[int, str]]
    rejected_count: int

    def answer(self) -> dict[str, Any]:
        """As the sender is told."""
        shown = [{"row": row, "reason": reason} for row, reason in self.rejected]
        return {"accepted": len(self.rows), "rejected": shown, "rejected_count": self.rejected_count}


def read_body(body: bytes, media_type: str, now: float, most: int, secret: bytes) -> Intake:
    """The outcomes in a body of one of `MEDIA_TYPES`, at most `most` rows; `secret` hashes callers' keys. Raises
    `BodyUnreadable`."""
    documents: Iterable[Any]
    if media_type == "text/csv":
        documents = _read_csv(_text(body))
    elif media_type == "application/x-ndjson":
        documents = [_parsed(line, number) for number, line in enumerate(body.splitlines(), 1) if line.strip()]
    else:
        found = _parsed(body)
        if isinstance(found, dict) and found.keys() == {"outcomes"}:
            found = found["outcomes"]
        documents = found if isinstance(found, list) else [found]
    rows = list(islice(documents, most + 1))
    if len(rows) > most:
        raise BodyUnreadable(f"The body has more than ground_truth.rows, {most:,}. Send it in parts.")
    return take(rows, now, secret)


def take(documents: Iterable[Any], now: float, secret: bytes, first: int = 0) -> Intake:
    """The outcomes among JSON values, of which the first is row `first`; `now` is when they came."""
    rows: list[GroundTruth] = []
    rejected: list[tuple[int, str]] = []
    count = 0
    for number, document in enumerate(documents, first):
        try:
            rows.append(_outcome(document, now, secret))
        except _Rejected as error:
            count += 1
            if count <= SHOWN:
                rejected.append((number, str(error)))
    return Intake(rows, rejected, count)


def _read_csv(text: str) -> Iterator[dict[str, Any]]:
    """The rows of a CSV as `csv_rows` gives them; it must have the columns of an outcome."""
    return csv_rows(io.StringIO(text, newline=""), ("prediction_id", "key"))


def csv_rows(lines: Iterable[str], needed: Sequence[str] = ()) -> Iterator[dict[str, Any]]:
    """The rows of a CSV with a header line, which has one of the `needed` names. Cells are text, but for whole numbers,
    numbers and booleans; an empty cell is missing. Raises `BodyUnreadable`."""
    reader = csv.reader(lines, strict=True)
    try:
        head = [name.strip() for name in next(reader, [])]
        _check_head(head, needed)
        for cells in reader:
            if cells:
                yield {name: _cell(name, cell) for name, cell in zip(head, cells, strict=False) if cell != ""}
    except csv.Error as error:
        raise BodyUnreadable(f"Line {reader.line_num} of the CSV cannot be read: {error}.") from None


class _Rejected(Exception):
    """Why a row cannot be used."""


def _outcome(document: Any, now: float, secret: bytes) -> GroundTruth:
    if type(document) is not dict:
        raise _Rejected(f"expected an object, got {_shown(document)}")
    if not document.keys() <= _KNOWN:
        raise _Rejected(_unknown(document))
    get = document.get
    prediction = get("prediction_id")
    if prediction is None and "key" in document:
        prediction = _stand_in(document["key"], secret)
    elif "key" in document:
        raise _Rejected("key: expected this or prediction_id, got both")
    elif type(prediction) is not str or not is_prediction_id(prediction):
        raise _Rejected(f"prediction_id: expected one that an answer carried, such as "
                        f"0190a6b2-7c3e-7000-8000-000000000000-0, got {_shown(prediction)}")
    kind = get("kind") or ("event" if "name" in document else "final")
    if kind not in KINDS:
        raise _Rejected(f"kind: expected one of {', '.join(KINDS)}, got {_shown(kind)}")
    value, name = get("value"), get("name") or ""
    if kind == "event":
        value = _number("value", 1 if value is None else value)
    _check_name(kind, name)
    if kind == "retract":
        value = None
    elif type(value) not in (str, int, bool):
        value = _label(value)
    elif type(value) is str and len(value) > _LONGEST:
        raise _Rejected(f"value: expected at most {_LONGEST} characters, got {len(value)}")
    elif type(value) is int and not -(2**63) <= value < 2**64:
        raise _Rejected("value: expected a number of 64 bits, got a larger one")
    source = get("source") or ""
    if type(source) is not str or len(source) > _LONGEST:
        raise _Rejected(f"source: expected text of at most {_LONGEST} characters, got {_shown(source)}")
    happened = get("event_time")
    weight = 1.0 if "weight" not in document else _number("weight", get("weight"))
    if not weight > 0:
        raise _Rejected(f"weight: expected a number above 0, got {weight:g}")
    return GroundTruth(prediction, source, kind, value, 0.0 if happened is None else _moment(happened), now, name,
                       weight)


def _stand_in(key: Any, secret: bytes) -> str:
    """What stands for the predictions of a key until the steward has found them."""
    text = key_text(key)
    if text is None:
        raise _Rejected(f"key: expected text of 1 to {LONGEST} characters or a whole number, got {_shown(key)}")
    return key_id(hash_of(text, secret))


def _check_name(kind: str, name: Any) -> None:
    if kind == "event" and not (type(name) is str and 0 < len(name) <= _LONGEST):
        raise _Rejected("name: an event needs one, such as click or revenue")
    if kind != "event" and name:
        raise _Rejected(f"name: only events have one, and this is {kind}")


def _label(value: Any) -> Any:
    """A truth that is no text and no whole number: a finite number, whole ones as integers, alike for all senders."""
    if type(value) is not float or not math.isfinite(value):
        raise _Rejected(f"value: expected text, a finite number or a boolean, got {_shown(value)}")
    return int(value) if value.is_integer() and abs(value) < 2.0**53 else value


def _number(field: str, value: Any) -> float:
    with contextlib.suppress(OverflowError):
        if isinstance(value, bool | int | float) and math.isfinite(float(value)):
            return float(value)
    raise _Rejected(f"{field}: expected a finite number, got {_shown(value)}")


def _moment(value: Any) -> float:
    """Unix seconds, or ISO 8601; without a zone it is UTC."""
    try:
        if isinstance(value, str):
            moment = datetime.fromisoformat(value)
            seconds = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
        else:
            seconds = _number("event_time", value)
    except (ValueError, OverflowError):
        raise _Rejected(f"event_time: expected Unix seconds or ISO 8601, got {_shown(value)}") from None
    if not 0 < seconds < _LATEST_S:
        raise _Rejected(f"event_time: expected Unix seconds or ISO 8601, got {_shown(value)}; are these milliseconds?")
    return seconds


def _unknown(document: Mapping[str, Any]) -> str:
    name = min(document.keys() - _KNOWN)
    close = difflib.get_close_matches(name, FIELDS, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(FIELDS)}"
    return f"unknown field {_shown(name)}; {hint}"


def _check_head(head: list[str], needed: Sequence[str]) -> None:
    if needed and not set(needed) & set(head):
        raise BodyUnreadable(f"The CSV's header line: expected {' or '.join(needed)} among its names, got "
                             f"{_shown(', '.join(head))}.")
    if len(set(head)) < len(head):
        raise BodyUnreadable("The CSV's header line has a name twice.")


def _cell(name: str, cell: str) -> Any:
    """A cell of text as the JSON value that was meant."""
    if name in _TEXTS:
        return cell
    if cell.lower() in ("true", "false"):
        return cell.lower() == "true"
    for read in (int, float):
        try:
            return read(cell) if "_" not in cell else cell
        except ValueError:
            continue
    return cell


def _parsed(data: bytes, line: int | None = None) -> Any:
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError as error:
        where = "The body" if line is None else f"Line {line}"
        raise BodyUnreadable(f"{where} is not JSON: {error}.") from None


def _text(body: bytes) -> str:
    try:
        return body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BodyUnreadable(f"The CSV is not UTF-8: {error}.") from None


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:59]}…"
