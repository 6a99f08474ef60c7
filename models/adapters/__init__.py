"""The adapters at hand: the built-in ones, and those that installed packages offer as `serinus.adapters`."""

from functools import cache
from importlib.metadata import entry_points
from pathlib import Path

from serinus.models.adapters.function import FunctionAdapter
from serinus.models.adapters.onnx import OnnxAdapter
from serinus.models.adapters.sklearn import SklearnAdapter
from serinus.models.errors import UnsupportedArtifact
from serinus.models.model import Adapter

__all__ = ["adapter_for", "adapter_named", "adapter_of", "adapters", "find_artifact"]


@cache
def adapters() -> tuple[Adapter, ...]:
    """Give all adapters in the order in which they are asked."""
    offered = sorted(entry_points(group="serinus.adapters"), key=lambda point: point.name)
    # Many frameworks' models can be called, so whatever is no model of anything else is a function last.
    return (SklearnAdapter(), OnnxAdapter(), *(point.load()() for point in offered), FunctionAdapter())


def adapter_for(artifact: Path) -> Adapter:
    """Give the first adapter that accepts the file. Raises UnsupportedArtifact where none does."""
    if not artifact.is_file():
        raise UnsupportedArtifact(f"{artifact} does not exist or is not a file; give the path of a model's artifact.")
    for adapter in adapters():
        if adapter.accepts(artifact):
            return adapter
    raise UnsupportedArtifact(f"No adapter accepts {artifact}; asked were {_names()}. {_FORMATS}")


def adapter_of(fitted: object) -> Adapter:
    """Give the first adapter that owns the object. Raises UnsupportedArtifact where none does."""
    for adapter in adapters():
        if adapter.owns(fitted):
            return adapter
    raise UnsupportedArtifact(f"No adapter owns an object of type {type(fitted).__name__}; asked were {_names()}.")


def adapter_named(name: str) -> Adapter:
    """Give the adapter of this name. Raises UnsupportedArtifact where it is not installed."""
    for adapter in adapters():
        if adapter.name == name:
            return adapter
    raise UnsupportedArtifact(f"No adapter is named {name!r}; there are {_names()}. Install the package that has it.")


def find_artifact(path: Path) -> Path:
    """Give the one model file of a folder, or the file itself. Raises UnsupportedArtifact unless there is one."""
    if not path.is_dir():
        return path
    found = [file for file in sorted(path.rglob("*")) if file.is_file() and any(a.accepts(file) for a in adapters())]
    if len(found) != 1:
        names = ", ".join(file.name for file in found) or "none"
        raise UnsupportedArtifact(f"The folder {path} must hold exactly one model file, got {names}; give its path.")
    return found[0]


_FORMATS = "Wanted an ONNX file, or a scikit-learn model saved by joblib, pickle or skops."


def _names() -> str:
    return ", ".join(adapter.name for adapter in adapters())
