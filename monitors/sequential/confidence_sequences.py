"""Bounds on a probability or a mean that hold at all times at once, so one may look whenever one likes."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

__all__ = ["BoundedMean", "Bounds", "probability_bounds"]

_TIGHT = 1e-12


class Bounds(NamedTuple):
    """A lower and an upper bound."""

    low: float
    high: float


def probability_bounds(events: int, units: int, alpha: float = 0.05) -> Bounds:
    """Where the probability of an event may lie after `events` of `units`, with probability 1 − `alpha` at all times.

    The beta-binomial mixture with Jeffreys' prior:
    {p : log B(x+½, n−x+½) − log B(½, ½) − x log p − (n−x) log(1−p) < log(1/α)}. Source: Robbins 1970; Howard et al.
    2021 (arXiv 1810.08240). Without any event the upper bound is about (log(1/α) + ½ log(πn)) / n.

    Example:
        >>> bounds = probability_bounds(0, 3_000)
        >>> (bounds.low, round(bounds.high, 4))
        (0.0, 0.0025)
    """
    if not 0 <= events <= units:
        raise ValueError(f"events: wanted a number from 0 to units ({units}), got {events}.")
    if units == 0:
        return Bounds(0.0, 1.0)
    mixture = math.lgamma(events + 0.5) + math.lgamma(units - events + 0.5) - math.lgamma(units + 1) - math.log(math.pi)
    limit = mixture - math.log(1 / alpha)

    def possible(p: float) -> bool:
        return _term(events, p) + _term(units - events, 1 - p) > limit

    peak = events / units
    low = 0.0 if events == 0 else _edge(possible, inside=peak, outside=0.0)
    high = 1.0 if events == units else _edge(possible, inside=peak, outside=1.0)
    return Bounds(low, high)


class BoundedMean:
    """A confidence sequence for the mean of values within known limits, seen one after another.

    The predictable plug-in empirical-Bernstein sequence of Waudby-Smith & Ramdas (JRSS B 2024, arXiv 2010.09686,
    theorem 2): the width follows the values' own variance. Constant time and memory per value.

    Args:
        low: smallest possible value.
        high: largest possible value.
        alpha: the chance that the true mean is ever outside of the bounds.
    """

    def __init__(self, low: float, high: float, alpha: float = 0.05) -> None:
        if not low < high:
            raise ValueError(f"Limits: wanted low < high, got {low!r} and {high!r}.")
        self._low, self._span, self._log = low, high - low, math.log(2 / alpha)
        self._count = 0
        self._mean_sum, self._variance_sum = 0.5, 0.25  # regularised as in the paper: one value of ½, variance ¼
        self._weights = self._weighted = self._spread = 0.0
        self._bounds = Bounds(low, high)

    def observe(self, value: float) -> None:
        """Take one value into account. Raises ValueError outside of the limits."""
        scaled = (value - self._low) / self._span
        if not 0 <= scaled <= 1:
            raise ValueError(f"Value {value!r} is outside of [{self._low:g}, {self._low + self._span:g}].")
        self._count += 1
        seen = self._count
        mean, variance = self._mean_sum / seen, self._variance_sum / seen  # of the values before this one
        bet = min(0.5, math.sqrt(2 * self._log / (variance * seen * math.log(1 + seen))))
        self._weights += bet
        self._weighted += bet * scaled
        self._spread += (scaled - mean) ** 2 * (-math.log1p(-bet) - bet)
        self._mean_sum += scaled
        self._variance_sum += (scaled - self._mean_sum / (seen + 1)) ** 2
        centre, width = self._weighted / self._weights, (self._log + self._spread) / self._weights
        self._bounds = Bounds(max(self._bounds.low, self._low + self._span * (centre - width)),
                              min(self._bounds.high, self._low + self._span * (centre + width)))

    @property
    def bounds(self) -> Bounds:
        """Where the mean may lie: the intersection over all times so far."""
        return self._bounds


def _term(count: int, p: float) -> float:
    return 0.0 if count == 0 else (count * math.log(p) if p > 0 else -math.inf)


def _edge(possible: Callable[[float], bool], *, inside: float, outside: float) -> float:
    """The last possible value on the way from `inside` to `outside`, rounded outwards."""
    while abs(outside - inside) > _TIGHT * max(1e-3, inside):
        middle = (inside + outside) / 2
        inside, outside = (middle, outside) if possible(middle) else (inside, middle)
    return outside
