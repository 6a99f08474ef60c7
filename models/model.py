"""The two interfaces of this package: a model answers, an adapter makes a framework's artifact a model."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from numpy.typing import NDArray

from serinus.models.errors import UnknownOutput
from serinus.models.signature import Signature

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["Adapter", "Model", "unknown_output"]


class Model(Protocol):
    """Something that answers. Safe to call from several threads at once.

    It may have an attribute `row_wise`, true where its answer for a row depends on that row alone: then requests may
    share a call.
    """

    @property
    def signature(self) -> Signature:
        """What `predict` takes and gives."""
        ...

    def predict(
        self, inputs: Mapping[str, NDArray[Any]], outputs: Sequence[str] | None = None
    ) -> dict[str, NDArray[Any]]:
        """Answer for the rows of `inputs`.

        Args:
            inputs: an array per input of the signature, those with rows all with the same first dimension, in the
                machine's own byte order. A column may be `[k]` or `[k, 1]`. BYTES are object arrays of str (None where
                missing). A sequence is an array for each of its tensors, `NAME[0]`, `NAME[1]`, … Unknown names are
                ignored.
            outputs: the names wanted, a sequence's as a whole; None means all of `signature.outputs`. A model may know
                further ones.

        Returns:
            An array per output, first dimension the rows unless the model is not row-wise; BYTES as object arrays of
            str. A sequence's tensors come by their own names, and an absent optional output does not come.

        Raises:
            UnknownOutput: a name in `outputs` is none of the model's.
            InvalidInput: a required input is missing or its array does not fit the signature.
        """
        ...

    def close(self) -> None:
        """Give back what the model holds; it is not called again afterwards."""
        ...


class Adapter(Protocol):
    """Makes one framework's artifacts and objects models. Subclass it to inherit `load`, `companions` and `why_code`.

    Importing an adapter must be cheap: its framework is imported inside the methods that need it.
    """

    name: str

    def accepts(self, artifact: Path) -> bool:
        """Tell, by content or suffix and without loading it, whether this file is the adapter's kind."""
        ...

    def runs_code(self, artifact: Path) -> bool:
        """Tell whether reading this file would run code that the file itself chooses."""
        ...

    def why_code(self, artifact: Path) -> str:
        """Say why `runs_code` is true, as the middle of a sentence about the file."""
        return "runs code of its own choice when it is loaded"

    def companions(self, artifact: Path) -> list[Path]:
        """Give the files beside or below the artifact without which it does not load."""
        return []

    def read(self, artifact: Path) -> Any:
        """Give the framework's own object. Raises UnsupportedArtifact if the file is damaged.

        Callers have asked `runs_code` and the user's trust before.
        """
        ...

    def owns(self, fitted: object) -> bool:
        """Tell whether an object in memory is one of this framework's models."""
        ...

    def infer_signature(self, fitted: Any, reference: "DataFrame | None" = None) -> Signature:
        """Work out the signature of a fitted object, sharpened by a reference frame of its inputs.

        Raises InvalidSignature where it cannot be told, or the object cannot predict the reference's rows.
        """
        ...

    def wrap(self, fitted: Any, signature: Signature | None = None) -> Model:
        """Make a model of a fitted object; its signature is inferred where none is given."""
        ...

    def save(self, fitted: Any, folder: Path) -> Path:
        """Write a fitted object into an empty folder and give the file's path."""
        ...

    def load(self, artifact: Path, signature: Signature | None = None) -> Model:
        """Make a model of an artifact: `wrap(read(artifact))`."""
        return self.wrap(self.read(artifact), signature)


def unknown_output(name: str, known: Sequence[str]) -> UnknownOutput:
    """Make the error for an output that a model does not have."""
    return UnknownOutput(f"The model has no output {name!r}; ask for {', '.join(known)}.")
