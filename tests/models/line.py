"""A framework in one class, and an adapter for it that keeps every rule of the contract."""

import json

import numpy as np

from serinus.models import Field, InvalidInput, Signature, UnsupportedArtifact
from serinus.models.model import Adapter, unknown_output

ROWS = {"a": np.array([1.0, 2.0, 4.0]), "b": np.array([0.5, 0.25, 8.0])}


class Line:
    """The whole framework of these tests: a weight per column."""

    def __init__(self, weights):
        self.weights = weights


class LineModel:
    """total = the weighted sum of the columns; sign says in a word which side of zero it is."""

    def __init__(self, fitted, signature):
        self.signature = signature
        self._weights = fitted.weights

    def predict(self, inputs, outputs=None):
        names = [field.name for field in self.signature.outputs] if outputs is None else outputs
        for name in names:
            if name not in ("total", "sign"):
                raise unknown_output(name, ["total", "sign"])
        total = self.total(self.columns(inputs))
        answers = {"total": total, "sign": np.array(["+" if value > 0 else "-" for value in total], dtype=object)}
        return {name: answers[name] for name in names}

    def columns(self, inputs):
        try:
            columns = [np.asarray(inputs[name], dtype=float).reshape(-1) for name in self._weights]
            return np.stack(columns)
        except (KeyError, ValueError) as error:
            raise InvalidInput(f"Send numbers for {', '.join(self._weights)}: {error}.") from error

    def total(self, columns):
        return np.array(list(self._weights.values())) @ columns

    def close(self):
        """Nothing is held."""


class LineAdapter(Adapter):
    """Keeps every rule."""

    name = "line"
    model = LineModel

    def accepts(self, artifact):
        return artifact.suffix == ".line"

    def runs_code(self, artifact):
        return False

    def read(self, artifact):
        try:
            return Line(json.loads(artifact.read_bytes())["weights"])
        except (ValueError, KeyError) as error:
            raise UnsupportedArtifact(f"{artifact} is not a line: {error}.") from error

    def owns(self, fitted):
        return isinstance(fitted, Line)

    def infer_signature(self, fitted, reference=None):
        inputs = tuple(Field(name, "FP64", (-1,)) for name in fitted.weights)
        return Signature(inputs, (Field("total", "FP64", (-1,)), Field("sign", "BYTES", (-1,))))

    def wrap(self, fitted, signature=None):
        return self.model(fitted, signature or self.infer_signature(fitted))

    def save(self, fitted, folder):
        path = folder / "model.line"
        path.write_text(json.dumps({"weights": fitted.weights}))
        return path
