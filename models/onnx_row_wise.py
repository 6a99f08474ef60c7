"""Whether the rows of an ONNX graph keep to themselves: a walk along its operators, each of them on a reviewed list.

A tensor is either rows (its first dimension, and what is known of the others) or a constant. Each operator on the list
has a rule that says what its outputs are, or that rows could meet. What has no rule, or a rule that does not know
enough, ends the walk: the answer is then no. So a graph may be row-wise and not be recognised, never the reverse.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from serinus.models.onnx_graph import Graph, Node, OnnxFile, Tensor, Value

__all__ = ["row_wise"]

_REVIEWED = {"": range(7, 27), "ai.onnx.ml": range(1, 6)}
"""The operator set versions whose texts were read for the rules on this page."""

_AXIS_OF_SOFTMAX_CHANGED = 13

Tail = tuple[int | None, ...]


@dataclass(frozen=True, slots=True)
class Rows:
    """A tensor that holds rows: its dimensions after the first. `lying`: the rows are the columns of `[1, rows]`."""

    tail: Tail
    lying: bool = False


@dataclass(frozen=True, slots=True)
class Constant:
    """A tensor that is the same in every call; None where its dimensions or values are not known."""

    dims: tuple[int, ...] | None = None
    values: tuple[int | str, ...] | None = None


class _Meet(Exception):
    """Rows could meet here, or nobody knows that they cannot."""


def row_wise(file: OnnxFile) -> bool:
    """Tell whether the answer for a row depends on that row alone, however many rows a call has.

    All inputs and outputs must have a variable first dimension (of one name, where named).
    """
    try:
        _walk(file)
    except (_Meet, IndexError, ValueError):  # inputs that the runtime accepts and no rule expects
        return False
    return True


def _walk(file: OnnxFile) -> None:
    graph = file.graph
    if file.functions or graph.inner:
        raise _Meet
    inputs = _inputs(graph, file.version)
    known: dict[str, Rows | Constant] = {name: _constant(tensor) for name, tensor in graph.initializers.items()}
    known |= {value.name: Rows(_tail(value)) for value in inputs}
    for node in graph.nodes:
        use = _Use(node, known, _version(node, file.opsets))
        known |= zip(node.outputs, _outcome(use), strict=False)
    for output in graph.outputs:
        rows = known.get(output.name)
        if not isinstance(rows, Rows) or rows.lying or (output.dims is not None and not _is_variable(output)):
            raise _Meet


def _inputs(graph: Graph, version: int) -> list[Value]:
    # Before version 4 of the format, initializers had to be listed among the inputs and could not be overridden.
    inputs = [value for value in graph.inputs if version >= 4 or value.name not in graph.initializers]
    named = {value.dims[0] for value in inputs if value.dims} - {None}
    if not inputs or len(named) > 1 or not all(map(_is_variable, inputs)):
        raise _Meet
    return inputs


def _is_variable(value: Value) -> bool:
    return bool(value.dims) and not isinstance(value.dims[0], int) if value.dims else False


def _tail(value: Value) -> Tail:
    return tuple(length if isinstance(length, int) else None for length in (value.dims or ())[1:])


def _constant(tensor: Tensor) -> Constant:
    return Constant(tensor.dims, tensor.values)


def _version(node: Node, opsets: Mapping[str, int]) -> int:
    domain = "" if node.domain == "ai.onnx" else node.domain
    version = opsets.get(domain, 0)
    if version not in _REVIEWED.get(domain, ()):
        raise _Meet
    return version


@dataclass(frozen=True, slots=True)
class _Use:
    """One node with what is known of its inputs."""

    node: Node
    known: Mapping[str, Rows | Constant]
    version: int

    @property
    def inputs(self) -> list[Rows | Constant]:
        """What the node takes, without the optional inputs that are left out."""
        return [self._of(name) for name in self.node.inputs if name]

    def rows(self, place: int = 0, rank: int | None = None) -> Rows:
        found = self._at(place)
        if not isinstance(found, Rows) or found.lying or rank not in (None, len(found.tail) + 1):
            raise _Meet
        return found

    def constant(self, place: int) -> Constant:
        found = self._at(place)
        if not isinstance(found, Constant):
            raise _Meet
        return found

    def has(self, place: int) -> bool:
        return place < len(self.node.inputs) and self.node.inputs[place] != ""

    def number(self, name: str, default: int) -> int:
        value = self.node.attributes.get(name, default)
        if not isinstance(value, int):
            raise _Meet
        return value

    def integers(self, name: str, place: int | None) -> tuple[int, ...]:
        """The list in an attribute or, in newer operator sets, in a constant input."""
        values = self.node.attributes.get(name)
        if values is None and place is not None and self.has(place):
            values = self.constant(place).values
        if not isinstance(values, tuple) or not all(isinstance(value, int) for value in values):
            raise _Meet
        return values

    def axis(self, default: int | None, rank: int) -> int:
        return _inner_axis(self.number("axis", default if default is not None else 0), rank)

    def _at(self, place: int) -> Rows | Constant:
        if not self.has(place):
            raise _Meet
        return self._of(self.node.inputs[place])

    def _of(self, name: str) -> Rows | Constant:
        if name not in self.known:
            raise _Meet
        return self.known[name]


Outcome = Sequence[Rows | Constant]
Rule = Callable[[_Use], Outcome]


def _outcome(use: _Use) -> Outcome:
    node = use.node
    if use.node.op == "Constant":
        return [_stored(node)]
    if use.inputs and all(isinstance(found, Constant) for found in use.inputs):
        return _folded(use)
    rule = _RULES.get(node.op)
    if rule is None:
        raise _Meet
    return rule(use)


def _stored(node: Node) -> Constant:
    for name, value in node.attributes.items():
        if isinstance(value, Tensor):
            return _constant(value)
        if name == "value_ints" and isinstance(value, tuple):
            return Constant((len(value),), value)
        if name == "value_int":
            return Constant((), (value,))
    return Constant(() if node.attributes.keys() & {"value_float", "value_string"} else None)


def _folded(use: _Use) -> Outcome:
    if use.node.op in ("Identity", "Cast"):
        found = use.constant(0)
        return [Constant(found.dims, found.values if use.node.op == "Identity" else None)]
    if use.node.op not in _PURE:
        raise _Meet
    return [Constant() for _ in use.node.outputs]


def _inner_axis(axis: int, rank: int) -> int:
    axis += rank if axis < 0 else 0
    if not 1 <= axis < rank:
        raise _Meet
    return axis


def _inner_axes(axes: Sequence[int], rank: int) -> set[int]:
    if not axes:
        raise _Meet
    return {_inner_axis(axis, rank) for axis in axes}


def _with(tail: Tail, axis: int, length: int | None) -> Tail:
    return (*tail[: axis - 1], length, *tail[axis:])


def _size(lengths: Sequence[int | None]) -> int | None:
    known = [length for length in lengths if length is not None]
    return prod(known) if len(known) == len(lengths) else None


# One value at a time, or one row at a time


def _each_value(use: _Use) -> Outcome:
    found = use.inputs
    if len(found) != 1 or len(use.node.outputs) != 1:
        raise _Meet
    return found


def _each_row(use: _Use) -> Outcome:
    if len(use.node.inputs) != 1:
        raise _Meet
    return [use.rows(rank=2)]


def _broadcast(use: _Use) -> Outcome:
    if use.node.attributes.keys() & {"axis", "broadcast"}:
        raise _Meet
    found = use.inputs
    tails = [one.tail for one in found if isinstance(one, Rows) and not one.lying]
    rank = len(tails[0]) + 1 if tails else 0
    tails += [_below(one, rank) for one in found if isinstance(one, Constant)]
    if len(tails) != len(found) or any(len(tail) != rank - 1 for tail in tails):
        raise _Meet
    return [Rows(tuple(_wider(lengths) for lengths in zip(*tails, strict=True)))]


def _below(constant: Constant, rank: int) -> Tail:
    """The dimensions of a constant that is broadcast to rows of this rank: it must be the same for each of them."""
    dims = constant.dims
    if dims is None or len(dims) > rank or (len(dims) == rank and dims[0] != 1):
        raise _Meet
    return (1,) * (rank - 1 - len(dims)) + dims[len(dims) == rank :]


def _wider(lengths: Sequence[int | None]) -> int | None:
    known = {length for length in lengths if length not in (1, None)}
    return known.pop() if known else (None if None in lengths else 1)


def _with_constants(use: _Use) -> Outcome:
    """The first input in its own shape, worked on with constants: scales, means, ratios."""
    if len(use.node.outputs) != 1 or use.number("training_mode", 0) or use.number("block_size", 0):
        raise _Meet
    for place in range(1, len(use.node.inputs)):
        if use.has(place):
            use.constant(place)
    return [use.rows()]


def _dropout(use: _Use) -> Outcome:
    if len(use.node.inputs) > 2:
        raise _Meet
    return _with_constants(use)


def _quantize(use: _Use) -> Outcome:
    rows = use.rows()
    if use.constant(1).dims not in ((), (1,)):
        use.axis(1, len(rows.tail) + 1)
    return _with_constants(use)


def _per_axis(default: int) -> Rule:
    def rule(use: _Use) -> Outcome:
        use.axis(default, len(use.rows().tail) + 1)
        return _with_constants(use)

    return rule


def _softmax(use: _Use) -> Outcome:
    rows = use.rows()
    use.axis(-1 if use.version >= _AXIS_OF_SOFTMAX_CHANGED else 1, len(rows.tail) + 1)
    return [rows]


# Products


def _matrix_product(use: _Use) -> Outcome:
    left = use.rows().tail
    right = use.inputs[1]
    if isinstance(right, Rows):
        if right.lying or len(left) < 2 or len(right.tail) != len(left):
            raise _Meet
        return [Rows((*(None,) * (len(left) - 2), left[-2], right.tail[-1]))]
    if not left or right.dims is None or len(right.dims) not in (1, 2):
        raise _Meet
    return [Rows((*left[:-1], *right.dims[1:]))]


def _affine(use: _Use) -> Outcome:
    use.rows(rank=2)
    weights = use.constant(1).dims
    if weights is None or len(weights) != 2 or use.number("transA", 0):
        raise _Meet
    if use.has(2) and isinstance(use.inputs[2], Constant):
        _below(use.constant(2), 2)
    elif use.has(2):
        use.rows(2, rank=2)
    return [Rows((weights[0 if use.number("transB", 0) else 1],))]


def _convolution(use: _Use) -> Outcome:
    channels = (use.constant(1).dims or (None,))[0] if use.node.op == "Conv" else None
    (rows,) = _with_constants(use)
    return [Rows((channels, *_unknown(rows)[1:]))]


def _pool(use: _Use) -> Outcome:
    if len(use.node.outputs) != 1 or len(use.node.inputs) != 1:
        raise _Meet
    tail = use.rows().tail
    return [Rows((*tail[:1], *(1 if use.node.op.startswith("Global") else None for _ in tail[1:])))]


def _pad(use: _Use) -> Outcome:
    rank = len(use.rows().tail) + 1
    pads = use.integers("pads", 1)
    if use.has(3) or len(pads) != 2 * rank or pads[0] or pads[rank]:
        raise _Meet
    return [Rows(_unknown(use.rows()))]


def _unknown(rows: Any) -> Tail:
    return (None,) * len(rows.tail)


# Along an axis behind the first


def _reduce(use: _Use) -> Outcome:
    tail = use.rows().tail
    axes = _inner_axes(use.integers("axes", 1), len(tail) + 1)
    return [Rows(_without(tail, axes, keep=bool(use.number("keepdims", 1))))]


def _place_of_extreme(use: _Use) -> Outcome:
    tail = use.rows().tail
    axis = use.axis(0, len(tail) + 1)
    return [Rows(_without(tail, {axis}, keep=bool(use.number("keepdims", 1))))]


def _without(tail: Tail, axes: set[int], *, keep: bool) -> Tail:
    kept = [(length, place + 1 in axes) for place, length in enumerate(tail)]
    return tuple(1 if gone else length for length, gone in kept if keep or not gone)


def _top(use: _Use) -> Outcome:
    tail = use.rows().tail
    if len(use.node.inputs) != 2:
        raise _Meet
    use.constant(1)
    return [Rows(_with(tail, use.axis(-1, len(tail) + 1), None))] * 2


def _concat(use: _Use) -> Outcome:
    tails = [use.rows(place).tail for place in range(len(use.node.inputs))]
    if len({len(tail) for tail in tails}) != 1:
        raise _Meet
    axis = use.axis(0, len(tails[0]) + 1)
    lengths = [tail[axis - 1] for tail in tails]
    total = None if None in lengths else sum(length for length in lengths if length is not None)
    return [Rows(_with(tails[0], axis, total))]


def _gather(use: _Use) -> Outcome:
    data, indices = use.inputs
    if isinstance(data, Rows) and isinstance(indices, Constant) and indices.dims is not None:
        tail = use.rows().tail
        axis = use.axis(0, len(tail) + 1)
        return [Rows((*tail[: axis - 1], *indices.dims, *tail[axis:]))]
    # Looking rows up in a table, such as an embedding
    if isinstance(data, Constant) and data.dims and use.number("axis", 0) == 0:
        return [Rows((*use.rows(1).tail, *data.dims[1:]))]
    raise _Meet


def _slice(use: _Use) -> Outcome:
    tail = use.rows().tail
    for place in range(1, len(use.node.inputs)):
        if use.has(place):
            use.constant(place)
    axes = _inner_axes(use.integers("axes", 3), len(tail) + 1)
    return [Rows(tuple(None if place + 1 in axes else length for place, length in enumerate(tail)))]


def _split(use: _Use) -> Outcome:
    tail = use.rows().tail
    if use.has(1):
        use.constant(1)
    return [Rows(_with(tail, use.axis(0, len(tail) + 1), None))] * len(use.node.outputs)


def _cumulate(use: _Use) -> Outcome:
    rows = use.rows()
    _inner_axes(use.integers("", 1), len(rows.tail) + 1)
    return [rows]


# Other shapes


def _squeeze(use: _Use) -> Outcome:
    tail = use.rows().tail
    return [Rows(_without(tail, _inner_axes(use.integers("axes", 1), len(tail) + 1), keep=False))]


def _unsqueeze(use: _Use) -> Outcome:
    rest = list(use.rows().tail)
    axes = use.integers("axes", 1)
    rank = len(rest) + 1 + len(axes)
    places = _inner_axes(axes, rank)
    return [Rows(tuple(1 if place in places else rest.pop(0) for place in range(1, rank)))]


def _transpose(use: _Use) -> Outcome:
    tail = use.rows().tail
    order = use.integers("perm", None)
    if order[:1] != (0,) or sorted(order) != list(range(len(tail) + 1)):
        raise _Meet
    return [Rows(tuple(tail[axis - 1] for axis in order[1:]))]


def _flatten(use: _Use) -> Outcome:
    tail = use.rows().tail
    if use.number("axis", 1) not in (1, -len(tail)):
        raise _Meet
    return [Rows((_size(tail),))]


def _reshape(use: _Use) -> Outcome:
    wanted = use.integers("", 1)
    if use.number("allowzero", 0):
        raise _Meet
    found = use.inputs[0]
    if isinstance(found, Rows) and found.lying:
        if wanted not in ((-1,), (-1, 1)):
            raise _Meet
        return [Rows(wanted[1:] and (1,))]
    return [Rows(tuple(_reshaped(use.rows().tail, wanted)))]


def _reshaped(tail: Tail, wanted: tuple[int, ...]) -> Iterator[int | None]:
    """The new dimensions behind the rows, whose number must stay."""
    copied = [tail[place] if length == 0 and place < len(tail) else length for place, length in enumerate(wanted[1:])]
    if wanted[:1] == (-1,):
        if _size(tail) is None or _size(copied) != _size(tail):
            raise _Meet
    elif wanted[:1] != (0,):
        raise _Meet
    for length in copied:
        yield None if length == -1 else length


# Classical models


def _regressor(use: _Use) -> Outcome:
    use.rows(rank=2)
    width = {"LinearRegressor": use.number("targets", 1), "SVMRegressor": 1}.get(use.node.op)
    return [Rows((width or use.number("n_targets", 0) or None,))]


def _classifier(use: _Use) -> Outcome:
    use.rows(rank=2)
    return [Rows(()), Rows((None,))]


def _columns_together(use: _Use) -> Outcome:
    for place in range(len(use.node.inputs)):
        use.rows(place, rank=2)
    return [Rows((None,))]


def _one_hot_of_categories(use: _Use) -> Outcome:
    attributes = use.node.attributes
    categories = attributes.get("cats_int64s") or attributes.get("cats_strings")
    return [Rows((*use.rows().tail, len(categories) if isinstance(categories, tuple) else None))]


def _one_hot(use: _Use) -> Outcome:
    use.constant(1)
    use.constant(2)
    if use.number("axis", -1) != -1:
        raise _Meet
    return [Rows((*use.rows().tail, None))]


def _pick_columns(use: _Use) -> Outcome:
    data, indices = use.inputs
    if isinstance(indices, Constant):
        tail = use.rows(0).tail
        if not tail or indices.dims is None:
            raise _Meet
        return [Rows((*tail[:-1], prod(indices.dims)))]
    # Looking class labels up by their number, whose answer is `[1, rows]`
    places = use.rows(1).tail
    if not isinstance(data, Constant) or not data.dims or prod(data.dims[:-1]) != 1 or places not in ((), (1,)):
        raise _Meet
    return [Rows((), lying=True)]


def _zip_map(use: _Use) -> Outcome:
    use.rows(rank=2)
    return [Rows(())]


_PURE = frozenset({"Add", "Concat", "ConstantOfShape", "Div", "Exp", "Expand", "Gather", "Log", "Mul", "Neg", "Pow",
                   "Range", "Reshape", "Shape", "Slice", "Sqrt", "Squeeze", "Sub", "Transpose", "Unsqueeze"})
_NAMES: dict[Rule, str] = {
    _each_value: "Abs Acos Acosh Asin Asinh Atan Atanh Binarizer BitwiseNot Cast Ceil Celu Cos Cosh Elu Erf Exp Floor "
    "Gelu HardSigmoid HardSwish Identity IsInf IsNaN LabelEncoder LeakyRelu Log Mish Neg Not Reciprocal RegexFullMatch "
    "Relu Round Selu Shrink Sigmoid Sign Sin Sinh Softplus Softsign Sqrt Tan Tanh ThresholdedRelu",
    _each_row: "Imputer Normalizer Scaler",
    _broadcast: "Add And BitShift BitwiseAnd BitwiseOr BitwiseXor Clip Div Equal Greater GreaterOrEqual Less "
    "LessOrEqual Max Mean Min Mod Mul Or PRelu Pow Sub Sum Where Xor",
    _with_constants: "BatchNormalization InstanceNormalization LRN",
    _dropout: "Dropout",
    _quantize: "DequantizeLinear QuantizeLinear",
    _per_axis(-1): "LayerNormalization LpNormalization",
    _softmax: "Hardmax LogSoftmax Softmax",
    _matrix_product: "MatMul",
    _affine: "Gemm",
    _convolution: "Conv ConvTranspose",
    _pool: "AveragePool GlobalAveragePool GlobalLpPool GlobalMaxPool LpPool MaxPool",
    _pad: "Pad",
    _reduce: "ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum "
    "ReduceSumSquare",
    _place_of_extreme: "ArgMax ArgMin",
    _top: "TopK",
    _concat: "Concat",
    _gather: "Gather",
    _slice: "Slice",
    _split: "Split",
    _cumulate: "CumSum",
    _squeeze: "Squeeze",
    _unsqueeze: "Unsqueeze",
    _transpose: "Transpose",
    _flatten: "Flatten",
    _reshape: "Reshape",
    _regressor: "LinearRegressor SVMRegressor TreeEnsemble TreeEnsembleRegressor",
    _classifier: "LinearClassifier SVMClassifier TreeEnsembleClassifier",
    _columns_together: "FeatureVectorizer TfIdfVectorizer",
    _one_hot_of_categories: "OneHotEncoder",
    _one_hot: "OneHot",
    _pick_columns: "ArrayFeatureExtractor",
    _zip_map: "ZipMap",
}
_RULES = {name: rule for rule, names in _NAMES.items() for name in names.split()}
