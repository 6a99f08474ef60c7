"""Alertmanager's API v2: labels that name the alert, an end that is moved on while it fires, and its end at last."""

from __future__ import annotations

from dataclasses import replace

from serinus.monitors.notifiers import make_notifier
from serinus.monitors.notifiers.testing import examples
from tests.monitors.notifiers.receiver import Receiver, receiver

__all__ = ["receiver"]


def test_the_alert_is_what_the_documentation_shows(receiver: Receiver) -> None:
    """One alert; facts are annotations, so that they do not make it another one."""
    given = {"url": f"{receiver.url}/am/", "labels": {"team": "ml"}}
    make_notifier("alertmanager", given).send(examples()[0].attempt(1767225660.0))
    (one,) = receiver.received
    assert one.path == "/am/api/v2/alerts"
    assert one.json == [{
        "labels": {"team": "ml", "alertname": "serinus_drift", "model": "credit", "model_version": "3",
                   "severity": "alarm", "alert_id": "6f1c0a9d2b7e"},
        "annotations": {"summary": "age and income moved.", "features": "age, income", "fact_evidence": "1.0",
                        "fact_rows": "4096", "fact_age": "up 0.3 sd"},
        "startsAt": "2026-01-01T00:00:00Z", "endsAt": "2026-01-01T00:05:00Z"}]


def test_a_late_message_still_fires(receiver: Receiver) -> None:
    """The end counts from the time of the attempt, not from what it tells: else an outage would resolve it."""
    made = make_notifier("alertmanager", {"url": receiver.url, "resend_seconds": 30.0})
    firing = examples()[0]
    made.send(firing.attempt(firing.at + 3600))
    made.send(replace(firing, event="resolved", ended=firing.at + 600).attempt(firing.at + 7200))
    assert [one.json[0]["endsAt"] for one in receiver.received] == ["2026-01-01T01:02:00Z", "2026-01-01T00:10:00Z"]
