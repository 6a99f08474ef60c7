"""From facts to sentences: what is wrong is said, what is unknown is not called fine, and each has something to do."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from serinus.monitors.intervals import Interval
from serinus.monitors.metrics import Measure
from serinus.serving.rollout.state import Phase, RolloutRecord
from serinus.serving.store import JournalEntry
from serinus.serving.weekly import Facts, Quality, State, Weekly
from serinus.serving.weekly.facts import DAY_S, Traffic

END = datetime(2026, 6, 15, 12, tzinfo=UTC).timestamp()
BEGIN = END - 7 * DAY_S
HOUR = int(BEGIN // 3600)
RECORD = RolloutRecord.initial("churn", "3", BEGIN)
WELL = {"version": "3", "state": "ok", "text": "Rows look like the reference."}
GOOD = Measure(0.91, Interval(0.9, 0.92), 4000)
QUALITY = Quality("3", "stable", 5000, 4000, "accuracy", True, GOOD, GOOD._replace(value=0.912))
FINE = Facts("churn", BEGIN, END, RECORD, monitors=(WELL,), quality=(QUALITY,),
             traffic=Traffic({(HOUR + 5, "3"): 4000, (HOUR + 100, "3"): 1000, (HOUR - 50, "3"): 5200},
                             BEGIN - 30 * DAY_S))


def told(subject: str, **changes: Any) -> tuple[Weekly, list[tuple[State, str, str]]]:
    """The whole, and what it says of one subject."""
    weekly = Weekly.of(replace(FINE, **changes))
    return weekly, [(line.state, line.says, line.advice) for line in weekly.lines if line.subject == subject]


def test_a_week_in_which_nothing_happened_is_fine() -> None:
    """Every subject is told, and there is nothing to do."""
    weekly = Weekly.of(FINE)
    assert weekly.state is State.FINE and weekly.headline == "churn is fine."
    assert [line.subject for line in weekly.lines] == ["version", "answers", "inputs", "quality", "alerts"]
    assert weekly.actions == [] and weekly.changes == ()
    assert weekly.lines[1].says == "5,000 rows were answered by version 3; in the 7 days before it were 5,200."


def test_what_nobody_looked_at_is_unknown() -> None:
    """Neither fine nor wrong: no monitor, no truth, no log, no server yet."""
    weekly = Weekly.of(Facts("churn", BEGIN, END))
    assert {line.subject: line.state for line in weekly.lines} == {
        "version": State.UNKNOWN, "answers": State.UNKNOWN, "inputs": State.UNKNOWN, "quality": State.UNKNOWN,
        "alerts": State.FINE}
    assert weekly.headline == "Nothing is known to be wrong with churn, but 4 things cannot be told."
    assert "serinus feedback churn FILE" in weekly.actions


@pytest.mark.parametrize(("state", "wanted"), [("ok", "fine"), ("warn", "look"), ("alarm", "act"), ("act", "act"),
                                               ("learning", "unknown"), ("collecting", "unknown"), ("off", "unknown")])
def test_a_monitors_state_is_taken_over(state: str, wanted: str) -> None:
    """An alarm is something to do, and says with which command to begin."""
    _, [(found, _, advice)] = told("inputs", monitors=({**WELL, "state": state},))
    assert found == wanted
    assert advice == {"look": "serinus monitor explain churn:3", "act": "serinus monitor explain churn:3"}.get(
        wanted, "serinus monitor reference churn:3 --set FILE" if state == "learning" else "")


def test_versions_that_are_not_served_any_more_are_left_out() -> None:
    """Their last state is history."""
    old = {"version": "2", "state": "alarm", "text": "Drift."}
    _, found = told("inputs", monitors=(old, WELL))
    assert [state for state, _, _ in found] == [State.FINE]


@pytest.mark.parametrize(("now", "measure", "larger", "state", "word"), [
    (Measure(0.85, Interval(0.84, 0.86), 4000), "accuracy", True, State.LOOK, "worse"),
    (Measure(0.95, Interval(0.94, 0.96), 4000), "accuracy", True, State.FINE, "better"),
    (Measure(0.90, Interval(0.88, 0.92), 4000), "accuracy", True, State.FINE, "may be chance"),
    (Measure(0.95, Interval(0.94, 0.96), 4000), "rmse", False, State.LOOK, "worse"),
    (Measure(0.85, Interval(0.84, 0.86), 4000), "rmse", False, State.FINE, "better")])
def test_quality_is_compared_with_the_days_before(now: Measure, measure: str, larger: bool, state: State,
                                                  word: str) -> None:
    """A difference counts where the intervals are apart; which way is worse depends on the measure."""
    _, [(found, says, _)] = told("quality", quality=(QUALITY._replace(
        now=now, measure=measure, larger_is_better=larger, before=GOOD),))
    assert (found, word in says) == (state, True), says


def test_few_truths_are_no_judgement() -> None:
    """Nor is a value that there is nothing to compare with, unless registration promised one."""
    few = QUALITY._replace(now=Measure(1.0, Interval(0.9, 1.0), 12))
    assert told("quality", quality=(few,))[1][0][0] is State.UNKNOWN
    alone = QUALITY._replace(before=Measure(None, None, 0, "none"))
    assert told("quality", quality=(alone,))[1][0][0] is State.UNKNOWN
    harm = {"version": "3", "role": "stable", "state": "ok", "text": "The loss is within what was promised."}
    _, [(state, says, _)] = told("quality", quality=(alone,), harm=(harm,))
    assert state is State.FINE and "promised" in says


def test_harm_is_something_to_do() -> None:
    """Beside the measure, whatever that says."""
    harm = {"version": "3", "role": "stable", "state": "alarm", "text": "The loss is 30 %."}
    weekly, found = told("quality", harm=(harm,))
    assert [state for state, _, _ in found] == [State.FINE, State.ACT] and weekly.state is State.ACT
    assert weekly.headline == "churn needs you: 1 thing to do."


def test_alerts_ask_for_a_person_until_somebody_has_them() -> None:
    """Firing: act; acknowledged or pending: know of it; over: counted."""
    alert = {"id": "a1", "version": "3", "kind": "drift", "state": "firing", "summary": "age moved",
             "acknowledged_by": ""}
    states = [told("alerts", alerts=({**alert, **more},))[1][0][0] for more in (
        {}, {"acknowledged_by": "ana"}, {"state": "pending"})]
    assert states == [State.ACT, State.LOOK, State.LOOK]
    over = JournalEntry("churn", "alert.resolved", BEGIN + 9, 1, "vm-1", "", {"text": "Alert a1: resolved."})
    assert told("alerts", journal=(over,))[1] == [(State.FINE, "None is open; 1 ended in these days.", "")]


def test_a_rollout_that_waits_is_something_to_do() -> None:
    """One that runs is not; one that was taken off in these days is worth a look."""
    running = replace(RECORD, phase=Phase.CANARY, candidate="4", candidate_digest="sha256:1", weight=1000,
                      rollout_id="r", step_id="r/0", reason="")
    assert told("version", record=running)[1][0][:2] == (
        State.FINE, "Version 3 is stable; version 4 is on trial (canary) with 10 % of the requests.")
    held = replace(running, phase=Phase.HOLD, held=Phase.CANARY, reason="Too few rows")
    assert told("version", record=held)[1][0][:2] == (
        State.ACT, "Version 3 is stable; the rollout of version 4 waits for a person: Too few rows.")
    back = JournalEntry("churn", "roll_back", BEGIN + 9, 1, "ana", "complaints", {"text": "Rolled back version 4."})
    weekly, found = told("version", journal=(back,))
    assert found == [(State.LOOK, "Version 3 is stable. Rolled back version 4.", "serinus rollout explain churn")]
    assert [change.says for change in weekly.changes] == ["Rolled back version 4. By ana: complaints."]


def test_noise_of_the_journal_is_left_out() -> None:
    """Repetitions and what was withdrawn before anybody was told."""
    entries = tuple(JournalEntry("churn", f"alert.{kind}", BEGIN + 9, 1, "vm-1", "", {"text": kind})
                    for kind in ("pending", "repeated", "withdrawn", "firing"))
    assert [change.says for change in Weekly.of(replace(FINE, journal=entries)).changes] == ["firing. By vm-1."]


def test_much_more_or_less_traffic_is_worth_a_look() -> None:
    """Where the log reaches back over both spans; where it does not, that is said."""
    few = Traffic({(HOUR + 5, "3"): 300, (HOUR + 6, "4"): 100, (HOUR - 50, "3"): 5200}, BEGIN - 30 * DAY_S)
    assert told("answers", traffic=few)[1][0][:2] == (State.LOOK, "400 rows were answered, 300 by version 3, 100 by "
                                                      "version 4; in the 7 days before it were 5,200.")
    young = Traffic({(HOUR + 50, "3"): 300}, BEGIN + 2 * DAY_S)
    assert told("answers", traffic=young)[1][0][:2] == (
        State.FINE, "300 rows were answered by version 3. The log reaches back to 2026-06-10 12:00 UTC only.")


def test_every_day_is_counted_once() -> None:
    """Days without rows too; what lies before the span is not in it."""
    days = Weekly.of(FINE).days
    assert list(days) == [f"2026-06-{day:02}" for day in range(8, 16)]
    assert days["2026-06-08"] == {"3": 4000} and days["2026-06-12"] == {"3": 1000} and days["2026-06-10"] == {}


def test_the_most_urgent_comes_first_and_each_once() -> None:
    """Of what is to be done."""
    alert = {"id": "a1", "version": "3", "kind": "drift", "state": "firing", "summary": "x", "acknowledged_by": ""}
    weekly = Weekly.of(replace(FINE, quality=(), alerts=(alert, alert)))
    assert weekly.actions == ["serinus alerts ack a1, and look after it", "serinus feedback churn FILE"]
    assert weekly.to_json()["actions"] == weekly.actions
