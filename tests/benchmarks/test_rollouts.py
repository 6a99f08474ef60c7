"""The rollout benchmark runs, and its policies tell good from bad as far as one course of events can show it."""

import numpy as np
import pytest

from tests.benchmarks.rollouts.__main__ import endings, run, table
from tests.benchmarks.rollouts.policies import HELD, OURS, POLICIES, PROMOTED, ROLLED_BACK
from tests.benchmarks.rollouts.scenarios import SCENARIOS, play

BY_NAME = {scenario.name: scenario for scenario in SCENARIOS}


def test_every_policy_plays_the_same_course() -> None:
    """Ours promotes a sound version, and always promoting exposes callers to as many requests of it."""
    found = dict(zip(POLICIES, endings(BY_NAME["no change"], (1, 0), tuple(POLICIES)), strict=True))
    assert {found[name].how for name in OURS} == {PROMOTED} == {found["always promote"].how}
    assert {found[name].exposed for name in OURS} == {found["always promote"].exposed}


def test_what_is_wrong_is_stopped_or_held() -> None:
    """Three times the errors, crashes and less accuracy are rolled back; an assignment that is broken is held."""
    for name, how in (("errors 1 → 3 %", ROLLED_BACK), ("crashes, 1 of 200", ROLLED_BACK), ("broken assignment", HELD)):
        assert {ending.how for ending in endings(BY_NAME[name], (1, 0), OURS)} == {how}, name
    accuracy = endings(BY_NAME["accuracy −5, labels at once on all"], (1, 0), OURS)
    assert [ending.how for ending in accuracy] == [ROLLED_BACK] * 2 and accuracy[1].exposed == 0


def test_failures_come_in_runs_of_the_stated_autocorrelation() -> None:
    """The mean stays 1 %; the variance of a minute's count is that of a Markov chain, (1 + r) / (1 − r) times."""
    for name in ("", " within each arm"):
        scenario = BY_NAME[f"no change, failures of autocorrelation 0.3{name}"]
        rng = np.random.default_rng(4)
        stable = np.concatenate([play(scenario, rng).errors[1][:10] for _ in range(300)])  # 99 % of 6,000 a minute
        assert stable.mean() == pytest.approx(59.4, rel=0.02)
        assert stable.var() / stable.mean() == pytest.approx(1.3 / 0.7, rel=0.1)


def test_the_table_has_a_line_for_each_scenario() -> None:
    """With what was rolled back, what was held and what callers saw."""
    found = run(BY_NAME["errors 1 → 10 %"], 2, 1, OURS)
    assert {summary["runs"] for summary in found.values()} == {2}
    assert table({"errors 1 → 10 %": found})[-1].startswith("| errors 1 → 10 % | 100 % / ")
