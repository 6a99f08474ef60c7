"""Alerts of a real server: they reach a receiver that hangs, dies and comes back, also when the steward is killed."""

from __future__ import annotations

import json
import os
import signal
import time
from dataclasses import replace
from pathlib import Path

from serinus.monitors.alerts import Condition
from serinus.monitors.notifiers import is_authentic
from serinus.serving.alerting import report
from serinus.serving.store import SqliteStore
from tests.integration.client import Crowd
from tests.integration.conftest import Start
from tests.integration.server import eventually, metric
from tests.integration.zoo import CREDIT_ROWS
from tests.monitors.notifiers.receiver import Received, Receiver, receiver

__all__ = ["receiver"]

SEEN = Condition("credit", "1", "error_rate", "alarm", True, "3 % of the requests fail.", {"share": 0.03})
KEY = "a key that both know"


def test_alerts_survive_everything(home: Path, start: Start, receiver: Receiver) -> None:
    """The receiver hangs, the steward is killed, the receiver dies and comes back; each message arrives, in order,
    signed, under one id; requests are answered all the while, and everybody can see how it stands."""
    receiver.behaviour = "hang"
    server = start(home, environ={
        "SERINUS_MONITORS_ENABLED": "false",  # the crowd asks one row again and again, which they would find odd
        "SERINUS_ALERTS_FOR_SECONDS": "1", "SERINUS_ALERTS_KEEP_FIRING_SECONDS": "1", "HOOK_KEY": KEY,
        "SERINUS_ALERTS_NOTIFIERS": json.dumps({"ops": {
            "kind": "webhook", "url": f"{receiver.url}/hook", "secret_env": "HOOK_KEY", "timeout_seconds": 30}})})
    store = SqliteStore(server.home.store, create=False)
    with Crowd([server.client() for _ in range(2)], lambda client, _: client.post("/predict/credit", CREDIT_ROWS),
               pause=0.01) as crowd:
        report(store, SEEN, time.time())
        receiver.wait_for(1, 20)
        before = server.steward()
        os.kill(before, signal.SIGKILL)
        receiver.released.set()
        receiver.behaviour = 503
        receiver.wait_for(2, 60)  # once the lease of the dead one is over
        receiver.die()
        report(store, replace(SEEN, active=False), time.time())
        crowd.wait_for(100)
        receiver.live().behaviour = 200
        eventually(lambda: "resolved" in events(receiver.received), 60)
    assert server.steward() != before
    (alert,) = server.client().get("/api/alerts").json()["alerts"]
    assert (alert["model"], alert["kind"], alert["state"]) == ("credit", "error_rate", "resolved")
    taken = [one for one in receiver.received if is_authentic(KEY, one.headers, one.body, time.time())]
    assert len(taken) == len(receiver.received)
    assert {one.headers["Idempotency-Key"] for one in taken} == {f"{alert['id']}-2", f"{alert['id']}-3"}
    assert events(taken)[-1] == "resolved" and set(events(taken)[:-1]) == {"firing"}
    delivered = {"serinus_notifier": "ops", "serinus_notification_outcome": "delivered"}
    eventually(lambda: metric(server.client().get("/metrics").body.decode(), "serinus_notifications_total",
                              **delivered) == 2, 10)
    assert "3 % of the requests fail." in server.output()
    assert [entry.kind for entry in store.journal("credit") if entry.kind.startswith("alert.")] == [
        "alert.pending", "alert.firing", "alert.resolved"]


def events(received: list[Received]) -> list[str]:
    return [one.json["data"]["event"] for one in received]
