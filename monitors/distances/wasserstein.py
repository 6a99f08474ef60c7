"""Wasserstein distance: how far, on average, values must be moved to turn one sample into the other."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from serinus.monitors.distances.distance import Distance, Floats
from serinus.monitors.distances.kolmogorov_smirnov import cumulative

__all__ = ["Wasserstein"]


class Wasserstein(Distance):
    """The area between two cumulative distributions, in the feature's own unit (years, euros).

        W = ∫ |F(x) − G(x)| dx            F, G: cumulative shares, straight lines within a bin

    Values are taken to lie evenly in their bin. The distance has no null distribution that fits all features, so its
    threshold is simulated. Missing and unseen values have no place on the axis and are left out.

    Example:
        All values between 0 and 1 against all between 2 and 3: each moves by 2.

        >>> import numpy as np
        >>> reference, window = np.zeros((2, 1, 18), dtype=np.int64)
        >>> reference[0, 0], window[0, 2] = 500, 500
        >>> Wasserstein().measure(reference, window).values
        array([2.])

    Paper:
        L. N. Vaserstein, Markov processes over denumerable products of spaces, describing large systems of automata,
        Problems of Information Transmission 5 (1969).
    """

    name = "wasserstein"
    ordered = True

    def values(self, reference: NDArray[Any], window: NDArray[Any], boundaries: Floats) -> Floats:
        """Give the distances; see `Distance.values`."""
        gap = cumulative(reference) - cumulative(window)
        left = np.concatenate([np.zeros_like(gap[..., :1]), gap[..., :-1]], axis=-1)
        return np.asarray((np.diff(boundaries) * _mean_size(left, gap)).sum(-1))


def _mean_size(left: Floats, right: Floats) -> Floats:
    """Give the mean of |y| on the straight line from `left` to `right`, which may cross zero."""
    size = np.abs(left) + np.abs(right)
    with np.errstate(invalid="ignore", divide="ignore"):
        crossing = np.where(size > 0, (left**2 + right**2) / size, 0.0)
    return np.where(left * right < 0, crossing, size) / 2
