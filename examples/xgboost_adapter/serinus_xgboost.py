"""XGBoost's own boosters, from `.ubj` and `.json` files, as models of Serinus."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from serinus.models.errors import InvalidInput, InvalidSignature, UnsupportedArtifact
from serinus.models.model import Adapter, Model, unknown_output
from serinus.models.signature import Field, Signature

if TYPE_CHECKING:
    from pandas import DataFrame
    from xgboost import Booster

__all__ = ["XGBoostAdapter", "XGBoostModel", "check_ubjson"]

MATRIX = "input"
_HEAD = 64
"""Bytes within which a booster's file says `learner`, in either format."""


class XGBoostModel:
    """A booster whose one output, `predict`, is what `Booster.predict` gives: a number per row, or one per class."""

    row_wise = True  # trees look at one row at a time, so rows of several requests may share a call

    def __init__(self, booster: "Booster", signature: Signature) -> None:
        self.signature = signature
        self._booster = booster
        self._outputs = [field.name for field in signature.outputs]
        self._rows = _matrix if signature.inputs[0].name == MATRIX else _columns(signature.inputs)
        self._width = booster.num_features()

    def predict(
        self, inputs: Mapping[str, NDArray[Any]], outputs: Sequence[str] | None = None
    ) -> dict[str, NDArray[Any]]:
        """Let the booster answer; see `Model.predict`."""
        names = self._outputs if outputs is None else outputs
        for name in names:
            if name not in self._outputs:
                raise unknown_output(name, self._outputs)
        rows = self._rows(inputs)
        if rows.ndim != 2 or rows.shape[1] != self._width:
            raise InvalidInput(f"Wanted a matrix of {self._width} columns, got shape {list(rows.shape)}.")
        answer = np.asarray(self._booster.inplace_predict(rows), dtype=np.float32)  # needs no lock, as `predict` does
        return dict.fromkeys(names, answer)

    def close(self) -> None:
        """Let go of the trees."""
        del self._booster


class XGBoostAdapter(Adapter):
    """Reads boosters that `Booster.save_model` wrote. They are data: reading one runs no code."""

    name = "xgboost"

    def accepts(self, artifact: Path) -> bool:
        """Tell by the suffix and the first bytes: other JSON files are no boosters."""
        if artifact.suffix.lower() not in (".ubj", ".json"):
            return False
        with artifact.open("rb") as stream:
            head = stream.read(_HEAD)
        return artifact.suffix.lower() == ".ubj" or b"learner" in head

    def runs_code(self, artifact: Path) -> bool:
        """Never: a booster is a table of splits."""
        return False

    def read(self, artifact: Path) -> "Booster":
        """Load the booster. Raises UnsupportedArtifact if the file is damaged."""
        from xgboost import Booster

        try:
            if artifact.suffix.lower() == ".ubj":
                # XGBoost's own reader runs beyond the end of a shortened file, and the process ends.
                check_ubjson(artifact.read_bytes())
            # One thread: several requests are answered at once as it is.
            return Booster({"nthread": 1}, model_file=str(artifact))
        except Exception as error:  # XGBoostError, and what its JSON reader raises
            raise UnsupportedArtifact(
                f"{artifact} is not a booster that XGBoost can read (damaged, or cut short): {_first_line(error)}"
            ) from error

    def owns(self, fitted: object) -> bool:
        """Tell a booster by its type's name, so that nobody else pays for the import."""
        return type(fitted).__module__.startswith("xgboost.") and type(fitted).__name__ == "Booster"

    def infer_signature(self, fitted: "Booster", reference: "DataFrame | None" = None) -> Signature:
        """Columns as the booster names them, else one matrix; the answer's shape is that of a first row.

        XGBoost computes in single precision and sends missing values where it learned to, so every column is FP32
        and optional.
        """
        types = fitted.feature_types or []
        if "c" in types:
            raise InvalidSignature(
                "The booster has categorical columns, whose codes only the training frame knows; "
                "register the XGBClassifier or XGBRegressor itself, in a pipeline that encodes them."
            )
        names = fitted.feature_names
        absent = [] if names is None or reference is None else sorted(set(names) - set(reference.columns))
        if absent:
            raise InvalidSignature(f"The reference lacks the columns {', '.join(absent)} of the booster.")
        row = np.full((1, fitted.num_features()), math.nan, dtype=np.float32)
        shape = (-1, *np.asarray(fitted.inplace_predict(row)).shape[1:])
        if names is None:
            inputs = (Field(MATRIX, "FP32", (-1, fitted.num_features()), optional=True),)
        else:
            inputs = tuple(Field(name, "FP32", (-1,), optional=True) for name in names)
        return Signature(inputs, (Field("predict", "FP32", shape),))

    def wrap(self, fitted: "Booster", signature: Signature | None = None) -> Model:
        """Make a model of a booster."""
        return XGBoostModel(fitted, signature or self.infer_signature(fitted))

    def save(self, fitted: "Booster", folder: Path) -> Path:
        """Write the booster as `model.ubj`."""
        path = folder / "model.ubj"
        fitted.save_model(path)
        return path


_SIZES = {ord(kind): size for kind, size in zip("iUIlLdDCTFZ", (1, 1, 2, 4, 8, 4, 8, 1, 0, 0, 0), strict=True)}
_WHOLE = {ord(kind): size for kind, size in zip("iUIlL", (1, 1, 2, 4, 8), strict=True)}
_DEPTH = 32


def check_ubjson(data: bytes) -> None:
    """Raise ValueError unless the bytes are one whole value in Universal Binary JSON, with nothing before or after."""
    end = _value(data, 1, _byte(data, 0), 0)
    if end != len(data):
        raise ValueError(f"it has {len(data)} bytes, and its content ends after {end}")


def _byte(data: bytes, place: int) -> int:
    if place >= len(data):
        raise ValueError(f"it ends after {len(data)} bytes, in the middle")
    return data[place]


def _value(data: bytes, place: int, kind: int, depth: int) -> int:
    """Walk over the value of a kind at a place, and give the place behind it."""
    if kind in _SIZES:
        return _behind(data, place, _SIZES[kind])
    if kind == ord("S"):
        return _string(data, place)
    if kind not in (ord("["), ord("{")) or depth > _DEPTH:
        raise ValueError(f"byte {place - 1} starts no value")
    return _container(data, place, ord("]") if kind == ord("[") else ord("}"), depth)


def _container(data: bytes, place: int, close: int, depth: int) -> int:
    kind = count = None
    if _byte(data, place) == ord("$"):
        kind, place = _byte(data, place + 1), place + 2
    if _byte(data, place) == ord("#"):
        count, place = _length(data, place + 1)
    if kind in _SIZES and count is not None and close == ord("]"):
        return _behind(data, place, _SIZES[kind] * count)
    while count != 0 and (count is not None or _byte(data, place) != close):
        if close == ord("}"):
            place = _string(data, place)
        one = kind if kind is not None else _byte(data, place)
        place = _value(data, place if kind is not None else place + 1, one, depth + 1)
        count = count if count is None else count - 1
    return place if count == 0 else place + 1


def _string(data: bytes, place: int) -> int:
    size, place = _length(data, place)
    return _behind(data, place, size)


def _length(data: bytes, place: int) -> tuple[int, int]:
    size = _WHOLE.get(_byte(data, place))
    if size is None:
        raise ValueError(f"byte {place} starts no length")
    behind = _behind(data, place + 1, size)
    length = int.from_bytes(data[place + 1 : behind], "big", signed=True)
    if length < 0:
        raise ValueError(f"byte {place} starts a negative length")
    return length, behind


def _behind(data: bytes, place: int, size: int) -> int:
    if place + size > len(data):
        raise ValueError(f"it ends after {len(data)} bytes, in the middle")
    return place + size


def _columns(fields: Sequence[Field]) -> Any:
    """Columns by name: in any order, as [k] or [k, 1], those left out missing."""
    from serinus.models.frame import FrameBuilder

    builder = FrameBuilder(fields)
    return lambda inputs: builder.build(inputs).to_numpy(dtype=np.float32)


def _matrix(inputs: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
    try:
        return np.asarray(inputs[MATRIX], dtype=np.float32)
    except KeyError:
        raise InvalidInput(f"The input {MATRIX!r} is missing; send it.") from None
    except (ValueError, TypeError) as error:
        raise InvalidInput(f"Input {MATRIX!r} cannot be read as numbers: {error}.") from error


def _first_line(error: Exception) -> str:
    """XGBoost's messages go on with a stack trace."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
