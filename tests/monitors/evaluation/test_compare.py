"""The comparison of two versions: published values, closed forms, verdicts, and how often it errs."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from serinus.monitors.evaluation.check import Status
from serinus.monitors.evaluation.compare import compare, needed, rounded, verdict_on
from serinus.monitors.evaluation.policy import Policy
from serinus.monitors.evaluation.trial import Answers
from serinus.monitors.intervals import Interval, paired_difference
from serinus.monitors.paired import areas_under_curves, mcnemar
from tests.monitors.evaluation.trials import Scorer, classified, measured


def _metric(check, name):
    return next(one for one in check.details.metrics if one.metric == name)


def test_accuracy_is_compared_as_mcnemar_and_newcombe_do() -> None:
    """The exact p-value and the paired interval of the four cells."""
    trial = classified(current=Scorer(debt=0.0))
    found = _metric(compare(trial, Policy()), "accuracy")
    ours, theirs = trial.candidate.values == trial.truth, trial.current.values == trial.truth
    gained, lost = int((ours & ~theirs).sum()), int((theirs & ~ours).sum())
    assert found.p == pytest.approx(mcnemar(gained, lost))
    assert found.difference_interval == pytest.approx(
        paired_difference(int((ours & theirs).sum()), gained, lost, int((~ours & ~theirs).sum())))
    assert found.difference == pytest.approx((gained - lost) / trial.rows)


def test_the_area_is_compared_as_delong_does() -> None:
    """Difference and error by influences are those of the covariance by ranks."""
    trial = classified(current=Scorer(debt=0.2))
    found = _metric(compare(trial, Policy()), "roc_auc")
    assert trial.candidate.probabilities is not None and trial.current.probabilities is not None
    areas = areas_under_curves(trial.truth == 1, trial.candidate.probabilities[:, 1],
                               trial.current.probabilities[:, 1])
    assert areas is not None
    assert (found.value, found.current) == pytest.approx((areas.first, areas.second))
    assert found.difference_interval == pytest.approx(areas.difference())
    assert found.p == pytest.approx(areas.p_value)


def test_the_bootstraps_error_is_that_of_the_closed_form() -> None:
    """Of a mean, √(s²/n); 2,000 draws know it within a few percent, handfuls of many rows too."""
    for rows in (800, 5_000):
        trial = measured(rows, noise=1.0, other=1.2)
        found = _metric(compare(trial, Policy()), "mae")
        apart = np.abs(trial.candidate.values - trial.truth) - np.abs(trial.current.values - trial.truth)
        wide = 2 * 1.96 * apart.std(ddof=1) / math.sqrt(rows)
        assert found.difference_interval.high - found.difference_interval.low == pytest.approx(wide, rel=0.1)


def test_rows_of_one_customer_are_drawn_together() -> None:
    """Each row there eight times tells no more than each once: the interval stays as wide."""
    once = classified(400, current=Scorer(debt=0.5))
    eight = np.repeat(np.arange(400), 8)
    many = replace(once, truth=once.truth[eight], candidate=once.candidate[eight], current=once.current[eight],
                   inputs={name: array[eight] for name, array in once.inputs.items()}, ids=np.arange(3_200))
    for name in ("accuracy", "roc_auc", "log_loss"):
        widths = [_metric(compare(trial, Policy()), name).difference_interval
                  for trial in (once, many, replace(many, groups=eight))]
        plain, blind, clustered = (ends.high - ends.low for ends in widths)
        assert clustered == pytest.approx(plain, rel=0.15)
        assert blind < 0.5 * plain


def test_the_same_answers_pass() -> None:
    """A version that differs in nothing is not inferior, whatever the number of rows."""
    check = compare(classified(600, current=Scorer()), Policy())
    assert check.status is Status.PASS
    assert (check.details.fixed, check.details.broke) == (0, 0)


def test_a_worse_version_fails() -> None:
    """Without a feature that matters."""
    check = compare(classified(4_000, candidate=Scorer(debt=-0.5), current=Scorer()), Policy())
    assert check.status is Status.FAIL and "worse by more than 0.005" in check.reason


def test_few_rows_decide_nothing_and_say_how_many_would() -> None:
    """About as many as the published formula asks: (1.96 + 0.84)² · d / δ²."""
    trial = classified(412, candidate=Scorer(debt=0.9), current=Scorer())
    check = compare(trial, Policy(margins={"accuracy": 0.005}))
    assert check.status is Status.NOT_RUN and check.undecided
    differ = float(((trial.candidate.values == trial.truth) != (trial.current.values == trial.truth)).mean())
    assert _metric(check, "accuracy").rows_needed == pytest.approx((1.96 + 0.84) ** 2 * differ / 0.005**2, rel=0.01)
    assert "too few rows to decide: have 412, need about" in check.reason


def test_more_rows_as_asked_for_decide() -> None:
    """The number that is asked for decides 8 times in 10 between versions that are as good as each other."""
    draw = np.random.default_rng(0)
    small = measured(500)
    asked = _metric(compare(small, Policy(margins={"mae": 0.1})), "mae").rows_needed
    decided = [compare(measured(asked, seed=int(seed)), Policy(margins={"mae": 0.1})).status is Status.PASS
               for seed in draw.integers(1, 1 << 30, 60)]
    assert np.mean(decided) == pytest.approx(0.8, abs=0.17)


def test_a_first_version_must_beat_a_trivial_answer() -> None:
    """One that has learnt something passes; one that answers at random is not shown to be better."""
    assert compare(classified(1_000), Policy()).status is Status.PASS
    random = Answers(np.random.default_rng(0).integers(0, 2, 1_000).astype(float))
    check = compare(replace(classified(1_000), candidate=random), Policy(margins={"accuracy": 0.5}))
    assert check.status is Status.NOT_RUN and "better than a trivial answer" in check.reason


@pytest.mark.parametrize(("floor", "status"), [(0.5, Status.PASS), (0.95, Status.FAIL)])
def test_a_floor_holds_whatever_the_version_before_did(floor: float, status: Status) -> None:
    """The whole interval must be on its side."""
    check = compare(classified(2_000, current=Scorer()), Policy(floors={"accuracy": floor}))
    assert check.status is status and f"must be at least {floor:g}" in (check.reason if floor > 0.9 else
                                                                      _metric(check, "accuracy").reason)


def test_later_looks_are_wider() -> None:
    """The third version on the same rows is judged at an error of 5 % / 9."""
    narrow, wide = (compare(classified(current=Scorer(debt=0.8), looks=looks), Policy()) for looks in (1, 3))
    assert wide.details.level == pytest.approx(1 - 0.05 / 9)
    for name in ("accuracy", "roc_auc", "brier"):
        first, third = (_metric(check, name).difference_interval for check in (narrow, wide))
        assert third.low < first.low and third.high > first.high


def test_the_level_over_all_looks_is_bounded() -> None:
    """However many versions are tried, misses add up to at most 1.645 times the first look's."""
    levels = [classified(10, looks=looks).level(0.95) for looks in range(1, 2_000)]
    assert sum(1 - level for level in levels) < 0.05 * math.pi**2 / 6


def test_no_metric_to_decide_by_is_no_pass() -> None:
    """A policy that names a metric which these answers do not have."""
    trial = classified(current=Scorer())
    plain = replace(trial, candidate=Answers(trial.candidate.values), current=Answers(trial.current.values))
    assert compare(plain, Policy(margins={"roc_auc": 0.01})).status is Status.NOT_RUN


def test_few_groups_are_a_remark() -> None:
    """Intervals of ten customers are no intervals."""
    check = compare(classified(500, current=Scorer(), groups=np.arange(500) % 10), Policy())
    assert check.status is Status.WARN and "Only 10 groups" in check.reason


@pytest.mark.parametrize(("low", "high", "status"), [
    (-0.01, 0.004, Status.PASS), (0.006, 0.02, Status.FAIL), (0.001, 0.006, Status.NOT_RUN)])
def test_the_verdict_is_where_the_interval_lies(low: float, high: float, status: Status) -> None:
    """Within the margin, beyond it, or across."""
    assert verdict_on(Interval(low, high), 0.005) is status


def test_hopeless_answers_are_judged_all_the_same() -> None:
    """Infinite errors have no interval, which is no pass."""
    trial = replace(measured(100), candidate=Answers(np.full(100, np.inf)))
    assert compare(trial, Policy()).status is Status.NOT_RUN
    assert needed(math.nan, 100, 0.01, 0.95) == 0


def test_guesses_have_two_digits() -> None:
    """And are never too low."""
    assert [rounded(rows) for rows in (7, 99, 3_801, 15_698)] == [7, 99, 3_900, 16_000]


def _false_passes(times: int, rows: int) -> tuple[float, float]:
    """How often a version that is worse by exactly the margin passes, and one that is as good fails."""
    draw, passes, fails = np.random.default_rng(5), 0, 0
    base = classified(rows, current=Scorer())
    for _ in range(times):
        right = draw.random(rows) < 0.8
        truth = np.ones(rows)
        for worse in (0.05, 0.0):
            flips = draw.random(rows)
            # of the right ones some are lost, of the wrong ones some gained: net loss `worse`
            ours = np.where(right, flips > (0.05 + worse) / 0.8, flips < 0.05 / 0.2)
            trial = replace(base, truth=truth, candidate=Answers(ours.astype(float)),
                            current=Answers(right.astype(float)))
            status = compare(trial, Policy(margins={"accuracy": 0.05})).status
            passes += worse > 0 and status is Status.PASS
            fails += worse == 0 and status is Status.FAIL
    return passes / times, fails / times


def test_a_version_at_the_margin_passes_once_in_forty() -> None:
    """The gate's stated error is one-sided 2.5 %, by seeded simulation; one as good as before fails never."""
    passes, fails = _false_passes(120, 400)
    assert passes <= 0.025 + 3 * math.sqrt(0.025 * 0.975 / 120)
    assert fails <= 0.025


@pytest.mark.slow
def test_a_version_at_the_margin_passes_once_in_forty_at_length() -> None:
    """The same 4,000 times: neither more often nor much more seldom."""
    passes, fails = _false_passes(4_000, 400)
    assert passes == pytest.approx(0.025, abs=0.0075)
    assert fails < 0.002
