"""What a field is watched as follows from its values, and from the signature where there is one."""

from __future__ import annotations

from datetime import date
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from serinus.models.signature import Field
from serinus.monitors.features import Side
from serinus.monitors.kinds import column_features, tensor_features
from serinus.monitors.sample import Tally

TEXTS = [f"this is the {number}th remark" for number in range(300)]


def column(
    values: Any, side: Side = "input", field: Field | None = None, personal: str | None = None
) -> list[tuple[str, str]]:
    """The kinds and views of a column's features."""
    array: NDArray[Any] = values if isinstance(values, np.ndarray) else np.array(values, object)
    tally = Tally()
    tally.add(array)
    return [(one.kind, one.view) for one in column_features(side, "f", array, tally, field, personal)]


NUMBER, CATEGORY = [("numeric", "value")], [("categorical", "value")]
TIME = [("numeric", "time"), ("numeric", "hour")]


@pytest.mark.parametrize(
    ("values", "kinds"),
    [
        (np.array([1.5, 2.5]), NUMBER),
        (np.array([0, 1, 0]), NUMBER),
        (np.array([True, False]), CATEGORY),
        ([True, None, False], CATEGORY),
        ([1, None, 2.5], NUMBER),
        (["a", "b", None], CATEGORY),
        (["a", 1, 2], CATEGORY),
        (["2024-01-01", None, "2024-02-01T10:00:00Z"], TIME),
        (["2024", "2025", "2024"], CATEGORY),
        ([date(2024, 1, 1)], TIME),
        (np.array(["2024-01-01"], "M8[s]"), TIME),
        ([None, None], CATEGORY),
        (["yes"] * 500 + TEXTS[:120], CATEGORY),
    ],
)
def test_a_column_is_a_number_a_category_or_a_time(values: Any, kinds: list[tuple[str, str]]) -> None:
    """Integers stay numbers; repeated texts are categories; dates are seconds and an hour."""
    assert column(values) == kinds


def test_texts_that_hardly_repeat_are_described() -> None:
    """Six views; a personal one has no vocabulary that could tell its words."""
    views = [view for _, view in column(TEXTS)]
    assert views == ["length", "words", "non_letters", "digits", "unknown_words", "script"]
    assert "unknown_words" not in [view for _, view in column(TEXTS, personal="hash")]


def test_the_signature_has_the_word() -> None:
    """Labels and trained categories make a category of numbers; a trained date is one also where all are missing."""
    assert column(np.arange(5), field=Field("f", "INT64", (-1,), labels=(0, 1, 2))) == CATEGORY
    assert column(np.arange(5), field=Field("f", "INT64", (-1,), frame_dtype="category")) == CATEGORY
    assert column([None], field=Field("f", "BYTES", (-1,), frame_dtype="datetime64[ns]")) == TIME


def test_few_integers_of_an_output_are_classes() -> None:
    """Many are numbers."""
    assert column(np.arange(100) % 3, "output") == CATEGORY
    assert column(np.arange(100), "output") == NUMBER


@pytest.mark.parametrize(
    ("side", "shape", "first", "count"),
    [
        ("input", (4, 30), "f[0]", 30),
        ("input", (4, 5, 6), "f[0]", 30),
        ("input", (4, 2000), "f[0]", 2000),
        ("input", (4, 2001), "f.projection[0]", 32),
        ("input", (4, 3, 32, 32), "f.brightness", 6),
        ("input", (4, 28, 28), "f.brightness", 3),
        ("output", (4, 3), "f[0]", 3),
        ("output", (4, 101), "f.projection[0]", 32),
        ("output", (4, 28, 28), "f.projection[0]", 32),
        ("input", (4, 0), None, 0),
    ],
)
def test_a_tensor_is_known_by_its_shape(side: Side, shape: tuple[int, ...], first: str | None, count: int) -> None:
    """Elements where they are few, views of an image, projections of the rest."""
    features = tensor_features(side, "f", np.zeros(shape, np.float32))
    assert len(features) == count and (features[0].name if features else None) == first
    assert len({one.name for one in features}) == count


def test_a_tensor_of_texts_is_categories() -> None:
    """Element by element."""
    assert [one.kind for one in tensor_features("input", "f", np.full((2, 3), "x", object))] == ["categorical"] * 3
