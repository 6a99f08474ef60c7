"""The classic distances: values against scipy, thresholds that keep their error rate, and odd counts."""

import doctest
from importlib import import_module
from itertools import pairwise

import numpy as np
import pytest
from scipy import stats
from scipy.spatial.distance import jensenshannon

from serinus.monitors.distances import distance_named, distances
from serinus.monitors.distances.psi import shares
from serinus.monitors.errors import UnknownDistance

NAMES = ("psi", "kolmogorov_smirnov", "wasserstein", "jensen_shannon", "chi_squared")
EVEN = np.r_[np.full(16, 1 / 16), 0.0, 0.0]
SKEWED = 1 / np.arange(1, 19) ** 2 / (1 / np.arange(1, 19) ** 2).sum()


def drawn(shares, rows, features=1, seed=0):
    return np.random.default_rng(seed).multinomial(rows, shares, size=features)


@pytest.fixture
def pair():
    """A reference and a window of three features that differ."""
    return drawn(SKEWED, 5_000, 3, seed=1), drawn(np.roll(SKEWED, 3), 700, 3, seed=2)


def value(name, pair, **more):
    return distance_named(name).measure(*pair, **more).values


def test_the_names_are_those_that_are_documented():
    """Built-in distances come first, in a fixed order."""
    assert tuple(distance.name for distance in distances())[:5] == NAMES


def test_an_unknown_name_is_told_the_known_ones():
    """One sentence: what was asked for, what there is."""
    with pytest.raises(UnknownDistance, match=r"^No distance is named 'hellinger'; there are psi, kolmogorov"):
        distance_named("hellinger")


@pytest.mark.parametrize("name", NAMES)
def test_the_example_of_each_page_is_true(name):
    """The answer that its docstring derives by hand is the one that is computed."""
    outcome = doctest.testmod(import_module(f"serinus.monitors.distances.{name}"))
    assert outcome.attempted >= 3 and outcome.failed == 0


def test_psi_is_the_entropy_there_and_back(pair):
    """scipy's relative entropies of the smoothed shares, added up."""
    expected = [stats.entropy(p, q) + stats.entropy(q, p) for p, q in zip(*shares(*pair), strict=True)]
    assert value("psi", pair) == pytest.approx(expected, rel=1e-12)


def test_smoothing_vanishes_with_the_rows(pair):
    """With a million times the rows PSI is the textbook's formula on the raw shares."""
    many = tuple(counts * 1_000_000 for counts in pair)
    p, q = (counts / counts.sum(-1, keepdims=True) for counts in pair)
    assert value("psi", many) == pytest.approx(((q - p) * np.log(q / p)).sum(-1), rel=1e-4)


def test_jensen_shannon_is_that_of_scipy(pair):
    """To the base of 2, the root taken."""
    expected = [jensenshannon(p, q, base=2) for p, q in zip(*pair, strict=True)]
    assert value("jensen_shannon", pair) == pytest.approx(expected, rel=1e-12)


def test_chi_squared_is_that_of_a_contingency_table(pair):
    """Statistic and p-value of scipy's chi2_contingency, without correction."""
    full = drawn(EVEN, 5_000, 3, seed=3), drawn(EVEN, 700, 3, seed=4)
    measured = distance_named("chi_squared").measure(*full)
    tables = [np.stack([r, x])[:, :16] for r, x in zip(*full, strict=True)]
    expected = [stats.chi2_contingency(table, correction=False) for table in tables]
    assert measured.values == pytest.approx([each.statistic for each in expected], rel=1e-12)
    assert measured.p_values == pytest.approx([each.pvalue for each in expected], rel=1e-9)
    assert measured.thresholds == pytest.approx([stats.chi2.isf(0.01, 15)] * 3)


def test_kolmogorov_smirnov_is_that_of_the_bin_numbers(pair):
    """scipy's two-sample statistic of the codes themselves; missing and unseen left out."""
    codes = [[np.repeat(np.arange(16), counts[:16]) for counts in side] for side in pair]
    expected = [stats.ks_2samp(r, x).statistic for r, x in zip(*codes, strict=True)]
    assert value("kolmogorov_smirnov", pair) == pytest.approx(expected, rel=1e-12)


def test_wasserstein_is_that_of_evenly_filled_bins(pair):
    """scipy's distance of 2,000 evenly spaced values in each bin, weighted by its count."""
    ends = np.cumsum(np.arange(17.0)) * 0.5
    places = np.concatenate([np.linspace(a, b, 2_001)[:-1] + (b - a) / 4_000 for a, b in pairwise(ends)])
    weights = [[np.repeat(counts[:16] / 2_000, 2_000) for counts in side] for side in pair]
    expected = [stats.wasserstein_distance(places, places, r, x) for r, x in zip(*weights, strict=True)]
    assert value("wasserstein", pair, boundaries=np.tile(ends, (3, 1))) == pytest.approx(expected, rel=1e-3)


def test_wasserstein_is_in_the_features_unit(pair):
    """Bins ten times as wide are ten times as far apart, and so is the threshold; the p-value stays."""
    ends = np.tile(np.arange(17.0), (3, 1))
    one, ten = (distance_named("wasserstein").measure(*pair, boundaries=ends * scale) for scale in (1, 10))
    assert ten.values == pytest.approx(one.values * 10)
    assert ten.thresholds == pytest.approx(one.thresholds * 10)
    assert ten.p_values == pytest.approx(one.p_values)


@pytest.mark.parametrize("rows", [50, 2_000])
@pytest.mark.parametrize("name", NAMES)
def test_the_error_rate_is_the_stated_one(name, rows):
    """Of 200 windows of an unchanged population about 5 % lie beyond the threshold, whatever the window's size."""
    reference, window = drawn(EVEN, 2_000, 200, seed=5), drawn(EVEN, rows, 200, seed=6)
    share = distance_named(name).measure(reference, window, alpha=0.05).drifted.mean()
    assert 0.005 <= share <= 0.1  # ± 3 standard errors of 200 windows


@pytest.mark.slow
@pytest.mark.parametrize("reference_rows", [1_000, 10_000])
@pytest.mark.parametrize("rows", [50, 100, 200, 1_000, 2_000, 10_000])
@pytest.mark.parametrize("shape", [EVEN, SKEWED], ids=["even", "skewed"])
@pytest.mark.parametrize("name", NAMES)
def test_the_error_rate_at_every_size(name, shape, rows, reference_rows):
    """At one per cent, over 1,000 windows each: never more than 2.2 per cent, never less than 0.2."""
    reference, window = drawn(shape, reference_rows, 1_000, seed=7), drawn(shape, rows, 1_000, seed=8)
    share = distance_named(name).measure(reference, window, alpha=0.01).drifted.mean()
    print(f"{name} reference {reference_rows} window {rows}: {share:.4f}")
    assert 0.002 <= share <= 0.022  # 0.01, ± 4 standard errors


@pytest.mark.parametrize("name", NAMES)
def test_a_change_is_seen(name):
    """Half the rows in other bins: the value is beyond the threshold and the p-value tells."""
    measured = distance_named(name).measure(drawn(EVEN, 5_000), drawn(SKEWED, 500))
    assert measured.drifted.all() and measured.p_values[0] < 1e-6


@pytest.mark.parametrize("name", NAMES)
def test_dispersion_widens_the_threshold(name):
    """A reference whose own windows vary four times as much makes the same window less remarkable."""
    pair = drawn(EVEN, 5_000, seed=9), drawn(np.r_[np.linspace(1, 1.5, 16), 0, 0] / 20, 500, seed=10)
    calm, lively = (distance_named(name).measure(*pair, dispersion=dispersion) for dispersion in (1.0, 4.0))
    assert lively.values == pytest.approx(calm.values)
    assert lively.thresholds[0] > 1.5 * calm.thresholds[0]
    assert lively.p_values[0] > calm.p_values[0]


@pytest.mark.parametrize("name", NAMES)
def test_dispersed_windows_keep_the_error_rate(name):
    """Windows of rows that come in fours: with a dispersion of 4 about 5 % lie beyond the threshold."""
    reference, window = 4 * drawn(EVEN, 2_000, 80, seed=11), 4 * drawn(EVEN, 250, 80, seed=12)
    distance = distance_named(name)
    assert distance.measure(reference, window, alpha=0.05, dispersion=4.0).drifted.mean() <= 0.12
    assert distance.measure(reference, window, alpha=0.05).drifted.mean() > 0.3


def only(code, rows):
    counts = np.zeros((1, 18), dtype=np.int64)
    counts[0, code] = rows
    return counts


@pytest.mark.parametrize("name", NAMES)
def test_a_constant_feature_has_no_distance(name):
    """One bin before and after: 0, and nothing to be surprised at."""
    measured = distance_named(name).measure(only(0, 500), only(0, 70))
    assert (measured.values[0], measured.p_values[0], measured.drifted[0]) == (0.0, 1.0, False)


@pytest.mark.parametrize("name", NAMES)
def test_nothing_to_compare_is_unknown(name):
    """An empty window or reference gives NaN, never "fine"."""
    empty, some = np.zeros((1, 18), dtype=np.int64), only(3, 50)
    for reference, window in ((empty, some), (some, empty), (empty, empty)):
        measured = distance_named(name).measure(reference, window)
        assert np.isnan(measured.values).all() and np.isnan(measured.p_values).all()
        assert np.isnan(measured.thresholds).all() and not measured.drifted.any()


@pytest.mark.parametrize("name", ["psi", "jensen_shannon", "chi_squared"])
def test_a_column_that_goes_missing_is_seen(name):
    """Missing is a bin like any other, also one that the reference never filled."""
    measured = distance_named(name).measure(drawn(EVEN, 1_000), only(16, 200))
    assert np.isfinite(measured.values).all() and measured.drifted.all()


@pytest.mark.parametrize("name", NAMES)
def test_billions_of_rows_do_not_overflow(name):
    """Ten billion rows on both sides: finite, and a shift of a thousandth is far beyond the threshold."""
    reference, window = only(0, 10**10) + only(1, 10**10), only(0, 10**10) + only(1, 10**10 + 2 * 10**7)
    measured = distance_named(name).measure(reference, window)
    assert np.isfinite([measured.values, measured.thresholds]).all() and measured.drifted.all()
