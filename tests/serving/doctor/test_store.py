"""A store that is damaged, gone or of another format, and who leads."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path

import pytest

from serinus.serving.doctor.check import Check
from serinus.serving.doctor.store import look_at_store
from serinus.serving.home import Home
from serinus.serving.store import STEWARD_LEASE, SqliteStore
from tests.serving.store.contract import put, record


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


def look(home: Home) -> Check:
    (found,) = look_at_store(home)
    return found


def test_no_store_yet_is_in_order(home: Home) -> None:
    """And looking makes none."""
    assert look(home).state == "ok" and not home.store.exists()


def test_a_lost_store_is_a_warning(home: Home) -> None:
    """A snapshot says that there was one."""
    home.run.mkdir(parents=True)
    home.snapshot.write_text("{}")
    assert look(home).state == "warning" and "is gone" in look(home).says


def test_who_leads_is_told(home: Home) -> None:
    """Until the lease is over."""
    store = SqliteStore(home.store, create=True)
    put(store, record())
    assert re.fullmatch(rf"{home.store} opens, keeps what it is given \(\d+ ms there and back\) and holds 1 record; "
                        r"no steward leads now\.", look(home).says)
    store.acquire_lease(STEWARD_LEASE, "host-17", 15.0)
    assert look(home).says.endswith("; the steward host-17 leads.")
    store.acquire_lease(STEWARD_LEASE, "host-17", 15.0, now=1.0)
    assert look(home).says.endswith("; no steward leads now.")


def test_what_it_was_tried_with_is_gone(home: Home) -> None:
    """The store is as it was, but for a counter of its own."""
    store = SqliteStore(home.store, create=True)
    assert look(home).state == "ok" and store.documents("doctor") == []
    store.close()


def test_a_store_that_cannot_be_written_to_is_a_problem(home: Home) -> None:
    """Though it can be read."""
    SqliteStore(home.store, create=True).close()
    with sqlite3.connect(home.store) as connection:
        connection.execute("CREATE TRIGGER full BEFORE INSERT ON document BEGIN SELECT RAISE(FAIL, 'disk full'); END")
    assert look(home).state == "problem" and "disk full" in look(home).says


def test_a_damaged_store_is_a_problem(home: Home) -> None:
    """In the store's own sentence."""
    home.path.mkdir()
    home.store.write_bytes(b"not a database at all" * 100)
    assert look(home).state == "problem" and "is not a SQLite file" in look(home).says


def test_another_releases_store_is_a_problem(home: Home) -> None:
    """It is left as it is."""
    SqliteStore(home.store, create=True).close()
    with sqlite3.connect(home.store) as connection:
        connection.execute("UPDATE meta SET value = '99' WHERE key = 'format'")
    assert look(home).state == "problem" and "has format 99" in look(home).says


def test_a_store_in_use_is_a_problem_soon(home: Home) -> None:
    """Somebody who holds it exclusively is not waited for."""
    SqliteStore(home.store, create=True).close()
    connection = sqlite3.connect(home.store, isolation_level=None)
    connection.execute("PRAGMA locking_mode = EXCLUSIVE")
    connection.execute("BEGIN EXCLUSIVE")
    connection.execute("UPDATE meta SET value = value")
    assert look(home).state == "problem" and "locked" in look(home).says
    connection.close()
