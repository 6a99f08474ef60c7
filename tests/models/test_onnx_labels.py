"""Class labels that a graph holds: in a classifier's attributes, in a ZipMap's, in the list that numbers look up."""

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from skl2onnx import to_onnx
from sklearn.linear_model import LinearRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.neural_network import MLPClassifier

from serinus.models.onnx_graph import read_graph
from serinus.models.onnx_labels import column_labels, value_labels
from tests.models.onnx_graphs import made, ml, value


def graph_of(nodes, **more):
    return read_graph(made(nodes, [value("a")], [value("z")], **more).SerializeToString()).graph


def classifier(**labels):
    return ml("LinearClassifier", ["a"], ["label", "scores"], coefficients=[1.0, 2.0], intercepts=[0.0], **labels)


@pytest.mark.parametrize(
    ("labels", "expected"),
    [({"classlabels_ints": [5, -3]}, (5, -3)), ({"classlabels_strings": ["no", "yes"]}, ("no", "yes"))],
)
def test_a_classifier_s_own(labels, expected):
    """Its classes are the labels of its label's values and of its scores' columns, in its order."""
    graph = graph_of([classifier(**labels)])
    assert value_labels(graph, "label") == column_labels(graph, "scores") == expected
    assert value_labels(graph, "scores") is column_labels(graph, "label") is None


def test_behind_other_operators():
    """Casts, shapes and normalisation leave labels what they are; arithmetic with other columns may not."""
    graph = graph_of(
        [
            classifier(classlabels_ints=[0, 1]),
            helper.make_node("Cast", ["label"], ["wide"], to=TensorProto.INT64),
            helper.make_node("Reshape", ["wide", "shape"], ["column"]),
            ml("Normalizer", ["scores"], ["shares"], norm="L1"),
            helper.make_node("MatMul", ["shares", "mixture"], ["mixed"]),
        ]
    )
    assert value_labels(graph, "column") == (0, 1)
    assert column_labels(graph, "shares") == (0, 1)
    assert column_labels(graph, "mixed") is None


def test_a_circle_is_left():
    """A damaged graph whose operators feed each other is left after as many steps as it has tensors."""
    graph = graph_of([helper.make_node("Cast", ["b"], ["c"], to=1), helper.make_node("Cast", ["c"], ["b"], to=1)])
    assert column_labels(graph, "c") is value_labels(graph, "c") is None


def test_a_zipmap():
    """Its labels are those of its maps, each once."""
    graph = graph_of([ml("ZipMap", ["a"], ["z"], classlabels_strings=["x", "y", "x"])])
    assert column_labels(graph, "z") == ("x", "y")


def test_a_list_that_numbers_look_up():
    """The place of the largest column, looked up in a list, says what the columns are."""
    names = numpy_helper.from_array(np.array(["no", "yes"], dtype=object), "names")
    nodes = [
        helper.make_node("Softmax", ["a"], ["shares"]),
        helper.make_node("ArgMax", ["shares"], ["place"], axis=1),
        ml("ArrayFeatureExtractor", ["names", "place"], ["label"]),
    ]
    graph = graph_of(nodes, initializer=[names])
    assert value_labels(graph, "label") == column_labels(graph, "shares") == ("no", "yes")
    nodes[1] = helper.make_node("ArgMin", ["shares"], ["place"], axis=1)
    assert column_labels(graph_of(nodes, initializer=[names]), "shares") is None


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("estimator", [MLPClassifier(max_iter=5), GaussianNB()], ids=lambda estimator: str(estimator))
def test_converted_estimators(estimator, cancer):
    """Labels that skl2onnx writes no attribute for are found."""
    fitted = estimator.fit(cancer[0], np.array(["no", "yes"])[cancer[1]])
    proto = to_onnx(fitted, cancer[0][:1], options={"zipmap": False})
    graph = read_graph(proto.SerializeToString()).graph
    assert value_labels(graph, "label") == ("no", "yes")


def test_a_regression_has_none(cancer):
    """Numbers are not labelled."""
    proto = to_onnx(LinearRegression().fit(*cancer), cancer[0][:1])
    graph = read_graph(proto.SerializeToString()).graph
    assert all(value_labels(graph, v.name) is column_labels(graph, v.name) is None for v in graph.outputs)
