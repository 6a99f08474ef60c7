"""Which version answers: the record says, a stale record says less, a veto says last; callers stay where they are."""

from __future__ import annotations

import gc
import random
import weakref
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from serinus.models import Field, Signature, wrap
from serinus.serving.batching import BatchQueue
from serinus.serving.errors import ModelUnavailable, NotServed
from serinus.serving.rollout import Bucketer, Phase, Plan, RolloutRecord
from serinus.serving.rollout.state import RUNNING
from serinus.serving.router import Loaded, Pace, Router, Target, decide, key_hash
from serinus.serving.veto import Veto

SIGNATURE = Signature((Field("x", "FP64", (-1,)),), (Field("y", "FP64", (-1,)),))
NOW = 1_000_000.0
CANARY = RolloutRecord(
    "m", 5, "r1", Phase.CANARY, Plan((500, 5000)), step_id="s", weight=500, stable="1", candidate="2", salt="5a17"
)
VETO = Veto("m", 1, "r1", "2", "1", None, "ana", "", NOW)

versions = st.sampled_from(["1", "2", "3", "4"])


@st.composite
def records(draw: st.DrawFn) -> RolloutRecord:
    phase = draw(st.sampled_from(Phase))
    stable, candidate, previous = draw(versions), draw(st.none() | versions), draw(st.none() | versions)
    candidate = None if candidate == stable else candidate
    weight = draw(st.integers(0, 10_000)) if candidate and phase in RUNNING else 0
    return RolloutRecord(
        "m",
        5,
        phase=phase,
        weight=weight,
        stable=stable,
        candidate=candidate,
        salt="s",
        previous_stable=previous,
        previous_until=draw(st.none() | st.floats(NOW - 5, NOW + 5)),
    )


@given(records(), versions, st.booleans())
def test_a_veto_wins_over_any_record(record: RolloutRecord, stable: str, stale: bool) -> None:
    """Its stable version answers everything; what the record calls stable stays loaded for the way back."""
    target = decide(record, replace(VETO, stable=stable), stale=stale, now=NOW)
    assert target is not None
    assert (target.stable, target.candidate, target.weight) == (stable, None, 0)
    assert record.stable in target.keep


@given(records())
def test_a_stale_record_gives_no_candidate_traffic(record: RolloutRecord) -> None:
    """A host that the store cannot reach may have missed a rollback; the candidate stays loaded."""
    fresh, stale = decide(record, None, stale=False, now=NOW), decide(record, None, stale=True, now=NOW)
    assert fresh is not None and stale is not None
    assert (stale.stable, stale.weight) == (record.stable, 0)
    assert stale.candidate == fresh.candidate


@given(records())
def test_a_fresh_record_is_followed(record: RolloutRecord) -> None:
    """Weight and candidate while a rollout runs, and the previous version within its window."""
    target = decide(record, None, stale=False, now=NOW)
    assert target is not None
    assert (target.stable, target.weight) == (record.stable, record.weight)
    assert target.candidate == (record.candidate if record.phase in RUNNING else None)
    ready = record.previous_stable is not None and record.previous_until is not None and record.previous_until > NOW
    assert target.keep == ((record.previous_stable,) if ready else ())


def test_a_worker_that_knows_no_snapshot_serves_stable() -> None:
    """All it has is the first registered version, from nobody's record."""
    first = RolloutRecord.initial("m", "1", NOW)
    assert decide(first, None, stale=True, now=NOW) == Target("1", None, 0, "", ())


def test_nothing_is_served_before_there_is_a_stable_version() -> None:
    """Not even under a veto."""
    assert decide(RolloutRecord("m"), VETO, stale=False, now=NOW) is None


# The table


def loaded(name: str, version: str) -> Loaded:
    if version == "9":
        raise RuntimeError("damaged")
    return Loaded(wrap(lambda frame: np.full(len(frame), float(version)), signature=SIGNATURE), "function", {})


def router(target: Target, failures: list[None] | None = None) -> Router:
    made = Router(loaded, lambda: failures.append(None) if failures is not None else None)
    for version in made.missing(target, "m"):
        made.load("m", version)
    made.flip("m", target)
    return made


SPLIT = Target("1", "2", 3000, "5a17", ("3",))


@pytest.mark.parametrize("keyed", [True, False])
@pytest.mark.parametrize("weight", [1, 500, 3000, 5000, 9999])
def test_the_candidate_gets_its_share(weight: int, keyed: bool) -> None:
    """Over 20,000 callers within exact binomial bounds, with keys and without (one false alarm in 20,000; seeded)."""
    made, number = router(SPLIT._replace(weight=weight)), 20_000
    random.seed(7)
    keys = (f"user-{index}" if keyed else None for index in range(number))
    candidate = sum(made.choose("m", None, key).arm.version == "2" for key in keys)
    least, most = binom.interval(1 - 5e-5, number, weight / 10_000)
    assert least <= candidate <= most


@pytest.mark.parametrize(("weight", "version"), [(0, "1"), (10_000, "2")])
def test_none_and_all_are_exact(weight: int, version: str) -> None:
    """Not one request too many."""
    made = router(SPLIT._replace(weight=weight))
    assert {made.choose("m", None, key).arm.version for key in (None, *map(str, range(2000)))} == {version}


@given(st.text(max_size=20), st.integers(1, 9_999), st.integers(1, 9_999))
def test_a_caller_stays_where_it_is(key: str, one: int, other: int) -> None:
    """The same key meets the same version; more weight takes nobody off the candidate."""
    low, high = sorted((one, other))
    versions_met = [
        router(SPLIT._replace(weight=weight)).choose("m", None, key).arm.version for weight in (low, low, high)
    ]
    assert versions_met[0] == versions_met[1]
    assert versions_met[0] <= versions_met[2]
    assert (versions_met[0] == "2") is (Bucketer("5a17")(key) < low)


def test_a_named_version_answers() -> None:
    """Whatever its weight: stable, candidate, or one kept loaded."""
    made = router(SPLIT)
    for version, role in (("1", "stable"), ("2", "candidate"), ("3", "stable")):
        choice = made.choose("m", version, "ana")
        assert (choice.arm.version, choice.arm.role, choice.reason) == (version, role, "targeting_match")


def test_the_reason_is_said() -> None:
    """In OpenTelemetry's words, with the key's hash for the log."""
    assert router(SPLIT).choose("m", None, "ana")[1:] == ("split", key_hash("ana"))
    assert router(SPLIT._replace(weight=0)).choose("m", None, "ana")[1:] == ("static", key_hash("ana"))
    assert router(SPLIT._replace(candidate=None)).choose("m", None, None)[1:] == ("static", 0)
    assert key_hash("ana") != key_hash("bob")


def test_what_is_not_served_is_said_by_name() -> None:
    """With what is."""
    made = router(SPLIT)
    with pytest.raises(NotServed, match="Model 'other' is not served here; served: m"):
        made.choose("other", None, None)
    with pytest.raises(NotServed, match="Version '7' of model 'm' is not served here; served: 1, 2, 3"):
        made.choose("m", "7", None)
    with pytest.raises(NotServed, match="served: none"):
        Router(loaded).choose("m", None, None)


def test_a_version_that_cannot_be_loaded_is_unavailable() -> None:
    """The failure is counted once and not tried again at every look; the worker goes on."""
    failures: list[None] = []
    target = Target("9", None, 0, "", ())
    made = router(target, failures)
    assert len(failures) == 1
    assert made.missing(target, "m") == []
    with pytest.raises(ModelUnavailable, match="could not be loaded"):
        made.choose("m", None, None)
    made.forget("m", set())
    assert made.missing(target, "m") == ["9"]


def test_a_candidate_that_cannot_be_loaded_gets_nothing() -> None:
    """Stable answers all."""
    made = router(SPLIT._replace(candidate="9", weight=9999))
    assert {made.choose("m", None, str(key)).arm.version for key in range(100)} == {"1"}


def test_nothing_changes_before_stable_is_loaded() -> None:
    """The route that worked goes on."""
    made = router(SPLIT)
    assert made.flip("m", Target("8", None, 0, "", ())) is False
    assert made.choose("m", None, None).arm.version in ("1", "2")


def test_a_flip_is_a_pointer() -> None:
    """A rollback loads nothing, and a request under way keeps the arm it was given."""
    made = router(SPLIT._replace(weight=10_000))
    arm = made.choose("m", None, None).arm
    assert made.missing(Target("1", None, 0, "5a17", ("2",)), "m") == []
    made.flip("m", Target("1", None, 0, "5a17", ("2",)))
    assert made.choose("m", None, None).arm.version == "1"
    assert arm.model.predict({"x": np.zeros(1)})["y"].tolist() == [2.0]


def test_what_nobody_refers_to_is_closed() -> None:
    """And may be loaded again."""
    made = router(SPLIT)
    made.flip("m", Target("1", None, 0, "", ()))
    made.forget("m", {"1"})
    assert made.missing(SPLIT, "m") == ["2", "3"]
    made.close()
    assert made.routes == {}


def test_an_arm_learns_how_long_its_model_takes() -> None:
    """By size of the request; one slow call does not decide alone."""
    arm = router(SPLIT).choose("m", "1", None).arm
    arm.learn(1, 1000)
    arm.learn(1, 2000)
    arm.learn(64, 9000)
    assert arm.expected_ns == {1: 1100.0, 7: 9000}


def test_slow_is_about_one_in_a_hundred() -> None:
    """Whatever the distribution, and again after it has changed; the first hundred requests teach only."""
    rng = np.random.default_rng(11)
    pace = Pace()
    assert not any(pace.is_slow(int(took)) for took in rng.lognormal(0, 1, 100) * 1e6)
    for scale in (1e6, 2e7, 5e5):
        for took in rng.lognormal(0, 1, 5_000) * scale:
            pace.is_slow(int(took))
        share = np.mean([pace.is_slow(int(took)) for took in rng.lognormal(0, 1, 50_000) * scale])
        assert 0.007 < share < 0.014


def test_an_unloaded_model_is_freed_at_once() -> None:
    """Also when requests have shared calls of it: nothing is left for a collector that may never look."""
    made = router(SPLIT)
    arms = {arm.version: arm for arm in made.routes["m"].arms}
    for arm in arms.values():
        arm.queue = BatchQueue(arm.model, ThreadPoolExecutor(1), 8, lambda rows, arm=arm: arm.mark > rows,
                               lambda started: lambda ended, rows: None)
    models = {version: weakref.ref(arm.model) for version, arm in arms.items()}
    kept = arms["1"]
    del arm, arms
    gc.disable()
    try:
        made.flip("m", Target("1", None, 0, "5a17", ()))
        made.forget("m", {"1"})
        assert made.released
        assert [version for version, model in models.items() if model() is not None] == ["1"]
        assert kept.queue is not None  # it answers on
        del kept
        made.drop("m")
        assert [version for version, model in models.items() if model() is not None] == []
    finally:
        gc.enable()
