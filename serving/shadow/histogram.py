"""A histogram of numbers of any size and sign, ten buckets for each power of ten: quantiles to within 13 %."""

from __future__ import annotations

from collections.abc import Iterable
from math import ceil, isfinite, log10

__all__ = ["Histogram"]

_PER_TENFOLD = 10
_SMALLEST, _LARGEST = -90, 90
"""1e-9 and 1e9, in tenths of a power of ten."""
_ZERO = 0
_OFFSET = 1 - _SMALLEST


class Histogram:
    """Counts of numbers, and their sum. Bucket 0 is zero; the buckets of negative numbers are negative."""

    def __init__(self, counts: Iterable[tuple[int, int]] = (), total: float = 0.0) -> None:
        self.counts = dict(counts)
        self.total = total

    def add(self, value: float) -> None:
        """Add a number; one that is not finite is left out."""
        if not isfinite(value):
            return
        bucket = bucket_of(value)
        self.counts[bucket] = self.counts.get(bucket, 0) + 1
        self.total += value

    @property
    def number(self) -> int:
        """How many numbers there are."""
        return sum(self.counts.values())

    @property
    def mean(self) -> float | None:
        """None where there is nothing."""
        return self.total / self.number if self.counts else None

    def quantile(self, share: float) -> float | None:
        """The number below which this share lies: the middle of its bucket; None where there is nothing."""
        wanted, seen = max(1, ceil(share * self.number)), 0
        for bucket in sorted(self.counts):
            seen += self.counts[bucket]
            if seen >= wanted:
                return middle_of(bucket)
        return None


def bucket_of(value: float) -> int:
    """The bucket of a finite number."""
    if abs(value) < 1e-9:
        return _ZERO
    place = min(_LARGEST, ceil(_PER_TENFOLD * log10(abs(value)) - 1e-9))
    return (place + _OFFSET) * (1 if value > 0 else -1)


def middle_of(bucket: int) -> float:
    """The number that stands for a bucket."""
    if bucket == _ZERO:
        return 0.0
    size = 10 ** ((abs(bucket) - _OFFSET - 0.5) / _PER_TENFOLD)
    return float(size if bucket > 0 else -size)
