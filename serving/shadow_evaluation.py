"""A candidate judged on what its shadow answered: pairs of the prediction log, with the ground truth that came.

The same paired tests as the evaluation gate's, of rows that were really asked, before any caller met the candidate. A
caller's rows are drawn together. Who looks again when more truths have come looks more than once, so each look widens
the intervals.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from serinus.models.registry import Registry
from serinus.models.version import ModelVersion
from serinus.monitors.errors import InvalidData
from serinus.monitors.evaluation.calibration import check_calibration
from serinus.monitors.evaluation.card import bill_of_materials, model_card
from serinus.monitors.evaluation.check import Check, Status
from serinus.monitors.evaluation.compare import compare
from serinus.monitors.evaluation.fairness import check_fairness
from serinus.monitors.evaluation.gate import Evaluated, Gate, judge
from serinus.monitors.evaluation.policy import CHECKS, Policy
from serinus.monitors.evaluation.slices import check_slices
from serinus.monitors.evaluation.trial import Trial, classes_of, prediction_field, read_answers, read_truth
from serinus.monitors.record import PredictionRecord
from serinus.monitors.worth import Worth
from serinus.serving.errors import CommandError
from serinus.serving.evaluation import BAD_INPUT, Judged, look, take_down
from serinus.serving.expectations import expectations_of
from serinus.serving.ground_truth.final import final_truths
from serinus.serving.home import Home
from serinus.serving.ids import prediction_id
from serinus.serving.prediction_log import Choice, entries
from serinus.serving.prediction_log.frame import FrameError
from serinus.serving.replay import latest
from serinus.serving.store import SqliteStore, Store

__all__ = ["NAME", "AskedOfShadow", "evaluate_shadow"]

NAME = "shadow"
"""What `--against` says for it."""

_MOST_REQUESTS = 50_000
_NOTHING = 3
"""The exit code where there is nothing to decide by yet."""
_CHECKS = {"metrics": compare, "calibration": check_calibration, "slices": check_slices, "fairness": check_fairness}

Array = NDArray[Any]


@dataclass(frozen=True)
class AskedOfShadow:
    """What is to be judged.

    Attributes:
        tag: the version.
        policy: what is asked for.
        approver: who answers for letting it pass.
        by: who runs the evaluation.
    """

    tag: str
    policy: Policy = field(default_factory=Policy)
    approver: str = ""
    by: str = ""


class _Pair(NamedTuple):
    """Answers to one request: the shadow's and stable's."""

    mine: PredictionRecord
    theirs: PredictionRecord


class _Rows(NamedTuple):
    """Rows of pairs: their prediction ids, whose they are, and what was asked and answered."""

    ids: Array
    callers: Array
    inputs: Mapping[str, Array]
    mine: Mapping[str, Array]
    theirs: Mapping[str, Array]


def evaluate_shadow(asked: AskedOfShadow, home: Home) -> Judged:
    """Judge a version by its shadow's pairs, and take the verdict down in the model's journal. It is not kept as the
    version's evaluation: less is looked at.

    Raises CommandError with exit code 3 where no pair has a ground truth yet, 2 where truths do not fit the version.
    """
    registry = Registry(home.path)
    version = registry.get(*registry.resolve(asked.tag))
    store = SqliteStore(home.store, create=True)
    try:
        gate = _judged(asked, home, registry, version, store)
        judged = Judged(gate, model_card(gate, version), bill_of_materials(gate, version))
        take_down(judged.gate, store, version, asked.policy, asked.approver, asked.by)
        return judged
    except InvalidData as error:
        raise CommandError(f"The ground truth of {version.tag}: {error}", BAD_INPUT) from None
    finally:
        store.close()


def _judged(asked: AskedOfShadow, home: Home, registry: Registry, version: ModelVersion, store: Store) -> Gate:
    pairs = _pairs(home, version)
    other = _other(registry, version, pairs, store)
    rows = _rows([pair for pair in pairs if pair.theirs.version == other.version], version, other)
    truths = final_truths(store, rows.ids.tolist())
    known = np.array([name in truths for name in rows.ids.tolist()], bool)
    if not known.any():
        raise CommandError(f"The shadow of {version.tag} answered {len(rows.ids):,} rows that {other.tag} answered, "
                           "too, and no final ground truth has come for any of them. Send some: serinus feedback",
                           _NOTHING)
    truth = np.array([truths[name] for name in rows.ids[known].tolist()], object)
    digest = _digest(rows.ids[known], truth)
    trial = _trial(rows, known, truth, version, other, registry, asked.policy.worth)
    trial = replace(trial, looks=look(store, f"{version.name}:{NAME}:{version.digest}", digest))
    evaluated = Evaluated(version.name, version.version, other.tag, "its shadow's pairs", digest, trial.rows,
                          int((~known).sum()), "ground truth", datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"))
    policy = replace(asked.policy, required=tuple(name for name in asked.policy.required if name in _CHECKS))
    return judge(evaluated, [_check(name, trial, policy) for name in CHECKS], policy, trial.classes)


def _check(name: str, trial: Trial, policy: Policy) -> Check:
    if name not in _CHECKS:
        return Check(name, Status.NOT_RUN, "A shadow's pairs do not tell; --data does.")
    return _CHECKS[name](trial, policy)


def _pairs(home: Home, version: ModelVersion) -> list[_Pair]:
    """What the shadow answered lately, beside what callers got; in the order of time."""
    copies = {record.prediction_uuid: record for record in latest(home.shadow_log, version.name, _MOST_REQUESTS)
              if record.version == version.version}
    if not copies:
        raise CommandError(f"The log in {home.shadow_log} has no answer of {version.tag}: has it been a shadow of this "
                           "home's server? Give --data FILE --target COLUMN.", _NOTHING)
    since = min(record.received_ns for record in copies.values())
    found = []
    for entry in entries(home.log):
        try:
            if entry.last_ns >= since:
                found += [_Pair(copies[record.prediction_uuid], record)
                          for record in entry.records(Choice(version.name, since_ns=since))
                          if record.prediction_uuid in copies and record.version != version.version]
        except (FrameError, OSError):
            continue
    return sorted(found, key=lambda pair: pair.mine.received_ns)


def _other(registry: Registry, version: ModelVersion, pairs: Sequence[_Pair], store: Store) -> ModelVersion:
    """The version to hold it against: stable, or that of most pairs where stable has none."""
    counts = Counter(pair.theirs.version for pair in pairs)
    if not counts:
        raise CommandError(f"What {version.tag} answered as a shadow has no answer of another version beside it in the "
                           "log any more.", _NOTHING)
    record = store.record(version.name)
    stable = record.stable if record is not None else None
    return registry.get(version.name, stable if stable in counts else counts.most_common(1)[0][0])


def _rows(pairs: Sequence[_Pair], version: ModelVersion, other: ModelVersion) -> _Rows:
    """Rows of the pairs in which both gave a prediction."""
    names = prediction_field(version.signature).name, prediction_field(other.signature).name
    both = [pair for pair in pairs if names[0] in pair.mine.outputs and names[1] in pair.theirs.outputs
            and pair.mine.rows == pair.theirs.rows]
    mine = [pair.mine for pair in both]
    ids = [prediction_id(record.prediction_uuid, row) for record in mine for row in range(record.rows)]
    callers = [record.routing_key_hash for record in mine for _ in range(record.rows)]
    return _Rows(np.array(ids, object), np.array(callers, np.uint64), _joined([record.inputs for record in mine]),
                 _joined([record.outputs for record in mine]), _joined([pair.theirs.outputs for pair in both]))


def _joined(parts: Sequence[Mapping[str, Array]]) -> dict[str, Array]:
    """What all of them have, in one array each."""
    names = [name for name in (parts[0] if parts else ())
             if all(name in part and part[name].shape[1:] == parts[0][name].shape[1:] for part in parts)]
    return {name: np.concatenate([part[name] for part in parts]) for name in names}


def _trial(rows: _Rows, known: Array, truth: Array, version: ModelVersion, other: ModelVersion,
           registry: Registry, worth: Worth) -> Trial:
    inputs, mine, theirs = ({name: array[known] for name, array in side.items()}
                            for side in (rows.inputs, rows.mine, rows.theirs))
    classes = classes_of(version.signature, truth, worth)
    personal = frozenset(expectations_of(version, registry).personal)
    columns = {name: array for name, array in inputs.items() if array.ndim == 1 and name not in personal}
    return Trial(inputs, read_truth(truth, classes), classes, read_answers(version.signature, mine, classes),
                 read_answers(other.signature, theirs, classes), other.tag, False, columns, rows.ids[known],
                 _groups(rows.callers[known]), personal=personal, worth=worth)


def _groups(callers: Array) -> Array | None:
    """Whose each row is; None where every row stands alone. Who has no routing key is somebody else each time."""
    if len(np.unique(callers[callers > 0])) == int((callers > 0).sum()):
        return None
    return np.array([f"caller {key}" if key else f"row {place}" for place, key in enumerate(callers.tolist())], object)


def _digest(ids: Array, truth: Array) -> str:
    text = "\n".join(f"{name} {value!r}" for name, value in zip(ids.tolist(), truth.tolist(), strict=True))
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"
