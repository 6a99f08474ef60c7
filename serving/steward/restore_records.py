"""Job: bring back what the store has lost, from the last-known-good snapshot.

A store that was deleted or put back from an old copy knows less than the workers already obeyed. Its record is
replaced by theirs, with the candidate taken off: weight goes up only by a decision, never by an accident.
"""

from __future__ import annotations

import dataclasses
import logging
import time

from serinus.serving.rollout.state import Phase, RolloutRecord
from serinus.serving.snapshot import read_snapshot
from serinus.serving.steward.job import Shared
from serinus.serving.store import JournalEntry

_log = logging.getLogger("serinus.steward")
_REASON = "the store knew less than the workers"


class RestoreRecords:
    """Compares generations; an older one in the store has been lost."""

    name = "restore_records"
    period_s = 0.2

    def run(self, shared: Shared) -> None:
        """See `Job.run`."""
        known = read_snapshot(shared.home.snapshot).records
        for model, record in known.items():
            stored = shared.store.record(model)
            generation = stored.generation if stored is not None else 0
            if generation < record.generation:
                _log.error("The store has lost records of %s (generation %d, workers follow %d): restored from the "
                           "last-known-good snapshot, without a candidate.", model, generation, record.generation)
                safe = without_candidate(record)
                entry = JournalEntry(model, "restored", time.time(), safe.generation, shared.holder, _REASON, {})
                shared.store.swap(safe, expected_generation=generation, journal=[entry])


def without_candidate(record: RolloutRecord) -> RolloutRecord:
    """The next record after `record`, with stable alone answering."""
    return dataclasses.replace(
        record, generation=record.generation + 1, phase=Phase.ROLLED_BACK if record.running else record.phase,
        weight=0, shadow_weight=0, step_id="", candidate=None, candidate_digest=None, actor="serinus",
        reason=_REASON, updated=time.time())
