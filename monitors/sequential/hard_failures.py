"""The first hard failures of a version that should have none, judged by one worker alone and at any time.

The null hypothesis: each call fails with a probability of at most `expected` (stable's own upper bound). Against it
stands a version that fails every other time:

    log e = Σ y log(½ / expected) + (1 − y) log(½ / (1 − expected))

mixed over the time of onset, so that a version which worked for a million calls is judged by what it does now. At
`expected` = 1 % three failures in a row are evidence of more than 10⁴ to one. Source: a likelihood ratio made into an
e-process (Ville); the mixture over onsets as in Shin, Ramdas & Rinaldo 2023 (arXiv 2203.03532).
"""

from __future__ import annotations

import math

__all__ = ["HardFailures"]

_OFTEN = 0.5


class HardFailures:
    """Evidence that a version fails much more often than expected.

    `log_evidence` is that of the best-known mixture of onsets: E_t = Σ_s γ_s e_{s..t} with γ_s = 1/((s+1)(s+2)),
    kept up in constant time and memory per call.

    Args:
        expected: upper bound of the probability that a call fails, above 0 and below one half.

    Example:
        >>> failures = HardFailures(0.01)
        >>> for _ in range(3):
        ...     failures.observe(True)
        >>> failures.log_evidence > math.log(10_000)
        True
    """

    def __init__(self, expected: float) -> None:
        if not 0 < expected < _OFTEN:
            raise ValueError(f"expected: wanted a probability above 0 and below {_OFTEN}, got {expected!r}.")
        self._failed = math.log(_OFTEN / expected)
        self._worked = math.log(_OFTEN / (1 - expected))
        self._begun = -math.inf  # log of Σ γ_s e_{s..t} over the onsets so far
        self._calls = 0

    def observe(self, failed: bool) -> None:
        """Take one call into account; an onset may lie just before it."""
        self._calls += 1
        onset = -math.log(self._calls * (self._calls + 1.0))
        self._begun = _logaddexp(self._begun, onset) + (self._failed if failed else self._worked)

    @property
    def log_evidence(self) -> float:
        """Natural logarithm of the evidence; what is due to onsets still to come counts as 1 each."""
        return _logaddexp(self._begun, -math.log(self._calls + 1.0))


def _logaddexp(first: float, second: float) -> float:
    high, low = max(first, second), min(first, second)
    return high if low == -math.inf else high + math.log1p(math.exp(low - high))
