"""What a plan may ask for."""

from __future__ import annotations

from typing import Any

import pytest

from serinus.serving.rollout import Judgement, Plan, PlanInvalid
from serinus.serving.rollout.judgement import BUDGET, CHECKS


def test_the_budget_is_spent_once() -> None:
    """Every check has a share of alpha, and together they have all of it."""
    assert BUDGET.keys() == CHECKS.keys()
    plain, with_events = Judgement(alpha=0.02), Judgement(alpha=0.02, wanted_events=("click",))
    assert [sum(map(plan.alpha_of, CHECKS)) for plan in (plain, with_events)] == pytest.approx([0.02, 0.02])
    assert (plain.alpha_of("errors"), plain.alpha_of("events")) == (0.3 * 0.02, 0.0)
    assert with_events.alpha_of("events") == pytest.approx(0.02 / 11)


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
        ({"approve": 6}, "approve must be a whole number from 0 to 5, got 6"),
        ({"approve": 1.5}, "approve must be a whole number"),
        ({"events": "complaint"}, "events must be a list of at most 10 different names such as complaint, got 'compl"),
        ({"wanted_events": ["click", "click"]}, "wanted_events must be a list of at most 10 different names"),
        ({"events": [""]}, "events must be a list"),
        ({"events": ["click"], "wanted_events": ["click"]}, "event is harm or wanted, not both: click"),
        ({"gate": "maybe"}, "gate is no_fail, pass or ignore, got 'maybe'"),
    ],
)
def test_what_makes_no_sense_is_refused(values: dict[str, Any], sentence: str) -> None:
    """The sentence names the value, what is possible and what was given."""
    with pytest.raises(PlanInvalid) as raised:
        Judgement(**values)
    assert sentence in str(raised.value)


def test_a_judgement_is_read_as_written_and_unknown_words_are_named() -> None:
    """A word that is misspelt must not silently leave its default."""
    plan = Judgement(shadow=500, approve=True, events=("complaint",))
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


def test_so_many_persons_have_to_approve() -> None:
    """The last step only, or every one from a weight on; true is one person."""
    assert Judgement(approve=True).approve == 1
    plan = Judgement(approve=2)
    assert [plan.approvers_at(weight, last=last) for weight, last in ((100, False), (5_000, False), (5_000, True))] == [
        0, 0, 2]
    early = Judgement(approve=1, approve_from=2_500)
    assert [early.approvers_at(weight, last=False) for weight in (0, 2_499, 2_500)] == [0, 0, 1]


@pytest.mark.parametrize("name", ["hold_on_drift", "hold_on_estimate", "hold_on_monitors"])
def test_a_switch_is_true_or_false(name: str) -> None:
    """Not a word that looks like one of them."""
    with pytest.raises(PlanInvalid, match=f"{name} must be true or false, got 'no'"):
        Judgement(**{name: "no"})
