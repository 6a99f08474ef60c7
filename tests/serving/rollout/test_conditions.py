"""What people are told of a rollout: what holds now, and nothing that is over."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from serinus.serving.rollout import Judgement, Phase, Plan, RolloutRecord
from serinus.serving.rollout.analysis import APPROVAL
from serinus.serving.rollout.conditions import KINDS, news_of, of_rollout
from serinus.serving.store import JournalEntry

PLAN = Plan((5000,), manual=False, judgement=Judgement(approve=1))
CANARY = RolloutRecord("wine", 3, "r", Phase.CANARY, PLAN, step_id="r/0", weight=5000, stable="1", candidate="2",
                       actor="judge", reason="Because.")
WAITS = {"step_id": "r/0", "cause": APPROVAL, "reason": "A person has to approve it."}
OVER = replace(CANARY, phase=Phase.ROLLED_BACK, weight=0, step_id="", candidate=None)


def turn(kind: str, **body: Any) -> JournalEntry:
    return JournalEntry("wine", kind, 100.0, 3, "judge", "because.", {"text": "Done.", **body})


def told(record: RolloutRecord, entry: JournalEntry | None = None, verdict: Any = None,
         now: float = 100.0) -> list[tuple[str, str, str, str]]:
    found = of_rollout(record, entry, verdict, now)
    assert all(condition.active and condition.kind in KINDS for condition in found)
    return [(one.kind, one.version, one.severity, one.summary) for one in found]


@pytest.mark.parametrize(("phase", "cause", "severity", "by"), [
    (Phase.HOLD, "stable", "alarm", "stable"), (Phase.HOLD, "", "warn", "judge"), (Phase.FROZEN, "", "warn", "judge"),
])
def test_what_is_held_has_its_cause(phase: Phase, cause: str, severity: str, by: str) -> None:
    """A person who holds it knows about it."""
    record = replace(CANARY, phase=phase, held=Phase.CANARY, cause=cause)
    assert told(record) == [("rollout_held", "2", severity,
                             f"The rollout of version 2 is held at 50 % by {by}. Because.")]


def test_an_approval_is_missing_in_its_own_step_only() -> None:
    """Nor any more once it was given."""
    assert told(CANARY, turn("start"), WAITS) == [("rollout_waits", "2", "alarm", "A person has to approve it.")]
    for record, verdict in ((CANARY, {**WAITS, "step_id": "r/1"}), (CANARY, {**WAITS, "cause": ""}),
                            (replace(CANARY, approvals=("ben",)), WAITS), (CANARY, None), (OVER, WAITS)):
        assert told(record, turn("start"), verdict) == []


@pytest.mark.parametrize(("entry", "kind", "version", "severity"), [
    (turn("roll_back", candidate="2"), "rolled_back", "2", "alarm"),
    (turn("roll_back", candidate=None), "rolled_back", "1", "alarm"),
    (turn("reject", candidate=None), "rollout_rejected", "1", "alarm"),
    (turn("restored"), "store_restored", "1", "act"),
])
def test_an_ending_is_told_for_a_day(entry: JournalEntry, kind: str, version: str, severity: str) -> None:
    """With the journal's sentence and reason."""
    assert told(OVER, entry) == [(kind, version, severity, "Done. Because.")]
    assert told(OVER, entry, now=100.0 + 86_400) == []


@pytest.mark.parametrize("kind", ["abort", "promote", "set_stable", "start"])
def test_what_a_person_wanted_is_no_alert(kind: str) -> None:
    """An abort least of all."""
    assert told(OVER, turn(kind, candidate="2")) == []


def test_a_promotion_is_news() -> None:
    """Over when it is told, and named after its rollout, so that nobody takes two for one."""
    news = news_of(turn("promote", rollout_id="r", stable="2"))
    assert news is not None
    assert (news.id, news.event, news.version, news.ended) == ("promoted-r-1", "promoted", "2", 100.0)
    assert (news.title, news.summary) == ("[promoted] wine:2 rollout (warn)", "Done. Because.")
    assert news_of(turn("advance")) is None
