"""Job: write what the store says for the workers to follow, changed or not: its age tells that the store is there."""

from __future__ import annotations

from serinus.serving.snapshot import NO_SNAPSHOT
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
        self._last = shared.publish() or self._last
