"""Adapters that each break one rule of the contract in one way."""

import itertools
import json
import os
import pickle
import time

import numpy as np

from serinus.models import Field, InvalidInput, Signature, UnknownOutput, UnsupportedArtifact
from serinus.models.model import unknown_output
from tests.models.line import Line, LineAdapter, LineModel


def variant(base=LineAdapter, *, model=None, **methods):
    """An adapter that differs from the good one in the given methods, or in those of its models."""
    if model is not None:
        methods["model"] = model if isinstance(model, type) else type("BrokenModel", (LineModel,), model)
    # A new process imports the good one in its stead, which is what "cheap import" looks at.
    broken = type("LineAdapter", (base,), methods)
    broken.__module__ = LineAdapter.__module__
    return broken()


def _predict(change):
    """A predict that hands the good answer, or the inputs before, to `change`."""
    return {"predict": lambda self, inputs, outputs=None: change(self, inputs, outputs)}


def _after(change):
    def predict(self, inputs, outputs=None):
        return change(LineModel.predict(self, inputs, outputs))

    return {"predict": predict}


def _needs_argument(self, file):
    """An entry point could not make this adapter."""


class Forgetful(LineModel):
    """Keeps the columns of the running call on itself."""

    def total(self, columns):
        self._columns = columns
        time.sleep(0.0005)
        return super().total(self._columns)


def _pickled(self, artifact):
    try:
        return pickle.loads(artifact.read_bytes().removeprefix(b"LINE"))
    except Exception as error:
        raise UnsupportedArtifact(f"{artifact} is not a pickle: {error}") from error


def _save_pickled(self, fitted, folder):
    path = folder / "model.line"
    path.write_bytes(b"LINE" + pickle.dumps(fitted))
    return path


def _read_carelessly(self, artifact):
    """Reads its own JSON, and anything else as a pickle."""
    content = artifact.read_bytes()
    if content[:1] == b"\x80":
        pickle.loads(content)
    return LineAdapter.read(self, artifact)


def _read_with_stack_trace(self, artifact):
    try:
        return LineAdapter.read(self, artifact)
    except UnsupportedArtifact as error:
        raise UnsupportedArtifact(f"{error}\n  at line 1\n  at line 2") from error


def _read_without_name(self, artifact):
    try:
        return LineAdapter.read(self, artifact)
    except UnsupportedArtifact:
        raise UnsupportedArtifact("The file is damaged.") from None


def _read_raw(self, artifact):
    return Line(json.loads(artifact.read_bytes())["weights"])


def _read_forgivingly(self, artifact):
    try:
        return _read_raw(self, artifact)
    except ValueError:
        return Line({"a": 0.0, "b": 0.0})


def _write_into(self, inputs, outputs):
    for array in inputs.values():
        array += 0
    return LineModel.predict(self, inputs, outputs)


def _scale_in_place(self, inputs, outputs):
    answer = LineModel.predict(self, inputs, outputs)
    inputs["a"] *= 2
    return answer


def _by_position(self, inputs, outputs):
    return LineModel.predict(self, dict(zip("ab", inputs.values(), strict=False)), outputs)


def _strict_names(self, inputs, outputs):
    if set(inputs) - {"a", "b"}:
        raise InvalidInput("Unknown inputs.")
    return LineModel.predict(self, inputs, outputs)


def _flat_only(self, inputs, outputs):
    if any(array.ndim > 1 for array in inputs.values()):
        raise InvalidInput("Send flat columns.")
    return LineModel.predict(self, inputs, outputs)


def _missing_is_zero(self, inputs, outputs):
    return LineModel.predict(self, {"a": np.zeros(3), "b": np.zeros(3), **inputs}, outputs)


def _raw_errors(self, inputs, outputs):
    try:
        return LineModel.predict(self, inputs, outputs)
    except InvalidInput as error:
        if isinstance(error.__cause__, ValueError):
            raise error.__cause__ from None
        raise


def _cut_to_fit(self, inputs, outputs):
    shortest = min((len(array) for array in inputs.values()), default=0)
    return LineModel.predict(self, {name: array[:shortest] for name, array in inputs.items()}, outputs)


def _key_error(self, inputs, outputs):
    try:
        return LineModel.predict(self, inputs, outputs)
    except UnknownOutput as error:
        raise KeyError(str(error)) from None


def _all_outputs(self, inputs, outputs):
    if outputs and not set(outputs) <= {"total", "sign"}:
        raise unknown_output(outputs[0], ["total", "sign"])
    return LineModel.predict(self, inputs)


def _batch_mean(answer):
    if "total" in answer:
        answer["total"] = answer["total"] - answer["total"].mean()
    return answer


class Closing(LineModel):
    """Takes the fitted object's weights with it."""

    def close(self):
        self._weights.clear()


class Returning(LineModel):
    """Says something when it is closed."""

    def close(self):
        return True


class NameChanging(LineModel):
    """Has a signature of its own."""

    def __init__(self, fitted, signature):
        super().__init__(fitted, Signature(signature.inputs, signature.outputs[:1]))


class CrashingAdapter(LineAdapter):
    """Ends the process where a native reader would run beyond the end of the file."""

    def read(self, artifact):
        if 0 < artifact.stat().st_size < 20:
            os.abort()
        return super().read(artifact)


_fresh = itertools.count()


def _other_each_time(self, fitted, reference=None):
    inputs = (*(Field(name, "FP64", (-1,)) for name in fitted.weights),)
    extra = Field(f"more-{next(_fresh)}", "FP64", (-1,), optional=True)
    good = LineAdapter.infer_signature(self, fitted)
    return Signature(inputs, (*good.outputs, extra))


BROKEN = {
    "identity": {
        "a name that no manifest takes": variant(name="My Line"),
        "arguments wanted": type("LineAdapter", (LineAdapter,), {"__init__": _needs_argument})(None),
    },
    "owns": {
        "everything": variant(owns=lambda self, fitted: True),
        "classes": variant(owns=lambda self, fitted: fitted is Line or isinstance(fitted, Line)),
        "nothing": variant(owns=lambda self, fitted: False),
        "no bool": variant(owns=lambda self, fitted: getattr(fitted, "weights", None)),
    },
    "accepts": {
        "everything": variant(accepts=lambda self, artifact: True),
        "nothing": variant(accepts=lambda self, artifact: False),
        "any JSON": variant(accepts=lambda self, artifact: artifact.suffix in (".line", ".json")),
        "unreadable files raise": variant(accepts=lambda self, artifact: "weights" in json.loads(artifact.read_text())),
    },
    "honest about code": {
        "a pickle behind a header": variant(read=_pickled, save=_save_pickled),
        "a pickle read beside JSON": variant(read=_read_carelessly),
        "no bool": variant(runs_code=lambda self, artifact: None),
        "undecided": variant(runs_code=lambda self, artifact: bool(next(_fresh) % 2)),
        "without a reason": variant(runs_code=lambda self, artifact: True, why_code=lambda self, artifact: ""),
    },
    "signature": {
        "none": variant(infer_signature=lambda self, fitted, reference=None: None),
        "no outputs": variant(infer_signature=lambda self, fitted, reference=None: Signature(
            LineAdapter.infer_signature(self, fitted).inputs, ())),
        "another each time": variant(infer_signature=_other_each_time),
        "not the one that was given": variant(wrap=lambda self, fitted, signature=None: NameChanging(
            fitted, signature or LineAdapter.infer_signature(self, fitted))),
        "an error": variant(infer_signature=lambda self, fitted, reference=None: 1 / 0),
    },
    "round trip": {
        "other weights": variant(read=lambda self, artifact: Line(
            {name: weight + 1 for name, weight in LineAdapter.read(self, artifact).weights.items()})),
        "not owned": variant(owns=lambda self, fitted: type(fitted) is Line, read=lambda self, artifact: type(
            "Other", (Line,), {})(LineAdapter.read(self, artifact).weights)),
        "no file": variant(save=lambda self, fitted, folder: folder / "absent.line"),
        "save fails": variant(save=lambda self, fitted, folder: 1 / 0),
        "load differs": variant(load=lambda self, artifact, signature=None: self.wrap(Line({"a": 0.0, "b": 0.0}))),
        "another signature": variant(read=lambda self, artifact: Line(
            dict(reversed(LineAdapter.read(self, artifact).weights.items())))),
    },
    "inputs by name": {
        "by position": variant(model=_predict(_by_position)),
        "unknown names refused": variant(model=_predict(_strict_names)),
        "read-only arrays refused": variant(model=_predict(_write_into)),
        "inputs changed": variant(model=_predict(_scale_in_place)),
        "flat columns only": variant(model=_predict(_flat_only)),
    },
    "missing inputs": {
        "taken as zero": variant(model=_predict(_missing_is_zero)),
        "optional ones wanted": variant(infer_signature=lambda self, fitted, reference=None: Signature(
            tuple(Field(name, "FP64", (-1,), optional=True) for name in fitted.weights),
            LineAdapter.infer_signature(self, fitted).outputs)),
    },
    "misfitting inputs": {
        "numpy's own errors": variant(model=_predict(_raw_errors)),
        "longer columns cut": variant(model=_predict(_cut_to_fit)),
    },
    "outputs": {
        "a KeyError": variant(model=_predict(_key_error)),
        "always all": variant(model=_predict(_all_outputs)),
        "one forgotten": variant(model=_after(lambda answer: {k: v for k, v in answer.items() if k != "sign"})),
    },
    "datatypes": {
        "single precision": variant(model=_after(lambda answer: {
            k: v.astype(np.float32) if k == "total" else v for k, v in answer.items()})),
        "a column matrix": variant(model=_after(lambda answer: {k: v.reshape(-1, 1) for k, v in answer.items()})),
        "bytes for texts": variant(model=_after(lambda answer: {
            k: np.array([s.encode() for s in v], dtype=object) if k == "sign" else v for k, v in answer.items()})),
        "a row too few": variant(model=_after(lambda answer: {k: v[:2] for k, v in answer.items()})),
    },
    "one row and many": {"less the batch's mean": variant(model=_after(_batch_mean))},
    "threads": {"state on self": variant(model=Forgetful)},
    "close": {
        "the fitted object emptied": variant(model=Closing),
        "something returned": variant(model=Returning),
    },
    "damaged files": {
        "the parser's own error": variant(read=_read_raw),
        "a default instead": variant(read=_read_forgivingly),
        "many lines": variant(read=_read_with_stack_trace),
        "a crash": CrashingAdapter(),
        "no file named": variant(read=_read_without_name),
    },
}  # fmt: skip
