"""Crashes: the first call of a candidate that its worker died in takes it off, and nothing else does."""

from __future__ import annotations

from dataclasses import replace

import pytest

from serinus.serving.board import Board, mark_tag, read
from serinus.serving.crashes import blame, blame_all
from serinus.serving.rollout import Phase, controller
from serinus.serving.rollout.tally import read as read_tally
from serinus.serving.snapshot import read_snapshot, write_snapshot
from serinus.serving.steward.adopt_boards import AdoptBoards
from serinus.serving.steward.carry_vetoes import CarryVetoes
from serinus.serving.steward.job import Shared
from serinus.serving.veto import read_vetoes
from tests.serving.steward.hosts import worker
from tests.serving.steward.trials import count, judged, past_preflight, tally_of

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
    incarnation = board.path.name.split("-")[-1].split(".")[0]
    left = tally.path.rename(tally.path.with_name(f"{incarnation}-{record.rollout_id}.tally"))
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


def test_what_is_frozen_or_over_is_left_alone(judged: Shared) -> None:
    """Frozen means that a person decides; after the end there is nothing to take off."""
    record = past_preflight(judged)
    frozen = replace(record, phase=Phase.FROZEN, held=Phase.CANARY)
    for left in (frozen, controller.abort(judged.store, "wine", "ana", now=1.0).record):
        write_snapshot(judged.home.snapshot, {"wine": left})
        board = dead_worker(judged)
        blame(judged.home, judged.run, read(board.path))
        assert read_snapshot(judged.home.snapshot).records["wine"] == left
        assert vetoed(judged) == []
