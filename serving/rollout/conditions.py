"""What people are told of a rollout, as conditions for alerts, and as the news that it is over.

| kind | severity | while |
|---|---|---|
| `rollout_held` | alarm; warn where a person holds it | it is held or frozen |
| `rollout_waits` | alarm | a person's approval is all that is missing |
| `rolled_back`, `rollout_rejected` | alarm | no other rollout has begun, for a day at most |
| `store_restored` | act | the same: the store knew less than the workers, and what they followed was put back |
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from serinus.monitors.alerts import Condition, Severity
from serinus.monitors.notifiers import Notification
from serinus.serving.rollout.analysis import APPROVAL
from serinus.serving.rollout.state import Phase, RolloutRecord
from serinus.serving.store import JournalEntry

__all__ = ["AT_ONCE", "KINDS", "TURNS", "news_of", "of_rollout"]

HELD, WAITS = "rollout_held", "rollout_waits"
_ENDED: Mapping[str, tuple[str, Severity]] = {
    "roll_back": ("rolled_back", "alarm"), "reject": ("rollout_rejected", "alarm"),
    "restored": ("store_restored", "act")}
AT_ONCE = frozenset(kind for kind, _ in _ENDED.values())
"""What has happened is told at once; what may pass has to last first."""
KINDS = frozenset({HELD, WAITS}) | AT_ONCE
TURNS = frozenset({*_ENDED, "start", "step", "advance", "promote", "abort", "set_stable"})
"""Kinds of journal entries after which an earlier ending is no news any more."""
_LONGEST_S = 86_400.0


def of_rollout(record: RolloutRecord, turn: JournalEntry | None, verdict: Mapping[str, Any] | None,
               now: float) -> list[Condition]:
    """What is to be told now; conditions that are not named do not hold.

    Args:
        record: where the model's rollout stands.
        turn: the journal's latest entry of `TURNS`.
        verdict: the latest one of the model, if any.
        now: Unix time.
    """
    if record.phase in (Phase.HOLD, Phase.FROZEN):
        return [_held(record)]
    waits = verdict is not None and verdict["step_id"] == record.step_id and verdict["cause"] == APPROVAL
    if verdict is not None and waits and record.running and record.approvers_missing:
        return [Condition(record.model, str(record.candidate), WAITS, "alarm", True, verdict["reason"])]
    if turn is None or turn.kind not in _ENDED or now - turn.time >= _LONGEST_S:
        return []
    kind, severity = _ENDED[turn.kind]
    version = str(turn.body.get("candidate") or record.stable)
    return [Condition(record.model, version, kind, severity, True, _said(turn), {"actor": turn.actor})]


def news_of(turn: JournalEntry) -> Notification | None:
    """The message that a candidate was promoted; None for any other entry."""
    if turn.kind != "promote":
        return None
    about = f"promoted-{turn.body['rollout_id']}"
    return Notification(f"{about}-1", "promoted", about, turn.model, str(turn.body["stable"]), "rollout", "warn",
                        _said(turn), (), {"actor": turn.actor}, turn.time, turn.time, turn.time)


def _held(record: RolloutRecord) -> Condition:
    by = record.cause or record.actor
    text = f"The rollout of version {record.candidate} is held at {record.weight / 100:g} % by {by}. {record.reason}"
    severity: Severity = "alarm" if record.cause else "warn"
    return Condition(record.model, str(record.candidate), HELD, severity, True, text.strip(), {"actor": record.actor})


def _said(turn: JournalEntry) -> str:
    text = str(turn.body.get("text") or "The record of the rollout was restored.")
    return f"{text} {turn.reason[:1].upper()}{turn.reason[1:]}".strip()
