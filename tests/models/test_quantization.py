"""Quantisation: what it changes, and what it costs by hand-made answers."""

import logging

import numpy as np
import pytest
from onnx import TensorProto, helper

from serinus.models import Field, Signature, wrap
from serinus.models.onnx_conversion import NotConvertible
from serinus.models.quantization import cost_of, quantized

LABELS = Signature((), (Field("predict", "BYTES", (-1,), labels=("no", "yes")),))
VALUES = Signature((), (Field("predict", "FP64", (-1,)),))


def matrix(operator="MatMul"):
    """A graph of one product with a constant matrix."""
    weights = np.random.default_rng(1).normal(size=(8, 4)).astype(np.float32)
    constant = helper.make_tensor("w", TensorProto.FLOAT, weights.shape, weights.tobytes(), raw=True)
    nodes = [helper.make_node(operator, ["a", "w"] if operator == "MatMul" else ["a"], ["b"])]
    sides = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["rows", size]) for name, size in
             (("a", 8), ("b", 4 if operator == "MatMul" else 8))]  # fmt: skip
    graph = helper.make_graph(nodes, "g", sides[:1], sides[1:], initializer=[constant])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)


def test_weights_become_whole_numbers():
    """The product is one of 8-bit integers, nearly the same, and the user's log level is what it was."""
    level = logging.root.level
    changed = quantized(matrix())
    assert "MatMulInteger" in {node.op_type for node in changed.graph.node}
    assert logging.root.level == level
    rows = {"a": np.random.default_rng(2).normal(size=(5, 8)).astype(np.float32)}
    before, after = wrap(matrix()).predict(rows)["b"], wrap(changed).predict(rows)["b"]
    assert 0 < np.abs(before - after).max() < 0.1


def test_a_graph_without_weights_is_refused_by_name():
    """Where nothing would change, the sentence names the operators that are there."""
    with pytest.raises(NotConvertible, match=r"none of its operators \(Relu\) has weights"):
        quantized(matrix("Relu"))


def test_the_cost_in_labels():
    """Against the ground truth it is accuracy given up; without, the share of labels changed."""
    before = {"predict": np.array(["no", "no", "yes", "yes"], dtype=object)}
    after = {"predict": np.array(["no", "yes", "yes", "yes"], dtype=object)}
    cost = cost_of(LABELS, before, after, np.array(["no", "no", "yes", "no"]))
    assert (cost.metric, cost.before, cost.after, cost.cost) == ("accuracy", 0.75, 0.5, 0.25)
    assert str(cost) == "accuracy 0.75 before, 0.5 after (costs 0.25)"
    assert cost_of(LABELS, before, after).cost == 0.25


def test_the_cost_in_numbers():
    """Against the ground truth it is the growth of the error; without, the change in standard deviations."""
    before, after = {"predict": np.array([1.0, 3.0])}, {"predict": np.array([2.0, 4.0])}
    cost = cost_of(VALUES, before, after, np.array([0.0, 2.0]))
    assert (cost.metric, cost.before, cost.after, cost.cost) == ("root mean squared error", 1, 2, 1)
    assert cost_of(VALUES, before, after).cost == 1  # every answer moved by 1, and their deviation is 1
