"""The store of one machine: one SQLite file, shared by the steward and the commands."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import islice
from operator import itemgetter
from pathlib import Path
from typing import Any, NoReturn

from serinus.serving.rollout.state import RolloutRecord, canonical_json
from serinus.serving.store.errors import Conflict, Fenced, LeaseLost
from serinus.serving.store.sqlite_file import SqliteFile
from serinus.serving.store.store import CounterTuple
from serinus.serving.store.values import STEWARD_LEASE, CounterKey, Document, GroundTruth, JournalEntry, Lease, Tick

_IDS_PER_QUERY = 500
_NOW = "SELECT (julianday('now') - 2440587.5) * 86400.0"


class SqliteStore:
    """A Store in the SQLite file at `path`, on a local disk.

    With `create` a missing file and its folder are made; without, nothing ever is. `busy_timeout_s` is how long to
    wait for another process's transaction, in seconds. A file that goes away is reported by every method until it is
    back, and then used again. Raises StoreUnavailable.
    """

    def __init__(self, path: Path, *, create: bool, busy_timeout_s: float = 5.0) -> None:
        self._file = SqliteFile(path, create=create, busy_timeout_s=busy_timeout_s)

    @property
    def path(self) -> Path:
        """Where the file lies."""
        return self._file.path

    def record(self, model: str) -> RolloutRecord | None:
        """See Store."""
        with self._file.reading() as connection:
            row = connection.execute("SELECT body FROM rollout WHERE model = ?", (model,)).fetchone()
        return RolloutRecord.from_json(row[0]) if row else None

    def records(self) -> dict[str, RolloutRecord]:
        """See Store."""
        with self._file.reading() as connection:
            rows = connection.execute("SELECT model, body FROM rollout ORDER BY model").fetchall()
        return {model: RolloutRecord.from_json(body) for model, body in rows}

    def swap(
        self,
        new: RolloutRecord,
        *,
        expected_generation: int,
        journal: Sequence[JournalEntry],
        epoch: int | None = None,
    ) -> None:
        """See Store."""
        _check_swap(new, expected_generation, journal)
        rows = [_journal_row(entry) for entry in journal]
        values = {"model": new.model, "generation": new.generation, "body": new.to_json()}
        with self._file.writing(durable=True) as connection:
            _check_epoch(connection, epoch)
            _check_generation(connection, new.model, expected_generation)
            connection.execute("INSERT OR REPLACE INTO rollout VALUES (:model, :generation, :body)", values)
            connection.executemany(_INSERT_JOURNAL, rows)

    def journal(self, model: str, *, after: int = 0, limit: int = 1000) -> list[JournalEntry]:
        """See Store."""
        query = (
            "SELECT model, kind, time, generation, actor, reason, body, seq FROM journal "
            "WHERE model = ? AND seq > ? ORDER BY seq LIMIT ?"
        )
        with self._file.reading() as connection:
            rows = connection.execute(query, (model, after, limit)).fetchall()
        return [_journal_entry(row) for row in rows]

    def append(self, entry: JournalEntry) -> JournalEntry:
        """See Store."""
        row = _journal_row(entry)
        with self._file.writing(durable=True) as connection:
            seq = connection.execute(_INSERT_JOURNAL, row).lastrowid
        return replace(entry, seq=seq)

    def acquire_lease(self, name: str, holder: str, ttl_s: float, now: float | None = None) -> Lease | None:
        """See Store. All holders are on this machine, so its clock is the store's."""
        if not holder or not ttl_s > 0:
            raise ValueError(f"A lease needs a holder and more than 0 s, got {holder!r} and {ttl_s}.")
        with self._file.writing() as connection:
            time = connection.execute(_NOW).fetchone()[0] if now is None else now
            row = connection.execute("SELECT holder, epoch, expires, ttl FROM lease WHERE name = ?", (name,)).fetchone()
            epoch = _next_epoch(row, holder, time)
            if epoch is None:
                return None
            lease = Lease(name, holder, epoch, time + ttl_s)
            row = (name, holder, epoch, lease.expires, ttl_s)
            connection.execute("INSERT OR REPLACE INTO lease VALUES (?, ?, ?, ?, ?)", row)
        return lease

    def lease(self, name: str) -> Lease | None:
        """The lease as it was last taken, over or not; None where nobody ever took it. `holder` is empty after a
        release."""
        with self._file.reading() as connection:
            row = connection.execute("SELECT holder, epoch, expires FROM lease WHERE name = ?", (name,)).fetchone()
        return Lease(name, *row) if row else None

    def release_lease(self, lease: Lease) -> None:
        """See Store. The row stays, so that the next epoch is higher."""
        release = "UPDATE lease SET holder = '' WHERE name = ? AND holder = ? AND epoch = ?"
        with self._file.writing() as connection:
            if connection.execute(release, (lease.name, lease.holder, lease.epoch)).rowcount != 1:
                raise LeaseLost(f"Lease '{lease.name}' of '{lease.holder}', epoch {lease.epoch}, is no longer its own.")

    def add_tick(self, tick: Tick) -> bool:
        """See Store."""
        insert = (
            "INSERT INTO tick SELECT ?1, ?2, ?3, ?4 WHERE ?3 >= (SELECT CAST(value AS INTEGER) FROM meta "
            "WHERE key = 'ticks_from') ON CONFLICT DO NOTHING"
        )
        row = (tick.incarnation, tick.sequence, tick.interval, canonical_json(dict(tick.body)))
        with self._file.writing() as connection:
            return connection.execute(insert, row).rowcount == 1

    def ticks(self, after_interval: int = -1, *, limit: int = 10_000) -> list[Tick]:
        """See Store."""
        query = (
            "SELECT incarnation, sequence, interval, body FROM tick WHERE interval > :after AND interval <= coalesce("
            "(SELECT interval FROM tick WHERE interval > :after ORDER BY interval LIMIT 1 OFFSET :limit - 1), "
            "9223372036854775807) ORDER BY interval, incarnation, sequence"
        )
        with self._file.reading() as connection:
            rows = connection.execute(query, {"after": after_interval, "limit": max(1, limit)}).fetchall()
        return [Tick(incarnation, number, interval, json.loads(body)) for incarnation, number, interval, body in rows]

    def prune_ticks(self, before: int) -> int:
        """See Store. The limit is remembered, so that a late retry does not bring a tick back."""
        remember = "UPDATE meta SET value = max(CAST(value AS INTEGER), ?) || '' WHERE key = 'ticks_from'"
        with self._file.writing() as connection:
            connection.execute(remember, (before,))
            return connection.execute("DELETE FROM tick WHERE interval < ?", (before,)).rowcount

    def upsert_counters(self, rollout_id: str, step_id: str, rows: Mapping[CounterTuple, int]) -> None:
        """See Store."""
        upsert = (
            "INSERT INTO counter VALUES (?, ?, ?, ?, ?, ?, ?, ?) "
            "ON CONFLICT DO UPDATE SET value = excluded.value WHERE excluded.value > value"
        )
        with self._file.writing() as connection:
            connection.executemany(upsert, [(rollout_id, step_id, *key, value) for key, value in rows.items()])

    def counters(self, rollout_id: str) -> dict[CounterKey, int]:
        """See Store."""
        query = (
            'SELECT step_id, bucket, "check", slice, arm, sum(value) FROM counter WHERE rollout_id = ? '
            "GROUP BY 1, 2, 3, 4, 5 ORDER BY 1, 2, 3, 4, 5"
        )
        with self._file.reading() as connection:
            rows = connection.execute(query, (rollout_id,)).fetchall()
        return {CounterKey(*row[:5]): row[5] for row in rows}

    def document(self, kind: str, key: str) -> Document | None:
        """See Store."""
        query = "SELECT kind, key, revision, body, updated FROM document WHERE kind = ? AND key = ?"
        with self._file.reading() as connection:
            row = connection.execute(query, (kind, key)).fetchone()
        return Document(*row) if row else None

    def documents(self, kind: str) -> list[Document]:
        """See Store."""
        query = "SELECT kind, key, revision, body, updated FROM document WHERE kind = ? ORDER BY key"
        with self._file.reading() as connection:
            return [Document(*row) for row in connection.execute(query, (kind,))]

    def put_document(self, document: Document, *, expected_revision: int, epoch: int | None = None) -> None:
        """See Store."""
        with self._file.writing() as connection:
            _check_epoch(connection, epoch)
            _put_document(connection, document, expected_revision)

    def delete_document(self, kind: str, key: str, *, expected_revision: int) -> None:
        """See Store."""
        with self._file.writing() as connection:
            _check_revision(connection, kind, key, expected_revision)
            connection.execute("DELETE FROM document WHERE kind = ? AND key = ?", (kind, key))

    def add_ground_truths(
        self, rows: Iterable[GroundTruth], *, document: Document | None = None, expected_revision: int = 0,
        forget: Iterable[str] = ()
    ) -> int:
        """See Store."""
        values = [_ground_truth_row(row) for row in rows]
        insert = f"INSERT INTO ground_truth VALUES ({_marks(9)}) ON CONFLICT DO NOTHING"
        with self._file.writing() as connection:
            if document is not None:
                _put_document(connection, document, expected_revision)
            connection.executemany(_FORGET, [(prediction_id,) for prediction_id in forget])
            run = connection.execute
            known = [row for row in values if run(insert, row).rowcount == 0]
            connection.executemany(_COUNT_COPY, [(*row[6:], *row[:6]) for row in known])
        return len(values) - len(known)

    def ground_truth(self, prediction_ids: Iterable[str]) -> dict[str, list[GroundTruth]]:
        """See Store."""
        found: dict[str, list[GroundTruth]] = {}
        with self._file.reading() as connection:
            for ids in _chunks(prediction_ids):
                rows = connection.execute(f"{_SELECT_GROUND_TRUTH} WHERE prediction_id IN ({_marks(len(ids))})", ids)
                for row in _ground_truths(rows):
                    found.setdefault(row.prediction_id, []).append(row)
        return found

    def ground_truth_between(self, first: str, end: str) -> list[GroundTruth]:
        """See Store."""
        where = "WHERE prediction_id >= ? AND prediction_id < ?"
        with self._file.reading() as connection:
            rows = connection.execute(f"{_SELECT_GROUND_TRUTH} {where}", (first, end)).fetchall()
        return _ground_truths(rows)

    def forget_ground_truth(self, prediction_ids: Iterable[str]) -> int:
        """See Store."""
        ids = [(prediction_id,) for prediction_id in prediction_ids]
        with self._file.writing() as connection:
            return connection.executemany(_FORGET, ids).rowcount if ids else 0

    def scrub(self) -> None:
        """See Store."""
        self._file.scrub()

    def check(self) -> None:
        """See Store."""
        with self._file.reading() as connection:
            connection.execute("SELECT count(*) FROM meta").fetchone()

    def close(self) -> None:
        """See Store."""
        self._file.close()


_INSERT_JOURNAL = (
    "INSERT INTO journal (model, kind, time, generation, actor, reason, body) VALUES (?, ?, ?, ?, ?, ?, ?)"
)


def _check_swap(new: RolloutRecord, expected: int, journal: Sequence[JournalEntry]) -> None:
    if new.generation <= expected:  # it may jump: a record restored from a snapshot is ahead of what the store knew
        raise ValueError(f"A swap takes generation {expected} to a later one, got a record of {new.generation}.")
    if not journal or any(entry.model != new.model for entry in journal):
        raise ValueError(f"A swap of model '{new.model}' needs journal entries, all of that model.")


def _check_epoch(connection: sqlite3.Connection, epoch: int | None) -> None:
    if epoch is None:
        return
    row = connection.execute("SELECT holder, epoch FROM lease WHERE name = ?", (STEWARD_LEASE,)).fetchone()
    if row and row[1] > epoch:
        raise Fenced(f"Lease epoch {epoch} is over: '{row[0]}' leads with epoch {row[1]}. Stop leading.")


def _check_generation(connection: sqlite3.Connection, model: str, expected: int) -> None:
    row = connection.execute("SELECT generation FROM rollout WHERE model = ?", (model,)).fetchone()
    found = row[0] if row else 0
    if found != expected:
        _lose(model, expected, found)


def _lose(model: str, expected: int, found: int) -> NoReturn:
    raise Conflict(
        f"The rollout record of model '{model}' is at generation {found}, wanted {expected}. Read it and decide again.",
        expected=expected,
        found=found,
    )


def _check_revision(connection: sqlite3.Connection, kind: str, key: str, expected: int) -> None:
    query = "SELECT revision FROM document WHERE kind = ? AND key = ?"
    row = connection.execute(query, (kind, key)).fetchone()
    found = row[0] if row else 0
    if found != expected:
        raise Conflict(
            f"{_name(kind, key)} is at revision {found}, wanted {expected}. Read it and decide again.",
            expected=expected,
            found=found,
        )


def _put_document(connection: sqlite3.Connection, document: Document, expected_revision: int) -> None:
    if document.revision <= expected_revision:
        raise ValueError(
            f"A change takes revision {expected_revision} of {_name(document.kind, document.key)} to a later one, "
            f"got revision {document.revision}."
        )
    row = (document.kind, document.key, document.revision, bytes(document.body), float(document.updated))
    _check_revision(connection, document.kind, document.key, expected_revision)
    connection.execute("INSERT OR REPLACE INTO document VALUES (?, ?, ?, ?, ?)", row)


def _name(kind: str, key: str) -> str:
    return f"Document '{kind}/{key}'"


def _next_epoch(row: tuple[str, int, float, float] | None, holder: str, now: float) -> int | None:
    """A lease that would last longer than it was taken for means the clock was set back: it counts as over."""
    if row is None:
        return 1
    owner, epoch, expires, ttl = row
    if owner == holder:
        return epoch
    held = owner and expires - ttl <= now < expires
    return None if held else epoch + 1


def _journal_row(entry: JournalEntry) -> tuple[str, str, float, int, str, str, str]:
    body = canonical_json(dict(entry.body))
    return entry.model, entry.kind, float(entry.time), entry.generation, entry.actor, entry.reason, body


def _journal_entry(row: tuple[Any, ...]) -> JournalEntry:
    model, kind, time, generation, actor, reason, body, seq = row
    return JournalEntry(model, kind, time, generation, actor, reason, json.loads(body), seq)


_FORGET = "DELETE FROM ground_truth WHERE prediction_id = ?"
_COUNT_COPY = (
    "UPDATE ground_truth SET received_time = min(received_time, ?), weight = max(weight, ?), copies = copies + ? "
    "WHERE prediction_id = ? AND source = ? AND kind = ? AND name = ? AND value = ? AND event_time = ?"
)
_SELECT_GROUND_TRUTH = (
    "SELECT prediction_id, source, kind, value, event_time, received_time, name, weight, copies FROM ground_truth"
)


def _ground_truth_row(row: GroundTruth) -> tuple[Any, ...]:
    value = row.value
    text = _text(type(value).__name__, value) if isinstance(value, str | int | float) else canonical_json(value)
    return (row.prediction_id, row.source, row.kind, row.name, text, float(row.event_time), float(row.received_time),
            float(row.weight), row.copies)


@lru_cache(4096)
def _text(_: str, value: str | float) -> str:
    """Labels are few and come often. By type, too: 1, 1.0 and true are equal and have different texts."""
    return canonical_json(value)


@lru_cache(4096)
def _value(text: str) -> Any:
    return json.loads(text)


def _ground_truths(rows: Iterable[tuple[Any, ...]]) -> list[GroundTruth]:
    """By prediction id, and in order of receipt."""
    ordered = sorted(rows, key=_PLACE)
    return [GroundTruth(row[0], row[1], row[2], _value(row[3]) if row[3][0] not in "[{" else json.loads(row[3]),
                        *row[4:]) for row in ordered]


_PLACE = itemgetter(0, 5, 1, 2, 6, 3, 4)


def _marks(number: int) -> str:
    return ", ".join("?" * number)


def _chunks(ids: Iterable[str]) -> Iterator[list[str]]:
    """SQLite takes a limited number of parameters in one statement."""
    remaining = iter(dict.fromkeys(ids))
    while chunk := list(islice(remaining, _IDS_PER_QUERY)):
        yield chunk
