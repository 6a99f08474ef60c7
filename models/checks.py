"""Does a model still answer as it did? Made-up rows are kept with the answers it gave when it was registered.

The rows are synthesised (see `synthetic.py`): none of the reference's own is among them.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serinus.models.errors import one_line
from serinus.models.model import Model
from serinus.models.signature import DATATYPES, datatype_of

__all__ = ["CHECK", "Check"]

CHECK = "checks/rows.json"
"""The attachment's name."""

FORMAT = 1
_MOST_VALUES = 10_000
_RTOL = {"FP64": 1e-9, "FP32": 1e-5, "FP16": 1e-2}
"""Relative to the largest value of an output: threads and processors may sum in another order."""

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Check:
    """Inputs as `Model.predict` takes them, and what it answered."""

    inputs: Arrays
    outputs: Arrays

    @classmethod
    def of(cls, model: Model, inputs: Arrays) -> "Check | None":
        """Let a model answer; None where it cannot, where it does not answer twice alike, or where it is a lot."""
        if _size(inputs) > _MOST_VALUES:
            return None
        try:
            check = cls(inputs, {name: np.asarray(array) for name, array in model.predict(inputs).items()})
        except Exception:
            rows = _answerable(model, inputs)
            return cls.of(model, rows) if rows else None
        if not check.outputs or _size(check.outputs) > _MOST_VALUES or check.difference(model) is not None:
            return None
        return check

    def difference(self, model: Model) -> str | None:
        """Say how a model's answers differ from the kept ones; None where they do not."""
        try:
            answers = model.predict(self.inputs)
        except Exception as error:
            return f"it cannot answer any more ({type(error).__name__}: {one_line(error)})"
        phrases = [_difference(name, answers.get(name), kept) for name, kept in self.outputs.items()]
        return ", ".join(filter(None, phrases)) or None

    def difference_to_fitted(self, fitted: Any, frame: Any) -> str | None:
        """Say how the answers of the fitted object's own methods to a frame differ; None too where it has no such."""
        phrases = []
        for name, kept in self.outputs.items():
            try:
                answer = getattr(fitted, name)(frame)
            except Exception:  # not every output is a method, and not every object takes a frame
                continue
            if isinstance(answer, np.ndarray) and len(answer) == len(kept):
                phrases.append(_difference(name, answer, kept))
        return ", ".join(filter(None, phrases)) or None

    def to_bytes(self) -> bytes | None:
        """Give the check as JSON, floats exact to the bit; None where a value has no place in JSON."""
        document = {
            "format": FORMAT,
            "inputs": {name: _document(array) for name, array in self.inputs.items()},
            "outputs": {name: _document(array) for name, array in self.outputs.items()},
        }
        try:
            return json.dumps(document, ensure_ascii=False, allow_nan=False).encode()
        except (TypeError, UnicodeEncodeError):
            return None

    @classmethod
    def from_bytes(cls, data: bytes) -> "Check":
        """Read what `to_bytes` wrote. Raises ValueError where it is something else."""
        try:
            document = json.loads(data)
            if document["format"] != FORMAT:
                raise ValueError(f"its format is {document['format']!r}, and this Serinus reads {FORMAT}")
            inputs, outputs = (
                {name: _array(**array) for name, array in document[side].items()} for side in ("inputs", "outputs")
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"it holds no rows and answers: {error!r}") from error
        return cls(inputs, outputs)


def _size(arrays: Arrays) -> int:
    return sum(array.size for array in arrays.values())


def _answerable(model: Model, inputs: Arrays) -> dict[str, NDArray[Any]] | None:
    """Give the first row that a model answers, where it does not answer all."""
    counts = {len(array) if array.ndim else 0 for array in inputs.values()}
    if len(counts) != 1 or counts == {1}:
        return None
    for row in range(counts.pop()):
        one = {name: array[row : row + 1] for name, array in inputs.items()}
        try:
            model.predict(one)
        except Exception:
            continue
        return one
    return None


def _difference(name: str, answer: NDArray[Any] | None, kept: NDArray[Any]) -> str | None:
    if answer is None:
        return f"{name} is missing"
    found = np.asarray(answer)
    if found.shape != kept.shape or (found.dtype.kind in "OUS") != (kept.dtype.kind in "OUS"):
        return f"{name} is {found.dtype} {list(found.shape)} and was {kept.dtype} {list(kept.shape)}"
    if kept.dtype.kind == "f" and found.dtype.kind == "f":
        return _float_difference(name, found, kept)
    unlike = int(np.sum(found != kept))
    return f"{name} differs in {unlike} of {kept.size} values" if unlike else None


def _float_difference(name: str, found: NDArray[Any], kept: NDArray[Any]) -> str | None:
    finite = np.isfinite(kept) & np.isfinite(found)
    if not np.array_equal(found[~finite], kept[~finite], equal_nan=True):
        return f"{name} is not finite in other places"
    if not finite.any():
        return None
    furthest = float(np.abs(found[finite].astype(np.float64) - kept[finite].astype(np.float64)).max())
    allowed = _RTOL[datatype_of(kept.dtype)] * float(np.abs(kept[finite]).max())
    return f"{name} differs by up to {furthest:.3g}" if furthest > allowed else None


def _document(array: NDArray[Any]) -> dict[str, Any]:
    return {"datatype": datatype_of(array.dtype), "shape": list(array.shape), "data": _values(array)}


def _values(array: NDArray[Any]) -> list[Any]:
    # A float's shortest text is exact to the bit; JSON has none for what is not finite.
    return [_named(value) if isinstance(value, float) else value for value in array.ravel().tolist()]


def _named(value: float) -> float | str:
    return value if math.isfinite(value) else str(value)


def _array(datatype: str, shape: list[int], data: list[Any]) -> NDArray[Any]:
    dtype = DATATYPES[datatype]
    if None in data and dtype.kind != "f":  # gaps in a column of whole numbers
        dtype = np.dtype(object)
    array = np.empty(len(data), dtype=dtype)
    array[:] = [float(value) for value in data] if dtype.kind == "f" else data
    return array.reshape(shape)
