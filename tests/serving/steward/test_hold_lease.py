"""One steward of all that share a store holds the lease."""

from __future__ import annotations

from serinus.serving.steward.hold_lease import HoldLease
from serinus.serving.steward.job import Shared
from tests.serving.steward.hosts import host, shared

__all__ = ["host"]


def test_the_lease_is_held_and_renewed(host: Shared) -> None:
    """Under one epoch; a second steward gets none until the first lets go."""
    other = shared(host.settings.home)
    other.holder = "steward-2"
    for _ in range(2):
        HoldLease().run(host)
        HoldLease().run(other)
        assert host.lease is not None and host.lease.epoch == 1
        assert other.lease is None
    host.store.release_lease(host.lease)
    HoldLease().run(other)
    assert other.lease is not None and other.lease.epoch == 2
    HoldLease().run(host)
    assert host.lease is None
