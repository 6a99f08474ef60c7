"""Job: end a rollback when every live worker has confirmed that its candidate gets nothing."""

from __future__ import annotations

import time

from serinus.serving.rollback import live_boards
from serinus.serving.rollout import controller
from serinus.serving.rollout.state import Phase
from serinus.serving.snapshot import read_snapshot
from serinus.serving.steward.job import Shared


class AcknowledgeRollbacks:
    """Compares what the boards say they follow with the snapshot."""

    name = "acknowledge_rollbacks"
    period_s = 0.2

    def run(self, shared: Shared) -> None:
        """See `Job.run`."""
        snapshot = read_snapshot(shared.home.snapshot)
        waiting = [record for record in snapshot.records.values() if record.phase is Phase.ROLLING_BACK]
        if waiting and all(board.generation >= snapshot.generation for board in live_boards(shared.home)):
            for record in waiting:
                controller.acknowledge(shared.store, record.model, record.generation, shared.holder, now=time.time(),
                                       epoch=shared.lease.epoch if shared.lease else None)
            shared.publish()
