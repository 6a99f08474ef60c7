"""Two versions on the same rows: published examples, scipy, and error rates by simulation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from serinus.monitors.paired import areas_under_curves, mcnemar, rows_needed


def test_mcnemars_test_is_the_binomial_one() -> None:
    """As scipy has it; where no row differs there is nothing to tell."""
    assert mcnemar(10, 2) == pytest.approx(stats.binomtest(2, 12).pvalue)
    assert mcnemar(0, 0) == mcnemar(3, 3) == 1.0


def test_mcnemars_published_example() -> None:
    """Agresti, Categorical Data Analysis: of 1,600 voters 150 went one way and 86 the other; z² is 17.36."""
    assert mcnemar(150, 86) == pytest.approx(stats.chi2.sf(17.36, 1), rel=0.25)


def test_a_single_areas_variance_is_the_binned_one() -> None:
    """The CT images of Hanley & McNeil 1982 row by row: 0.8932 ± 0.0307, and no difference from themselves."""
    ratings = np.repeat(np.tile(np.arange(5), 2), [33, 6, 6, 11, 2, 3, 2, 2, 11, 33])
    areas = areas_under_curves(np.arange(109) >= 58, ratings, ratings)
    assert areas is not None
    assert (round(areas.first, 4), round(areas.covariance[0, 0] ** 0.5, 4)) == (0.8932, 0.0307)
    assert areas.variance == pytest.approx(0.0, abs=1e-12) and areas.p_value == 1.0


def test_the_covariance_is_delongs_by_definition() -> None:
    """Against the double sum over pairs of rows, ties included."""
    rng = np.random.default_rng(0)
    truth = np.arange(60) < 25
    scores = rng.integers(0, 9, (2, 60)) + 2 * truth
    kernel = [[[float(x > y) + (x == y) / 2 for y in one[25:]] for x in one[:25]] for one in scores]
    table = np.array(kernel)
    wanted = np.cov(table.mean(2)) / 25 + np.cov(table.mean(1)) / 35
    areas = areas_under_curves(truth, *scores)
    assert areas is not None
    assert areas.covariance == pytest.approx(wanted)
    assert (areas.first, areas.second) == pytest.approx([roc_auc_score(truth, one) for one in scores])


def test_equal_scores_are_called_different_once_in_twenty() -> None:
    """Two noisy views of the same thing, 1,000 times."""
    rng, found = np.random.default_rng(1), 0
    for _ in range(1_000):
        truth = rng.random(150) < 0.4
        shared = truth + rng.normal(size=150)
        areas = areas_under_curves(truth, shared + rng.normal(size=150), shared + rng.normal(size=150))
        found += areas is not None and areas.p_value < 0.05
    assert found / 1_000 == pytest.approx(0.05, abs=0.02)


def test_one_class_alone_has_no_areas() -> None:
    """And a separation that is perfect twice has no difference."""
    assert areas_under_curves(np.ones(5, bool), np.arange(5), np.arange(5)) is None
    perfect = areas_under_curves(np.arange(6) > 2, np.arange(6), np.arange(6) * 2)
    assert perfect is not None and perfect.p_value == 1.0 and perfect.difference() == (0.0, 0.0)


def test_how_many_rows_are_needed() -> None:
    """5 % that differ and a margin of half a point: about 15,700; with fewer rows the power is not there."""
    needed = rows_needed(0.05, 0.005)
    assert needed == pytest.approx(15_700, abs=5)
    rng = np.random.default_rng(2)
    worse = rng.binomial(needed, (0.05 + 0.005) / 2, 4_000)
    better = rng.binomial(needed - worse, 0.0225 / (1 - 0.0275))
    z = (worse - better) / np.sqrt(worse + better)
    assert (z > 1.96).mean() == pytest.approx(0.8, abs=0.03)
