"""Windows are compared with the reference, its own error and its own unrest counted."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from serinus.monitors.features import MISSING, UNSEEN, VALUES, WIDTH
from serinus.monitors.windows import SIZES, WindowTest, holm, level_of, smallest_shift, wilson
from tests.statistics.simulation import Normals

EVEN = np.array([[625] * VALUES + [0, 0]])


def _of(reference: np.ndarray, ordered: bool = False) -> WindowTest:
    return WindowTest.of(reference[None], np.full(len(reference), ordered))


def _window(*counts: int) -> np.ndarray:
    return np.array([[*counts, *[0] * (WIDTH - len(counts))]])


def test_the_shape_of_categories_is_scipys_test_of_two_rows() -> None:
    """Pearson's χ² of a 2 × 4 table, times the share of the error that shape has among the questions."""
    reference, window = _window(400, 300, 200, 100), _window(60, 30, 20, 10)
    wanted = stats.chi2_contingency(np.stack([reference[0, :4], window[0, :4]]), correction=False).pvalue
    assert _of(reference).test(window).p[0] == pytest.approx(wanted / 0.7)


def test_a_few_missing_rows_are_judged_exactly() -> None:
    """6 of 500 against 10 of 10,000: binomial of 16 with share 500/10,500, two-sided, over 0.7 of the error."""
    reference, window = np.zeros((2, 1, WIDTH), int)
    reference[0, 0], reference[0, MISSING] = 9_990, 10
    window[0, 0], window[0, MISSING] = 494, 6
    wanted = 2 * stats.binom.sf(5, 16, 500 / 10_500) / 0.7
    assert _of(reference).test(window).p[0] == pytest.approx(wanted)


def test_one_unseen_value_is_no_drift_and_many_are() -> None:
    """A bin with few expected rows has no χ² of its own."""
    one, many = EVEN // 20, EVEN // 20
    one, many = one.copy(), many.copy()
    one[0, UNSEEN], many[0, UNSEEN] = 1, 30
    test = _of(EVEN, ordered=True)
    assert not test.test(one).alarm
    assert test.test(many).alarm and test.test(many).unseen[0] == pytest.approx(30 / 526)


def test_a_column_that_is_lost_has_changed_however_restless_it_was() -> None:
    """Blocks between all missing and none: half missing says nothing, all missing does."""
    blocks = np.zeros((32, 1, WIDTH), int)
    blocks[:, 0, 0] = 500
    blocks[::4, 0, [0, MISSING]] = 0, 500
    test = WindowTest.of(blocks, np.array([True]))
    half, all_of_it = (np.zeros((1, WIDTH), int) for _ in range(2))
    half[0, [0, MISSING]], all_of_it[0, MISSING] = 250, 500
    assert not test.test(half).alarm
    assert test.test(all_of_it).alarm


def test_a_rare_value_is_judged_exactly() -> None:
    """A flag that 1 in 500 rows has: 6 of 500 against 20 of 10,000 is binomial, not χ², over 0.4 of the error."""
    wanted = 2 * stats.binom.sf(5, 26, 500 / 10_500) / 0.4
    assert _of(_window(9_980, 20), ordered=True).test(_window(494, 6)).p[0] == pytest.approx(wanted)


def test_a_value_that_becomes_rarer_has_its_exact_p_too() -> None:
    """2 of 500 where 1 in 9 was: the lower tail, far below what 1 less the upper one can tell from 0."""
    wanted = 2 * stats.binom.cdf(2, 11_127, 500 / 100_500) / 0.4
    found = _of(_window(88_875, 11_125), ordered=True).test(_window(498, 2)).p[0]
    assert 0 < wanted < 1e-15
    assert found == pytest.approx(wanted, rel=1e-6)


def test_many_rare_flags_alarm_at_most_at_the_level() -> None:
    """50 flags of 1 in 1,000 to 1 in 50, 200 windows at 2 %: more than 11 alarms have a chance of 1 in 1,000."""
    rng = np.random.default_rng(0)
    share = np.geomspace(0.001, 0.02, 50)
    shares = np.column_stack([1 - share, share, *np.zeros((16, 50))])
    found = 0
    for _ in range(4):
        test = WindowTest.of(rng.multinomial(10_000, shares)[None], np.ones(50, bool))
        found += sum(test.test(rng.multinomial(500, shares), 0.02).alarm for _ in range(50))
    assert found <= 11


def test_holm_weighs_features() -> None:
    """By hand: 0.01/0.5·1 and 0.02/0.3·0.5; a feature without weight is never named."""
    assert holm(np.array([0.01, 0.02, 1.0, 0.0]), np.array([0.5, 0.3, 0.2, 0.0])) == pytest.approx(
        [0.02, 0.02 / 0.3 * 0.5, 1.0, 1.0]
    )


def test_holm_steps_down() -> None:
    """By hand: 3·0.01, 2·0.02, 1·0.03 and no smaller than the one before; never above 1."""
    assert holm(np.array([0.02, 0.01, 0.03])) == pytest.approx([0.04, 0.03, 0.04])
    assert holm(np.array([0.9, 0.8])).tolist() == [1.0, 1.0]


@pytest.mark.parametrize(("count", "rows"), [(0, 10), (3, 50), (50, 50), (120, 4_000)])
def test_wilsons_interval_is_scipys(count: int, rows: int) -> None:
    """The score interval at 95 %."""
    wanted = stats.binomtest(count, rows).proportion_ci(method="wilson")
    assert wilson(count, rows) == pytest.approx((wanted.low, wanted.high))


def test_the_smallest_shift_is_what_the_page_says() -> None:
    """30 features, reference 10,000 rows: 0.36 sd at 200 rows, 0.17 at 1,000, 0.07 at 10,000; none without rows."""
    shifts = [smallest_shift(rows, 10_000, 30) for rows in (200, 1_000, 10_000)]
    assert shifts == pytest.approx([0.36, 0.17, 0.07], abs=0.01)
    assert smallest_shift(0, 10_000, 30) == math.inf


def test_all_sizes_together_alarm_once_per_run_length() -> None:
    """In a million rows: windows of each size times their level, added up."""
    assert sum(1_000_000 / size * level_of(size, 1_000_000) for size in SIZES) == pytest.approx(1)


@pytest.mark.parametrize("rows", [64, 500, 5_000])
def test_windows_of_the_same_population_alarm_at_most_at_the_level(rows: int) -> None:
    """160 windows of 20 features at 5 %: 8 expected at most; more than 17 has a chance of 1 in 1,000."""
    rng = np.random.default_rng(rows)
    found = 0
    for _ in range(4):
        drawn = Normals.draw(rng, 3_000, features=20)
        test, shares = WindowTest.of(drawn.blocks, drawn.ordered), drawn.shares()
        found += sum(test.test(rng.multinomial(rows, shares), 0.05).alarm for _ in range(40))
    assert found <= 17


def test_a_small_move_is_seen_by_its_location() -> None:
    """A quarter of a standard deviation in 500 rows: the shape alone has not half the power."""
    rng = np.random.default_rng(0)
    drawn = Normals.draw(rng, 20_000, features=5)
    test = WindowTest.of(drawn.blocks, drawn.ordered)
    found = [test.test(rng.multinomial(500, drawn.changed(0.25))) for _ in range(50)]
    assert np.mean([result.drifted[0] for result in found]) > 0.9
    assert np.mean([result.location[0] for result in found]) == pytest.approx(0.25, abs=0.03)
    assert not np.any([result.drifted[1:] for result in found])


def _swinging(rng: np.random.Generator, blocks: int) -> np.ndarray:
    """Return blocks of 500 rows of two categories whose share differs from block to block by 0.1."""
    share = np.clip(rng.normal(0.5, 0.1, blocks), 0.05, 0.95)
    counts = rng.binomial(500, share)
    table = np.zeros((blocks, 1, WIDTH), int)
    table[:, 0, 0], table[:, 0, 1] = counts, 500 - counts
    return table


def test_windows_of_a_restless_population_are_measured_by_its_own_unrest() -> None:
    """Days differ by 0.1, 20 times what sampling explains: χ² would call nearly all of 200 further days changed."""
    rng = np.random.default_rng(7)
    reference, later = _swinging(rng, 32), _swinging(rng, 200)
    restless, naive = WindowTest.of(reference, np.array([False])), _of(reference.sum(0))
    assert restless.inflation[0, 0, 0] == pytest.approx(20, rel=0.4)
    assert np.mean([naive.test(day).alarm for day in later]) > 0.4
    assert np.mean([restless.test(day).alarm for day in later]) < 0.05


def _jumpy(rng: np.random.Generator, blocks: int) -> np.ndarray:
    """Return blocks of 500 rows of 20 flags whose shares differ from block to block as Student's t with 3 degrees."""
    share = np.clip(0.5 + 0.03 * rng.standard_t(3, (blocks, 20)), 0.02, 0.98)
    table = np.zeros((blocks, 20, WIDTH), int)
    table[..., 0] = rng.binomial(500, share)
    table[..., 1] = 500 - table[..., 0]
    return table


def test_what_happens_once_in_the_reference_may_happen_again() -> None:
    """Tails heavier than gamma's: 11 of 100 further blocks alarm; held against the reference's own blocks, 4."""
    rng = np.random.default_rng(1)
    test, later = WindowTest.of(_jumpy(rng, 100), np.zeros(20, bool)), _jumpy(rng, 200)
    without = replace(test, tails=np.tile([0.0, 1.0], (len(test.sizes), 1)))
    assert np.mean([without.test(block).alarm for block in later]) > 0.08
    assert np.mean([test.test(block).alarm for block in later]) <= 0.05


def test_a_self_check_of_an_earlier_version_is_read() -> None:
    """It knows of neither tails nor an omnibus test, and says what it said then."""
    blocks = _swinging(np.random.default_rng(2), 32)
    test = WindowTest.of(blocks, np.array([False]))
    document = {name: value for name, value in test.to_json().items() if name in ("sizes", "inflation", "freedom")}
    again = WindowTest.from_json(document, blocks.sum(0), np.array([False]))
    window = _swinging(np.random.default_rng(3), 1)[0]
    assert again.test(window).p[0] <= test.test(window).p[0]


def test_an_even_reference_keeps_chi_squared() -> None:
    """Where blocks differ by chance only, nothing is inflated: in 9 of 10 references no feature is."""
    inflated = 0
    for seed in range(10):
        drawn = Normals.draw(np.random.default_rng(seed), 5_000, features=10)
        inflated += bool((WindowTest.of(drawn.blocks, drawn.ordered).inflation > 1).any())
    assert inflated <= 4


def test_unrest_is_taken_to_last_where_blocks_cannot_tell() -> None:
    """Beyond the largest sum of blocks (8 of 64 blocks, 4,000 rows) φ − 1 grows like the rows: 8 times as many, 8 φ."""
    test = WindowTest.of(_swinging(np.random.default_rng(1), 64), np.array([False]))
    largest, beyond = (test._null(rows)[0][0, 0] - 1 for rows in (4_000, 32_000))
    assert largest > 5
    assert beyond == pytest.approx(8 * largest)


def test_psi_loses_what_chance_adds() -> None:
    """The mean PSI of windows of the same population is 0 after the correction, and a true one stays."""
    rng = np.random.default_rng(3)
    test = _of(EVEN, ordered=True)
    same = [test.test(rng.multinomial(300, EVEN / EVEN.sum())).psi[0] for _ in range(300)]
    assert np.mean(same) == pytest.approx(0, abs=0.005)
    half = _window(*[50_000] * 8)
    wide = _of(np.concatenate([_window(*[25_000] * 8, *[25_000] * 8)]))
    assert wide.test(half).psi[0] > 1


def test_what_was_learnt_survives_as_json() -> None:
    """Through text and back the verdicts are the same."""
    rng = np.random.default_rng(2)
    blocks = _swinging(rng, 32)
    test = WindowTest.of(blocks, np.array([False]))
    again = WindowTest.from_json(json.loads(json.dumps(test.to_json())), blocks.sum(0), np.array([False]))
    window = _swinging(rng, 1)[0]
    assert again.test(window).p.tolist() == test.test(window).p.tolist()


@pytest.mark.parametrize("window", [np.zeros((1, WIDTH), int), _window(1), EVEN * 10**9])
@pytest.mark.parametrize("reference", [np.zeros((1, WIDTH), int), _window(5), EVEN])
def test_degenerate_counts_have_a_verdict(window: np.ndarray, reference: np.ndarray) -> None:
    """No rows, one row, 10¹³ rows: p-values stay within 0 and 1."""
    for ordered in (True, False):
        result = _of(reference, ordered).test(window)
        assert 0 <= result.p[0] <= 1 and np.isfinite(result.psi[0])
