"""The judge: what counts say happens, once, with its reasons in the journal, and never without counts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest

from serinus.serving.rollout import Judgement, Phase, Plan, RolloutRecord, controller, verdicts
from serinus.serving.rollout.analysis import Action, Verdict
from serinus.serving.rollout.gathering import PAIRS
from serinus.serving.rollout.transitions import Advance, Event, Hold, Resume, RollBack
from serinus.serving.steward.hold_signals import HoldSignals
from serinus.serving.steward.job import Shared
from serinus.serving.steward.judge_custom_monitors import STATE as CUSTOM
from serinus.serving.steward.judge_drift import VIEW as MONITORS
from serinus.serving.steward.judge_rollouts import JudgeRollouts, next_event
from serinus.serving.steward.measure_performance import VIEW as PERFORMANCE
from serinus.serving.steward.ship_tallies import ShipTallies
from serinus.serving.store import Document
from tests.monitors.approved_amount import ApprovedAmount
from tests.serving.rollout.test_signals import kept
from tests.serving.steward.hosts import worker
from tests.serving.steward.trials import PLAN, count, judged, past_preflight, tally_of

__all__ = ["judged"]

START = 1_800_000_000.0


class Time:
    """Both clocks; `pass_` lets the steward judge every second meanwhile, as it does."""

    def __init__(self, host: Shared) -> None:
        self.now = START
        self.host = host
        self.job = JudgeRollouts(lambda: self.now, lambda: self.now)
        self.ship = ShipTallies()

    def judge(self) -> RolloutRecord:
        self.ship.run(self.host)
        self.job.run(self.host)
        return self.record

    @property
    def record(self) -> RolloutRecord:
        found = self.host.store.record("wine")
        assert found is not None
        return found

    def pass_(self, seconds: int, meanwhile: Callable[[], None] = lambda: None) -> RolloutRecord:
        for _ in range(seconds // 5):
            self.now += 5
            meanwhile()
            self.judge()
        return self.record


@pytest.fixture
def time(judged: Shared) -> Time:
    return Time(judged)


def kinds(host: Shared) -> list[str]:
    return [entry.kind for entry in host.store.journal("wine")][2:]


def test_a_sound_version_goes_through_all_steps(judged: Shared, time: Time) -> None:
    """Each with its counts in the journal, and with what is not known of the last one."""
    tally = tally_of(judged, past_preflight(judged, now=START))

    def ask() -> None:
        tally.begin_step(time.record.step)
        count(tally, *((60, 540), (300, 300))[time.record.step], now=time.now)

    assert time.pass_(60, ask).step == 1
    assert time.pass_(60, ask).phase is Phase.PROMOTED
    assert kinds(judged) == ["advance", "advance", "promote"]
    last = judged.store.journal("wine")[-1]
    assert "errors (absolute)" in last.reason
    assert "no ground truth" in str(last.body["text"])
    (errors,) = [check for check in last.body["verdict"]["checks"] if check["name"] == "errors"]
    assert (errors["candidate"], errors["candidate_units"]) == (0, 4_320)
    assert {"ratio_low", "ratio_high", "e_value", "e_needed", "meter"} <= errors.keys()


def test_a_bad_version_is_rolled_back_with_its_reason(judged: Shared, time: Time) -> None:
    """On record with its evidence, its digest quarantined, published for the workers at once; repeating does
    nothing."""
    record = past_preflight(judged, now=START)
    count(tally_of(judged, record), 100, 900, errors=(30, 9), now=START)
    found = time.judge()
    assert (found.phase, found.weight, found.quarantined) == (Phase.ROLLING_BACK, 0, (record.candidate_digest,))
    assert "30 of 100 against 9 of 900" in found.reason
    assert found.actor == judged.holder
    assert b"rolling_back" in judged.home.snapshot.read_bytes()
    time.judge()
    assert kinds(judged) == ["advance", "roll_back"]


def test_the_same_counts_give_the_same_decision_to_another_steward(judged: Shared, time: Time) -> None:
    """One that died between decision and commit is made up for by the next: nothing is kept in its memory."""
    record = past_preflight(judged, now=START)
    count(tally_of(judged, record), 100, 900, errors=(30, 9), now=START)
    ShipTallies().run(judged)
    epoch = judged.lease.epoch if judged.lease else 0
    judged.lease = replace(judged.lease, epoch=epoch - 1) if judged.lease else None
    time.judge()
    assert time.record.phase is Phase.CANARY, "an old epoch decides nothing"
    judged.lease = replace(judged.lease, epoch=epoch) if judged.lease else None
    assert Time(judged).judge().phase is Phase.ROLLING_BACK


def test_silence_holds_and_counts_let_go_on(judged: Shared, time: Time) -> None:
    """Five minutes without any request: held, with the weight kept; with the next ones it goes on by itself."""
    tally = tally_of(judged, past_preflight(judged, now=START))
    count(tally, 10, 90, now=START)
    time.pass_(295)
    assert time.record.phase is Phase.CANARY
    record = time.pass_(10)
    assert (record.phase, record.cause, record.weight) == (Phase.HOLD, "silence", 1000)
    record = time.pass_(5, lambda: count(tally, 10, 90, now=time.now))
    assert (record.phase, record.elapsed_in_step_s) == (Phase.CANARY, 305.0)


def test_a_broken_assignment_holds(judged: Shared, time: Time) -> None:
    """Neither promoted nor rolled back, whatever the counts say."""
    count(tally_of(judged, past_preflight(judged, now=START)), 500, 500, errors=(50, 5), now=START)
    assert (time.judge().phase, time.record.cause) == (Phase.HOLD, "mismatch")


def test_a_candidate_that_most_workers_cannot_load_is_held(judged: Shared, time: Time) -> None:
    """Until they can; one of two is not most."""
    count(tally_of(judged, past_preflight(judged, now=START)), 10, 90, now=START)
    boards = [worker(judged, 1) for _ in range(2)]
    boards[0].level("unloadable", "wine", "2", amount=1)
    assert time.judge().phase is Phase.CANARY
    boards[1].level("unloadable", "wine", "2", amount=1)
    assert (time.judge().phase, time.record.cause) == (Phase.HOLD, "loading")
    boards[0].level("unloadable", "wine", "2", amount=0)
    assert time.judge().phase is Phase.CANARY


def test_an_outage_is_followed_by_one_steps_time_on_hold(judged: Shared, time: Time) -> None:
    """Since workers took the weight away meanwhile; a shorter one is nobody's business. Another steward, that knows
    nothing of before, does the same."""
    tally = tally_of(judged, past_preflight(judged, now=START))
    count(tally, 10, 90, now=START)
    time.judge()
    time.now += 29
    assert time.judge().phase is Phase.CANARY
    time.now += 31
    time.job = JudgeRollouts(lambda: time.now, lambda: time.now)
    assert (time.judge().phase, time.record.cause) == (Phase.HOLD, "outage")
    assert time.pass_(55).phase is Phase.HOLD
    assert time.pass_(5).phase is Phase.CANARY


def test_a_harm_is_acted_on_while_held(judged: Shared, time: Time) -> None:
    """A hold keeps the weight, so evidence still comes in."""
    record = past_preflight(judged, now=START)
    controller.pause(judged.store, "wine", "ana", now=START)
    count(tally_of(judged, record), 100, 900, errors=(30, 9), now=START)
    assert time.judge().phase is Phase.ROLLING_BACK


def test_what_is_frozen_is_told_and_left_alone(judged: Shared, time: Time) -> None:
    """The verdict is published, and nothing follows."""
    record = past_preflight(judged, now=START)
    controller.freeze(judged.store, "wine", "ana", now=START)
    count(tally_of(judged, record), 100, 900, errors=(30, 9), now=START)
    assert time.judge().phase is Phase.FROZEN
    latest = verdicts.read(judged.store, "wine")
    assert latest is not None and latest["action"] == "roll_back"


def test_nothing_is_decided_without_the_lease_or_behind_the_workers(judged: Shared, time: Time) -> None:
    """Nor while a veto is being carried into the store."""
    record = past_preflight(judged, now=START)
    count(tally_of(judged, record), 100, 900, errors=(30, 9), now=START)
    lease, judged.lease = judged.lease, None
    assert time.judge().phase is Phase.CANARY
    judged.lease = lease
    snapshot = orjson.loads(judged.home.snapshot.read_bytes())
    snapshot["records"]["wine"]["generation"] += 5
    before = judged.home.snapshot.read_bytes()
    judged.home.snapshot.write_bytes(orjson.dumps(snapshot))
    assert time.judge().phase is Phase.CANARY
    judged.home.snapshot.write_bytes(before)
    judged.home.vetoes.write_bytes(orjson.dumps({"format": 1, "sequence": 1, "vetoes": {"wine": {
        "model": "wine", "sequence": 1, "rollout_id": record.rollout_id, "version": "2", "stable": "1", "to": None,
        "actor": "ana", "reason": "", "time": START}}}))
    assert time.judge().phase is Phase.CANARY
    judged.home.vetoes.unlink()
    assert time.judge().phase is Phase.ROLLING_BACK


def test_a_plan_that_a_person_takes_is_not_judged(judged: Shared, time: Time) -> None:
    """However bad the counts are."""
    record = past_preflight(judged, now=START)
    count(tally_of(judged, record), 100, 900, errors=(30, 9), now=START)
    controller.abort(judged.store, "wine", "ana", now=START)
    controller.acknowledge(judged.store, "wine", time.record.generation, "ana", now=START)
    by_hand = controller.start(judged.store, "wine", "2", str(record.candidate_digest), Plan((1000,)), "ana",
                               now=START, force=True).record
    assert time.judge() == by_hand


def test_a_shadow_is_judged_by_its_pairs(judged: Shared, time: Time) -> None:
    """Pairs that are told in the store let it go on, or take it off before anybody met it."""
    plan = Plan((1000,), manual=False, judgement=Judgement(shadow_s=1, shadow_pairs=100))
    record = past_preflight(judged, plan, now=START)
    assert record.phase is Phase.SHADOW

    def tell(revision: int, **pairs: int) -> None:
        body = orjson.dumps({"rollout_id": record.rollout_id, **pairs})
        judged.store.put_document(Document(PAIRS, "wine/one", revision, body, START), expected_revision=revision - 1)

    tell(1, pairs=150, candidate_failed=1)
    time.now += 2
    assert time.judge().phase is Phase.CANARY
    assert "150 pairs" in time.record.reason
    tell(2, pairs=300, candidate_failed=30)
    assert time.judge().phase is Phase.ROLLING_BACK


HELD = RolloutRecord("wine", 5, "r1", Phase.HOLD, PLAN, step_id="r1/0", weight=1000, stable="1", candidate="2",
                     held=Phase.CANARY, cause="silence", updated=START)
RUNNING = replace(HELD, phase=Phase.CANARY, held=None, cause="")
DAY = 86_400.0


@pytest.mark.parametrize(("record", "action", "after", "gap", "event"), [
    (RUNNING, Action.WAIT, 1, False, None), (RUNNING, Action.ADVANCE, 1, False, Advance),
    (RUNNING, Action.HOLD, 1, False, Hold), (RUNNING, Action.ROLL_BACK, 1, False, RollBack),
    (RUNNING, Action.ADVANCE, 1, True, Hold), (RUNNING, Action.ROLL_BACK, 1, True, RollBack),
    (HELD, Action.HOLD, 1, False, None), (HELD, Action.WAIT, 1, False, Resume), (HELD, Action.ADVANCE, 1, True, Resume),
    (HELD, Action.HOLD, DAY, False, RollBack), (replace(HELD, cause=""), Action.WAIT, 9 * DAY, False, None),
    (replace(HELD, cause=""), Action.ROLL_BACK, 1, False, RollBack),
    (replace(HELD, cause="outage"), Action.WAIT, 59, False, None),
    (replace(HELD, cause="outage"), Action.HOLD, 60, False, Resume),
    (replace(HELD, phase=Phase.FROZEN), Action.ROLL_BACK, DAY, True, None),
])  # fmt: skip
def test_what_follows_from_a_verdict(record: RolloutRecord, action: Action, after: float, gap: bool,
                                     event: type[Event] | None) -> None:
    """In each phase, and after a gap in which nobody could judge."""
    assert PLAN.judgement is not None
    found = next_event(record, PLAN.judgement, Verdict(action, "why", cause="silence"), START + after, gap, "judge")
    assert type(found) is (event or type(None))


def test_a_plan_may_hold_for_ever() -> None:
    """Where it says so."""
    assert PLAN.judgement is not None
    patient = replace(PLAN.judgement, after_hold="stay")
    assert next_event(HELD, patient, Verdict(Action.HOLD, "why"), START + 9 * DAY, False, "judge") is None


DRIFTS = {"drift": {"alarm": True, "since": START + 1, "text": "Drift of age up 0.5 sd.", "features": [
    {"name": "age", "side": "input", "drifted": True}]}}


def told(host: Shared, kind: str, key: str, body: dict[str, Any]) -> None:
    known = host.store.document(kind, key)
    revision = known.revision if known else 0
    host.store.put_document(Document(kind, key, revision + 1, orjson.dumps(body), START), expected_revision=revision)


def test_drift_of_the_inputs_holds_until_a_person_has_looked(judged: Shared, time: Time) -> None:
    """With the reason in words; however long it lasts nothing is rolled back, and who resumes it is not held up by the
    same alarm again, but by the next one."""
    tally = tally_of(judged, past_preflight(judged, replace(PLAN, judgement=replace(PLAN.judgement, hold_s=20)), START))
    told(judged, MONITORS, "wine:1", DRIFTS)
    record = time.pass_(5, lambda: count(tally, 10, 90, now=time.now))
    assert (record.phase, record.cause, record.weight) == (Phase.HOLD, "drift", 1000)
    assert "The inputs of the model drift since the rollout began (age)" in record.reason
    assert time.pass_(60, lambda: count(tally, 10, 90, now=time.now)).phase is Phase.HOLD
    controller.resume(judged.store, "wine", "ana", now=time.now)
    assert time.pass_(5, lambda: count(tally, 10, 90, now=time.now)).phase is Phase.CANARY
    told(judged, MONITORS, "wine:1", {"drift": {**DRIFTS["drift"], "since": time.now + 1}})
    assert time.judge().cause == "drift"
    told(judged, MONITORS, "wine:1", {"drift": {**DRIFTS["drift"], "alarm": False}})
    assert time.judge().phase is Phase.CANARY, "it goes on by itself when the alarm is closed"
    assert kinds(judged) == ["advance", "hold", "resume", "hold", "resume"]


def test_an_estimate_that_is_worse_holds_and_is_waived_by_a_person(judged: Shared, time: Time) -> None:
    """It is no proof: who resumes it has decided for the rest of the rollout."""
    tally = tally_of(judged, past_preflight(judged, now=START))
    hour = datetime.fromtimestamp(START // 3600 * 3600, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    told(judged, PERFORMANCE, "wine", {"versions": [
        {"version": version, "role": role, "measure": "rmse", "windows": [{"hour": hour, "estimate": {
            "rmse": {"value": value, "low": value - 1, "high": value + 1, "rows": 900}}}]}
        for version, role, value in (("1", "stable", 10.0), ("2", "candidate", 20.0))]})
    record = time.pass_(5, lambda: count(tally, 10, 90, now=time.now))
    assert (record.phase, record.cause) == (Phase.HOLD, "estimate")
    assert "rmse of the candidate is estimated at 20 (19 to 21), of stable at 10 (9 to 11)" in record.reason
    controller.resume(judged.store, "wine", "ana", now=time.now)
    assert time.pass_(15, lambda: count(tally, 10, 90, now=time.now)).phase is Phase.CANARY


def test_a_plan_may_switch_the_signals_off(judged: Shared, time: Time) -> None:
    """Then nobody reads them."""
    off = replace(PLAN, judgement=replace(PLAN.judgement, hold_on_drift=False))
    tally = tally_of(judged, past_preflight(judged, off, START))
    told(judged, MONITORS, "wine:1", DRIFTS)
    assert time.pass_(15, lambda: count(tally, 10, 90, now=time.now)).phase is Phase.CANARY


def test_an_installed_monitor_holds_and_a_plan_may_switch_it_off(judged: Shared, time: Time) -> None:
    """By what the steward kept of both versions; a person who resumes it has decided for the rest of the rollout."""
    host, told_of = judged, {"wine:1": kept(10_000.0, 30), "wine:2": kept(20_000.0, 2)}
    tally = tally_of(host, past_preflight(host, now=START))
    for key, state in told_of.items():
        told(host, CUSTOM, key, {"format": 1, "digest": "d", "ledger": {}, "judge": state})
    time.job._signals = HoldSignals(lambda _: [ApprovedAmount()])
    record = time.pass_(5, lambda: count(tally, 10, 90, now=time.now))
    assert (record.phase, record.cause) == (Phase.HOLD, "monitor")
    assert "approved_amount: the mean is" in record.reason and "euros" in record.reason
    assert record.plan is not None and record.plan.judgement is not None
    off = replace(record.plan.judgement, hold_on_monitors=False)
    assert HoldSignals(lambda _: [ApprovedAmount()]).of(host, record, off) == {}
    controller.resume(host.store, "wine", "ana", now=time.now)
    assert time.pass_(15, lambda: count(tally, 10, 90, now=time.now)).phase is Phase.CANARY
