"""What a plan may ask for."""

from __future__ import annotations

from typing import Any

import pytest

from serinus.serving.rollout import Judgement, Plan, PlanInvalid
from serinus.serving.rollout.judgement import BUDGET, CHECKS


def test_the_budget_is_spent_once() -> None:
    """Every check has a share of alpha, and together they have all of it."""
    assert BUDGET.keys() == CHECKS.keys()
    assert sum(BUDGET.values()) == pytest.approx(1.0)
    assert sum(map(Judgement(alpha=0.02).alpha_of, CHECKS)) == pytest.approx(0.02)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"shadow": 10_001}, "shadow must be a whole number from 0 to 10000, got 10001"),
        ({"shadow": 0.1}, "shadow must be a whole number"),
        ({"step_s": -1}, "step_s must be a number from 0"),
        ({"soak_s": float("nan")}, "soak_s must be a number"),
        ({"alpha": 0}, "alpha must be a number from 1e-06 to 0.5"),
        ({"alpha": True}, "alpha must be a number"),
        ({"step_units": 0}, "step_units must be a whole number from 1"),
        ({"margin": 1.1}, "margin must be larger than its ratio, got 1.1 and 1.1"),
        ({"unproven": "shrug"}, "unproven is promote or stay"),
        ({"after_hold": "promote"}, "after_hold roll_back or stay"),
    ],
)
def test_what_makes_no_sense_is_refused(values: dict[str, Any], sentence: str) -> None:
    """The sentence names the value, what is possible and what was given."""
    with pytest.raises(PlanInvalid) as raised:
        Judgement(**values)
    assert sentence in str(raised.value)


def test_a_judgement_is_read_as_written_and_unknown_words_are_named() -> None:
    """A word that is misspelt must not silently leave its default."""
    plan = Judgement(shadow=500, approve=True)
    assert Judgement.from_dict(plan.to_dict()) == plan
    with pytest.raises(PlanInvalid, match="A plan has no 'alfa'"):
        Judgement.from_dict({"alfa": 0.01})


def test_a_plan_is_led_by_hand_or_judges_itself() -> None:
    """Never both, never neither."""
    assert Plan((500,), False, judgement=Judgement()).to_dict()["format"] == 2
    for wrong in ({"manual": True, "judgement": Judgement()}, {"manual": False}):
        with pytest.raises(PlanInvalid, match="either manual or has a judgement"):
            Plan((500,), **wrong)  # type: ignore[arg-type]


def test_a_budget_is_shared_by_all_who_judge_the_check() -> None:
    """The arms, the pairs of a shadow if there is one, and of hard failures the workers, each by himself."""
    with_shadow, without = Judgement(), Judgement(shadow=0)
    assert [with_shadow.judges_of(check) for check in ("failures", "errors", "mix")] == [3, 1, 2]
    assert [without.judges_of(check) for check in ("failures", "errors", "mix")] == [2, 1, 1]
