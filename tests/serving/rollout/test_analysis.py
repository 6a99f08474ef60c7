"""The judgement: what it says of counts, in which order, and in words."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from serinus.serving.rollout import Judgement, Phase
from serinus.serving.rollout.analysis import APPROVAL, Action, Check, Verdict, judge
from serinus.serving.rollout.evidence import Arms, Evidence, Pairs, Window

PLAN = Judgement(shadow=0, step_s=600, step_units=100)
LONG = 700.0


def window(weight: float = 0.25, candidate: int = 10_000, step: str = "0", **events: tuple[int, int]) -> Window:
    """A stretch with so many units of the candidate, stable's in proportion, and events in both arms."""
    stable = round(candidate * (1 - weight) / weight)
    return Window(weight, candidate, stable, {name.replace("_", ":"): Arms(theirs, candidate, others, stable)
                                              for name, (theirs, others) in events.items()}, step)


def look(*windows: Window, weight: int = 2500, plan: Judgement = PLAN, approvers: int = 0, phase: Phase = Phase.CANARY,
         **known: object) -> Verdict:
    evidence = Evidence(windows, elapsed_s=LONG)
    seen = replace(evidence, **known)  # type: ignore[arg-type]
    return judge(plan, phase, weight, seen, step_id="0", approvers=approvers)


def check(verdict: Verdict, name: str) -> Check:
    return next(check for check in verdict.checks if check.name == name)


def test_as_good_as_stable_is_certified_by_the_ratio() -> None:
    """With events enough in both arms; what is not known is said."""
    verdict = look(window(errors=(100, 300)))
    assert (verdict.action, verdict.risk) == (Action.ADVANCE, "accuracy not judged: no ground truth")
    assert verdict.reason == "Certified to be no worse: errors (ratio)."


def test_flawless_is_certified_by_its_own_rate() -> None:
    """Nothing ever fails in either arm, so the ratio says nothing: the absolute route does."""
    verdict = look(window(errors=(0, 0)))
    assert (verdict.action, verdict.reason) == (Action.ADVANCE, "Certified to be no worse: errors (absolute).")
    assert look(window(candidate=500, errors=(0, 0))).action is Action.WAIT


def test_what_is_not_rare_is_compared() -> None:
    """Both arms are equal: below 2 % the candidate's own rate is enough, above it only the ratio, with more units."""
    rare = look(window(weight=0.5, candidate=2_000, errors=(12, 12)), weight=5000)
    assert rare.reason == "Certified to be no worse: errors (absolute)."
    assert look(window(weight=0.5, candidate=2_000, errors=(60, 60)), weight=5000).action is Action.WAIT
    more = look(window(weight=0.5, candidate=8_000, errors=(240, 240)), weight=5000)
    assert more.reason == "Certified to be no worse: errors (ratio)."


@pytest.mark.parametrize(("rate", "times"), [(0.02, 1.5), (0.05, 1.5), (0.05, 2.0), (0.1, 1.5)])
def test_a_worse_version_is_hardly_ever_certified(rate: float, times: float) -> None:
    """At equal shares, looked at from 200 units of each arm on: at most beta of 60 are, and most sound ones."""
    worse = [_certified(np.random.default_rng(seed), rate, times * rate) for seed in range(60)]
    assert sum(worse) <= 3
    assert sum(_certified(np.random.default_rng(seed), rate, rate) for seed in range(10)) >= 6


def _certified(rng: np.random.Generator, stable: float, candidate: float) -> bool:
    """Whether it is before it is rolled back, and before 8,000 units."""
    seen, theirs, others = 0, 0, 0
    for units in (200, 300, 400, 500, 700, 1_000, 1_400, 2_000, 3_000, 4_500, 8_000):
        theirs, others = (before + int(rng.binomial(units - seen, rate))
                          for before, rate in ((theirs, candidate), (others, stable)))
        seen = units
        verdict = look(window(weight=0.5, candidate=units, errors=(theirs, others)), weight=5000)
        if verdict.action is not Action.WAIT:
            return verdict.action is Action.ADVANCE
    return False


def test_worse_is_rolled_back_with_its_counts() -> None:
    """In words for a person on call: counts, ratio, odds."""
    verdict = look(window(errors=(300, 300)))
    assert verdict.action is Action.ROLL_BACK
    assert verdict.reason == ("The candidate is worse by errors: 300 of 10,000 against 300 of 30,000 (ratio 2.2 to 4); "
                              "evidence more than 1,000,000 to one, needed 67.")
    assert check(verdict, "errors").meter == 1.0


def test_a_small_step_only_detects() -> None:
    """At 1 % nothing can be certified, so its time and units are enough."""
    small = window(weight=0.01, candidate=200, errors=(2, 200))
    assert look(small, weight=100).reason == "Nothing is wrong so far; a step of this size can only detect."
    assert look(small, weight=2500).action is Action.WAIT


@pytest.mark.parametrize(
    ("known", "sentence"),
    [({"elapsed_s": 100.0}, "The step has 500 s to go."),
     ({"windows": (window(candidate=99, errors=(0, 0)),)}, "The candidate answered 99 units of 100 in this step."),
     ({"windows": (window(step="earlier", errors=(0, 0)),)}, "The candidate answered 0 units of 100 in this step."),
     ({"windows": (window(candidate=999, errors=(0, 0)),), "step_units": 5},
      "The candidate answered 5 units of 100 in this step.")],
)
def test_a_step_has_a_time_and_units_of_its_own(known: dict[str, object], sentence: str) -> None:
    """Both are needed, whatever was seen before."""
    verdict = look(window(errors=(100, 300)), **known)
    assert (verdict.action, verdict.reason) == (Action.WAIT, sentence)


def test_a_certificate_rests_on_something() -> None:
    """A class's share alone certifies nothing."""
    assert look(window(mix_setosa=(2_000, 6_000))).reason == "Nothing that a certificate rests on was counted yet."


def test_missing_data_holds() -> None:
    """Never a pass: not even of a candidate that was fine until then."""
    verdict = look(window(errors=(100, 300)), silent_s=301.0)
    assert (verdict.action, verdict.cause) == (Action.HOLD, "silence")
    assert look(phase=Phase.CANARY).action is Action.WAIT


def test_a_broken_assignment_holds_and_blames_nobody() -> None:
    """The candidate got 30 instead of 25 %; its many errors may come from that."""
    broken = window(errors=(300, 300))._replace(candidate=13_000)
    verdict = look(broken)
    assert (verdict.action, verdict.cause) == (Action.HOLD, "mismatch")
    assert "the candidate got 13,000 of 43,000 units, 30.23 instead of 25 %" in verdict.reason


def test_hard_failures_are_blamed_whatever_else_is_broken() -> None:
    """A process that dies takes its own counts along."""
    crashed = window(errors=(300, 300), failures=(40, 0))._replace(candidate=13_000)
    assert look(crashed).action is Action.ROLL_BACK


def test_different_inputs_hold_before_anybody_is_blamed() -> None:
    """Drift in one arm only is not the candidate's fault."""
    verdict = look(window(errors=(300, 300)), inputs_differ="age is higher in the candidate's")
    assert (verdict.action, verdict.cause) == (Action.HOLD, "inputs")
    failing = look(window(errors=(300, 300), failures=(40, 0)), inputs_differ="age is higher in the candidate's")
    assert failing.action is Action.ROLL_BACK, "hard failures are nobody else's"


def test_a_candidate_that_killed_its_shadow_gets_no_request_by_itself() -> None:
    """However many pairs went well: in a worker it would take the requests under way along. A canary is judged by what
    happens in it."""
    plan, pairs = replace(PLAN, shadow=1000, shadow_s=60), Pairs(pairs=100_000, candidate_failed=1)
    shadow = Evidence(pairs=pairs, shadow_failed=1, elapsed_s=LONG)
    verdict = judge(plan, Phase.SHADOW, 0, shadow)
    assert (verdict.action, verdict.cause) == (Action.HOLD, "crash")
    assert verdict.reason.startswith("The shadow's process died once in a call of the candidate")
    assert judge(plan, Phase.SHADOW, 0, replace(shadow, shadow_failed=0)).action is Action.ADVANCE
    assert look(window(errors=(100, 300)), pairs=pairs, shadow_failed=1).action is Action.ADVANCE


def test_stable_itself_broken_holds() -> None:
    """Both arms fail alike: no blame, no promotion."""
    verdict = look(window(errors=(1_000, 3_000)), baseline_errors=(100, 10_000))
    assert (verdict.action, verdict.cause) == (Action.HOLD, "stable")
    assert verdict.reason == "Stable itself fails: 3,000 of 30,000 of late, at most 1.4 % before."


def test_without_a_time_before_nobody_knows_whether_stable_broke() -> None:
    """The same failures are judged between the arms alone."""
    assert look(window(errors=(1_000, 3_000))).cause != "stable"


def test_a_share_of_all_or_nothing_says_nothing_of_the_assignment() -> None:
    """While one arm has all requests there is nothing to be assigned."""
    alone = window(errors=(100, 300))._replace(weight=1.0, stable=5_000)
    assert look(alone, window(errors=(100, 300))).cause != "mismatch"


def test_outcome_events_certify_nobody() -> None:
    """They come late: few of them prove nothing, however equal the arms are."""
    plan = replace(PLAN, events=("complaint",))
    seen = window(errors=(100, 300))
    seen.events["events:complaint"] = Arms(500, 10_000, 1_500, 30_000)
    assert check(look(seen, plan=plan), "events:complaint").route(plan) == ""


def test_a_signal_from_elsewhere_holds() -> None:
    """Drift of its inputs, estimated performance, a user's own metric."""
    verdict = look(window(errors=(100, 300)), signals={"drift": "Its inputs drift."})
    assert (verdict.action, verdict.cause, verdict.reason) == (Action.HOLD, "drift", "Its inputs drift.")


def test_patience_ends_with_the_risk_in_words_or_with_a_person() -> None:
    """At 2 requests/s nothing can be certified: the plan says which it is."""
    few = window(candidate=400, errors=(1, 3))
    assert look(few, elapsed_s=7_000.0).action is Action.WAIT
    verdict = look(few, elapsed_s=7_300.0)
    assert (verdict.action, verdict.risk) == (
        Action.ADVANCE, "errors below 2.4 %; accuracy not judged: no ground truth")
    assert look(few, elapsed_s=7_300.0, plan=replace(PLAN, unproven="stay")).action is Action.WAIT


def test_a_plan_may_ask_for_persons_besides() -> None:
    """They are waited for when the evidence is there, and harm waits for nobody."""
    for number, sentence in ((1, "A person has to approve it"), (2, "2 persons have to approve it")):
        verdict = look(window(errors=(100, 300)), approvers=number)
        assert (verdict.action, verdict.cause) == (Action.WAIT, APPROVAL)
        assert verdict.reason.startswith(sentence) and "Certified to be no worse" in verdict.reason
        assert look(window(errors=(300, 300)), approvers=number).action is Action.ROLL_BACK
    assert look(window(candidate=500, errors=(0, 0)), approvers=1).reason.startswith("Nothing is wrong, but not yet")


def test_a_class_that_comes_more_or_less_often_is_found() -> None:
    """Both directions count."""
    for theirs in (2_600, 1_500):
        verdict = look(window(mix_setosa=(theirs, 6_000)))
        assert verdict.action is Action.ROLL_BACK
        assert "mix:setosa" in verdict.reason


def test_parts_of_a_check_share_its_budget() -> None:
    """Three quantiles of the latency: each may spend a third."""
    one = check(look(window(latency_p95=(500, 1_500))), "latency:p95").limit
    three = check(look(window(latency_p50=(5_000, 15_000), latency_p95=(500, 1_500), latency_p99=(100, 300))),
                  "latency:p95").limit
    assert three == pytest.approx(one + np.log(3))


class TestShadow:
    """Pairs: the same inputs, answered by both."""

    PLAN = Judgement(shadow_pairs=100, shadow_s=600)

    def look(self, elapsed: float = LONG, **counts: object) -> Verdict:
        pairs = Pairs(**{"pairs": 2_000, **counts})  # type: ignore[arg-type]
        return judge(self.PLAN, Phase.SHADOW, 0, Evidence(pairs=pairs, elapsed_s=elapsed))

    def test_harmless_pairs_end_it(self) -> None:
        """And it is said that there was no ground truth."""
        verdict = self.look()
        assert (verdict.action, verdict.risk) == (Action.ADVANCE, "no ground truth in the shadow")

    def test_it_needs_its_pairs_and_its_time(self) -> None:
        """Few pairs say little."""
        assert self.look(pairs=99).reason == "The shadow has 99 pairs of 100."
        assert self.look(elapsed=599.0).action is Action.WAIT

    def test_a_candidate_that_is_wrong_more_often_never_meets_a_caller(self) -> None:
        """By ground truth of both answers to the same input."""
        verdict = self.look(labelled=400, candidate_wrong=40, stable_wrong=10)
        assert verdict.action is Action.ROLL_BACK
        assert verdict.reason.startswith("The candidate is worse by ground_truth:pairs: 40 of 400 against 10 of 400;")

    def test_ground_truth_certifies_or_is_waited_for(self) -> None:
        """5 points better is soon certain; as good as stable takes its pairs."""
        assert self.look(labelled=400, candidate_wrong=4, stable_wrong=40).action is Action.ADVANCE
        assert self.look(labelled=400, candidate_wrong=20, stable_wrong=20).action is Action.WAIT
        late = self.look(labelled=400, candidate_wrong=20, stable_wrong=20, elapsed=7_300.0)
        assert (late.action, late.risk) == (Action.ADVANCE, "accuracy not certified by pairs with ground truth")

    @pytest.mark.parametrize("counts", [{"candidate_failed": 20}, {"flips": {"fraud": (200, 20)}},
                                        {"labelled": 900, "slices": {"north": (40, 5)}}])
    def test_failures_flips_and_slices_are_found(self, counts: dict[str, object]) -> None:
        """Each is evidence by itself."""
        assert self.look(**counts).action is Action.ROLL_BACK

    def test_flips_both_ways_are_no_harm(self) -> None:
        """A new version may disagree, as long as it does not shift the answers."""
        assert self.look(flips={"fraud": (200, 190)}).action is Action.ADVANCE


def test_a_hundred_good_rollouts_are_promoted() -> None:
    """Four checks, four steps, looked at every minute: none is rolled back (the bound is 5 %)."""
    for seed in range(100):
        assert _rollout(np.random.default_rng(seed), 0.01) is Action.ADVANCE


def test_ten_bad_rollouts_are_rolled_back() -> None:
    """Errors three times as frequent."""
    for seed in range(10):
        assert _rollout(np.random.default_rng(seed), 0.03) is Action.ROLL_BACK


def _rollout(rng: np.random.Generator, rate: float) -> Action:
    """All steps of a rollout at 100 requests/s, minute by minute."""
    windows: list[Window] = []
    for step, weight in enumerate((0.01, 0.05, 0.25, 0.5)):
        windows.append(Window(weight, 0, 0, {}, str(step)))
        for minute in range(1, 11):
            requests = int(rng.poisson(6_000))
            candidate = int(rng.binomial(requests, weight))
            usual = {"errors": 0.01, "latency:p95": 0.05, "latency:p99": 0.01, "mix:a": 0.3}
            counts = {name: (int(rng.binomial(candidate, rate if name == "errors" else often)),
                             int(rng.binomial(requests - candidate, often))) for name, often in usual.items()}
            windows[-1] = _added(windows[-1], candidate, requests - candidate, counts)
            verdict = judge(PLAN, Phase.CANARY, int(weight * 10_000),
                            Evidence(tuple(windows), elapsed_s=60.0 * minute), step_id=str(step))
            if verdict.action is Action.ROLL_BACK:
                return verdict.action
    return verdict.action


def _added(window: Window, candidate: int, stable: int, counts: dict[str, tuple[int, int]]) -> Window:
    before = {name: window.events.get(name, Arms(0, 0, 0, 0)) for name in counts}
    events = {name: Arms(before[name].candidate + theirs, before[name].candidate_units + candidate,
                         before[name].stable + others, before[name].stable_units + stable)
              for name, (theirs, others) in counts.items()}
    return window._replace(candidate=window.candidate + candidate, stable=window.stable + stable, events=events)
