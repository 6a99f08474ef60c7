"""Estimated performance: right where only rows change, covered as promised, withdrawn where it is wrong."""

from __future__ import annotations

import json

import numpy as np
import pytest
from sklearn import metrics as sk

from serinus.monitors.errors import InvalidData
from serinus.monitors.estimation import (
    COHORTS,
    METRICS,
    Comparison,
    Estimator,
    fit_estimator,
    standing,
    standings,
)
from serinus.monitors.intervals import Interval
from serinus.monitors.metrics import Measure


def drawn(seed: int, rows: int, shift: float = 0.0, changed: float = 0.0) -> tuple[np.ndarray, ...]:
    """Scores that are too sure of themselves; `shift` moves the rows, `changed` what a score is worth."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(shift, 1.5, rows)
    truth = (rng.random(rows) < 1 / (1 + np.exp(-0.7 * logits + 0.2 - changed))).astype(int)
    scores = 1 / (1 + np.exp(-logits))
    return scores, (scores >= 0.5).astype(int), truth


def realised(scores: np.ndarray, answers: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    return {"accuracy": sk.accuracy_score(truth, answers), "precision": sk.precision_score(truth, answers),
            "recall": sk.recall_score(truth, answers), "f1": sk.f1_score(truth, answers),
            "roc_auc": sk.roc_auc_score(truth, scores)}


FITTED = fit_estimator(*drawn(0, 20_000), labels=2)


def estimate(rows: tuple[np.ndarray, ...], fitted: Estimator = FITTED) -> dict[str, Measure]:
    return fitted.estimate(fitted.sums(*rows[:2]))


@pytest.mark.parametrize("shift", [-1.0, 0.0, 1.5])
def test_other_rows_of_the_same_world_are_estimated_well(shift: float) -> None:
    """Input shift alone: each metric within one point of what it is, without a label."""
    rows = drawn(1, 60_000, shift)
    wanted = realised(*rows)
    found = estimate(rows)
    assert {name: measure.value for name, measure in found.items()} == pytest.approx(wanted, abs=0.015)
    assert set(found) == set(METRICS)


def test_the_realised_value_lies_in_the_interval_as_often_as_it_says() -> None:
    """100 cohorts of 500 rows, shifted each by its own amount; references of 2,000 rows, so calibration counts."""
    held = dict.fromkeys(METRICS, 0)
    for reference in range(5):
        fitted = fit_estimator(*drawn(100 + reference, 2_000), labels=2)
        for cohort in range(20):
            rows = drawn(1_000 + 20 * reference + cohort, 500, (cohort - 10) / 10)
            wanted = realised(*rows)
            for name, measure in estimate(rows, fitted).items():
                held[name] += measure.interval is not None and measure.interval.holds(wanted[name])
    assert all(count >= 90 for count in held.values()), held


def test_expectations_are_the_definitions() -> None:
    """By hand, from calibrated probabilities of single rows."""
    scores, answers, _ = rows = drawn(2, 3_000)
    worth = FITTED.calibrators[0](scores)
    found = {name: measure.value for name, measure in estimate(rows).items()}
    said = answers == 1
    assert found["accuracy"] == pytest.approx(np.where(said, worth, 1 - worth).mean(), abs=1e-6)
    assert found["precision"] == pytest.approx(worth[said].mean(), abs=1e-6)
    assert found["recall"] == pytest.approx(worth[said].sum() / worth.sum(), abs=1e-6)
    assert found["f1"] == pytest.approx(2 * worth[said].sum() / (worth.sum() + said.sum()), abs=1e-6)
    order = scores[:, None] > scores[None, :]
    assert found["roc_auc"] == pytest.approx(
        (worth @ order @ (1 - worth) + 0.5 * (worth * (1 - worth)).sum()) / (worth.sum() * (1 - worth).sum()), abs=2e-4)


def test_three_classes_are_averaged() -> None:
    """Accuracy of the confusion table's expectation, areas one class against the rest."""
    rng = np.random.default_rng(3)

    def rows(count: int, weights: list[float]) -> tuple[np.ndarray, ...]:
        scores = rng.dirichlet(weights, count)
        sharp = scores**0.6 / (scores**0.6).sum(1, keepdims=True)
        truth = (rng.random(count)[:, None] > sharp.cumsum(1)).sum(1)
        return scores, scores.argmax(1), np.minimum(truth, 2)

    fitted = fit_estimator(*rows(8_000, [1.0, 1.0, 1.0]), labels=3)
    scores, answers, truth = rows(20_000, [2.0, 0.7, 1.0])
    found = {name: measure.value for name, measure in fitted.estimate(fitted.sums(scores, answers)).items()}
    assert found["accuracy"] == pytest.approx(sk.accuracy_score(truth, answers), abs=0.015)
    assert found["f1"] == pytest.approx(sk.f1_score(truth, answers, average="macro"), abs=0.02)
    assert found["roc_auc"] == pytest.approx(sk.roc_auc_score(truth, scores, multi_class="ovr"), abs=0.015)


def test_sums_of_parts_are_the_sums_of_the_whole() -> None:
    """Two workers' rows, added, give the identical estimate; a score that is no number counts nowhere."""
    scores, answers, _ = drawn(4, 400)
    parts = FITTED.sums(scores[:150], answers[:150]) + FITTED.sums(scores[150:], answers[150:])
    assert parts == FITTED.sums(scores, answers)
    broken = FITTED.sums(np.append(scores, np.nan), np.append(answers, 1))
    assert broken == parts and FITTED.estimate(FITTED.sums(np.array([np.nan]), np.array([1]))) == {}


def test_it_travels_as_json() -> None:
    """And estimates the same afterwards; half of a document is refused."""
    document = json.loads(json.dumps(FITTED.to_json()))
    rows = drawn(5, 300)
    ours, theirs = estimate(rows), estimate(rows, Estimator.from_json(document))
    assert {name: one.value for name, one in ours.items()} == {name: one.value for name, one in theirs.items()}
    assert [one.interval for one in theirs.values()] == [pytest.approx(one.interval, abs=1e-6) for one in ours.values()]
    document.pop("edges")
    with pytest.raises(InvalidData, match="fit it again"):
        Estimator.from_json(document)


def test_a_reference_that_wanders_widens_the_interval() -> None:
    """Where what a score is worth differs from block to block, the interval says so."""
    blocks = [drawn(10 + block, 2_000, changed=0.5 * (-1) ** block) for block in range(10)]
    restless = fit_estimator(*(np.concatenate(column) for column in zip(*blocks, strict=True)), labels=2)
    rows = drawn(6, 2_000)
    assert restless.wander["precision"] > 0.05 > 0.02 > FITTED.wander["precision"]
    wide, narrow = estimate(rows, restless)["precision"].interval, estimate(rows)["precision"].interval
    assert wide is not None and narrow is not None and wide.high - wide.low > 2 * (narrow.high - narrow.low)


def cohorts(count: int, changed: float) -> list[Comparison]:
    found = []
    for seed in range(count):
        rows = drawn(50 + seed, 1_000, changed=changed)
        found.append(Comparison(f"2026-{seed + 1:02}", estimate(rows)["precision"], realised(*rows)["precision"]))
    return found


def test_estimates_that_were_wrong_are_withdrawn() -> None:
    """The world changed, which no score shows: after five cohorts nobody is told these numbers any more."""
    assert not standing(cohorts(COHORTS - 1, 1.5)).withdrawn
    found = standing(cohorts(COHORTS, 1.5))
    assert found.withdrawn and found.coverage == 0.0 and found.error is not None and found.error > 0.05
    assert found.reason == "The intervals of 5 cohorts held the realised value in 0%, at least 80% are wanted."


def test_estimates_that_were_right_are_kept() -> None:
    """Twelve honest cohorts: coverage, error and bias are told."""
    found = standing(cohorts(12, 0.0), novel_share=0.02)
    assert not found.withdrawn and found.cohorts == 12
    assert found.coverage is not None and found.coverage >= 0.8
    assert found.error is not None and found.bias is not None and abs(found.bias) <= found.error < 0.03


def test_one_metric_that_was_wrong_withdraws_all() -> None:
    """They come of the same calibration; each keeps its own coverage, and the reason names the one that was wrong."""
    found = standings({"roc_auc": cohorts(6, 0.0), "precision": cohorts(6, 1.5)})
    assert found["roc_auc"].withdrawn and found["roc_auc"].reason.startswith("precision: The intervals of 6 cohorts")
    assert found["roc_auc"].coverage is not None and found["roc_auc"].coverage >= 0.8
    assert not any(one.withdrawn for one in standings({"a": cohorts(6, 0.0)}).values())


def test_novel_rows_withdraw_at_once() -> None:
    """Outside of the reference nothing can be estimated, with or without cohorts."""
    assert standing([], novel_share=0.4).reason.startswith("40% of the rows are unlike the reference")
    assert standing([]) == (False, "", 0, None, None, None)
    unknown = Comparison("w", Measure(None, None, 0, "nothing"), 0.5)
    assert standing([unknown] * 9).cohorts == 0


@pytest.mark.parametrize(("rows", "share"), [(100, 0.5), (500, 0.0), (500, 1.0)])
def test_a_reference_without_enough_truth_is_refused(rows: int, share: float) -> None:
    """Too few rows, or one class alone."""
    truth = (np.arange(rows) < share * rows).astype(int)
    with pytest.raises(InvalidData):
        fit_estimator(np.linspace(0, 1, rows), truth, truth, labels=2)


def test_constant_and_extreme_scores_are_ordinary() -> None:
    """A model that always says the same, and scores beyond [0, 1]."""
    truth = np.arange(600) % 3 == 0
    fitted = fit_estimator(np.full(600, 0.4), np.zeros(600, int), truth.astype(int), labels=2)
    found = fitted.estimate(fitted.sums(np.array([0.4, 1e300, -1e300, 0.4]), np.zeros(4, int)))
    assert found["accuracy"].value == pytest.approx(2 / 3, abs=1e-6)
    assert found["precision"].value is None and found["precision"].reason
    assert found["roc_auc"].value == pytest.approx(0.5)
    assert found["accuracy"].interval is not None and isinstance(found["accuracy"].interval, Interval)
