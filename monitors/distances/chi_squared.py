"""Two-sample chi-squared statistic: the squared differences of the bins, each measured by its own noise."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from serinus.monitors.distances.distance import Floats
from serinus.monitors.distances.pearson import PearsonLike

__all__ = ["ChiSquared"]


class ChiSquared(PearsonLike):
    """Pearson's statistic of the table that has the reference's counts as one row and the window's as the other.

        X² = n·m · Σ (x/n − r/m)² / (x + r)          r of m rows, x of n rows; missing and unseen are bins too

    Without drift it is χ² distributed with (bins − 1) degrees of freedom. It counts the reference's own noise, as a
    test against fixed shares would not. It grows with the number of rows: it says how sure a change is, not how large.

    Example:
        10 and 20 of 30 against 20 and 10 of 30: all four cells expect 15 and are 5 off, so 4 · 25/15 = 6.667.

        >>> import numpy as np
        >>> reference, window = np.zeros((2, 1, 18), dtype=np.int64)
        >>> reference[0, :2], window[0, :2] = (10, 20), (20, 10)
        >>> measured = ChiSquared().measure(reference, window)
        >>> measured.values.round(3), measured.thresholds.round(3), measured.p_values.round(4)
        (array([6.667]), array([6.635]), array([0.0098]))

    Paper:
        K. Pearson, On the probability that two independent distributions of frequency are really samples from the same
        population, Biometrika 8 (1911).
    """

    name = "chi_squared"
    fewest = 5.0  # Cochran (1954)
    quadratic = True

    def values(self, reference: NDArray[Any], window: NDArray[Any], boundaries: Floats) -> Floats:
        """Give the statistics; see `Distance.values`."""
        m, n = (counts.sum(-1, keepdims=True).astype(np.float64) for counts in (reference, window))
        with np.errstate(invalid="ignore", divide="ignore"):
            terms = n * m * (window / n - reference / m) ** 2 / (window + reference)
        return np.asarray(np.where(window + reference > 0, terms, 0.0).sum(-1))

    def to_pearson(self, values: Floats, size: Floats) -> Floats:
        """It is Pearson's statistic."""
        return values

    def from_pearson(self, statistics: Floats, size: Floats) -> Floats:
        """The way back."""
        return statistics
