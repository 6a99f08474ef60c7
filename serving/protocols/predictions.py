"""Outputs as answers carry them: values that the JSON of `serinus.serving.protocols.documents` takes, rows, CSV."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serinus.models.signature import element_of
from serinus.serving.request import Answer, InferenceRequest

__all__ = ["by_row", "chosen", "csv_columns", "is_row_wise", "novelty", "prediction_head", "refer", "remarked",
           "unnamed", "values", "wholes"]


def values(array: NDArray[Any]) -> Any:
    """An output as one JSON value."""
    if array.dtype.hasobject:
        return array.tolist()
    if not array.ndim:
        return array[()]
    return array if array.flags.c_contiguous else np.ascontiguousarray(array)


def wholes(outputs: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
    """All outputs as one object."""
    return {name: values(array) for name, array in outputs.items()}


def is_row_wise(outputs: Mapping[str, NDArray[Any]], rows: int) -> bool:
    """Whether every output has one element for each row."""
    return all(array.shape[:1] == (rows,) for array in outputs.values())


def by_row(outputs: Mapping[str, NDArray[Any]]) -> list[dict[str, Any]]:
    """One object per row; every output has one element for each."""
    names = list(outputs)
    columns = [list(values(array)) if array.dtype.kind == "f" else array.tolist() for array in outputs.values()]
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def chosen(answer: Answer) -> Mapping[str, NDArray[Any]]:
    """What an answer of unnamed values gives: the outputs that were asked for, else the first one."""
    outputs = answer.outputs
    if answer.request.outputs is not None or len(outputs) < 2:
        return outputs
    first = next(iter(outputs))
    sequence = element_of(first)
    return {name: array for name, array in outputs.items()
            if name == first or (sequence is not None and (element_of(name) or ("",))[0] == sequence[0])}


def unnamed(answer: Answer, *, whole: bool) -> Any:
    """An answer as the values of one output, or as one object per row (else one for all) where there are several."""
    outputs = chosen(answer)
    if len(outputs) == 1:
        return values(next(iter(outputs.values())))
    return wholes(outputs) if whole or not is_row_wise(outputs, answer.request.rows) else by_row(outputs)


def prediction_head(answer: Answer) -> bytes:
    """The header line of an answer that has no place for prediction ids: row 3 has this id, `-` and 3."""
    return b"x-prediction-id: %b\r\n" % answer.prediction.encode()


def remarked(request: InferenceRequest) -> dict[str, Any]:
    """The members of an answer that tell what was remarked upon; none where nothing was."""
    if not request.violations:
        return {}
    told: dict[str, Any] = {"violations": [violation.as_json() for violation in request.violations]}
    count = sum(request.counts.values()) if request.counts else 0
    return told | ({"violation_count": count} if count > len(request.violations) else {})


def refer(answer: Answer) -> dict[str, Any]:
    """The rows that a person should decide, with the reason; nothing where nobody asks for that."""
    return {} if answer.referred is None else {"refer": [one._asdict() for one in answer.referred]}


def novelty(answer: Answer) -> dict[str, Any]:
    """Each row's novelty p-value; nothing where nobody asked for them."""
    return {} if answer.novelty_p is None else {"novelty_p": list(answer.novelty_p)}


def csv_columns(outputs: Mapping[str, NDArray[Any]]) -> Iterable[tuple[str, list[Any]]]:
    """Names and cells of all outputs, one cell for each row; a tensor's elements are `NAME[0]`, `NAME[1]`, …"""
    for name, array in outputs.items():
        places = list(product(*map(range, array.shape[1:])))
        block = array.reshape(len(array), -1)
        for place, column in zip(places, block.T, strict=True):
            yield name + "".join(f"[{index}]" for index in place), _cells(column)


def _cells(column: NDArray[Any]) -> list[Any]:
    if column.dtype.kind != "f":
        return column.tolist()  # type: ignore[no-any-return]
    return [str(number) for number in column]  # of a short float fewer digits than of the double that it becomes
