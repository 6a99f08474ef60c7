"""The steward runs each job at its period, survives whatever a job does, and obeys control calls."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from serinus.serving.home import RunFolder
from serinus.serving.settings import Settings
from serinus.serving.steward.job import Shared
from serinus.serving.steward.process import all_jobs, hold
from serinus.serving.steward.steward import Steward
from tests.serving.steward.hosts import lose_store, trained


class Counting:
    """A job that counts its turns, and fails when told to."""

    def __init__(self, name: str, period_s: float, error: Exception | None = None) -> None:
        self.name, self.period_s, self.error, self.turns = name, period_s, error, 0

    def run(self, shared: Shared) -> None:
        self.turns += 1
        if self.error:
            raise self.error


def steward(home: Path, *jobs: Any) -> Steward:
    run = RunFolder(home / "run" / "server-1")
    run.boards.mkdir(parents=True)
    return Steward(Settings(home=home), run, jobs or all_jobs())


def test_jobs_run_at_their_periods(tmp_path: Path) -> None:
    """All at the first turn, in order; then each when its time has come."""
    quick, slow = Counting("quick", 1), Counting("slow", 10)
    made = steward(tmp_path, quick, slow)
    for second in range(100, 121):
        made.turn(second)
    assert (quick.turns, slow.turns) == (21, 3)


def test_a_job_that_fails_holds_up_nobody(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It is tried again at its next turn, and complained about once in a while, not each time."""
    failing, after = Counting("failing", 1, ValueError("odd")), Counting("after", 1)
    made = steward(tmp_path, failing, after)
    for second in range(100, 110):
        made.turn(second)
    assert (failing.turns, after.turns) == (10, 10)
    assert len([record for record in caplog.records if "Job failing: odd" in record.message]) == 1


def test_jobs_have_names_of_their_own() -> None:
    """Each is due by its name."""
    jobs = all_jobs()
    assert len({job.name for job in jobs}) == len(jobs)
    assert [job.name for job in jobs][:4] == ["restore_records", "first_records", "carry_vetoes", "publish_snapshot"]


def test_all_jobs_together_bring_a_new_home_to_life(tmp_path: Path) -> None:
    """And again after the store was lost: records come back, a rollout does not."""
    trained(tmp_path, "wine", 1.0, 2.0)
    made = steward(tmp_path)
    made.turn(100)
    started = made.command({"verb": "start", "model": "wine", "version": "2", "steps": "5,50", "actor": "ana"})
    assert started["record"]["weight"] == 500
    lose_store(made._shared.home)
    made.turn(200)  # the loss is noticed in the middle of the jobs
    assert made._shared.store.records() == {}
    assert made.command({"verb": "pause", "model": "wine"})["kind"] == "unavailable"
    made.turn(300)
    record = made._shared.store.record("wine")
    assert record is not None
    assert (record.stable, record.weight, record.candidate) == ("1", 0, None)
    assert record.generation > started["record"]["generation"]


@pytest.mark.parametrize(
    ("request_", "kind", "sentence"),
    [
        ({"verb": "dance", "model": "wine"}, "not_found", "There is no verb 'dance'"),
        ({"verb": "start", "model": "wine"}, "invalid", "A start names its candidate"),
        ({"verb": "start", "model": "wine", "version": "9"}, "not_found", "no version '9'"),
        ({"verb": "start", "model": "beer", "version": "1"}, "not_found", "No model is named 'beer'"),
        ({"verb": "start", "model": "wine", "version": "2", "steps": "50,5"}, "refused", "must rise"),
        ({"verb": "pause", "model": "wine"}, "refused", "."),
        ({"verb": "promote", "model": "beer"}, "refused", "has no stable version"),
    ],
)
def test_a_control_call_that_cannot_be_is_refused(
    tmp_path: Path, request_: dict[str, Any], kind: str, sentence: str
) -> None:
    """With its kind and one sentence."""
    trained(tmp_path, "wine", 1.0, 2.0)
    made = steward(tmp_path)
    made.turn(100)
    answer = made.command(request_)
    assert answer["kind"] == kind
    assert sentence in answer["error"]


def test_only_one_steward_serves_a_server(tmp_path: Path) -> None:
    """The lock file decides."""
    run = RunFolder(tmp_path)
    assert hold(run)
    assert not hold(run)
