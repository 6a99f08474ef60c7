"""Paired answers of two versions to the same inputs, judged at any time.

Only pairs in which exactly one version is right tell the versions apart. Let `worse` be those in which the candidate
is the wrong one and `better` the others. If the candidate is no worse, `worse` is at most a fair coin's share of
them; with a uniform prior on a share above one half the mixture likelihood ratio is

    log e = log B(b+1, c+1) + log(1 − I_½(b+1, c+1)) − log ½ + (b + c) log 2

with b = worse, c = better, B the beta function and I the regularised incomplete one. Under the null hypothesis it
ever exceeds 1/α with probability α at most. The classical test is McNemar 1947; this form is a beta mixture (Robbins).

Example:
    Ten pairs differ, and the candidate is wrong in all of them:

    >>> round(log_evidence(10, 0), 2)
    5.23
"""

from __future__ import annotations

import math

__all__ = ["log_evidence", "log_evidence_of_flips"]


def log_evidence(worse: int, better: int) -> float:
    """Natural log of the evidence against "the candidate is wrong no more often than stable".

    Args:
        worse: pairs in which stable was right and the candidate wrong.
        better: pairs in which it was the other way round.
    """
    from scipy.special import betainc, betaln

    if worse < 0 or better < 0:
        raise ValueError(f"Pairs are counted, got worse={worse!r} and better={better!r}.")
    upper = betainc(better + 1, worse + 1, 0.5)  # 1 − I_½(b+1, c+1), exact where that is tiny
    if upper == 0.0:
        return _log_upper_tail(worse, better)
    return float(betaln(worse + 1, better + 1) + math.log(upper) + (worse + better + 1) * math.log(2))


def log_evidence_of_flips(one_way: int, other_way: int) -> float:
    """The same in both directions: evidence that flips from A to B and from B to A are not equally frequent."""
    both = (log_evidence(one_way, other_way), log_evidence(other_way, one_way))
    top = max(both)
    return top + math.log(sum(math.exp(value - top) for value in both)) - math.log(2)


def _log_upper_tail(worse: int, better: int) -> float:
    """The evidence where a share above one half is as good as impossible: the integrand lies at its edge.

    log ∫_½^1 q^b (1−q)^c dq with c ≫ b: q = ½ + t, and the integrand falls as exp(−2 (c − b) t).
    """
    return math.log(2) - math.log(2.0 * (better - worse))
