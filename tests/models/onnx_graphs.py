"""Small ONNX graphs, made by hand."""

from typing import Any

import onnx
from onnx import TensorProto, helper


def made(
    nodes: list[onnx.NodeProto],
    inputs: list[onnx.ValueInfoProto],
    outputs: list[onnx.ValueInfoProto],
    opset: int = 17,
    **more: Any,
) -> onnx.ModelProto:
    """A model of these nodes."""
    graph = helper.make_graph(nodes, "graph", inputs, outputs, **more)
    imports = [helper.make_opsetid("", opset), helper.make_opsetid("ai.onnx.ml", 3)]
    return helper.make_model(graph, opset_imports=imports, ir_version=9)


def value(name: str, kind: int = TensorProto.FLOAT, shape: Any = ("rows", 2)) -> onnx.ValueInfoProto:
    """A tensor among the inputs or outputs; None as its shape says nothing about it."""
    return helper.make_tensor_value_info(name, kind, shape)


def typed(name: str, kind: onnx.TypeProto) -> onnx.ValueInfoProto:
    """Something else among the inputs or outputs."""
    return helper.make_value_info(name, kind)


def tensors(kind: int = TensorProto.FLOAT, *, optional: bool = False, sequence: bool = False) -> onnx.TypeProto:
    """The type of a tensor, of a sequence of them, of an optional one of either."""
    made_of = helper.make_tensor_type_proto(kind, None)
    made_of = helper.make_sequence_type_proto(made_of) if sequence else made_of
    return helper.make_optional_type_proto(made_of) if optional else made_of


def a_map(key: int, values: int = TensorProto.FLOAT) -> onnx.TypeProto:
    """The type of a map."""
    return helper.make_map_type_proto(key, helper.make_tensor_type_proto(values, []))


def alike(kind: onnx.TypeProto, *, names: tuple[str, str] = ("a", "b")) -> onnx.ModelProto:
    """A model that gives back what it got."""
    return made([helper.make_node("Identity", names[:1], names[1:])], [typed(names[0], kind)], [typed(names[1], kind)])


def ml(operator: str, inputs: list[str], outputs: list[str], **attributes: Any) -> onnx.NodeProto:
    """A node of ONNX's operators for classical machine learning."""
    return helper.make_node(operator, inputs, outputs, domain="ai.onnx.ml", **attributes)
