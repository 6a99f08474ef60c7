"""What a job is, and what jobs share."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from serinus.models.registry import Registry
from serinus.serving.home import Home, RunFolder
from serinus.serving.settings import Settings
from serinus.serving.snapshot import Snapshot, is_behind, publish_snapshot, read_snapshot
from serinus.serving.store import Lease, SqliteStore, Store

__all__ = ["Job", "Shared"]


@dataclass
class Shared:
    """What the jobs of one steward work with. Used under the steward's lock only."""

    settings: Settings
    run: RunFolder
    registry: Registry
    holder: str
    """This steward's name in leases and journal."""
    lease: Lease | None = None
    """Held by one of all stewards that share the store; saves work, never decides correctness."""
    truths_forgotten: bool = False
    """Somebody was erased, so what jobs remember of ground truth is to be read anew."""
    rows_forgotten: bool = False
    """Likewise, of rows that references are being learnt from."""
    _store: Store | None = field(default=None, repr=False)

    @property
    def home(self) -> Home:
        """The folder of models, log, store and run files."""
        return Home(self.settings.home)

    @property
    def store(self) -> Store:
        """The store; raises `StoreUnavailable` while it is out of reach."""
        if self._store is None:
            self._store = self.open_store(self.home.store)
        return self._store

    def open_store(self, path: Path) -> Store:
        """Open the store. It is made anew where there was none; what was in one that is lost, `restore_records`
        brings back from the last-known-good snapshot."""
        return SqliteStore(path, create=True)

    def forget_store(self) -> None:
        """Close the store, to open it again when it is next wanted."""
        if self._store is not None:
            store, self._store = self._store, None
            store.close()

    def is_behind(self) -> bool:
        """Whether the store knows less than the workers; nothing is decided on it until `restore_records` was there."""
        return is_behind(self.store.records(), read_snapshot(self.home.snapshot).records)

    def publish(self) -> Snapshot | None:
        """Let the workers follow what the store says now; None when it knows less than they: they never go back."""
        return publish_snapshot(self.home.snapshot, self.store.records())


class Job(Protocol):
    """One small piece of the steward's work."""

    name: str
    period_s: float

    def run(self, shared: Shared) -> None:
        """Do the work once, in little time. May raise; the steward logs it and goes on."""
