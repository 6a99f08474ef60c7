"""Intervals: where the true value may lie, given what was counted. Closed forms; nothing is drawn.

| of | method | source |
|---|---|---|
| a proportion | Wilson's score interval | Wilson 1927 |
| a difference of proportions | Newcombe's hybrid of two score intervals | Newcombe 1998, method 10 of both papers |
| a difference of means of proportions | the same, by MOVER | Zou & Donner 2008 |
| a mean | Student's t on n, Σx, Σx² | Gosset 1908 |
| an area under a ROC curve | DeLong's variance of counts per score bin, on the logit scale | DeLong et al. 1988 |
| the same, from the area alone | Hanley and McNeil's variance | Hanley & McNeil 1982 |

Where nothing can be said (no rows, one row, infinite sums) the answer is `None`, never a narrow interval.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from serinus.monitors.windows import wilson

__all__ = [
    "LEVEL",
    "Area",
    "Interval",
    "area_under_curve",
    "around",
    "hanley_mcneil",
    "macro_difference",
    "macro_mean",
    "mean",
    "normal_quantile",
    "paired_difference",
    "proportion",
    "proportion_difference",
    "within_unit",
]

Array = NDArray[Any]

LEVEL = 0.95
"""How often an interval holds the true value, where nobody says otherwise."""


class Interval(NamedTuple):
    """Where a value may lie, both ends included."""

    low: float
    high: float

    def holds(self, value: float) -> bool:
        """Tell whether a value lies inside."""
        return self.low <= value <= self.high


def normal_quantile(level: float = LEVEL) -> float:
    """How many standard deviations a two-sided interval of this level reaches: 1.96 at 0.95."""
    return NormalDist().inv_cdf((1 + level) / 2)


def proportion(events: float, units: float, level: float = LEVEL) -> Interval | None:
    """Wilson's interval of the probability of an event, seen `events` times in `units`.

    Example:
        >>> [round(end, 4) for end in proportion(0, 10)]
        [0.0, 0.2775]
    """
    return Interval(*wilson(events, units, normal_quantile(level))) if units > 0 else None


def proportion_difference(
    events: float, units: float, other_events: float, other_units: float, level: float = LEVEL
) -> Interval | None:
    """Newcombe's interval of p − p′, two independent proportions.

    Example:
        Newcombe 1998, table II (a): 56/70 − 48/80.

        >>> [round(end, 4) for end in proportion_difference(56, 70, 48, 80)]
        [0.0524, 0.3339]
    """
    one, other = proportion(events, units, level), proportion(other_events, other_units, level)
    if one is None or other is None:
        return None
    return _hybrid(events / units, one, other_events / other_units, other, 0.0)


def paired_difference(
    both: float, first: float, second: float, neither: float, level: float = LEVEL
) -> Interval | None:
    """Newcombe's interval of p − p′ where both were seen in the same units.

    Args:
        both: units in which both events happened.
        first, second: units in which only the one or only the other did.
        neither: units in which none did.
        level: of confidence.

    Example:
        Newcombe 1998 (paired), table II: 36, 12, 2, 0.

        >>> [round(end, 4) for end in paired_difference(36, 12, 2, 0)]
        [0.0569, 0.3404]
    """
    units = both + first + second + neither
    one, other = proportion(both + first, units, level), proportion(both + second, units, level)
    if one is None or other is None:
        return None
    return _hybrid((both + first) / units, one, (both + second) / units, other, _phi(both, first, second, neither))


def macro_difference(
    cells: Sequence[tuple[float, float]], others: Sequence[tuple[float, float]], level: float = LEVEL
) -> Interval | None:
    """The interval of a difference of two means of independent proportions, each `events` of `units`: Newcombe's,
    carried to sums by the method of variance estimates recovery.

    Example:
        Of one proportion each it is Newcombe's.

        >>> [round(end, 4) for end in macro_difference([(56, 70)], [(48, 80)])]
        [0.0524, 0.3339]
    """
    if not cells or not others or min(units for _, units in (*cells, *others)) <= 0:
        return None
    ours, theirs = macro_mean(cells, level), macro_mean(others, level)
    return _hybrid(ours[0], ours[1], theirs[0], theirs[1], 0.0)


def macro_mean(cells: Sequence[tuple[float, float]], level: float = LEVEL) -> tuple[float, Interval]:
    """A mean of independent proportions, each `events` of `units`, and its interval: how far theirs reach is added in
    squares."""
    shares = [events / units for events, units in cells]
    ends = [Interval(*wilson(events, units, normal_quantile(level))) for events, units in cells]
    middle = math.fsum(shares) / len(cells)
    down = math.sqrt(math.fsum((share - end.low) ** 2 for share, end in zip(shares, ends, strict=True))) / len(cells)
    up = math.sqrt(math.fsum((end.high - share) ** 2 for share, end in zip(shares, ends, strict=True))) / len(cells)
    return middle, Interval(middle - down, middle + up)


def _hybrid(p: float, ours: Interval, q: float, theirs: Interval, phi: float) -> Interval:
    down = _reach(p - ours.low, theirs.high - q, phi)
    up = _reach(ours.high - p, q - theirs.low, phi)
    return Interval(p - q - down, p - q + up)


def _reach(one: float, other: float, phi: float) -> float:
    return math.sqrt(max(one**2 - 2 * phi * one * other + other**2, 0.0))


def _phi(both: float, first: float, second: float, neither: float) -> float:
    """The correlation of two events in the same units, with Newcombe's correction for continuity."""
    margins = (both + first) * (second + neither) * (both + second) * (first + neither)
    if margins <= 0:
        return 0.0
    excess = both * neither - first * second
    if excess > 0:
        excess = max(excess - (both + first + second + neither) / 2, 0.0)
    return excess / math.sqrt(margins)


def mean(count: float, total: float, squares: float, level: float = LEVEL) -> Interval | None:
    """Student's interval of a mean, of the number, the sum and the sum of squares of the values.

    Example:
        >>> [round(end, 3) for end in mean(4, 10.0, 30.0)]
        [0.446, 4.554]
    """
    if count < 2 or not (math.isfinite(total) and math.isfinite(squares)):
        return None
    from scipy.special import stdtrit

    centre = total / count
    variance = max(squares - total * centre, 0.0) / (count - 1)
    reach = float(stdtrit(count - 1, (1 + level) / 2)) * math.sqrt(variance / count)
    return Interval(centre - reach, centre + reach)


def around(value: float, variance: float, level: float = LEVEL) -> Interval | None:
    """A normal interval around an estimate with this variance."""
    if not (math.isfinite(value) and math.isfinite(variance)):
        return None
    reach = normal_quantile(level) * math.sqrt(max(variance, 0.0))
    return Interval(value - reach, value + reach)


def within_unit(value: float, variance: float, units: float, level: float = LEVEL) -> Interval | None:
    """An interval of an estimate in [0, 1] that stays there: normal on the logit scale; Wilson's at 0 and 1."""
    if not (math.isfinite(value) and math.isfinite(variance)) or units <= 0:
        return None
    if not 0 < value < 1 or variance <= 0:
        return proportion(value * units, units, level)
    reach = normal_quantile(level) * math.sqrt(variance) / (value * (1 - value))
    centre = math.log(value / (1 - value))
    return Interval(_logistic(centre - reach), _logistic(centre + reach))


def _logistic(value: float) -> float:
    return 1 / (1 + math.exp(-value)) if value > -700 else 0.0


class Area(NamedTuple):
    """The area under a ROC curve, and the variance of its estimate."""

    value: float
    variance: float


def area_under_curve(positives: Array, negatives: Array) -> Area | None:
    """The area under the ROC curve of counts by rising score, with DeLong's variance; a tie counts one half.

    Example:
        Hanley & McNeil 1982: 109 CT images, rated from 1 to 5.

        >>> area = area_under_curve(np.array([3, 2, 2, 11, 33]), np.array([33, 6, 6, 11, 2]))
        >>> round(area.value, 4), round(area.variance ** 0.5, 4)
        (0.8932, 0.0307)
    """
    ours, theirs = np.asarray(positives, float), np.asarray(negatives, float)
    many, others = float(ours.sum()), float(theirs.sum())
    if many == 0 or others == 0:
        return None
    below = (np.cumsum(theirs) - theirs / 2) / others
    above = 1 - (np.cumsum(ours) - ours / 2) / many
    value = float(ours @ below) / many
    spread = float(ours @ (below - value) ** 2) / max(many - 1, 1)
    other_spread = float(theirs @ (above - value) ** 2) / max(others - 1, 1)
    return Area(value, spread / many + other_spread / others)


def hanley_mcneil(area: float, positives: float, negatives: float) -> float:
    """The variance of an area under a ROC curve, of the area alone: exact where scores are exponential.

    Example:
        The 51 and 58 images of `area_under_curve`, without their ratings:

        >>> round(hanley_mcneil(0.893, 51, 58) ** 0.5, 3)
        0.033
    """
    square = area**2
    one, two = area / (2 - area), 2 * square / (1 + area)
    return (area * (1 - area) + (positives - 1) * (one - square) + (negatives - 1) * (two - square)) / (
        positives * negatives
    )
