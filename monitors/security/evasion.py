"""Evasion: rows that are shaped until the answer is the wanted one. It shows in all clients' rows together.

Who aims at a threshold stops as soon as it is passed, so the scores bunch just beyond it (the bunching of public
economics, Kleven 2016); adversarial rows look unusual though their answers are confident (Grosse et al. 2017,
arXiv 1702.06280); and their answers flip under noise that leaves natural ones alone (Feinman et al. 2017, 1703.00410).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from math import sqrt
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from serinus.monitors.features import MISSING, VALUES, Feature

__all__ = ["Excess", "boundary_bin", "bunching", "excess", "flip_rate", "unusual_rows"]

Table = NDArray[np.int64]


class Excess(NamedTuple):
    """More than the reference lets expect: the live share, the reference's, and the one-sided p-value of so large a
    difference between two samples (both may err). An effect counts only together with its p-value."""

    share: float
    expected: float
    p: float

    @property
    def factor(self) -> float:
        """How many times the expected share."""
        return self.share / self.expected if self.expected else float("inf") if self.share else 1.0


def boundary_bin(feature: Feature, threshold: float) -> int:
    """The first bin of a score that lies wholly beyond the threshold, or nearest to that."""
    if not feature.edges:
        return 0
    after = bisect_right(feature.edges, threshold)
    nearer_below = after > 0 and (after == len(feature.edges)
                                  or threshold - feature.edges[after - 1] < feature.edges[after] - threshold)
    return after if nearer_below else after + 1


def bunching(reference: Table, live: Table, boundary: int, width: int = 2) -> Excess:
    """Whether scores lie just past a threshold too often, among those within `width` bins on either side of it.

    `reference` and `live` are the counts [18] of the score's feature, `boundary` the first bin past the threshold. A
    drift that moves scores across moves both sides; only what stops right behind the threshold changes this share.
    """
    before, past = slice(max(0, boundary - width), boundary), slice(boundary, min(VALUES, boundary + width))
    return excess(int(live[past].sum()), int(live[before].sum()), int(reference[past].sum()),
                   int(reference[before].sum()))


def unusual_rows(reference: Table, live: Table) -> Excess:
    """Whether rows are unusual too often: the share of the two highest bins, an eighth of the reference, and beyond.

    `reference` and `live` are the counts [18] of the joint feature "novelty". Without attack or drift conformal
    p-values are uniform, so this share is the reference's.
    """
    high = [VALUES - 2, VALUES - 1, *range(MISSING + 1, len(reference))]
    usual = list(range(VALUES - 2))
    return excess(int(live[high].sum()), int(live[usual].sum()), int(reference[high].sum()),
                   int(reference[usual].sum()))


def excess(live_hits: int, live_rest: int, hits: int, rest: int) -> Excess:
    """Compare two shares by a one-sided z-test, pooled and continuity-corrected; p is 1 where nothing was seen."""
    live, reference = live_hits + live_rest, hits + rest
    if not live or not reference:
        return Excess(0.0, hits / reference if reference else 0.0, 1.0)
    share, expected = live_hits / live, hits / reference
    pooled = (live_hits + hits) / (live + reference)
    error = sqrt(pooled * (1 - pooled) * (1 / live + 1 / reference))
    if error == 0:
        return Excess(share, expected, 1.0)
    margin = max(0.0, abs(share - expected) - (1 / live + 1 / reference) / 2)
    z = margin / error if share > expected else -margin / error
    return Excess(share, expected, NormalDist().cdf(-z))


def flip_rate(predict: Callable[[NDArray[np.float64]], NDArray[Any]], rows: NDArray[np.float64],
              steps: NDArray[np.float64], *, seed: int = 0) -> float:
    """The share of rows [n, Rn] whose label changes when every number moves one step up or down at random.

    For a sample: it costs a second prediction. Compare with the same rate of reference rows.
    """
    if not len(rows):
        return 0.0
    signs = np.random.default_rng(seed).choice([-1.0, 1.0], rows.shape)
    return float(np.mean(predict(rows) != predict(rows + signs * steps)))
