"""Population stability index: how many nats it costs to take the window for the reference, and back."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from serinus.monitors.distances.distance import Floats
from serinus.monitors.distances.pearson import PearsonLike

__all__ = ["PopulationStabilityIndex", "shares"]


class PopulationStabilityIndex(PearsonLike):
    """The symmetrised Kullback–Leibler divergence of the bins' shares, missing and unseen among them.

        PSI = Σ (q − p) · ln(q / p)            p, q: shares of reference and window

    An empty bin would make it infinite, so each side first gets one pseudo-row, spread like both together. Without
    drift, n·m/(n+m) · PSI is χ² distributed with (bins − 1) degrees of freedom; so the usual limits, 0.1 and 0.25, mean
    nothing for a small window, which exceeds them by chance.

    Example:
        Shares of ½ and ½ against ¼ and ¾: −¼·ln ½ + ¼·ln 1.5 = ¼·ln 3 = 0.2747.

        >>> import numpy as np
        >>> reference, window = np.zeros((2, 1, 18), dtype=np.int64)
        >>> reference[0, :2], window[0, :2] = (500_000, 500_000), (250_000, 750_000)
        >>> PopulationStabilityIndex().measure(reference, window).values.round(4)
        array([0.2747])

    Paper:
        B. Yurdakul, Statistical properties of population stability index, Western Michigan University (2018).
    """

    name = "psi"
    fewest = 30.0  # its tail is heavier than χ²'s while shares are uncertain
    quadratic = True

    def values(self, reference: NDArray[Any], window: NDArray[Any], boundaries: Floats) -> Floats:
        """Give the indices; see `Distance.values`."""
        p, q = shares(reference, window)
        with np.errstate(divide="ignore", invalid="ignore"):
            terms = (q - p) * np.log(q / p)
        return np.asarray(np.where(p > 0, terms, 0.0).sum(-1))

    def to_pearson(self, values: Floats, size: Floats) -> Floats:
        """Without drift the two differ by a factor; see the class."""
        return values * size

    def from_pearson(self, statistics: Floats, size: Floats) -> Floats:
        """The way back."""
        return statistics / size


def shares(reference: NDArray[Any], window: NDArray[Any]) -> tuple[Floats, Floats]:
    """Give the bins' shares on both sides after one pseudo-row each, so that none is zero where the other is not."""
    pooled = (reference + window).astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        pooled /= pooled.sum(-1, keepdims=True)
        p, q = ((counts + pooled) / (counts.sum(-1, keepdims=True) + 1.0) for counts in (reference, window))
    return p, q
