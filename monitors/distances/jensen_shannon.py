"""Jensen–Shannon distance: how well one could tell, row by row, which of two samples a value comes from."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serinus.monitors.distances.distance import Floats
from serinus.monitors.distances.pearson import PearsonLike

__all__ = ["JensenShannon"]


class JensenShannon(PearsonLike):
    """The root of the Jensen–Shannon divergence in bits: 0 for equal shares, 1 for samples without a common bin.

        JS = √( ½ Σ p·log₂(p / c) + ½ Σ q·log₂(q / c) ),  c = (p + q) / 2        missing and unseen are bins too

    It is a metric, and never infinite. Without drift, 8·ln 2 · n·m/(n+m) · JS² is close to Pearson's statistic, and so
    χ² distributed with (bins − 1) degrees of freedom.

    Example:
        All in one bin against half in each of two: c = (¾, ¼), so JS² = ½·log₂(4/3) + ½·(½·log₂(2/3) + ½·log₂ 2)
        = 0.3113 and JS = 0.5579.

        >>> import numpy as np
        >>> reference, window = np.zeros((2, 1, 18), dtype=np.int64)
        >>> reference[0, 0], window[0, :2] = 1_000, (500, 500)
        >>> JensenShannon().measure(reference, window).values.round(4)
        array([0.5579])

    Papers:
        J. Lin, Divergence measures based on the Shannon entropy, IEEE Transactions on Information Theory 37 (1991).
        D. M. Endres and J. E. Schindelin, A new metric for probability distributions, same journal 49 (2003).
    """

    name = "jensen_shannon"
    fewest = 15.0

    def values(self, reference: NDArray[Any], window: NDArray[Any], boundaries: Floats) -> Floats:
        """Give the distances; see `Distance.values`."""
        with np.errstate(invalid="ignore", divide="ignore"):
            p, q = (counts / counts.sum(-1, keepdims=True) for counts in (reference, window))
        middle = (p + q) / 2
        divergence = (_nats(p, middle) + _nats(q, middle)) / 2
        return np.asarray(np.sqrt(np.maximum(divergence, 0.0) / math.log(2)))

    def to_pearson(self, values: Floats, size: Floats) -> Floats:
        """Without drift a multiple of the square; see the class."""
        return 8 * math.log(2) * size * values**2

    def from_pearson(self, statistics: Floats, size: Floats) -> Floats:
        """The way back."""
        return np.asarray(np.sqrt(statistics / (8 * math.log(2) * size)))


def _nats(shares: Floats, middle: Floats) -> Floats:
    with np.errstate(invalid="ignore", divide="ignore"):
        terms = shares * np.log(shares / middle)
    return np.asarray(np.where(shares > 0, terms, 0.0).sum(-1))
