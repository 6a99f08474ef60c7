"""Recalibration: a version whose probabilities are made right by recent truths, as the next version.

The cheapest retraining there is: the classifier stays as it is, and a rising function (isotonic, or Platt's) is put
behind its scores, fitted to rows whose truth is known: of a file, or of the log and its ground truth. Whether that
helps is told before anything is registered, on rows that the function was not fitted to: each half of the rows judges
a function fitted to the other.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from serinus.models import ModelVersion, Registry, Trust, register
from serinus.models.adapters import adapter_named
from serinus.models.errors import InvalidSignature
from serinus.models.estimator_rows import row_builder
from serinus.models.lineage import Lineage
from serinus.models.loading import check_version_trust, verify
from serinus.models.optimize import rows_of
from serinus.monitors.calibration import FEWEST, classwise
from serinus.monitors.calibrators import Method
from serinus.monitors.performance import Definition, Outcomes
from serinus.serving.errors import CommandError
from serinus.serving.ground_truth.final import final_truths
from serinus.serving.home import Home
from serinus.serving.ids import prediction_id
from serinus.serving.registration import read_reference, with_trust
from serinus.serving.replay import hidden, latest
from serinus.serving.store import SqliteStore

__all__ = ["ATTACHMENT", "Judged", "Recalibrated", "recalibrate"]

ATTACHMENT = "recalibration.json"
"""The name under which the numbers are kept with the new version."""

FORMAT = 1
_MOST_REQUESTS = 50_000
_MANY = 1_000
"""Rows from which isotonic regression is tried: with fewer its steps follow chance."""

Arrays = Mapping[str, NDArray[Any]]


class Judged(NamedTuple):
    """How good probabilities are: their debiased calibration error (of the worst class) and their Brier score."""

    error: float
    brier: float


class _Labelled(NamedTuple):
    inputs: Arrays
    truth: NDArray[Any]
    source: str


@dataclass(frozen=True)
class Recalibrated:
    """A version, what it was made of, and what that changed on rows that its calibration was not fitted to.

    Attributes:
        parent: the version that it was made of.
        version: the new one.
        method: "isotonic" or "platt".
        rows: how many rows had a truth.
        source: where they came from.
        before, after: how good the probabilities were, and are.
    """

    parent: ModelVersion
    version: ModelVersion
    method: Method
    rows: int
    source: str
    before: Judged
    after: Judged

    def to_json(self) -> dict[str, Any]:
        """Give all of it as JSON values."""
        return {"tag": self.version.tag, "parent": self.parent.tag} | _facts(
            self.method, self.rows, self.source, self.before, self.after)


def recalibrate(tag: str, home: Home, *, data: Path | None = None, target: str | None = None,
                method: Method | None = None, force: bool = False, ask: bool = False) -> Recalibrated:
    """Recalibrate a classifier of scikit-learn and register it as the next version.

    Args:
        tag: the version; without a number the newest.
        home: of the registry and the log.
        data: rows with their truth, in the order of time; without it the log's latest whose truth has come.
        target: the data's column that came true.
        method: by default the one whose Brier score is less.
        force: register it although it does not help.
        ask: whether a person at a terminal may be asked to trust the version.

    Raises:
        CommandError: there are too few rows, the version is no such classifier, or it would not help.
    """
    registry = Registry(home.path)
    parent = registry.get(*registry.resolve(tag))
    definition = _definition(parent)
    with_trust(lambda trusted: check_version_trust(parent, Trust(home.path, trusted)), (), home=home.path, ask=ask)
    verify(parent)
    fitted = adapter_named(parent.adapter).read(parent.path / parent.artifact)
    labelled = _usable(_from_log(parent, registry, home) if data is None else _from_file(parent, data, target),
                       definition, parent)
    rows = row_builder(fitted, parent.signature.inputs)(labelled.inputs)
    truth = np.asarray(fitted.classes_)[definition.places(labelled.truth)[0]]
    before = _judged(definition, truth, fitted.predict_proba(rows))
    chosen, after = _best(fitted, rows, truth, definition, method)
    if not (after.brier < before.brier or force):
        raise CommandError(f"{parent.tag} stays as it is: {chosen} calibration on {len(truth):,} rows would not help "
                           f"(Brier score {before.brier:.4f} before, {after.brier:.4f} after). --force does it.")
    lineage = Lineage(parent=parent.tag, step=f"recalibrated ({chosen}) on {len(truth):,} rows of {labelled.source}",
                      rows=len(truth))
    facts = _facts(chosen, len(truth), labelled.source, before, after)
    made = register(_calibrated(fitted, rows, truth, chosen), parent.name, home=home.path, signature=parent.signature,
                    card=parent.card, lineage=lineage,
                    attachments={ATTACHMENT: json.dumps({"format": FORMAT, **facts}).encode()})
    return Recalibrated(parent, made, chosen, len(truth), labelled.source, before, after)


def _facts(method: str, rows: int, source: str, before: Judged, after: Judged) -> dict[str, Any]:
    return {"method": method, "rows": rows, "source": source, "before": before._asdict(), "after": after._asdict()}


def _definition(parent: ModelVersion) -> Definition:
    """The classes of a version. Raises CommandError where it has no probabilities of them."""
    answers = {output.name: output for output in parent.signature.outputs}
    probabilities = answers.get("predict_proba")
    if parent.adapter != "sklearn" or probabilities is None or not probabilities.labels:
        origin = parent.lineage.parent
        hint = f" It was made of {origin}: recalibrate that, and optimise the result." if origin else ""
        raise CommandError(f"{parent.tag} is not recalibrated: that takes a scikit-learn classifier with "
                           f"predict_proba, and it is served by the adapter {parent.adapter!r} with the outputs "
                           f"{', '.join(answers)}.{hint}")
    return Definition("classification", tuple(probabilities.labels))


def _from_file(parent: ModelVersion, data: Path, target: str | None) -> _Labelled:
    if target is None:
        raise CommandError("--data needs --target, the column that came true.")
    try:
        inputs, truth = rows_of(read_reference(data), parent.signature, target)
    except InvalidSignature as error:
        raise CommandError(f"{data}: {error}") from None
    return _Labelled(inputs, np.asarray(truth, object), data.name)


def _from_log(parent: ModelVersion, registry: Registry, home: Home) -> _Labelled:
    """The latest logged rows of this version whose final truth has come, oldest first."""
    if redacted := hidden(registry, parent):
        raise CommandError(f"{', '.join(redacted)} is redacted in the log, so its rows cannot be used; give --data.")
    records = [record for record in latest(home.log, parent.name, _MOST_REQUESTS)
               if record.version == parent.version and record.role != "shadow"]
    records.sort(key=lambda record: record.received_ns)
    ids = [prediction_id(record.prediction_uuid, row) for record in records for row in range(record.rows)]
    truths = _truths(home, ids)
    kept = np.array([name in truths for name in ids], bool)
    if not kept.any():
        raise CommandError(f"No truth has come for what {parent.tag} was asked lately; give --data FILE --target "
                           "COLUMN, or send truths: serinus feedback")
    inputs = {name: np.concatenate([record.inputs[name] for record in records])[kept] for name in records[0].inputs
              if all(name in record.inputs for record in records)}
    return _Labelled(inputs, np.array([truths[name] for name in ids if name in truths], object), "the log")


def _truths(home: Home, ids: Sequence[str]) -> dict[str, Any]:
    if not home.store.exists():
        return {}
    store = SqliteStore(home.store, create=False)
    try:
        return final_truths(store, ids)
    finally:
        store.close()


def _usable(labelled: _Labelled, definition: Definition, parent: ModelVersion) -> _Labelled:
    """Rows with a truth that is one of the classes. Raises CommandError where they are too few."""
    places, there = definition.places(labelled.truth)
    kept = there & (places < len(definition.labels))
    many = np.bincount(places[kept], minlength=len(definition.labels))
    if kept.sum() < 2 * FEWEST or many.min() < 10:
        raise CommandError(f"{parent.tag} is not recalibrated: {int(kept.sum()):,} rows of {labelled.source} have a "
                           f"truth that is one of its classes, and {2 * FEWEST} are needed, 10 of each class at least "
                           f"(the rarest has {int(many.min())}).")
    return _Labelled({name: array[kept] for name, array in labelled.inputs.items()}, labelled.truth[kept],
                     labelled.source)


def _best(fitted: Any, rows: Any, truth: NDArray[Any], definition: Definition,
          method: Method | None) -> tuple[Method, Judged]:
    """The method whose probabilities, of halves that it was not fitted to, have the lower Brier score."""
    tried: list[Method] = [method] if method else ["platt", "isotonic"] if len(truth) >= _MANY else ["platt"]
    judged = {one: _judged(definition, truth, _crossed(fitted, rows, truth, one)) for one in tried}
    best = min(judged, key=lambda one: judged[one].brier)
    return best, judged[best]


def _crossed(fitted: Any, rows: Any, truth: NDArray[Any], method: Method) -> NDArray[Any]:
    """Probabilities of each half by a function fitted to the other; every other row, so that both span all times."""
    halves = np.arange(0, len(truth), 2), np.arange(1, len(truth), 2)
    scores = np.zeros((len(truth), len(fitted.classes_)))
    for ours, theirs in (halves, halves[::-1]):
        made = _calibrated(fitted, _taken(rows, theirs), truth[theirs], method)
        scores[np.ix_(ours, np.searchsorted(fitted.classes_, made.classes_))] = made.predict_proba(_taken(rows, ours))
    return scores


def _taken(rows: Any, places: NDArray[np.int64]) -> Any:
    if hasattr(rows, "iloc"):
        return rows.iloc[places]
    return [rows[place] for place in places] if isinstance(rows, list) else rows[places]


def _calibrated(fitted: Any, rows: Any, truth: NDArray[Any], method: Method) -> Any:
    """scikit-learn's own calibrated classifier around the fitted one, which is not fitted again."""
    from sklearn.calibration import CalibratedClassifierCV

    how = "sigmoid" if method == "platt" else method
    try:
        from sklearn.frozen import FrozenEstimator
    except ImportError:  # before scikit-learn 1.6
        return CalibratedClassifierCV(fitted, method=how, cv="prefit").fit(rows, truth)
    made = CalibratedClassifierCV(FrozenEstimator(fitted), method=how, ensemble=False).fit(rows, truth)
    for one in made.calibrated_classifiers_:
        one.estimator = fitted  # it is fitted now, and converters to ONNX know nothing of frozen ones
    return made


def _judged(definition: Definition, truth: NDArray[Any], scores: NDArray[Any]) -> Judged:
    answers = np.asarray(definition.labels, object)[scores.argmax(1)]
    sums = definition.sums(Outcomes(truth, answers, scores))
    errors = [calibration.error for calibration in classwise(sums) if calibration is not None]
    return Judged(max(errors), float(definition.measure(sums)["brier"].value or 0.0))
