"""Prediction records as Parquet: one row for each, columns of the model's own names and types, no digit lost.

A file holds predictions of one version, in one hour, whose arrays are alike: the same names, types and numbers of
dimensions. What is not one per row (a whole tensor for the request) stands in its first row. Its metadata says what
the arrays were, so that reading gives the records back. Two things are less than in a segment: a request without rows
has no row here, and half a surrogate pair in a text is U+FFFD.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import orjson
from numpy.typing import NDArray

from serinus.monitors.record import PredictionRecord
from serinus.serving.ids import uuid_text

__all__ = ["Column", "Shape", "read_rows", "records_in", "schema_of", "shape_in", "table_of",
           "values_in"]

FORMAT = 1
TEXT = "text"
_KEY = b"serinus"
Arrays = Mapping[str, NDArray[Any]]


class Column(NamedTuple):
    """One array of many records: its name, its NumPy type (or `text`), and its dimensions beside the rows."""

    name: str
    dtype: str
    dimensions: int
    whole: bool
    """It belongs to the request, not to each row."""


class Shape(NamedTuple):
    """What the records of one file have in common."""

    model: str
    version: str
    inputs: tuple[Column, ...]
    outputs: tuple[Column, ...]

    @classmethod
    def of(cls, record: PredictionRecord) -> Shape:
        """The shape of a record."""
        return cls(record.model, record.version, _columns(record.inputs, record.rows),
                   _columns(record.outputs, record.rows))

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Shape:
        """The shape that `to_json` told."""
        return cls(fields["model"], fields["version"], *(tuple(Column(*each) for each in fields[side])
                                                         for side in ("inputs", "outputs")))

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {**self._asdict(), "inputs": list(map(list, self.inputs)), "outputs": list(map(list, self.outputs))}


def _columns(arrays: Arrays, rows: int) -> tuple[Column, ...]:
    return tuple([_column(name, array.dtype, array.ndim, array.shape[:1] != (rows,)) for name, array in arrays.items()])


@lru_cache(4096)
def _column(name: str, dtype: np.dtype[Any], dimensions: int, whole: bool) -> Column:
    return Column(name, TEXT if dtype.kind in "OUS" else dtype.name, dimensions - (not whole), whole)


def schema_of(shape: Shape) -> Any:
    """The Arrow schema of a file."""
    import pyarrow as pa

    sides = {side: _struct_of(columns) for side, columns in (("inputs", shape.inputs), ("outputs", shape.outputs))}
    document = {"format": FORMAT, **shape.to_json()}
    return pa.schema([
        ("prediction_id", pa.string()), ("request_id", pa.string()), ("row", pa.int32()),
        ("time", pa.timestamp("us", "UTC")), ("role", pa.string()), ("inputs", sides["inputs"]),
        ("outputs", sides["outputs"]), ("violations", pa.map_(pa.string(), pa.int64())), ("novelty", pa.float64()),
        ("trace_id", pa.string()), ("span_id", pa.string()), ("routing_key_hash", pa.uint64()),
        ("received_ns", pa.int64()), ("duration_ns", pa.int64()), ("position", pa.int64()),
    ], metadata={_KEY: orjson.dumps(document)})


def _struct_of(columns: Sequence[Column]) -> Any:
    """Parquet has no struct without fields: a version without inputs has a column of nulls."""
    import pyarrow as pa

    return pa.struct([(column.name, _type_of(column)) for column in columns]) if columns else pa.string()


def _type_of(column: Column) -> Any:
    import pyarrow as pa

    plain = {TEXT: pa.string(), "bool": pa.bool_(), "float16": pa.float32()}
    found = plain[column.dtype] if column.dtype in plain else pa.from_numpy_dtype(np.dtype(column.dtype))
    for _ in range(column.dimensions):
        found = pa.list_(found)
    return found


def table_of(shape: Shape, records: Sequence[PredictionRecord], positions: Sequence[int]) -> Any:
    """The rows of records of one shape; `positions` says where each stood in its segment."""
    import pyarrow as pa
    import pyarrow.compute as pc

    counts = np.array([record.rows for record in records], np.int64)
    begins = np.cumsum(counts) - counts
    which = np.repeat(np.arange(len(records)), counts)
    rows = np.arange(len(which)) - begins[which]

    def spread(values: Sequence[Any], kind: Any) -> Any:
        return pa.array(values, kind).take(pa.array(which))

    schema = schema_of(shape)
    received = np.array([record.received_ns for record in records], np.int64)
    columns = [
        pc.binary_join_element_wise(spread([uuid_text(record.prediction_uuid) for record in records], pa.string()),
                                    pa.array(rows).cast(pa.string()), "-"),
        spread([record.request_id for record in records], pa.string()), pa.array(rows.astype(np.int32)),
        pa.array((received // 1000)[which]).cast(schema.field("time").type),
        spread([record.role for record in records], pa.string()),
        _side(shape.inputs, [record.inputs for record in records], counts, begins),
        _side(shape.outputs, [record.outputs for record in records], counts, begins),
        spread([list((record.violations or {}).items()) for record in records], schema.field("violations").type),
        _novelty(records, len(which)),
        spread([f"{record.trace_id:032x}" if record.trace_id else None for record in records], pa.string()),
        spread([f"{record.span_id:016x}" if record.span_id else None for record in records], pa.string()),
        spread([record.routing_key_hash or None for record in records], pa.uint64()),
        pa.array(received[which]), spread([record.duration_ns for record in records], pa.int64()),
        spread(positions, pa.int64())]
    return pa.Table.from_arrays(columns, schema=schema)


def _side(columns: Sequence[Column], sides: Sequence[Arrays], counts: NDArray[np.int64],
          begins: NDArray[np.int64]) -> Any:
    import pyarrow as pa

    total = int(counts.sum())
    if not columns:
        return pa.nulls(total, pa.string())
    found = []
    for column in columns:
        values = _lists(column, [side[column.name] for side in sides])
        if column.whole:
            places = np.full(total, -1)
            places[begins[counts > 0]] = np.flatnonzero(counts)
            values = values.take(pa.array(places, mask=places < 0))
        found.append(values)
    return pa.StructArray.from_arrays(found, fields=list(_struct_of(columns)))


def _lists(column: Column, arrays: Sequence[NDArray[Any]]) -> Any:
    """The values of many arrays behind each other, in lists as deep as they have dimensions beside the rows."""
    import pyarrow as pa

    plain = _type_of(column._replace(dimensions=0))
    if column.dtype == TEXT:
        values = pa.array(_texts(arrays), plain)
    else:
        flat = np.concatenate([array.ravel() for array in arrays])
        values = pa.array(flat).cast(plain)
    first = 0 if column.whole else 1
    for level in range(column.dimensions + first - 1, first - 1, -1):
        lists = [math.prod(array.shape[:level]) for array in arrays]
        lengths = np.repeat([array.shape[level] for array in arrays], lists)
        values = pa.ListArray.from_arrays(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32), values)
    return values


def _texts(arrays: Sequence[NDArray[Any]]) -> list[str | None]:
    found = [value for array in arrays for value in array.ravel().tolist()]
    return [value if value is None or value.isascii() else _sound(value) for value in found]


def _sound(text: str) -> str:
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _novelty(records: Sequence[PredictionRecord], total: int) -> Any:
    import pyarrow as pa

    if all(record.novelty is None for record in records):
        return pa.nulls(total, pa.float64())
    parts = [np.full(record.rows, np.nan) if record.novelty is None else record.novelty for record in records]
    values = np.concatenate(parts)
    return pa.array(values, mask=np.isnan(values))


def shape_in(metadata: Mapping[bytes, bytes] | None) -> Shape:
    """The shape that a file's metadata tells. Raises ValueError where it is no file of ours."""
    document = orjson.loads((metadata or {}).get(_KEY, b"{}"))
    if document.get("format") != FORMAT:
        raise ValueError(f"wanted a prediction log file of format {FORMAT}, got format {document.get('format')}")
    return Shape.from_json(document)


def read_rows(path: Path, columns: Sequence[str] | None = None) -> Iterator[Any]:
    """The row groups of a file as tables, whole requests each."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(path, memory_map=False) as file:
        for number in range(file.num_row_groups):
            yield file.read_row_group(number, columns=columns, use_threads=False)


def records_in(path: Path, wanted: Callable[[Any], Any] | None = None) -> Iterator[tuple[int, PredictionRecord]]:
    """The records of a file, each with its position in the segment; `wanted` gives a table's mask."""
    for table in read_rows(path):
        chosen = table if wanted is None else table.filter(wanted(table))
        if chosen.num_rows:
            yield from _records(chosen.combine_chunks())


def values_in(table: Any, side: str, column: Column) -> NDArray[Any] | None:
    """One array of a table's rows as it was, over all requests; None where it has none for each row, or these are not
    of one shape."""
    lists = _field(table[side], column.name)
    if column.whole:
        return None
    try:
        values = _tensor(column, lists, (len(lists),))
    except ValueError:  # not of one shape
        return None
    return values


def _records(table: Any) -> Iterator[tuple[int, PredictionRecord]]:
    shape = shape_in(table.schema.metadata)
    positions = table["position"].to_numpy()
    begins = np.flatnonzero(np.diff(positions, prepend=positions[0] - 1))
    ends = np.append(begins[1:], len(positions))
    plain = {name: table[name].to_pylist() for name in ("prediction_id", "request_id", "role", "trace_id", "span_id",
                                                        "routing_key_hash", "received_ns", "duration_ns")}
    rows, violations = table["row"].to_numpy(), table["violations"]
    novelty = table["novelty"].to_numpy() if table["novelty"].null_count < table.num_rows else None
    sides = [[(column, _values(column, _field(table[side], column.name))) for column in columns]
             for side, columns in (("inputs", shape.inputs), ("outputs", shape.outputs))]
    for begin, end in zip(begins.tolist(), ends.tolist(), strict=True):
        numbers = rows[begin:end]
        inputs, outputs = ({column.name: _array(column, values, begin, end, numbers) for column, values in side}
                           for side in sides)
        yield int(positions[begin]), PredictionRecord(
            bytes.fromhex(plain["prediction_id"][begin][:36].replace("-", "")), plain["request_id"][begin],
            plain["received_ns"][begin], plain["duration_ns"][begin], shape.model, shape.version, plain["role"][begin],
            int(numbers[-1]) + 1, inputs, outputs, plain["routing_key_hash"][begin] or 0,
            int(plain["trace_id"][begin] or "0", 16), int(plain["span_id"][begin] or "0", 16),
            dict(violations[begin].as_py()) or None,
            None if novelty is None else _novelty_of(novelty[begin:end], numbers))


def _novelty_of(values: NDArray[np.float64], numbers: NDArray[np.int32]) -> NDArray[np.float64] | None:
    return None if np.isnan(values).all() else _placed(values, numbers)


def _field(struct: Any, name: str) -> Any:
    import pyarrow as pa
    import pyarrow.compute as pc

    chunk = struct.combine_chunks()
    chunk = chunk.chunk(0) if isinstance(chunk, pa.ChunkedArray) else chunk
    return pc.struct_field(chunk, [name])


def _values(column: Column, array: Any) -> Any:
    """NumPy's own array where there is a value for each row; else Arrow's lists."""
    return array if column.whole or column.dimensions else _plain(column, array)


def _plain(column: Column, array: Any) -> NDArray[Any]:
    if column.dtype == TEXT:
        found = np.empty(len(array), object)
        found[:] = array.to_pylist()
        return found
    values: NDArray[Any] = array.to_numpy(zero_copy_only=False)
    return values.astype(column.dtype, copy=False)


def _array(column: Column, values: Any, begin: int, end: int, numbers: NDArray[np.int32]) -> NDArray[Any]:
    if column.whole:
        return _tensor(column, values.slice(begin, 1), ())
    if not column.dimensions:
        return _placed(values[begin:end], numbers)
    return _placed(_tensor(column, values.slice(begin, end - begin), (end - begin,)), numbers)


def _tensor(column: Column, lists: Any, shape: tuple[int, ...]) -> NDArray[Any]:
    for _ in range(column.dimensions):
        shape += (len(lists[0]) if len(lists) and lists[0].is_valid else 0,)
        lists = lists.flatten()
    return _plain(column, lists).reshape(shape)


def _placed(values: NDArray[Any], numbers: NDArray[np.int32]) -> NDArray[Any]:
    """Where rows of the request were erased, blanks stand in their places."""
    if int(numbers[-1]) + 1 == len(values):
        return values
    found = np.zeros((int(numbers[-1]) + 1, *values.shape[1:]), values.dtype)
    if values.dtype.kind in "fO":
        found[...] = None if values.dtype.hasobject else np.nan
    found[numbers] = values
    return found
