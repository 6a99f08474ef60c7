"""SQL over the prediction log, by DuckDB in this process: views `predictions` and `ground_truth`.

What is still in segments is written as Parquet into a folder that is gone afterwards, so that all is Parquet, and
DuckDB reads the columns and row groups alone that a query needs. `inputs` and `outputs` are structures of all the
fields that the chosen versions have; a field to which they give different types is a double if all are numbers, else
text.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from serinus.serving.errors import CommandError
from serinus.serving.prediction_log.compaction import as_parquet
from serinus.serving.prediction_log.manifest import Manifest, Part, parquet_folder
from serinus.serving.prediction_log.parquet import TEXT, Column, Shape
from serinus.serving.prediction_log.reader import Choice, Entry, entries
from serinus.serving.store import GroundTruth

__all__ = ["Answer", "query"]

_PLAIN = {"prediction_id": "VARCHAR", "request_id": "VARCHAR", "row": "INTEGER", "time": "TIMESTAMP WITH TIME ZONE",
          "model": "VARCHAR", "version": "VARCHAR", "role": "VARCHAR", "inputs": "JSON", "outputs": "JSON",
          "violations": "MAP(VARCHAR, BIGINT)", "novelty": "DOUBLE", "trace_id": "VARCHAR", "span_id": "VARCHAR",
          "routing_key_hash": "UBIGINT", "received_ns": "BIGINT", "duration_ns": "BIGINT"}
_TYPES = {TEXT: "VARCHAR", "bool": "BOOLEAN", "float16": "FLOAT", "float32": "FLOAT", "float64": "DOUBLE",
          "int8": "TINYINT", "int16": "SMALLINT", "int32": "INTEGER", "int64": "BIGINT",
          "uint8": "UTINYINT", "uint16": "USMALLINT", "uint32": "UINTEGER", "uint64": "UBIGINT"}
_AT_ONCE = 1000


class Answer(NamedTuple):
    """The columns of a query's answer, and its rows as they are read."""

    columns: list[str]
    rows: Iterator[tuple[Any, ...]]


@contextmanager
def query(sql: str, log: Path, choice: Choice, truths: Iterable[GroundTruth]) -> Iterator[Answer]:
    """Ask the log. Raises CommandError where DuckDB is not installed, or cannot carry out the query."""
    try:
        import duckdb
    except ImportError:
        raise CommandError("`serinus log query` needs DuckDB, which is not installed: pip install 'serinus[query]'."
                           ) from None
    with tempfile.TemporaryDirectory(prefix="serinus-") as aside, duckdb.connect(":memory:") as connection:
        try:
            connection.execute("SET TimeZone = 'UTC'")
            connection.execute(f"CREATE VIEW predictions AS {_predictions(log, choice, Path(aside))}")
            connection.register("ground_truth", _truths(truths))
            found = connection.execute(sql)
            yield Answer([each[0] for each in found.description or ()], _rows(found))
        except duckdb.Error as error:
            raise CommandError(f"The query cannot be carried out: {str(error).strip()}", 2) from None


def _rows(found: Any) -> Iterator[tuple[Any, ...]]:
    while some := found.fetchmany(_AT_ONCE):
        yield from some


def _predictions(log: Path, choice: Choice, aside: Path) -> str:
    """A SELECT over all files, those of one shape together."""
    by_shape: dict[Shape, list[Path]] = {}
    for path, part in _files(log, choice, aside):
        by_shape.setdefault(part.shape, []).append(path)
    if not by_shape:
        return f"SELECT {', '.join(f'NULL::{kind} AS {name}' for name, kind in _PLAIN.items())} WHERE false"
    sides = {side: _fields([getattr(shape, side) for shape in by_shape]) for side in ("inputs", "outputs")}
    return " UNION ALL ".join(_select(shape, files, sides, choice) for shape, files in by_shape.items())


def _files(log: Path, choice: Choice, aside: Path) -> Iterator[tuple[Path, Part]]:
    for entry in entries(log):
        manifest, folder = _settled(entry, aside)
        for part in () if manifest is None else manifest.parts:
            path = aside / Path(part.path).name if folder is aside else folder / part.path
            if choice.takes_part(part) and path.exists():
                yield path, part


def _settled(entry: Entry, aside: Path) -> tuple[Manifest | None, Path]:
    """The manifest of an entry and where its files lie; it is made aside where there is only the segment."""
    if entry.manifest is None:
        try:
            return as_parquet(entry.path, aside), aside
        except FileNotFoundError:  # replaced meanwhile, or the log is capped
            pass
    return entry.manifest, parquet_folder(entry.folder)


def _select(shape: Shape, files: Sequence[Path], sides: Mapping[str, Mapping[str, str]], choice: Choice) -> str:
    columns = {name: name for name in _PLAIN}
    columns |= {"model": _quoted(shape.model), "version": _quoted(shape.version)}
    columns |= {side: _struct(side, getattr(shape, side), sides[side]) for side in ("inputs", "outputs")}
    told = ", ".join(f"{expression} AS {name}" for name, expression in columns.items())
    bounds = [f"received_ns >= {choice.since_ns}"] * (choice.since_ns is not None) + (
        [f"received_ns < {choice.until_ns}"] * (choice.until_ns is not None))
    where = f" WHERE {' AND '.join(bounds)}" if bounds else ""
    return (f"SELECT {told} FROM read_parquet([{', '.join(_quoted(str(path)) for path in files)}], "
            f"hive_partitioning = false){where}")


def _struct(side: str, columns: Sequence[Column], fields: Mapping[str, str]) -> str:
    """All fields in one order and of one type each; those that this shape has not are missing."""
    if not fields:
        return "NULL::JSON"
    own = {column.name: _type(column) for column in columns}
    parts = []
    for name, kind in fields.items():
        place = f"{side}.{_named(name)}"
        value = "NULL" if name not in own else place if own[name] == kind or kind == "DOUBLE" else f"to_json({place})"
        parts.append(f"{_named(name)} := {value}::{kind}")
    return f"struct_pack({', '.join(parts)})"


def _fields(sides: Iterable[Sequence[Column]]) -> dict[str, str]:
    found: dict[str, str] = {}
    for columns in sides:
        for column in columns:
            kind = _type(column)
            found[column.name] = _common(found.get(column.name, kind), kind)
    return found


def _common(one: str, other: str) -> str:
    if one == other:
        return one
    numbers = set(_TYPES.values()) - {"VARCHAR", "BOOLEAN"}
    return "DOUBLE" if {one, other} <= numbers else "VARCHAR"


def _type(column: Column) -> str:
    return _TYPES[column.dtype] + "[]" * column.dimensions


def _truths(rows: Iterable[GroundTruth]) -> Any:
    """A table of what became of predictions; `value` is text, and `number` the same where it is one."""
    import pyarrow as pa

    kinds = [("prediction_id", pa.string()), ("source", pa.string()), ("kind", pa.string()), ("name", pa.string()),
             ("value", pa.string()), ("number", pa.float64()), ("event_time", pa.timestamp("us", "UTC")),
             ("received_time", pa.timestamp("us", "UTC")), ("weight", pa.float64()), ("copies", pa.int64())]
    found = [(row.prediction_id, row.source, row.kind, row.name or None, _text(row.value), _number(row.value),
              _moment(row.event_time), _moment(row.received_time), row.weight, row.copies) for row in rows]
    columns = list(zip(*found, strict=True)) or [()] * len(kinds)
    return pa.table({name: pa.array(values, kind) for (name, kind), values in zip(kinds, columns, strict=True)})


def _text(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else orjson.dumps(value).decode()


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _moment(seconds: float) -> datetime | None:
    return datetime.fromtimestamp(seconds, UTC) if seconds else None


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _named(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
