"""Business metrics: a mean within the limits that the reference's own windows set, or an alarm."""

import math

import numpy as np
import pytest
from scipy import stats

from tests.monitors.approved_amount import ApprovedAmount
from tests.monitors.records import record

METRIC = ApprovedAmount()


def window(values):
    values = np.asarray(values, dtype=float)
    return {"rows": float(METRIC.window), "count": float(len(values)), "total": values.sum(),
            "squares": values @ values}


def drawn(mean, seed, sd=10.0, rows=200):
    return window(np.random.default_rng(seed).normal(mean, sd, rows))


REFERENCE = [drawn(100.0, seed) for seed in range(12)]


def test_it_sums_what_counts():
    """Number, sum and sum of squares of the approved amounts; what is not finite is left out."""
    outputs = {"approve": np.array([1, 0, 1, 1])}
    inputs = {"amount": np.array([3.0, 100.0, 5.0, math.inf])}
    assert METRIC.observe(record(inputs=inputs, outputs=outputs)) == {"count": 2, "total": 8.0, "squares": 34.0}


def test_the_limits_are_those_of_a_prediction_interval():
    """Student's t for one further window, at window / run_length on both sides together."""
    facts = METRIC.finding(drawn(100.0, 99), REFERENCE).facts
    means = [sums["total"] / sums["count"] for sums in REFERENCE]
    reach = stats.t.isf(400 / 1_000_000 / 2, 11) * np.std(means, ddof=1) * math.sqrt(1 + 1 / 12)
    assert (facts["low"], facts["high"]) == pytest.approx((np.mean(means) - reach, np.mean(means) + reach))


@pytest.mark.parametrize(("mean", "active"), [(100.0, False), (120.0, True), (80.0, True)])
def test_too_high_and_too_low_are_alarms(mean, active):
    """Two-sided, with the numbers in one sentence."""
    finding = METRIC.finding(drawn(mean, 7), REFERENCE)
    assert finding.active is active
    assert finding.text.startswith("approved_amount: the mean is ") and "euros, expected " in finding.text


def test_the_alarm_has_the_stated_rate():
    """With a run length of twenty windows about one window in twenty raises an alarm."""

    class Frequent(ApprovedAmount):
        run_length = 20 * ApprovedAmount.window

    alarms = [Frequent().finding(drawn(100.0, 50 + 13 * trial), [drawn(100.0, 51 + 13 * trial + k) for k in range(12)])
              for trial in range(600)]
    assert 0.02 < np.mean([alarm.active for alarm in alarms]) < 0.08


def test_a_tolerance_keeps_small_changes_quiet():
    """A change that is sure but smaller than the owner cares for raises nothing."""

    class Patient(ApprovedAmount):
        tolerance = 0.25

    assert METRIC.finding(drawn(120.0, 3), REFERENCE).active
    assert not Patient().finding(drawn(120.0, 3), REFERENCE).active


def test_limits_of_values_keep_one_wild_value_harmless():
    """A value beyond `high` counts as `high`."""

    class Bounded(ApprovedAmount):
        high = 20_000.0

    wild = record(inputs={"amount": np.array([1e300, 1.0])}, outputs={"approve": np.array([1, 1])})
    assert Bounded().observe(wild)["total"] == 20_001.0
    assert math.isfinite(METRIC.observe(wild)["squares"])


def test_values_that_stop_coming_are_an_alarm():
    """A window without any value, where each window of the reference had two hundred."""
    finding = METRIC.finding(window([]), REFERENCE)
    assert finding.active and "none of 400 rows has a value; in the reference at least 200 had" in finding.text


def test_rare_values_may_be_absent():
    """Where the reference had one value in a window, none in the next is nothing to be told."""
    assert not METRIC.finding(window([]), [window([5.0]), window([6.0]), window([])]).active


def test_a_reference_without_values_says_so():
    """Unknown is told as such, and is no alarm."""
    finding = METRIC.finding(drawn(100.0, 1), [window([])] * 12)
    assert not finding.active and "too few values to know what is normal (0 of 12 have any)" in finding.text
