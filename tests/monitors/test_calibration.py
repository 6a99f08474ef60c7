"""Calibration: zero where probabilities are right, the true error where they are not, from tables that add."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import brier_score_loss

from serinus.monitors.calibration import FEWEST, Calibration, calibration_of, classwise
from serinus.monitors.metrics import Sums
from serinus.monitors.performance import Definition, Outcomes

TWO = Definition("classification", (0, 1))


def table(rows: Outcomes) -> np.ndarray:
    return TWO.sums(rows).table("scores")[0]


def drawn(seed: int, rows: int, slope: float = 1.0, intercept: float = 0.0) -> Outcomes:
    """Probabilities of which the truth's logit is `slope` times theirs plus `intercept`."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 1.5, rows)
    truth = (rng.random(rows) < 1 / (1 + np.exp(-slope * logits - intercept))).astype(int)
    scores = 1 / (1 + np.exp(-logits))
    return Outcomes(truth, (scores > 0.5).astype(int), scores)


def found(rows: Outcomes) -> Calibration:
    calibration = calibration_of(table(rows))
    assert calibration is not None
    return calibration


def test_right_probabilities_have_no_error() -> None:
    """Averaged over 60 samples of 1,000 rows the debiased error is a third of the plain one, which is its noise."""
    many = [found(drawn(seed, 1_000)) for seed in range(60)]
    plain, noise, error = (np.mean([getattr(one, name) for one in many]) for name in ("raw_error", "noise", "error"))
    assert plain == pytest.approx(noise, rel=0.08) and plain > 0.03
    assert error < plain / 2
    assert np.mean([one.slope for one in many]) == pytest.approx(1.0, abs=0.03)


@pytest.mark.parametrize(("slope", "intercept"), [(0.5, 0.0), (1.0, 0.6), (2.0, 0.0)])
def test_wrong_probabilities_have_the_error_of_endless_rows(slope: float, intercept: float) -> None:
    """1,500 rows say nearly what 300,000 say; slope and intercept are those of the law."""
    endless = found(drawn(0, 300_000, slope, intercept))
    few = [found(drawn(1 + seed, 1_500, slope, intercept)) for seed in range(20)]
    assert np.mean([one.error for one in few]) == pytest.approx(endless.raw_error, abs=0.014)
    assert (endless.slope, endless.intercept) == pytest.approx((slope, intercept), abs=0.02)


@pytest.mark.parametrize(
    ("slope", "intercept", "words"),
    [(0.5, 0.0, "too sure of themselves"), (2.0, 0.0, "too cautious"), (1.0, 0.8, "too low"), (1.0, -0.8, "too high")],
)
def test_the_sentence_names_what_is_wrong(slope: float, intercept: float, words: str) -> None:
    """What is wrong with the probabilities, and by how much."""
    assert words in found(drawn(2, 20_000, slope, intercept)).sentence
    assert found(drawn(3, 200_000)).sentence.startswith("Probabilities are right within")


def test_the_reliability_table_is_counted_by_hand() -> None:
    """Fifteen bins of equally many rows, with the mean score, the share of positives and Wilson's interval."""
    rows = drawn(4, 3_000)
    calibration = found(rows)
    assert len(calibration.bins) == 15 and sum(cell.rows for cell in calibration.bins) == 3_000
    assert all(140 < cell.rows < 260 for cell in calibration.bins)
    order = np.argsort(rows.scores)[: calibration.bins[0].rows]
    first = calibration.bins[0]
    assert first.said == pytest.approx(rows.scores[order].mean(), abs=1e-6)
    assert first.happened == rows.truth[order].mean()
    wilson = stats.binomtest(int(rows.truth[order].sum()), first.rows).proportion_ci(method="wilson")
    assert first.interval == pytest.approx((wilson.low, wilson.high))


def test_the_brier_score_is_the_sum_of_its_parts() -> None:
    """Up to the variance within bins, which is small."""
    rows = drawn(5, 20_000, 0.6)
    reliability, resolution, uncertainty = found(rows).brier
    assert reliability - resolution + uncertainty == pytest.approx(brier_score_loss(rows.truth, rows.scores), abs=0.003)
    assert uncertainty == pytest.approx(rows.truth.mean() * (1 - rows.truth.mean()))


def test_sums_add() -> None:
    """Two workers' tables together say what one would."""
    rows = drawn(6, 1_000)
    parts = [TWO.sums(Outcomes(*(column[part] for column in rows))) for part in (slice(0, 400), slice(400, None))]
    assert classwise(parts[0] + parts[1]) == classwise(TWO.sums(rows))


def test_every_class_is_judged() -> None:
    """With three classes three tables; without scores none."""
    three = Definition("classification", ("a", "b", "c"))
    scores = np.random.default_rng(7).dirichlet([1, 1, 1], 900)
    names = np.array(["a", "b", "c"])[scores.argmax(1)]
    judged = classwise(three.sums(Outcomes(names, names, scores)))
    assert len(judged) == 3 and all(one is not None and one.error > 0.1 for one in judged)
    assert classwise(Sums({}, {})) == []


def test_odd_tables_break_nothing() -> None:
    """Too few rows are unknown; one class, one score and certain scores are ordinary."""
    assert calibration_of(table(drawn(8, FEWEST - 1))) is None
    ones = np.ones(400, int)
    sure = found(Outcomes(ones, ones, np.ones(400)))
    assert sure.error == 0.0 and len(sure.bins) == 1 and np.isnan(sure.slope)
    constant = found(Outcomes(np.arange(400) % 4 == 0, ones, np.full(400, 0.5)))
    assert constant.error == pytest.approx(0.25, abs=0.01) and constant.brier.resolution == pytest.approx(0.0)
