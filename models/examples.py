"""Made-up rows that a signature allows: for examples in documents, for warming up, and for trying things out."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from serinus.models.signature import Field, Signature

__all__ = ["example_rows"]


_CHOICES: dict[str, tuple[Any, ...]] = {"BYTES": ("a",), "BOOL": (False, True)}


def example_rows(signature: Signature, rows: int) -> dict[str, NDArray[Any]]:
    """Give an array per required or optional input, with `rows` rows where the first dimension is variable."""
    return {field.name: _values(field, rows) for field in signature.inputs}


def _values(field: Field, rows: int) -> NDArray[Any]:
    shape = [rows if place == 0 and size == -1 else max(size, 1) for place, size in enumerate(field.shape)]
    choices = field.labels or _CHOICES.get(field.datatype, (1, 2, 3))
    values = np.empty(int(np.prod(shape)), dtype=field.dtype)
    values[:] = [choices[place % len(choices)] for place in range(values.size)]
    return values.reshape(shape)
