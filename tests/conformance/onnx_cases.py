"""The ONNX project's own backend cases, as its package ships them: graphs with inputs, of every operator there is."""

import re
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from serinus.models.signature import element_name

KINDS = ("node", "simple", "pytorch-operator", "pytorch-converted", "light")
LARGE = {"light_bvlc_alexnet", "light_vgg19", "light_zfnet512"}
"""Graphs of a few kilobytes that fill hundreds of megabytes with weights when they are loaded."""


_TOO_NEW = re.compile(r"max supported IR version: (\d+)|official support for domain (\S+) is till opset (\d+)")
"""How ONNX Runtime says that a graph is newer than itself, and what it knows."""


@dataclass(frozen=True)
class Case:
    """A graph and the inputs to try it with: lists are sequences, None is an absent optional input."""

    kind: str
    name: str
    content: bytes
    calls: tuple[Mapping[str, Any], ...]


def cases(kind: str) -> Iterator[Case]:
    """Yield the cases of a kind in a fixed order."""
    if kind == "node":
        yield from _made()
    elif kind == "light":
        yield from _light()
    else:
        yield from map(_stored, sorted((_data() / kind).iterdir()))


def flat(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Give inputs as `Model.predict` takes them: sequences by the names of their tensors, nothing for the absent."""
    names: dict[str, Any] = {}
    for name, value in inputs.items():
        if isinstance(value, list):
            names |= {element_name(name, index): tensor for index, tensor in enumerate(value)}
        elif value is not None:
            names[name] = value
    return names


def restated(content: bytes, objection: str) -> bytes | None:
    """Give the same graph in the newest format or operators that the runtime says it knows; None if it says none.

    The `onnx` package is often a release ahead of the runtime, and most operators mean what they meant before.
    """
    found = _TOO_NEW.search(objection)
    if found is None:
        return None
    model = onnx.load_from_string(content)
    before = model.SerializeToString()
    if found[1]:
        model.ir_version = int(found[1])
    for opset in model.opset_import:
        if found[3] and (opset.domain or "ai.onnx") == found[2]:
            opset.version = int(found[3])
    after = model.SerializeToString()
    return None if after == before else after


def same(
    expected: Mapping[str, Any], found: Mapping[str, Any], *, nan_bits: bool = True, values: bool = True
) -> bool:
    """Tell whether two answers are equal bit for bit: names, types, shapes, and if wanted `values`.

    Without `nan_bits` every NaN is one and the same, as in JSON.
    """
    if expected.keys() != found.keys():
        return False
    pairs = [(expected[name], found[name]) for name in expected]
    described = all(one.dtype == other.dtype and one.shape == other.shape for one, other in pairs)
    return described and (not values or all(_equal(one, other, nan_bits) for one, other in pairs))


def _equal(one: Any, other: Any, nan_bits: bool) -> bool:
    if one.dtype.hasobject:
        return bool(one.tolist() == other.tolist())
    if not nan_bits and one.dtype.kind == "f":
        one, other = (np.where(np.isnan(array), np.nan, array) for array in (one, other))
    return bool(one.tobytes() == other.tobytes())


def _data() -> Path:
    return Path(onnx.__file__).parent / "backend" / "test" / "data"


def _made() -> Iterator[Case]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # numpy's, of the reference values
        from onnx.backend.test.case.node import collect_testcases

        found = collect_testcases(None)
    for case in found:
        names = [value.name for value in case.model.graph.input]
        calls = tuple(dict(zip(names, map(_array, inputs), strict=True)) for inputs, _ in case.data_sets)
        yield Case("node", case.name, case.model.SerializeToString(), calls)


def _array(value: Any) -> Any:
    if isinstance(value, onnx.TensorProto):
        return numpy_helper.to_array(value)
    return np.asarray(value) if isinstance(value, np.generic) else value


def _stored(folder: Path) -> Case:
    content = (folder / "model.onnx").read_bytes()
    values = onnx.load_from_string(content).graph.input
    calls = []
    for data in sorted(folder.glob("test_data_set_*")):
        files = [file for index in range(len(values)) if (file := data / f"input_{index}.pb").exists()]
        calls.append({value.name: _read(value, file) for value, file in zip(values, files, strict=False)})
    return Case(folder.parent.name, folder.name, content, tuple(calls))


def _read(value: onnx.ValueInfoProto, file: Path) -> Any:
    if value.type.HasField("sequence_type"):
        sequence = onnx.SequenceProto()
        sequence.ParseFromString(file.read_bytes())
        return numpy_helper.to_list(sequence)
    return numpy_helper.to_array(onnx.load_tensor(str(file)))


def _light() -> Iterator[Case]:
    for file in sorted((_data() / "light").glob("*.onnx")):
        if file.stem not in LARGE:
            content = file.read_bytes()
            graph = onnx.load_from_string(content).graph
            held = {tensor.name for tensor in graph.initializer}
            wanted = [value for value in graph.input if value.name not in held]
            yield Case("light", file.stem, content, ({value.name: _noise(value) for value in wanted},))


def _noise(value: onnx.ValueInfoProto) -> Any:
    shape = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
    return np.random.default_rng(7).random(shape, dtype=np.float32)
