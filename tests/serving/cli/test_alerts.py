"""`serinus alerts`: what is open is listed, somebody looks after it, silences come and go, a test message goes out."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from serinus.monitors.alerts import AlertPolicy, Condition
from serinus.serving.alerting import change_book, message_counts, read_book
from serinus.serving.home import Home
from serinus.serving.published_alerts import as_document, publish
from serinus.serving.store import SqliteStore
from tests.monitors.notifiers.receiver import Receiver, receiver
from tests.serving.cli.conftest import Cli, FakeServer

__all__ = ["receiver"]

DRIFT = Condition("iris", "1", "drift", "alarm", True, "petal width moved.", {"rows": 4096}, ("petal width",))


@pytest.fixture
def store(home: Path) -> SqliteStore:
    """The home's store, with an alert that fires."""
    made = SqliteStore(Home(home).store, create=True)
    change_book(made, lambda book: book.evaluate([DRIFT], time.time(), AlertPolicy(for_seconds=0)))
    return made


def alert_id(store: SqliteStore) -> str:
    return read_book(store)[0].alerts[0].id


def test_open_alerts_are_listed(cli: Cli, store: SqliteStore) -> None:
    """As a table, and as JSON."""
    head, row = cli("alerts", "list").out.splitlines()
    assert head.split() == ["ID", "STATE", "SEVERITY", "MODEL", "KIND", "SINCE", "SUMMARY"]
    assert row.split()[:5] == [alert_id(store), "firing", "alarm", "iris:1", "drift"]
    assert row.endswith("petal width moved.")
    assert cli("alerts", "list", "--json").json["counts"] == {"pending": 0, "firing": 1, "resolved": 0}


def test_what_is_over_is_listed_on_demand(cli: Cli, store: SqliteStore) -> None:
    """Only then."""
    calm = Condition("iris", "1", "drift", "warn", False, "")
    change_book(store, lambda book: book.evaluate([calm], time.time(), AlertPolicy(keep_firing_seconds=0)))
    assert cli("alerts", "list").out == "No open alert.\n"
    assert "resolved" in cli("alerts", "list", "--all").out


def test_nothing_was_ever_wrong(cli: Cli, home: Path) -> None:
    """A home that no server ran on, or whose store is gone: what was published last."""
    assert cli("alerts", "list", "--all").out == "No alert.\n"
    store = SqliteStore(Home(home).store, create=True)
    change_book(store, lambda book: book.evaluate([DRIFT], time.time(), AlertPolicy()))
    publish(Home(home).run, as_document(read_book(store)[0], message_counts(store), time.time()))
    store.close()
    Home(home).store.unlink()
    assert "pending" in cli("alerts", "list").out


def test_a_server_is_asked_for_its_alerts(cli: Cli, server: FakeServer) -> None:
    """By its address."""
    server.answer("GET", "/api/alerts", {"alerts": [], "silences": [], "counts": {}, "notifications": {}})
    assert cli("alerts", "list").out == "No open alert.\n"
    assert [asked[:2] for asked in server.asked] == [("GET", "/api/alerts")]


def test_somebody_looks_after_it(cli: Cli, store: SqliteStore) -> None:
    """The beginning of its id will do."""
    assert cli("alerts", "ack", alert_id(store)[:6], "--actor", "ana").out == (
        f"ana looks after alert {alert_id(store)}.\n")
    assert "firing (seen by ana)" in cli("alerts", "list").out
    said = cli("alerts", "ack", "zz")
    assert said.code == 1 and "expected the id of one open alert, got 0 matches" in said.err


def test_silences_come_and_go(cli: Cli, store: SqliteStore) -> None:
    """Of what they name; a maintenance too."""
    said = cli("alerts", "silence", "--model", "iris", "--kind", "drift", "--for", "2h", "--reason", "a new source",
               "--actor", "ana").out
    assert said.startswith("Silence ") and "of model iris, kind drift until 20" in said
    assert said.endswith("by ana: a new source.\n")
    assert "firing (silenced)" in cli("alerts", "list").out and said.strip() in cli("alerts", "list").out
    (found,) = read_book(store)[0].silences
    assert found.until - found.since == 7200
    assert cli("alerts", "unsilence", found.id).code == 0 and read_book(store)[0].silences == ()
    assert "Maintenance" in cli("alerts", "silence", "--for", "1d", "--maintenance").out
    assert "of everything" in cli("alerts", "list").out
    assert cli("alerts", "unsilence", "zz").code == 1


@pytest.mark.parametrize("span", ["", "2", "2w", "0h", "-1h", "1.5h"])
def test_a_span_that_is_none_is_wrong_usage(cli: Cli, store: SqliteStore, span: str) -> None:
    """With examples of what is one."""
    said = cli("alerts", "silence", "--for", span)
    assert said.code == 2 and "expected a time such as 90s, 30m, 2h or 7d" in said.err


def test_a_test_message_goes_out(cli: Cli, home: Path, receiver: Receiver, tmp_path: Path) -> None:
    """And the outcome is told, without the address."""
    config = tmp_path / "serinus.toml"
    config.write_text(f'[alerts.notifiers.ops]\nkind = "slack"\nurl = "{receiver.url}/secret"\n')
    said = cli("alerts", "test", "ops", "--config", config)
    assert said.code == 0 and said.out.startswith(f"Notifier ops: {receiver.url} took the message after 0.")
    assert "This is a test" in receiver.received[0].json["attachments"][0]["text"]
    receiver.behaviour = 404
    said = cli("alerts", "test", "ops", "--config", config)
    assert said.code == 1 and said.err == f"serinus: Notifier ops: {receiver.url} answered 404.\n"
    said = cli("alerts", "test", "pager", "--config", config)
    assert said.code == 1 and "Notifier 'pager': expected one of log, ops" in said.err


@pytest.mark.parametrize(("text", "sentence"), [
    ('[alerts.notifiers.ops]\nkind = "pigeon"\n', "Setting 'alerts.notifiers.ops': Kind 'pigeon': expected one of"),
    ('[alerts.notifiers.ops]\nurl = "http://h/"\n', "expected a kind, such as \"slack\", got None."),
    ('[alerts.notifiers.log]\nkind = "slack"\n', "expected another name; the log is always told."),
    ('[alerts.notifiers."a b"]\nkind = "log"\n', "expected names of letters, digits, '-' and '_', got 'a b'."),
    ('[retraining]\nenabled = true\n', "expected a retraining.command or a retraining.notifier beside it"),
    ('[retraining]\nnotifier = "ops"\n', "Notifier 'ops': expected one of log; alerts.notifiers has no such name."),
])
def test_a_server_does_not_start_with_settings_that_cannot_work(cli: Cli, home: Path, tmp_path: Path, text: str,
                                                               sentence: str) -> None:
    """One sentence, before anything is started."""
    config = tmp_path / "serinus.toml"
    config.write_text(text)
    said = cli("serve", "--config", config)
    assert said.code == 1 and sentence in said.err and said.err.count("\n") == 1
