"""The histogram's quantiles are near the exact ones, for numbers of any size and sign."""

from __future__ import annotations

from math import inf, nan

import numpy as np
import pytest

from serinus.serving.shadow.histogram import Histogram


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_quantiles_are_within_thirteen_percent(scale: float) -> None:
    """Of 20,000 numbers of both signs, at seven places."""
    values = np.random.default_rng(3).lognormal(0, 2, 20_000) * scale
    values[::3] *= -1
    found = Histogram()
    for value in values.tolist():
        found.add(value)
    for share in (0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99):
        quantile = found.quantile(share)
        assert quantile == pytest.approx(float(np.quantile(values, share)), rel=0.135)
    assert found.mean == pytest.approx(values.mean())
    again = Histogram(found.counts.items(), found.total)
    assert (again.number, again.quantile(0.5)) == (20_000, found.quantile(0.5))


def test_nothing_infinite_and_huge_are_no_trouble() -> None:
    """What is not finite is left out; 1e300 has a bucket; nothing has no mean."""
    found = Histogram()
    assert (found.mean, found.quantile(0.5)) == (None, None)
    for value in (inf, -inf, nan, 0.0, 1e300, -1e300):
        found.add(value)
    assert (found.number, found.quantile(0.5)) == (3, 0.0)
