"""Crashes: the first call of a candidate that its worker died in takes it off, and nothing else does."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest

from serinus.serving.board import Board, mark_tag, read
from serinus.serving.crashes import blame, blame_all
from serinus.serving.rollout import Phase, RolloutRecord, controller
from serinus.serving.rollout.tally import Tally, tallies_in
from serinus.serving.rollout.tally import read as read_tally
from serinus.serving.snapshot import read_snapshot, write_snapshot
from serinus.serving.steward.adopt_boards import AdoptBoards
from serinus.serving.steward.carry_vetoes import CarryVetoes
from serinus.serving.steward.job import Shared
from serinus.serving.steward.judge_rollouts import JudgeRollouts
from serinus.serving.steward.ship_tallies import ShipTallies
from serinus.serving.veto import read_vetoes
from tests.serving.steward.hosts import worker
from tests.serving.steward.trials import PLAN, count, judged, past_preflight, tally_of

__all__ = ["judged"]

STABLE, CANDIDATE = 1, 2


def dead_worker(host: Shared, kind: int = CANDIDATE, version: str = "2", model: str = "wine", calls: int = 1) -> Board:
    """A board whose owner is gone in the midst of its calls."""
    board = worker(host, 1)
    for _ in range(calls):
        board.begin(kind | mark_tag(model, version) << 8, 1)
    board.close()
    return board


def vetoed(host: Shared) -> list[str]:
    return list(read_vetoes(host.home.vetoes).by_model)


def test_a_mark_left_behind_takes_the_candidate_off(judged: Shared) -> None:
    """Before its board is gone; it is quarantined, with the reason in the journal and the crash in the counts."""
    record = past_preflight(judged)
    tally = tally_of(judged, record, "00aa")
    count(tally, 1, 9)
    board = dead_worker(judged, calls=2)
    left = left_by(board, tally, record)
    AdoptBoards().run(judged)
    assert vetoed(judged) == ["wine"]
    assert read_tally(left).crashes == 2
    assert not board.path.exists()
    CarryVetoes().run(judged)
    found = judged.store.record("wine")
    assert found is not None
    assert (found.phase, found.quarantined) == (Phase.ROLLING_BACK, (record.candidate_digest,))
    assert "died while 2 of its calls were under way" in found.reason


def test_a_worker_that_boots_looks_first(judged: Shared) -> None:
    """Also where the steward has not been there yet; twice is once."""
    past_preflight(judged)
    dead_worker(judged)
    living = worker(judged, 1)
    living.begin(CANDIDATE | mark_tag("wine", "2") << 8, 1)
    blame_all(judged.home, judged.run)
    blame_all(judged.home, judged.run)
    assert read_vetoes(judged.home.vetoes).sequence == 1


@pytest.mark.parametrize("of", [{"kind": STABLE, "version": "1"}, {"version": "1"}, {"model": "beer"}, {"calls": 0}])
def test_only_the_candidates_own_calls_blame_it(judged: Shared, of: dict[str, object]) -> None:
    """Not stable's, not another model's, and not a death between calls."""
    past_preflight(judged)
    dead_worker(judged, **of)  # type: ignore[arg-type]
    AdoptBoards().run(judged)
    assert vetoed(judged) == []


def test_a_worker_that_ends_in_peace_blames_nobody(judged: Shared) -> None:
    """What was under way ends with it."""
    past_preflight(judged)
    board = worker(judged, 1)
    board.begin(CANDIDATE | mark_tag("wine", "2") << 8, 1)
    board.abandon()
    board.close()
    AdoptBoards().run(judged)
    assert vetoed(judged) == []


def left_by(board: Board, tally: Tally, record: RolloutRecord) -> Path:
    """The tally of the worker whose board it is: it has died, too."""
    tally.close()
    incarnation = board.path.name.split("-")[-1].split(".")[0]
    return tally.path.rename(tally.path.with_name(f"{incarnation}-{record.rollout_id}.tally"))


def test_a_death_that_is_found_after_the_promotion_undoes_it(judged: Shared) -> None:
    """The mark is of a call that the rollout gave the candidate: the version before comes back, and it is in
    quarantine."""
    record = past_preflight(judged)
    controller.promote(judged.store, "wine", "ana", now=time.time(), force=True)
    judged.publish()
    dead_worker(judged)
    AdoptBoards().run(judged)
    veto = read_vetoes(judged.home.vetoes).by_model["wine"]
    assert (veto.version, veto.stable) == ("2", "1")
    CarryVetoes().run(judged)
    found = judged.store.record("wine")
    assert found is not None
    assert (found.stable, found.quarantined) == ("1", (record.candidate_digest,))
    assert "died while 1 of its calls was under way" in found.reason


def test_a_death_in_a_call_of_what_is_stable_by_then_is_a_persons_to_judge(judged: Shared) -> None:
    """After the promotion there is nothing to compare with: `serinus rollback` is the way back."""
    past_preflight(judged)
    controller.promote(judged.store, "wine", "ana", now=time.time(), force=True)
    judged.publish()
    dead_worker(judged, kind=STABLE)
    AdoptBoards().run(judged)
    assert vetoed(judged) == []


def test_a_promotion_without_a_way_back_stays(judged: Shared, caplog: pytest.LogCaptureFixture) -> None:
    """It is told that the version stays, and why."""
    past_preflight(judged, replace(PLAN, rollback_window_s=0.0))
    controller.promote(judged.store, "wine", "ana", now=time.time(), force=True)
    judged.publish()
    dead_worker(judged)
    AdoptBoards().run(judged)
    assert vetoed(judged) == []
    assert "wine:2 stays, although worker" in caplog.text


def test_the_judge_takes_no_step_over_a_death(judged: Shared) -> None:
    """It looks at the boards of dead workers before it decides, though all else asks for the next step."""
    now = time.time()
    record = past_preflight(judged, now=now - 61)
    tally = tally_of(judged, record)
    count(tally, 100, 900, now=now)
    dead_worker(judged)
    ShipTallies().run(judged)
    JudgeRollouts(lambda: now).run(judged)
    assert vetoed(judged) == ["wine"]
    assert judged.store.record("wine") == record


def test_what_a_worker_died_in_is_shipped_with_what_it_counted(judged: Shared) -> None:
    """Also where its tally is looked at before its board is: once, in the store."""
    record = past_preflight(judged)
    tally = tally_of(judged, record)
    count(tally, 1, 9)
    left_by(dead_worker(judged, calls=2), tally, record)
    ShipTallies().run(judged)
    AdoptBoards().run(judged)
    counted = judged.store.counters(record.rollout_id)
    assert [number for key, number in counted.items() if key.check == "failures"] == [2]
    assert tallies_in(judged.run.tallies) == []


def test_a_call_beyond_the_last_slot_is_not_hidden_by_others(judged: Shared) -> None:
    """Sixty-three calls have a mark of their own; of those that share one, the candidate's is what is seen."""
    past_preflight(judged)
    board = worker(judged, 1)
    stable, candidate = (role | mark_tag("wine", version) << 8 for role, version in ((STABLE, "1"), (CANDIDATE, "2")))
    for _ in range(63):
        board.begin(stable, 1)
    board.begin(candidate, 1)
    board.end(board.begin(stable, 1))
    board.close()
    AdoptBoards().run(judged)
    assert vetoed(judged) == ["wine"]


def test_what_is_frozen_is_counted_and_left_alone(judged: Shared) -> None:
    """A person decides; what died is in the counts by which it is judged later."""
    record = past_preflight(judged)
    tally = tally_of(judged, record)
    count(tally, 1, 9)
    controller.freeze(judged.store, "wine", "ana", now=time.time())
    judged.publish()
    left = left_by(dead_worker(judged), tally, record)
    AdoptBoards().run(judged)
    assert vetoed(judged) == []
    assert read_tally(left).crashes == 1


def test_what_is_over_is_left_alone(judged: Shared) -> None:
    """After an abort there is nothing to take off."""
    past_preflight(judged)
    over = controller.abort(judged.store, "wine", "ana", now=1.0).record
    write_snapshot(judged.home.snapshot, {"wine": over})
    board = dead_worker(judged)
    blame(judged.home, judged.run, read(board.path))
    assert read_snapshot(judged.home.snapshot).records["wine"] == over
    assert vetoed(judged) == []
