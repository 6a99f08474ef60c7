"""A rollback has ended when every living worker says that it follows it."""

from __future__ import annotations

import time

import pytest

from serinus.serving.rollout import Phase, controller
from serinus.serving.snapshot import read_snapshot
from serinus.serving.steward.acknowledge_rollbacks import AcknowledgeRollbacks
from serinus.serving.steward.hold_lease import HoldLease
from serinus.serving.steward.job import Shared
from serinus.serving.store import Fenced
from tests.serving.steward.hosts import host, start, worker

__all__ = ["host"]


def rolling_back(host: Shared) -> int:
    start(host)
    record = controller.roll_back(host.store, "wine", "ana", now=time.time()).record
    host.publish()
    assert record.phase is Phase.ROLLING_BACK
    return record.generation


def phase(host: Shared) -> Phase:
    record = host.store.record("wine")
    assert record is not None
    return record.phase


def test_it_waits_for_the_last_worker(host: Shared) -> None:
    """One that is behind holds it up; a dead one does not."""
    generation = rolling_back(host)
    worker(host, generation)
    behind, dead = worker(host, generation - 1), worker(host, 0)
    dead.close()
    AcknowledgeRollbacks().run(host)
    assert phase(host) is Phase.ROLLING_BACK
    behind.beat(ready=True, generation=generation)
    AcknowledgeRollbacks().run(host)
    assert phase(host) is Phase.ROLLED_BACK
    assert read_snapshot(host.home.snapshot).records["wine"].phase is Phase.ROLLED_BACK


def test_without_workers_nobody_has_the_candidate(host: Shared) -> None:
    """So there is nobody to wait for."""
    rolling_back(host)
    AcknowledgeRollbacks().run(host)
    assert phase(host) is Phase.ROLLED_BACK


def test_a_rollout_that_runs_is_left_alone(host: Shared) -> None:
    """Whatever the workers say."""
    worker(host, 99)
    start(host)
    AcknowledgeRollbacks().run(host)
    assert phase(host) is Phase.CANARY


def test_the_leader_signs_with_its_epoch(host: Shared) -> None:
    """One that has lost the lease changes nothing."""
    HoldLease().run(host)
    assert host.lease is not None and host.lease.epoch == 1
    rolling_back(host)
    host.store.release_lease(host.lease)
    assert host.store.acquire_lease("steward", "another", 60) is not None
    with pytest.raises(Fenced):
        AcknowledgeRollbacks().run(host)
    assert phase(host) is Phase.ROLLING_BACK
