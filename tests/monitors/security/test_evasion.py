"""Evasion, as it shows in all rows together."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from serinus.monitors.features import Feature
from serinus.monitors.novelty import Novelty
from serinus.monitors.profile import Profile
from serinus.monitors.security.evasion import (
    Excess,
    boundary_bin,
    bunching,
    evasion_in,
    excess,
    flip_rate,
    unusual_rows,
)

EDGES = tuple(np.linspace(1, 15, 15) / 16)
SCORE = Feature("score", "score", "output", "numeric", edges=EDGES, low=0.0, high=1.0)


def counted(scores: np.ndarray) -> np.ndarray:
    """Counts in the 18 bins."""
    return np.bincount(np.searchsorted(EDGES, scores, "right"), minlength=18)


def test_the_bin_past_a_threshold_is_the_nearest_whole_one() -> None:
    """A threshold that is an edge starts its bin; between two edges the nearer decides; beyond all, the last."""
    assert [boundary_bin(SCORE, threshold) for threshold in (0.5, 0.51, 0.55, 0.0, 2.0)] == [8, 8, 9, 1, 15]
    assert boundary_bin(Feature("score", "score", "output", "numeric"), 0.5) == 0


def test_scores_that_stop_right_behind_the_threshold_are_seen() -> None:
    """A twentieth of the applicants push their score past 0.5: the share past it, within two bins, is too large."""
    random = np.random.default_rng(1)
    reference, live = counted(random.beta(2, 2, 20_000)), random.beta(2, 2, 4_000)
    pushed = (live > 0.3) & (live < 0.5) & (random.random(4_000) < 0.2)
    live[pushed] = random.uniform(0.5, 0.54, int(pushed.sum()))
    found = bunching(reference, counted(live), boundary_bin(SCORE, 0.5))
    assert found.p < 1e-6
    assert found.factor > 1.1


def test_a_drift_that_moves_all_scores_up_is_no_bunching() -> None:
    """Uniformly higher scores move both sides of the threshold."""
    random = np.random.default_rng(2)
    reference, live = random.beta(2, 2, 20_000), np.clip(random.beta(2, 2, 4_000) + 0.1, 0, 1)
    assert bunching(counted(reference), counted(live), 8).p > 0.001


def test_without_an_attack_p_values_are_at_least_uniform() -> None:
    """At 5 % about one clean window in twenty is told of, never many more."""
    random = np.random.default_rng(3)
    reference = counted(random.beta(2, 2, 5_000))
    wrong = sum(bunching(reference, counted(random.beta(2, 2, 1_000)), 8).p <= 0.05 for _ in range(1_000))
    assert stats.binomtest(wrong, 1_000, 0.05, alternative="greater").pvalue > 0.01 or wrong < 90
    assert wrong > 5


def test_two_shares_are_compared_as_the_continuity_corrected_chi_squared_does() -> None:
    """The one-sided p-value is half of that of the 2×2 table."""
    found = excess(60, 140, 200, 800)
    assert found[:2] == (0.3, 0.2)
    table = stats.chi2_contingency([[60, 140], [200, 800]], correction=True)
    assert found.p == pytest.approx(table.pvalue / 2, rel=1e-6)
    assert excess(20, 180, 200, 800).p > 0.99


@pytest.mark.parametrize(("counts", "expected"), [
    ((0, 0, 0, 0), Excess(0.0, 0.0, 1.0)), ((0, 0, 3, 7), Excess(0.0, 0.3, 1.0)), ((5, 0, 9, 0), Excess(1.0, 1.0, 1.0)),
    ((5, 5, 0, 0), Excess(0.0, 0.0, 1.0))])
def test_nothing_seen_proves_nothing(counts: tuple[int, int, int, int], expected: Excess) -> None:
    """Empty windows, an empty reference and shares that cannot differ have a p-value of 1."""
    assert excess(*counts) == expected
    assert expected.factor >= 0


def test_adversarial_rows_show_in_the_bins_of_novelty() -> None:
    """A tenth of the rows moved off the data's plane: the top eighth of the novelty bins is too full."""
    random = np.random.default_rng(4)
    factors = random.normal(size=(6_000, 3)) @ random.normal(size=(3, 10)) + 0.1 * random.normal(size=(6_000, 10))
    novelty = Novelty.fit(factors[:4_000])
    clean, attacked = factors[4_000:5_000], factors[5_000:].copy()
    attacked[:100] += 0.3 * random.choice([-1.0, 1.0], (100, 10))
    edges = np.quantile(novelty.scores(factors[:4_000]), np.linspace(0, 1, 17)[1:-1])
    reference, usual, odd = (np.bincount(np.searchsorted(edges, novelty.scores(rows)), minlength=18)
                             for rows in (factors[:4_000], clean, attacked))
    assert unusual_rows(reference, odd).p < 1e-6
    assert unusual_rows(reference, usual).p > 0.01


def test_a_window_of_all_clients_is_looked_at() -> None:
    """Of a profile with novelty and one probability of two classes: who pushes a fraud score below one half is told of,
    clean rows are not, and a number that is no probability is left alone."""
    random = np.random.default_rng(5)
    features = (replace(SCORE, name="proba[1]", field="proba", view="element", index=1),
                replace(SCORE, name="amount", field="amount"), replace(SCORE, name="novelty", side="joint", field=""))
    scores = random.beta(2, 2, 8_000)
    reference = np.array([counted(scores)] * 3)
    profile = Profile(features, reference[None], np.zeros((3, 2)), 8_000)
    clean, pushed = random.beta(2, 2, 4_096), random.beta(2, 2, 4_096)
    pushed[(pushed > 0.5) & (pushed < 0.7) & (random.random(4_096) < 0.5)] = 0.47
    usual, found = (evasion_in(profile, np.array([counted(each), counted(each), counted(clean)]))
                    for each in (clean, pushed))
    assert [look.kind for look in usual] == ["bunching_above", "bunching_below", "unusual_rows"]
    assert {look.feature for look in usual} == {"proba[1]", "novelty"}
    assert not any(look.told for look in usual)
    assert [look.kind for look in found if look.told] == ["bunching_below"]


def test_answers_at_the_boundary_flip_under_one_step_of_noise() -> None:
    """Rows within a step of the boundary flip in half of the draws, others never."""
    def predict(rows: np.ndarray) -> np.ndarray:
        return rows[:, 0] > 0

    steps = np.array([0.1, 0.0])
    assert flip_rate(predict, np.full((1_000, 2), 0.05), steps) == pytest.approx(0.5, abs=0.06)
    assert flip_rate(predict, np.full((1_000, 2), 0.2), steps) == 0
    assert flip_rate(predict, np.empty((0, 2)), steps) == 0
