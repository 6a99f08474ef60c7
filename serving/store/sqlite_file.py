"""One SQLite file that is noticed when it goes away: opening, transactions, outages.

SQLite keeps writing happily into a file that was deleted or replaced under it. So before each transaction, and after
each commit, the file under the path is compared with the one that was opened: a missing file is an outage, another
file is opened anew.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from serinus.serving.store.errors import StoreError, StoreUnavailable
from serinus.serving.store.file_system import network_file_system
from serinus.serving.store.sqlite_schema import FORMAT, MIGRATIONS, SCHEMA

_Inode = tuple[int, int] | None
_RETRY_S = 0.02
_FORKED: list[sqlite3.Connection] = []
"""Connections inherited over a fork: closing one would touch files that the parent still uses."""

_REMEDIES = {
    sqlite3.SQLITE_BUSY: "another process kept it locked for longer than {timeout:g} s; try again",
    sqlite3.SQLITE_FULL: "the disk is full; free some space",
    sqlite3.SQLITE_READONLY: "it cannot be written; check its owner, permissions and disk",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened; check its folder, owner and permissions",
    sqlite3.SQLITE_NOTADB: "it is not a SQLite file; move it away or restore it from a copy",
    sqlite3.SQLITE_CORRUPT: "it is damaged; restore it from a copy",
}


class SqliteFile:
    """Transactions on a store's file, from any thread; `busy_timeout_s` is how long to wait for other processes.

    With `create` a missing file, its folder and an empty file's tables are made, now and never again. Raises
    StoreUnavailable.
    """

    def __init__(self, path: Path, *, create: bool, busy_timeout_s: float) -> None:
        self.path = Path(path).absolute()
        self._timeout = busy_timeout_s
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._identity: tuple[_Inode, _Inode] = (None, None)
        self._pid = os.getpid()
        self._closed = False
        if create:
            self._create()
        with self.reading():
            pass

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A transaction that sees one state of the store and changes nothing."""
        with self._lock, self._transaction("BEGIN") as connection:
            yield connection

    @contextmanager
    def writing(self, *, durable: bool = False) -> Iterator[sqlite3.Connection]:
        """A transaction that keeps all or nothing: over the death of the process; `durable`, over a power cut."""
        with self._lock, self._transaction("BEGIN IMMEDIATE", "FULL" if durable else "NORMAL") as connection:
            yield connection

    def scrub(self) -> None:
        """Write the whole file anew and empty the write-ahead log: SQLite leaves deleted rows in both."""
        with self._lock:
            try:
                connection = self._current()
                connection.execute("VACUUM")
                deadline = time.monotonic() + self._timeout
                while connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:
                    if time.monotonic() > deadline:
                        raise StoreUnavailable(f"The store {self.path} is being read, so deleted rows are still in its "
                                               "files. Try again.")
                    time.sleep(_RETRY_S)
            except sqlite3.Error as error:
                self._drop()
                raise self._explain(error) from error

    def close(self) -> None:
        """Let go of the file for good."""
        with self._lock:
            self._closed = True
            self._drop()

    @contextmanager
    def _transaction(self, begin: str, synchronous: str = "NORMAL") -> Iterator[sqlite3.Connection]:
        try:
            connection = self._current()
            connection.execute(f"PRAGMA synchronous = {synchronous}")
            connection.execute(begin)
            yield connection
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            self._drop()
            raise self._explain(error) from error
        except BaseException:
            self._roll_back()
            raise
        self._recheck()

    def _current(self) -> sqlite3.Connection:
        if self._closed:
            raise StoreError(f"The store {self.path} was closed. Open it anew.")
        self._notice_fork()
        if self._connection is not None and (found := self._look()) != self._identity:
            self._refuse_mixture(found)
            self._drop()
        if self._connection is None:
            self._open()
        assert self._connection is not None
        return self._connection

    def _open(self) -> None:
        before = _inode(self.path)
        if before is None:
            raise StoreUnavailable(f"The store {self.path} is missing. Restore it, or let a server make a new one.")
        self._refuse_network()
        self._connection = self._connect()
        self._check_format(self._connection)
        self._migrate(self._connection)
        self._use_wal(self._connection)
        self._identity = self._look()
        if self._identity[0] != before:
            self._drop()
            raise StoreUnavailable(f"The store {self.path} was replaced while it was being opened. Try again.")

    def _connect(self) -> sqlite3.Connection:
        uri = f"{self.path.as_uri()}?mode=rw"
        return sqlite3.connect(uri, uri=True, timeout=self._timeout, isolation_level=None, check_same_thread=False)

    def _check_format(self, connection: sqlite3.Connection) -> None:
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        read_format = "SELECT value FROM meta WHERE key = 'format'"
        found = connection.execute(read_format).fetchone() if "meta" in tables else None
        if found is None:
            self._drop()
            raise StoreUnavailable(f"{self.path} is not a store of Serinus: it has no format. Give another path.")
        if found[0] != FORMAT and found[0] not in MIGRATIONS:
            self._drop()
            raise StoreUnavailable(
                f"The store {self.path} has format {found[0]}, this release reads formats up to {FORMAT}. "
                "Use the release that wrote it, or a newer one."
            )

    def _migrate(self, connection: sqlite3.Connection) -> None:
        """An older store is brought up to date by whoever opens it first; the others find it done."""
        read_format = "SELECT value FROM meta WHERE key = 'format'"
        while connection.execute(read_format).fetchone()[0] in MIGRATIONS:
            connection.execute("BEGIN IMMEDIATE")
            for statement in MIGRATIONS.get(connection.execute(read_format).fetchone()[0], ()):
                connection.execute(statement)
            connection.execute("COMMIT")

    def _use_wal(self, connection: sqlite3.Connection) -> None:
        """Readers and the writer do not wait for each other. SQLite answers busy at once here, so we wait."""
        deadline = time.monotonic() + self._timeout
        while True:
            try:
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute("SELECT count(*) FROM sqlite_master").fetchone()  # makes the -wal file
                return
            except sqlite3.OperationalError as error:
                if _code(error) != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                    raise
                time.sleep(_RETRY_S)

    def _create(self) -> None:
        try:
            self._refuse_network()
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._make_file()
            connection = self._connect()
            try:
                self._make_tables(connection)
            finally:
                connection.close()
        except sqlite3.Error as error:
            raise self._explain(error) from error
        except OSError as error:
            raise StoreUnavailable(f"The store {self.path} cannot be made: {error.strerror}.") from error

    def _make_file(self) -> None:
        """Companions left by a removed store would be taken for the new one's; the lock keeps fresh ones safe."""
        folder = os.open(self.path.parent, os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            if not self.path.exists():
                for suffix in ("-wal", "-shm", "-journal"):
                    self._beside(suffix).unlink(missing_ok=True)
                os.close(os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600))
        finally:
            os.close(folder)

    def _make_tables(self, connection: sqlite3.Connection) -> None:
        """Only in an empty database, and by one process: the others find it done."""
        if connection.execute("SELECT count(*) FROM sqlite_master").fetchone() != (0,):
            return
        self._use_wal(connection)
        connection.execute("BEGIN IMMEDIATE")
        if connection.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,):
            for statement in SCHEMA:
                connection.execute(statement)
        connection.execute("COMMIT")

    def _refuse_network(self) -> None:
        if kind := network_file_system(self.path):
            raise StoreUnavailable(
                f"The store {self.path} lies on a network file system ({kind}), where SQLite loses data. "
                "Give a path on a local disk."
            )

    def _look(self) -> tuple[_Inode, _Inode]:
        """What lies under the path now; with the -wal file, whose loss would lose commits just as silently."""
        return _inode(self.path), _inode(self._beside("-wal"))

    def _beside(self, suffix: str) -> Path:
        return self.path.with_name(self.path.name + suffix)

    def _refuse_mixture(self, found: tuple[_Inode, _Inode]) -> None:
        """A -wal file knows not whose it is: SQLite would write the old store's pages into the new one."""
        (old, old_wal), (new, new_wal) = self._identity, found
        if new is not None and new != old and new_wal is not None and new_wal == old_wal:
            name = self.path.name
            raise StoreUnavailable(
                f"The store {self.path} was replaced, but {name}-wal beside it belongs to the old file. "
                f"Remove {name}-wal and {name}-shm."
            )

    def _recheck(self) -> None:
        if self._identity != self._look():
            self._drop()
            raise StoreUnavailable(f"The store {self.path} was removed or replaced during a transaction. Try again.")

    def _notice_fork(self) -> None:
        if self._pid != os.getpid():
            if self._connection is not None:
                _FORKED.append(self._connection)
            self._connection, self._pid = None, os.getpid()

    def _roll_back(self) -> None:
        if self._connection is not None and self._connection.in_transaction:
            with suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")
            if self._connection.in_transaction:
                self._drop()

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(sqlite3.Error):
                connection.close()

    def _explain(self, error: sqlite3.Error) -> StoreError:
        if isinstance(error, sqlite3.IntegrityError | sqlite3.ProgrammingError | sqlite3.InterfaceError):
            return StoreError(f"The store {self.path} refused a value: {error}.")
        remedy = _REMEDIES.get(_code(error), f"{error}; run `serinus doctor`").format(timeout=self._timeout)
        return StoreUnavailable(f"The store {self.path} is out of reach: {remedy}.")


def _inode(path: Path) -> _Inode:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _code(error: sqlite3.Error) -> int:
    """The primary result code; 0 when the error did not come from SQLite itself."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF
