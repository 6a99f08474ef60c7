"""A rollout of `wine` 2 that judges itself, on a host without processes, and what workers counted of it."""

from __future__ import annotations

import time
from pathlib import Path

import orjson
import pytest

from serinus.models.registry import Registry
from serinus.serving.rollout import Judgement, Plan, RolloutRecord, controller
from serinus.serving.rollout.baseline import BASELINE, Baseline
from serinus.serving.rollout.tally import Part, Tally, step_number
from serinus.serving.rollout.transitions import Advance
from serinus.serving.steward.hold_lease import HoldLease
from serinus.serving.steward.job import Shared
from serinus.serving.store import Document
from tests.serving.steward.hosts import shared, trained

__all__ = ["PLAN", "baseline_for", "count", "judged", "past_preflight", "tally_of", "trying"]

PLAN = Plan((1000, 5000), manual=False, judgement=Judgement(shadow=0, step_s=60, step_units=100, patience_s=3600))


@pytest.fixture
def judged(tmp_path: Path) -> Shared:
    """A host that leads, with two versions of `wine`, the first stable."""
    trained(tmp_path, "wine", 1.0, 2.0)
    host = shared(tmp_path)
    controller.set_stable(host.store, "wine", "1", host.registry.get("wine", "1").digest, "ana", now=time.time())
    HoldLease().run(host)
    host.publish()
    return host


def trying(host: Shared, plan: Plan = PLAN, now: float | None = None) -> RolloutRecord:
    """Start version 2: it is in its preflight."""
    digest = Registry(host.home.path).get("wine", "2").digest
    record = controller.start(host.store, "wine", "2", digest, plan, "ana", now=now or time.time()).record
    host.publish()
    return record


def baseline_for(host: Shared, record: RolloutRecord, *, errors: int = 10) -> Baseline:
    """Keep a baseline in the store."""
    known = host.store.document(BASELINE, "wine")
    revision = known.revision if known else 0
    baseline = Baseline("wine", record.rollout_id, (1_000, 2_000, 3_000), 1_000, errors)
    host.store.put_document(Document(BASELINE, "wine", revision + 1, orjson.dumps(baseline.to_dict()), 0.0),
                            expected_revision=revision)
    return baseline


def past_preflight(host: Shared, plan: Plan = PLAN, now: float | None = None) -> RolloutRecord:
    """Start version 2 and let it pass its preflight."""
    record = trying(host, plan, now)
    baseline_for(host, record)
    event = Advance(record.step_id, actor="ana")
    record = controller.decide(host.store, "wine", event, now=now or time.time()).record
    host.publish()
    return record


def tally_of(host: Shared, record: RolloutRecord, incarnation: str = "00aa") -> Tally:
    """A worker's tally."""
    tally = Tally(host.run.tallies, incarnation, "wine", record.rollout_id, thresholds_ns=(1_000, 2_000, 3_000))
    tally.begin_step(step_number(record.step_id))
    return tally


def count(tally: Tally, candidate: int, stable: int, *, errors: tuple[int, int] = (0, 0), now: float | None = None,
          first_key: int = 0) -> None:
    """Requests of both arms, the first `errors` of each went wrong; with keys from `first_key` on, where given."""
    for arm, number, wrong in ((1, candidate, errors[0]), (0, stable, errors[1])):
        for index in range(number):
            key = first_key and (first_key + 2 * index + arm) * 0x9E3779B97F4A7C15 % 2**64
            assigned = tally.assign(arm, key, int((now or time.time()) * 1e9))
            if index < wrong:
                tally.count(arm, key, assigned, Part.ERRORS)
