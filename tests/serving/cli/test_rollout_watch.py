"""What stands on the screen while a rollout is watched: everything a person on call asks for, at one look."""

from __future__ import annotations

import io
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from serinus.serving.cli.rollout_watch import Seen, screen
from serinus.serving.rollout import Judgement, Phase, Plan, RolloutRecord, verdicts
from serinus.serving.rollout.analysis import judge
from serinus.serving.rollout.evidence import Arms, Evidence, Window
from serinus.serving.store import JournalEntry
from tests.serving.cli.terminal import Terminal

NOW = 1_800_000_000.0
PLAN = Plan((500, 2500), manual=False, judgement=Judgement(soak_s=3600.0))
RECORD = RolloutRecord("iris", 5, "r1", Phase.CANARY, PLAN, step=1, step_id="r1/1", weight=2500, stable="1",
                       candidate="2", salt="s", actor="judge", updated=NOW - 90)
EVENTS = {"errors": Arms(6, 400, 9, 1200), "latency:p99": Arms(4, 400, 12, 1200)}
TRAFFIC = [{"bounds_ms": [1.0, 10.0, 100.0], "points": [{"served": [
    ["iris", "1", "stable", 600, 600, 6, 0, [0, 600, 0, 0]], ["iris", "2", "candidate", 200, 200, 4, 2, [0, 0, 200, 0]],
    ["other", "2", "stable", 9_999, 1, 0, 0, [9_999, 0, 0, 0]]]}] * 2}]


def analysis(record: RolloutRecord, now: float = NOW) -> dict[str, Any]:
    """What the judge says of six errors against nine."""
    assert record.plan is not None and record.plan.judgement is not None
    window = Window(0.25, 400, 1200, EVENTS, record.step_id)
    verdict = judge(record.plan.judgement, record.held or record.phase, record.weight,
                    Evidence((window,), elapsed_s=90.0), step_id=record.step_id)
    return verdicts.analysis(record, verdicts.to_dict(record, record.plan.judgement, verdict, now), now)


def entry(text: str, rollout_id: str = "r1") -> JournalEntry:
    return JournalEntry("iris", "advance", NOW, 1, "judge", "", {"text": text, "rollout_id": rollout_id})


def drawn(record: RolloutRecord = RECORD, *, wide: int = 120, **changes: Any) -> str:
    """The screen as text."""
    told = {"record": record.to_dict(), "veto": None, "workers": [{"follows": True}, {"follows": False}]}
    journal = [entry("An old one.", "r0"), *(entry(f"Event {number}.") for number in range(6))]
    judged = record.plan is not None and record.plan.judgement is not None and record.running
    seen = Seen(told, analysis(record) if judged else verdicts.analysis(record, None, NOW), journal, TRAFFIC, NOW)
    page = io.StringIO()
    Console(file=page, width=wide).print(screen(replace(seen, **changes)))
    return page.getvalue()


def test_the_step_and_its_time_are_seen() -> None:
    """Every station of the plan, the candidate's share, and how long it lasts at least."""
    page = drawn()
    assert "preflight   shadow 10 %   5 %   25 %   soak   stable" in page
    assert "█████░░░░░░░░░░░░░░░ 25 % to the candidate" in page
    assert "canary, for 1 min 30 s, at least 8 min 30 s to go" in page
    assert "its time is over" in drawn(replace(RECORD, updated=NOW - 4_000))
    assert "1 of 2 workers follow" in page


def test_both_arms_stand_side_by_side() -> None:
    """By all servers' counts of these two versions, with errors and times."""
    lines = [line.strip("│ \n").split() for line in drawn().splitlines()]
    (stable,) = [line for line in lines if line[:2] == ["1", "stable"]]
    (candidate,) = [line for line in lines if line[:2] == ["2", "candidate"]]
    assert stable[2:] == ["1,200", "1", "%", "0", "%", "5.5", "ms", "9.55", "ms", "9.91", "ms"]
    assert candidate[2:] == ["400", "2", "%", "1", "%", "55", "ms", "95.5", "ms", "99.1", "ms"]
    assert "No request in the last quarter of an hour." in drawn(traffic=())


def test_each_check_has_its_evidence() -> None:
    """Against what rolls back, the most suspicious first; then what the judge says."""
    page = drawn()
    assert page.index("errors ") < page.index("latency:p99 ")
    assert "6 of 400" in page and "9 of 1,200" in page
    assert "to one of" in page
    assert "running: " in page


def test_the_latest_of_the_journal_is_seen() -> None:
    """Of this rollout, four lines; a narrow screen cuts them off."""
    page = drawn()
    assert [f"Event {number}." in page for number in range(6)] == [False, False, True, True, True, True]
    assert "An old one." not in page
    assert max(map(len, drawn(wide=60).splitlines())) == 60


@pytest.mark.parametrize(("record", "says"), [
    (replace(RECORD, phase=Phase.HOLD, held=Phase.CANARY, cause="drift"), "hold for drift, for 1 min 30 s"),
    (replace(RECORD, phase=Phase.HOLD, held=Phase.CANARY, actor="ana"), "hold by ana"),
    (replace(RECORD, phase=Phase.ROLLING_BACK, weight=0), "rolling back"),
    (replace(RECORD, phase=Phase.PROMOTED, weight=0, stable="2", candidate=None), "promoted, for 1 min 30 s"),
    (replace(RECORD, plan=Plan((500, 2500))), "canary, for 1 min 30 s")],
    ids=["held", "paused", "taken off", "promoted", "by hand"])
def test_every_phase_can_be_drawn(record: RolloutRecord, says: str) -> None:
    """Held, ended, or led by a person."""
    assert says in drawn(record)


def test_it_is_drawn_on_a_terminal_until_somebody_leaves(cli: Any, home: Path) -> None:
    """Anew every second; Ctrl-C is no failure, and the rollout goes on."""
    cli("rollout", "start", "iris:2", "--manual", "--steps", "10")
    terminal = Terminal("rollout", "status", "iris", "--watch", "--home", home)
    terminal.until("Ctrl-C leaves")
    time.sleep(0.1)
    terminal.interrupt()
    assert terminal.end() == 0
    assert "10 % to the candidate" in terminal.said
