"""Outputs in answers: by row, whole, and as the cells of CSV."""

from __future__ import annotations

import numpy as np
import orjson
import pytest

from serinus.serving.protocols.documents import dumps
from serinus.serving.protocols.predictions import by_row, csv_columns, is_row_wise, values, wholes

CUBE = np.arange(8).reshape(2, 2, 2)


@pytest.mark.parametrize("code", "?BHILbhilefdO")
@pytest.mark.parametrize(
    "array", [np.arange(6).reshape(2, 3), np.arange(6).reshape(3, 2).T, np.array(1), np.zeros((0, 2))]
)
def test_any_array_is_one_value(code: str, array: np.ndarray) -> None:
    """Of every type, shape and order in memory."""
    array = array.astype(code)
    assert orjson.loads(dumps({"y": values(array)})) == {"y": array.tolist()}
    assert orjson.loads(dumps(wholes({"y": array}))) == {"y": array.tolist()}


def test_outputs_are_row_wise_if_each_has_an_element_for_each_row() -> None:
    """Scalars never are."""
    assert is_row_wise({"a": CUBE, "b": np.zeros(2)}, 2)
    assert is_row_wise({}, 2)
    assert not is_row_wise({"a": CUBE, "b": np.zeros(3)}, 2)
    assert not is_row_wise({"a": np.array(1)}, 1)


def test_a_row_has_every_output() -> None:
    """By its name."""
    rows = by_row({"a": np.array([1.5, 2]), "b": CUBE, "t": np.array(["x", None], object)})
    assert orjson.loads(dumps(rows)) == [
        {"a": 1.5, "b": [[0, 1], [2, 3]], "t": "x"},
        {"a": 2, "b": [[4, 5], [6, 7]], "t": None},
    ]


def test_cells_of_csv() -> None:
    """One for each element of a tensor, by its place; of a short float the digits that it has."""
    columns = dict(
        csv_columns({"a": np.array([0.1, 2], np.float32), "b": CUBE, "c": np.zeros((2, 0)), "d": CUBE[:, :, :1]})
    )
    assert columns == {
        "a": ["0.1", "2.0"],
        "b[0][0]": [0, 4],
        "b[0][1]": [1, 5],
        "b[1][0]": [2, 6],
        "b[1][1]": [3, 7],
        "d[0][0]": [0, 4],
        "d[1][0]": [2, 6],
    }
