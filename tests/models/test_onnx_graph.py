"""Reading an ONNX file without its weights: what `onnx` reads, and a sentence for everything else."""

import time
import tracemalloc

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from serinus.models.onnx_graph import Damaged, Graph, read_graph
from tests.conformance.onnx_cases import cases
from tests.models.onnx_graphs import made, ml, value


def assert_alike(graph: Graph, proto: onnx.GraphProto) -> None:
    assert [(node.op, node.domain) for node in graph.nodes] == [(node.op_type, node.domain) for node in proto.node]
    assert [node.inputs for node in graph.nodes] == [tuple(node.input) for node in proto.node]
    assert [node.outputs for node in graph.nodes] == [tuple(node.output) for node in proto.node]
    for node, other in zip(graph.nodes, proto.node, strict=True):
        numbers = {a.name: a.i for a in other.attribute if a.type == onnx.AttributeProto.INT}
        assert numbers == {name: node.attributes[name] for name in numbers}
    assert {name: tensor.dims for name, tensor in graph.initializers.items()} == {
        tensor.name: tuple(tensor.dims) for tensor in proto.initializer
    }
    for values, others in ((graph.inputs, proto.input), (graph.outputs, proto.output)):
        assert [(v.name, v.dims) for v in values] == [(v.name, dims(v.type.tensor_type)) for v in others]


def dims(kind: onnx.TypeProto.Tensor) -> tuple | None:
    if not kind.HasField("shape"):
        return None
    return tuple(dim.dim_value if dim.HasField("dim_value") else dim.dim_param or None for dim in kind.shape.dim)


def test_reads_what_onnx_reads():
    """Operators, attributes, shapes and initializers of every backend case are those that `onnx` finds."""
    count = 0
    for case in cases("node"):
        file, model = read_graph(case.content), onnx.load_from_string(case.content)
        assert file.version == model.ir_version
        assert file.opsets == {opset.domain: opset.version for opset in model.opset_import}
        assert_alike(file.graph, model.graph)
        count += 1
    assert count > 1000


@pytest.mark.parametrize("raw", [True, False])
@pytest.mark.parametrize("dtype", [np.int32, np.int64])
def test_small_constants(dtype, raw):
    """Integers that shapes and axes are made of are read, negative ones too, however they are stored."""
    numbers = np.array([[1, -1], [0, 2**31 - 1]], dtype=dtype)
    kind = TensorProto.INT32 if dtype == np.int32 else TensorProto.INT64
    tensor = helper.make_tensor("t", kind, [2, 2], numbers.tobytes() if raw else numbers.ravel().tolist(), raw=raw)
    texts = helper.make_tensor("s", TensorProto.STRING, [2], ["é", ""])
    model = made([], [], [], initializer=[tensor, texts, numpy_helper.from_array(np.ones(2), "f")])
    found = read_graph(model.SerializeToString()).graph.initializers
    assert (found["t"].values, found["s"].values, found["f"].values) == ((1, -1, 0, 2**31 - 1), ("é", ""), None)


def test_graphs_and_tensors_within():
    """Inner graphs, the bodies of functions and constants in attributes are walked too."""
    constant = helper.make_node("Constant", [], ["c"], value=helper.make_tensor("k", TensorProto.FLOAT, [3], [1, 2, 3]))
    branch = helper.make_graph([constant], "b", [], [value("c", shape=(3,))])
    model = made([helper.make_node("If", ["a"], ["z"], then_branch=branch, else_branch=branch)], [], [])
    model.functions.append(helper.make_function("own", "Own", [], ["c"], [constant], [helper.make_opsetid("", 17)]))
    file = read_graph(model.SerializeToString())
    assert [tensor.dims for tensor in file.tensors()] == [(3,)] * 3
    assert [node.op for node in file.graph.operators()] == ["If", "Constant", "Constant"]


def test_weights_are_stepped_over():
    """A forest of a million numbers and a matrix of 64 MB are neither copied nor walked number by number."""
    forest = ml("TreeEnsembleRegressor", ["a"], ["z"], nodes_values=[0.5] * 1_000_000, nodes_treeids=[7] * 1_000_000)
    matrix = helper.make_tensor("w", TensorProto.FLOAT, [1 << 24], bytes(1 << 26), raw=True)
    content = made([forest], [], [], initializer=[matrix]).SerializeToString()
    tracemalloc.start()
    started = time.process_time()
    file = read_graph(content)
    took, (_, peak) = time.process_time() - started, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert file.graph.initializers["w"].dims == (1 << 24,)
    assert peak < 1 << 20
    assert took < 2


@given(st.binary(max_size=200))
@settings(deadline=None)
def test_any_bytes(content):
    """Any bytes are a graph or damaged, and nothing else happens."""
    try:
        read_graph(content)
    except Damaged as error:
        assert str(error)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "it holds no graph"),
        (b"\x3a\xff\xff\xff\xff\xff\xff\xff\xff\x7f", "it is cut short"),
        (b"\x3a" + b"\xff" * 11, "its bytes are not those of an ONNX file"),
        (b"\x0b", "its bytes are not those of an ONNX file"),
        (b"\x3a\x00\x38\x01", "its bytes are not those of an ONNX file"),
        (b"\x3a\x05\x0a\x03\x0a\x01\xff", "a name in it is not UTF-8"),
    ],
)
def test_why_it_is_none(content, why):
    """Lengths beyond the end, numbers without one, wrong kinds of values and broken names are told apart."""
    with pytest.raises(Damaged, match=why):
        read_graph(content)
