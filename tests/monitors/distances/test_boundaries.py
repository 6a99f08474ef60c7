"""The ends of bins: the feature's own edges, and outermost bins of a sensible width."""

import numpy as np
import pytest
from scipy.stats import wasserstein_distance

from serinus.monitors.distances import Wasserstein
from serinus.monitors.distances.boundaries import boundaries_of
from serinus.monitors.features import Feature
from serinus.monitors.reference import Reference

RNG = np.random.default_rng(0)
SAMPLES = {
    "normal": lambda rows: RNG.normal(50, 10, rows),
    "log-normal": lambda rows: RNG.lognormal(10, 0.5, rows),
    "exponential": lambda rows: RNG.exponential(3.0, rows),
    "uniform": lambda rows: RNG.uniform(-1, 1, rows),
    "mostly zero": lambda rows: np.where(RNG.random(rows) < 0.6, 0.0, RNG.gamma(2.0, 100.0, rows)),
    "few integers": lambda rows: RNG.integers(0, 6, rows).astype(float),
}


@pytest.mark.parametrize("sample", SAMPLES.values(), ids=SAMPLES.keys())
def test_distances_from_bins_are_near_those_of_the_rows(sample):
    """A shift by half a standard deviation, as scipy sees it in the rows, within a quarter."""
    before = sample(20_000)
    now = sample(20_000) + 0.5 * before.std()
    if np.array_equal(before, before.round()):
        now = now.round()
    profile = Reference.from_arrays({"x": before}, joint=False)
    window = profile.encoder.encode({"x": np.clip(now, before.min(), before.max())})
    counts = np.bincount(window.ravel(), minlength=18)[None]
    measured = Wasserstein().values(profile.counts, counts, boundaries_of(profile.features))
    expected = wasserstein_distance(before, np.clip(now, before.min(), before.max()))
    assert measured[0] == pytest.approx(expected, rel=0.25)


def test_one_wild_value_sets_no_scale():
    """The reference's largest value of 1e300 leaves the outermost bin as wide as its neighbour suggests."""
    (ends,) = boundaries_of(Reference.from_arrays({"x": np.r_[RNG.normal(size=5_000), 1e300]}, joint=False).features)
    assert np.all(np.diff(ends) >= 0) and np.abs(ends).max() < 10


def test_categories_are_one_apart():
    """They have no unit."""
    ends = boundaries_of([Feature("x", "x", "input", "categorical")])
    assert ends.tolist() == [list(range(17))]


def test_a_constant_has_no_width():
    """Nothing moves within one bin."""
    ends = boundaries_of([Feature("x", "x", "input", "numeric", low=3.0, high=3.0, centre=3.0)])
    assert not np.diff(ends).any()
