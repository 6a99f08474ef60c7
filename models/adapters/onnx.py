"""ONNX graphs, run by ONNX Runtime on the CPU."""

import math
import mmap
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from serinus.models.errors import InvalidSignature, ModelError, UnsupportedArtifact
from serinus.models.model import Adapter, Model
from serinus.models.onnx_graph import Damaged, OnnxFile, read_graph
from serinus.models.onnx_hazards import lowest_values
from serinus.models.onnx_labels import column_labels, value_labels
from serinus.models.onnx_model import AssemblingOnnxModel, OnnxModel, said
from serinus.models.onnx_row_wise import row_wise
from serinus.models.signature import Field, Label, Signature

if TYPE_CHECKING:
    from onnxruntime import InferenceSession, NodeArg, SessionOptions
    from pandas import DataFrame

__all__ = ["OnnxAdapter", "OnnxModel", "threads"]

_DATATYPES = {
    "bool": "BOOL",
    "uint8": "UINT8",
    "uint16": "UINT16",
    "uint32": "UINT32",
    "uint64": "UINT64",
    "int8": "INT8",
    "int16": "INT16",
    "int32": "INT32",
    "int64": "INT64",
    "float16": "FP16",
    "float": "FP32",
    "double": "FP64",
    "string": "BYTES",
}
_TENSOR = re.compile(r"(optional\()?(seq\()?tensor\((\w+)\)\)*")
_KEYS: Mapping[str, Callable[[str], Label]] = {"map(string,tensor(float))": str, "map(int64,tensor(float))": int}
"""The maps that ONNX Runtime's Python interface can make, and what makes their keys of a JSON object's."""
_TABLES = frozenset(f"seq({kind})" for kind in _KEYS)

_DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml", "ai.onnx.preview", "ai.onnx.preview.training", "ai.onnx.training",
                      "com.microsoft", "com.microsoft.experimental", "com.microsoft.nchwc"})
_DENSE_BYTES = 1 << 31


class OnnxAdapter(Adapter):
    """Reads `.onnx` files, and `.ort` files, which are ONNX Runtime's own form of them.

    Custom operator libraries are never registered: they are native code. Files that a graph refers to lie beside or
    below it.
    """

    name = "onnx"

    def accepts(self, artifact: Path) -> bool:
        """Tell by the suffix."""
        return artifact.suffix.lower() in (".onnx", ".ort")

    def runs_code(self, artifact: Path) -> bool:
        """A graph holds standard operators only."""
        return False

    def companions(self, artifact: Path) -> list[Path]:
        """Give the files that hold the graph's external data."""
        file = _file(artifact)
        return [] if file is None else sorted(_external(file, artifact))

    def read(self, artifact: Path) -> Any:
        """Open a session on the file (external data lie beside it)."""
        file = _file(artifact)
        if file is not None:
            _check(file, artifact)
        return _Opened(_session(str(artifact), f"{artifact}", file), file)

    def owns(self, fitted: object) -> bool:
        """Tell whether this is an `onnx.ModelProto`, an ONNX Runtime session, or what `read` gives."""
        return isinstance(fitted, _Opened) or _is_proto(fitted) or _is_session(fitted)

    def infer_signature(self, fitted: Any, reference: "DataFrame | None" = None) -> Signature:
        """Read the signature from the graph; a reference adds nothing to it."""
        opened = _open(fitted)
        outputs = [_labelled(_output(argument, opened), opened) for argument in opened.session.get_outputs()]
        return Signature(tuple(_inputs(opened.session)), tuple(_agreeing(outputs)))

    def wrap(self, fitted: Any, signature: Signature | None = None) -> Model:
        """Make a model of a ModelProto or a session. Raises InvalidSignature where names differ from the graph's."""
        opened = _open(fitted)
        graph = self.infer_signature(opened)
        _check_names(graph, signature or graph)
        apart = opened.file is not None and row_wise(opened.file)
        arguments = opened.session.get_inputs()
        maps = {argument.name: _KEYS[argument.type] for argument in arguments if argument.type in _KEYS}
        tables = {argument.name: graph.output(argument.name).labels or ()
                  for argument in opened.session.get_outputs() if argument.type in _TABLES}
        lowest = {} if opened.file is None else lowest_values(opened.file.graph, {f.name: f for f in graph.inputs})
        if not maps and not tables and not lowest and not _needs_assembly(graph, opened.session):
            return OnnxModel(opened.session, signature or graph, row_wise=apart)
        return AssemblingOnnxModel(
            opened.session, signature or graph, graph=graph, maps=maps, tables=tables, lowest=lowest, row_wise=apart
        )

    def save(self, fitted: Any, folder: Path) -> Path:
        """Write a ModelProto as `model.onnx`."""
        if not _is_proto(fitted):
            raise UnsupportedArtifact("A session cannot be saved; register the ONNX file it was made of.")
        path = folder / "model.onnx"
        path.write_bytes(_serialized(fitted))
        return path


@dataclass(frozen=True, slots=True)
class _Opened:
    """A session and what its file says; None where the file is not at hand."""

    session: "InferenceSession"
    file: OnnxFile | None


def _open(fitted: Any) -> _Opened:
    if isinstance(fitted, _Opened):
        return fitted
    if _is_session(fitted):
        return _Opened(fitted, _file_of(fitted))
    content = _serialized(fitted)
    file = _parsed(content, "The ONNX model")
    _check(file, None)
    return _Opened(_session(content, "The ONNX model", file), file)


def _is_session(fitted: object) -> bool:
    return type(fitted).__module__.startswith("onnxruntime.") and hasattr(fitted, "get_inputs")


def _is_proto(fitted: object) -> bool:
    return type(fitted).__name__ == "ModelProto" and hasattr(fitted, "SerializeToString")


def _serialized(proto: Any) -> bytes:
    try:
        return bytes(proto.SerializeToString())
    except Exception as error:  # protobuf's own, which differ from one of its versions to the next
        raise UnsupportedArtifact(
            "The ONNX model is too large for one message (2 GB); save it with external data and give the file's path."
        ) from error


def _file_of(session: Any) -> OnnxFile | None:
    """What a session of the user's own was made of, where it still knows."""
    try:
        content, path = getattr(session, "_model_bytes", None), getattr(session, "_model_path", None)
        return read_graph(content) if content else _file(Path(path)) if path else None
    except (Damaged, UnsupportedArtifact):
        return None


def _file(artifact: Path) -> OnnxFile | None:
    """Read the file's headers; None for ONNX Runtime's own form, which only ONNX Runtime reads."""
    if artifact.suffix.lower() == ".ort":
        return None
    try:
        with artifact.open("rb") as stream:
            content = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError) as error:
        raise _not_onnx(f"{artifact}", "it is empty" if isinstance(error, ValueError) else str(error)) from error
    return _parsed(memoryview(content), f"{artifact}")


def _parsed(content: bytes | memoryview, what: str) -> OnnxFile:
    try:
        return read_graph(content)
    except Damaged as error:
        raise _not_onnx(what, f"{error}; export it again, or copy it whole") from error


def _not_onnx(what: str, why: str) -> UnsupportedArtifact:
    return UnsupportedArtifact(f"{what} is not an ONNX graph that ONNX Runtime can run: {why.rstrip('.')}.")


def _check(file: OnnxFile, artifact: Path | None) -> None:
    """Refuse tensors that claim more than there is, before anybody makes room for them."""
    what = "The ONNX model" if artifact is None else f"{artifact}"
    sizes = {} if artifact is None else {path: path.stat().st_size for path in _external(file, artifact)}
    for tensor in file.tensors():
        # In the file itself, a small integer of 64 bits may take one byte.
        there, bits = tensor.size, 64
        if tensor.location is not None:
            if artifact is None:
                raise _not_onnx(what, "its data lie in other files; save it, and give the file's path")
            there, bits = sizes[_beside(artifact, tensor.location)], 8
        if math.prod(tensor.dims) * max(tensor.bits, 1) > (bits * there or 8 * _DENSE_BYTES):
            raise _not_onnx(
                what, f"its tensor {tensor.name!r} claims the shape {list(tensor.dims)}, and has {there} bytes"
            )


def _external(file: OnnxFile, artifact: Path) -> set[Path]:
    """Find the files with the graph's data. Raises UnsupportedArtifact unless they are there, beside or below it."""
    found = {tensor.location for tensor in file.tensors() if tensor.location is not None}
    return {_beside(artifact, location) for location in found}


def _beside(artifact: Path, location: str) -> Path:
    path = artifact.parent / location
    if not path.resolve().is_relative_to(artifact.parent.resolve()):
        raise _not_onnx(
            f"{artifact}", f"it refers to data in {location!r}, outside of its own folder; copy them beside the graph"
        )
    if not path.is_file():
        raise _not_onnx(f"{artifact}", f"its data in {location!r} are missing; copy them beside the graph")
    return path


def _session(source: str | bytes, what: str, file: OnnxFile | None) -> "InferenceSession":
    from onnxruntime import InferenceSession

    try:
        # Falling back would be to the same provider, announced on stdout.
        return InferenceSession(source, _options(), providers=["CPUExecutionProvider"], enable_fallback=0)
    except ModelError:
        raise
    except Exception as error:
        foreign = [] if file is None else _foreign_operators(file)
        if foreign:
            raise _not_onnx(
                what, f"it needs the custom operators {', '.join(foreign)}, whose libraries are native code and are "
                "never loaded; export it with standard operators"
            ) from error
        raise _not_onnx(what, said(error)) from error


def _foreign_operators(file: OnnxFile) -> list[str]:
    nodes = [node for graph in (file.graph, *file.functions) for node in graph.operators()]
    found = {f"{node.domain}.{node.op}" for node in nodes if node.domain not in _DOMAINS}
    return [] if file.functions else sorted(found)


def _options() -> "SessionOptions":
    """Settings of a session: threads of its own that sleep when idle, one operator at a time, errors as exceptions."""
    from onnxruntime import SessionOptions

    options = SessionOptions()
    options.intra_op_num_threads = threads()
    options.inter_op_num_threads = 1
    # A spinning pool burns the cores that other requests, and shadows, need.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    options.log_severity_level = 4  # errors reach the user as exceptions, not on stderr
    return options


def threads() -> int:
    """Give the threads of one session: SERINUS_ONNX_THREADS, else the cores shared out among SERINUS_WORKERS.

    Cores are those that this process may run on, or fewer where its control group limits their time.
    """
    chosen = os.environ.get("SERINUS_ONNX_THREADS")
    if chosen:
        return _count("SERINUS_ONNX_THREADS", chosen)
    return max(1, cores() // _count("SERINUS_WORKERS", os.environ.get("SERINUS_WORKERS") or "1"))


def _count(variable: str, text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise ModelError(f"{variable} must be a whole number from 1, got {text!r}.")
    return int(text)


def cores(limit: Path = Path("/sys/fs/cgroup/cpu.max")) -> int:
    """Count the cores that this process may use at once."""
    allowed = len(os.sched_getaffinity(0))
    try:
        quota, period = limit.read_text("ascii").split()
        return min(allowed, math.ceil(int(quota) / int(period)))
    except (OSError, ValueError):  # there is no such file, or it says "max"
        return allowed


def _inputs(session: "InferenceSession") -> Iterator[Field]:
    for argument in session.get_inputs():
        if argument.type in _KEYS:
            yield Field(argument.name, "BYTES", (1,))
        else:
            yield _field(argument, "input")
    for argument in session.get_overridable_initializers():
        yield replace(_field(argument, "input"), optional=True)


def _output(argument: "NodeArg", opened: _Opened) -> Field:
    if argument.type not in _TABLES:
        return _field(argument, "output")
    labels = (opened.file and column_labels(opened.file.graph, argument.name)) or _tried_labels(argument, opened)
    return Field(argument.name, "FP32", (-1, len(labels)), labels=labels)


def _field(argument: "NodeArg", side: str) -> Field:
    kind = _TENSOR.fullmatch(argument.type)
    if kind is None:
        raise UnsupportedArtifact(
            f"The ONNX {side} {argument.name!r} is a {argument.type}, and only tensors, sequences of tensors, optional "
            "ones, maps of float and the sequences of maps that ZipMap makes can be served; change it in the graph."
        )
    optional, sequence, element = kind.groups()
    if element not in _DATATYPES:
        raise UnsupportedArtifact(
            f"The ONNX {side} {argument.name!r} holds {element}, which the Open Inference Protocol has no name for; "
            f"convert it to one of {', '.join(_DATATYPES)} by a Cast in the graph."
        )
    return Field(
        argument.name, _DATATYPES[element], _shape(argument), optional=bool(optional), sequence=bool(sequence)
    )


def _shape(argument: "NodeArg") -> tuple[int, ...]:
    return tuple(length if isinstance(length, int) and length >= 0 else -1 for length in argument.shape or [])


def _needs_assembly(graph: Signature, session: "InferenceSession") -> bool:
    fields = (*graph.inputs, *graph.outputs)
    # A gap among strings reaches the graph as the string "None"; one that expects this says so.
    expected = session.get_modelmeta().custom_metadata_map.get("serinus.gaps") == "None"
    gaps = not expected and any(field.optional and field.datatype == "BYTES" for field in graph.inputs)
    return gaps or any(field.sequence for field in fields) or any(field.optional for field in graph.outputs)


def _labelled(field: Field, opened: _Opened) -> Field:
    """The output with the class labels that the graph knows, if they fit it."""
    if opened.file is None or field.labels or field.sequence:
        return field
    if not _has_columns(field):
        kind = {"BYTES": str, "INT32": int, "INT64": int}.get(field.datatype)
        labels = value_labels(opened.file.graph, field.name) if kind and field.shape else None
        fits = labels is not None and all(type(label) is kind for label in labels)
        return replace(field, labels=labels) if fits else field
    labels = column_labels(opened.file.graph, field.name) if field.datatype.startswith("FP") else None
    return replace(field, labels=labels) if labels is not None and len(labels) == field.shape[1] else field


def _agreeing(outputs: list[Field]) -> Iterator[Field]:
    """Without the labels of columns that differ from those of the predicted classes: a classifier further within."""
    classes = [set(field.labels) for field in outputs if field.labels and not _has_columns(field)]
    for field in outputs:
        doubtful = field.labels and _has_columns(field) and len(classes) == 1 and set(field.labels) != classes[0]
        yield replace(field, labels=None) if doubtful else field


def _has_columns(field: Field) -> bool:
    return len(field.shape) == 2 and field.shape[1] > 1


def _tried_labels(argument: "NodeArg", opened: _Opened) -> tuple[Label, ...]:
    """The labels of a ZipMap that the graph hides: the keys of its answer for one row of zeros."""
    row = {field.name: np.zeros([abs(length) for length in field.shape] or [1], dtype=field.dtype)
           for field in _inputs(opened.session) if not field.optional}
    try:
        (answer,) = opened.session.run([argument.name], row)
        return tuple(answer[0])
    except Exception as error:
        raise UnsupportedArtifact(
            f"The ONNX output {argument.name!r} is a {argument.type}, whose labels the graph does not say; if it is "
            "skl2onnx's ZipMap, convert again with options={'zipmap': False}."
        ) from error


def _check_names(graph: Signature, signature: Signature) -> None:
    for side in ("inputs", "outputs"):
        wanted = {field.name for field in getattr(signature, side)}
        found = {field.name for field in getattr(graph, side)}
        if not wanted <= found:
            raise InvalidSignature(
                f"The ONNX graph's {side} are {', '.join(sorted(found))}; "
                f"the signature says {', '.join(sorted(wanted))}."
            )


