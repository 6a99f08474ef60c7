"""What to do about alerts: mend the pipeline, recalibrate, train again, or go back; and whether to start it now.

A policy over evidence, not a statistic, and pure: `recommend` looks at the alerts that fire, `decide` at the time.

| alerts that fire | action | because |
|---|---|---|
| missing or unseen values, unit slips | fix pipeline | a model trained on it learns the fault |
| errors, latency, losses, begun after a promotion | roll back | what was changed is the likeliest cause |
| losses; drift that is large (`act`) or of the answers | retrain | the world has changed |
| miscalibration | recalibrate | cheaper, and enough |
| drift that is certain but small | none | by itself it is no harm |

The first line that applies decides; the others stand as reasons.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

from serinus.monitors.alerts import Alert, AlertState

__all__ = ["Action", "Circumstances", "Decision", "Past", "Recommendation", "RetrainingPolicy", "Trigger", "decide",
           "last_planned", "recommend"]

Action = Literal["none", "fix pipeline", "roll back", "retrain", "recalibrate"]
Trigger = Literal["event", "calendar", "person"]

_BROKEN = frozenset({"missing", "unseen", "unit_slip"})
_FAILING = frozenset({"error_rate", "latency"})
_LOSS = frozenset({"loss", "performance", "estimated_performance"})
_CALIBRATION = frozenset({"calibration"})
_DRIFT = frozenset({"drift", "sudden_change"})
_BLAME_S = 7 * 86_400.0
_DAY_S = 86_400


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What is known of a version besides its alerts: when it became stable, and which version was stable before."""

    promoted_at: float | None = None
    previous: str | None = None


@dataclass(frozen=True, slots=True)
class Recommendation:
    """What should be done about one model version, why, and which alerts say so."""

    action: Action
    reasons: tuple[str, ...] = ()
    alerts: tuple[str, ...] = ()
    since: float | None = None
    """When the earliest of these alerts began."""


@dataclass(frozen=True, slots=True)
class RetrainingPolicy:
    """When something is started. Spans are in seconds, the time of day is UTC."""

    actions: frozenset[Action] = frozenset({"retrain", "recalibrate"})
    cooldown_seconds: float = 86_400.0
    window_seconds: float = 7 * 86_400.0
    every_days: int = 0
    at: str = "03:00"


@dataclass(frozen=True, slots=True)
class Past:
    """What happened before: when this model was first looked at, when something was last started, whether it runs."""

    known_since: float
    last_started: float | None = None
    runs: bool = False


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether to start now, why (a sentence), and with which data: from and to, Unix times."""

    start: bool
    why: str
    trigger: Trigger = "event"
    window: tuple[float, float] = field(default=(0.0, 0.0))


def recommend(alerts: Iterable[Alert], about: Circumstances | None = None) -> Recommendation:
    """What to do about the alerts of one version."""
    firing = sorted((alert for alert in alerts if alert.state is AlertState.FIRING),
                    key=lambda alert: (alert.pending_since, alert.id))
    about = about or Circumstances()
    found: list[tuple[Action, list[Alert], str]] = [
        ("fix pipeline", [alert for alert in firing if _is_broken(alert)],
         "The data is broken: {}. Mend what delivers it; a model trained on it would learn the fault."),
        ("roll back", [alert for alert in firing if _blames_promotion(alert, about)],
         f"It began after this version was promoted: {{}}. Version {about.previous} was stable before."),
        ("retrain", [alert for alert in firing if _asks_for_training(alert)],
         "The world has changed: {}."),
        ("recalibrate", [alert for alert in firing if alert.kind in _CALIBRATION],
         "The scores are off, the order may still be right: {}."),
    ]
    told = [(action, found_by, reason) for action, found_by, reason in found if found_by]
    if not told:
        small = tuple(f"No action: {_words(alert)}" for alert in firing)
        return Recommendation("none", small, tuple(alert.id for alert in firing), _first(firing))
    seen = [alert for _, found_by, _ in told for alert in found_by]
    reasons = tuple(reason.format("; ".join(_words(alert) for alert in found_by)) for _, found_by, reason in told)
    return Recommendation(told[0][0], reasons, tuple(dict.fromkeys(alert.id for alert in seen)), _first(seen))


def decide(advice: Recommendation, past: Past, policy: RetrainingPolicy, now: float, *,
           maintenance: bool = False) -> Decision:
    """Whether to start something now, by what the monitors say or by the calendar."""
    window = (now - policy.window_seconds, now)
    if past.runs:
        return Decision(False, "One is under way.", window=window)
    if maintenance:
        return Decision(False, "The model is in maintenance.", window=window)
    planned = last_planned(policy, now)
    is_planned = planned is not None and planned > max(past.known_since, past.last_started or 0.0)
    wanted = advice.action in policy.actions
    if not wanted and not is_planned:
        return Decision(False, _why_not(advice, policy, now), window=window)
    if not wanted and advice.action == "fix pipeline":
        return Decision(False, f"It is planned, but not with broken data. {advice.reasons[0]}", window=window)
    ready = (past.last_started or float("-inf")) + policy.cooldown_seconds
    if now < ready:
        return Decision(False, f"One was started before; the next may be after {_moment(ready)}.", window=window)
    if wanted:
        return Decision(True, advice.reasons[0], "event", window)
    return Decision(True, f"It is planned every {policy.every_days} days at {policy.at} UTC.", "calendar", window)


def last_planned(policy: RetrainingPolicy, now: float) -> float | None:
    """The latest time up to now that the calendar names; None where there is no calendar.

    Days are counted from 1970-01-01, so that every steward names the same ones.
    """
    if policy.every_days == 0:
        return None
    hour, minute = map(int, policy.at.split(":"))
    offset = hour * 3600 + minute * 60
    period = policy.every_days * _DAY_S
    return float((now - offset) // period * period + offset)


def _why_not(advice: Recommendation, policy: RetrainingPolicy, now: float) -> str:
    planned = last_planned(policy, now)
    after = 0.0 if planned is None else planned + policy.every_days * _DAY_S
    following = "" if planned is None else f" The calendar's next time is {_moment(after)}."
    if advice.action == "none":
        return f"Nothing asks for it.{following}"
    words = advice.action.replace("fix", "fix the")
    return f"The recommended action is to {words}, which a person does.{following}"


def _is_broken(alert: Alert) -> bool:
    return alert.kind in _BROKEN or alert.facts.get("pattern") in _BROKEN


def _blames_promotion(alert: Alert, about: Circumstances) -> bool:
    if about.promoted_at is None or about.previous is None or alert.kind not in _FAILING | _LOSS:
        return False
    return 0 <= alert.pending_since - about.promoted_at <= _BLAME_S


def _asks_for_training(alert: Alert) -> bool:
    if _is_broken(alert):
        return False
    matters = alert.severity == "act" or alert.facts.get("outputs") is True
    return alert.kind in _LOSS or (alert.kind in _DRIFT and matters)


def _words(alert: Alert) -> str:
    return alert.summary.rstrip(".").replace("{", "(").replace("}", ")")


def _first(alerts: Sequence[Alert]) -> float | None:
    return min((alert.pending_since for alert in alerts), default=None)


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")
