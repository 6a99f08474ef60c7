"""Rows made up from a signature: for documentation, warm-up, and checks of a model against itself."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from serinus.models.signature import Field, Signature

__all__ = ["example_rows"]

_STEPS = 11
"""Numbers repeat after so many rows."""


def example_rows(signature: Signature, rows: int) -> dict[str, NDArray[Any]]:
    """Give as many rows as wanted, as `Model.predict` takes them; the same ones every time.

    Categories are taken in turn where the signature knows them; other numbers are small and positive (most models'
    domain holds some), dates are days of 2024, texts are words. No value is missing, optional fields are there.

    A sequence field has one tensor, `NAME[0]`; a variable length beyond the rows is 1, and a field of any shape is
    a scalar.
    """
    examples = {}
    for place, field in enumerate(signature.inputs):
        name = f"{field.name}[0]" if getattr(field, "sequence", False) else field.name
        examples[name] = _example(field, rows, place)
    return examples


def _example(field: Field, rows: int, place: int) -> NDArray[Any]:
    lengths = [1 if length == -1 else length for length in field.shape]
    if field.shape and field.shape[0] == -1:
        lengths[0] = rows
    count = int(np.prod(lengths))
    row_of = np.arange(count) // max(count // max(lengths[0], 1), 1) if lengths else np.zeros(1, dtype=int)
    # Columns move through their values at different paces, so that rows differ in more than one way.
    turns = row_of * (1 + place % 3) + np.arange(count) * 3 + place
    return _values(field, turns).reshape(lengths)


def _values(field: Field, turns: NDArray[Any]) -> NDArray[Any]:
    if field.labels:
        return _as_array([field.labels[turn % len(field.labels)] for turn in turns.tolist()], field)
    if field.datatype == "BYTES":
        return _as_array([_text(field, turn) for turn in turns.tolist()], field)
    if field.dtype.kind == "f":
        return ((turns % _STEPS + 1) / 4).astype(field.dtype)
    return (turns % 2).astype(field.dtype)


def _as_array(values: list[Any], field: Field) -> NDArray[Any]:
    array = np.empty(len(values), dtype=field.dtype)
    array[:] = values
    return array


def _text(field: Field, turn: int) -> str:
    if (field.frame_dtype or "").startswith("datetime64"):
        zone = "+00:00" if "," in (field.frame_dtype or "") else ""
        return f"2024-01-{turn % 28 + 1:02d}T00:00:00{zone}"
    return ("text", "word", "more words")[turn % 3]
