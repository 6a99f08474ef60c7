"""Estimates keep what RESULTS_ESTIMATION.md says of them; the data are fetched by pip into the user's cache."""

from __future__ import annotations

import pytest

from serinus.monitors.estimation import standing, standings
from tests.statistics.estimation import METRICS, SOURCES, try_classification, try_regression

pytestmark = pytest.mark.slow

NANNYML = {
    "synthetic_car_loan": (0.002115, 0.003112, 0.002575),
    "employment_MA": (0.004038, 0.005135, 0.006563),
    "synthetic_sample": (0.002115, 0.003490, 0.004003),
    "california_housing": (0.041445, 0.150738, 0.042588),
}
"""Mean absolute errors of NannyML 0.13.1 (`nannyml_estimates.py`): area, accuracy, F1."""


@pytest.mark.parametrize("name", SOURCES)
def test_estimates_are_no_worse_than_nannymls(name: str) -> None:
    """On each of the four sets, for each of the three metrics, to the digits that its errors are written down with."""
    found = try_classification(name)
    for metric, theirs in zip(METRICS, NANNYML[name], strict=True):
        error = standing(found[metric]).error
        assert error is not None and error <= theirs + 1e-6


@pytest.mark.parametrize("name", [name for name, source in SOURCES.items() if source.valid])
def test_intervals_hold_where_the_assumption_does(name: str) -> None:
    """At least nine of ten, and nothing is withdrawn."""
    for comparisons in try_classification(name).values():
        judged = standing(comparisons)
        assert judged.coverage is not None and judged.coverage >= 0.9 and not judged.withdrawn


def test_california_is_withdrawn() -> None:
    """Rows that the reference does not have: what is estimated is wrong, and all of it is taken back."""
    assert all(judged.withdrawn for judged in standings(try_classification("california_housing")).values())


def test_errors_of_car_prices_are_estimated() -> None:
    """MAE and RMSE within 15 of some 800 to 1,000, nine of ten intervals right."""
    for comparisons in try_regression().values():
        judged = standing(comparisons)
        assert judged.error is not None and judged.error < 15 and judged.coverage is not None and judged.coverage >= 0.9
