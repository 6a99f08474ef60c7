"""scikit-learn estimators as models: what they take is worked out from what they learned, and tried on a row or two."""

import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from serinus.models.errors import InvalidInput, InvalidSignature, ModelError, UnsupportedArtifact, one_line
from serinus.models.estimator_answers import DEFAULT, ON_REQUEST, Part, converter_of, item, observed, parts_of
from serinus.models.estimator_rows import (
    TRIAL_ROWS,
    Guess,
    Inputs,
    guesses,
    has_gaps,
    refuse_if_unservable,
    row_builder,
)
from serinus.models.examples import example_rows
from serinus.models.model import unknown_output
from serinus.models.row_wise_estimators import answers_row_by_row
from serinus.models.signature import Field, Signature
from serinus.models.steps import tell

__all__ = ["EstimatorModel", "infer_signature"]

_MANY_COLUMNS = 500
"""Above this, whether single columns may have missing values is not tried out one by one."""

_MANY_TRIALS = 8
"""So many made-up rows are tried before a failed call is the model's fault."""

_ALONE = ("transform", "score_samples", "decision_function")
"""Where there is no predict, the first of these that the estimator has is its answer."""


class EstimatorModel:
    """A fitted estimator whose outputs are named after its methods.

    `predict` (and `predict_proba` where it exists), or where there is no predict `transform` or `score_samples`, are
    given by default; `decision_function`, `score_samples`, `predict_log_proba` and `transform` on request, where they
    exist. Several targets' probabilities are one output per target: `predict_proba_0`, `predict_proba_1`, …

    A pipeline's steps before the last run once per call, however many outputs are wanted.

    Attributes:
        row_wise: each row's answer depends on that row alone, as far as the estimator's type tells; rows of
            several requests may then share a call.
    """

    def __init__(self, fitted: Any, signature: Signature) -> None:
        self.signature = signature
        self.row_wise = answers_row_by_row(fitted)
        self._fitted = fitted
        self._good: Any = None  # rows known to go through, once a call has failed
        self._rows = row_builder(fitted, signature.inputs)
        self._outputs = [field.name for field in signature.outputs]
        self._prepare, last = _split(fitted)
        self.tells_steps = isinstance(self._prepare, _Preparation)
        methods = {name: getattr(last, name) for name in (*DEFAULT, *ON_REQUEST) if hasattr(fitted, name)}
        self._parts = parts_of(methods, self._outputs)
        self._split = {part.method: methods.pop(part.method) for part in _first_of_each(self._parts)}
        known = dict.fromkeys((*self._outputs, *methods, *self._parts))
        self._methods = {name: methods[name] for name in known if name in methods}
        fields = {field.name: field for field in signature.outputs}
        self._converters = {name: converter_of(fields.get(name)) for name in known}

    def predict(self, inputs: Inputs, outputs: Sequence[str] | None = None) -> dict[str, NDArray[Any]]:
        """Call the estimator's methods; see `Model.predict`."""
        names = self._outputs if outputs is None else outputs
        for name in names:
            if name not in self._converters:
                raise unknown_output(name, list(self._converters))
        rows = self._rows(inputs)
        try:
            prepared = self._prepare(rows)
            if self._parts:
                return self._in_parts(prepared, names)
            return {name: self._converters[name](self._methods[name](prepared)) for name in names}
        except (ValueError, TypeError) as error:
            if not self._blames(inputs):
                raise
            raise InvalidInput(f"The model refused the inputs: {one_line(error)}") from error

    def _in_parts(self, rows: Any, names: Sequence[str]) -> dict[str, NDArray[Any]]:
        split: dict[str, Any] = {}  # a method runs once, however many of its parts are wanted
        answer = {}
        for name in names:
            part = self._parts.get(name)
            if part is not None and part.method not in split:
                split[part.method] = self._split[part.method](rows)
            whole = self._methods[name](rows) if part is None else item(split[part.method], part.index)
            answer[name] = self._converters[name](whole)
        return answer

    def _blames(self, inputs: Inputs) -> bool:
        """Tell, after a failure, whether the inputs caused it: they have gaps, or rows of our own making go through."""
        if any(has_gaps(array) for array in inputs.values()):
            return True
        for rows in islice(self._made_up(), _MANY_TRIALS):
            try:
                self._in_parts(self._prepare(rows), self._outputs)
            except Exception:
                continue
            self._good = rows
            return True
        return False

    def _made_up(self) -> Iterator[Any]:
        if self._good is not None:
            yield self._good
            return
        try:
            yield self._rows(example_rows(self.signature, 1))
            for guess in guesses(self._fitted, None):
                yield row_builder(self._fitted, guess.fields)(guess.rows)
        except ModelError:
            return

    def close(self) -> None:
        """Nothing is held beyond memory."""


def _first_of_each(parts: Mapping[str, Part]) -> list[Part]:
    return [part for part in parts.values() if part.index == 0]


class _Preparation:
    """What a pipeline does before its last step, telling each step."""

    def __init__(self, steps: Sequence[tuple[str, Any]]) -> None:
        self.steps = [(name, step.transform) for name, step in steps if step is not None and step != "passthrough"]

    def __call__(self, rows: Any) -> Any:
        for name, transform in self.steps:
            rows = transform(rows)
            tell(name)
        return rows


def _split(fitted: Any) -> tuple[Callable[[Any], Any], Any]:
    """Part a pipeline into the transformation before its last step, and that step.

    Only scikit-learn's own Pipeline is parted: a subclass may do more than its steps say.
    """
    from sklearn.pipeline import Pipeline

    if type(fitted) is not Pipeline or len(fitted.steps) < 2 or isinstance(fitted.steps[-1][1], str | None):
        return _same, fitted
    return _Preparation(fitted.steps[:-1]), fitted.steps[-1][1]


def _same(rows: Any) -> Any:
    return rows


def infer_signature(fitted: Any, reference: pd.DataFrame | None = None) -> Signature:
    """Work out an estimator's signature: likely fields are tried until rows of them are answered.

    Args:
        fitted: the estimator or pipeline.
        reference: rows like those it was trained with (without the target); gives dtypes and categories.

    Raises:
        UnsupportedArtifact: it cannot answer for new rows, or was not fitted.
        InvalidSignature: the reference does not fit the estimator, no rows can be predicted, or an output
            cannot be carried.
    """
    refuse_if_unservable(fitted)
    frame = reference if reference is None or isinstance(reference, pd.DataFrame) else pd.DataFrame(reference)
    failures: list[Exception] = []
    for guess in guesses(fitted, frame):
        try:
            with warnings.catch_warnings(action="ignore"):
                return _tried(fitted, guess)
        except ModelError:
            raise
        except Exception as error:
            failures.append(error)
            if type(error).__name__ == "NotFittedError":
                raise UnsupportedArtifact(f"{type(fitted).__name__} was not fitted; fit it first.") from error
    raise InvalidSignature(_no_row(fitted, frame, failures[0])) from failures[0]


def _no_row(fitted: Any, reference: pd.DataFrame | None, failure: Exception) -> str:
    if reference is not None:
        what = "The model cannot predict a row of the reference, so one of the two is the wrong one"
    else:
        what = (
            f"What {type(fitted).__name__} takes cannot be told from what it learned; give rows like those it was "
            "trained with as reference (rows made up for it were refused"
        )
    return f"{what}: {one_line(failure)}{'' if reference is not None else ')'}"


def _tried(fitted: Any, guess: Guess) -> Signature:
    """Predict the guess's rows: what comes back has the true datatypes and shapes."""
    build = row_builder(fitted, guess.fields)
    rows = build(guess.rows)
    outputs: list[Field] = []
    for method in _output_methods(fitted):
        try:
            answer = getattr(fitted, method)(rows)
        except Exception:
            # Some estimators have a predict_proba that what is inside them cannot answer.
            if outputs and method == "predict_proba":
                continue
            raise
        outputs += observed(fitted, method, answer, TRIAL_ROWS)
    return Signature(_optional(fitted, build, guess), tuple(outputs))


def _output_methods(fitted: Any) -> list[str]:
    names = [name for name in DEFAULT if hasattr(fitted, name)]
    return names or [next(name for name in _ALONE if hasattr(fitted, name))]


def _optional(fitted: Any, build: Callable[[Inputs], Any], guess: Guess) -> tuple[Field, ...]:
    """Mark the fields whose values may be missing: those without which the rows are still predicted."""
    able = [field.name for field in guess.fields if _can_miss(field)]
    predict = getattr(fitted, _output_methods(fitted)[0])

    def predicts_without(names: list[str]) -> bool:
        try:
            predict(build({**guess.rows, **{name: _gap(guess.rows[name]) for name in names}}))
        except Exception:
            return False
        return True

    if not predicts_without(able):
        able = [name for name in able if len(able) <= _MANY_COLUMNS and predicts_without([name])]
    return tuple(replace(field, optional=field.name in able) for field in guess.fields)


def _can_miss(field: Field) -> bool:
    return field.datatype.startswith("FP") or field.datatype == "BYTES" or field.frame_dtype is not None


def _gap(values: NDArray[Any]) -> NDArray[Any]:
    if values.dtype.kind == "f":
        return np.full(values.shape, math.nan, dtype=values.dtype)
    return np.full(values.shape, None, dtype=object)
