"""The planner's formulas, held against simulated e-values and against whole simulated rollouts."""

from __future__ import annotations

from math import inf, log
from typing import Any

import numpy as np
import pytest

from serinus.monitors.sequential import rate_ratio
from serinus.serving.rollout import Judgement, Phase, Plan, PlanInvalid
from serinus.serving.rollout.planner import Traffic, divergence, events_to_certify, events_to_find, outlook
from serinus.serving.rollout.simulate import Behaviour, play

PLAN = Plan((500, 2500, 5000), False, 3600.0, Judgement())


def mean_events(weight: float, ratio: float, needed: float, limit: float, certify: bool = False) -> float:
    """How many events 300 simulated rollouts took, on average, until the evidence reached the limit."""
    rng, most = np.random.default_rng(7), int(needed * 8)
    share = weight * ratio / (weight * ratio + 1 - weight)
    counts = np.unique(np.geomspace(3, most, 120).astype(int))
    theirs = np.cumsum(rng.random((300, most)) < share, axis=1)[:, counts - 1]
    both = theirs[..., None], (counts - theirs)[..., None]
    evidence = rate_ratio.non_inferiority([weight], *both) if certify else rate_ratio.harm([weight], *both)
    reached = evidence >= limit
    return float(np.where(reached.any(1), counts[reached.argmax(1)], most).mean())


@pytest.mark.parametrize("weight", [0.05, 0.25, 0.5])
@pytest.mark.parametrize("ratio", [2.0, 3.0, 5.0])
def test_events_until_harm_is_found(weight: float, ratio: float) -> None:
    """The formula is right within a third, and rather says too many than too few."""
    needed = events_to_find(weight, ratio, alpha=0.01)
    assert 0.65 < mean_events(weight, ratio, needed, log(100)) / needed < 1.1


@pytest.mark.parametrize("weight", [0.05, 0.25, 0.5])
def test_events_until_no_harm_is_certified(weight: float) -> None:
    """So is the other one; for 5, 25 and 50 % it gives about the numbers that were measured in a pilot."""
    needed = events_to_certify(weight, beta=0.05)
    assert 0.65 < mean_events(weight, 1.0, needed, log(20), certify=True) / needed < 1.1
    assert needed == pytest.approx({0.05: 1050, 0.25: 245, 0.5: 226}[weight], rel=0.15)


def test_divergence_by_hand() -> None:
    """A fair coin against one of a quarter: ½ ln 2 + ½ ln ⅔."""
    assert divergence(0.5, 0.25) == pytest.approx(0.5 * log(2) + 0.5 * log(2 / 3))
    assert divergence(0.3, 0.3) == 0


def test_small_steps_find_large_harm_only() -> None:
    """Each step finds smaller ratios than the one before, and only from a quarter on anything is certified."""
    found = outlook(PLAN, Traffic(100.0)).steps
    assert [step.phase for step in found] == [Phase.SHADOW, Phase.CANARY, Phase.CANARY, Phase.CANARY]
    assert [step.ends for step in found] == ["detects only", "detects only", "certified", "certified"]
    ratios = [step.errors for step in found[1:]]
    assert ratios == sorted(ratios, reverse=True) and 1.2 < ratios[-1] < ratios[0] < 2


@pytest.mark.parametrize(("traffic", "minutes"), [(Traffic(100.0), 40), (Traffic(2.0), 157),
                                                  (Traffic(2.0, errors=0.0), 157)])
def test_how_long_it_takes(traffic: Traffic, minutes: float) -> None:
    """Simulated rollouts of a sound candidate take as long as the outlook says, within a third."""
    said = outlook(PLAN, traffic).seconds
    assert said / 60 == pytest.approx(minutes, abs=1)
    took = [play(PLAN, traffic, Behaviour(), np.random.default_rng(seed)) for seed in range(5)]
    assert {ending.phase for ending in took} == {Phase.PROMOTED}
    assert np.median([ending.seconds for ending in took]) == pytest.approx(said, rel=1 / 3)


def test_harm_of_the_size_that_is_named_is_found() -> None:
    """Errors at the ratio that the first step names are found in it by about half of the rollouts."""
    traffic = Traffic(100.0)
    first = outlook(PLAN, traffic).steps[1]
    ends = [play(PLAN, traffic, Behaviour(errors=traffic.errors * first.errors), np.random.default_rng(seed))
            for seed in range(30)]
    stopped = sum(end.phase is Phase.ROLLING_BACK and end.exposed <= first.candidate_requests * 1.1 for end in ends)
    assert 10 <= stopped <= 27


def test_what_cannot_be_judged_is_said_before() -> None:
    """No ground truth in time, and none of the errors: the words say so, and what would help."""
    late = outlook(PLAN, Traffic(100.0, labelled=0.2, labels_delay_s=1800.0))
    assert "Accuracy is not judged" in late.verdict and late.remarks[0].startswith("The shadow ends before")
    longer = Plan(PLAN.steps, False, 3600.0, Judgement(shadow_s=2400.0))
    better = outlook(longer, Traffic(100.0, labelled=0.2, labels_delay_s=1800.0))
    assert better.verdict == "Certified to be no worse, if nothing is wrong." and not better.remarks
    assert 1.05 < better.steps[0].wrong < 1.3
    rare = outlook(PLAN, Traffic(0.05, errors=1e-4))
    assert rare.remarks[0].startswith("At this rate no ratio of errors is found in the step of 5")


def test_what_the_shadow_could_not_certify_is_waited_for_later_too() -> None:
    """Its pairs belong to the certificate of every later step, so each ends by patience, as one that is played does."""
    traffic = Traffic(2.0, labelled=0.5)
    said = outlook(PLAN, traffic)
    assert [step.ends for step in said.steps] == ["risk stated", "detects only", "risk stated", "risk stated"]
    took = play(PLAN, traffic, Behaviour(), np.random.default_rng(1))
    assert (took.phase, took.seconds) == (Phase.PROMOTED, pytest.approx(said.seconds, rel=0.1))


def test_too_little_traffic_ends_with_a_stated_risk() -> None:
    """The default plan ends at any traffic; with `stay` it waits for a person instead."""
    few = outlook(PLAN, Traffic(0.05))
    assert few.steps[-1].ends == "risk stated" and "risk stated (no hard failures; errors below" in few.verdict
    stays = Plan(PLAN.steps, False, 3600.0, Judgement(unproven="stay", approve=True))
    assert "until a person promotes it" in outlook(stays, Traffic(0.05)).verdict


@pytest.mark.parametrize("steps", [(10_000,), (1, 10_000), (9_999,)])
@pytest.mark.parametrize("traffic", [Traffic(1e-6), Traffic(1e6, errors=1.0, wrong=1.0, labelled=1.0),
                                     Traffic(10.0, errors=0.0, wrong=0.0, labelled=1.0, labels_delay_s=1e9)])
def test_no_plan_or_traffic_breaks_it(steps: tuple[int, ...], traffic: Traffic) -> None:
    """Nothing to compare with, no events, or nothing but events: finite times and words all the same."""
    for judgement in (Judgement(), Judgement(shadow=0, soak_s=60.0, step_s=0.0, patience_s=0.0)):
        found = outlook(Plan(steps, False, 0.0, judgement), traffic)
        assert 0 <= found.seconds < inf and found.verdict.endswith(".")
        assert all(step.errors > 1 and step.tail > 1 and step.wrong > 1 for step in found.steps)


@pytest.mark.parametrize(("values", "sentence"), [
    ({"rate": 0.0}, "more than 0, got 0.0"), ({"rate": float("nan")}, "more than 0"), ({"rate": inf}, "more than 0"),
    ({"rate": 1.0, "errors": 2.0}, "errors: expected a share"),
    ({"rate": 1.0, "labels_delay_s": -1.0}, "expected seconds"),
])
def test_traffic_that_cannot_be(values: dict[str, Any], sentence: str) -> None:
    """One sentence says what was wanted."""
    with pytest.raises(PlanInvalid, match=sentence):
        Traffic(**values)


def test_a_manual_plan_has_no_outlook() -> None:
    """How long a person takes, nobody knows."""
    with pytest.raises(PlanInvalid, match="Give it a judgement"):
        outlook(Plan((500,)), Traffic(1.0))
