"""What the columns and values of an ONNX graph's outputs mean, where its classifier says so."""

from collections.abc import Mapping

from serinus.models.onnx_graph import Graph, Node
from serinus.models.signature import Label

__all__ = ["column_labels", "value_labels"]

_CLASSIFIERS = frozenset({"LinearClassifier", "SVMClassifier", "TreeEnsembleClassifier"})
_LABELS = ("classlabels_strings", "classlabels_int64s", "classlabels_ints")
_SAME_VALUES = frozenset({"Cast", "Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze"})
_SAME_COLUMNS = frozenset({"Cast", "Exp", "Identity", "Log", "Normalizer", "Sigmoid", "Softmax"})

Labels = tuple[Label, ...] | None


def column_labels(graph: Graph, output: str) -> Labels:
    """Give the class labels of an output's columns, in their order; None where the graph does not say.

    It says so in the attributes of a classifier or a ZipMap, or by looking the largest column's place up in a list.
    """
    makers = _makers(graph)
    name, node = _origin(makers, output, _SAME_COLUMNS)
    if node is not None and (node.op == "ZipMap" or (node.op in _CLASSIFIERS and node.outputs[1:2] == (name,))):
        return _listed(node)
    for chooser in graph.nodes:
        if chooser.op == "ArrayFeatureExtractor" and name == _ranked(makers, chooser.inputs[1]):
            return _looked_up(graph, chooser)
    return None


def value_labels(graph: Graph, output: str) -> Labels:
    """Give the class labels that are the values of an output; None where the graph does not say."""
    name, node = _origin(_makers(graph), output, _SAME_VALUES)
    if node is not None and node.op in _CLASSIFIERS and node.outputs[:1] == (name,):
        return _listed(node)
    return _looked_up(graph, node) if node is not None and node.op == "ArrayFeatureExtractor" else None


def _ranked(makers: Mapping[str, Node], name: str) -> str | None:
    """The columns of whose largest this tensor is the place."""
    _, node = _origin(makers, name, _SAME_VALUES)
    if node is None or node.op != "ArgMax" or node.attributes.get("axis") not in (1, -1):
        return None
    return _origin(makers, node.inputs[0], _SAME_COLUMNS)[0]


def _looked_up(graph: Graph, node: Node) -> Labels:
    table = graph.initializers.get(node.inputs[0])
    return None if table is None else table.values


def _makers(graph: Graph) -> dict[str, Node]:
    return {name: node for node in graph.nodes for name in node.outputs if name}


def _origin(makers: Mapping[str, Node], name: str, passed: frozenset[str]) -> tuple[str, Node | None]:
    """Go back from a tensor through operators that leave the labels what they are."""
    node = makers.get(name)
    for _ in range(len(makers)):
        if node is None or node.op not in passed:
            break
        name = node.inputs[0] if node.inputs else ""
        node = makers.get(name)
    return name, node


def _listed(node: Node) -> Labels:
    labels = next((found for name in _LABELS if isinstance(found := node.attributes.get(name), tuple)), None)
    return None if labels is None else tuple(dict.fromkeys(labels))
