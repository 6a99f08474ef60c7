"""Novelty of one row."""

import json

import numpy as np
import pytest
from scipy import stats
from sklearn.covariance import ledoit_wolf

from serinus.monitors.novelty import Novelty, Scaling, shrunk_covariance

HUGE = 1.7e308


def chained(rows: int, width: int, seed: int) -> np.ndarray:
    """Gaussian rows whose neighbouring columns are correlated."""
    plain = np.random.default_rng(seed).normal(size=(rows, width))
    plain[:, 1:] += 0.8 * plain[:, :-1].copy()
    return plain


def test_scores_of_gaussian_rows_are_chi_squared() -> None:
    """With many reference rows the score is the closed form: chi-squared with as many degrees as features."""
    random = np.random.default_rng(1)
    novelty = Novelty.fit(random.normal(size=(40_000, 6)))
    scores = novelty.scores(random.normal(size=(4_000, 6)))
    assert stats.kstest(scores, "chi2", args=(6,)).pvalue > 0.01
    assert np.allclose(novelty.p_values(scores), stats.chi2.sf(scores, 6), atol=0.02)


def test_a_p_value_counts_the_calibration_rows_that_are_as_far() -> None:
    """p = (1 + #{calibration scores ≥ score}) / (m + 1), by hand."""
    novelty = Novelty.fit(chained(401, 3, seed=2), seed=5)
    kept = chained(401, 3, seed=2)[np.random.default_rng(5).permutation(401)[200:]]
    scores, asked = novelty.scores(kept), novelty.scores(chained(50, 3, seed=3))
    assert novelty.calibration_rows == 201
    assert novelty.p_values(asked).tolist() == [(1 + np.sum(scores >= score)) / 202 for score in asked]
    assert novelty.p_values(scores).max() == 1.0


@pytest.mark.parametrize("rows", [20, 199])
def test_p_values_are_valid_at_every_level(rows: int) -> None:
    """P(p ≤ α) ≤ α over references and rows, even for a reference so small that the whitening is poor."""
    random = np.random.default_rng(4)
    repeats, found = 2_000, []
    for _ in range(repeats):
        drawn = random.standard_t(2, size=(rows + 1, 3))
        novelty = Novelty.fit(drawn[:-1], seed=int(random.integers(2**31)))
        found.append(novelty.p_value(novelty.score(drawn[-1])))
    for alpha in (0.01, 0.05, 0.1, 0.25, 0.5):
        wrong = int(np.sum(np.array(found) <= alpha))
        assert stats.binomtest(wrong, repeats, alpha, alternative="greater").pvalue > 0.001
    level = 1 / (rows - rows // 2 + 1)
    assert min(found) == level
    assert stats.binomtest(found.count(level), repeats, level).pvalue > 0.001  # exact, not only safe


def test_a_thinned_grid_errs_to_the_safe_side_and_little() -> None:
    """With 50,000 calibration rows 1,001 levels are kept, and no p-value is below the exact one nor 2 % above it."""
    rows = np.random.default_rng(6).normal(size=(100_000, 2))
    novelty = Novelty.fit(rows, seed=7)
    kept = np.sort(novelty.scores(rows[np.random.default_rng(7).permutation(100_000)[50_000:]]))
    asked = novelty.scores(np.random.default_rng(8).normal(size=(3_000, 2)))
    exact = (1 + 50_000 - np.searchsorted(kept, asked - 1e-6 * (1 + asked))) / 50_001
    assert len(novelty.levels) <= 1001
    assert np.all(novelty.p_values(asked) >= exact - 1e-12)
    assert np.all(novelty.p_values(asked) <= exact * 1.02)


def test_shrinkage_is_that_of_ledoit_and_wolf() -> None:
    """The closed form agrees with scikit-learn's, for more and for fewer rows than columns."""
    for rows in (200, 8):
        drawn = chained(rows, 12, seed=9)
        assert np.allclose(shrunk_covariance(drawn), ledoit_wolf(drawn, assume_centered=True)[0], rtol=1e-10)


def test_a_combination_that_does_not_occur_is_novel_though_each_value_is_common() -> None:
    """Whitening sees that two values do not go together."""
    random = np.random.default_rng(10)
    first = random.normal(size=4_000)
    novelty = Novelty.fit(np.column_stack([first, first + 0.2 * random.normal(size=4_000)]))
    assert novelty.p_value(novelty.score(np.array([1.0, 1.0]))) > 0.2
    assert novelty.p_value(novelty.score(np.array([1.0, -1.0]))) < 0.001


def test_contributions_sum_to_the_score_and_name_the_feature() -> None:
    """The features' shares are none negative, add up to the score, and the odd one has the largest."""
    random = np.random.default_rng(11)
    numbers, codes = chained(2_000, 5, seed=11), random.integers(0, 3, (2_000, 2)).astype(np.uint8)
    novelty = Novelty.fit(numbers, codes=codes)
    row, code = numbers[7].copy(), codes[7]
    row[3] += 9
    shares = novelty.contributions(row, code)
    assert shares.shape == (7,)
    assert np.all(shares >= 0)
    assert shares.sum() == pytest.approx(novelty.score(row, code))
    assert int(np.argmax(shares)) == 3


def test_a_rare_category_is_a_surprise_and_an_unseen_one_a_greater() -> None:
    """−2·ln(share / largest share), with half a row added to each count."""
    codes = np.repeat(np.array([0, 1], np.uint8), [1900, 100])[:, None]
    novelty = Novelty.fit(np.empty((2_000, 0)), codes=codes)
    common, rare, unseen = (novelty.score(np.empty(0), np.array([code], np.uint8)) for code in (0, 1, 17))
    counts = np.bincount(codes[np.random.default_rng(0).permutation(2_000)[:1_000], 0], minlength=18) + 0.5
    assert common == 0
    assert rare == pytest.approx(-2 * np.log(counts[1] / counts[0]))
    assert unseen == pytest.approx(-2 * np.log(0.5 / counts[0]))
    assert novelty.p_value(rare) == pytest.approx(0.05, abs=0.02)
    assert novelty.p_value(unseen) == 1 / 1_001


def test_one_row_and_many_are_scored_alike() -> None:
    """The single row's short cut gives what the batch gives, clean or not."""
    rows = chained(300, 30, seed=12)
    novelty = Novelty.fit(rows)
    rows[0, 3], rows[1, 0], rows[2, 5], rows[3] = np.nan, np.inf, -1e300, 7e4
    singles = [novelty.score(row) for row in rows]
    assert np.allclose(novelty.scores(rows), singles, rtol=1e-12)
    assert novelty.p_values(novelty.scores(rows)).tolist() == [novelty.p_value(score) for score in singles]


def test_values_that_are_cut_are_cut_in_the_short_way_too() -> None:
    """Where columns say nearly the same, a row far along with them scores low: the one map is left in time."""
    rng = np.random.default_rng(17)
    novelty = Novelty.fit(rng.normal(size=(2_000, 1)) + 0.3 * rng.normal(size=(2_000, 6)))
    along = np.linspace(-60, 60, 401)[:, None] * np.ones(6) + 0.1 * rng.normal(size=(401, 6))
    whitened = novelty.whitening(novelty.scaling.standardise(along))
    expected = (whitened**2).sum(axis=1)
    assert np.allclose([novelty.score(row) for row in along], expected, rtol=1e-9)
    assert np.allclose([float(novelty.scores(row[None])[0]) for row in along], expected, rtol=1e-9)


def test_a_row_of_float32_is_no_rarer_than_the_same_of_float64() -> None:
    """Ties stay ties when a value lost its last digits on the way."""
    rows = np.random.default_rng(13).choice([0.1, 0.7, 1.3], size=(500, 2))
    novelty = Novelty.fit(rows)
    exact, shortened = (novelty.p_values(novelty.scores(np.asarray(each, float)))
                        for each in (rows, rows.astype(np.float32)))
    assert np.array_equal(exact, shortened)


@pytest.mark.parametrize("value", [np.inf, -np.inf, 1e300, -HUGE])
def test_what_is_infinite_or_huge_is_as_novel_as_can_be(value: float) -> None:
    """Such a value gets the smallest p-value, and its feature is named."""
    novelty = Novelty.fit(chained(1_000, 4, seed=14))
    row = np.array([0.0, value, 0.0, 0.0])
    assert novelty.p_value(novelty.score(row)) == 1 / 501
    assert int(np.argmax(novelty.contributions(row))) == 1


def test_a_missing_value_adds_nothing() -> None:
    """A row of nothing but missing values is the middle of the reference."""
    rows = chained(1_000, 4, seed=15)
    rows[::3, 2] = np.nan
    novelty = Novelty.fit(rows)
    assert novelty.score(np.full(4, np.nan)) == 0
    assert novelty.contributions(np.array([0.5, 0.5, np.nan, 0.5])).shape == (4,)


def test_another_value_in_a_constant_column_is_novel() -> None:
    """What never varied has no scale of its own, so any other value is far; the same value is not."""
    rows = np.column_stack([np.full(400, 3.0), chained(400, 2, seed=16)])
    novelty = Novelty.fit(rows)
    assert novelty.p_value(novelty.score(np.array([3.0, 0, 0]))) > 0.5
    assert novelty.p_value(novelty.score(np.array([3.001, 0, 0]))) == 1 / 201


@pytest.mark.parametrize("rows", [
    np.empty((0, 3)), np.ones((1, 3)), chained(5, 30, 17), np.empty((50, 0)), np.full((60, 2), np.nan),
    np.full((60, 2), np.inf), np.array([[HUGE, -HUGE]] * 30 + [[-HUGE, HUGE]] * 30), np.zeros((2, 2))])
def test_any_reference_works(rows: np.ndarray) -> None:
    """Empty, one row, five rows of 30, no columns, all missing, all infinite, the ends of the range: p-values all."""
    novelty = Novelty.fit(rows)
    p = novelty.p_values(novelty.scores(rows))
    assert np.all((p > 0) & (p <= 1))
    assert 0 < novelty.p_value(novelty.score(np.full(rows.shape[1], 5.0))) <= 1


def test_hundreds_of_features_are_kept_small() -> None:
    """Many numbers are whitened along their main directions only, which still see a factor that all share."""
    random = np.random.default_rng(18)
    rows = random.normal(size=(600, 300)) + 2 * random.normal(size=(600, 1))
    novelty = Novelty.fit(rows)
    usual, odd = novelty.score(np.full(300, 3.0)), novelty.score(np.tile([3.0, -3.0], 150))
    assert novelty.whitening.directions.shape == (300, 32)
    assert usual < odd / 10
    assert novelty.contributions(rows[0]).sum() == pytest.approx(novelty.score(rows[0]))
    assert len(json.dumps(novelty.to_json())) < 150_000  # a full matrix would have 960,000


def test_through_json_it_scores_the_same() -> None:
    """What is stored and read again gives the same scores and p-values, bit for bit."""
    rows, codes = chained(500, 3, seed=19), np.random.default_rng(19).integers(0, 18, (500, 2)).astype(np.uint8)
    novelty = Novelty.fit(rows, codes=codes)
    again = Novelty.from_json(json.loads(json.dumps(novelty.to_json())))
    assert np.array_equal(novelty.scores(rows, codes), again.scores(rows, codes))
    assert np.array_equal(novelty.p_values(novelty.scores(rows)), again.p_values(again.scores(rows)))
    assert novelty.to_json() == again.to_json()


def test_the_seed_decides() -> None:
    """The same seed gives the same novelty, another seed another half to fit on."""
    rows = chained(500, 3, seed=20)
    assert Novelty.fit(rows, seed=1).to_json() == Novelty.fit(rows, seed=1).to_json()
    assert Novelty.fit(rows, seed=1).to_json() != Novelty.fit(rows, seed=2).to_json()


def test_a_p_value_in_words() -> None:
    """People are told a share of the reference, or that no reference row was so unusual."""
    novelty = Novelty.fit(chained(20_000, 2, seed=21))
    assert novelty.in_words(0.001) == "as unusual as 1 in 1,000 reference rows"
    assert novelty.in_words(0.00123) == "as unusual as 1 in 810 reference rows"
    assert novelty.in_words(1 / 10_001) == "more unusual than each of 10,000 reference rows"
    assert novelty.in_words(1.0) == "as unusual as 1 in 1 reference rows"


def test_scaling_ignores_outliers() -> None:
    """One value of 1e300 in a thousand moves neither centre nor scale by much."""
    column = np.random.default_rng(22).normal(10, 2, size=1_000)
    column[0] = 1e300
    scaling = Scaling.fit(column[:, None])
    assert scaling.centre[0] == pytest.approx(10, abs=0.3)
    assert 1 / scaling.weight[0] == pytest.approx(2, rel=0.1)
