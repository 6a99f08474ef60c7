"""Sample-ratio mismatch: the Bayes factor against scipy, its expectation and its power."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import binom, dirichlet_multinomial, multinomial

from serinus.monitors.sequential.sample_ratio import log_bayes_factor


@pytest.mark.parametrize(("counts", "shares"), [((50, 50), (0.5, 0.5)), ((9, 991), (0.01, 0.99)),
                                                 ((30, 20, 50), (0.25, 0.25, 0.5))])
def test_it_is_the_ratio_of_two_likelihoods(counts: tuple[int, ...], shares: tuple[float, ...]) -> None:
    """Dirichlet-multinomial around the shares to multinomial at the shares."""
    theirs = (dirichlet_multinomial.logpmf(counts, 100 * np.array(shares), sum(counts))
              - multinomial.logpmf(counts, sum(counts), shares))
    assert log_bayes_factor(counts, shares) == pytest.approx(theirs)


def test_it_is_one_on_average_when_assignment_is_right() -> None:
    """Exactly, over all outcomes of 200 units at 10 %."""
    units = np.arange(201)
    evidence = [math.exp(log_bayes_factor((int(n), int(200 - n)), (0.1, 0.9))) for n in units]
    assert (binom.pmf(units, 200, 0.1) * evidence).sum() == pytest.approx(1.0)


def test_a_router_that_gives_twelve_instead_of_ten_percent_is_found() -> None:
    """With 20,000 units, beyond doubt."""
    assert log_bayes_factor((2_400, 17_600), (0.1, 0.9)) > math.log(1_000)
    assert log_bayes_factor((2_010, 17_990), (0.1, 0.9)) < 0


@pytest.mark.parametrize("shares", [(0.5, 0.4), (1.0, 0.0), (1.0,)])
def test_impossible_shares_are_refused(shares: tuple[float, ...]) -> None:
    """They have to be probabilities of as many arms as were counted."""
    with pytest.raises(ValueError, match="add up to 1"):
        log_bayes_factor((1, 1), shares)
