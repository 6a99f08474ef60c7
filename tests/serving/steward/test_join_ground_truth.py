"""Truths that come late, twice and in any order are joined to the log exactly, over restarts and outages."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from sklearn.linear_model import LogisticRegression

from serinus.models import register
from serinus.monitors.metrics import Sums
from serinus.monitors.performance import Outcomes
from serinus.serving.ground_truth import Spool
from serinus.serving.ground_truth.columns import answers_of
from serinus.serving.ground_truth.spool import spooled
from serinus.serving.ground_truth.summary import WindowName
from serinus.serving.ground_truth.windows import COUNTS, merged
from serinus.serving.prediction_log import segments
from serinus.serving.steward.hold_lease import HoldLease
from serinus.serving.steward.job import Shared
from serinus.serving.steward.join_ground_truth import INTAKE, WINDOW, JoinGroundTruth
from serinus.serving.store import GroundTruth
from tests.serving.ground_truth.simulation import LATE_S, Simulated, batch, simulate
from tests.serving.steward.hosts import shared


class Clock:
    """A time that a test turns on."""

    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def _host(home: Path, **settings: Any) -> Shared:
    draw = np.random.default_rng(0)
    fitted = LogisticRegression().fit(draw.normal(size=(50, 1)), draw.integers(0, 2, 50))
    for strength in (1, 2):
        register(fitted.set_params(C=strength).fit(draw.normal(size=(50, 1)), draw.integers(0, 2, 50)), "credit",
                 home=home)
    made = shared(home, ground_truth={"late_seconds": LATE_S, **settings})
    HoldLease().run(made)
    return made


@pytest.fixture
def host(tmp_path: Path) -> Shared:
    """A host with two versions, this steward in the lead."""
    return _host(tmp_path)


def _windows(host: Shared) -> dict[WindowName, dict[str, Any]]:
    return {WindowName.of(document.key): orjson.loads(document.body) for document in host.store.documents(WINDOW)}


def _is_done(host: Shared) -> bool:
    found = host.store.document(INTAKE, "all")
    return found is not None and not orjson.loads(found.body)["dirty"] and not any(
        path.stat().st_size > 16 for path in _waiting(host))


def _waiting(host: Shared) -> list[Path]:
    found = host.store.document(INTAKE, "all")
    places = orjson.loads(found.body)["places"] if found else {}
    return [path for path in spooled(host.home.spool) if places.get(path.name, 0) < path.stat().st_size]


def _finish(host: Shared, job: JoinGroundTruth) -> None:
    for _ in range(10_000):
        job.run(host)
        if _is_done(host):
            return
    raise AssertionError("the job does not come to an end")


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.slow), pytest.param(3, marks=pytest.mark.slow)])
def test_it_is_what_a_batch_over_all_facts_comes_to(host: Shared, seed: int) -> None:
    """Two workers, delays by class, duplicates, conflicts, revisions, any order, restarts: every count is exact."""
    simulated = simulate(host.home.log, seed)
    _deliver_with_accidents(host, simulated, random.Random(seed))
    windows, expected = _windows(host), batch(simulated)
    assert expected[["duplicates", "conflicts", "revised", "retracted", "late"]].sum().min() > 10
    assert {(name.version, name.hour) for name in windows} == set(expected.index)
    for name, window in windows.items():
        whole = merged(window["parts"].values())
        wanted = expected.loc[(name.version, name.hour)]
        shared_counts = [kind for kind in COUNTS if kind in wanted]
        assert {kind: whole[kind] for kind in shared_counts} == {kind: int(wanted[kind]) for kind in shared_counts}
        assert whole["weights"][2] == wanted["right"]
        assert len(window["parts"]) >= 2
    assert sum(len(window["parts"]) for window in windows.values()) > len(segments(host.home.log)) > 4


def test_the_sums_of_performance_are_those_of_all_rows_at_once(host: Shared) -> None:
    """Whatever came in which part, the sums of a window are bit for bit those of its rows in one piece."""
    simulated = simulate(host.home.log, 5, requests=400, hours=2)
    _deliver_with_accidents(host, simulated, random.Random(5))
    answers = answers_of(host.registry.get("credit", "1").signature)
    assert answers is not None
    known = host.store.ground_truth(simulated.predictions["id"])
    for name, window in _windows(host).items():
        frame = simulated.predictions
        frame = frame[(frame["version"] == name.version) & (frame["time"] // 3600 == name.hour)]
        truths = {each: _last(known[each]) for each in frame["id"] if each in known}
        frame = frame[[truths.get(each) is not None for each in frame["id"]]]
        scores = frame["score"].to_numpy()
        wanted = answers.definition.sums(Outcomes(
            np.array([truths[each] for each in frame["id"]]), frame["said"].to_numpy(),
            np.column_stack([1 - scores, scores])))
        parts = [Sums.from_json(part["sums"]) for part in window["parts"].values()]
        assert sum(parts[1:], parts[0]).to_json() == wanted.to_json()


def _last(rows: list[GroundTruth]) -> Any:
    return max(rows, key=lambda row: row.event_time).value


def _deliver_with_accidents(host: Shared, simulated: Simulated, picks: random.Random) -> None:
    """Two workers take the outcomes in; the steward dies and the store is away now and then."""
    spools = [Spool(host.home.spool, 10**9, file_bytes=20_000) for _ in range(2)]
    clock = Clock(simulated.now)
    job = JoinGroundTruth(clock)
    rest = list(simulated.outcomes)
    while rest:
        size = picks.randrange(1, 400)
        picks.choice(spools).append(rest[:size])
        rest = rest[size:]
        what = picks.random()
        if what < 0.3:
            job = JoinGroundTruth(clock, budget_s=picks.choice((0.0, 0.001, 0.2)))  # a new steward
        if what < 0.1:
            host.forget_store()
        job.run(host)
    for spool in spools:
        spool.close()
    job = JoinGroundTruth(clock)
    _finish(host, job)
    job.run(host)
    assert spooled(host.home.spool) == []
