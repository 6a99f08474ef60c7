"""The latest verdict as a document, and what it means to those who move the traffic themselves."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from serinus.serving.rollout import (
    Advance,
    Freeze,
    Hold,
    Judgement,
    Phase,
    Plan,
    Promote,
    Reject,
    RollBack,
    RolloutRecord,
    SetStable,
    Start,
    advance,
    verdicts,
)
from serinus.serving.rollout.analysis import Action, Verdict, judge
from serinus.serving.rollout.evidence import Arms, Evidence, Window
from serinus.serving.store import SqliteStore

JUDGEMENT = Judgement(shadow=0)
IDLE = advance(RolloutRecord.initial("m", None, 0.0), SetStable("1", "d1", actor="ana"), 0.0)[0]
STARTED = advance(IDLE, Start("r", "2", "d2", Plan((500,), False, 60.0, JUDGEMENT), "salt", actor="ana"), 10.0)[0]
CANARY = advance(STARTED, Advance(STARTED.step_id, actor="judge"), 20.0)[0]
EVIDENCE = Evidence((Window(0.05, 1000, 19_000, {"errors": Arms(40, 1000, 190, 19_000),
                                                 "invalid": Arms(0, 1000, 0, 19_000)}, CANARY.step_id),))


def said(action: Action, record: RolloutRecord = CANARY, now: float = 30.0) -> dict[str, object]:
    return verdicts.to_dict(record, JUDGEMENT, Verdict(action, "Because.", risk="luck"), now)


@pytest.mark.parametrize(("action", "word"), [
    (Action.ADVANCE, "successful"), (Action.ROLL_BACK, "failed"), (Action.HOLD, "inconclusive"),
    (Action.WAIT, "running"),
])
def test_each_action_has_its_word(action: Action, word: str) -> None:
    """A verdict on the present step says what to do now, and why."""
    found = verdicts.analysis(CANARY, said(action), 31.0)
    assert (found["verdict"], found["reason"], found["risk"], found["time"]) == (word, "Because.", "luck", 30.0)
    assert (found["step_id"], found["weight"], found["candidate"]) == ("r/0", 500, "2")
    promoted = advance(CANARY, Promote(force=True, actor="ana"), 30.0)[0]
    judged = verdicts.analysis(promoted, said(action), 31.0)["judged"]
    assert judged == {"step_id": "r/0", "stable": "1", "candidate": "2"}


def test_a_verdict_that_nobody_renews_is_an_error() -> None:
    """Old news are no success, nor is a verdict on an earlier step or another rollout."""
    good = said(Action.ADVANCE)
    assert verdicts.analysis(CANARY, good, 30.0 + verdicts.STALE_S + 1)["verdict"] == "error"
    later = replace(CANARY, step_id="r/1", updated=40.0)
    assert verdicts.analysis(later, good, 41.0)["verdict"] == "running"
    assert verdicts.analysis(later, good, 40.0 + verdicts.STALE_S + 1)["verdict"] == "error"
    other = replace(CANARY, rollout_id="s", step_id="s/0")
    assert verdicts.analysis(other, good, 31.0) == verdicts.analysis(other, None, 31.0)


def test_where_nobody_judges_the_phase_decides() -> None:
    """Ended ones have succeeded or failed; held, manual and absent ones are inconclusive; a preflight runs."""
    manual = advance(IDLE, Start("r", "2", "d2", Plan((500,)), "salt", actor="ana"), 10.0)[0]
    words = {
        "successful": [advance(CANARY, Promote(force=True, actor="ana"), 30.0)[0]],
        "failed": [advance(CANARY, RollBack(actor="judge", reason="worse"), 30.0)[0],
                   advance(STARTED, Reject("r/preflight", actor="judge", reason="damaged"), 30.0)[0]],
        "inconclusive": [IDLE, manual, advance(CANARY, Freeze(actor="ana"), 30.0)[0],
                         advance(CANARY, Hold("silence", "r/0", actor="judge", reason="Nothing came."), 30.0)[0]],
        "running": [STARTED],
    }
    for word, records in words.items():
        for record in records:
            found = verdicts.analysis(record, said(Action.ADVANCE), 31.0)
            assert found["verdict"] == word and found["reason"].endswith((".", "worse", "damaged"))
    assert {record.phase for records in words.values() for record in records} >= {Phase.FROZEN, Phase.HOLD, Phase.IDLE}


def test_checks_tell_counts_ratio_and_what_is_needed() -> None:
    """Everything that `explain` shows: bounds of the ratio, the e-value and the one that rolls back."""
    verdict = judge(JUDGEMENT, CANARY.phase, CANARY.weight, EVIDENCE, step_id=CANARY.step_id)
    errors, invalid = verdicts.to_dict(CANARY, JUDGEMENT, verdict, 30.0)["checks"]
    assert (errors["candidate"], errors["candidate_units"], errors["stable"], errors["stable_units"]) == (
        40, 1000, 190, 19_000)
    assert 2 < errors["ratio_low"] < 4 < errors["ratio_high"] < 7.5 and errors["harmful"] and errors["meter"] == 1
    assert errors["e_value"] > errors["e_needed"] == pytest.approx(1 / (0.05 * 0.3))
    assert (invalid["e_value"], invalid["ratio_high"], invalid["harmful"]) == (1.0, None, False)
    assert invalid["upper"] == pytest.approx(0.007, abs=1e-4)


def test_the_store_keeps_the_latest(tmp_path: Path) -> None:
    """One document per model, replaced each time; one of another format is not read."""
    store = SqliteStore(tmp_path / "store.db", create=True)
    assert verdicts.read(store, "m") is None
    for action in (Action.WAIT, Action.ADVANCE):
        verdicts.publish(store, "m", said(action), 30.0)
    assert verdicts.read(store, "m") == said(Action.ADVANCE)
    verdicts.publish(store, "m", {**said(Action.WAIT), "format": 99}, 31.0)
    assert verdicts.read(store, "m") is None
    store.close()
