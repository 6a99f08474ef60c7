"""The store: shared state behind one interface, with one page per implementation."""

from serinus.serving.store.errors import Conflict, Fenced, LeaseLost, StoreError, StoreUnavailable
from serinus.serving.store.sqlite import SqliteStore
from serinus.serving.store.store import CounterTuple, Store
from serinus.serving.store.values import (
    STEWARD_LEASE,
    CounterKey,
    CounterRow,
    Document,
    GroundTruth,
    JournalEntry,
    Lease,
    Tick,
)

__all__ = [
    "STEWARD_LEASE",
    "Conflict",
    "CounterKey",
    "CounterRow",
    "CounterTuple",
    "Document",
    "Fenced",
    "GroundTruth",
    "JournalEntry",
    "Lease",
    "LeaseLost",
    "SqliteStore",
    "Store",
    "StoreError",
    "StoreUnavailable",
    "Tick",
]
