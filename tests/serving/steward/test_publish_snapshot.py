"""The snapshot follows the store, says that it is there, and never goes back."""

from __future__ import annotations

import time

from serinus.serving.rollout import controller
from serinus.serving.snapshot import read_snapshot
from serinus.serving.steward.job import Shared
from serinus.serving.steward.publish_snapshot import PublishSnapshot
from tests.serving.steward.hosts import PLAN, host, lose_store, serve, shared, start

__all__ = ["host"]


def test_a_change_is_published(host: Shared) -> None:
    """Whoever made it: the command line, another steward."""
    job = PublishSnapshot()
    job.run(host)
    controller.start(host.store, "wine", "2", "d2", PLAN, "ana", now=time.time())
    job.run(host)
    assert read_snapshot(host.home.snapshot).records == host.store.records()


def test_an_unchanged_store_is_confirmed_once_a_second(host: Shared) -> None:
    """The file's age tells workers that the store is there; it is not rewritten ten times a second for it."""
    job = PublishSnapshot()
    job.run(host)
    first = read_snapshot(host.home.snapshot)
    job.run(host)
    assert read_snapshot(host.home.snapshot).confirmed_ns == first.confirmed_ns
    job._last = job._last._replace(confirmed_ns=job._last.confirmed_ns - 2_000_000_000)
    job.run(host)
    assert read_snapshot(host.home.snapshot).confirmed_ns > first.confirmed_ns


def test_a_snapshot_never_goes_back(host: Shared) -> None:
    """Neither to an older record nor to one that is missing."""
    start(host)
    known = read_snapshot(host.home.snapshot)
    host.forget_store()
    lose_store(host.home)
    PublishSnapshot().run(host)
    assert read_snapshot(host.home.snapshot) == known
    controller.set_stable(host.store, "wine", "1", "d1", "ana", now=time.time())
    PublishSnapshot().run(host)
    assert read_snapshot(host.home.snapshot) == known


def test_the_first_snapshot_is_written(tmp_path_factory) -> None:
    """Where there was none."""
    new = shared(tmp_path_factory.mktemp("new"))
    serve(new)
    new.home.snapshot.unlink()
    PublishSnapshot().run(new)
    assert set(read_snapshot(new.home.snapshot).records) == {"wine"}
