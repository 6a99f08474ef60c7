"""What is no proof holds a rollout: only what began while it ran, and until a person has looked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from serinus.monitors.monitor import Finding, Sums
from serinus.serving.rollout import Phase, RolloutRecord
from serinus.serving.rollout.signals import ESTIMATE, Looked, drift, estimate, looked, monitored
from serinus.serving.store import JournalEntry
from tests.monitors.approved_amount import ApprovedAmount

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


def kept(mean: float, windows: int, *, rows: float = 400.0, seed: int = 0) -> dict[str, Any]:
    """What a steward keeps of full windows in which approved amounts have this mean."""
    means = np.random.default_rng(seed).normal(mean, 50.0, windows).tolist()
    full = [{"rows": rows, "count": rows, "total": rows * each, "squares": rows * (each**2 + 1e6)} for each in means]
    open_ = dict.fromkeys(("rows", "count", "total", "squares"), 0.0)
    return {"approved_amount": {"open": open_, "reference": full[:12], "recent": full[12:], "windows": windows}}


METRIC = ApprovedAmount()


def test_a_business_metric_of_the_candidate_is_held_against_stables() -> None:
    """By the first full window already, with the values in their unit; from below as from above."""
    for mean in (2_000.0, 20_000.0):
        told = monitored([METRIC], kept(mean, 1), kept(10_000.0, 30))
        assert "Of the candidate's latest 400 rows" in told
        assert "euros, expected 9," in told
    assert monitored([METRIC], kept(10_000.0, 20, seed=1), kept(10_000.0, 30)) == ""


@pytest.mark.parametrize(("candidate", "stable"), [
    (kept(20_000.0, 0), kept(10_000.0, 30)), (kept(20_000.0, 5), kept(10_000.0, 11)), ({}, {}),
    ({"approved_amount": {"open": {"rows": 0.0, "other": 0.0}, "reference": [], "recent": []}}, kept(10_000.0, 30))],
    ids=["no window", "too few of stable", "nothing", "other sums"])
def test_what_cannot_be_compared_holds_nothing(candidate: dict[str, Any], stable: dict[str, Any]) -> None:
    """Where windows are missing on either side."""
    assert monitored([METRIC], candidate, stable) == ""


def test_what_is_true_of_stable_too_holds_nothing() -> None:
    """A limit that both versions break is no difference between them."""
    class Limit(ApprovedAmount):
        learns = 0

        def finding(self, window: Sums, reference: Sequence[Sums]) -> Finding:
            assert not reference
            mean = window["total"] / window["count"]
            return Finding(self.name, mean > 15_000.0, f"{mean:.0f} euros")

    assert "20" in monitored([Limit()], kept(20_000.0, 1), kept(10_000.0, 1))
    assert monitored([Limit()], kept(20_000.0, 1), kept(20_000.0, 1)) == ""


def test_versions_that_are_alike_are_rarely_held() -> None:
    """Of 400 pairs of versions at most one in a hundred; the metric's own rate is one in 2,500 windows."""
    held = sum(bool(monitored([METRIC], kept(10_000.0, 1, seed=2 * pair), kept(10_000.0, 30, seed=2 * pair + 1)))
               for pair in range(400))
    assert held <= 4
