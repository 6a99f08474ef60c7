"""Job: before a candidate is promoted, say what a later rollback would break.

After a promotion callers write for the new version. What the old one could not answer then is told to the operator,
in the journal and by `serinus rollout explain`, while it is still easy to stay.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress

import orjson

from serinus.models.errors import ModelError
from serinus.models.signature import Field
from serinus.models.version import ModelVersion
from serinus.monitors.record import PredictionRecord
from serinus.serving.errors import InvalidInput, SerinusError
from serinus.serving.expectations import Guard, guard_of
from serinus.serving.prediction_log import Choice, entries
from serinus.serving.request import InferenceRequest
from serinus.serving.rollout import verdicts
from serinus.serving.rollout.state import FULL_WEIGHT, Phase, RolloutRecord
from serinus.serving.steward.job import Shared
from serinus.serving.store import Conflict, Document, JournalEntry

__all__ = ["TellReverse", "differences", "refusals"]

_log = logging.getLogger("serinus.steward")
_REQUESTS = 2_000
_BUDGET_S = 0.5
"""The steward has other things to do."""


class TellReverse:
    """By the steward that holds the lease, once in a rollout: when its last step has begun."""

    name = "tell_reverse"
    period_s = 2.0

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._told: set[str] = set()

    def run(self, shared: Shared) -> None:
        """See `Job.run`."""
        if shared.lease is None or shared.is_behind():
            return
        for record in shared.store.records().values():
            if _is_near_the_end(record) and record.rollout_id not in self._told:
                with suppress(Conflict, ModelError, SerinusError):  # the next turn tries again
                    self._tell(shared, record)

    def _tell(self, shared: Shared, record: RolloutRecord) -> None:
        known = shared.store.document(verdicts.REVERSE, record.model)
        if known is None or orjson.loads(known.body)["rollout_id"] != record.rollout_id:
            sentences = self._found(shared, record)
            now, revision = self._clock(), known.revision if known else 0
            body = orjson.dumps({"rollout_id": record.rollout_id, "sentences": sentences})
            shared.store.put_document(Document(verdicts.REVERSE, record.model, revision + 1, body, now),
                                      expected_revision=revision)
            text = " ".join(sentences) or f"A rollback to version {record.stable} would break nothing that is known of."
            shared.store.append(JournalEntry(record.model, "reverse", now, record.generation, shared.holder, "",
                                             {"text": text, "rollout_id": record.rollout_id}))
            if sentences:
                _log.warning("A rollback of %s after its promotion: %s", record.model, text)
        self._told.add(record.rollout_id)

    def _found(self, shared: Shared, record: RolloutRecord) -> list[str]:
        stable = shared.registry.get(record.model, str(record.stable))
        candidate = shared.registry.get(record.model, str(record.candidate))
        guard = guard_of(stable, shared.registry, shared.settings.validation.mode)
        return [*differences(stable, candidate), *refusals(stable, guard, _answered(shared, record))]


def differences(stable: ModelVersion, candidate: ModelVersion) -> list[str]:
    """What callers can ask of the candidate that stable does not know, by their signatures."""
    old, new = f"version {stable.version}", f"version {candidate.version}"
    fresh = {"Input": _names(candidate.signature.inputs) - _names(stable.signature.inputs),
             "Output": _names(candidate.signature.outputs) - _names(stable.signature.outputs)}
    found = [f"{side} {name!r} is known to {new} only: {old} leaves it out, or refuses who asks by name."
             for side, names in fresh.items() for name in sorted(names)]
    return found + [f"Seen from {new}, {old} differs: {sentence}"
                    for sentence in stable.signature.incompatibilities(candidate.signature)
                    if not any(f"{side} {name!r} " in sentence for side, names in fresh.items() for name in names)]


def refusals(stable: ModelVersion, guard: Guard | None, records: Iterable[PredictionRecord]) -> list[str]:
    """What stable would refuse, or remark upon, of requests that the candidate answered; no value is told."""
    wanted = [field.name for field in stable.signature.inputs if not field.optional]
    seen, refused, kinds = 0, 0, Counter[str]()
    for record in records:
        seen += 1
        missing = [name for name in wanted if name not in record.inputs]
        kinds.update(f"without {name!r}" for name in missing)
        counts, rejects = ({}, False) if guard is None or missing else _checked(guard, record)
        kinds.update(dict.fromkeys(counts, 1))
        refused += bool(missing) or rejects
    if not kinds:
        return []
    told = ", ".join(f"{kind} in {number:,}" for kind, number in kinds.most_common(5))
    return [f"Of {seen:,} requests that the candidate answered, version {stable.version} would refuse {refused:,} "
            f"({told})."]


def _checked(guard: Guard, record: PredictionRecord) -> tuple[dict[str, int], bool]:
    try:
        checked = guard.check(InferenceRequest(record.inputs, record.rows), record.inputs)
    except InvalidInput as error:
        return dict(error.counts or {}), True
    return dict(checked.counts or {}), False


def _answered(shared: Shared, record: RolloutRecord) -> Iterator[PredictionRecord]:
    """The latest requests that the candidate answered, as far as they are found in little time."""
    until, found = time.monotonic() + _BUDGET_S, 0
    wanted = Choice(record.model, record.candidate)
    for entry in sorted(entries(shared.home.log), key=lambda entry: entry.last_ns, reverse=True):
        for each in entry.records(wanted) if time.monotonic() < until else ():
            if each.role != "shadow":
                yield each
                found += 1
            if found >= _REQUESTS or time.monotonic() > until:
                return


def _is_near_the_end(record: RolloutRecord) -> bool:
    phase, plan = record.held or record.phase, record.plan
    if not record.running or plan is None:
        return False
    return phase is Phase.SOAK or (phase is Phase.CANARY and (record.step + 1 == len(plan.steps)
                                                             or record.weight >= FULL_WEIGHT // 2))


def _names(fields: Iterable[Field]) -> set[str]:
    return {field.name for field in fields}
