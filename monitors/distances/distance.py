"""The interface of this package: a distance says how far a window lies from the reference, feature by feature."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from serinus.monitors.features import VALUES

__all__ = ["Distance", "Floats", "Measured", "effective_rows", "value_counts"]

Counts = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Measured:
    """What a distance says of a window: three numbers for each feature, NaN where there is nothing to compare.

    Attributes:
        values: the distances, `[R]`.
        thresholds: what a window of this size exceeds with probability alpha although nothing has changed.
        p_values: the probability of such a value, or a larger one, when nothing has changed.
    """

    values: Floats
    thresholds: Floats
    p_values: Floats

    @property
    def drifted(self) -> NDArray[np.bool_]:
        """Which features lie beyond their threshold; a NaN does not."""
        with np.errstate(invalid="ignore"):
            return np.asarray(self.values > self.thresholds)


class Distance(Protocol):
    """How far a window lies from the reference, from counts alone. An implementation needs `name` and `values`.

    Attributes:
        name: the word it is chosen by.
        ordered: whether it needs the order of the values. Such a distance is for numeric features, and leaves the
            missing and the unseen out.
        quadratic: whether it grows with the square of a small difference (PSI does) or with the difference (KS).
    """

    name: str = ""
    ordered: bool = False
    quadratic: bool = False

    def values(self, reference: NDArray[Any], window: NDArray[Any], boundaries: Floats) -> Floats:
        """Give the distances `[…, R]` of counts `[…, R, 18]`.

        Args:
            reference: counts of the reference.
            window: counts of the window.
            boundaries: where the 16 value bins begin and end, `[R, 17]`, in the feature's own unit.
        """
        ...

    def measure(
        self,
        reference: Counts,
        window: Counts,
        *,
        alpha: float = 0.01,
        boundaries: Floats | None = None,
        dispersion: Floats | float = 1.0,
    ) -> Measured:
        """Give value, threshold and p-value of every feature; the thresholds fit both numbers of rows.

        The error rate is that of one feature: the caller corrects for their number.

        Args:
            reference: counts of the reference, `[R, 18]`.
            window: counts of the window, `[R, 18]`.
            alpha: the probability with which a window of an unchanged population exceeds its threshold.
            boundaries: see `values`; without it every bin is one wide.
            dispersion: by how much the reference's own windows vary more than independent rows would, each feature.
        """
        from serinus.monitors.distances.simulation import simulated

        return simulated(self, reference, window, alpha=alpha, boundaries=boundaries, dispersion=dispersion)


def value_counts(counts: NDArray[Any]) -> NDArray[Any]:
    """Leave the missing and the unseen out."""
    return counts[..., :VALUES]


def effective_rows(counts: NDArray[Any], dispersion: Floats | float, *, ordered: bool) -> Floats:
    """Tell how many independent rows the counts are worth, each feature."""
    counted = value_counts(counts) if ordered else counts
    return np.asarray(counted.sum(-1) / np.maximum(dispersion, 1.0), dtype=np.float64)
