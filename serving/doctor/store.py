"""The store: opens, has the format that this release reads, and who leads."""

from __future__ import annotations

import time
from collections.abc import Iterator

from serinus.serving.doctor.check import Check, counted, ok, problem, warning
from serinus.serving.errors import SerinusError
from serinus.serving.home import Home
from serinus.serving.store import STEWARD_LEASE, Lease, SqliteStore

__all__ = ["look_at_store"]

_PATIENCE_S = 2.0


def look_at_store(home: Home) -> Iterator[Check]:
    """One line; a store that was lost after a server had run here is a warning, for it is made anew."""
    if not home.store.exists() and home.snapshot.exists():
        yield warning("store", f"{home.store} is gone, though a server has run here.",
                      "Restore it from a copy; else the next server makes it from the last records its workers knew, "
                      "without their journal.")
    elif not home.store.exists():
        yield ok("store", "Not made yet: the first server does.")
    else:
        yield _opened(home)


def _opened(home: Home) -> Check:
    try:
        store = SqliteStore(home.store, create=False, busy_timeout_s=_PATIENCE_S)
        try:
            records, lease = store.records(), store.lease(STEWARD_LEASE)
        finally:
            store.close()
    except SerinusError as error:
        return problem("store", str(error))
    running = [name for name, record in records.items() if record.candidate is not None]
    rollouts = f"; on trial: {', '.join(running)}" if running else ""
    return ok("store", f"{home.store} opens and holds {counted(len(records), 'record')}{rollouts}; {_leader(lease)}.")


def _leader(lease: Lease | None) -> str:
    if lease is None or not lease.holder or lease.expires < time.time():
        return "no steward leads now"
    return f"the steward {lease.holder} leads"
