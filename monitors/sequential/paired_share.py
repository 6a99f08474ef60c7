"""Whether a version gives an answer more often than another one does on the same inputs, by more than is tolerated.

Each pair adds +1 (only the candidate gives the answer), −1 (only stable does) or 0, and its mean is the difference of
the two shares. Against "the mean is at most τ" stands a gambler who stakes a part λ of what they have on every pair:

    e = Π (1 + λ (d − τ)),  averaged over λ in (0, 1/(1+τ))

an e-process by construction, whatever the pairs' dependence on the inputs. It needs the three counts only. Source:
Waudby-Smith & Ramdas, "Estimating means of bounded random variables by betting" (JRSS B 2024, arXiv 2010.09686).

Example:
    100 pairs of 1,000 say "fraud" only where the candidate is asked, 20 only where stable is: 8 points more.

    >>> log_evidence(100, 20, 1000, tolerance=0.02) > 11
    True
    >>> log_evidence(100, 20, 1000, tolerance=0.08) < 1
    True
"""

from __future__ import annotations

import numpy as np

from serinus.monitors.sequential.rate_ratio import logsumexp

__all__ = ["log_evidence", "log_evidence_both_ways"]

_STAKES = np.array([0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.95])


def log_evidence(candidate_only: int, stable_only: int, pairs: int, *, tolerance: float = 0.0) -> float:
    """Natural log of the evidence against "the candidate's share is at most `tolerance` above stable's".

    Args:
        candidate_only: pairs in which only the candidate gave the answer.
        stable_only: pairs in which only stable did.
        pairs: all pairs.
        tolerance: the difference of shares that is no harm, between −1 and 1; a negative one makes it a
            certificate that the candidate's share is lower.
    """
    if not -1 < tolerance < 1 or min(candidate_only, stable_only) < 0 or pairs < candidate_only + stable_only:
        raise ValueError(f"Pairs: wanted counts that fit together and a tolerance between −1 and 1, got "
                         f"{candidate_only}, {stable_only} of {pairs} and {tolerance}.")
    stakes = _STAKES / (1 + tolerance)
    grown = (candidate_only * np.log1p(stakes * (1 - tolerance)) + stable_only * np.log1p(-stakes * (1 + tolerance))
             + (pairs - candidate_only - stable_only) * np.log1p(-stakes * tolerance))
    return float(logsumexp(grown) - np.log(len(stakes)))


def log_evidence_both_ways(candidate_only: int, stable_only: int, pairs: int, *, tolerance: float = 0.0) -> float:
    """The same against "the shares differ by at most `tolerance`"."""
    more = log_evidence(candidate_only, stable_only, pairs, tolerance=tolerance)
    less = log_evidence(stable_only, candidate_only, pairs, tolerance=tolerance)
    return float(np.logaddexp(more, less) - np.log(2))
