"""Retraining by the steward: the user's command runs once, with its reason, whoever dies, and its end is journaled."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from serinus.monitors.alerts import Condition, Silence
from serinus.serving.alerting import change_book, policy, report, waiting
from serinus.serving.retraining import Retraining, _outcome
from serinus.serving.steward.evaluate_alerts import EvaluateAlerts
from serinus.serving.steward.hold_lease import HoldLease
from serinus.serving.steward.job import Shared
from serinus.serving.steward.start_retraining import StartRetraining
from serinus.serving.store import Conflict, JournalEntry
from tests.serving.steward.hosts import serve, shared, trained

LOSS = Condition("wine", "1", "drift", "act", True, "age moved.", {"rows": 4096}, ("age",))
MARK = "from pathlib import Path; Path('done').touch(); "


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def host(home: Path, code: str = MARK, **settings: Any) -> Shared:
    """A leading steward of a model whose alert fires, with a command for it."""
    chosen = {"enabled": True, "command": python(code), "timeout_seconds": 60, **settings}
    made = shared(home, retraining=chosen, alerts={"for_seconds": 0, "notifiers": {
        "ops": {"kind": "slack", "url": "http://127.0.0.1:9/"}}})
    serve(made)
    HoldLease().run(made)
    return made


def fire(made: Shared, condition: Condition = LOSS) -> None:
    now = time.time()
    report(made.store, condition, now)
    change_book(made.store, lambda book: book.evaluate([condition], now, policy(made.settings.alerts)))


def entries(made: Shared) -> list[JournalEntry]:
    return [entry for entry in made.store.journal("wine") if entry.kind.startswith("retraining.")]


def until(true: Callable[[], object], patience_s: float = 30.0) -> None:
    deadline = time.monotonic() + patience_s
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def ended(made: Shared, job: StartRetraining) -> JournalEntry:
    def settled() -> bool:
        job.run(made)
        return entries(made)[-1].kind == "retraining.ended"

    until(settled)
    return entries(made)[-1]


def folders(home: Path) -> list[Path]:
    return sorted((home / "retraining" / "wine").glob("*Z"))


def test_it_is_off_by_default(tmp_path: Path) -> None:
    """Whatever fires."""
    made = host(tmp_path, enabled=False)
    fire(made)
    StartRetraining().run(made)
    assert folders(tmp_path) == [] and entries(made) == []


def test_the_command_runs_once_with_its_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In its own folder and session, with the home, the reason and the data's window, and no secret of the server."""
    monkeypatch.setenv("SERINUS_CONTROL_TOKEN", "secret")
    code = ("import json, os; print('hello'); json.dump({**os.environ, 'session': os.getsid(0), 'pid': os.getpid()}, "
            "open('environ.json', 'w'))")
    made, job = host(tmp_path, code), StartRetraining()
    fire(made)
    job.run(made)
    job.run(made)
    last = ended(made, job)
    job.run(made)
    (folder,) = folders(tmp_path)
    assert [entry.kind for entry in entries(made)] == ["retraining.started", "retraining.ended"]
    assert (entries(made)[0].reason, entries(made)[0].body["trigger"]) == ("The world has changed: age moved.", "event")
    assert last.body["exit_code"] == 0 and "ended with exit code 0" in last.body["text"]
    assert (folder / "output.log").read_text() == "hello\n"
    environ = json.loads((folder / "environ.json").read_text())
    assert environ["session"] == environ["pid"] != os.getsid(0)
    assert {name for name in environ if name.startswith("SERINUS_")} == {"SERINUS_HOME", "SERINUS_RETRAINING"}
    assert environ["SERINUS_HOME"] == str(tmp_path)
    reason = json.loads(Path(environ["SERINUS_RETRAINING"]).read_text())
    assert [reason[key] for key in ("model", "version", "action", "trigger")] == ["wine", "1", "retrain", "event"]
    assert [alert["features"] for alert in reason["alerts"]] == [["age"]]
    assert reason["window"]["from"] < reason["window"]["to"] == reason["started"]


def test_a_version_that_it_registers_answers_nothing_yet(tmp_path: Path) -> None:
    """It stands in the registry, and the journal says how to try it; the record is as it was."""
    trained(tmp_path, "wine", 1.0)
    code = ("import os; from sklearn.dummy import DummyRegressor; from serinus.models import register; "
            "register(DummyRegressor().fit([[0.0]], [2.0]), 'wine', home=os.environ['SERINUS_HOME'])")
    made, job = host(tmp_path, code), StartRetraining()
    before = made.store.record("wine")
    fire(made)
    job.run(made)
    last = ended(made, job)
    assert last.body["new_versions"] == "2", (folders(tmp_path)[0] / "output.log").read_text()
    assert "registered version 2, to be tried by `serinus rollout start wine:2`" in last.body["text"]
    assert made.store.record("wine") == before


REGISTER = ("import os; from sklearn.dummy import DummyRegressor; from serinus.models import register; "
            "register(DummyRegressor().fit([[0.0]], [2.0]), 'wine', home=os.environ['SERINUS_HOME'])")


@pytest.mark.parametrize("gate", ["pass", "fail", None])
def test_what_it_registers_is_tried_where_that_is_wanted(tmp_path: Path, gate: str | None) -> None:
    """By the steward's name, from the preflight and a shadow on, if its evaluation passed; else the journal says why
    it is not."""
    trained(tmp_path, "wine", 1.0)
    made, job = host(tmp_path, REGISTER, start=True), StartRetraining()
    fire(made)
    job.run(made)
    until(lambda: (folders(tmp_path)[0] / "outcome.json").exists())
    if gate is not None:
        verdict = {"verdict": gate, "at": "2026-01-01", "data": "held_out.csv", "sentence": "It is worse."}
        made.registry.attach(made.registry.get("wine", "2"), {"gates/1/gate.json": json.dumps(verdict).encode()})
    job.run(made)
    record = made.store.record("wine")
    assert record is not None
    if gate == "pass":
        assert (record.phase, record.candidate, record.actor) == ("preflight", "2", "steward-1")
        assert record.plan is not None and record.plan.judgement is not None and record.plan.judgement.shadow > 0
    else:
        assert record.phase == "idle" and entries(made)[-1].kind == "retraining.not_started"
        assert entries(made)[-1].reason.startswith("The evaluation of wine:2" if gate else "wine:2 was never evaluated")


def test_the_calendar_starts_it_once(tmp_path: Path) -> None:
    """Though nothing fires: at its time, by the first steward that sees it, and not again before the next one."""
    now = [1_767_225_600.0 + 2 * 3600]
    made, job = host(tmp_path, every_days=1, at="03:00", cooldown_seconds=0), StartRetraining(lambda: now[0])
    job.run(made)
    assert entries(made) == []
    for _ in range(2):
        now[0] += 3600
        job.run(made)
    until(lambda: (folders(tmp_path)[0] / "outcome.json").exists())
    for _ in range(2):
        StartRetraining(lambda: now[0]).run(made)
    assert [entry.kind for entry in entries(made)] == ["retraining.started", "retraining.ended"]
    assert entries(made)[0].body["trigger"] == "calendar"
    assert entries(made)[0].reason == "It is planned every 1 days at 03:00 UTC."
    now[0] += 86_400
    job.run(made)
    assert len(folders(tmp_path)) == 2


@pytest.mark.parametrize(("command", "code", "said"), [
    (python("import sys; print('no data'); sys.exit(3)"), 3, "no data\n"),
    (["/not/there"], 127, "/not/there cannot be run: No such file or directory.\n"),
    (python("import os; os.kill(os.getpid(), 9)"), -9, ""),
])
def test_a_failure_is_journaled(tmp_path: Path, command: list[str], code: int, said: str) -> None:
    """With its exit code; the cooldown holds all the same."""
    made, job = host(tmp_path, command=command), StartRetraining()
    fire(made)
    job.run(made)
    assert ended(made, job).body["exit_code"] == code
    assert (folders(tmp_path)[0] / "output.log").read_text() == said
    job.run(made)
    assert len(folders(tmp_path)) == 1


def test_it_is_ended_at_its_time_out(tmp_path: Path) -> None:
    """With all of its session."""
    code = ("import subprocess, sys, time; child = subprocess.Popen(['sleep', '99']); "
            "open('child', 'w').write(str(child.pid)); time.sleep(99)")
    made, job = host(tmp_path, code, timeout_seconds=1.5), StartRetraining()
    fire(made)
    job.run(made)
    last = ended(made, job)
    assert last.body["timed_out"] and "ran into its time-out after" in last.body["text"]
    child = int((folders(tmp_path)[0] / "child").read_text())
    until(lambda: not Path(f"/proc/{child}").exists() or ") Z " in Path(f"/proc/{child}/stat").read_text())


def test_another_steward_takes_down_what_a_dead_one_started(tmp_path: Path) -> None:
    """The run goes on by itself."""
    made = host(tmp_path, "import time; from pathlib import Path\nwhile not Path('go').exists(): time.sleep(0.02)")
    fire(made)
    StartRetraining().run(made)
    next_one, job = replace(made, holder="steward-2"), StartRetraining()
    for _ in range(3):
        job.run(next_one)
    assert [entry.kind for entry in entries(made)] == ["retraining.started"]
    (folders(tmp_path)[0] / "go").touch()
    assert ended(next_one, job).actor == "steward-2"


def test_a_run_that_is_lost_is_said_to_be(tmp_path: Path) -> None:
    """Its runner was killed: nobody knows how it would have ended."""
    made, job = host(tmp_path, "import time; time.sleep(60)"), StartRetraining()
    fire(made)
    job.run(made)
    (folder,) = folders(tmp_path)
    until(lambda: (folder / "runner").exists())
    runner = int((folder / "runner").read_text().split()[0])
    command = Path(f"/proc/{runner}/task/{runner}/children")
    until(lambda: command.read_text())
    child = int(command.read_text().split()[0])
    os.kill(runner, signal.SIGKILL)
    os.kill(child, signal.SIGKILL)
    assert "was lost: its process or its host is gone" in ended(made, job).body["text"]


def test_a_death_before_the_start_is_lost_after_a_minute(tmp_path: Path) -> None:
    """A claim without a process blocks nothing for ever."""
    made = host(tmp_path)
    now = time.time()
    retraining = Retraining(made.store, made.home, made.registry, made.settings, "ana")
    advice = retraining.advise("wine", now, retraining.state("wine", now))
    retraining.start("wine", retraining.state("wine", now), advice, now)
    state = retraining.state("wine", now)
    assert state.run is not None
    gone = replace(state.run, folder=str(tmp_path / "nowhere"))
    assert _outcome(gone, now + 59) is None and _outcome(gone, now + 60) == {"lost": True}
    far = retraining.keep("wine", replace(state, run=replace(state.run, host="elsewhere")), now)
    assert retraining.settle("wine", far, now + 659).run is not None
    assert retraining.settle("wine", far, now + 661).run is None


def test_two_stewards_start_one(tmp_path: Path) -> None:
    """The second finds that another was first."""
    made = host(tmp_path)
    now = time.time()
    retraining = Retraining(made.store, made.home, made.registry, made.settings, "ana")
    state = retraining.state("wine", now)
    advice = retraining.advise("wine", now, state)
    retraining.start("wine", state, advice, now)
    with pytest.raises(Conflict):
        retraining.start("wine", state, advice, now + 5)
    assert len(folders(tmp_path)) == 1


def test_without_the_lease_nothing_is_started(tmp_path: Path) -> None:
    """Nor for a model that the settings leave out, nor in maintenance."""
    for made in (replace(host(tmp_path), lease=None), host(tmp_path, models=["beer"])):
        fire(made)
        StartRetraining().run(made)
    made = host(tmp_path)
    now = time.time()
    change_book(made.store, lambda book: book.silenced(Silence("m", now, now + 60, "ana", maintenance=True)))
    StartRetraining().run(made)
    assert folders(tmp_path) == []


def test_a_notifier_is_told_instead(tmp_path: Path) -> None:
    """Its message says what to do with which data."""
    made = host(tmp_path, command=[], notifier="ops")
    fire(made)
    StartRetraining().run(made)
    ((message, _),) = waiting(made.store)
    assert (message.notifier, message.notification.event) == ("ops", "retraining")
    assert message.notification.facts["action"] == "retrain" and "data_from" in message.notification.facts
    EvaluateAlerts().run(made)
    StartRetraining().run(made)
    assert len([one for one, _ in waiting(made.store) if one.notification.event == "retraining"]) == 1


def test_old_folders_go(tmp_path: Path) -> None:
    """The last twenty stay."""
    old = tmp_path / "retraining" / "wine"
    for number in range(25):
        (old / f"20200101T0000{number:02}Z").mkdir(parents=True)
    made, job = host(tmp_path), StartRetraining()
    fire(made)
    job.run(made)
    ended(made, job)
    assert len(folders(tmp_path)) == 20 and folders(tmp_path)[0].name == "20200101T000006Z"
