"""Delivering: every message arrives in order, through failures, hangs and deaths of receivers and stewards; none is
sent by two."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from serinus.monitors.alerts import Condition, Silence
from serinus.monitors.notifiers.testing import examples
from serinus.serving.alerting import change_book, enqueue, message_counts, read_book, report, waiting
from serinus.serving.steward.deliver_notifications import DeliverNotifications, pause_s
from serinus.serving.steward.evaluate_alerts import EvaluateAlerts
from serinus.serving.steward.hold_lease import HoldLease
from serinus.serving.steward.job import Shared
from serinus.serving.store import Fenced
from tests.monitors.notifiers.receiver import Receiver, receiver
from tests.serving.steward.hosts import serve, shared
from tests.serving.steward.test_evaluate_alerts import Clock, clock

__all__ = ["clock", "receiver"]

FIRING = examples()[0]
OVER = replace(FIRING, id="6f1c0a9d2b7e-10", event="resolved", at=FIRING.at + 60, ended=FIRING.at + 60)


def leader(home: Path, **notifiers: dict[str, Any]) -> Shared:
    made = shared(home, alerts={"notifiers": notifiers})
    serve(made)
    HoldLease().run(made)
    return made


def slack(receiver: Receiver, **options: object) -> dict[str, object]:
    return {"kind": "slack", "url": f"{receiver.url}/", **options}


def run(job: DeliverNotifications, host: Shared, until: Any, patience_s: float = 10.0) -> None:
    """Turn after turn, until it is so."""
    deadline = time.monotonic() + patience_s
    while not until():
        assert time.monotonic() < deadline, waiting(host.store)
        job.run(host)
        time.sleep(0.01)


def ids(receiver: Receiver) -> list[str]:
    return [one.headers["Idempotency-Key"] for one in receiver.received]


def test_messages_arrive_and_are_forgotten(tmp_path: Path, receiver: Receiver, clock: Clock) -> None:
    """In the order in which things happened, once."""
    host = leader(tmp_path, ops=slack(receiver))
    for message in (FIRING, OVER, FIRING):
        enqueue(host.store, message, ["ops"], clock.now, 60)
    run(DeliverNotifications(clock), host, lambda: not waiting(host.store))
    assert ids(receiver) == [FIRING.id, OVER.id]
    assert message_counts(host.store)["ops"] == {"delivered": 2, "failures": 0, "given_up": 0, "waiting": 0}


def test_a_receiver_that_fails_is_tried_again_and_again(tmp_path: Path, receiver: Receiver, clock: Clock) -> None:
    """With growing pauses and under the same id; the end is not told before the beginning arrived."""
    host, job = leader(tmp_path, ops=slack(receiver)), DeliverNotifications(clock, lambda: 1.0)
    enqueue(host.store, FIRING, ["ops"], clock.now, 3600)
    enqueue(host.store, OVER, ["ops"], clock.now, 3600)
    receiver.behaviour = 503
    for failures, pause in ((1, 2.0), (2, 4.0), (3, 8.0)):
        run(job, host, lambda failures=failures: message_counts(host.store)["ops"]["failures"] == failures)
        assert waiting(host.store)[0][0].due == clock.now + pause
        clock.now += pause - 0.1
        job.run(host)
        assert len(receiver.received) == failures
        clock.now += 0.1
    receiver.behaviour = 200
    run(job, host, lambda: not waiting(host.store))
    assert ids(receiver) == [FIRING.id] * 4 + [OVER.id]


def test_a_receiver_may_ask_for_a_longer_pause(tmp_path: Path, receiver: Receiver, clock: Clock) -> None:
    """By Retry-After."""
    host, job = leader(tmp_path, ops=slack(receiver)), DeliverNotifications(clock)
    receiver.behaviour, receiver.headers = 429, {"Retry-After": "77"}
    enqueue(host.store, FIRING, ["ops"], clock.now, 3600)
    run(job, host, lambda: message_counts(host.store)["ops"]["failures"] == 1)
    assert waiting(host.store)[0][0].due == clock.now + 77


def test_a_hanging_receiver_holds_up_nobody(tmp_path: Path, receiver: Receiver, clock: Clock) -> None:
    """Neither another notifier nor the steward."""
    hanging = Receiver().live()
    hanging.behaviour = "hang"
    host = leader(tmp_path, slow=slack(hanging, timeout_seconds=20), ops=slack(receiver))
    enqueue(host.store, FIRING, ["slow", "ops"], clock.now, 60)
    job = DeliverNotifications(clock)
    job.run(host)
    hanging.wait_for(1)
    run(job, host, lambda: [message.notifier for message, _ in waiting(host.store)] == ["slow"])
    job.run(host)
    assert len(hanging.received) == 1
    hanging.released.set()
    hanging.die()


def test_a_receiver_dies_and_comes_back(tmp_path: Path, receiver: Receiver, clock: Clock) -> None:
    """On the same port: what was missed arrives."""
    host, job = leader(tmp_path, ops=slack(receiver)), DeliverNotifications(clock)
    receiver.die()
    enqueue(host.store, FIRING, ["ops"], clock.now, 3600)
    run(job, host, lambda: message_counts(host.store)["ops"]["failures"] == 1)
    assert "Connection refused" in waiting(host.store)[0][0].error
    receiver.live()
    clock.now += 5
    run(job, host, lambda: not waiting(host.store))
    assert ids(receiver) == [FIRING.id]


def test_a_message_is_given_up_at_its_deadline(tmp_path: Path, receiver: Receiver, clock: Clock) -> None:
    """The journal says so, and why."""
    host, job = leader(tmp_path, ops=slack(receiver)), DeliverNotifications(clock)
    receiver.behaviour = 500
    enqueue(host.store, replace(FIRING, model="wine"), ["ops"], clock.now, 60)
    run(job, host, lambda: message_counts(host.store)["ops"]["failures"] == 1)
    clock.now += 60
    job.run(host)
    assert waiting(host.store) == [] and message_counts(host.store)["ops"]["given_up"] == 1
    entry = host.store.journal("wine")[-1]
    assert entry.kind == "alert.undelivered" and "answered 500" in entry.reason


def test_a_steward_that_died_while_sending_is_replaced(tmp_path: Path, receiver: Receiver, clock: Clock) -> None:
    """The next one sends it at once under its own epoch, with the same id; the first, if it lives, changes nothing."""
    receiver.behaviour = "hang"
    first = leader(tmp_path, ops=slack(receiver, timeout_seconds=20))
    enqueue(first.store, FIRING, ["ops"], clock.now, 3600)
    stalled = DeliverNotifications(clock)
    stalled.run(first)
    receiver.wait_for(1)
    assert first.lease is not None
    first.store.release_lease(first.lease)
    second = replace(first, holder="steward-2", lease=None)
    HoldLease().run(second)
    receiver.behaviour = 200
    run(DeliverNotifications(clock), second, lambda: not waiting(second.store))
    assert ids(receiver) == [FIRING.id, FIRING.id]
    receiver.released.set()
    enqueue(first.store, OVER, ["ops"], clock.now, 3600)
    with pytest.raises(Fenced):
        stalled.run(first)
    assert len(receiver.received) == 2


def test_without_the_lease_nothing_is_sent(tmp_path: Path, receiver: Receiver, clock: Clock) -> None:
    """Two stewards do not both send."""
    host = replace(leader(tmp_path, ops=slack(receiver)), lease=None)
    enqueue(host.store, FIRING, ["ops"], clock.now, 60)
    job = DeliverNotifications(clock)
    for _ in range(20):
        job.run(host)
        time.sleep(0.01)
    assert receiver.received == [] and len(waiting(host.store)) == 1


def test_a_notifier_that_cannot_be_made_keeps_its_messages(tmp_path: Path, receiver: Receiver, clock: Clock,
                                                          caplog: pytest.LogCaptureFixture) -> None:
    """Others are sent; a start with better options sends these too."""
    host = leader(tmp_path, ops=slack(receiver), bad={"kind": "slack", "url_env": "SURELY_NOT_SET"})
    enqueue(host.store, FIRING, ["bad", "ops"], clock.now, 60)
    run(DeliverNotifications(clock), host, lambda: len(waiting(host.store)) == 1)
    assert "'alerts.notifiers.bad': Option url: expected text" in caplog.text
    better = leader(tmp_path, bad=slack(receiver))
    run(DeliverNotifications(clock), better, lambda: not waiting(better.store))
    assert len(receiver.received) == 2


def test_alertmanager_is_told_again_while_it_fires(tmp_path: Path, receiver: Receiver, clock: Clock) -> None:
    """Every minute, with a later end; not while it is silenced, and not what was never told."""
    host = leader(tmp_path, am={"kind": "alertmanager", "url": receiver.url})
    job, evaluate = DeliverNotifications(clock), EvaluateAlerts(clock)
    seen = Condition("wine", "1", "drift", "alarm", True, "age moved.", {}, ("age",))
    for seconds in (0, 60):
        clock.now += seconds
        report(host.store, seen, clock.now)
        evaluate.run(host)
    run(job, host, lambda: not waiting(host.store))
    receiver.wait_for(1)
    told = len(receiver.received)
    clock.now += 61
    run(job, host, lambda: len(receiver.received) == told + 1)
    run(job, host, lambda: message_counts(host.store)["am"]["delivered"] == told + 1)
    (alert,) = read_book(host.store)[0].alerts
    assert {one.json[0]["labels"]["alert_id"] for one in receiver.received} == {alert.id}
    change_book(host.store, lambda book: book.silenced(Silence("s", clock.now, clock.now + 1000, "ana")))
    clock.now += 61
    for _ in range(20):
        job.run(host)
        time.sleep(0.01)
    assert len(receiver.received) == told + 1


def test_pauses_grow_and_differ_by_chance() -> None:
    """2 s, 4 s … 10 minutes, each between half and the whole."""
    assert [pause_s(attempts, 1.0) for attempts in (1, 2, 3, 9, 10, 1000)] == [2, 4, 8, 512, 600, 600]
    assert pause_s(2, 0.0) == 2 and pause_s(2, 0.5) == 3


def test_the_log_is_told_too(tmp_path: Path, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    """Without any settings."""
    host = leader(tmp_path)
    enqueue(host.store, FIRING, ["log"], clock.now, 60)
    run(DeliverNotifications(clock), host, lambda: not waiting(host.store))
    assert "[firing] credit:3 drift (alarm) age and income moved." in caplog.text
