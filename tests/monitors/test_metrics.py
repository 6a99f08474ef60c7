"""Metrics against scikit-learn, their intervals against bootstrap and simulation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as sk

from serinus.monitors.metrics import Measure, average_precision, score_bins
from serinus.monitors.performance import Definition, Outcomes

RNG = np.random.default_rng(0)
TWO = Definition("classification", (0, 1), values=((0.0, -1.0), (-5.0, 2.0)))
THREE = Definition("classification", ("a", "b", "c"))
NUMBERS = Definition("regression")


def two_classes(rng: np.random.Generator, rows: int, base: float = 0.3) -> Outcomes:
    scores = rng.beta(2 * base / (1 - base), 2, rows)
    return Outcomes((rng.random(rows) < scores).astype(int), (scores >= 0.5).astype(int), scores)


def three_classes(rng: np.random.Generator, rows: int) -> Outcomes:
    scores = rng.dirichlet([2.0, 1.0, 0.5], rows)
    truth = (rng.random(rows)[:, None] > scores.cumsum(1)).sum(1)
    names = np.array(THREE.labels)
    return Outcomes(names[truth], names[scores.argmax(1)], scores)


def numbers(rng: np.random.Generator, rows: int) -> Outcomes:
    truth = rng.gamma(3.0, 2.0, rows) + 0.1
    return Outcomes(truth, truth + rng.standard_t(12, rows))


def values(definition: Definition, rows: Outcomes) -> dict[str, float]:
    measures = definition.measure(definition.sums(rows))
    return {name: measure.value for name, measure in measures.items() if measure.value is not None}


def test_two_classes_are_measured_as_scikit_learn_does() -> None:
    """Every metric of a binary classifier; areas to what 256 bins can tell."""
    rows = two_classes(RNG, 5_000)
    truth, answers, scores = rows
    found = values(TWO, rows)
    assert found["accuracy"] == sk.accuracy_score(truth, answers)
    assert found["precision"] == pytest.approx(sk.precision_score(truth, answers))
    assert found["recall"] == pytest.approx(sk.recall_score(truth, answers))
    assert found["f1"] == pytest.approx(sk.f1_score(truth, answers))
    assert found["log_loss"] == pytest.approx(sk.log_loss(truth, scores), rel=1e-6)
    assert found["brier"] == pytest.approx(sk.brier_score_loss(truth, scores), rel=1e-5)
    assert found["roc_auc"] == pytest.approx(sk.roc_auc_score(truth, scores), abs=2e-4)
    assert found["pr_auc"] == pytest.approx(sk.average_precision_score(truth, scores), abs=2e-3)
    worth = np.array(TWO.values)[truth, answers]
    assert found["value"] == pytest.approx(worth.mean())


def test_areas_of_binned_scores_are_scikit_learns_exactly() -> None:
    """Nothing is lost but what lies within a bin."""
    truth, _, scores = rows = two_classes(RNG, 3_000)
    found, bins = values(TWO, rows), score_bins(scores)
    assert found["roc_auc"] == pytest.approx(sk.roc_auc_score(truth, bins))
    assert found["pr_auc"] == pytest.approx(sk.average_precision_score(truth, bins))


def test_three_classes_are_averaged_as_scikit_learn_does() -> None:
    """Macro averages; areas and average precision one class against the rest."""
    truth, answers, scores = rows = three_classes(RNG, 5_000)
    found = values(THREE, rows)
    for name in ("precision", "recall", "f1"):
        assert found[name] == pytest.approx(getattr(sk, f"{name}_score")(truth, answers, average="macro"))
    assert found["roc_auc"] == pytest.approx(sk.roc_auc_score(truth, scores, multi_class="ovr"), abs=3e-4)
    assert found["log_loss"] == pytest.approx(sk.log_loss(truth, scores), rel=1e-6)
    assert found["brier"] == pytest.approx(((scores - (truth[:, None] == np.array(THREE.labels))) ** 2).sum(1).mean())


def test_numbers_are_measured_as_scikit_learn_does() -> None:
    """MAE, RMSE, R², MAPE and bias; around a centre that lies far off, too."""
    truth, answers, _ = rows = numbers(RNG, 3_000)
    for centre in (0.0, 1e9):
        found = values(Definition("regression", centre=centre), Outcomes(truth + centre, answers + centre))
        assert found["mae"] == pytest.approx(sk.mean_absolute_error(truth, answers), rel=1e-6)
        assert found["rmse"] == pytest.approx(sk.root_mean_squared_error(truth, answers), rel=1e-6)
        assert found["r2"] == pytest.approx(sk.r2_score(truth, answers), rel=1e-6)
        assert found["bias"] == pytest.approx((answers - truth).mean(), rel=1e-5)
    assert values(NUMBERS, rows)["mape"] == pytest.approx(sk.mean_absolute_percentage_error(truth, answers))


def test_r_squared_far_from_the_centre_is_unknown() -> None:
    """What rounding has left of the variance is no variance; nothing else needs a centre."""
    truth, answers, _ = numbers(RNG, 200)
    measures = NUMBERS.measure(NUMBERS.sums(Outcomes(truth + 1e9, answers + 1e9)))
    assert measures["r2"].value is None and "far from the definition's centre" in measures["r2"].reason
    assert measures["mae"].value == pytest.approx(np.abs(answers - truth).mean(), rel=1e-6)


def _coverage(definition: Definition, draw, truth: dict[str, float], rows: int, trials: int) -> dict[str, float]:
    held = dict.fromkeys(truth, 0)
    for trial in range(trials):
        measures = definition.measure(definition.sums(draw(np.random.default_rng([7, trial]), rows)))
        for name, value in truth.items():
            held[name] += measures[name].interval is not None and measures[name].interval.holds(value)
    return {name: count / trials for name, count in held.items()}


def test_intervals_of_two_classes_hold_the_true_value() -> None:
    """300 rows, 600 times: 95 of 100, within what 600 trials and 300 rows can tell."""
    truth = values(TWO, two_classes(np.random.default_rng(1), 400_000))
    found = _coverage(TWO, two_classes, truth, 300, 600)
    assert set(found) == {"accuracy", "precision", "recall", "f1", "roc_auc", "pr_auc", "log_loss", "brier", "value"}
    assert min(found.values()) > 0.92, found
    assert max(share for name, share in found.items() if name != "pr_auc") < 0.98, found


def test_intervals_of_three_classes_hold_the_true_value() -> None:
    """The average area's interval is never too narrow; the others hold 95 of 100."""
    truth = values(THREE, three_classes(np.random.default_rng(2), 400_000))
    found = _coverage(THREE, three_classes, truth, 400, 400)
    assert min(found.values()) > 0.915, found


def test_intervals_of_numbers_hold_the_true_value() -> None:
    """MAE, RMSE, bias and R² of 300 rows; MAPE has heavy tails here and holds somewhat less."""
    truth = values(NUMBERS, numbers(np.random.default_rng(3), 1_000_000))
    found = _coverage(NUMBERS, numbers, truth, 300, 500)
    assert min(found[name] for name in ("mae", "rmse", "bias", "r2")) > 0.915, found
    assert found["mape"] > 0.8


def test_f1s_delta_method_agrees_with_the_multinomial_bootstrap() -> None:
    """1,000 draws of the four cells."""
    rng, rows = np.random.default_rng(4), two_classes(np.random.default_rng(5), 800)
    measure = TWO.measure(TWO.sums(rows))["f1"]
    cells = np.bincount(rows.truth * 2 + rows.answers, minlength=4)
    drawn = rng.multinomial(800, cells / 800, 1_000)
    wanted = np.quantile(2 * drawn[:, 3] / (2 * drawn[:, 3] + drawn[:, 1] + drawn[:, 2]), [0.025, 0.975])
    assert measure.interval == pytest.approx(wanted, abs=0.012)


def test_the_mean_squares_interval_is_students() -> None:
    """The root of scipy's interval of e²."""
    truth, answers, _ = rows = numbers(RNG, 80)
    squares = (answers - truth) ** 2
    wanted = np.sqrt(stats.t.interval(0.95, 79, squares.mean(), stats.sem(squares)))
    assert NUMBERS.measure(NUMBERS.sums(rows))["rmse"].interval == pytest.approx(wanted)


def test_average_precision_without_positives_is_unknown() -> None:
    """It is no number then, and neither is the area, precision or recall."""
    assert average_precision(np.zeros(4), np.ones(4)) is None
    found = TWO.measure(TWO.sums(Outcomes(np.zeros(60), np.zeros(60), np.full(60, 0.2))))
    assert {name for name, measure in found.items() if measure.value is None} == {
        "precision", "recall", "f1", "roc_auc", "pr_auc"}
    assert all(measure.reason for measure in found.values() if measure.value is None)
    assert found["accuracy"].value == 1.0 and found["roc_auc"].reason == "all rows are of one class"


@pytest.mark.parametrize("truth", [[], [np.nan] * 4, [3.0] * 4, [1e300, -1e300, 1e300, np.inf], [0.0, 1e-320, 0, 0]])
def test_odd_numbers_break_nothing(truth: list[float]) -> None:
    """Empty, missing, constant, huge, infinite and denormal truths give measures with reasons."""
    column = np.array(truth)
    found = NUMBERS.measure(NUMBERS.sums(Outcomes(column, np.full(len(column), 2.0))))
    assert all(isinstance(measure, Measure) and (measure.value is not None or measure.reason)
               for measure in found.values())
