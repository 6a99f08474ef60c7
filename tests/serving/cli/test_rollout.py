"""`serinus rollout` on a home of this host: with a server, and with none."""

from __future__ import annotations

import contextlib
import getpass
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from serinus.serving.cli.local import LocalRollouts
from serinus.serving.cli.rollout_status import wait_for_end
from serinus.serving.errors import CommandError
from serinus.serving.home import Home
from serinus.serving.rollout import Advance, Freeze, Hold, Pause, Promote, RollBack, RolloutRecord, controller, verdicts
from serinus.serving.rollout.analysis import judge
from serinus.serving.rollout.evidence import Arms, Evidence, Window
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
    said = cli("rollout", "start", "iris:2", "--manual", "--steps", "10,50")
    assert said.code == 0
    assert said.out == ("iris: version 2 answers 10 % of the requests, version 1 the rest (step 1 of 2: 10, 50 %).\n"
                        f"No server runs on home {home}; the next one starts from here.\n")
    assert read_snapshot(Home(home).snapshot).records["iris"].candidate == "2"


def test_every_verb_tells_where_the_rollout_stands(cli: Any) -> None:
    """Start, pause, resume, promote twice: stable."""
    cli("rollout", "start", "iris:2", "--manual", "--steps", "10")
    assert "(step 1 of 1: 10 %, paused)" in cli("rollout", "pause", "iris").out
    assert "paused" not in cli("rollout", "resume", "iris").out
    assert "iris: version 2 answers every request; a rollback brings version 1 again" in cli(
        "rollout", "promote", "iris").out


def test_a_server_is_waited_for(cli: Any, home: Path, worker: FakeWorker) -> None:
    """The command ends when every live worker follows, and says how long that took."""
    with Publisher(home):
        said = cli("rollout", "start", "iris:2", "--manual", "--json")
        assert said.code == 0
        assert (said.json["followed"]["complete"], said.json["followed"]["workers"]) == (True, 1)
        assert "1 of 1 workers follow after" in cli("rollout", "promote", "iris").out


def test_a_worker_that_does_not_follow_is_exit_code_3(cli: Any, home: Path) -> None:
    """What was asked is done, but not everywhere: a script must be able to tell."""
    with FakeWorker(home, deaf=True), Publisher(home):
        said = cli("rollout", "start", "iris:2", "--manual", "--timeout", "0.2")
        assert said.code == 3 and "0 of 1 workers follow" in said.out
        assert cli("rollout", "promote", "iris", "--no-wait").code == 0


@pytest.mark.parametrize(("words", "sentence"), [
    (("start", "iris"), "Which version of 'iris'? Say `serinus rollout start iris:VERSION`"),
    (("start", "iris:9"), "Model 'iris' has no version '9'; there are 1, 2."),
    (("start", "iris:2", "--steps", "50,5"), "A plan's steps must rise"),
    (("start", "iris:2", "--steps", "5,x"), "Step 'x' of '5,x' is not a number."),
    (("start", "iris:2", "--steps", "101"), "must be 1 to 10000 basis points"),
    (("start", "iris:1"), "stable"),
    (("start", "iris:2", "--plan", "absent.toml"), "Plan file absent.toml: no such file"),
    (("retry", "iris"), "No version of 'iris' was ever tried"),
    (("freeze", "nobody"), "No model is named 'nobody'"),
    (("explain", "nobody"), "No model is named 'nobody'"),
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
    assert cli("rollout", "start", "iris:2", "--manual", "--home", tmp_path / "tpyo").code == 1
    assert not (tmp_path / "tpyo").exists()


def test_nothing_to_do_is_no_failure(cli: Any) -> None:
    """An abort may be repeated."""
    cli("rollout", "start", "iris:2", "--manual")
    assert cli("rollout", "abort", "iris").code == 0
    said = cli("rollout", "abort", "iris")
    assert (said.code, said.out) == (0, "Model 'iris' has no running rollout, so there is nothing to abort.\n")


def test_who_and_why_are_kept(cli: Any) -> None:
    """The journal names the actor: the user, unless another is given."""
    cli("rollout", "start", "iris:2", "--manual", "--reason", "smoother")
    cli("rollout", "abort", "iris", "--actor", "ci", "--reason", "red")
    events = cli("rollout", "journal", "iris", "--json").json
    assert [(event["kind"], event["actor"], event["reason"]) for event in events[1:3]] == [
        ("start", getpass.getuser(), "smoother"), ("abort", "ci", "red")]
    assert "By ci: red" in cli("rollout", "journal", "iris").out


def test_a_lost_store_is_put_right_from_the_snapshot(cli: Any, home: Path) -> None:
    """What the workers already obeyed is not forgotten because a file was deleted."""
    cli("rollout", "start", "iris:2", "--manual", "--steps", "100")
    cli("rollout", "promote", "iris")
    for path in home.glob("store.db*"):
        path.unlink()
    cli("rollout", "abort", "iris")
    assert cli("rollout", "status", "iris", "--json").json["record"]["stable"] == "2"


def test_status_says_who_follows(cli: Any, home: Path, worker: FakeWorker) -> None:
    """Where it stands, since when, by whom, and the workers."""
    with Publisher(home):
        cli("rollout", "start", "iris:2", "--manual", "--reason", "smoother")
        said = cli("rollout", "status", "iris")
    assert f", by {getpass.getuser()}: smoother\n" in said.out and "  workers  1 of 1 follow\n" in said.out


def test_home_and_url_exclude_each_other(cli: Any, home: Path) -> None:
    """Which of two places was meant is not guessed."""
    said = cli("rollout", "promote", "iris", "--home", home, "--url", "http://127.0.0.1:1")
    assert said.code == 2 and "give one of them" in said.err


def test_a_rollout_judges_itself_unless_a_person_wants_to(cli: Any) -> None:
    """The default plan begins with its preflight, and its numbers are the options'."""
    said = cli("rollout", "start", "iris:2", "--steps", "10,50", "--shadow", "2.5", "--json").json["record"]
    assert (said["phase"], said["weight"], said["plan"]["steps"], said["plan"]["judgement"]["shadow"]) == (
        "preflight", 0, [1000, 5000], 250)
    assert cli("rollout", "status", "iris").out.startswith(
        "iris: version 2 is checked and loaded, version 1 answers every request (preflight, then: 10, 50 %).\n")


def test_a_plan_comes_from_a_file(cli: Any, tmp_path: Path) -> None:
    """The file says everything; with options beside it nobody could tell which holds."""
    path = tmp_path / "plan.toml"
    path.write_text("steps = [1, 100]\n[judgement]\nshadow = 0\napprove = true\n")
    refused = cli("rollout", "start", "iris:2", "--plan", path, "--steps", "5")
    assert refused.code == 1 and "says everything: leave --steps out" in refused.err
    plan = cli("rollout", "start", "iris:2", "--plan", path, "--json").json["record"]["plan"]
    assert (plan["steps"], plan["judgement"]["approve"], plan["manual"]) == ([100, 10_000], True, False)


def test_a_frozen_rollout_waits_for_a_person(cli: Any) -> None:
    """Freeze, resume; both stand in the journal."""
    cli("rollout", "start", "iris:2", "--manual", "--steps", "10")
    assert "(step 1 of 1: 10 %, frozen)" in cli("rollout", "freeze", "iris").out
    assert ", frozen" not in cli("rollout", "resume", "iris").out
    assert [event["kind"] for event in cli("rollout", "journal", "iris", "--json").json][-2:] == ["freeze", "resume"]


def test_a_quarantined_version_is_tried_again_by_force_only(cli: Any) -> None:
    """The same version by the same plan; without --force the quarantine holds."""
    cli("rollout", "start", "iris:2", "--manual", "--steps", "10,20")
    cli("rollback", "iris")
    refused = cli("rollout", "retry", "iris")
    assert refused.code == 1 and "use --force to retry it" in refused.err
    record = cli("rollout", "retry", "iris", "--force", "--json").json["record"]
    assert (record["candidate"], record["plan"]["steps"], record["quarantined"]) == ("2", [1000, 2000], [])


def test_explain_tells_every_check(cli: Any, home: Path) -> None:
    """Counts of both versions, the ratio's bounds, the evidence and what would roll back, in a table."""
    record = judged(cli, home)
    said = cli("rollout", "explain", "iris").out
    assert "failed: The candidate is worse by errors: 40 of 1,000 against 190 of 19,000" in said
    row = next(line for line in said.splitlines() if line.strip().startswith("errors "))
    assert "40 of 1,000 (4 %)" in row and "190 of 19,000 (1 %)" in row and "100 %" in row and row.endswith("worse")
    assert next(line for line in said.splitlines() if line.strip().startswith("invalid ")).endswith("at most 0.7 %")
    found = cli("rollout", "explain", "iris", "--json").json
    assert (found["verdict"], found["candidate"], found["step_id"]) == ("failed", "2", record.step_id)
    assert "  verdict  failed: The candidate" in cli("rollout", "status", "iris").out


def judged(cli: Any, home: Path) -> RolloutRecord:
    """A rollout at 5 % whose latest verdict says that it is worse."""
    record = RolloutRecord.from_dict(
        cli("rollout", "start", "iris:2", "--steps", "5,50", "--shadow", "0", "--json").json["record"])
    store, now = SqliteStore(home / "store.db", create=False), time.time()
    record = controller.apply(store, "iris", Advance(record.step_id, actor="test"), now=now)
    assert record.plan is not None and record.plan.judgement is not None
    events = {"errors": Arms(40, 1000, 190, 19_000), "invalid": Arms(0, 1000, 0, 19_000)}
    evidence = Evidence((Window(0.05, 1000, 19_000, events, record.step_id),))
    verdict = judge(record.plan.judgement, record.phase, record.weight, evidence, step_id=record.step_id)
    verdicts.publish(store, "iris", verdicts.to_dict(record, record.plan.judgement, verdict, now), now)
    write_snapshot(Home(home).snapshot, store.records())
    store.close()
    return record


@pytest.mark.parametrize(("events", "code"), [
    ((Promote(force=True, actor="ana"),), 0), ((RollBack(actor="judge", reason="worse"),), 3),
    ((Pause(actor="ana"),), 4), ((Freeze(actor="ana"),), 4), ((), 5), ((Hold("silence", "", actor="judge"),), 4),
])
def test_a_script_can_wait_for_the_end(events: tuple[Any, ...], code: int, cli: Any, home: Path) -> None:
    """Promoted 0, rolled back 3, held 4, not over in time 5; what happens meanwhile is told."""
    cli("rollout", "start", "iris:2", "--manual", "--steps", "10")
    store = SqliteStore(home / "store.db", create=False)
    begun = store.record("iris")
    assert begun is not None
    for event in events:
        event = replace(event, step_id=store.record("iris").step_id) if isinstance(event, Hold) else event
        controller.apply(store, "iris", event, now=time.time())
    write_snapshot(Home(home).snapshot, store.records())
    store.close()
    slept = []
    assert wait_for_end(LocalRollouts(Home(home)), begun, 0.0, sleep=slept.append) == code
    assert slept == []


def test_an_earlier_rollouts_end_is_not_taken_for_this_ones(cli: Any, home: Path) -> None:
    """The server publishes a moment after the store has it; and who waits too long may find another rollout."""
    cli("rollout", "start", "iris:2", "--manual", "--steps", "10")
    cli("rollout", "promote", "iris")
    before = read_snapshot(Home(home).snapshot).records
    cli("rollout", "start", "iris:1", "--manual", "--steps", "10")
    after = read_snapshot(Home(home).snapshot).records
    write_snapshot(Home(home).snapshot, before)
    assert wait_for_end(LocalRollouts(Home(home)), after["iris"], 0.0) == 5
    waits = iter([lambda: write_snapshot(Home(home).snapshot, {"iris": replace(after["iris"], generation=99,
                                                                               rollout_id="another")})])
    with pytest.raises(CommandError, match="Another rollout of 'iris' has begun"):
        wait_for_end(LocalRollouts(Home(home)), after["iris"], 60.0, sleep=lambda _: next(waits)())


def test_start_may_wait(cli: Any) -> None:
    """Nobody promotes here, so the time is over at once."""
    said = cli("rollout", "start", "iris:2", "--manual", "--wait", "--wait-timeout", "0")
    assert said.code == 5 and "Z iris: version 2 answers 5 % of the requests" in said.out


def test_status_may_be_watched(cli: Any) -> None:
    """Outside of a terminal only news are told, and a rollout that is over ends it."""
    cli("rollout", "start", "iris:2", "--manual", "--steps", "10")
    cli("rollout", "promote", "iris")
    assert cli("rollout", "status", "iris", "--watch").out.count("phase    promoted") == 1


def test_numbers_alone_are_no_news(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of three looks at a rollout whose counts grow one is told, then that it is held; Ctrl-C is no failure."""
    cli("rollout", "start", "iris:2", "--manual", "--steps", "10")
    looks = iter(("answers 40 of 200", "answers 50 of 200", "answers 1,060 of 200", "held"))
    pauses = iter((None, None, None, KeyboardInterrupt()))

    def pause(_: float) -> None:
        if (error := next(pauses)) is not None:
            raise error

    monkeypatch.setattr("serinus.serving.cli.rollout_status._status_lines", lambda *_: [next(looks)])
    monkeypatch.setattr("serinus.serving.cli.rollout_status.time.sleep", pause)
    said = cli("rollout", "status", "iris", "--watch")
    assert (said.code, said.out) == (0, "answers 40 of 200\nheld\n")
