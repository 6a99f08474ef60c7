"""The prediction log as Arrow tables and DataFrames, one row for each prediction, over segments and Parquet alike."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from serinus.monitors.record import PredictionRecord
from serinus.serving.prediction_log.manifest import parquet_folder
from serinus.serving.prediction_log.parquet import Shape, read_rows, shape_in, table_of
from serinus.serving.prediction_log.reader import EVERYTHING, Choice, Entry, entries

__all__ = ["arrow", "pandas", "tables"]

_RECORDS = 10_000


def arrow(folder: Path, choice: Choice = EVERYTHING) -> Any:
    """All chosen predictions as one table; None where there are none.

    `inputs` and `outputs` are structures of all the fields there are; where two versions give one of them different
    types, both columns are JSON.
    """
    import pyarrow as pa

    found = list(tables(folder, choice))
    if not found:
        return None
    try:
        return pa.concat_tables(found, promote_options="permissive")
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return pa.concat_tables(map(_as_json, found), promote_options="permissive")


def pandas(folder: Path, choice: Choice = EVERYTHING) -> Any:
    """All chosen predictions as a DataFrame, each input and output a column of its own: `inputs.age`."""
    import pandas as pd

    found = arrow(folder, choice)
    return pd.DataFrame() if found is None else found.flatten().to_pandas()


def tables(folder: Path, choice: Choice = EVERYTHING) -> Iterator[Any]:
    """The chosen predictions, some thousand of one version at a time."""
    for entry in entries(folder):
        if entry.manifest is None:
            records = entry.records(choice)
            while some := list(islice(records, _RECORDS)):
                yield from _tables_of(some)
        else:
            yield from _read(entry, choice)


def _tables_of(records: Sequence[PredictionRecord]) -> Iterator[Any]:
    by_shape: dict[Shape, list[PredictionRecord]] = {}
    for record in records:
        if record.rows:
            by_shape.setdefault(Shape.of(record), []).append(record)
    for shape, some in by_shape.items():
        yield _named(table_of(shape, some, range(len(some))))


def _read(entry: Entry, choice: Choice) -> Iterator[Any]:
    manifest = entry.manifest
    for part in () if manifest is None else manifest.parts:
        if choice.takes_part(part):
            try:
                for table in read_rows(parquet_folder(entry.folder) / part.path):
                    chosen = table.filter(_mask(table, choice))
                    if chosen.num_rows:
                        yield _named(chosen)
            except FileNotFoundError:  # the log is capped
                continue


def _mask(table: Any, choice: Choice) -> Any:
    import pyarrow as pa
    import pyarrow.compute as pc

    received = table["received_ns"].to_numpy()
    wanted = pa.array((received >= (choice.since_ns or 0)) & (received < (choice.until_ns or 1 << 62)))
    if choice.uuid is None:
        return wanted
    mine = pc.starts_with(table["prediction_id"], str(uuid.UUID(bytes=choice.uuid)))
    return pc.and_(mine, wanted)


def _named(table: Any) -> Any:
    """With model and version, and without what is of use to readers of records alone."""
    import pyarrow as pa

    shape = shape_in(table.schema.metadata)
    for place, name, value in ((4, "model", shape.model), (5, "version", shape.version)):
        table = table.add_column(place, name, pa.array([value] * table.num_rows, pa.string()))
    return table.drop_columns(["position"]).replace_schema_metadata(None)


def _as_json(table: Any) -> Any:
    import orjson
    import pyarrow as pa

    for side in ("inputs", "outputs"):
        texts = [None if value is None else orjson.dumps(value).decode() for value in table[side].to_pylist()]
        table = table.set_column(table.schema.get_field_index(side), side, pa.array(texts, pa.string()))
    return table
