"""A session of ONNX Runtime as a model. Plain tensors go straight through; what is no tensor is made of some."""

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from serinus.models.errors import InvalidInput, one_line
from serinus.models.model import unknown_output
from serinus.models.signature import Field, Label, Signature, datatype_of, element_name, element_of

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

__all__ = ["AssemblingOnnxModel", "OnnxModel", "said"]

_ORIGIN = re.compile(
    r"^\[ONNXRuntimeError\] : \d+ : \w+ : "
    r"|(?:\S*\.(?:cc|cpp|h):\d+ )?[\w:<>,&*~ ]*::[\w<>~]+\((?:[^()]|\([^()]*\))*\)"
    r"(?: const)?(?:::<lambda\(\)>)?(?: \[with [^\]]*\])? "
    r"|\S*\.(?:cc|cpp|h):\d+ "
)
"""A status, and a place in the source with or without the function's whole signature."""

Arrays = Mapping[str, NDArray[Any]]


def said(error: Exception) -> str:
    """Give ONNX Runtime's message without its status and its places in the source."""
    return _ORIGIN.sub("", one_line(error))


class OnnxModel:
    """A session whose inputs and outputs are the graph's own: a call is a dict handed on, nothing is copied.

    Attributes:
        signature: what `predict` takes and gives.
        row_wise: whether every operator of the graph is known to keep the rows apart.
    """

    def __init__(self, session: "InferenceSession", signature: Signature, *, row_wise: bool = False) -> None:
        self.signature = signature
        self.row_wise = row_wise
        # The wrapper's own `run` looks every input's name up first, which costs a third of a small model's call;
        # what it would find, `_explain` says afterwards.
        self._run = getattr(session, "_sess", session).run
        self._session = session
        self._fields = {field.name: field for field in signature.inputs}
        self._taken = {argument.name for argument in session.get_inputs()} | {
            argument.name for argument in session.get_overridable_initializers()
        }
        self._outputs = [field.name for field in signature.outputs]

    def predict(self, inputs: Arrays, outputs: Sequence[str] | None = None) -> dict[str, NDArray[Any]]:
        """Run the graph; see `Model.predict`."""
        names = self._outputs if outputs is None else outputs
        try:
            return dict(zip(names, self._run(names, inputs, None), strict=True))
        except Exception as error:
            return self._explain(error, inputs, names)

    def _explain(self, error: Exception, inputs: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
        """Try again with what can be put right, or raise what was wrong."""
        for name in names:
            if name not in self._outputs:
                raise unknown_output(name, self._outputs) from None
        fitting = {name: self._fitting(name, value) for name, value in inputs.items() if name in self._taken}
        if len(fitting) < len(inputs) or any(fitting[name] is not inputs[name] for name in fitting):
            return OnnxModel.predict(self, fitting, names)
        for sentence in self._misfits(inputs):
            raise InvalidInput(sentence) from error
        if self._is_callers(error):
            raise InvalidInput(f"ONNX Runtime refused the inputs: {said(error)}") from error
        raise error

    def _fitting(self, name: str, value: Any) -> Any:
        """A column is taken as `[rows]` and as `[rows, 1]`, whichever of them the graph wants."""
        field = self._fields.get(name)
        if field is None or not isinstance(value, np.ndarray):
            return value
        if field.shape == (-1, 1) and value.ndim == 1:
            return value.reshape(-1, 1)
        return value.reshape(-1) if field.shape == (-1,) and value.ndim == 2 and value.shape[1] == 1 else value

    def _misfits(self, inputs: Mapping[str, Any]) -> Iterator[str]:
        """Say what is missing, and what is not as the signature wants it."""
        for name, field in self._fields.items():
            if name not in inputs:
                if not field.optional and not field.sequence:
                    yield f"The required input {name!r} is missing; send it."
            elif not isinstance(inputs[name], list | dict) and not _fits(inputs[name], field):
                yield f"Input {name!r}: expected {_wanted(field)}, got {_got(inputs[name])}."
        yield from self._uneven(inputs)

    def _uneven(self, inputs: Mapping[str, Any]) -> Iterator[str]:
        """Say that columns have unequal lengths, unless the graph calls their rows by different names."""
        columns = [name for name, field in self._fields.items() if field.shape[:1] == (-1,) and name in inputs]
        lengths = {name: len(inputs[name]) for name in columns}
        words = {argument.shape[0] for argument in self._session.get_inputs() if argument.name in lengths}
        if len(set(lengths.values())) > 1 and len(words) <= 1:
            rows = ", ".join(f"{name} {length}" for name, length in lengths.items())
            yield f"All inputs must have the same number of rows, got {rows}."

    def _is_callers(self, error: Exception) -> bool:
        """Tell whose fault an error is.

        ONNX Runtime calls some arguments invalid. Where the signature leaves shapes open, only the runtime can judge
        them, so there any of its errors is an objection to the inputs.
        """
        kind = type(error)
        if isinstance(error, ValueError) or kind.__name__ == "InvalidArgument":
            return True
        runtimes_own = kind.__module__.startswith("onnxruntime.") and kind.__name__ in ("Fail", "RuntimeException")
        return runtimes_own and any(_is_open(field) for field in self._fields.values())

    def close(self) -> None:
        """Let go of the session, so that its memory is given back."""
        del self._run, self._session


def _is_open(field: Field) -> bool:
    return field.shape == () or -1 in field.shape[1:]


def _fits(value: Any, field: Field) -> bool:
    if not isinstance(value, np.ndarray) or value.dtype.kind in "cmMV" or datatype_of(value.dtype) != field.datatype:
        return False
    return not field.shape or (
        len(value.shape) == len(field.shape)
        and all(wanted in (-1, length) for wanted, length in zip(field.shape, value.shape, strict=True))
    )


def _wanted(field: Field) -> str:
    return field.datatype + (f" of shape {list(field.shape)}" if field.shape else " of any shape")


def _got(value: Any) -> str:
    return f"{value.dtype} of shape {list(value.shape)}" if isinstance(value, np.ndarray) else type(value).__name__


class AssemblingOnnxModel(OnnxModel):
    """A session with inputs or outputs that are sequences, maps, or may be absent, or with dangerous values.

    Sequences travel as tensors `NAME[0]`, `NAME[1]`, …; an absent optional output is left out; a ZipMap's sequence of
    maps is one FP32 matrix whose columns are its labels; an input that is a map is one string that holds a JSON object.

    Args:
        session: the session.
        signature: what the model is said to take and give.
        graph: what the graph takes and gives.
        maps: the inputs that are maps, and what makes their keys of strings.
        tables: the outputs that are a ZipMap's, and its labels.
        lowest: the lowest integers that the session would survive, by input.
        row_wise: see `OnnxModel`.
    """

    def __init__(
        self,
        session: "InferenceSession",
        signature: Signature,
        *,
        graph: Signature,
        maps: Mapping[str, Callable[[str], Label]],
        tables: Mapping[str, Sequence[Label]],
        lowest: Mapping[str, int],
        row_wise: bool = False,
    ) -> None:
        super().__init__(session, signature, row_wise=row_wise)
        self._maps = maps
        self._tables = tables
        self._lowest = lowest
        self._sequences = {field.name: field for field in graph.inputs if field.sequence}
        self._without_gaps = {field.name for field in graph.inputs if field.optional and field.datatype == "BYTES"}

    def predict(self, inputs: Arrays, outputs: Sequence[str] | None = None) -> dict[str, NDArray[Any]]:
        """Run the graph on what the flat names stand for; see `Model.predict`."""
        answers = super().predict(self._assembled(inputs), outputs)
        return {name: array for answer in answers.items() for name, array in self._spread(*answer)}

    def _assembled(self, inputs: Arrays) -> dict[str, Any]:
        self._refuse_dangerous(inputs)
        lists: dict[str, dict[int, NDArray[Any]]] = {}
        values: dict[str, Any] = {}
        for name, array in inputs.items():
            element = element_of(name)
            if element is not None and element[0] in self._sequences:
                lists.setdefault(element[0], {})[element[1]] = array
            elif name not in self._sequences:
                values[name] = _map(name, array, self._maps[name]) if name in self._maps else array
                if name in self._without_gaps and None in array.ravel().tolist():
                    raise InvalidInput(f"Input {name!r}: a string is missing; send all, or leave the input out.")
        for name, field in self._sequences.items():
            if name in lists or not field.optional:
                values[name] = list(_in_order(field, lists.get(name, {})))
        return values

    def _refuse_dangerous(self, inputs: Arrays) -> None:
        for name, lowest in self._lowest.items():
            array = inputs.get(name)
            if array is not None and array.dtype.kind == "i" and array.size and array.min() < lowest:
                raise InvalidInput(
                    f"Input {name!r}: expected numbers from {lowest}, got {array.min()}, by which the graph cannot "
                    "compute."
                )

    def _spread(self, name: str, value: Any) -> Iterator[tuple[str, NDArray[Any]]]:
        if name in self._tables:
            labels = self._tables[name]
            rows = [[row[label] for label in labels] for row in value]
            yield name, np.array(rows, dtype=np.float32).reshape(len(rows), len(labels))
        elif isinstance(value, list):
            yield from ((element_name(name, index), array) for index, array in enumerate(value))
        elif value is not None:
            yield name, value


def _in_order(field: Field, tensors: Mapping[int, NDArray[Any]]) -> Iterator[NDArray[Any]]:
    for index in range(len(tensors)):
        name = element_name(field.name, index)
        if index not in tensors:
            raise InvalidInput(
                f"Input {name!r} is missing: {field.name!r} has {len(tensors)} tensors, the last of them number "
                f"{max(tensors)}; count them from 0 without gaps."
            )
        if not _fits(tensors[index], field):
            raise InvalidInput(f"Input {name!r}: expected {_wanted(field)}, got {_got(tensors[index])}.")
        yield tensors[index]


def _map(name: str, array: NDArray[Any], key: Callable[[str], Label]) -> dict[Label, float]:
    try:
        document = json.loads(array.item())
        numbers = {key(text): _number(value) for text, value in document.items()}
    except (ValueError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise InvalidInput(
            f'Input {name!r}: expected one string that holds a JSON object of numbers, such as {{"7": 1.5}}: '
            f"{one_line(error)}."
        ) from error
    if not numbers:
        raise InvalidInput(f"Input {name!r}: ONNX Runtime takes no empty map; give it at least one key.")
    return numbers


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{value!r} is no number")
    number = float(value)
    if math.isfinite(number) and abs(number) > float(np.finfo(np.float32).max):
        raise OverflowError(f"{value!r} is too large for FP32")
    return number
