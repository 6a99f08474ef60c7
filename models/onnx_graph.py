"""What an ONNX file says and a session does not: operators, attributes, the dimensions of initializers, external files.

The file is read in place. Weights are stepped over, never copied, so reading costs what the graph's headers cost and
no length that a file claims is ever allocated.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import islice
from math import prod
from typing import Any

__all__ = ["Damaged", "Graph", "Node", "OnnxFile", "Tensor", "Value", "read_graph"]

_LISTS = frozenset({"axes", "cats_int64s", "cats_strings", "classlabels_int64s", "classlabels_ints",
                    "classlabels_strings", "pads", "perm", "value_ints"})
"""The attributes whose lists are read. Others may be long as a forest and are stepped over."""

_MANY = 4096
"""Constants with more values than this are not read."""

_DEEP = 64
"""Graphs nested deeper, and tensors of more dimensions, are nobody's model."""

_INT32, _INT64 = 6, 7
_BITS = {1: 32, 2: 8, 3: 8, 4: 16, 5: 16, 6: 32, 7: 64, 9: 8, 10: 16, 11: 64, 12: 32, 13: 64, 14: 64, 15: 128, 16: 16}


class Damaged(ValueError):
    """The bytes are no ONNX graph; the message says why, as the end of a sentence."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """An initializer or a constant.

    Attributes:
        dims: what it claims to measure.
        values: its integers or strings, where they are few and stored in the file itself.
        size: the bytes that its entry has in the file; 0 where it is sparse, so that none can be expected.
        location: the external file that holds its values, as a path beside the graph.
        bits: of one value; 0 where the type is unknown or has no fixed size.
    """

    name: str
    dims: tuple[int, ...]
    values: tuple[int | str, ...] | None
    size: int
    location: str | None
    bits: int


@dataclass(frozen=True, slots=True)
class Value:
    """An input or output of a graph. A dimension is a length, a symbol, or None; `dims` is None where there is none."""

    name: str
    dims: tuple[int | str | None, ...] | None


@dataclass(frozen=True, slots=True)
class Node:
    """One use of an operator. Absent optional inputs have the name "". Attributes hold int, str, Tensor or a tuple."""

    op: str
    domain: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Graph:
    """A graph with its initializers by name; `inner` are the graphs in its nodes' attributes."""

    nodes: tuple[Node, ...]
    initializers: Mapping[str, Tensor]
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    inner: tuple["Graph", ...]

    def operators(self) -> Iterator[Node]:
        """Walk all nodes, those of inner graphs too."""
        yield from self.nodes
        for graph in self.inner:
            yield from graph.operators()

    def tensors(self) -> Iterator[Tensor]:
        """Walk all stored tensors, those of inner graphs and of attributes too."""
        yield from self.initializers.values()
        for node in self.nodes:
            yield from (value for value in node.attributes.values() if isinstance(value, Tensor))
        for graph in self.inner:
            yield from graph.tensors()


@dataclass(frozen=True, slots=True)
class OnnxFile:
    """A whole file.

    Attributes:
        graph: its graph.
        opsets: the version of each domain's operators; ONNX's own domain is "".
        functions: the bodies of the operators that it defines itself.
        version: of the file format.
    """

    graph: Graph
    opsets: Mapping[str, int]
    functions: tuple[Graph, ...]
    version: int

    def tensors(self) -> Iterator[Tensor]:
        """Walk all stored tensors."""
        for graph in (self.graph, *self.functions):
            yield from graph.tensors()


Wire = Iterator[tuple[int, Any]]


def read_graph(content: bytes | memoryview) -> OnnxFile:
    """Read the bytes of an `.onnx` file. Raises Damaged for anything else."""
    graph, version = None, 0
    opsets: dict[str, int] = {}
    functions: list[Graph] = []
    for number, value in _fields(memoryview(content)):
        if number == 1:
            version = _signed(value)
        elif number == 7:
            graph = _graph(_part(value), 0)
        elif number == 8:
            opset = dict(_fields(_part(value)))
            domain = _text(opset.get(1, b""))
            opsets["" if domain == "ai.onnx" else domain] = _signed(opset.get(2, 0))
        elif number == 25:
            functions.append(_function(_part(value)))
    if graph is None:
        raise Damaged("it holds no graph")
    return OnnxFile(graph, opsets, tuple(functions), version)


def _function(view: memoryview) -> Graph:
    inner: list[Graph] = []
    nodes = [_node(_part(value), inner, 0) for number, value in _fields(view) if number == 7]
    return Graph(tuple(nodes), {}, (), (), tuple(inner))


def _graph(view: memoryview, depth: int) -> Graph:
    if depth > _DEEP:
        raise Damaged(f"its graphs are nested more than {_DEEP} deep")
    nodes: list[Node] = []
    inner: list[Graph] = []
    tensors: list[Tensor] = []
    values: dict[int, list[Value]] = {11: [], 12: []}
    for number, value in _fields(view):
        if number == 1:
            nodes.append(_node(_part(value), inner, depth))
        elif number == 5:
            tensors.append(_tensor(_part(value)))
        elif number == 15:
            tensors.append(_sparse(_part(value)))
        elif number in values:
            values[number].append(_value(_part(value)))
    named = {tensor.name: tensor for tensor in tensors}
    return Graph(tuple(nodes), named, tuple(values[11]), tuple(values[12]), tuple(inner))


def _node(view: memoryview, inner: list[Graph], depth: int) -> Node:
    names: dict[int, list[str]] = {1: [], 2: []}
    texts = {4: "", 7: ""}
    attributes = {}
    for number, value in _fields(view):
        if number in names:
            names[number].append(_text(value))
        elif number in texts:
            texts[number] = _text(value)
        elif number == 5:
            name, read = _attribute(_part(value), inner, depth)
            attributes[name] = read
    return Node(texts[4], texts[7], tuple(names[1]), tuple(names[2]), attributes)


def _attribute(view: memoryview, inner: list[Graph], depth: int) -> tuple[str, Any]:
    name = _text(next((value for number, value in _fields(view) if number == 1), b""))
    read: Any = None
    listed: list[int | str] = []
    for number, value in _fields(view, {7} if name in _LISTS else {7, 8}):
        if number == 3:
            read = _signed(value)
        elif number == 4:
            read = _string(value)
        elif number in (5, 10):
            read = _tensor(_part(value))
        elif number in (22, 23):
            read = _sparse(_part(value))
        elif number in (6, 11):
            inner.append(_graph(_part(value), depth + 1))
        elif name in _LISTS and number in (8, 9):
            listed.extend(_numbers(value) if number == 8 else [_string(value)])
    return name, tuple(listed) if listed else read


def _tensor(view: memoryview) -> Tensor:
    dims: list[int] = []
    values: list[int | str] | None = []
    kind, name, location, outside = 0, "", None, False
    ignored = {4, 10, 11}
    for number, value in _fields(view, ignored):
        if number == 1:
            dims.extend(_numbers(value))
        elif number == 2:
            kind = _signed(value)
        elif number == 8:
            name = _text(value)
        elif number in (5, 6, 7, 9) and values is not None:
            values.extend(_values(number, kind, value))
            if len(values) > _MANY:
                values = None
                ignored |= {5, 7}
        elif number == 13 and (entry := dict(_fields(_part(value)))).get(1) == b"location":
            location = _text(entry.get(2, b""))
        elif number == 14:
            outside = value == 1
    dims = _few(dims)
    whole = tuple(values) if values and len(values) == prod(dims) else None
    return Tensor(name, tuple(dims), whole, len(view), location or "" if outside else None, _BITS.get(kind, 0))


def _few(dims: list[int]) -> list[int]:
    if len(dims) > _DEEP or any(dim < 0 for dim in dims):
        raise Damaged("it holds a tensor of impossible shape")
    return dims


def _values(number: int, kind: int, value: Any) -> list[int | str]:
    """Read integers and strings; a list too long is cut off behind `_MANY`."""
    if number == 6:
        return [_string(value)]
    width = {_INT32: 4, _INT64: 8}.get(kind)
    if width is None:
        return []
    if number != 9:
        return list(islice(_numbers(value), _MANY + 1))
    raw = bytes(_part(value)[: width * (_MANY + 1)])
    return [int.from_bytes(raw[at : at + width], "little", signed=True) for at in range(0, len(raw), width)]


def _sparse(view: memoryview) -> Tensor:
    """Read a sparse initializer: the dimensions that it will have when ONNX Runtime makes it dense."""
    dims: list[int] = []
    stored = Tensor("", (), None, 0, None, 0)
    for number, value in _fields(view):
        if number == 1:
            stored = _tensor(_part(value))
        elif number == 3:
            dims.extend(_numbers(value))
    return Tensor(stored.name, tuple(_few(dims)), None, 0, stored.location, stored.bits)


def _value(view: memoryview) -> Value:
    parts = dict(_fields(view))
    kind = dict(_fields(_part(parts.get(2, b""))))
    tensor = dict(_fields(_part(kind.get(1, b""))))
    dims = [_dim(_part(value)) for number, value in _fields(_part(tensor.get(2, b""))) if number == 1]
    return Value(_text(parts.get(1, b"")), tuple(dims) if 2 in tensor else None)


def _dim(view: memoryview) -> int | str | None:
    dim = dict(_fields(view))
    return _signed(dim[1]) if 1 in dim else _text(dim.get(2, b"")) or None


def _fields(view: memoryview, ignored: Collection[int] = ()) -> Wire:
    """Walk a protobuf message: number and value (an int, or a part of `view`) of each field.

    Runs of numbers whose field is `ignored` are stepped over at once; the caller may add to it on the way.
    """
    position, end = 0, len(view)
    while position < end:
        start = position
        tag, position = _varint(view, position)
        number, wire = tag >> 3, tag & 7
        if number in ignored and wire != 2:
            position = _behind_run(view, start, tag)
            continue
        if wire == 0:
            value, position = _varint(view, position)
            yield number, value
            continue
        length, position = _varint(view, position) if wire == 2 else ({1: 8, 5: 4}.get(wire, -1), position)
        if length < 0 or number == 0:
            raise Damaged("its bytes are not those of an ONNX file")
        if length > end - position:
            raise Damaged("it is cut short")
        yield number, view[position : position + length]
        position += length


def _varint(view: memoryview, position: int) -> tuple[int, int]:
    value = 0
    for place in range(10):
        if position + place >= len(view):
            raise Damaged("it is cut short")
        byte = view[position + place]
        value |= (byte & 0x7F) << 7 * place
        if byte < 0x80:
            return value, position + place + 1
    raise Damaged("its bytes are not those of an ONNX file")


def _behind_run(view: memoryview, start: int, tag: int) -> int:
    found = _run(tag).match(view, start)
    if found is None or found.end() == start:
        raise Damaged("it is cut short")
    return found.end()


@cache
def _run(tag: int) -> re.Pattern[bytes]:
    value = {0: rb"[\x80-\xff]{0,9}[\x00-\x7f]", 1: rb".{8}", 5: rb".{4}"}.get(tag & 7)
    if value is None or tag > 0x7F:
        raise Damaged("its bytes are not those of an ONNX file")
    return re.compile(rb"(?:" + re.escape(bytes([tag])) + value + rb")*+", re.DOTALL)


def _numbers(value: Any) -> Iterator[int]:
    """Read a number, or a packed list of them."""
    if isinstance(value, int):
        yield _signed(value)
        return
    position, end = 0, len(value)
    while position < end:
        number, position = _varint(value, position)
        yield _signed(number)


def _signed(value: Any) -> int:
    number = _whole(value)
    return number - (1 << 64) if number >= 1 << 63 else number


def _whole(value: Any) -> int:
    if isinstance(value, int):
        return value
    raise Damaged("its bytes are not those of an ONNX file")


def _part(value: Any) -> memoryview:
    if isinstance(value, int):
        raise Damaged("its bytes are not those of an ONNX file")
    return memoryview(value)


def _text(value: Any) -> str:
    try:
        return bytes(_part(value)).decode("utf-8")
    except UnicodeDecodeError:
        raise Damaged("a name in it is not UTF-8") from None


def _string(value: Any) -> str:
    """Read a string that is a value, and may be any bytes."""
    return bytes(_part(value)).decode("utf-8", "replace")

