"""How extraction is seen in rows."""

import json

import numpy as np
import pytest
from scipy import stats
from scipy.spatial import distance

from serinus.monitors.security.extraction import NEAR, Sketch, margins, normality, smallest_distances


@pytest.mark.parametrize("width", [1, 5, 30, 200])
def test_sketches_of_near_rows_differ_in_few_bits_and_of_others_in_many(width: int) -> None:
    """In any number of dimensions and any units: a twentieth of the usual distance is near, another row is not."""
    random = np.random.default_rng(1)
    rows = random.normal(size=(300, width)) * 10.0 ** random.integers(-6, 6, width)
    sketch = Sketch.fit(rows)
    standard = sketch.standardise(rows)
    gaps = distance.cdist(standard, standard)
    nearest = np.median(np.where(gaps == 0, np.inf, gaps).min(axis=1))
    step = random.normal(size=standard.shape)
    moved = standard + 0.05 * nearest * step / np.linalg.norm(step, axis=1, keepdims=True)
    sketches = sketch.of(standard)
    bits = np.array([smallest_distances(sketch.of(moved)[at:at + 1], sketches[at:at + 1])[0] for at in range(300)])
    assert np.mean(bits <= NEAR) > 0.8
    assert np.mean(smallest_distances(sketches[256:], sketches[:256]) <= NEAR) < 0.12


def test_bits_are_counted_as_they_differ() -> None:
    """Hamming distances by hand; without an earlier row all bits differ."""
    words = np.array([0b1011, 0, 2**64 - 1], np.uint64)
    assert smallest_distances(words, np.array([0b0001], np.uint64)).tolist() == [2, 1, 63]
    assert smallest_distances(words, np.empty(0, np.uint64)).tolist() == [64, 64, 64]


def test_a_sketch_survives_json_and_bad_rows() -> None:
    """Read again it gives the same bits; infinite and missing values have a sketch too."""
    rows = np.random.default_rng(2).normal(size=(50, 3))
    sketch = Sketch.fit(rows)
    again = Sketch.from_json(json.loads(json.dumps(sketch.to_json())))
    odd = sketch.standardise(np.array([[np.nan, np.inf, 1e300], [0, -np.inf, 1.0]]))
    assert np.array_equal(sketch.of(odd), again.of(odd))
    assert Sketch.fit(np.empty((0, 2))).of(np.zeros((1, 2))).shape == (1,)


def test_margins_are_the_distance_to_another_answer() -> None:
    """Largest minus second largest probability; one number per row is a probability of two classes."""
    assert margins(np.array([[0.7, 0.2, 0.1], [0.4, 0.2, 0.4]])).tolist() == pytest.approx([0.5, 0.0])
    assert margins(np.array([0.5, 0.9, 0.0], np.float32)).tolist() == pytest.approx([0.0, 0.8, 1.0])
    assert margins(np.array([[0.25]])).tolist() == [0.5]


def test_normality_is_near_one_for_normal_values_only() -> None:
    """It is the squared correlation of a normal probability plot, and stays close to Shapiro and Wilk's statistic."""
    random = np.random.default_rng(3)
    normal, skewed, two = random.normal(size=64), random.exponential(size=64), random.choice([1.0, 30.0], 64)
    for values in (normal, skewed, two):
        assert normality(values) == pytest.approx(stats.shapiro(values).statistic, abs=0.02)
        assert normality(values) == pytest.approx(stats.probplot(values)[1][2] ** 2, abs=0.005)
    assert normality(normal) > normality(skewed) > normality(two)
    assert normality(np.ones(64)) == 0
