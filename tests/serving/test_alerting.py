"""Alerts in the store: conditions as they were said last, one book whoever writes it, messages in their order."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from serinus.monitors.alerts import AlertPolicy, Condition, Silence
from serinus.monitors.notifiers.testing import examples
from serinus.serving.alerting import (
    Waiting,
    change_book,
    conditions,
    count_message,
    enqueue,
    message_counts,
    read_book,
    report,
    waiting,
)
from serinus.serving.store import Fenced, SqliteStore

DRIFT = Condition("wine", "1", "drift", "alarm", True, "age moved.", {"rows": 4096, "share": 0.5}, ("age",))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    made = SqliteStore(tmp_path / "store.db", create=True)
    yield made
    made.close()


def test_a_condition_is_as_it_was_said_last(store: SqliteStore) -> None:
    """By each watcher of each kind of each version; for an hour."""
    report(store, DRIFT, 100.0)
    report(store, replace(DRIFT, active=False), 200.0)
    report(store, replace(DRIFT, version="2"), 200.0)
    report(store, DRIFT, 200.0, watcher="outputs")
    assert [(one.version, one.active) for one in conditions(store, 300.0)] == [("1", False), ("1", True), ("2", True)]
    assert conditions(store, 300.0)[1] == DRIFT
    assert conditions(store, 3800.0) == []


def test_an_old_leader_reports_nothing(store: SqliteStore) -> None:
    """Its lease has passed to another."""
    store.acquire_lease("steward", "one", 1.0, now=0.0)
    store.acquire_lease("steward", "two", 1.0, now=10.0)
    with pytest.raises(Fenced):
        report(store, DRIFT, 100.0, epoch=1)
    report(store, DRIFT, 100.0, epoch=2)


def test_no_change_of_the_book_is_lost(store: SqliteStore) -> None:
    """Many people at once, each through a connection of their own."""
    change_book(store, lambda book: book.evaluate([DRIFT], 0.0, AlertPolicy(for_seconds=0)))
    failed: list[BaseException] = []

    def add(name: str) -> None:
        mine = SqliteStore(store.path, create=False)
        try:
            for number in range(5):
                silence = Silence(f"{name}{number}", 0.0, 1.0, name)
                change_book(mine, lambda book, silence=silence: book.silenced(silence))
        except BaseException as error:
            failed.append(error)
        finally:
            mine.close()

    threads = [threading.Thread(target=add, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    book, revision = read_book(store)
    assert not failed and len(book.silences) == 20 and revision == 21 and len(book.alerts) == 1


def test_a_change_that_changes_nothing_is_not_written(store: SqliteStore) -> None:
    """A book is kept anew only where it differs."""
    change_book(store, lambda book: book.evaluate([DRIFT], 0.0, AlertPolicy()))
    change_book(store, lambda book: book.evaluate([DRIFT], 1.0, AlertPolicy()))
    assert read_book(store)[1] == 1


def test_messages_wait_in_their_order(store: SqliteStore) -> None:
    """By notifier and time, the tenth change after the ninth; one that is on its way is not put there again."""
    first = examples()[0]
    later = [replace(first, id=f"{first.alert}-{number}", at=first.at + 5) for number in (10, 9)]
    for message in (*later, first, first):
        enqueue(store, message, ["ops", "log"], 100.0, 60.0)
    found = [message.key for message, _ in waiting(store)]
    assert found == [f"{name}/{first.alert}-{number}" for name in ("log", "ops") for number in (2, 9, 10)]
    (message, revision), *_ = waiting(store)
    assert (message.deadline, message.due, revision) == (160.0, 100.0, 1) and message.notification == first
    assert Waiting.of(message.document(2, 0.0)) == message


def test_messages_are_counted(store: SqliteStore) -> None:
    """By notifier; those that wait too."""
    enqueue(store, examples()[0], ["ops"], 100.0, 60.0)
    for what in ("delivered", "failures", "failures"):
        count_message(store, "log", what)
    assert message_counts(store) == {
        "log": {"delivered": 1, "failures": 2, "given_up": 0, "waiting": 0},
        "ops": {"delivered": 0, "failures": 0, "given_up": 0, "waiting": 1}}
