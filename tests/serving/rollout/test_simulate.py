"""Simulated rollouts: seeded, judged by the real thing, ending as they should."""

from __future__ import annotations

import numpy as np
import pytest

from serinus.serving.rollout import Judgement, Phase, Plan, PlanInvalid
from serinus.serving.rollout.analysis import Action
from serinus.serving.rollout.evidence import Arms, Window
from serinus.serving.rollout.planner import Traffic
from serinus.serving.rollout.simulate import Behaviour, Ending, play, replay

PLAN = Plan((500, 2500, 5000), False, 3600.0, Judgement())


def run(traffic: Traffic, candidate: Behaviour, plan: Plan = PLAN, runs: int = 5) -> list[Ending]:
    return [play(plan, traffic, candidate, np.random.default_rng(seed)) for seed in range(runs)]


def test_the_same_seed_gives_the_same_rollout() -> None:
    """Down to the last request."""
    assert run(Traffic(50.0), Behaviour(errors=0.02), runs=2) == run(Traffic(50.0), Behaviour(errors=0.02), runs=2)


@pytest.mark.parametrize("candidate", [Behaviour(errors=0.03), Behaviour(failures=0.005), Behaviour(tail=0.05)])
def test_a_bad_candidate_is_rolled_back(candidate: Behaviour) -> None:
    """Errors, crashes and slow answers are found; crashes before any caller meets them."""
    ends = run(Traffic(100.0), candidate)
    assert {end.phase for end in ends} == {Phase.ROLLING_BACK}
    assert not candidate.failures or max(end.exposed for end in ends) == 0


def test_a_loss_of_accuracy_is_found_in_the_shadow() -> None:
    """Five points, ground truth of a fifth after half an hour: no caller meets the candidate."""
    longer = Plan(PLAN.steps, False, 3600.0, Judgement(shadow_s=2400.0))
    ends = run(Traffic(100.0, labelled=0.2, labels_delay_s=1800.0), Behaviour(wrong=0.15), longer)
    assert {(end.phase, end.exposed) for end in ends} == {(Phase.ROLLING_BACK, 0)}


def test_late_ground_truth_goes_to_its_own_window() -> None:
    """Without a shadow, wrong predictions are found when they are known to be wrong, half an hour later."""
    plan = Plan((5000,), False, 3600.0, Judgement(shadow=0, step_s=7200.0))
    ends = run(Traffic(20.0, labelled=0.5, labels_delay_s=1800.0), Behaviour(wrong=0.2), plan)
    assert {end.phase for end in ends} == {Phase.ROLLING_BACK} and min(end.seconds for end in ends) > 1800


def test_a_sound_candidate_is_promoted_with_and_without_soak() -> None:
    """The soak takes its time, and the default plan ends at two requests per second."""
    soaking = Plan(PLAN.steps, False, 3600.0, Judgement(soak_s=3600.0))
    usual, slow = run(Traffic(100.0), Behaviour()), run(Traffic(100.0), Behaviour(), soaking)
    assert {end.phase for end in (*usual, *slow, *run(Traffic(2.0), Behaviour(), runs=2))} == {Phase.PROMOTED}
    assert min(end.seconds for end in slow) >= max(end.seconds for end in usual) + 3600


def test_silence_is_held() -> None:
    """Nothing counted for five minutes is no success."""
    ends = run(Traffic(1e-9), Behaviour(), Plan((500,), False, 0.0, Judgement(shadow=0)), runs=1)
    assert ends[0].phase is Phase.HOLD and ends[0].reason == "Nothing was counted for 5 minutes."


def test_a_plan_that_leaves_nothing_to_compare_still_ends() -> None:
    """At full weight what was known before decides."""
    plan = Plan((1000, 10_000), False, 0.0, Judgement(shadow=0, patience_s=1200.0))
    assert {end.phase for end in run(Traffic(50.0), Behaviour(), plan, runs=2)} == {Phase.PROMOTED}


def windows(bad_from: int) -> list[Window]:
    """Six windows of ten minutes at 25 %; the candidate has three times the errors from one of them on."""
    found = []
    for number in range(6):
        errors = 60 if number >= bad_from else 20
        found.append(Window(0.25, 2000, 6000, {"errors": Arms(errors, 2000, 60, 6000)}, "r/0"))
    return found


def test_a_replay_says_when_another_plan_would_have_stopped() -> None:
    """A stricter plan stops no earlier, one that only detects goes on, and it ends where the rollout would have."""
    usual = replay(Judgement(shadow=0), windows(2))
    strict = replay(Judgement(shadow=0, alpha=1e-6), windows(2))
    assert usual[-1].verdict.action is strict[-1].verdict.action is Action.ROLL_BACK
    assert 2 <= usual[-1].window <= strict[-1].window
    assert [one.verdict.action for one in replay(Judgement(shadow=0), windows(9))] == [Action.WAIT, Action.ADVANCE]


def test_what_cannot_be_simulated() -> None:
    """A plan that a person takes, and a candidate that cannot be."""
    with pytest.raises(PlanInvalid, match="cannot be simulated"):
        play(Plan((500,)), Traffic(1.0), Behaviour(), np.random.default_rng(0))
    with pytest.raises(PlanInvalid, match="The candidate's failures: expected a share"):
        Behaviour(failures=2.0)
