"""The dead zone covers what a reference cannot know, and widens only for features that wander."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from serinus.monitors.contrasts import CONTRASTS, LOCATION, contrasts
from serinus.monitors.dead_zone import (
    binomial_limits,
    chi_squared_quantile,
    critical_value,
    dead_zone,
    dispersion,
    estimate_error,
    wander,
)
from serinus.monitors.features import MISSING, UNSEEN, WIDTH
from tests.statistics.simulation import Normals

Z = 3.9


def test_the_critical_value_shares_5_percent_among_all_contrasts() -> None:
    """30 features with 20 contrasts, two-sided: Φ⁻¹(1 − 0.05/1200)."""
    assert critical_value(30) == pytest.approx(stats.norm.isf(0.05 / (2 * 30 * CONTRASTS)))


@pytest.mark.parametrize("rows", [5, 100, 10_000])
def test_limits_of_rare_and_of_nearly_all_rows_are_clopper_and_pearsons(rows: int) -> None:
    """Exact up to 100 rows in or out of a bin, as quantiles of the beta distribution have them."""
    count = np.array([0, 1, 3, rows - 2, rows])
    low, high = binomial_limits(count, np.full(5, rows), Z)
    tail = stats.norm.sf(Z)
    assert low == pytest.approx(np.nan_to_num(stats.beta.ppf(tail, count, rows - count + 1)), abs=1e-9)
    assert high == pytest.approx(np.nan_to_num(stats.beta.isf(tail, count + 1, rows - count), nan=1.0), abs=1e-9)


@pytest.mark.parametrize("z", [2.5, 3.9, 4.5])
def test_limits_of_many_rows_are_within_a_fiftieth_of_a_deviation(z: float) -> None:
    """Paulson's approximation of Clopper and Pearson's limits, from 61 rows on."""
    count, rows = np.array([61, 500, 5_000, 9_900]), np.full(4, 10_000)
    low, high = binomial_limits(count, rows, z)
    tail, sd = stats.norm.sf(z), np.sqrt(count * (1 - count / rows)) / rows
    assert (np.abs(high - stats.beta.isf(tail, count + 1, rows - count)) < 0.02 * sd).all()
    assert (np.abs(low - stats.beta.ppf(tail, count, rows - count + 1)) < 0.02 * sd).all()


@pytest.mark.parametrize("free", [1, 4, 31, 465])
def test_the_quantile_of_chi_squared_errs_to_the_safe_side(free: int) -> None:
    """Wilson and Hilferty's cube at the level of a thousand tests: never too small, at most 6 % too large."""
    ratio = chi_squared_quantile(free, 3.5) / stats.chi2.isf(stats.norm.sf(3.5), free)
    assert 0.999 <= ratio <= 1.06


def test_the_zone_holds_all_true_means_in_95_percent_of_references() -> None:
    """Over 40 draws of 30 features × 20 contrasts, the true mean of any lies outside in about 2; more than 7 is chance
    of 1 in 1,000."""
    outside = 0
    for seed in range(40):
        drawn = Normals.draw(np.random.default_rng(seed), 1_000)
        g = contrasts(drawn.blocks.sum(0), drawn.ordered)
        mean = np.einsum("rb,rcb->rc", drawn.shares(), g)
        outside += bool((np.stack([mean, -mean], -1) > dead_zone(drawn.blocks, drawn.ordered) + 1e-12).any())
    assert outside <= 7


def test_an_even_reference_does_not_wander() -> None:
    """I.i.d. blocks leave the zone at the error of the estimate, in all but about 1 in 10 of references."""
    quiet = 0
    for seed in range(10):
        drawn = Normals.draw(np.random.default_rng(seed), 5_000)
        quiet += not wander(drawn.blocks, contrasts(drawn.blocks.sum(0), drawn.ordered)).any()
    assert quiet >= 6


def _tilted(days: int, rows: int = 1_000) -> np.ndarray:
    """Return blocks of two categories whose shares swing between 40 % and 60 %."""
    share = 0.5 + 0.1 * np.sin(np.arange(days))
    blocks = np.zeros((days, 1, WIDTH), np.int64)
    blocks[:, 0, 0] = np.rint(rows * share)
    blocks[:, 0, 1] = rows - blocks[:, 0, 0]
    return blocks


def test_a_wandering_reference_gets_1_5_times_its_largest_deviation() -> None:
    """By hand: shares swing by 0.1 around one half, so ε of both bins is 0.15, less what the sine leaves out."""
    zone = dead_zone(_tilted(32), np.array([False]))
    assert zone[0, 2:4] == pytest.approx(np.full((2, 2), 0.15), abs=0.003)


def test_a_tolerance_is_the_least_that_the_zone_can_be() -> None:
    """Who says that a tenth does not matter hears of no tenth."""
    drawn = Normals.draw(np.random.default_rng(1), 50_000, features=2)
    assert dead_zone(drawn.blocks, drawn.ordered, tolerance=0.1).min() == 0.1


def test_a_value_that_no_reference_row_had_has_a_zone_too() -> None:
    """Of 10,000 rows none was missing: the limit is 1 − α^(1/10,000). Unseen: that of one row more."""
    counts = np.zeros((1, WIDTH), np.int64)
    counts[0, 0] = 10_000
    error = estimate_error(counts, contrasts(counts, np.array([True])), Z)
    tail = stats.norm.sf(Z)
    assert error[0, 2 + MISSING, 0] == pytest.approx(1 - tail**1e-4, rel=1e-6)
    assert error[0, 2 + UNSEEN, 0] == pytest.approx(stats.beta.isf(tail, 2, 9_999), rel=1e-6)


def test_the_zone_shrinks_with_the_root_of_the_reference() -> None:
    """Location: z·sd/√m, so a hundredfold reference has a tenth of the zone."""
    counts = np.array([[1_000] * 16 + [0, 0]])
    ordered = np.array([True])
    few, many = (estimate_error(n, contrasts(n, ordered), Z)[0, LOCATION, 0] for n in (counts, 100 * counts))
    assert few / many == pytest.approx(10)


def test_dispersion_is_pearsons_statistic_over_blocks() -> None:
    """Against scipy's test of a contingency table of blocks and bins."""
    table = np.random.default_rng(0).multinomial(500, np.full(16, 1 / 16), size=(10, 1))
    blocks = np.concatenate([table, np.zeros((10, 1, 2), int)], 2)
    squares, free = dispersion(blocks, blocks.sum(0))
    wanted = stats.chi2_contingency(table[:, 0])
    assert (squares[0], free[0]) == (pytest.approx(wanted.statistic), wanted.dof)


@pytest.mark.parametrize("blocks", [*(np.zeros((k, 2, WIDTH), int) for k in (1, 4)), _tilted(1), _tilted(3, 1)])
def test_degenerate_blocks_have_a_finite_zone(blocks: np.ndarray) -> None:
    """No rows, one block, blocks of one row."""
    zone = dead_zone(blocks, np.zeros(blocks.shape[1], bool))
    assert np.isfinite(zone).all() and (zone >= 0).all()
