"""The store: opens, has the format that this release reads, takes and gives back what it is given, and who leads."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Iterator

from serinus.serving.doctor.check import Check, counted, ok, problem, warning
from serinus.serving.errors import SerinusError
from serinus.serving.home import Home
from serinus.serving.store import STEWARD_LEASE, Document, Lease, SqliteStore, Store, StoreError

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
            took_s = _round_trip(store)
        finally:
            store.close()
    except SerinusError as error:
        return problem("store", str(error))
    running = [name for name, record in records.items() if record.candidate is not None]
    rollouts = f"; on trial: {', '.join(running)}" if running else ""
    return ok("store", f"{home.store} opens, keeps what it is given ({took_s * 1000:.0f} ms there and back) and holds "
                       f"{counted(len(records), 'record')}{rollouts}; {_leader(lease)}.")


def _round_trip(store: Store) -> float:
    """Put a document there, get it back, remove it; the seconds it took. Raises `StoreError`."""
    began, now = time.perf_counter(), time.time()
    put = Document("doctor", f"{os.getpid()}-{secrets.token_hex(8)}", 1, secrets.token_bytes(64), now)
    store.put_document(put, expected_revision=0)
    got = store.document(put.kind, put.key)
    store.delete_document(put.kind, put.key, expected_revision=1)
    if got is None or got.body != put.body:
        raise StoreError("The store gave back something else than it was given.")
    return time.perf_counter() - began


def _leader(lease: Lease | None) -> str:
    if lease is None or not lease.holder or lease.expires < time.time():
        return "no steward leads now"
    return f"the steward {lease.holder} leads"
