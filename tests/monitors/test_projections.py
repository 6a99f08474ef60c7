"""Joint features by random projections."""

import json
from itertools import combinations

import numpy as np
import pytest
from scipy import stats

from serinus.monitors.novelty import Novelty
from serinus.monitors.projections import Projections

LEVEL = 0.01 / 17  # one novelty score and 16 projections


def pair(rows: int, width: int, correlation: float, seed: int) -> np.ndarray:
    """Standard Gaussian columns, of which the first two are correlated."""
    drawn = np.random.default_rng(seed).normal(size=(rows, width))
    drawn[:, 1] = correlation * drawn[:, 0] + np.sqrt(1 - correlation**2) * drawn[:, 1]
    return drawn


def p_values(reference: np.ndarray, window: np.ndarray) -> np.ndarray:
    """Chi-squared test of each column's counts in 16 quantile bins of the reference, for two samples."""
    found = []
    for column, live in zip(reference.T, window.T, strict=True):
        edges = np.quantile(column, np.linspace(0, 1, 17)[1:-1])
        table = [np.bincount(np.searchsorted(edges, values), minlength=16) for values in (column, live)]
        found.append(stats.chi2_contingency(np.array(table)).pvalue)
    return np.array(found)


@pytest.mark.parametrize(("width", "rows", "before", "after"), [
    (5, 500, 0.8, -0.8), (5, 1_000, 0.0, 0.8), (30, 500, 0.8, -0.8), (30, 8_000, 0.0, 0.8)])
def test_a_changed_correlation_is_seen_though_no_column_changed(
        width: int, rows: int, before: float, after: float) -> None:
    """Two of 5, or of 30, features turn against each other or join: the columns say nothing, the joint features do."""
    reference, clean, window = (pair(n, width, correlation, seed) for n, correlation, seed in (
        (10_000, before, 1), (rows, before, 2), (rows, after, 3)))
    novelty, projections = Novelty.fit(reference), Projections.fit(reference)

    def joint(numbers: np.ndarray) -> np.ndarray:
        return np.column_stack([novelty.scores(numbers), projections.values(numbers)])

    assert p_values(reference, window).min() > 0.01 / width
    assert p_values(joint(reference), joint(window)).min() < LEVEL
    assert p_values(joint(reference), joint(clean)).min() > LEVEL


def test_without_a_change_p_values_are_uniform() -> None:
    """Over 30 clean windows about one p-value in twenty is below 0.05."""
    reference = pair(20_000, 8, 0.5, seed=4)
    projections = Projections.fit(reference)
    values = projections.values(reference)
    found = np.concatenate([p_values(values, projections.values(pair(500, 8, 0.5, seed))) for seed in range(10, 40)])
    assert 0.03 < np.mean(found < 0.05) < 0.08


@pytest.mark.parametrize("width", [2, 5, 30, 47])
def test_every_pair_of_features_is_in_one_projection(width: int) -> None:
    """No two features change their correlation unseen by all projections."""
    directions = Projections.fit(np.random.default_rng(5).normal(size=(50, width))).directions
    for first, second in combinations(range(width), 2):
        assert np.any((directions[first] != 0) & (directions[second] != 0))


def test_values_are_cosines_of_the_standardised_row() -> None:
    """The formula, by hand, for a row within the limit."""
    reference = pair(500, 4, 0.3, seed=6)
    projections = Projections.fit(reference)
    median, spread = np.median(reference, axis=0), np.subtract(*np.quantile(reference, [0.75, 0.25], axis=0))
    standard = (reference[:1] - median) / (spread / (2 * stats.norm.ppf(0.75)))
    expected = np.cos(standard @ projections.directions + projections.phases)
    assert np.allclose(projections.values(reference[:1]), expected)
    assert projections.values(reference).shape == (500, projections.count)


def test_the_width_is_the_median_distance() -> None:
    """Two random rows differ by an angle of about one, whatever the units."""
    for unit in (1.0, 1e-6, 1e9):
        projections = Projections.fit(unit * np.random.default_rng(7).normal(size=(3_000, 12)))
        size = np.linalg.norm(projections.directions, axis=0)
        groups = np.count_nonzero(projections.directions, axis=0)
        assert np.allclose(size / np.sqrt(groups), 1 / np.sqrt(2 * groups), rtol=0.25)


@pytest.mark.parametrize("rows", [
    np.empty((0, 3)), np.ones((1, 3)), np.ones((5, 30)), np.empty((50, 0)), np.full((60, 2), np.nan),
    np.full((60, 2), np.inf), np.array([[1e308, -1e308]] * 30 + [[-1e308, 1e308]] * 30)])
def test_any_reference_works(rows: np.ndarray) -> None:
    """Empty, constant, no columns, all missing, infinite, huge: values within [−1, 1] all."""
    projections = Projections.fit(rows)
    asked = np.full((3, rows.shape[1]), 2.0)
    asked[1:2], asked[2:] = np.nan, -np.inf
    values = projections.values(asked)
    assert values.shape == (3, 16)
    assert np.all(np.abs(values) <= 1)


def test_through_json_the_values_are_the_same() -> None:
    """Stored and read again it gives the same values, bit for bit; the seed decides which."""
    rows = pair(200, 5, 0.2, seed=8)
    projections = Projections.fit(rows, count=7, seed=3)
    again = Projections.from_json(json.loads(json.dumps(projections.to_json())))
    assert np.array_equal(projections.values(rows), again.values(rows))
    assert projections.to_json() == Projections.fit(rows, count=7, seed=3).to_json()
    assert projections.to_json() != Projections.fit(rows, count=7, seed=4).to_json()
