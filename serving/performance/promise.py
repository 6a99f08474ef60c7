"""What a version's performance was on its reference: promised at registration, kept beside it, never changed.

```
reference rows + their truth ──make_promise──▶ Promise ──▶ references/SHA.performance.json
```

It holds the measures of the reference, the upper bound of its mean loss, which the harm alarm watches, what estimates
performance without truths (CBPE for classifiers, DLE for regressors), and a sample of binned rows with their losses,
which tells other inputs from another world. A reference that the model was trained with promises too much: give rows
that it has not seen.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from serinus.models.errors import ModelError
from serinus.models.registry import Registry
from serinus.models.signature import Signature
from serinus.models.version import ModelVersion
from serinus.monitors.error_estimation import ErrorEstimator, fit_error_estimator
from serinus.monitors.errors import InvalidData
from serinus.monitors.estimation import Estimator, fit_estimator
from serinus.monitors.harm import losses_of, promised_loss
from serinus.monitors.metrics import Measure, Sums
from serinus.monitors.packing import squeeze, unsqueeze
from serinus.monitors.performance import Definition, Outcomes
from serinus.monitors.profile import Profile
from serinus.monitors.sample import Rows
from serinus.serving.ground_truth.columns import Answers, answers_of
from serinus.serving.performance.document import calibration

__all__ = ["AnyEstimator", "Promise", "attachment_of", "estimator_sums", "make_promise", "numbers_of", "outcomes_of",
           "promise_of", "watched_features"]

FORMAT = 1
_SUFFIX = ".performance.json"
_FEWEST = 50
_MOST_ROWS = 20_000
_SAMPLE = 4_000
_MOST_FEATURES = 30
_SEED = 20_260_110
_WORST = 3.0
"""An error of so many root mean squares of the reference is as bad as can be."""

Array = NDArray[Any]
Arrays = Mapping[str, Array]
AnyEstimator = Estimator | ErrorEstimator


@dataclass(frozen=True, eq=False)
class Promise:
    """What was found on a reference. A value, made by `make_promise`.

    Attributes:
        reference: the digest of the reference's profile.
        definition: the digest of what is measured.
        rows: how many had an answer and the truth.
        measures: of these rows.
        loss, promised: their mean loss, and the bound above which it lies in one of a hundred references at most.
        scale: the error that counts as a loss of 1; 1 for classifiers.
        calibration_error: of the probabilities; None where there are none, or too few rows.
        estimator: estimates performance without truths; None where that cannot be.
        reason: why not, as a sentence.
        features: the names of the binned ones.
        codes, losses: a sample of rows.
    """

    reference: str
    definition: str
    rows: int
    measures: Mapping[str, Any]
    loss: float
    promised: float
    scale: float
    calibration_error: float | None
    estimator: AnyEstimator | None
    reason: str
    features: tuple[str, ...]
    codes: Array
    losses: Array

    def to_bytes(self) -> bytes:
        """As canonical JSON."""
        kind = "classes" if isinstance(self.estimator, Estimator) else "numbers"
        estimator = None if self.estimator is None else {"kind": kind, **self.estimator.to_json()}
        return orjson.dumps({
            "format": FORMAT, "reference": self.reference, "definition": self.definition, "rows": self.rows,
            "measures": dict(self.measures), "loss": self.loss, "promised": self.promised, "scale": self.scale,
            "calibration_error": self.calibration_error, "estimator": estimator, "reason": self.reason,
            "features": list(self.features), "codes": squeeze(self.codes.astype(np.uint8)),
            "losses": squeeze(self.losses)}, option=orjson.OPT_SORT_KEYS | orjson.OPT_SERIALIZE_NUMPY)

    @classmethod
    def from_bytes(cls, data: bytes) -> Promise:
        """Read what `to_bytes` wrote. Raises InvalidData where another release did."""
        found = orjson.loads(data)
        if found.pop("format", None) != FORMAT:
            raise InvalidData("What was promised at registration is of another format; register the version again.")
        estimator = found.pop("estimator")
        return cls(**{
            **found, "estimator": None if estimator is None else _estimator(estimator),
            "features": tuple(found["features"]), "codes": unsqueeze(found["codes"]),
            "losses": unsqueeze(found["losses"])})


def _estimator(document: Mapping[str, Any]) -> AnyEstimator:
    kind = Estimator if document["kind"] == "classes" else ErrorEstimator
    return kind.from_json(document)


def make_promise(signature: Signature, profile: Profile, rows: Rows, truth: Array,
                 personal: Collection[str] = ()) -> Promise:
    """What a reference's rows promise.

    Args:
        signature: the model's.
        profile: of these rows.
        rows: what the model was asked, and answered.
        truth: what really was, `[n]`.
        personal: fields whose values are not in the prediction log as they were.

    Raises:
        InvalidData: the model gives no answers that a truth could be held against, or too few rows have one.
    """
    where = answers_of(signature)
    if where is None:
        raise InvalidData("No output of the model can be held against a truth.")
    rows, truth = _in_order(rows, np.asarray(truth))
    outcomes = outcomes_of(where, rows.outputs, truth)
    if outcomes is None:
        raise InvalidData("The model's answers are not one for each row.")
    definition = where.definition
    sums = definition.sums(outcomes)
    if sums.rows < _FEWEST:
        raise InvalidData(f"A promise needs {_FEWEST} reference rows with a truth that the model can give, got "
                          f"{sums.rows}.")
    measured = definition.measure(sums)
    scale = _scale(measured) if definition.task == "regression" else 1.0
    losses = losses_of(definition, outcomes, scale)
    estimator, reason = _fitted(definition, profile, rows, outcomes, personal)
    features = watched_features(profile, personal)
    kept = _sample(np.flatnonzero(np.isfinite(losses)))
    codes = profile.encoder.encode(_cut(rows.inputs, kept), _cut(rows.outputs, kept))[:, list(features)]
    calibrated = calibration(sums, definition)
    return Promise(profile.digest, definition.digest, sums.rows,
                   {name: measure.to_json() for name, measure in measured.items()}, float(np.nanmean(losses)),
                   promised_loss(losses), scale, calibrated["error"] if calibrated else None, estimator, reason,
                   tuple(profile.names[place] for place in features), codes, losses[kept])


def _in_order(rows: Rows, truth: Array) -> tuple[Rows, Array]:
    """In the order of time, where it is known; of very many rows a part."""
    chosen = np.arange(len(truth)) if rows.times is None else np.argsort(rows.times, kind="stable")
    if len(chosen) > _MOST_ROWS:
        chosen = chosen[np.sort(np.random.default_rng(_SEED).permutation(len(chosen))[:_MOST_ROWS])]
    times = None if rows.times is None else rows.times[chosen]
    return Rows(_cut(rows.inputs, chosen), _cut(rows.outputs, chosen), times), truth[chosen]


def _cut(arrays: Arrays, chosen: Array) -> dict[str, Array]:
    return {name: array[chosen] for name, array in arrays.items()}


def _sample(rows: Array) -> Array:
    return np.asarray(np.sort(np.random.default_rng(_SEED).permutation(rows)[:_SAMPLE]))


def outcomes_of(where: Answers, outputs: Arrays, truth: Array) -> Outcomes | None:
    """Answers and scores of rows, with their truth; None where there is not one for each row."""
    scores = outputs.get(where.scores) if where.scores is not None else None
    said = outputs.get(where.output) if where.output is not None else None
    labels = where.definition.labels
    if said is None and scores is not None and scores.ndim == 2 and scores.shape[1] == len(labels):
        said = np.array(labels, object)[scores.argmax(1)]
    if said is None or len(said) != len(truth) or said.size != len(said):
        return None
    if where.definition.task == "regression":
        truth = np.array([_number(value) for value in truth.tolist()], float)
    return Outcomes(truth, said.ravel(), scores)


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return float("nan")


def _scale(measured: Mapping[str, Measure]) -> float:
    error = measured["rmse"].value
    return _WORST * error if error else 1.0


def _fitted(definition: Definition, profile: Profile, rows: Rows, outcomes: Outcomes,
            personal: Collection[str]) -> tuple[AnyEstimator | None, str]:
    """What estimates without truths, or why there is nothing."""
    try:
        if definition.task == "regression":
            return fit_error_estimator(numbers_of(profile, rows.inputs, personal), outcomes.answers, outcomes.truth), ""
        if outcomes.scores is None:
            return None, "The model gives no probabilities, from which its performance could be estimated."
        truth, known = definition.places(outcomes.truth)
        said, _ = definition.places(outcomes.answers)
        usable = known & (truth < len(definition.labels))
        return fit_estimator(outcomes.scores[usable], said[usable], truth[usable], len(definition.labels),
                             None if definition.positive is None else definition.labels.index(definition.positive)), ""
    except InvalidData as error:
        return None, str(error)


def numbers_of(profile: Profile, inputs: Arrays, personal: Collection[str]) -> Array:
    """The numbers of rows `[n, F]`, of fields that stand in the log as they were."""
    fields = [profile.features[place].field for place in profile.encoder.number_features]
    kept = [column for column, field in enumerate(fields) if field not in personal]
    return np.asarray(profile.encoder.numbers(inputs)[:, kept])


def watched_features(profile: Profile, personal: Collection[str]) -> tuple[int, ...]:
    """Which of a profile's features are binned: what goes in and comes out, of fields that are not personal."""
    return tuple(place for place, feature in enumerate(profile.features)
                 if feature.monitorable and feature.side != "joint" and feature.field not in personal)[:_MOST_FEATURES]


def estimator_sums(estimator: AnyEstimator, definition: Definition, outcomes: Outcomes, numbers: Array) -> Sums:
    """Sum rows up for an estimate; nothing of their truth is looked at."""
    if isinstance(estimator, ErrorEstimator):
        return estimator.sums(numbers, np.asarray(outcomes.answers, float))
    scores = outcomes.scores if outcomes.scores is not None else np.full((len(outcomes.answers), 1), np.nan)
    return estimator.sums(scores, definition.places(outcomes.answers)[0])


def attachment_of(digest: str) -> str:
    """Where the promise of a reference lies, beside its profile."""
    return f"references/{digest.removeprefix('sha256:')}{_SUFFIX}"


def promise_of(registry: Registry, version: ModelVersion) -> Promise | None:
    """What was promised when a version was registered, or first given rows with their truth; None where never."""
    for name in registry.attachments(version):
        if name.endswith(_SUFFIX):
            try:
                return Promise.from_bytes(registry.attachment(version, name))
            except (InvalidData, ModelError):
                continue
    return None
