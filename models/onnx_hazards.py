"""Values that would end the process: where ONNX Runtime divides integers, the processor may stop the program."""

from collections.abc import Iterator, Mapping

import numpy as np

from serinus.models.onnx_graph import Graph
from serinus.models.signature import Field

__all__ = ["lowest_values"]

_DIVIDING = frozenset({"Div", "Mod"})
_WIDE = ("INT32", "INT64")


def lowest_values(graph: Graph, inputs: Mapping[str, Field]) -> dict[str, int]:
    """Give the lowest value that each integer input may hold, for those that cannot hold all of their type's.

    The lowest integer of all has no quotient by −1, so no input holds it where the graph divides by anything but a
    constant. A step or frame of no length has no Fourier transform.
    """
    return {**dict(_dividends(graph, inputs)), **dict(_steps(graph, inputs))}


def _dividends(graph: Graph, inputs: Mapping[str, Field]) -> Iterator[tuple[str, int]]:
    constant = {*graph.initializers, *(node.outputs[0] for node in graph.nodes if node.op == "Constant")} - {*inputs}
    if any(node.op in _DIVIDING and node.inputs[1] not in constant for node in graph.operators()):
        for name, field in inputs.items():
            if field.datatype in _WIDE:
                yield name, int(np.iinfo(field.dtype).min) + 1


def _steps(graph: Graph, inputs: Mapping[str, Field]) -> Iterator[tuple[str, int]]:
    for node in graph.operators():
        if node.op == "STFT":
            yield from ((name, 1) for name in node.inputs[1:4:2] if name in inputs)
