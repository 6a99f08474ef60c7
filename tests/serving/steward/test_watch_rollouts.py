"""Telling of rollouts: who waits, what was held, taken off or promoted reaches a real receiver once, whoever dies."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from serinus.serving.alerting import read_book
from serinus.serving.rollout import Judgement, Plan, RolloutRecord, controller, verdicts
from serinus.serving.rollout.analysis import APPROVAL, Action, Verdict
from serinus.serving.rollout.transitions import Advance, Hold, Resume
from serinus.serving.snapshot import read_snapshot
from serinus.serving.steward.deliver_notifications import DeliverNotifications
from serinus.serving.steward.evaluate_alerts import EvaluateAlerts
from serinus.serving.steward.hold_lease import HoldLease
from serinus.serving.steward.job import Shared
from serinus.serving.steward.restore_records import RestoreRecords
from serinus.serving.steward.watch_rollouts import WatchRollouts
from tests.monitors.notifiers.receiver import Receiver, receiver
from tests.serving.steward.hosts import lose_store, serve, shared

__all__ = ["receiver"]

JUDGEMENT = Judgement(shadow=0, soak_s=0, approve=1)
PLAN = Plan((5000,), manual=False, judgement=JUDGEMENT)
START = 1_767_225_600.0


class Steward:
    """The jobs that matter here, of one steward after another, at a time that goes as it is told."""

    def __init__(self, host: Shared) -> None:
        self.host = host
        self.now = START
        self.restart()

    def restart(self) -> None:
        """Another steward takes over."""
        self.jobs = [WatchRollouts(self.time), EvaluateAlerts(self.time), DeliverNotifications(self.time)]

    def time(self) -> float:
        return self.now

    def turn(self, seconds: float = 0.0) -> None:
        """All jobs once, after so long."""
        self.now += seconds
        for job in self.jobs:
            job.run(self.host)

    def until(self, true: Callable[[], object]) -> None:
        deadline = time.monotonic() + 30
        while not true():
            assert time.monotonic() < deadline
            self.turn()
            time.sleep(0.01)

    def let(self, event: Any, **details: Any) -> RolloutRecord:
        """Let it happen, by the steward."""
        return controller.decide(self.host.store, "wine", event, now=self.now, details=details).record


@pytest.fixture
def steward(tmp_path: Path, receiver: Receiver) -> Steward:
    """A leading steward with one notifier, of a model whose stable version is 1."""
    made = shared(tmp_path, alerts={"notifiers": {"ops": {"kind": "webhook", "url": receiver.url, "unsigned": True}}})
    serve(made)
    HoldLease().run(made)
    steward = Steward(made)
    steward.turn()
    return steward


def tried(steward: Steward) -> RolloutRecord:
    """Version 2 at half of the traffic."""
    record = controller.start(steward.host.store, "wine", "2", "d2", PLAN, "ana", now=steward.now).record
    return steward.let(Advance(record.step_id, actor="judge"))


def told(receiver: Receiver) -> list[tuple[str, str, str, str]]:
    """Event, version, kind and sentence of each message; what came twice has one id, and counts once."""
    data = {one.json["data"]["id"]: one.json["data"] for one in list(receiver.received)}
    return [(one["event"], one["version"], one["kind"], one["summary"]) for one in data.values()]


def test_a_hold_that_lasts_is_told_and_its_end_too(steward: Steward, receiver: Receiver) -> None:
    """With its cause; one that passes is not."""
    record = tried(steward)
    hold = Hold("silence", record.step_id, actor="judge", reason="Nothing was counted.")
    for seconds, event in ((0, hold), (30, Resume("silence", actor="judge")), (30, hold)):
        steward.now += seconds
        steward.let(event)
        steward.turn()
    steward.turn(59)
    assert told(receiver) == []
    steward.turn(1)
    steward.until(lambda: receiver.received)
    steward.let(Resume("silence", actor="judge"))
    for seconds in (0, 900):
        steward.turn(seconds)
    steward.until(lambda: len(told(receiver)) == 2)
    said = "The rollout of version 2 is held at 50 % by silence. Nothing was counted."
    assert told(receiver) == [("firing", "2", "rollout_held", said), ("resolved", "2", "rollout_held", said)]


def test_a_pause_of_a_person_is_a_remark(steward: Steward, receiver: Receiver) -> None:
    """Below what is told by default."""
    tried(steward)
    controller.pause(steward.host.store, "wine", "ana", now=steward.now)
    for seconds in (0, 60):
        steward.turn(seconds)
    assert read_book(steward.host.store)[0].alerts == ()


def test_an_approval_that_is_missing_is_told(steward: Steward, receiver: Receiver) -> None:
    """Until it is given; also where the counts in its sentence change with each look."""
    record = tried(steward)
    for seconds, count in ((0, 1), (60, 2)):
        verdict = Verdict(Action.WAIT, f"A person has to approve it. {count}.", cause=APPROVAL)
        verdicts.publish(steward.host.store, "wine", verdicts.to_dict(record, JUDGEMENT, verdict, steward.now),
                         steward.now)
        steward.turn(seconds)
    steward.until(lambda: receiver.received)
    controller.approve(steward.host.store, "wine", "ben", now=steward.now)
    for seconds in (0, 900):
        steward.turn(seconds)
    steward.until(lambda: len(told(receiver)) == 2)
    assert [one[:3] for one in told(receiver)] == [("firing", "2", "rollout_waits"),
                                                   ("resolved", "2", "rollout_waits")]


def test_a_rollback_is_told_at_once_though_everybody_dies(steward: Steward, receiver: Receiver) -> None:
    """Once, with its reason and who did it; it is over when another rollout has begun."""
    tried(steward)
    receiver.die()
    controller.roll_back(steward.host.store, "wine", "judge", now=steward.now, reason="errors: 12 of 400.")
    steward.turn()
    steward.restart()
    receiver.live()
    steward.turn(3)
    steward.until(lambda: receiver.received)
    said = "Rolled back version 2; stable 1 answers everything. Errors: 12 of 400."
    assert told(receiver) == [("firing", "2", "rolled_back", said)]
    record = steward.host.store.record("wine")
    assert record is not None
    controller.acknowledge(steward.host.store, "wine", record.generation, "judge", now=steward.now)
    steward.turn(3600)
    assert [alert.state for alert in read_book(steward.host.store)[0].alerts] == ["firing"]
    controller.start(steward.host.store, "wine", "3", "d3", PLAN, "ana", now=steward.now)
    for seconds in (0, 900):
        steward.turn(seconds)
    steward.until(lambda: len(told(receiver)) == 2)
    assert told(receiver)[-1][:3] == ("resolved", "2", "rolled_back")


def test_a_rollback_is_over_after_a_day(steward: Steward) -> None:
    """Nobody has to start another rollout for it."""
    tried(steward)
    controller.roll_back(steward.host.store, "wine", "judge", now=steward.now)
    for seconds in (0, 86_400, 900):
        steward.turn(seconds)
    assert [alert.state for alert in read_book(steward.host.store)[0].alerts] == ["resolved"]


def test_a_promotion_is_told_once(steward: Steward, receiver: Receiver) -> None:
    """Also by a steward that was not there then, and not again by the next one."""
    record = tried(steward)
    steward.restart()
    controller.promote(steward.host.store, "wine", "ana", now=steward.now, reason="it is better", force=True)
    steward.until(lambda: receiver.received)
    steward.restart()
    steward.turn(3)
    steward.turn(3)
    ((event, version, kind, said),) = told(receiver)
    assert (event, version, kind) == ("promoted", "2", "rollout")
    assert said.startswith("Promoted version 2 to stable by force") and said.endswith("It is better")
    assert receiver.received[0].json["data"]["alert"] == f"promoted-{record.rollout_id}"


def test_what_a_lost_store_knew_is_said_to_be_restored(steward: Steward, receiver: Receiver) -> None:
    """By the steward that saw it, which begins the journal anew."""
    host = steward.host
    tried(steward)
    host.publish()
    host.forget_store()
    lose_store(host.home)
    steward.now = time.time()
    RestoreRecords().run(host)
    assert read_snapshot(host.home.snapshot).records
    HoldLease().run(host)
    steward.until(lambda: receiver.received)
    assert [one[:3] for one in told(receiver)] == [("firing", "1", "store_restored")]
    assert receiver.received[0].json["data"]["severity"] == "act"


def test_only_the_holder_of_the_lease_tells(steward: Steward, receiver: Receiver) -> None:
    """Others see the same store."""
    tried(steward)
    steward.host.lease = None
    controller.roll_back(steward.host.store, "wine", "judge", now=steward.now)
    steward.turn(1)
    assert read_book(steward.host.store)[0].alerts == ()
