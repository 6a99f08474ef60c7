"""From a scikit-learn estimator to an ONNX graph that takes and gives what its signature says, by the same names.

skl2onnx converts the estimator itself, the body of the graph. What stands before it makes one tensor per column of
the signature into what the body takes; what stands behind it gives answers their names, datatypes and shapes:

```
age FP64 [k], optional ── fill with NaN ── cast ── [k, 1] ┐
visits INT64 [k] ───────────────────────── cast ── [k, 1] ┼─ body ─┬─ reshape, cast ── predict
city BYTES [k] ─────────────────────────────────── [k, 1] ┘        └─ cast ── predict_proba
```
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from serinus.models.errors import ModelError, one_line
from serinus.models.signature import Field, Signature

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto, TensorProto

__all__ = ["PRECISIONS", "NotConvertible", "convert"]

PRECISIONS = {"FP32": "single", "FP64": "double"}
"""The precisions a body may compute in, in the order of their speed."""

_OPSET, _ML_OPSET = 19, 3
"""The oldest that has what is needed: equality of strings, and trees in double precision."""

_MISSING = "None"
"""What ONNX Runtime makes of None in a tensor of strings."""

_BODY = "body/"


class NotConvertible(ModelError):
    """This estimator, or this signature, cannot be expressed as an ONNX graph."""


def convert(fitted: Any, signature: Signature, *, precision: str = "FP32", exact_integers: bool = True) -> "ModelProto":
    """Convert a fitted estimator to an ONNX graph with the signature's own inputs and outputs.

    Args:
        fitted: the estimator or pipeline.
        signature: what it takes and gives; the graph will do the same, by the same names, datatypes and shapes.
        precision: what numbers are computed in, a key of `PRECISIONS`.
        exact_integers: hand integers to the estimator as integers (encoders need that), not in `precision`.

    Raises:
        NotConvertible: skl2onnx cannot do it, or a field of the signature has no equivalent.
        ModelError: skl2onnx or onnx is not installed.
    """
    require()
    _check(signature)
    plan = _Plan(signature, precision, exact_integers, _takes_columns(fitted))
    body = _body(fitted, plan)
    if len(body.graph.output) < len(signature.outputs):
        raise NotConvertible(f"the graph of {type(fitted).__name__} does not give {_names(signature.outputs)}")
    return _assembled(plan, body)


def require() -> None:
    """Raise ModelError unless skl2onnx and onnx are installed; the sentence says how to get them."""
    try:
        import onnx  # noqa: F401
        import skl2onnx  # noqa: F401
    except ImportError as error:
        raise ModelError(
            f"Conversion to ONNX needs skl2onnx and onnx, and {error.name} is not installed; "
            "run: pip install 'serinus[optimize]'"
        ) from None


@dataclass(frozen=True)
class _Plan:
    """How the signature's inputs become those of the body."""

    signature: Signature
    precision: str
    exact_integers: bool
    columns: bool

    @property
    def joined(self) -> bool:
        """Whether the columns are joined to one matrix before the body."""
        fields = self.signature.inputs
        return not self.columns and len(fields) > 1 and all(field.datatype != "BYTES" for field in fields)

    def kind(self, field: Field) -> str:
        """The datatype in which a field reaches the body."""
        if field.datatype == "BYTES":
            return "BYTES"
        whole = not field.datatype.startswith("FP") and not (field.optional or self.joined)
        return "INT64" if whole and self.exact_integers else self.precision

    def initial_types(self) -> list[tuple[str, Any]]:
        """The inputs of the body as skl2onnx wants them described."""
        from skl2onnx.common import data_types as types

        made = {"BYTES": types.StringTensorType, "INT64": types.Int64TensorType,
                "FP32": types.FloatTensorType, "FP64": types.DoubleTensorType}  # fmt: skip
        if self.joined:
            return [("input", made[self.precision]([None, len(self.signature.inputs)]))]
        return [(field.name, made[self.kind(field)]([None, _width(field)])) for field in self.signature.inputs]


def _width(field: Field) -> int:
    return 1 if len(field.shape) == 1 else field.shape[1]


def _check(signature: Signature) -> None:
    """Raise NotConvertible for fields that have no equivalent."""
    for field in signature.inputs:
        if field.frame_dtype is not None and field.frame_dtype.startswith("datetime64"):
            raise NotConvertible(f"column {field.name!r} holds dates, which ONNX does not know")
        if len(field.shape) not in (1, 2) or field.shape[0] != -1 or (len(field.shape) == 2 and field.shape[1] < 1):
            raise NotConvertible(f"input {field.name!r} has shape {list(field.shape)}, wanted [-1] or [-1, n]")
        if field.optional and not field.datatype.startswith(("FP", "BYTES")):
            raise NotConvertible(f"values of {field.name!r} may be missing, and {field.datatype} tensors have no gaps")
    unknown = [field.name for field in signature.outputs if field.name not in ("predict", "predict_proba", "transform")]
    if unknown:
        raise NotConvertible(f"the outputs {', '.join(unknown)} have no equivalent")


def _takes_columns(fitted: Any) -> bool:
    """Tell whether the estimator picks its columns by name, so that they must reach it one by one."""
    from sklearn.compose import ColumnTransformer

    inner = getattr(fitted, "best_estimator_", fitted)
    first = inner.steps[0][1] if hasattr(inner, "steps") else inner
    return isinstance(first, ColumnTransformer) or (hasattr(first, "steps") and _takes_columns(first))


def _body(fitted: Any, plan: _Plan) -> "ModelProto":
    import skl2onnx
    import sklearn

    try:
        body = skl2onnx.convert_sklearn(
            fitted, "serinus", plan.initial_types(), options=_options(fitted),
            target_opset={"": _OPSET, "ai.onnx.ml": _ML_OPSET},
        )  # fmt: skip
    except Exception as error:
        raise NotConvertible(
            f"skl2onnx {skl2onnx.__version__} cannot convert this {_kind(fitted)} of scikit-learn "
            f"{sklearn.__version__} ({type(error).__name__}: {_first_words(error)})"
        ) from error
    _direct_gaps(body.graph, fitted)
    return body  # type: ignore[no-any-return]


def _direct_gaps(graph: "GraphProto", fitted: Any) -> None:
    """Tell the trees of a graph where a missing value goes: skl2onnx sends all of them to the right."""
    trees = [inner.tree_ for inner in _estimators(fitted) if hasattr(inner, "tree_")]
    known = {_shape_of(tree): tree.missing_go_to_left for tree in trees if hasattr(tree, "missing_go_to_left")}
    for node in graph.node:
        if node.op_type.startswith("TreeEnsemble"):
            attributes = {attribute.name: attribute for attribute in node.attribute}
            names = ("nodes_treeids", "nodes_featureids", "nodes_truenodeids", "nodes_missing_value_tracks_true")
            numbers, features, lefts, to_left = (np.array(attributes[name].ints) for name in names)
            for number in np.unique(numbers):
                one = numbers == number
                to_left[one] = known.get((features[one].tobytes(), lefts[one].tobytes()), to_left[one])
            attributes[names[-1]].ints[:] = to_left.tolist()


def _shape_of(tree: Any) -> tuple[bytes, bytes]:
    """What a tree splits by, node by node, as skl2onnx writes it down; leaves have zeros."""
    splits = tree.children_left >= 0
    columns = (np.where(splits, values, 0).astype(np.int64) for values in (tree.feature, tree.children_left))
    features, lefts = (values.tobytes() for values in columns)
    return features, lefts


def _estimators(thing: Any) -> Iterator[Any]:
    """Give an estimator and every one inside it: steps, branches, members of ensembles."""
    from sklearn.base import BaseEstimator

    if isinstance(thing, np.ndarray):
        thing = thing.ravel().tolist() if thing.dtype == object else []
    if isinstance(thing, BaseEstimator):
        yield thing
        thing = list(vars(thing).values())
    for item in thing if isinstance(thing, list | tuple) else ():
        yield from _estimators(item)


def _options(fitted: Any) -> dict[Any, Any]:
    """Matrices of probabilities, not maps; lower case by a locale that every Linux has."""
    from sklearn.base import is_classifier

    inside = list(_estimators(fitted))
    texts = {id(inner): {"locale": "C.UTF-8"} for inner in inside if hasattr(inner, "build_tokenizer")}
    if not texts:
        return {"zipmap": False} if is_classifier(fitted) else {}
    # skl2onnx takes options for all estimators or for single ones, not both at once.
    return texts | {id(inner): {"zipmap": False} for inner in inside if is_classifier(inner)}


def _kind(fitted: Any) -> str:
    inner = getattr(fitted, "best_estimator_", fitted)
    if hasattr(inner, "steps"):
        return f"pipeline of {', '.join(type(step).__name__ for _, step in inner.steps)}"
    return type(inner).__name__


def _first_words(error: Exception) -> str:
    text = one_line(error)
    return text if len(text) <= 160 else text[:159] + "…"


def _names(fields: Sequence[Field]) -> str:
    return " and ".join(field.name for field in fields)


def _assembled(plan: _Plan, body: "ModelProto") -> "ModelProto":
    from onnx import compose, helper

    inner = compose.add_prefix(body, _BODY).graph
    # The first opset of a domain counts; skl2onnx may list one twice.
    opsets = {opset.domain: opset.version for opset in reversed(body.opset_import)}
    opsets[""] = max(opsets.get("", 0), _OPSET)
    front, tail = _Front(plan, inner), _Tail(plan.signature, inner)
    graph = helper.make_graph(
        [*front.nodes, *inner.node, *tail.nodes],
        "serinus",
        [_value(field) for field in plan.signature.inputs],
        [_value(field) for field in plan.signature.outputs],
        initializer=[*front.constants, *inner.initializer, *tail.constants],
    )
    graph.sparse_initializer.extend(inner.sparse_initializer)
    imports = [helper.make_opsetid(domain, version) for domain, version in sorted(opsets.items())]
    model = helper.make_model(graph, opset_imports=imports, ir_version=9, producer_name="serinus")
    helper.set_model_props(model, {"serinus.gaps": _MISSING})  # tells the adapter that gaps among strings are expected
    return model


def _value(field: Field) -> Any:
    from onnx import helper

    shape = [None if length == -1 else length for length in field.shape]
    return helper.make_tensor_value_info(field.name, _element(field.datatype), ["rows", *shape[1:]])


def _element(datatype: str) -> int:
    from onnx import TensorProto, helper

    from serinus.models.signature import DATATYPES

    if datatype == "BYTES":
        return int(TensorProto.STRING)
    return int(helper.np_dtype_to_tensor_dtype(DATATYPES[datatype]))


class _Nodes:
    """Nodes and constants under names of their own."""

    def __init__(self, prefix: str) -> None:
        self.nodes: list[NodeProto] = []
        self.constants: list[TensorProto] = []
        self._prefix = prefix

    def node(self, operator: str, inputs: Sequence[str], output: str | None = None, **attributes: Any) -> str:
        """Add a node and give its output's name."""
        from onnx import helper

        name = f"{self._prefix}{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [output or name], name=name, **attributes))
        return output or name

    def constant(
        self, datatype: str, values: Sequence[Any], name: str | None = None, shape: Sequence[int] | None = None
    ) -> str:
        """Add a constant, a vector where no shape is given, and give its name."""
        from onnx import helper

        name = name or f"{self._prefix}constant{len(self.constants)}"
        values = [value.encode() for value in values] if datatype == "BYTES" else values
        shape = [len(values)] if shape is None else shape
        self.constants.append(helper.make_tensor(name, _element(datatype), shape, values))
        return name


class _Front(_Nodes):
    """What stands before the body: missing columns filled, everything in the datatype and shape the body takes."""

    def __init__(self, plan: _Plan, inner: "GraphProto") -> None:
        super().__init__("front/")
        self._plan = plan
        self._columns = [field for field in plan.signature.inputs if len(field.shape) == 1]
        self._rows = self._count_rows() if any(field.optional for field in self._columns) else ""
        self._axis = self.constant("INT64", [1]) if self._columns else ""
        ready = [self._ready(field) for field in plan.signature.inputs]
        if plan.joined:
            ready = [self._joined(ready)]
        for name, wanted in zip(ready, inner.input, strict=True):
            self.node("Identity", [name], output=wanted.name)

    def _count_rows(self) -> str:
        """The number of rows: that of a required column, else of the longest (one that is left out has one row)."""
        required = [field.name for field in self._columns if not field.optional]
        counts = [self.node("Shape", [name]) for name in required[:1] or [field.name for field in self._columns]]
        return counts[0] if len(counts) == 1 else self.node("Max", counts)

    def _ready(self, field: Field) -> str:
        name = self._filled(field) if field.optional else field.name
        # Columns that are joined have one datatype afterwards, so they are cast together where they can be.
        if field.datatype != self._plan.kind(field) and not self._plan.joined:
            name = self.node("Cast", [name], to=_element(self._plan.kind(field)))
        return self.node("Unsqueeze", [name, self._axis]) if field in self._columns else name

    def _filled(self, field: Field) -> str:
        """Give an optional input a default, of one row, and stretch it to all rows."""
        value: Any = _MISSING if field.datatype == "BYTES" else math.nan
        self.constant(field.datatype, [value] * _width(field), name=field.name, shape=(1, *field.shape[1:]))
        if len(field.shape) == 2:  # the one matrix: nothing says how many rows it would have
            return field.name
        name = self.node("Expand", [field.name, self._rows])
        if field.datatype == "BYTES" and field.frame_dtype != "object[None]":
            # Encoders tell None from NaN, and the trained column had NaN.
            is_missing = self.node("Equal", [name, self.constant("BYTES", [_MISSING], shape=())])
            name = self.node("Where", [is_missing, self.constant("BYTES", ["nan"], shape=()), name])
        return name

    def _joined(self, columns: Sequence[str]) -> str:
        wanted = _element(self._plan.precision)
        alike = {field.datatype for field in self._plan.signature.inputs}
        if len(alike) > 1:
            columns = [self.node("Cast", [name], to=wanted) for name in columns]
        name = self.node("Concat", columns, axis=1)
        return name if alike == {self._plan.precision} else self.node("Cast", [name], to=wanted)


class _Tail(_Nodes):
    """What stands behind the body: answers by their names, in their datatypes and shapes."""

    def __init__(self, signature: Signature, inner: "GraphProto") -> None:
        super().__init__("tail/")
        for field, made in zip(signature.outputs, _chosen(signature, inner), strict=True):
            name = made
            if len(field.shape) == 1:
                name = self.node("Reshape", [name, self.constant("INT64", [-1])])
            if field.datatype == "BYTES":
                self.node("Identity", [name], output=field.name)
            else:
                self.node("Cast", [name], output=field.name, to=_element(field.datatype))


def _chosen(signature: Signature, inner: "GraphProto") -> Iterator[str]:
    """Give the body's output for each of the signature's: labels or values come first, probabilities second."""
    for field in signature.outputs:
        yield inner.output[1 if field.name == "predict_proba" else 0].name
