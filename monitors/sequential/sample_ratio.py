"""Whether the arms really got the shares of the traffic that they were meant to get, judged at any time.

A mismatch means that the comparison is broken (a cache, a retry, a router that prefers one arm), so nothing may be
concluded from it: neither promotion nor rollback. The Bayes factor of a Dirichlet prior around the intended shares
against the shares themselves is an e-process:

    log BF = lnΓ(Σa) − Σ lnΓ(a) + Σ lnΓ(a + n) − lnΓ(Σ(a + n)) − Σ n log p,   a = k p, k = 100

Source: Lindon & Malek, NeurIPS 2022 (arXiv 2011.03567). With several steps of different shares the factors multiply.
"""

from __future__ import annotations

from math import lgamma, log

__all__ = ["log_bayes_factor"]

_CONCENTRATION = 100.0


def log_bayes_factor(counts: tuple[int, ...], shares: tuple[float, ...]) -> float:
    """Natural log of the evidence that `counts` units were not assigned with probabilities `shares`.

    Args:
        counts: units that each arm got.
        shares: intended probabilities, above 0, adding up to 1.

    Example:
        50 of 100 units each, as intended, is evidence *for* the intention:

        >>> log_bayes_factor((50, 50), (0.5, 0.5)) < 0
        True
    """
    if len(counts) != len(shares) or min(shares) <= 0 or abs(sum(shares) - 1) > 1e-9:
        raise ValueError(f"Shares: wanted {len(counts)} probabilities above 0 that add up to 1, got {shares!r}.")
    prior = [_CONCENTRATION * share for share in shares]
    evidence = lgamma(_CONCENTRATION) - lgamma(_CONCENTRATION + sum(counts))
    for count, share, weight in zip(counts, shares, prior, strict=True):
        evidence += lgamma(weight + count) - lgamma(weight) - count * log(share)
    return evidence
