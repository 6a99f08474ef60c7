"""A store that lost records gets them back from the last-known-good snapshot, and nobody's weight goes up by it."""

from __future__ import annotations

import shutil
import time

import pytest

from serinus.serving.rollout import Phase, controller
from serinus.serving.snapshot import read_snapshot
from serinus.serving.steward.job import Shared
from serinus.serving.steward.publish_snapshot import PublishSnapshot
from serinus.serving.steward.restore_records import RestoreRecords, without_candidate
from tests.serving.steward.hosts import host, lose_store, start

__all__ = ["host"]


def test_a_deleted_store_gets_its_record_back(host: Shared, caplog: pytest.LogCaptureFixture) -> None:
    """Ahead of what the workers follow, stable alone, and the journal says what happened."""
    known = start(host)
    host.forget_store()
    lose_store(host.home)
    RestoreRecords().run(host)
    found = host.store.record("wine")
    assert found is not None
    assert (found.generation, found.stable, found.candidate, found.weight) == (known.generation + 1, "1", None, 0)
    assert (found.phase, found.stable_digest, found.salt) == (Phase.ROLLED_BACK, "d1", known.salt)
    (entry,) = host.store.journal("wine")
    assert (entry.kind, entry.generation, entry.actor) == ("restored", found.generation, "steward-1")
    assert "The store has lost records of wine (generation 0, workers follow 2)" in caplog.text


def test_an_older_store_gets_the_newer_record(host: Shared) -> None:
    """Somebody put a copy back: its record is replaced, its journal goes on."""
    host.forget_store()
    copy = host.home.store.with_name("copy.db")
    shutil.copy(host.home.store, copy)
    start(host)
    controller.promote(host.store, "wine", "ana", now=time.time(), force=True)
    host.publish()
    host.forget_store()
    lose_store(host.home)
    copy.rename(host.home.store)
    before = host.store.record("wine")
    assert before is not None and (before.generation, before.stable) == (1, "1")
    RestoreRecords().run(host)
    found = host.store.record("wine")
    assert found is not None
    assert (found.generation, found.stable, found.previous_stable, found.phase) == (4, "2", "1", Phase.PROMOTED)
    assert [entry.kind for entry in host.store.journal("wine")][-1] == "restored"


def test_a_restored_record_reaches_the_workers(host: Shared) -> None:
    """Publishing before the restoration would have gone back; after it, it goes on."""
    start(host)
    host.forget_store()
    lose_store(host.home)
    published = read_snapshot(host.home.snapshot)
    PublishSnapshot().run(host)
    assert read_snapshot(host.home.snapshot) == published
    RestoreRecords().run(host)
    PublishSnapshot().run(host)
    assert read_snapshot(host.home.snapshot).records["wine"].generation == 3


def test_a_store_that_knows_as_much_is_left_alone(host: Shared) -> None:
    """Nor one that knows more."""
    start(host)
    RestoreRecords().run(host)
    assert len(host.store.journal("wine")) == 2
    controller.pause(host.store, "wine", "ana", now=time.time())
    RestoreRecords().run(host)
    found = host.store.record("wine")
    assert found is not None and found.phase is Phase.HOLD


def test_twice_is_once(host: Shared) -> None:
    """Until the snapshot is written anew, the job has nothing more to do."""
    start(host)
    host.forget_store()
    lose_store(host.home)
    job = RestoreRecords()
    job.run(host)
    job.run(host)
    assert len(host.store.journal("wine")) == 1


def test_without_candidate_keeps_what_is_not_on_trial(host: Shared) -> None:
    """A record at rest stays in its phase."""
    resting = host.store.record("wine")
    assert resting is not None
    safe = without_candidate(resting)
    assert (safe.phase, safe.stable, safe.generation) == (resting.phase, "1", resting.generation + 1)
