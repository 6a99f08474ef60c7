"""Job: write what the store says for the workers to follow, changed or not: its age tells that the store is there."""

from __future__ import annotations

from serinus.serving.snapshot import NO_SNAPSHOT, read_snapshot, write_snapshot
from serinus.serving.steward.job import Shared

_CONFIRM_S = 1.0


class PublishSnapshot:
    """Looks often (the command line may have changed the store), writes on a change or once a second."""

    name = "publish_snapshot"
    period_s = 0.1

    def __init__(self) -> None:
        self._last = NO_SNAPSHOT

    def run(self, shared: Shared) -> None:
        """See `Job.run`."""
        records = shared.store.records()
        if records == self._last.records and self._last.age_s() < _CONFIRM_S:
            return
        known = read_snapshot(shared.home.snapshot).records
        if all(name in records and records[name].generation >= record.generation for name, record in known.items()):
            self._last = write_snapshot(shared.home.snapshot, records)
        # else `restore_records` puts the store right first: a snapshot never goes back
