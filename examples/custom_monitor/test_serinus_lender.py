"""The plug-in keeps Serinus's contracts, and Serinus finds it."""

import numpy as np
from serinus_lender import ApprovalRate, ApprovedAmount, Hellinger

from serinus.monitors import PredictionRecord
from serinus.monitors.distances import distance_named
from serinus.monitors.plugins import installed_monitors
from serinus.monitors.testing import check_distance, check_monitor


def record(seed, share=0.5, factor=1.0):
    """A request for five loans."""
    generator = np.random.default_rng(seed)
    inputs = {"amount": factor * generator.uniform(1_000, 50_000, 5)}
    outputs = {"predict": (generator.random(5) < share).astype(np.int64)}
    return PredictionRecord(bytes(16), "request", 0, 0, "loans", "1", "stable", 5, inputs, outputs, 0, 0, 0)


USUAL = [record(seed) for seed in range(80)]


def test_the_approved_amount_keeps_the_contract():
    """Every rule applies and holds; twice the amounts are heard."""
    coverage = check_monitor(ApprovedAmount(), USUAL, [record(seed, factor=2.0) for seed in range(80)])
    assert coverage.left_out == {}


def test_the_approval_rate_keeps_the_contract():
    """It learns nothing, so nothing is said about its reference; a model that approves everything is heard."""
    coverage = check_monitor(ApprovalRate(), USUAL, [record(seed, share=1.0) for seed in range(80)])
    assert coverage.left_out == {"quiet": "it learns no reference"}


def test_hellinger_keeps_the_contract():
    """Its thresholds come from simulation, and keep the stated error rate."""
    assert check_distance(Hellinger()).left_out == {}


def test_they_are_found_by_their_entry_points():
    """Once the package is installed."""
    assert {"approved_amount", "approval_rate"} <= {monitor.name for monitor in installed_monitors()}
    assert type(distance_named("hellinger")) is Hellinger
