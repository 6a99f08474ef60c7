"""What is watched of a field: a number, a category, a time, a text, an image, the elements of a tensor.

Inferred from the values, and from the signature where there is one. A feature of this page has a name, a kind and a
view, and no bins yet.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serinus.models.signature import Field
from serinus.monitors.descriptors import IMAGE, PROJECTIONS, TEXT, as_images, seconds
from serinus.monitors.features import Feature, Side, is_missing
from serinus.monitors.sample import Tally

__all__ = ["ELEMENTS", "column_features", "is_tensor", "tensor_features"]

ELEMENTS = 2000
"""Elements of an input tensor that are watched one by one; a larger one is projected."""

_OUTPUTS = 100
"""The same of an output: scores of more classes are projected."""
_CATEGORICAL_ELEMENTS = 64
_CLASSES = 20
"""Different integers of an output up to which they are taken for class labels."""
_DISTINCT = 100
_LOOKED_AT = 2000


def is_tensor(array: NDArray[Any]) -> bool:
    """Say whether a row of this array is more than one value."""
    return array.ndim > 1 and int(np.prod(array.shape[1:])) != 1


def tensor_features(side: Side, name: str, array: NDArray[Any]) -> list[Feature]:
    """Give the features of a tensor, by its shape alone; what is not elements is numbers that describe it."""
    images = as_images(array) if side == "input" else None
    if images is not None:
        channels = range(images.shape[1]) if images.shape[1] > 1 else ()
        views = [Feature(f"{name}.{view}", name, side, "numeric", view) for view in IMAGE]
        return views + [Feature(f"{name}.channel[{i}]", name, side, "numeric", "channel", i) for i in channels]
    width = int(np.prod(array.shape[1:]))
    if array.dtype.kind not in "biuf":
        few = range(min(width, _CATEGORICAL_ELEMENTS))
        return [Feature(f"{name}[{i}]", name, side, "categorical", "element", i) for i in few]
    if width <= (ELEMENTS if side == "input" else _OUTPUTS):
        return [Feature(f"{name}[{i}]", name, side, "numeric", "element", i) for i in range(width)]
    many = range(PROJECTIONS)
    return [Feature(f"{name}.projection[{i}]", name, side, "numeric", "projection", i) for i in many]


def column_features(
    side: Side, name: str, array: NDArray[Any], tally: Tally | None, field: Field | None, personal: str | None
) -> list[Feature]:
    """Give the features of a column, by the values of a sample of its rows."""
    number = Feature(name, name, side, "numeric")
    category = Feature(name, name, side, "categorical")
    if _is_declared_category(side, array, tally, field):
        return [category]
    if array.dtype.kind in "iuf":
        return [number]
    values = [value for value in array.ravel().tolist() if not is_missing(value)]
    if array.dtype.kind == "M" or _are_times(values[:_LOOKED_AT], field):
        return [
            Feature(name, name, side, "numeric", "time"),
            Feature(f"{name}.hour", name, side, "numeric", "hour"),
        ]
    if values and all(isinstance(value, int | float) and not isinstance(value, bool) for value in values[:_LOOKED_AT]):
        return [number]
    return _text_features(side, name, personal) if _is_text(values, tally) else [category]


def _is_declared_category(side: Side, array: NDArray[Any], tally: Tally | None, field: Field | None) -> bool:
    if array.dtype.kind == "b":
        return True
    if field is not None and (field.labels is not None or (field.frame_dtype or "").startswith("category")):
        return True
    few = tally is not None and tally.complete and len(tally.counts) <= _CLASSES
    return side == "output" and array.dtype.kind in "iu" and few


def _are_times(values: Sequence[Any], field: Field | None) -> bool:
    if not values:
        return field is not None and (field.frame_dtype or "").startswith("datetime64")
    if all(isinstance(value, datetime | date | np.datetime64) for value in values):
        return True
    texts = all(isinstance(value, str) and len(value) >= len("2024-01-01") and value[:4].isdigit() for value in values)
    return texts and bool(np.isfinite(seconds(np.array(values, object))).all())


def _is_text(values: Sequence[Any], tally: Tally | None) -> bool:
    """Text is what is mostly different from row to row; repeated values are categories, however long."""
    if tally is None or not all(isinstance(value, str | bytes) for value in values[:_LOOKED_AT]):
        return False
    different = len(set(values))
    return different > _DISTINCT and different > len(values) / 2


def _text_features(side: Side, name: str, personal: str | None) -> list[Feature]:
    # The map of known words would let somebody test whether a word occurred.
    views = [view for view in TEXT if view != "unknown_words" or personal is None]
    numeric = [Feature(f"{name}.{view}", name, side, "numeric", view) for view in views]
    return [*numeric, Feature(f"{name}.script", name, side, "categorical", "script")]
