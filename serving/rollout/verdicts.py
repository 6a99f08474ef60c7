"""The latest verdict of a rollout as a document: the judge writes it, status, `explain` and the API read it."""

from __future__ import annotations

from collections.abc import Mapping
from math import exp, inf
from typing import Any

import orjson

from serinus.serving.rollout.analysis import Check, Verdict
from serinus.serving.rollout.judgement import Judgement
from serinus.serving.rollout.state import Phase, RolloutRecord
from serinus.serving.store import Conflict, Document, Store

__all__ = ["KIND", "REVERSE", "STALE_S", "analysis", "publish", "read", "read_reverse", "to_dict"]

KIND = "verdict"
"""Of the documents; their key is the model's name."""
REVERSE = "rollout.reverse"
"""Of the documents that say what a rollback after the promotion would break; by the model's name."""
STALE_S = 60.0
"""A verdict that is older says nothing of now."""
_FORMAT = 1
_ENDED = {Phase.PROMOTED: "successful", Phase.ROLLING_BACK: "failed", Phase.ROLLED_BACK: "failed",
          Phase.REJECTED: "failed"}
_WORDS = {"advance": "successful", "roll_back": "failed", "hold": "inconclusive", "wait": "running"}
_MOST = 1e12


def to_dict(record: RolloutRecord, plan: Judgement, verdict: Verdict, now: float) -> dict[str, Any]:
    """The verdict as JSON values: of which rollout and step, what to do and why, and each check with its counts."""
    return {"format": _FORMAT, "rollout_id": record.rollout_id, "step_id": record.step_id, "phase": str(record.phase),
            "weight": record.weight, "stable": record.stable, "candidate": record.candidate, "time": now,
            "action": str(verdict.action), "reason": verdict.reason, "cause": verdict.cause, "risk": verdict.risk,
            "checks": [_check(check, plan) for check in verdict.checks]}


def analysis(record: RolloutRecord, latest: Mapping[str, Any] | None, now: float,
             reverse: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """How a model's rollout stands, for those who move the traffic themselves.

    `verdict` is `successful` (go on), `failed` (take it off), `running` (too early), `inconclusive` (nothing can be
    concluded: hold) or `error` (nobody judges); missing data is never successful. `reverse` is what
    `read_reverse` gave.
    """
    ours = latest if latest is not None and latest["rollout_id"] == record.rollout_id else None
    word, reason = _word(record, ours, now)
    return {"model": record.model, "verdict": word, "reason": reason, "phase": str(record.phase),
            "rollout_id": record.rollout_id, "step_id": record.step_id, "step": record.step, "weight": record.weight,
            "shadow_weight": record.shadow_weight, "stable": record.stable, "candidate": record.candidate,
            "risk": ours["risk"] if ours else "", "time": ours["time"] if ours else None,
            "judged": {name: ours[name] for name in ("step_id", "stable", "candidate")} if ours else None,
            "checks": ours["checks"] if ours else [],
            "reverse": reverse["sentences"] if reverse and reverse["rollout_id"] == record.rollout_id else []}


def _word(record: RolloutRecord, latest: Mapping[str, Any] | None, now: float) -> tuple[str, str]:
    if record.phase in _ENDED:
        return _ENDED[record.phase], record.reason or f"The rollout has ended: {record.phase}."
    if not record.running:
        return "inconclusive", "No rollout is under way."
    if record.plan is None or record.plan.judgement is None:
        return "inconclusive", "A person takes the steps of this plan."
    if record.phase in (Phase.HOLD, Phase.FROZEN):
        return "inconclusive", record.reason or f"It is held by {record.cause or record.actor}."
    if record.phase is Phase.PREFLIGHT:
        return "running", "The candidate is checked and loaded."
    if latest is None or latest["step_id"] != record.step_id:
        late = now - record.updated > STALE_S
        return ("error", "Nobody has judged this step: is there a server with a steward?") if late else (
            "running", "This step has just begun.")
    if now - latest["time"] > STALE_S:
        return "error", f"The latest verdict is {now - latest['time']:.0f} s old: is there a server with a steward?"
    return _WORDS[latest["action"]], latest["reason"]


def publish(store: Store, model: str, body: Mapping[str, Any], now: float, *, epoch: int | None = None) -> None:
    """Replace the model's latest verdict. Who loses a race has an older one, and drops it."""
    known = store.document(KIND, model)
    revision = 0 if known is None else known.revision
    try:
        store.put_document(Document(KIND, model, revision + 1, orjson.dumps(dict(body)), now),
                           expected_revision=revision, epoch=epoch)
    except Conflict:
        return


def read(store: Store, model: str) -> dict[str, Any] | None:
    """The model's latest verdict as `to_dict` gave it; None before the first, and for a format of another release."""
    document = store.document(KIND, model)
    if document is None:
        return None
    body = orjson.loads(document.body)
    return body if isinstance(body, dict) and body.get("format") == _FORMAT else None


def read_reverse(store: Store, model: str) -> dict[str, Any] | None:
    """What a rollback after the promotion would break, as far as it was looked at: `rollout_id` and `sentences`."""
    document = store.document(REVERSE, model)
    return None if document is None else dict(orjson.loads(document.body))


def _check(check: Check, plan: Judgement) -> dict[str, Any]:
    low, high = check.interval(plan.alpha)
    return {"name": check.name, "kind": check.kind, **check.arms._asdict(),
            "ratio_low": low, "ratio_high": None if high == inf else high,
            "e_value": min(_MOST, exp(min(check.evidence, 700.0))), "e_needed": exp(check.limit),
            "meter": check.meter, "harmful": check.harmful, "route": check.route(plan),
            "upper": check.upper(plan.beta) if check.arms.candidate_units else None, "text": check.text()}
