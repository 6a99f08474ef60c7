"""Job: hold the lease that lets one of several stewards do the work that needs doing once."""

from __future__ import annotations

from serinus.serving.steward.job import Shared
from serinus.serving.store import STEWARD_LEASE

_TTL_S = 15.0


class HoldLease:
    """Renews it every five seconds, or takes it over when its holder is gone."""

    name = "hold_lease"
    period_s = 5.0

    def run(self, shared: Shared) -> None:
        """See `Job.run`."""
        shared.lease = shared.store.acquire_lease(STEWARD_LEASE, shared.holder, _TTL_S)
