"""Tables as Parquet: columns by name and type, nulls for missing values, lists for tensors.

The file comes from a stranger: only the columns that the model knows are read, and only after their types and the
sizes of their pages were looked at. pyarrow is imported for the first such request.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from serinus.models.errors import one_line
from serinus.models.signature import Field, Signature
from serinus.serving.errors import InvalidInput, InvalidRequest, RequestError, RequestTooLarge
from serinus.serving.inputs import quote
from serinus.serving.protocols.compact_thrift import Malformed
from serinus.serving.protocols.parquet_layout import Layout
from serinus.serving.protocols.tables import Table, column_array, from_named, names_read
from serinus.serving.settings import LimitSettings

if TYPE_CHECKING:
    from pyarrow import ChunkedArray, DataType, Schema
    from pyarrow.parquet import ParquetFile

__all__ = ["read_parquet"]

_DEEP = 8
_INDEX = "__index_level_"


def read_parquet(body: bytes, signature: Signature, limits: LimitSettings) -> Table:
    """The table in a Parquet body. Raises `InvalidRequest`, `InvalidInput` or `RequestTooLarge` with one sentence."""
    try:
        return _read(body, signature, limits)
    except RequestError:
        raise
    except Exception as error:  # whatever pyarrow finds wrong with a file
        why = one_line(error)[:200].rstrip(".")
        raise InvalidRequest(f"The body is not a Parquet file that can be read: {why}.") from None


def _read(body: bytes, signature: Signature, limits: LimitSettings) -> Table:
    layout = Layout(body)
    if layout.rows > limits.rows:
        raise RequestTooLarge(f"The Parquet file has {layout.rows} rows, the limit is {limits.rows}. "
                              "Send fewer at a time.")
    if not layout.rows:
        raise InvalidInput("The Parquet file has no rows. Send at least one.")
    schema = _open(body).schema_arrow
    names = [name for name in schema.names if not name.startswith(_INDEX)]  # pandas keeps its index so
    wanted = _Wanted(names_read(names, signature))
    texts = _check_types(schema, wanted)
    repeat = _check_sizes(layout, wanted, limits)
    # A text that repeats is kept once: else few bytes could become gigabytes.
    file = _open(body, read_dictionary=[name for name in texts if name in repeat])
    table = file.read(columns=wanted.names, use_threads=False)
    if wanted.names and table.num_rows != layout.rows:
        raise Malformed(f"it says {layout.rows} rows and has {table.num_rows}")
    return from_named(names, lambda place: table.column(names[place]), layout.rows, signature, "parquet", _array)


def _open(body: bytes, **options: Any) -> ParquetFile:
    from pyarrow import BufferReader
    from pyarrow.parquet import ParquetFile

    return ParquetFile(BufferReader(body), pre_buffer=False, **options)


class _Wanted:
    """The columns to read. pyarrow takes a name for a path too, and reads what lies inside it."""

    def __init__(self, names: list[str]) -> None:
        self.names = names
        self._set = frozenset(names)
        self._lengths = sorted(set(map(len, names)))

    def __contains__(self, path: str) -> bool:
        """Whether a path is one of the names, or begins with one and a dot."""
        return path in self._set or any(
            path[length] == "." and path[:length] in self._set for length in self._lengths if length < len(path))

    def lie_inside(self, name: str) -> bool:
        """Whether any of the names begins with this one and a dot."""
        return any(other.startswith(f"{name}.") for other in self.names)


def _check_types(schema: Schema, wanted: _Wanted) -> list[str]:
    """Refuse columns of a type that no field has; the names of those that hold texts."""
    from pyarrow import types

    texts = []
    for field in schema:
        name, kind = field.name, field.type
        if name not in wanted and not wanted.lie_inside(name):
            continue
        if not _readable(kind):
            raise InvalidInput(f"Column {quote(name)} at parquet: expected numbers, booleans, strings, dates or lists "
                               f"of numbers, got {str(kind)[:60]}.")
        if types.is_string(kind) or types.is_large_string(kind):
            texts.append(name)
    return texts


def _readable(kind: DataType, depth: int = 0) -> bool:
    from pyarrow import types

    if types.is_boolean(kind) or types.is_integer(kind) or types.is_floating(kind):
        return True
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        return depth < _DEEP and _readable(kind.value_type, depth + 1)
    if depth:
        return False
    if types.is_dictionary(kind):
        return not types.is_dictionary(kind.value_type) and _readable(kind.value_type)
    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_null(kind) or types.is_date(kind)
                or types.is_timestamp(kind))


def _check_sizes(layout: Layout, wanted: _Wanted, limits: LimitSettings) -> set[str]:
    """Refuse what unpacks to more than a body may hold; the columns whose values repeat."""
    read = {number for number, path in enumerate(layout.paths) if path in wanted}
    size, repeat = 0, set()
    for chunk in layout.chunks:
        if chunk.column not in read:
            continue
        pages = layout.pages(chunk)
        size += pages.unpacked
        if size > limits.body_bytes:
            raise RequestTooLarge(f"The Parquet file unpacks to over {limits.body_bytes} bytes, the limit. "
                                  "Send fewer rows at a time.")
        if pages.repeat:
            repeat.add(layout.paths[chunk.column])
    return repeat


def _array(column: ChunkedArray, field: Field, path: str) -> NDArray[Any] | None:
    from pyarrow import types

    if types.is_dictionary(column.type):
        return column_array(_repeated(column), field, path)
    gaps = column.null_count
    if types.is_primitive(column.type) and (not gaps or (field.optional and field.dtype.kind == "f")):
        array: NDArray[Any] = column.to_numpy()
        if array.dtype == field.dtype:
            return array
    values = column.to_pylist()
    if field.datatype == "BYTES" and types.is_temporal(column.type):
        values = [None if value is None else value.isoformat() for value in values]
    return column_array(values, field, path)


def _repeated(column: ChunkedArray) -> list[Any]:
    """The values of a column that keeps each value once."""
    values: list[Any] = []
    for chunk in column.chunks:
        known = chunk.dictionary.to_pylist()
        values += [None if index is None else known[index] for index in chunk.indices.to_pylist()]
    return values
