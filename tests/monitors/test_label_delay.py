"""Delays are found in what is censored, and figures that cannot wait are put right."""

from __future__ import annotations

from math import exp, sqrt
from typing import NamedTuple

import numpy as np
import pytest
from scipy import stats

from serinus.monitors.label_delay import BINS, EDGES_S, Cohort, bin_of, complete, dependence, estimate

DAY_S = 86_400.0
MEANS = {"bad": 20 * DAY_S, "good": 2 * DAY_S}


class Made(NamedTuple):
    """A cohort, and the share of its answers that are right in truth."""

    cohort: Cohort
    right: float


def made(draw: np.random.Generator, age_s: float, rows: int = 2000, bad: float = 0.2, silent: str = "") -> Made:
    """Predictions of which 90 % are right; `silent` is a class that never becomes known."""
    truth = np.where(draw.random(rows) < bad, "bad", "good")
    said = np.where(draw.random(rows) < 0.9, truth, np.where(truth == "bad", "good", "bad"))
    delays = np.where(truth == "bad", draw.exponential(MEANS["bad"], rows), draw.exponential(MEANS["good"], rows))
    known = (delays <= age_s) & (truth != silent)
    labels = {(answer, label): np.bincount(bin_of(delays[known & (said == answer) & (truth == label)]), minlength=BINS)
              for answer in MEANS for label in MEANS}
    return Made(Cohort(age_s, {answer: int((said == answer).sum()) for answer in MEANS},
                       {place: counts for place, counts in labels.items() if counts.any()}),
                float((said == truth).mean()))


@pytest.fixture(scope="module")
def history() -> list[Cohort]:
    """Half a year of cohorts, a new one every three days."""
    draw = np.random.default_rng(1)
    return [made(draw, (day + 0.5) * DAY_S).cohort for day in range(0, 180, 3)]


def test_delays_of_each_class_are_found(history: list[Cohort]) -> None:
    """They are the exponential ones of which the cohorts were made, though most cohorts are censored."""
    delays = estimate(history)
    for days in (1, 5, 10, 20, 45, 90):
        for label, mean in MEANS.items():
            assert delays.known(label, days * DAY_S) == pytest.approx(1 - exp(-days * DAY_S / mean), abs=0.02)
        mixed = 0.2 * exp(-days / 20) + 0.8 * exp(-days / 2)
        assert delays.expected(days * DAY_S) == pytest.approx(1 - mixed, abs=0.01)
    assert delays.known("neither", 90 * DAY_S) == 0.0


def test_one_class_is_kaplan_meier() -> None:
    """Where all is one class, the share known is the product-limit estimate of scipy, whatever is censored when."""
    draw = np.random.default_rng(3)
    ages = draw.choice(EDGES_S[3:15], 60)
    truth = [draw.exponential(DAY_S, 30) for _ in ages]
    cohorts = [Cohort(age, {"a": 30}, {("a", "a"): np.bincount(bin_of(delays[delays <= age]), minlength=BINS)})
               for age, delays in zip(ages, truth, strict=True)]
    ends = np.append(EDGES_S, np.inf)
    events = np.concatenate([ends[bin_of(delays[delays <= age])] for age, delays in zip(ages, truth, strict=True)])
    waiting = np.concatenate([np.full((delays > age).sum(), age) for age, delays in zip(ages, truth, strict=True)])
    wanted = stats.ecdf(stats.CensoredData(uncensored=events, right=waiting)).cdf
    delays = estimate(cohorts)
    for edge in EDGES_S[:15]:
        assert delays.expected(edge) == pytest.approx(float(wanted.evaluate(edge)), abs=1e-9)
        assert delays.known("a", edge) == pytest.approx(delays.expected(edge), abs=1e-5)


def test_accuracy_of_young_cohorts_is_put_right(history: list[Cohort]) -> None:
    """Bad ones become known late, so what is known flatters a model that misses them; the corrected figure does not."""
    delays = estimate(history)
    draw = np.random.default_rng(2)
    naive, corrected, truth = [], [], []
    for _ in range(60):
        young = made(draw, 5 * DAY_S, rows=4000, bad=0.4)
        cohort = Cohort(young.cohort.age_s, young.cohort.totals, young.cohort.labels)
        share = sum(counts.sum() for (_, label), counts in cohort.labels.items() if label == "bad") / cohort.labelled
        found = complete(cohort, delays)
        naive.append(share)
        corrected.append(sum(number for (_, label), number in found.shares.items() if label == "bad") / 4000)
        truth.append(found.corrected - young.right if found.corrected is not None else np.nan)
        assert sum(found.shares.values()) == pytest.approx(4000, rel=1e-6)
    error = np.std(corrected) / sqrt(len(corrected))
    assert np.mean(naive) < 0.2
    assert np.mean(corrected) == pytest.approx(0.4, abs=4 * error + 0.01)
    assert abs(np.mean(truth)) < 0.005


def test_a_class_that_never_becomes_known_is_waited_for_in_vain() -> None:
    """If only the bad ones are ever told, a horizon says that the rest is good: none of them is expected any more."""
    draw = np.random.default_rng(4)
    cohorts = [made(draw, (day + 0.5) * DAY_S, silent="good").cohort for day in range(0, 180, 3)]
    delays = estimate(cohorts)
    assert delays.classes == ("bad",)
    assert delays.expected(170 * DAY_S) == pytest.approx(0.2, abs=0.02)


def test_with_a_horizon_all_is_known() -> None:
    """What is older than the horizon is complete by definition."""
    counts = np.zeros(BINS, int)
    counts[4] = 10
    delays = estimate([Cohort(400 * DAY_S, {"a": 20}, {("a", "a"): counts})], horizon_s=10 * DAY_S)
    assert delays.expected(30 * DAY_S) == 1.0
    assert delays.expected(DAY_S) == pytest.approx(0.5)


@pytest.mark.parametrize("age_s", [0.0, 1.0, 1e300])
def test_little_is_no_trouble(age_s: float) -> None:
    """No cohort, no prediction, no truth, and any age."""
    empty = estimate([])
    assert (empty.classes, empty.expected(age_s)) == ((), 0.0)
    for cohort in (Cohort(age_s, {}, {}), Cohort(age_s, {"a": 5}, {})):
        delays = estimate([cohort])
        assert delays.expected(age_s) == 0.0
        assert complete(cohort, delays)[1:] == (None, None)
    counts = np.zeros(BINS, int)
    counts[0] = 5
    whole = Cohort(age_s, {"a": 5}, {("a", "b"): counts})
    assert complete(whole, estimate([whole]))[1:] == (0.0, 0.0)


def test_bins_hold_their_upper_end() -> None:
    """A delay of exactly an edge lies below it; one below zero came at once."""
    assert bin_of(np.array([-5.0, 0.0, 60.0, 60.1, 1e300])).tolist() == [0, 0, 0, 1, BINS - 1]


def test_a_trend_over_the_score_is_that_of_armitage() -> None:
    """The statistic is the correlation of known and bin, times the root of the rows."""
    known, totals = np.array([30, 50, 80, 120]), np.array([200, 200, 210, 190])
    bins = np.repeat(np.arange(4), totals)
    flags = np.concatenate([np.arange(total) < hits for hits, total in zip(known, totals, strict=True)])
    found = dependence(known, totals)
    assert found.z == pytest.approx(float(np.corrcoef(bins, flags)[0, 1]) * sqrt(totals.sum()))
    assert found.p_value == pytest.approx(2 * stats.norm.sf(abs(found.z)))
    assert found.depends


def test_chance_is_no_dependence() -> None:
    """Truths that are learnt whatever the score are said to depend on it in one case in ten thousand at most."""
    draw = np.random.default_rng(6)
    totals = np.full(10, 60)
    found = [dependence(draw.binomial(totals, 0.5), totals) for _ in range(2000)]
    assert sum(each.depends for each in found) <= 2
    assert np.mean([each.p_value < 0.05 for each in found]) == pytest.approx(0.05, abs=0.015)
    assert not dependence([0] * 10, [0] * 10).depends
    assert not dependence([5] * 10, [5] * 10).depends
