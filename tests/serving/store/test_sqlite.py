"""The SQLite store keeps the contract, and notices when its file goes away."""

from __future__ import annotations

import functools
import os
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from serinus.serving.rollout import FormatUnknown, Phase, Plan
from serinus.serving.store import Document, SqliteStore, StoreError, StoreUnavailable, Tick
from tests.serving.store.contract import Opener, StoreContract, put, record

FIXTURES = Path(__file__).with_name("fixtures")


class TestContract(StoreContract):
    """The contract on SQLite files."""

    @pytest.fixture
    def opener(self, path: Path) -> Opener:
        SqliteStore(path, create=True).close()
        return functools.partial(SqliteStore, path, create=False)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "odd ?#% näme" / "store.db"


def test_a_lease_can_be_looked_at(path: Path) -> None:
    """By anybody, without taking it; after a release nobody holds it."""
    store = SqliteStore(path, create=True)
    assert store.lease("l") is None
    lease = store.acquire_lease("l", "a", 15, now=100.0)
    assert lease is not None and SqliteStore(path, create=False).lease("l") == lease
    store.release_lease(lease)
    assert store.lease("l") == replace(lease, holder="")


def test_create_makes_a_private_file(path: Path) -> None:
    """Only the owner reads the store and enters its folder."""
    SqliteStore(path, create=True)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_nothing_is_created_unasked(path: Path) -> None:
    """Without `create` a missing store is an error, and the disk is left as it was."""
    with pytest.raises(StoreUnavailable, match="missing"):
        SqliteStore(path, create=False)
    assert not path.parent.exists()


def test_create_keeps_what_is_there(path: Path) -> None:
    """Creating an existing store opens it."""
    put(SqliteStore(path, create=True), record(1))
    assert SqliteStore(path, create=True).record("m") == record(1)


def _remove(path: Path) -> None:
    for name in ("", "-wal", "-shm"):
        path.with_name(path.name + name).unlink(missing_ok=True)


def _move_away(path: Path) -> None:
    path.rename(path.with_name("away.db"))


@pytest.mark.parametrize("lose", [_remove, _move_away])
def test_a_lost_file_is_an_outage(path: Path, lose: Callable[[Path], None]) -> None:
    """No write goes into a file that nobody can find, and none makes a new one."""
    store = SqliteStore(path, create=True)
    put(store, record(1))
    lose(path)
    for _ in range(2):
        with pytest.raises(StoreUnavailable, match="missing"):
            put(store, record(2))
        with pytest.raises(StoreUnavailable, match="missing"):
            store.records()
        with pytest.raises(StoreUnavailable, match="missing"):
            store.check()
    assert not path.exists()


def test_a_file_that_is_back_is_used_again(path: Path) -> None:
    """The same store object works on after the outage, with all that was confirmed before it."""
    store = SqliteStore(path, create=True)
    put(store, record(1))
    _move_away(path)
    with pytest.raises(StoreUnavailable):
        store.records()
    path.with_name("away.db").rename(path)
    assert store.record("m") == record(1)
    put(store, record(2))


def test_a_replaced_file_is_opened_anew(path: Path) -> None:
    """After a restore from a copy, what the copy says holds, and writes reach it."""
    store = SqliteStore(path, create=True)
    put(store, record(1))
    other = SqliteStore(path.with_name("copy.db"), create=True)
    put(other, record(1, stable="7"))
    other.close()
    _remove(path)
    path.with_name("copy.db").rename(path)
    found = store.record("m")
    assert found is not None and found.stable == "7"
    put(store, record(2))
    assert SqliteStore(path, create=False).record("m") == record(2)


def test_a_file_lost_during_a_transaction_is_reported(path: Path) -> None:
    """A commit that may have gone into a lost file is not called a success."""
    store = SqliteStore(path, create=True)
    with pytest.raises(StoreUnavailable), store._file.writing() as connection:
        connection.execute("INSERT INTO tick VALUES ('w', 1, 1, '{}')")
        _remove(path)


def test_a_lost_write_ahead_log_loses_nothing(path: Path) -> None:
    """Removing only the -wal file is noticed in time to bring its commits into the main file."""
    store = SqliteStore(path, create=True)
    put(store, record(1))
    path.with_name("store.db-wal").unlink()
    put(store, record(2))
    assert SqliteStore(path, create=False).record("m") == record(2)


def test_a_restored_file_beside_an_old_log_is_refused(path: Path) -> None:
    """A copy put in place while the old -wal file lies there would be corrupted by it; the sentence says what to do."""
    store = SqliteStore(path, create=True)
    put(store, record(1))
    other = SqliteStore(path.with_name("copy.db"), create=True)
    put(other, record(1, stable="7"))
    other.close()
    path.with_name("copy.db").rename(path)
    for _ in range(2):
        with pytest.raises(StoreUnavailable, match=r"Remove store\.db-wal and store\.db-shm"):
            store.records()
    for suffix in ("-wal", "-shm"):
        path.with_name(f"store.db{suffix}").unlink()
    found = store.record("m")
    assert found is not None and found.stable == "7"


def test_a_new_store_does_not_inherit_an_old_log(path: Path) -> None:
    """Only the main file was removed, and somebody still has it open: the new store is empty and sound."""
    old = SqliteStore(path, create=True)
    put(old, record(1))
    path.unlink()
    new = SqliteStore(path, create=True)
    assert new.records() == {}
    put(new, record(1, stable="5"))
    found = old.record("m")
    assert found is not None and found.stable == "5"
    assert sqlite3.connect(path).execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_locked_store_gives_up_in_time(path: Path) -> None:
    """Another process's endless transaction is an outage for writers; readers go on."""
    store = SqliteStore(path, create=True, busy_timeout_s=0.1)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailable, match=r"longer than 0\.1 s"):
        put(store, record(1))
    assert store.records() == {}
    other.execute("ROLLBACK")
    put(store, record(1))


def test_a_full_disk_is_an_outage(path: Path) -> None:
    """A transaction that finds no room changes nothing; with room again the store works."""
    store = SqliteStore(path, create=True)
    put(store, record(1))
    with store._file.reading() as connection:
        connection.execute("PRAGMA max_page_count = 1")
    with pytest.raises(StoreUnavailable, match="disk is full"):
        put(store, record(2, reason="x" * 1_000_000))
    assert store.record("m") == record(1)
    put(store, record(2))


def test_an_unknown_format_is_refused(path: Path) -> None:
    """A newer release's store is not touched."""
    SqliteStore(path, create=True).close()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE meta SET value = '99' WHERE key = 'format'")
    for create in (False, True):
        with pytest.raises(StoreUnavailable, match="format 99, this release reads formats up to 3"):
            SqliteStore(path, create=create)


def test_a_record_of_an_unknown_format_is_refused(path: Path) -> None:
    """A record that a newer release wrote is not guessed at."""
    store = SqliteStore(path, create=True)
    put(store, record(1))
    with store._file.writing() as connection:
        connection.execute("""UPDATE rollout SET body = replace(body, '"format":1', '"format":3')""")
    with pytest.raises(FormatUnknown):
        store.record("m")


@pytest.mark.parametrize("content", [b"", b"hello, this is no database at all" * 100])
def test_another_file_is_refused(tmp_path: Path, content: bytes) -> None:
    """A file that is not a store stays as it is."""
    other = tmp_path / "other"
    other.write_bytes(content)
    with pytest.raises(StoreUnavailable):
        SqliteStore(other, create=False)
    assert other.read_bytes() == content


def test_another_database_is_refused(tmp_path: Path) -> None:
    """Someone else's SQLite database gets no tables of ours."""
    other = tmp_path / "other.db"
    with sqlite3.connect(other) as connection:
        connection.execute("CREATE TABLE theirs (x)")
    before = other.read_bytes()
    with pytest.raises(StoreUnavailable, match="not a store of Serinus"):
        SqliteStore(other, create=True)
    assert other.read_bytes() == before


def test_a_folder_that_cannot_be_made_is_an_outage(tmp_path: Path) -> None:
    """A path below a file is named in the sentence."""
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreUnavailable, match="cannot be made"):
        SqliteStore(tmp_path / "file" / "store.db", create=True)


def test_the_journal_cannot_be_rewritten(path: Path) -> None:
    """Even by hand, entries are neither changed nor deleted."""
    store = SqliteStore(path, create=True)
    put(store, record(1))
    for statement in ("DELETE FROM journal", "UPDATE journal SET actor = 'nobody'"):
        with pytest.raises(StoreError, match="append-only"), store._file.writing() as connection:
            connection.execute(statement)
    assert len(store.journal("m")) == 1


def test_a_network_file_system_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite's locks do not hold there, so the sentence asks for a local path and nothing is made."""
    mounts = "22 1 0:21 / / rw - ext4 /dev/root rw\n" f"23 22 0:30 / {path.parents[1]} rw - nfs4 host:/ rw\n"
    monkeypatch.setattr("serinus.serving.store.file_system._read_mounts", lambda: mounts)
    with pytest.raises(StoreUnavailable, match=r"network file system \(nfs4\)"):
        SqliteStore(path, create=True)
    assert not path.parent.exists()


def test_a_forked_child_uses_a_connection_of_its_own(path: Path) -> None:
    """SQLite connections do not cross a fork; the store opens another."""
    store = SqliteStore(path, create=True)
    child = os.fork()
    if child == 0:
        os._exit(0 if store.add_tick(Tick("child", 1, 1, {})) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert [tick.incarnation for tick in store.ticks()] == ["child"]


def _store_of_format_1(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.executescript((FIXTURES / "format_1.sql").read_text())
    connection.close()


def test_a_store_of_format_1_becomes_one_of_format_3(tmp_path: Path) -> None:
    """Whoever opens an older store brings it up to date, others find it so, and documents work in it."""
    path = tmp_path / "store.db"
    _store_of_format_1(path)
    stores = [SqliteStore(path, create=False) for _ in range(2)]
    document = Document("state", "a", 1, b"x", 1.0)
    stores[0].put_document(document, expected_revision=0)
    assert stores[1].documents("state") == [document]
    with stores[0]._file.reading() as connection:
        assert connection.execute("SELECT value FROM meta WHERE key = 'format'").fetchone() == ("3",)
    fresh = SqliteStore(tmp_path / "fresh.db", create=True)
    assert _tables(stores[0]) == _tables(fresh)


def _tables(store: SqliteStore) -> dict[str, str]:
    with store._file.reading() as connection:
        return dict(connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'table' AND sql NOT NULL"))


def test_a_store_of_format_1_opens(tmp_path: Path) -> None:
    """What the first release wrote is read by this one, and goes on."""
    _store_of_format_1(tmp_path / "store.db")
    store = SqliteStore(tmp_path / "store.db", create=False)
    found = store.record("wine")
    assert found is not None
    assert (found.phase, found.stable, found.previous_stable, found.generation) == (Phase.PROMOTED, "2", "1", 4)
    assert found.plan == Plan((500, 5000))
    assert [row.kind for row in store.journal("wine")] == ["set_stable", "start", "step", "promote"]
    assert sum(store.counters(found.rollout_id).values()) == 7
    assert len(store.ticks()) == 1
    assert store.ground_truth(["p-0"])["p-0"][0].value == "red"
    store.acquire_lease("steward", "next", 15)
