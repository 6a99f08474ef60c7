"""`serinus rollout` on a home of this host: with a server, and with none."""

from __future__ import annotations

import contextlib
import getpass
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from serinus.serving.home import Home
from serinus.serving.snapshot import read_snapshot, write_snapshot
from serinus.serving.store import SqliteStore, StoreError
from tests.serving.cli.conftest import FakeWorker

pytestmark = pytest.mark.usefixtures("home")


class Publisher:
    """The steward's part that these tests need: what the store says becomes the snapshot."""

    def __init__(self, home: Path) -> None:
        self._home, self._stopping = Home(home), threading.Event()
        self._thread = threading.Thread(target=self._publish, daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()

    def _publish(self) -> None:
        while not self._stopping.is_set():
            with contextlib.suppress(StoreError):  # it is only being made
                store = SqliteStore(self._home.store, create=False)
                records = store.records()
                store.close()
                if records != read_snapshot(self._home.snapshot).records:
                    write_snapshot(self._home.snapshot, records)
            time.sleep(0.02)


def test_without_a_server_the_next_one_starts_from_here(cli: Any, home: Path) -> None:
    """The store is changed, the snapshot says the same, and the command says that nobody follows yet."""
    said = cli("rollout", "start", "iris:2", "--steps", "10,50")
    assert said.code == 0
    assert said.out == ("iris: version 2 answers 10 % of the requests, version 1 the rest (step 1 of 2: 10, 50 %).\n"
                        f"No server runs on home {home}; the next one starts from here.\n")
    assert read_snapshot(Home(home).snapshot).records["iris"].candidate == "2"


def test_every_verb_tells_where_the_rollout_stands(cli: Any) -> None:
    """Start, pause, resume, promote twice: stable."""
    cli("rollout", "start", "iris:2", "--steps", "10")
    assert "(step 1 of 1: 10 %, paused)" in cli("rollout", "pause", "iris").out
    assert "paused" not in cli("rollout", "resume", "iris").out
    assert "iris: version 2 answers every request; a rollback brings version 1 again" in cli(
        "rollout", "promote", "iris").out


def test_a_server_is_waited_for(cli: Any, home: Path, worker: FakeWorker) -> None:
    """The command ends when every live worker follows, and says how long that took."""
    with Publisher(home):
        said = cli("rollout", "start", "iris:2", "--json")
        assert said.code == 0
        assert (said.json["followed"]["complete"], said.json["followed"]["workers"]) == (True, 1)
        assert "1 of 1 workers follow after" in cli("rollout", "promote", "iris").out


def test_a_worker_that_does_not_follow_is_exit_code_3(cli: Any, home: Path) -> None:
    """What was asked is done, but not everywhere: a script must be able to tell."""
    with FakeWorker(home, deaf=True), Publisher(home):
        said = cli("rollout", "start", "iris:2", "--timeout", "0.2")
        assert said.code == 3 and "0 of 1 workers follow" in said.out
        assert cli("rollout", "promote", "iris", "--no-wait").code == 0


@pytest.mark.parametrize(("words", "sentence"), [
    (("start", "iris"), "Which version of 'iris'? Say `serinus rollout start iris:VERSION`"),
    (("start", "iris:9"), "Model 'iris' has no version '9'; there are 1, 2."),
    (("start", "iris:2", "--steps", "50,5"), "A plan's steps must rise"),
    (("start", "iris:2", "--steps", "5,x"), "Step 'x' of '5,x' is not a number."),
    (("start", "iris:2", "--steps", "101"), "must be 1 to 10000 basis points"),
    (("start", "iris:1"), "stable"),
    (("promote", "nobody"), "No model is named 'nobody'"),
    (("status", "nobody"), "No model is named 'nobody'"),
    (("status", "iris"), "Nothing is known of a rollout of 'iris' yet"),
    (("abort", "Iris"), "'Iris' is no model name"),
])
def test_a_refusal_is_one_sentence(words: tuple[str, ...], sentence: str, cli: Any) -> None:
    """No stack trace, exit code 1, and nothing is half done."""
    said = cli("rollout", *words)
    assert (said.code, said.out) == (1, "")
    assert said.err.startswith("serinus: ") and sentence in said.err and said.err.count("\n") == 1


def test_a_refused_start_leaves_no_store_behind(cli: Any, tmp_path: Path) -> None:
    """A typing error in a home's name makes no home."""
    assert cli("rollout", "start", "iris:2", "--home", tmp_path / "tpyo").code == 1
    assert not (tmp_path / "tpyo").exists()


def test_nothing_to_do_is_no_failure(cli: Any) -> None:
    """An abort may be repeated."""
    cli("rollout", "start", "iris:2")
    assert cli("rollout", "abort", "iris").code == 0
    said = cli("rollout", "abort", "iris")
    assert (said.code, said.out) == (0, "Model 'iris' has no running rollout, so there is nothing to abort.\n")


def test_who_and_why_are_kept(cli: Any) -> None:
    """The journal names the actor: the user, unless another is given."""
    cli("rollout", "start", "iris:2", "--reason", "smoother")
    cli("rollout", "abort", "iris", "--actor", "ci", "--reason", "red")
    events = cli("rollout", "journal", "iris", "--json").json
    assert [(event["kind"], event["actor"], event["reason"]) for event in events[1:3]] == [
        ("start", getpass.getuser(), "smoother"), ("abort", "ci", "red")]
    assert "By ci: red" in cli("rollout", "journal", "iris").out


def test_a_lost_store_is_put_right_from_the_snapshot(cli: Any, home: Path) -> None:
    """What the workers already obeyed is not forgotten because a file was deleted."""
    cli("rollout", "start", "iris:2", "--steps", "100")
    cli("rollout", "promote", "iris")
    for path in home.glob("store.db*"):
        path.unlink()
    cli("rollout", "abort", "iris")
    assert cli("rollout", "status", "iris", "--json").json["record"]["stable"] == "2"


def test_status_says_who_follows(cli: Any, home: Path, worker: FakeWorker) -> None:
    """Where it stands, since when, by whom, and the workers."""
    with Publisher(home):
        cli("rollout", "start", "iris:2", "--reason", "smoother")
        said = cli("rollout", "status", "iris")
    assert f", by {getpass.getuser()}: smoother\n" in said.out and "  workers  1 of 1 follow\n" in said.out


def test_home_and_url_exclude_each_other(cli: Any, home: Path) -> None:
    """Which of two places was meant is not guessed."""
    said = cli("rollout", "promote", "iris", "--home", home, "--url", "http://127.0.0.1:1")
    assert said.code == 2 and "give one of them" in said.err
