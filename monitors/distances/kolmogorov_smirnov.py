"""Kolmogorov–Smirnov distance: the largest gap between two cumulative distributions."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from serinus.monitors.distances.distance import Distance, Floats, value_counts

__all__ = ["KolmogorovSmirnov"]


class KolmogorovSmirnov(Distance):
    """The largest difference of the shares of values up to a bin's end, over all bins; from 0 to 1.

        KS = max |F(b) − G(b)|            F, G: cumulative shares of reference and window

    Kolmogorov's table is for continuous values; at the ends of 16 bins the gap is a little smaller, so the table would
    promise more errors than it makes. The threshold is simulated on the bins instead. Missing and unseen values have no
    place in an order and are left out.

    Example:
        Shares of ½, ½ against ¼, ¾: the gap behind the first bin is ¼.

        >>> import numpy as np
        >>> reference, window = np.zeros((2, 1, 18), dtype=np.int64)
        >>> reference[0, :2], window[0, :2] = (500, 500), (250, 750)
        >>> KolmogorovSmirnov().measure(reference, window).values
        array([0.25])

    Paper:
        N. V. Smirnov, Table for estimating the goodness of fit of empirical distributions, Annals of Mathematical
        Statistics 19 (1948).
    """

    name = "kolmogorov_smirnov"
    ordered = True

    def values(self, reference: NDArray[Any], window: NDArray[Any], boundaries: Floats) -> Floats:
        """Give the distances; see `Distance.values`."""
        return np.asarray(np.abs(cumulative(reference) - cumulative(window)).max(-1))


def cumulative(counts: NDArray[Any]) -> Floats:
    """Give the shares of values up to the end of each of the 16 bins."""
    summed = value_counts(counts).cumsum(-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(summed / summed[..., -1:])
