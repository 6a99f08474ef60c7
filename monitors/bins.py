"""Where the bins of a number lie: quantiles of the reference, with ties and heaps of equal values kept whole."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from serinus.monitors.features import VALUES

__all__ = ["centre_and_scale", "inner_edges", "rounded", "widened"]

Floats = NDArray[np.float64]

_SLIVER = 64
"""A bin beside a heap has this part of the rows at least."""
_TAIL = 0.001
_FLOAT32 = 2.5e-7
"""Twice the relative error of a number that went through float32."""
_LARGEST = float(np.finfo(np.float64).max)
_LEAST_SCALE = 1e-290


def inner_edges(rising: Floats) -> tuple[float, ...]:
    """Give at most 15 edges between the bins of finite values in rising order; no bin is empty.

    Up to 16 different values each get a bin of their own. Among more, a value that fills a sixteenth (the zeros of a
    zero-inflated amount) gets one, and the others are cut at their quantiles. Edges lie between neighbouring values,
    so that a value is in the same bin after it went through float32.
    """
    if not rising.size:
        return ()
    firsts = _few_firsts(rising)
    return tuple(_between(rising, _quantile_firsts(rising) if firsts is None else firsts).tolist())


def _few_firsts(rising: Floats) -> Floats | None:
    """All different values but the smallest, if they are no more than there are bins."""
    found: list[float] = []
    value = rising[0]
    for _ in range(VALUES):
        after = np.searchsorted(rising, value, "right")
        if after == len(rising):
            return np.array(found, np.float64)
        value = rising[after]
        found.append(value)
    return None


def _quantile_firsts(rising: Floats) -> Floats:
    """The values that start a bin: of heaps, of what follows a heap, and the quantiles of the rest."""
    every = len(rising)
    sixteenths = rising[every * np.arange(1, VALUES) // VALUES]
    found, times = np.unique(sixteenths, return_counts=True)
    heaps = found[(times > 1) | (found == rising[0])]
    starts, ends = np.searchsorted(rising, heaps, "left"), np.searchsorted(rising, heaps, "right")
    bounds = np.union1d(starts, ends)
    bounds = bounds[(bounds > 0) & (bounds < every)]
    rest = np.delete(np.arange(every), np.concatenate([np.arange(*heap) for heap in zip(starts, ends, strict=True)])
                     if heaps.size else [])  # fmt: skip
    parts = VALUES - len(bounds)
    cuts = rest[len(rest) * np.arange(1, parts) // parts] if rest.size else bounds
    cuts = np.searchsorted(rising, rising[cuts], "left")
    apart = np.abs(cuts[:, None] - np.concatenate([bounds, [0, every]])).min(axis=1) >= every / _SLIVER
    return np.asarray(rising[np.union1d(bounds, cuts[apart])])


def _between(rising: Floats, firsts: Floats) -> Floats:
    """Half-way between the first value of each bin and the one before it."""
    before = rising[np.searchsorted(rising, firsts, "left") - 1]
    middle = before / 2 + firsts / 2  # halves first: 1e308 + 1e308 is infinite
    return np.where((before < middle) & (middle <= firsts), middle, firsts)


def centre_and_scale(rising: Floats) -> tuple[float, float]:
    """Give mean and standard deviation of finite values in rising order, the outermost 0.1 % pulled in on each side.

    Where only that tail varies, nothing is pulled in; where nothing varies, the scale is 1. Values are divided by
    the largest before they are squared, so that 1e300 does not overflow.
    """
    cut = int(_TAIL * len(rising))
    for values in (np.clip(rising, rising[cut], rising[-1 - cut]), rising):
        largest = float(np.abs(values).max())
        if largest == 0 or values[0] == values[-1]:
            continue
        part = values / largest
        scale = float(part.std()) * largest
        return float(part.mean()) * largest, max(scale, _LEAST_SCALE)
    return float(rising[len(rising) // 2]), 1.0


def widened(low: float, high: float) -> tuple[float, float]:
    """Give a range that still holds its ends after they went through float32."""
    return max(low - _FLOAT32 * abs(low), -_LARGEST), min(high + _FLOAT32 * abs(high), _LARGEST)


def rounded(value: float, *, up: bool = False) -> float:
    """Give a number with two significant digits, for fields whose exact values are nobody's business."""
    if value == 0 or not math.isfinite(value):
        return value
    unit = 10.0 ** max(math.floor(math.log10(abs(value))) - 1, -307)
    steps = math.ceil(value / unit) if up else math.floor(value / unit)
    return float(f"{steps * unit:.6g}")
