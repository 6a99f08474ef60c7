"""Signals: events that are rare in honest use."""

from math import exp, log

import numpy as np
import pytest

from serinus.monitors.security.signals import LOOKS, TOLD, Signal

SIGNAL = Signal("name", "meaning", "source", 0.2, 0.6)


def looks_until_told(share: float, most: int, seed: int) -> int | None:
    """After how many looks a client with this share of events is told of."""
    evidence = 0.0
    for at, happened in enumerate(np.random.default_rng(seed).random(most) < share):
        evidence = SIGNAL.add(evidence, bool(happened))
        if evidence >= TOLD:
            return at + 1
    return None


def test_evidence_is_the_product_of_likelihood_ratios_and_never_falls_below_one() -> None:
    """Two events and a miss, by hand; a long silence does not excuse what comes after it."""
    evidence = SIGNAL.add(SIGNAL.add(SIGNAL.add(0.0, True), True), False)
    assert exp(evidence) == pytest.approx(3 * 3 * 0.5)
    assert SIGNAL.add(-50.0, True) == pytest.approx(log(3))


def test_one_look_is_a_fair_bet_at_the_bound() -> None:
    """At the bound the expected factor is exactly 1, below it is smaller: that is what the promise rests on."""
    for share, expected in ((0.2, 1.0), (0.1, 0.75)):
        assert share * exp(SIGNAL.hit) + (1 - share) * exp(SIGNAL.miss) == pytest.approx(expected)


def test_honest_clients_are_not_told_of_and_others_soon_are() -> None:
    """At the bound nobody in 100 clients of 5,000 looks (at most one in two such tests); at 0.9, within 40 looks."""
    assert [looks_until_told(0.2, 5_000, seed) for seed in range(100)].count(None) >= 99
    assert max(looks_until_told(0.9, 100, seed) or LOOKS for seed in range(100)) <= 40


def test_a_population_where_the_event_is_common_raises_the_bound_or_silences_the_signal() -> None:
    """Twice the reference's share is allowed; an event that every fourth honest row shows cannot be a signal."""
    assert SIGNAL.bounded(0.05) == SIGNAL
    assert SIGNAL.bounded(0.15).bound == pytest.approx(0.3)
    assert SIGNAL.bounded(0.24).suspect == pytest.approx(0.74)
    assert SIGNAL.bounded(0.26) is None
