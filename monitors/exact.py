"""Sums of floats that lose nothing: equal whatever the order and the parts in which the values were added.

A float is an integer times a power of two; so a sum of floats is an integer of as many bits as it takes. Adding with
rounding would make a replay, another number of workers or a late value change the last digits, and nobody could tell
a repeated sum from a wrong one.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["ExactSum"]

_UNIT = 1127
"""Sums are counted in 2⁻¹¹²⁷: the last bit of the smallest float's 53-bit mantissa."""
_HALF = 26


@dataclass(frozen=True, slots=True)
class ExactSum:
    """A sum of finite floats.

    Example:
        >>> import numpy as np
        >>> (ExactSum.of(np.array([1e100, 1.0])) + ExactSum.of(np.array([-1e100]))).value
        1.0
    """

    units: int = 0

    @classmethod
    def of(cls, values: NDArray[Any]) -> ExactSum:
        """Add finite values up."""
        mantissas, exponents = np.frexp(np.asarray(values, np.float64).ravel())
        if not mantissas.size:
            return cls()
        whole = np.ldexp(mantissas, 53).astype(np.int64)
        lowest = int(exponents.min())
        sums = np.zeros((2, int(exponents.max()) - lowest + 1), np.int64)
        np.add.at(sums[0], exponents - lowest, whole >> _HALF)
        np.add.at(sums[1], exponents - lowest, whole & ((1 << _HALF) - 1))
        first = lowest - 53 + _UNIT
        return cls(sum(((int(high) << _HALF) + int(low)) << (first + place)
                       for place, (high, low) in enumerate(sums.T) if high or low))

    def __add__(self, other: ExactSum) -> ExactSum:
        return ExactSum(self.units + other.units)

    @property
    def exact(self) -> Fraction:
        """The sum itself."""
        return Fraction(self.units, 1 << _UNIT)

    @property
    def value(self) -> float:
        """The float nearest to the sum; infinite beyond the largest."""
        try:
            return float(self.exact)
        except OverflowError:
            return float("inf") if self.units > 0 else float("-inf")

    def to_json(self) -> str:
        """Give the sum as text: a hexadecimal integer and how many bits it is shifted."""
        shift = (self.units & -self.units).bit_length() - 1 if self.units else 0
        return f"{self.units >> shift:x}:{shift}"

    @classmethod
    def from_json(cls, text: str) -> ExactSum:
        """Read what `to_json` wrote."""
        number, shift = text.split(":")
        return cls(int(number, 16) << int(shift))
