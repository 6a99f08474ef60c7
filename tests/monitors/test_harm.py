"""The harm alarm: no more false alarms than stated, and soon after answers get worse."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from serinus.monitors.errors import InvalidData
from serinus.monitors.harm import LEVELS, HarmAlarm, HarmEvidence, loss_counts, losses_of, promised_loss
from serinus.monitors.performance import Definition, Outcomes
from serinus.monitors.sequential.e_detector import STAKES


def zero_one(wrong: int, rows: int) -> np.ndarray:
    return loss_counts(np.repeat([1.0, 0.0], [wrong, rows - wrong]))


def first_alarm(alarm: HarmAlarm, rng: np.random.Generator, rate: float, limit: int, step: int = 20) -> int:
    evidence = alarm.start()
    for rows in range(step, limit + 1, step):
        evidence = alarm.step(evidence, zero_one(int(rng.binomial(step, rate)), step))
        if alarm.alarms(evidence):
            return rows
    return limit


def test_the_evidence_is_the_product_of_its_rows() -> None:
    """By hand over two steps: M ← (M + n)·Π (1 + λ(ℓ − ℓ₀ − tolerance)), averaged over the stakes."""
    alarm = HarmAlarm(0.1, 0.05)
    evidence = alarm.step(alarm.step(alarm.start(), zero_one(3, 10)), zero_one(1, 4))
    stakes = np.array(STAKES) / 0.15
    factors = [(1 + stakes * 0.85) ** wrong * (1 - stakes * 0.15) ** right for wrong, right in ((3, 7), (1, 3))]
    wanted = (10 * factors[0] + 4) * factors[1]
    assert alarm.log_mean(evidence) == pytest.approx(math.log(wanted.mean()))
    assert evidence.rows == 14


def test_false_alarms_are_as_rare_as_stated() -> None:
    """At the very edge of what is promised, a run length of 2,000 rows: the mean time is longer."""
    alarm = HarmAlarm(0.1, 0.02, run_length=2_000)
    rng = np.random.default_rng(0)
    times = [first_alarm(alarm, rng, 0.12, 6_000, 50) for _ in range(120)]
    assert np.mean(times) > 2_000


def test_no_stake_gains_where_the_promise_is_kept() -> None:
    """The supermartingale, exactly: for any law of losses with this mean, a row's factor is 1 at most."""
    alarm, rng = HarmAlarm(0.3, 0.1), np.random.default_rng(1)
    for _ in range(200):
        law = rng.dirichlet(np.full(LEVELS, 0.05))
        levels = np.arange(LEVELS) / (LEVELS - 1)
        if law @ levels <= 0.4:
            one = np.array([alarm.step(alarm.start(), np.eye(LEVELS, dtype=int)[k]).logs for k in range(LEVELS)])
            assert (law @ np.exp(one)).max() <= 1 + 1e-12


def test_harm_is_seen_soon() -> None:
    """10 % promised, 16 % wrong: half of the alarms come within 1,500 labels at a run length of a million."""
    alarm, rng = HarmAlarm(0.1, 0.01), np.random.default_rng(2)
    assert np.median([first_alarm(alarm, rng, 0.16, 6_000) for _ in range(30)]) < 1_500


def test_it_says_since_when() -> None:
    """After 5,000 good rows and 600 bad ones the strongest stake has grown for about 600."""
    alarm, rng = HarmAlarm(0.1, 0.01), np.random.default_rng(3)
    evidence = alarm.start()
    for rate, steps in ((0.1, 250), (0.3, 30)):
        for _ in range(steps):
            evidence = alarm.step(evidence, zero_one(int(rng.binomial(20, rate)), 20))
    assert alarm.alarms(evidence) and alarm.meter(evidence) == 1.0
    assert 400 <= alarm.since(evidence) <= 900
    assert alarm.meter(alarm.start()) == 0.0 and alarm.step(evidence, np.zeros(LEVELS, int)) is evidence


def test_evidence_survives_as_json() -> None:
    """Bit for bit, from the first row on; evidence of other stakes is refused."""
    alarm = HarmAlarm(0.1)
    for evidence in (alarm.start(), alarm.step(alarm.start(), zero_one(3, 30))):
        back = HarmEvidence.from_json(json.loads(json.dumps(evidence.to_json())))
        assert (back.logs.tolist(), back.rows, back.age.tolist()) == (
            evidence.logs.tolist(), evidence.rows, evidence.age.tolist())
    with pytest.raises(InvalidData, match="6 stakes, got 1"):
        HarmEvidence.from_json({"logs": [0.0], "rows": 1, "age": [1]})


def test_honest_rows_leave_the_meter_low() -> None:
    """Below the promise it stays at the bottom."""
    alarm, rng = HarmAlarm(0.1, 0.02), np.random.default_rng(4)
    evidence = alarm.start()
    for _ in range(500):
        evidence = alarm.step(evidence, zero_one(int(rng.binomial(20, 0.09)), 20))
    assert alarm.meter(evidence) < 0.3


def test_the_promise_is_an_upper_bound() -> None:
    """Of 400 registrations with 300 rows each, no more than one in a hundred promises too little; and it narrows."""
    rng = np.random.default_rng(5)
    missed = sum(promised_loss(rng.beta(1, 9, 300)) < 0.1 for _ in range(400))
    assert missed <= 4
    assert promised_loss(rng.beta(1, 9, 100_000)) == pytest.approx(0.1, abs=0.003)


def test_losses_are_counted_rounded_down() -> None:
    """Never more than they are; beyond the ends they are cut, and what is no number is left."""
    counts = loss_counts(np.array([0.0, 1.0, 0.5, 7.0, -1.0, np.nan, 1 / 255]))
    assert (counts[0], counts[255], counts[127], counts[1], counts.sum()) == (2, 2, 1, 1, 6)


def test_losses_of_classes_and_numbers() -> None:
    """Wrong answers and unknown labels cost 1; a number costs its error in parts of the scale."""
    two = Definition("classification", ("no", "yes"))
    rows = Outcomes(np.array(["yes", "no", "odd", None], object), np.array(["yes", "yes", "odd", "no"], object))
    assert losses_of(two, rows).tolist()[:3] == [0.0, 1.0, 1.0] and np.isnan(losses_of(two, rows)[3])
    numbers = Outcomes(np.array([1.0, 2.0, np.nan]), np.array([1.5, 9.0, 1.0]))
    assert losses_of(Definition("regression"), numbers, scale=2.0).tolist()[:2] == [0.25, 1.0]


@pytest.mark.parametrize(("promised", "tolerance"), [(1.0, 0.0), (-0.1, 0.0), (0.5, 0.5), (0.5, -0.1)])
def test_a_promise_that_cannot_be_broken_is_refused(promised: float, tolerance: float) -> None:
    """There would be nothing to watch."""
    with pytest.raises(InvalidData, match="add up to less than 1"):
        HarmAlarm(promised, tolerance)


def test_a_perfect_model_may_be_watched() -> None:
    """A promise of 0: a handful of errors is enough."""
    alarm = HarmAlarm(0.0, 0.0)
    evidence = alarm.step(alarm.start(), zero_one(5, 5))
    assert alarm.alarms(evidence)
