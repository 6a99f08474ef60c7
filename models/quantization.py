"""Weights of an ONNX graph as 8-bit integers, and what that costs in accuracy."""

import logging
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from serinus.models.errors import one_line
from serinus.models.onnx_conversion import NotConvertible
from serinus.models.parity import is_label
from serinus.models.signature import Field, Signature

if TYPE_CHECKING:
    from onnx import ModelProto

__all__ = ["Cost", "cost_of", "quantized"]

Arrays = Mapping[str, NDArray[Any]]

_WHOLE_NUMBER_OPERATORS = frozenset(
    {"ConvInteger", "DynamicQuantizeLinear", "DynamicQuantizeLSTM", "MatMulInteger", "QLinearConv", "QLinearMatMul"}
)


def quantized(model: "ModelProto") -> "ModelProto":
    """Give the graph with its weights as 8-bit integers, its activations quantised at each call.

    Raises NotConvertible where the graph holds nothing that this changes (trees, linear models), or it fails.
    """
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    if _operators(model) & _WHOLE_NUMBER_OPERATORS:
        raise NotConvertible("its weights are 8-bit integers already")
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "source.onnx"), Path(folder, "quantized.onnx")
        source.write_bytes(model.SerializeToString())
        try:
            with _quiet():
                quantize_dynamic(source, target, weight_type=QuantType.QInt8)
        except Exception as error:
            raise NotConvertible(f"it cannot be quantised ({type(error).__name__}: {one_line(error)})") from error
        result = onnx.load(target)
    if not _operators(result) & _WHOLE_NUMBER_OPERATORS:
        there = ", ".join(sorted(_operators(model)))
        raise NotConvertible(f"none of its operators ({there}) has weights that can be quantised")
    return result


def _operators(model: "ModelProto") -> set[str]:
    return {node.op_type for node in model.graph.node}


class _quiet:  # noqa: N801  (it is used like a function)
    """Keeps the quantiser's advice, which is meant for other models, out of the user's log."""

    def __enter__(self) -> None:
        self._level = logging.root.level
        logging.root.setLevel(logging.ERROR)

    def __exit__(self, *_: object) -> None:
        logging.root.setLevel(self._level)


@dataclass(frozen=True)
class Cost:
    """What a change of the model costs in accuracy.

    Attributes:
        metric: what is compared, in words.
        before: its value for the model as it was; None where there is no ground truth.
        after: its value for the changed model; likewise.
        cost: how much is lost: accuracy given up, share of labels changed, or growth of the error.
    """

    metric: str
    before: float | None
    after: float | None
    cost: float

    def to_json(self) -> dict[str, Any]:
        """Give the numbers as JSON values."""
        return asdict(self)

    def __str__(self) -> str:
        if self.before is None or self.after is None:
            return f"{self.metric} {self.cost:.4g}"
        return f"{self.metric} {self.before:.4g} before, {self.after:.4g} after (costs {self.cost:.4g})"


def cost_of(signature: Signature, before: Arrays, after: Arrays, truth: NDArray[Any] | None = None) -> Cost:
    """Tell what is lost in the first output.

    Labels: the accuracy given up against the ground truth, else the share of labels changed. Numbers: the growth of
    the root mean squared error, else the root mean squared change in standard deviations of the answers.
    """
    field = signature.outputs[0]
    one, other = before[field.name], after[field.name]
    if is_label(field):
        return _label_cost(field, one, other, truth)
    if truth is None:
        spread = float(np.std(one.astype(float)))
        change = _rms(other, one)
        return Cost("change in standard deviations", None, None, change / spread if spread else change)
    errors = _rms(one.reshape(len(truth), -1), truth), _rms(other.reshape(len(truth), -1), truth)
    return Cost("root mean squared error", *errors, (errors[1] - errors[0]) / max(errors[0], 1e-12))


def _label_cost(field: Field, one: NDArray[Any], other: NDArray[Any], truth: NDArray[Any] | None) -> Cost:
    if truth is None:
        return Cost("share of labels changed", None, None, float(np.mean(one != other)))
    wanted = truth.astype(str).astype(object) if field.datatype == "BYTES" else truth
    right = float(np.mean(one == wanted)), float(np.mean(other == wanted))
    return Cost("accuracy", *right, right[0] - right[1])


def _rms(found: NDArray[Any], wanted: NDArray[Any]) -> float:
    wanted = np.asarray(wanted, dtype=float)
    if found.ndim > wanted.ndim:
        wanted = wanted.reshape(len(wanted), -1)
    return float(np.sqrt(np.mean((found.astype(float) - wanted) ** 2)))
