"""Who is told of alerts: who listens, who does not, and what no server would start with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from serinus.serving.doctor.alerts import look_at_alerts
from serinus.serving.doctor.check import Check
from serinus.serving.home import Home
from serinus.serving.published_alerts import publish
from serinus.serving.settings import Settings
from tests.monitors.notifiers.receiver import Receiver, receiver

__all__ = ["receiver"]


def look(home: Path, **alerts: Any) -> list[Check]:
    return list(look_at_alerts(Settings.model_validate({"home": home, **alerts}), Home(home)))


def test_nobody_but_the_log(tmp_path: Path) -> None:
    """By default."""
    (found,) = look(tmp_path)
    assert found.state == "ok" and "server's log only" in found.says


def test_who_listens_and_who_does_not(tmp_path: Path, receiver: Receiver) -> None:
    """Each by name, without its secret address; nothing is sent."""
    dead = Receiver()
    found = look(tmp_path, alerts={"notifiers": {
        "am": {"kind": "alertmanager", "url": dead.url}, "ops": {"kind": "slack", "url": f"{receiver.url}/s3cret"},
        "journal": {"kind": "log"}}})
    assert [(check.state, check.says) for check in found] == [
        ("problem", f"Notifier am: nobody listens at {dead.url}: connection refused."),
        ("ok", "Notifier journal: the server's log."), ("ok", f"Notifier ops: {receiver.url} listens.")]
    assert receiver.received == []


def test_what_no_server_would_start_with(tmp_path: Path) -> None:
    """In the sentence that it would end with."""
    (found,) = look(tmp_path, alerts={"notifiers": {"ops": {"kind": "pigeon"}}})
    assert found.state == "problem" and "'alerts.notifiers.ops': Kind 'pigeon': expected one of" in found.says


def test_messages_that_wait_are_a_warning(tmp_path: Path) -> None:
    """When attempts failed; those that are only on their way are none."""
    counts = {"delivered": 0, "failures": 4, "given_up": 0, "waiting": 2}
    publish(tmp_path / "run", {"alerts": [], "silences": [], "counts": {}, "notifications": {
        "ops": counts, "log": {**counts, "failures": 0}}})
    found = look(tmp_path)[-1]
    assert (found.state, found.says) == ("warning", "2 messages to ops wait, after 4 attempts that failed.")
