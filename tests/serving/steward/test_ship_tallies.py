"""What workers counted of rollouts reaches the store: each count once, whoever dies when."""

from __future__ import annotations

import shutil

import pytest

from serinus.serving.home import RunFolder
from serinus.serving.rollout import RolloutRecord, controller
from serinus.serving.rollout.evidence import Evidence
from serinus.serving.rollout.gathering import Counted, gather
from serinus.serving.rollout.tally import note_crashes, tallies_in
from serinus.serving.steward.job import Shared
from serinus.serving.steward.preflight import baseline_of
from serinus.serving.steward.ship_tallies import CALLER_COUNTS, ShipTallies
from serinus.serving.store import StoreUnavailable
from tests.serving.steward.hosts import lose_store
from tests.serving.steward.trials import count, judged, past_preflight, tally_of

__all__ = ["judged"]


def evidence(host: Shared, record: RolloutRecord) -> Evidence:
    baseline = baseline_of(host, record)
    assert baseline is not None
    counted = Counted.of(record.rollout_id, host.store.counters(record.rollout_id),
                         host.store.documents(CALLER_COUNTS))
    return gather(record, counted, baseline, elapsed_s=0.0, silent_s=0.0)


def errors(host: Shared, record: RolloutRecord) -> tuple[int, ...]:
    """Errors and units of both arms, over all windows."""
    windows = evidence(host, record).windows
    return tuple(sum(column) for column in zip(*(window.events["errors"] for window in windows), strict=True))


def test_what_living_workers_count_is_shipped_again_and_again(judged: Shared) -> None:
    """Counts are cumulative: shipping them often, by two stewards too, adds nothing."""
    record = past_preflight(judged)
    first, second = tally_of(judged, record), tally_of(judged, record, "00bb")
    job, other = ShipTallies(), ShipTallies()
    for number in (1, 2):
        count(first, 10, 90, errors=(1, 2))
        count(second, 5, 45)
        job.run(judged)
        other.run(judged)
        assert errors(judged, record) == (number, 15 * number, 2 * number, 135 * number)
    assert len(tallies_in(judged.run.tallies)) == 2


def test_dead_workers_counts_are_shipped_and_their_files_removed(judged: Shared) -> None:
    """Also when a steward died between shipping and removing, and another one does both again."""
    record = past_preflight(judged)
    tally = tally_of(judged, record)
    count(tally, 10, 90, errors=(1, 2))
    tally.close()
    kept = shutil.copy(tally.path, judged.home.path / "kept")
    ShipTallies().run(judged)
    assert tallies_in(judged.run.tallies) == []
    shutil.copy(kept, tally.path)
    ShipTallies().run(judged)
    assert (tallies_in(judged.run.tallies), errors(judged, record)) == ([], (1, 10, 2, 90))


def test_callers_of_dead_and_living_workers_count_once(judged: Shared) -> None:
    """100 callers ask two workers; one of these dies, and then the other: still 100 callers, as many requests as
    they make."""
    record = past_preflight(judged)
    first, second = tally_of(judged, record), tally_of(judged, record, "00bb")
    for tally in (first, second):
        count(tally, 50, 50, errors=(3, 1), first_key=10)
    job = ShipTallies()
    job.run(judged)
    for tally in (first, second):
        tally.close()
        job.run(judged)
        assert errors(judged, record) == (3, 50, 1, 50)
    assert tallies_in(judged.run.tallies) == []
    third = tally_of(judged, record, "00cc")
    count(third, 50, 50, errors=(5, 0), first_key=10)
    ShipTallies().run(judged)
    assert errors(judged, record) == (5, 50, 1, 50)
    assert evidence(judged, record).step_units == 50


def test_a_crash_is_an_error_and_a_failure_of_the_candidate(judged: Shared) -> None:
    """It is in what the dead worker left."""
    record = past_preflight(judged)
    tally = tally_of(judged, record)
    count(tally, 10, 90)
    tally.close()
    note_crashes(judged.run.tallies, "00aa", record.rollout_id, 2)
    ShipTallies().run(judged)
    (window,) = evidence(judged, record).windows
    assert (window.events["failures"].candidate, window.events["errors"].candidate) == (2, 2)
    assert window.events["failures"].stable == 0


def test_a_dead_servers_tallies_are_shipped_by_another(judged: Shared) -> None:
    """Of the same home."""
    record = past_preflight(judged)
    tally = tally_of(judged, record)
    count(tally, 10, 90)
    tally.close()
    other = RunFolder(judged.home.run / "server-0")
    other.tallies.mkdir(parents=True)
    tally.path.rename(other.tallies / tally.path.name)
    ShipTallies().run(judged)
    assert (tallies_in(other.tallies), errors(judged, record)) == ([], (0, 10, 0, 90))


def test_an_outage_of_the_store_loses_nothing(judged: Shared) -> None:
    """What could not be shipped stays on disk until it can."""
    record = past_preflight(judged)
    tally = tally_of(judged, record)
    count(tally, 10, 90)
    tally.close()
    aside = judged.home.path / "aside"
    aside.mkdir()
    judged.store.check()
    judged.forget_store()
    for path in judged.home.path.glob("store.db*"):
        path.rename(aside / path.name)
    judged.home.store.mkdir()
    with pytest.raises(StoreUnavailable):
        ShipTallies().run(judged)
    assert tallies_in(judged.run.tallies) == [tally.path]
    judged.home.store.rmdir()
    lose_store(judged.home)
    for path in aside.iterdir():
        path.rename(judged.home.path / path.name)
    judged.forget_store()
    ShipTallies().run(judged)
    assert errors(judged, record) == (0, 10, 0, 90)


def test_what_is_over_is_forgotten(judged: Shared) -> None:
    """After the end of a rollout its callers are let go of; a tally that its worker never finished making goes too."""
    record = past_preflight(judged)
    tally = tally_of(judged, record)
    count(tally, 5, 5, first_key=10)
    tally.close()
    ShipTallies().run(judged)
    assert (judged.home.callers / record.rollout_id).exists()
    controller.abort(judged.store, "wine", "ana", now=1.0)
    torn = judged.run.tallies / "00dd-x.tally"
    torn.write_bytes(b"")
    ShipTallies().run(judged)
    assert not (judged.home.callers / record.rollout_id).exists()
    assert not torn.exists()
