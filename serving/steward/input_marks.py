"""What both arms' monitors had counted when a rollout's present step began: the inputs since then are compared.

The marks lie in the store, so another steward compares the same stretch of time.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import orjson

from serinus.monitors.counts import Counts
from serinus.monitors.profile import Profile
from serinus.serving.references import profile_bytes
from serinus.serving.rollout.evidence import Evidence
from serinus.serving.rollout.input_mix import ArmInputs, differences
from serinus.serving.rollout.state import RolloutRecord
from serinus.serving.steward.job import Shared
from serinus.serving.steward.judge_drift import STATE
from serinus.serving.store import Conflict, Document
from serinus.serving.stream import Stream

__all__ = ["MARK", "InputMarks"]

MARK = "rollout.inputs"
"""Kind of the documents with the marks of a model's latest step."""
_FORMAT = 1


class InputMarks:
    """The marks of all rollouts. `differ` says nothing where the monitors cannot tell."""

    def __init__(self) -> None:
        self._marked: dict[str, str] = {}

    def note(self, shared: Shared, record: RolloutRecord, now: float) -> None:
        """Mark the beginning of a step, once."""
        if not record.weight or self._marked.get(record.model) == record.step_id:
            return
        known = shared.store.document(MARK, record.model)
        if known is None or orjson.loads(known.body)["step_id"] != record.step_id:
            arms = {version: None if (found := _counted(shared, record.model, version)) is None
                    else {"digest": found[0], "counts": found[1].to_json()}
                    for version in _versions(record)}
            body = orjson.dumps({"format": _FORMAT, "step_id": record.step_id, "arms": arms})
            revision = known.revision if known else 0
            with suppress(Conflict):  # another steward was faster, and its mark is as good
                shared.store.put_document(Document(MARK, record.model, revision + 1, body, now),
                                          expected_revision=revision)
        self._marked[record.model] = record.step_id

    def differ(self, shared: Shared, record: RolloutRecord, evidence: Evidence) -> str:
        """How the arms' inputs differ since the step began, as a sentence; empty where they do not."""
        document = shared.store.document(MARK, record.model)
        mark = None if document is None else orjson.loads(document.body)
        if mark is None or mark["step_id"] != record.step_id:
            return ""
        windows = evidence.windows
        units = sum(window.candidate for window in windows), sum(window.stable for window in windows)
        candidate, stable = (self._since(shared, record.model, version, mark["arms"].get(version), number)
                             for version, number in zip(_versions(record), units, strict=True))
        return differences(candidate, stable) if candidate is not None and stable is not None else ""

    def _since(self, shared: Shared, model: str, version: str, before: dict[str, Any] | None,
               units: int) -> ArmInputs | None:
        found = _counted(shared, model, version)
        if found is None or (before is not None and before["digest"] != found[0]):
            return None
        digest, total = found
        counts = total if before is None else total - Counts.from_json(before["counts"])
        data = profile_bytes(shared.store, shared.registry, model, digest)
        if data is None or counts.rows <= 0 or (counts.table < 0).any():  # its evidence began anew meanwhile
            return None
        return ArmInputs(Profile.from_bytes(data), counts.table, units)


def _versions(record: RolloutRecord) -> tuple[str, str]:
    return str(record.candidate), str(record.stable)


def _counted(shared: Shared, model: str, version: str) -> tuple[str, Counts] | None:
    document = shared.store.document(STATE, f"{model}:{version}")
    return None if document is None else Stream.counted(document.body)
