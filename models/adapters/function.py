"""Any Python callable from a DataFrame to arrays, with the signature its author declares."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from serinus.models.errors import InvalidSignature, UnsupportedArtifact, one_line
from serinus.models.model import Adapter, Model, unknown_output
from serinus.models.signature import Signature

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["FunctionAdapter", "FunctionModel"]


class FunctionModel:
    """A function that takes a DataFrame of the signature's inputs.

    It returns a dict of arrays by output name, or one array (or Series) if the signature has one output.
    """

    runs_user_code = True
    """Its code may open spans and write log lines, so it is called within the span of its request."""

    def __init__(self, function: Callable[["DataFrame"], Any], signature: Signature) -> None:
        from serinus.models.estimator_answers import converter_of
        from serinus.models.frame import FrameBuilder

        self.signature = signature
        self._function = function
        self._frame = FrameBuilder(signature.inputs)
        self._converters = {field.name: converter_of(field) for field in signature.outputs}

    def predict(
        self, inputs: Mapping[str, NDArray[Any]], outputs: Sequence[str] | None = None
    ) -> dict[str, NDArray[Any]]:
        """Call the function; see `Model.predict`."""
        names = list(self._converters) if outputs is None else outputs
        for name in names:
            if name not in self._converters:
                raise unknown_output(name, list(self._converters))
        answer = self._function(self._frame.build(inputs))
        return self._named(answer, names)

    def _named(self, answer: Any, names: Sequence[str]) -> dict[str, NDArray[Any]]:
        if not isinstance(answer, Mapping):
            answer = dict.fromkeys(self._converters, answer) if len(self._converters) == 1 else {}
        missing = [name for name in names if name not in answer]
        if missing:
            raise InvalidSignature(f"The function did not return {', '.join(missing)}, which its signature promises.")
        try:
            return {name: self._converters[name](answer[name]) for name in names}
        except (ValueError, TypeError) as error:
            raise InvalidSignature(
                f"The function's answer is not what its signature promises: {one_line(error)}."
            ) from error

    def close(self) -> None:
        """Nothing is held."""


class FunctionAdapter(Adapter):
    """Serves functions that live in memory; there is no artifact to load or save."""

    name = "function"

    def accepts(self, artifact: Path) -> bool:
        """Never: a function is not a file."""
        return False

    def runs_code(self, artifact: Path) -> bool:
        """Python code runs."""
        return True

    def read(self, artifact: Path) -> Any:
        """Refuse: a function is not a file."""
        raise UnsupportedArtifact(f"{artifact} cannot be read as a function; serve functions from Python, in memory.")

    def owns(self, fitted: object) -> bool:
        """Tell whether the object can be called."""
        return callable(fitted)

    def infer_signature(self, fitted: Any, reference: "DataFrame | None" = None) -> Signature:
        """Refuse: nobody but its author knows what a function takes and gives."""
        raise InvalidSignature("A function's signature cannot be inferred; give one with signature=.")

    def wrap(self, fitted: Any, signature: Signature | None = None) -> Model:
        """Make a model of the function. Raises InvalidSignature without a signature."""
        return FunctionModel(fitted, signature or self.infer_signature(fitted))

    def save(self, fitted: Any, folder: Path) -> Path:
        """Refuse: functions live in memory only."""
        raise UnsupportedArtifact("A function cannot be registered; serve it from memory, or register a fitted model.")
