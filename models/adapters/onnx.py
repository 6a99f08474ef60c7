"""ONNX graphs, run by ONNX Runtime on the CPU."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from serinus.models.errors import InvalidInput, InvalidSignature, ModelError, UnsupportedArtifact, one_line
from serinus.models.model import Adapter, Model, unknown_output
from serinus.models.signature import Field, Signature

if TYPE_CHECKING:
    from onnxruntime import InferenceSession, NodeArg, SessionOptions
    from pandas import DataFrame

__all__ = ["OnnxAdapter", "OnnxModel"]

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


class OnnxModel:
    """A session whose inputs and outputs are the graph's own: a call is a dict handed on, nothing is copied."""

    def __init__(self, session: "InferenceSession", signature: Signature) -> None:
        self.signature = signature
        # The wrapper's own `run` looks every input's name up first, which costs a third of a small model's call;
        # what it would find, `_explain` says afterwards.
        self._run = getattr(session, "_sess", session).run
        self._session = session
        self._inputs = frozenset(field.name for field in _inputs(session))
        self._required = {field.name for field in signature.inputs if not field.optional}
        self._outputs = [field.name for field in signature.outputs]

    def predict(
        self, inputs: Mapping[str, NDArray[Any]], outputs: Sequence[str] | None = None
    ) -> dict[str, NDArray[Any]]:
        """Run the graph; see `Model.predict`."""
        names = self._outputs if outputs is None else outputs
        try:
            return dict(zip(names, self._run(names, inputs, None), strict=True))
        except Exception as error:
            return self._explain(error, inputs, names)

    def _explain(self, error: Exception, inputs: Mapping[str, NDArray[Any]], names: Sequence[str]) -> dict[str, Any]:
        for name in names:
            if name not in self._outputs:
                raise unknown_output(name, self._outputs) from None
        known = {name: array for name, array in inputs.items() if name in self._inputs}
        if len(known) < len(inputs):
            return self.predict(known, names)
        missing = not self._required <= inputs.keys()
        if missing or isinstance(error, ValueError) or type(error).__name__ == "InvalidArgument":
            raise InvalidInput(f"ONNX Runtime refused the inputs: {one_line(error)}") from error
        raise error

    def close(self) -> None:
        """Let go of the session, so that its memory is given back."""
        del self._run, self._session


class OnnxAdapter(Adapter):
    """Reads `.onnx` files. Custom operator libraries are never registered: they are native code."""

    name = "onnx"

    def accepts(self, artifact: Path) -> bool:
        """Tell by the suffix."""
        return artifact.suffix.lower() == ".onnx"

    def runs_code(self, artifact: Path) -> bool:
        """A graph holds standard operators only."""
        return False

    def read(self, artifact: Path) -> "InferenceSession":
        """Open a session on the file (external data lie beside it)."""
        return _session(str(artifact), f"{artifact}")

    def owns(self, fitted: object) -> bool:
        """Tell whether this is an `onnx.ModelProto` or an ONNX Runtime session."""
        return _is_proto(fitted) or _is_session(fitted)

    def infer_signature(self, fitted: Any, reference: "DataFrame | None" = None) -> Signature:
        """Read the signature from the graph; a reference adds nothing to it."""
        session = fitted if _is_session(fitted) else _session(fitted.SerializeToString(), "The ONNX model")
        return Signature(_inputs(session), tuple(_field(argument, "output") for argument in session.get_outputs()))

    def wrap(self, fitted: Any, signature: Signature | None = None) -> Model:
        """Make a model of a ModelProto or a session. Raises InvalidSignature where names differ from the graph's."""
        session = fitted if _is_session(fitted) else _session(fitted.SerializeToString(), "The ONNX model")
        graph = self.infer_signature(session)
        _check_names(graph, signature or graph)
        return OnnxModel(session, signature or graph)

    def save(self, fitted: Any, folder: Path) -> Path:
        """Write a ModelProto as `model.onnx`."""
        if not _is_proto(fitted):
            raise UnsupportedArtifact("A session cannot be saved; register the ONNX file it was made of.")
        path = folder / "model.onnx"
        path.write_bytes(fitted.SerializeToString())
        return path


def _is_session(fitted: object) -> bool:
    return type(fitted).__module__.startswith("onnxruntime.") and hasattr(fitted, "get_inputs")


def _is_proto(fitted: object) -> bool:
    return type(fitted).__name__ == "ModelProto" and hasattr(fitted, "SerializeToString")


def _session(source: str | bytes, what: str) -> "InferenceSession":
    from onnxruntime import InferenceSession

    try:
        return InferenceSession(source, _options(), providers=["CPUExecutionProvider"])
    except ModelError:
        raise
    except Exception as error:
        raise UnsupportedArtifact(
            f"{what} is not an ONNX graph that ONNX Runtime can run (damaged, cut short, or it needs custom "
            f"operators, which are refused): {one_line(error)}"
        ) from error


def _options() -> "SessionOptions":
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
    """Give the threads of one session: SERINUS_ONNX_THREADS, else the cores shared out among SERINUS_WORKERS."""
    chosen = os.environ.get("SERINUS_ONNX_THREADS")
    if chosen:
        return _count("SERINUS_ONNX_THREADS", chosen)
    return max(1, len(os.sched_getaffinity(0)) // _count("SERINUS_WORKERS", os.environ.get("SERINUS_WORKERS") or "1"))


def _count(variable: str, text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise ModelError(f"{variable} must be a whole number from 1, got {text!r}.")
    return int(text)


def _inputs(session: "InferenceSession") -> tuple[Field, ...]:
    required = [_field(argument, "input") for argument in session.get_inputs()]
    defaulted = [_field(argument, "input", optional=True) for argument in session.get_overridable_initializers()]
    return tuple(required + defaulted)


def _field(argument: "NodeArg", side: str, *, optional: bool = False) -> Field:
    kind, _, element = argument.type.removesuffix(")").partition("(")
    if kind != "tensor":
        raise UnsupportedArtifact(
            f"The ONNX {side} {argument.name!r} is a {argument.type}, and only tensors can be served; if it is "
            "skl2onnx's ZipMap, convert again with options={'zipmap': False}."
        )
    if element not in _DATATYPES:
        raise UnsupportedArtifact(f"The ONNX {side} {argument.name!r} holds {element}, which cannot be served.")
    return Field(argument.name, _DATATYPES[element], _shape(argument), optional)


def _shape(argument: "NodeArg") -> tuple[int, ...]:
    lengths = [length if isinstance(length, int) and length >= 0 else -1 for length in argument.shape or []]
    return tuple(lengths) or (-1,)


def _check_names(graph: Signature, signature: Signature) -> None:
    for side in ("inputs", "outputs"):
        wanted = {field.name for field in getattr(signature, side)}
        found = {field.name for field in getattr(graph, side)}
        if not wanted <= found:
            raise InvalidSignature(
                f"The ONNX graph's {side} are {', '.join(sorted(found))}; "
                f"the signature says {', '.join(sorted(wanted))}."
            )
