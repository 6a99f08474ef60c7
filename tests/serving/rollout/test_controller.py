"""The controller joins decisions to a store, and decides again after a lost race."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from serinus.serving.rollout import Pause, Phase, Plan, RolloutRecord, SetStable, TransitionRefused, controller
from serinus.serving.rollout.journal import explain
from serinus.serving.store import Conflict, Fenced, JournalEntry, SqliteStore, StoreUnavailable

PLAN = Plan.from_percents("5,50")


class RacedStore(SqliteStore):
    """A store in which somebody else is faster, a given number of times."""

    races = 0

    def swap(
        self, new: RolloutRecord, *, expected_generation: int, journal: Sequence[JournalEntry], epoch: int | None = None
    ) -> None:
        if self.races:
            self.races -= 1
            raise Conflict("somebody was faster", expected=expected_generation, found=expected_generation + 1)
        super().swap(new, expected_generation=expected_generation, journal=journal, epoch=epoch)


@pytest.fixture
def store(tmp_path: Path) -> RacedStore:
    made = RacedStore(tmp_path / "store.db", create=True)
    controller.set_stable(made, "m", "1", "d1", "ana", now=1.0)
    return made


def test_a_rollout_from_start_to_rollback(store: RacedStore) -> None:
    """The verbs leave record and journal in step, and the journal reads as a story."""
    controller.start(store, "m", "2", "d2", PLAN, "ana", now=2.0, reason="new features")
    controller.pause(store, "m", "ana", now=3.0)
    controller.resume(store, "m", "ana", now=4.0)
    controller.promote(store, "m", "ana", now=5.0)
    controller.promote(store, "m", "bob", now=6.0)
    outcome = controller.roll_back(store, "m", "bob", now=7.0, reason="complaints")
    assert outcome.veto is not None and outcome.veto.version == "2"
    controller.acknowledge(store, "m", outcome.record.generation, "steward", now=8.0)
    found = store.record("m")
    assert found is not None
    assert (found.phase, found.stable, found.quarantined) == (Phase.ROLLED_BACK, "1", ("d2",))
    assert [explain(entry) for entry in store.journal("m")] == [
        "1970-01-01 00:00:01 Version 1 is stable; before it was none. By ana",
        "1970-01-01 00:00:02 Started version 2 beside stable 1 at 5 %. By ana: new features",
        "1970-01-01 00:00:03 Paused version 2 at 5 %. By ana",
        "1970-01-01 00:00:04 Resumed version 2 at 5 %. By ana",
        "1970-01-01 00:00:05 Raised version 2 from 5 % to 50 %. By ana",
        "1970-01-01 00:00:06 Promoted version 2 to stable; version 1 can come back for 7 days. By bob",
        "1970-01-01 00:00:07 Rolled back from version 2 to 1. By bob: complaints",
        "1970-01-01 00:00:08 Every live worker answers with stable 1. By steward",
    ]


def test_each_start_has_an_id_and_a_salt_of_its_own(store: RacedStore) -> None:
    """The same callers are not always first."""
    one = controller.start(store, "m", "2", "d2", PLAN, "ana", now=2.0).record
    off = controller.abort(store, "m", "ana", now=3.0).record
    controller.acknowledge(store, "m", off.generation, "steward", now=4.0)
    two = controller.start(store, "m", "2", "d2", PLAN, "ana", now=5.0).record
    assert one.rollout_id != two.rollout_id
    assert one.salt != two.salt


def test_nothing_to_do_is_said_and_not_stored(store: RacedStore) -> None:
    """An abort without a rollout leaves no trace but its notice."""
    outcome = controller.abort(store, "m", "ana", now=2.0)
    assert outcome.notice == "Model 'm' has no running rollout, so there is nothing to abort."
    assert outcome.record == store.record("m")
    assert len(store.journal("m")) == 1


def test_an_unknown_model_is_refused(store: RacedStore) -> None:
    """Only a stable version opens a model's record."""
    with pytest.raises(TransitionRefused, match="Model 'other' has no stable version"):
        controller.roll_back(store, "other", "ana", now=2.0)


def test_a_lost_race_is_decided_anew(store: RacedStore) -> None:
    """Up to the given number of times, then the conflict is the answer and nothing is changed."""
    store.races = 5
    assert controller.apply(store, "m", SetStable("2", actor="ana"), now=2.0).stable == "2"
    store.races = 3
    with pytest.raises(Conflict):
        controller.apply(store, "m", SetStable("3", actor="ana"), now=3.0, retries=2)
    found = store.record("m")
    assert found is not None and found.stable == "2"


def test_a_fenced_leader_changes_nothing(store: RacedStore) -> None:
    """The epoch reaches the store."""
    store.acquire_lease("steward", "a", 1, now=0.0)
    store.acquire_lease("steward", "b", 1, now=9.0)
    with pytest.raises(Fenced):
        controller.start(store, "m", "2", "d2", PLAN, "a", now=10.0, epoch=1)


def test_an_outage_reaches_the_caller(store: RacedStore) -> None:
    """A rollback without the store is the veto's task; the caller must know."""
    store.path.unlink()
    with pytest.raises(StoreUnavailable):
        controller.apply(store, "m", Pause(actor="ana"), now=2.0)


def test_two_rollbacks_at_once_go_back_once(store: RacedStore) -> None:
    """Eight people press the button: one transition, seven notices."""
    controller.start(store, "m", "2", "d2", PLAN, "ana", now=2.0)
    controller.promote(store, "m", "ana", now=3.0, force=True)
    outcomes: list[controller.Outcome] = []
    press = lambda: outcomes.append(controller.roll_back(store, "m", "ana", now=4.0))  # noqa: E731 - a thread's body
    threads = [threading.Thread(target=press) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcome.notice is None for outcome in outcomes) == [False] * 7 + [True]
    assert {outcome.record.stable for outcome in outcomes} == {"1"}


def test_details_are_kept_in_the_journal(store: RacedStore) -> None:
    """Beside what every entry says of the record."""
    controller.decide(store, "wine", SetStable("1", "d1", actor="ana"), now=1.0, details={"counts": [3, 4]})
    (entry,) = store.journal("wine")
    assert (entry.body["counts"], entry.body["stable"]) == ([3, 4], "1")
