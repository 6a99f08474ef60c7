"""Rows that nobody has: made of a reference column by column, of rounded quantiles and frequent values.

No row of the reference is among them, and no value of a column that only few of its rows have.
"""

import math
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from serinus.models.examples import example_rows
from serinus.models.signature import Signature

if TYPE_CHECKING:
    from pandas import DataFrame, Series

__all__ = ["synthetic_frame", "synthetic_rows"]

ROWS = 5
_MOST_ROWS, _MOST_COLUMNS = 20_000, 1_000
"""What is looked at of a reference, so that registering costs no minutes."""
_QUANTILES = (0.1, 0.3, 0.5, 0.7, 0.9)
_FREQUENT = 5
"""A value that fewer rows have may tell who one of them is."""
_DIGITS = 3
_WORDS = ("text", "word", "more words")


def synthetic_rows(signature: Signature, reference: "DataFrame | None" = None) -> dict[str, NDArray[Any]]:
    """Give a few rows as `Model.predict` takes them, of the reference's columns where it has them.

    What the reference does not have, or has in a form that cannot be summed up, is made up from the signature.
    """
    rows = example_rows(signature, ROWS)
    if reference is None or len(reference) == 0 or reference.shape[1] > _MOST_COLUMNS:
        return rows
    seen = reference if len(reference) <= _MOST_ROWS else reference.sample(_MOST_ROWS, random_state=0)
    try:
        return rows | _of_reference(signature, seen)
    except (TypeError, ValueError, OverflowError):
        return rows


def _of_reference(signature: Signature, reference: "DataFrame") -> dict[str, NDArray[Any]]:
    from serinus.models.frame import arrays_of

    columns = [field for field in signature.inputs if field.name in reference.columns and field.shape == (-1,)]
    if columns:
        return arrays_of(synthetic_frame(reference[[field.name for field in columns]]), columns)
    only = signature.inputs[0] if len(signature.inputs) == 1 else None
    if only is None or len(only.shape) != 2 or only.shape[1] not in (-1, reference.shape[1]):
        return {}
    return {only.name: synthetic_frame(reference).to_numpy().astype(only.dtype)}


def synthetic_frame(reference: "DataFrame") -> "DataFrame":
    """Give a few rows with the columns and dtypes of a reference."""
    import pandas as pd

    return pd.DataFrame({name: _column(reference[name]) for name in reference.columns})


def _column(column: "Series[Any]") -> "Series[Any]":
    import pandas as pd

    values = _values(column)
    turns = [values[row % len(values)] for row in range(ROWS)]
    if column.isna().any():
        turns[-1] = None
    if column.dtype == object and not any(value is None for value in column):
        turns = [math.nan if value is None else value for value in turns]  # estimators tell the two apart
    return pd.Series(turns, dtype=column.dtype)


def _values(column: "Series[Any]") -> list[Any]:
    from pandas.api import types

    present = column.dropna()
    if not len(present):
        return [None]
    counts = present.value_counts()
    frequent = counts[counts >= _FREQUENT].index[:ROWS].tolist()
    if types.is_datetime64_any_dtype(column):
        dates: Any = present.quantile(list(_QUANTILES), interpolation="nearest")
        return [date.floor("D") for date in dates]
    if types.is_numeric_dtype(column) and not types.is_bool_dtype(column):
        whole = types.is_integer_dtype(column)
        few = len(counts) <= 2 * ROWS and frequent
        return frequent if few else [_rounded(value, whole) for value in present.quantile(list(_QUANTILES))]
    return frequent or _usual(column)


def _usual(column: "Series[Any]") -> list[Any]:
    """Give values for a column that has no frequent ones: its categories, both booleans, or words."""
    from pandas import CategoricalDtype
    from pandas.api import types

    if isinstance(column.dtype, CategoricalDtype):
        return column.dtype.categories[:ROWS].tolist()
    return [True, False] if types.is_bool_dtype(column) else list(_WORDS)


def _rounded(value: Any, whole: bool) -> float | int:
    """Round to few digits: a quantile may be somebody's own value."""
    rounded = float(f"{float(value):.{_DIGITS}g}")
    return round(rounded) if whole else rounded
