"""From DataFrames and files to the arrays that everything else takes, in chunks, so that memory stays bounded.

pandas and pyarrow are loaded when a frame or a file is at hand, never before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from serinus.monitors.errors import InvalidData

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["arrays_of", "frames_in", "is_category", "slices_of", "times_of"]

Arrays = dict[str, NDArray[Any]]

_CELLS = 1 << 22
_ROWS = 1 << 14
_SUFFIXES = (".csv", ".csv.gz", ".tsv", ".parquet", ".pq")


def chunk_rows(columns: int) -> int:
    """Give how many rows of so many cells are handled in one go."""
    return max(64, min(_ROWS, _CELLS // max(columns, 1)))


def slices_of(frame: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """Cut a frame into chunks."""
    step = chunk_rows(frame.shape[1])
    return (frame.iloc[start : start + step] for start in range(0, len(frame), step))


def frames_in(path: Path) -> Callable[[], Iterable[pd.DataFrame]]:
    """Give a function that reads a CSV or Parquet file in chunks, from the beginning each time.

    Raises InvalidData where the file is missing, of another type, or cannot be read.
    """
    if not path.is_file():
        raise InvalidData(f"There is no file {str(path)!r}; give a CSV or Parquet file.")
    if not path.name.lower().endswith(_SUFFIXES):
        raise InvalidData(f"File {path.name!r} is of an unknown type: wanted one of {', '.join(_SUFFIXES)}.")
    read = _read_parquet if path.suffix.lower() in (".parquet", ".pq") else _read_csv
    return lambda: _readable(read, path)


def _readable(read: Callable[[Path], Iterator[pd.DataFrame]], path: Path) -> Iterator[pd.DataFrame]:
    try:
        yield from read(path)
    except InvalidData:
        raise
    except (ValueError, OSError) as error:  # pandas' and pyarrow's errors are some of these
        raise InvalidData(f"File {path.name!r} cannot be read: {' '.join(str(error).split())[:300]}") from error


def _read_csv(path: Path) -> Iterator[pd.DataFrame]:
    import pandas as pd

    separator = "\t" if path.suffix.lower() == ".tsv" else ","
    columns = pd.read_csv(path, sep=separator, nrows=0).shape[1]
    with pd.read_csv(path, sep=separator, chunksize=chunk_rows(columns), low_memory=False) as chunks:
        yield from chunks


def _read_parquet(path: Path) -> Iterator[pd.DataFrame]:
    from pyarrow import parquet

    with parquet.ParquetFile(path) as file:
        for batch in file.iter_batches(chunk_rows(len(file.schema_arrow))):
            yield batch.to_pandas()


def arrays_of(frame: pd.DataFrame) -> Arrays:
    """Give a frame's columns as arrays by name: numbers, booleans, datetime64, or objects with None.

    A column whose values are all arrays of one shape becomes a tensor. Raises InvalidData where two columns have the
    same name.
    """
    names = [str(name) for name in frame.columns]
    twice = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
    if twice:
        raise InvalidData(f"The data has several columns named {twice[0]!r}; names must differ: rename or drop one.")
    return {name: _array(frame.iloc[:, index]) for index, name in enumerate(names)}


def _array(column: pd.Series[Any]) -> NDArray[Any]:
    import pandas as pd

    dtype = column.dtype
    if pd.api.types.is_datetime64_any_dtype(dtype):
        return _utc(column)
    if isinstance(dtype, np.dtype) and dtype.kind in "biuf":
        return column.to_numpy()
    if isinstance(dtype, pd.SparseDtype):
        return _array(column.astype(dtype.subtype))
    if pd.api.types.is_numeric_dtype(dtype) and not pd.api.types.is_bool_dtype(dtype):
        return column.to_numpy(np.float64, na_value=np.nan)  # Int64 and its like
    gaps = column.isna().to_numpy()
    values = column.astype(object).to_numpy().copy()
    values[gaps] = None
    return _tensor(values)


def _utc(column: pd.Series[Any]) -> NDArray[Any]:
    plain = column.dt.tz_convert("UTC").dt.tz_localize(None) if getattr(column.dt, "tz", None) else column
    return plain.to_numpy("datetime64[us]")


def _tensor(values: NDArray[Any]) -> NDArray[Any]:
    """Stack a column of arrays (an embedding per row); other columns stay as they are."""
    if not len(values) or not isinstance(values[0], np.ndarray | list | tuple):
        return values
    try:
        stacked = np.stack([np.asarray(value, np.float64) for value in values])
    except (TypeError, ValueError):
        return values
    return stacked


def is_category(column: pd.Series[Any]) -> bool:
    """Say whether pandas itself calls a column categorical, whatever its values are."""
    import pandas as pd

    return isinstance(column.dtype, pd.CategoricalDtype)


def times_of(column: pd.Series[Any]) -> tuple[NDArray[np.float64], bool]:
    """Give a time column as float64, and whether these are seconds since 1970: numbers are only an order.

    Raises InvalidData where a value is no time.
    """
    import pandas as pd

    if pd.api.types.is_numeric_dtype(column.dtype):
        return column.to_numpy(np.float64, na_value=np.nan), False
    try:
        times = pd.to_datetime(column, utc=True, format=None if _is_time(column) else "mixed")
    except (ValueError, TypeError) as error:
        raise InvalidData(
            f"Time column {column.name!r}: wanted times or numbers ({' '.join(str(error).split())[:200]}); "
            "name another column or clean it."
        ) from error
    found = _utc(times)
    seconds = found.astype(np.int64) / 1e6
    seconds[np.isnat(found)] = np.nan
    return seconds, True


def _is_time(column: pd.Series[Any]) -> bool:
    import pandas as pd

    return bool(pd.api.types.is_datetime64_any_dtype(column.dtype))
