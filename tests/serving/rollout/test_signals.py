"""What is no proof holds a rollout: only what began while it ran, and until a person has looked."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from serinus.serving.rollout import Phase, RolloutRecord
from serinus.serving.rollout.signals import ESTIMATE, Looked, drift, estimate, looked
from serinus.serving.store import JournalEntry

RECORD = RolloutRecord("wine", 4, "r1", Phase.CANARY, stable="1", candidate="2", weight=1000)
HOUR = "2026-11-21T10:00:00Z"
BEGINS = 1_795_255_200.0


def view(**changes: Any) -> dict[str, Any]:
    """What is published of a stream in which `age` drifts since second 100."""
    features = [{"name": "age", "side": "input", "drifted": True}, {"name": "y", "side": "output", "drifted": True},
                {"name": "height", "side": "input", "drifted": False}]
    found = {"alarm": True, "since": 100.0, "text": "Drift of age up 0.5 sd.", "features": features}
    return {"drift": {**found, **changes}}


def test_drift_of_inputs_that_began_in_the_rollout_is_told() -> None:
    """With the inputs that moved, and the monitor's own sentence."""
    told = drift(view(), 99.0)
    assert "(age)" in told
    assert "Drift of age up 0.5 sd." in told


@pytest.mark.parametrize(("told", "since"), [
    (view(), 101.0), (view(alarm=False), 0.0), (view(since=None), 0.0), (None, 0.0),
    ({"state": "learning", "drift": None}, 0.0),
    (view(features=[{"name": "y", "side": "output", "drifted": True}]), 0.0)])
def test_any_other_drift_holds_nothing(told: dict[str, Any] | None, since: float) -> None:
    """What began before, is over, is not known, or is of the answers only."""
    assert drift(told, since) == ""


def measured(*arms: tuple[str, str, float, float, float], name: str = "accuracy", hour: str = HOUR,
             rows: int = 900) -> dict[str, Any]:
    """What is published of versions, each with role, value and interval."""
    return {"versions": [{"version": version, "role": role, "measure": name, "windows": [
        {"hour": "2026-11-21T09:00:00Z", "estimate": None},
        {"hour": hour, "estimate": {name: {"value": value, "low": low, "high": high, "rows": rows}}}]}
        for version, role, value, low, high in arms]}


STABLE, WORSE = ("1", "stable", 0.90, 0.88, 0.92), ("2", "candidate", 0.80, 0.78, 0.82)


def test_a_candidate_that_is_estimated_as_clearly_worse_is_told() -> None:
    """With both estimates; of errors more is worse."""
    told = estimate(measured(STABLE, WORSE), RECORD, BEGINS, 0.02)
    assert "accuracy of the candidate is estimated at 0.8 (0.78 to 0.82), of stable at 0.9 (0.88 to 0.92)" in told
    more = ("1", "stable", 2.0, 1.9, 2.1), ("2", "candidate", 3.0, 2.9, 3.1)
    assert "rmse" in estimate(measured(*more, name="rmse"), RECORD, BEGINS, 0.02)


@pytest.mark.parametrize(("told", "since", "tolerance"), [
    (measured(STABLE, WORSE), BEGINS + 3600.0, 0.02),
    (measured(STABLE, WORSE), BEGINS, 0.2),
    (measured(STABLE, ("2", "candidate", 0.86, 0.83, 0.89)), BEGINS, 0.02),
    (measured(STABLE, ("2", "candidate", 0.95, 0.94, 0.96)), BEGINS, 0.02),
    (measured(STABLE, ("2", "shadow", 0.80, 0.78, 0.82)), BEGINS, 0.02),
    (measured(STABLE, ("3", "candidate", 0.80, 0.78, 0.82)), BEGINS, 0.02),
    (measured(STABLE, WORSE, rows=20), BEGINS, 0.02), (measured(STABLE), BEGINS, 0.02), (None, 0.0, 0.02)],
    ids=["before", "tolerated", "overlap", "better", "shadow", "another", "few", "alone", "unknown"])
def test_any_other_estimate_holds_nothing(told: dict[str, Any] | None, since: float, tolerance: float) -> None:
    """Intervals that overlap, small differences, few rows, and what is not of both arms of this rollout."""
    assert estimate(told, RECORD, since, tolerance) == ""


def test_only_the_same_hour_is_compared() -> None:
    """What came in another hour may have been something else."""
    apart = measured(STABLE)["versions"] + measured(WORSE, hour="2026-11-21T11:00:00Z")["versions"]
    assert estimate({"versions": apart}, RECORD, BEGINS, 0.02) == ""


def entry(kind: str, time: float, rollout_id: str = "r1", **body: Any) -> JournalEntry:
    return JournalEntry("wine", kind, time, 1, "ana", "", {"rollout_id": rollout_id, **body})


def test_what_a_person_saw_is_waived() -> None:
    """From the start of this rollout on, or from when a person resumed it; the judge's own resuming waives nothing."""
    held = [entry("start", 5.0, "r0"), entry("start", 10.0), entry("hold", 20.0, verdict={"cause": ESTIMATE})]
    assert looked(held, RECORD) == Looked(10.0)
    by_itself = [*held, entry("resume", 30.0, verdict={"cause": ""})]
    assert looked(by_itself, RECORD) == Looked(10.0)
    assert looked([*held, entry("resume", 40.0)], RECORD) == Looked(40.0, frozenset({ESTIMATE}))
    assert looked(held, replace(RECORD, rollout_id="r9")) == Looked(0.0)
