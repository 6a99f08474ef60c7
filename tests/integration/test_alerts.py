"""Alerts of a real server: they reach a receiver that hangs, dies and comes back, also when the steward is killed."""

from __future__ import annotations

import json
import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

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
SECRET = "Mnemosyne-4711"
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


def test_drift_of_requests_is_told_and_trained_for(home: Path, start: Start, receiver: Receiver) -> None:
    """From rows that the reference never had so many of to a message, an entry of the journal, and the user's command;
    no value of a request is in any of them."""
    server = start(home, environ={
        "SERINUS_MONITORS_OBSERVE_SHARE": "1e9", "SERINUS_ALERTS_FOR_SECONDS": "1",
        "SERINUS_ALERTS_NOTIFIERS": json.dumps({"chat": {"kind": "slack", "url": receiver.url}}),
        "SERINUS_RETRAINING_ENABLED": "true", "SERINUS_RETRAINING_COMMAND": "touch,trained"})
    draw = np.random.default_rng(3)
    with server.client() as client:
        def tell() -> bool:
            ages, incomes = draw.integers(65, 80, 50), draw.normal(3e4, 9e3, 50)
            rows = [{"age": int(age), "income": float(income), "city": SECRET if not number else "Rome"}
                    for number, (age, income) in enumerate(zip(ages, incomes, strict=True))]
            assert client.post("/predict/credit", {"rows": rows}).status == 200
            time.sleep(0.1)
            return bool(receiver.received)

        eventually(tell, 60)
        told = receiver.received[0].json
        assert told["text"].startswith("*[firing] credit:1 drift (a") and "age" in told["attachments"][0]["text"]
        eventually(lambda: list((home / "retraining" / "credit").glob("*/trained")), 30)
        (alert, *_) = client.get("/api/alerts").json()["alerts"]
    reason = json.loads(next((home / "retraining" / "credit").glob("*/reason.json")).read_text())
    assert (reason["action"], reason["alerts"][0]["id"]) == ("retrain", alert["id"])
    assert all(SECRET.encode() not in one.body for one in receiver.received)
    kept = [*(home / "retraining").rglob("*.*"), home / "run" / "alerts.json"]
    assert len(kept) >= 4 and all(SECRET not in path.read_text() for path in kept if path.is_file())


def events(received: list[Received]) -> list[str]:
    return [one.json["data"]["event"] for one in received]
