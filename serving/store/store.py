"""The store's interface: everything that stewards, commands and replicas share, on one page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol, runtime_checkable

from serinus.serving.rollout.state import RolloutRecord
from serinus.serving.store.values import CounterKey, CounterRow, Document, GroundTruth, JournalEntry, Lease, Tick

CounterTuple = CounterRow | tuple[int, str, str, str, str]
"""A CounterRow, or its five values in order."""


@runtime_checkable
class Store(Protocol):
    """Where shared state lives: rollout records, journal, lease, ticks, counters, documents and the ground-truth
    index.

    Every method may be called from any thread and from many processes at once, blocks until done, and raises
    StoreUnavailable when the store is out of reach. A method that raises another error has changed nothing.
    Everything but the lease, the record and documents may be repeated without harm, so lost answers are simply asked
    again.
    """

    def record(self, model: str) -> RolloutRecord | None:
        """The model's rollout record, or None when no event has been accepted yet."""
        ...

    def records(self) -> dict[str, RolloutRecord]:
        """All rollout records by model name."""
        ...

    def swap(
        self,
        new: RolloutRecord,
        *,
        expected_generation: int,
        journal: Sequence[JournalEntry],
        epoch: int | None = None,
    ) -> None:
        """Replace a record and append its journal entries, both or neither, if nobody did in between.

        `expected_generation` is that of the record the decision was made on, 0 when there was none; `new` carries
        a later one (the next, unless it restores what a store has lost), and at least one entry. With `epoch`, that
        of the writer's STEWARD_LEASE, an old one is refused. Once it returns, the record survives a power cut.
        Raises Conflict, Fenced, and ValueError for arguments that break these rules.
        """
        ...

    def journal(self, model: str, *, after: int = 0, limit: int = 1000) -> list[JournalEntry]:
        """The model's journal in order, at most `limit` entries, beginning behind the one with `seq` `after`."""
        ...

    def append(self, entry: JournalEntry) -> JournalEntry:
        """Add a journal entry that comes with no change of a record; the answer carries its `seq`."""
        ...

    def acquire_lease(self, name: str, holder: str, ttl_s: float, now: float | None = None) -> Lease | None:
        """Take or renew the lease for `ttl_s` seconds; None while another holder has it.

        Renewing keeps the epoch, a take-over raises it by one. Expiry is judged by the store's own clock; `now` is
        for tests. A clock that jumps can make two holders believe they lead. That wastes work and breaks nothing,
        because `swap` refuses the older epoch.
        """
        ...

    def release_lease(self, lease: Lease) -> None:
        """Let another holder take over at once. Raises LeaseLost when that has happened already."""
        ...

    def add_tick(self, tick: Tick) -> bool:
        """Keep a tick; False when it was there, or its interval has been pruned."""
        ...

    def ticks(self, after_interval: int = -1, *, limit: int = 10_000) -> list[Tick]:
        """Ticks of intervals later than `after_interval`, by interval, incarnation and sequence.

        At most `limit`, but never part of an interval: the last interval begun is given whole.
        """
        ...

    def prune_ticks(self, before: int) -> int:
        """Forget ticks of intervals earlier than `before` for good; answers how many there were."""
        ...

    def upsert_counters(self, rollout_id: str, step_id: str, rows: Mapping[CounterTuple, int]) -> None:
        """Raise cumulative counts, all or none; a smaller count than the one kept changes nothing."""
        ...

    def counters(self, rollout_id: str) -> dict[CounterKey, int]:
        """The rollout's counts, summed over worker incarnations."""
        ...

    def document(self, kind: str, key: str) -> Document | None:
        """The document of that name, or None."""
        ...

    def documents(self, kind: str) -> list[Document]:
        """All documents of a kind, by key."""
        ...

    def put_document(self, document: Document, *, expected_revision: int, epoch: int | None = None) -> None:
        """Keep a document if nobody changed it in between.

        `expected_revision` is that of the document it was made from, 0 when there was none; `document` carries a later
        one. With `epoch`, that of the writer's STEWARD_LEASE, an old one is refused. Raises Conflict, Fenced, and
        ValueError for a revision that is not later.
        """
        ...

    def delete_document(self, kind: str, key: str, *, expected_revision: int) -> None:
        """Forget a document if it is still at that revision. Raises Conflict when it is not, or is gone."""
        ...

    def add_ground_truths(
        self, rows: Iterable[GroundTruth], *, document: Document | None = None, expected_revision: int = 0,
        forget: Iterable[str] = ()
    ) -> int:
        """Keep many outcomes, all or none; answers how many were new.

        What was there already (everything but times of receipt, weight and copies alike) is counted in its `copies`;
        the earliest receipt and the largest weight hold. With `document`, that is put as `put_document` does, with the
        outcomes or not at all: who notes there how far they have read adds nothing twice. So is all forgotten that is
        known of the ids in `forget`. Raises Conflict.
        """
        ...

    def ground_truth(self, prediction_ids: Iterable[str]) -> dict[str, list[GroundTruth]]:
        """What is known of these predictions, each in order of receipt; predictions without any are left out."""
        ...

    def ground_truth_between(self, first: str, end: str) -> list[GroundTruth]:
        """What is known of the predictions from id `first` to before id `end`, by id and in order of receipt."""
        ...

    def forget_ground_truth(self, prediction_ids: Iterable[str]) -> int:
        """Forget all outcomes of these predictions; answers how many there were."""
        ...

    def scrub(self) -> None:
        """Leave nothing of what was forgotten in any file; takes a while where there is much."""
        ...

    def check(self) -> None:
        """Return when the store can be read and its format is known, else raise StoreUnavailable."""
        ...

    def close(self) -> None:
        """Let go of the store; calling it twice is fine."""
        ...
