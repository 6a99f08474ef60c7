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
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from serinus.monitors.features import MISSING, VALUES, Feature
from serinus.monitors.profile import Profile

__all__ = ["Evasion", "Excess", "boundary_bin", "bunching", "evasion_in", "excess", "flip_rate", "unusual_rows"]

Table = NDArray[np.int64]

RARE, LARGE = 1e-4, 1.25
_ROUNDING = 1e-6


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


def bunching(reference: Table, live: Table, boundary: int, width: int = 2, *, below: bool = False) -> Excess:
    """Whether scores lie just past a threshold (just `below` it) too often, among those within `width` bins around it.

    `reference` and `live` are the counts [18] of the score's feature, `boundary` the first bin past the threshold. A
    drift that moves scores across moves both sides; only what stops right behind the threshold changes this share.
    """
    before, past = slice(max(0, boundary - width), boundary), slice(boundary, min(VALUES, boundary + width))
    wanted, other = (before, past) if below else (past, before)
    return excess(int(live[wanted].sum()), int(live[other].sum()), int(reference[wanted].sum()),
                  int(reference[other].sum()))


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


class Evasion(NamedTuple):
    """One look at a window of all clients' rows. `told`: the excess is large, and chance gives one so large in one of
    10,000 windows."""

    kind: Literal["unusual_rows", "bunching_above", "bunching_below"]
    feature: str
    excess: Excess

    @property
    def told(self) -> bool:
        """Whether a person should look."""
        return self.excess.p <= RARE and self.excess.factor >= LARGE


def evasion_in(profile: Profile, live: Table) -> list[Evasion]:
    """What a window's counts [R, 18] show: unusual rows, and scores that bunch at one half, on either side, where an
    output gives the probabilities of two classes. Real drift shows here, too."""
    found = []
    for at, feature in enumerate(profile.features):
        if feature.name == "novelty" and feature.side == "joint":
            found.append(Evasion("unusual_rows", feature.name, unusual_rows(profile.counts[at], live[at])))
        elif feature.side == "output" and _is_one_of_two(feature, profile):
            half = boundary_bin(feature, 0.5)
            found += [Evasion("bunching_above", feature.name, bunching(profile.counts[at], live[at], half)),
                      Evasion("bunching_below", feature.name, bunching(profile.counts[at], live[at], half, below=True))]
    return found


def _is_one_of_two(feature: Feature, profile: Profile) -> bool:
    """Whether a feature is the probability of one of two classes; of two that sum to 1 a profile has one only."""
    parts = [each for each in profile.features if each.side == "output" and each.field == feature.field]
    return len(parts) <= 2 and all(
        part.kind == "numeric" and part.view == "element" and part.index <= 1 and len(part.edges) > 1
        and part.low >= -_ROUNDING and part.high <= 1 + _ROUNDING for part in parts)


def flip_rate(predict: Callable[[NDArray[np.float64]], NDArray[Any]], rows: NDArray[np.float64],
              steps: NDArray[np.float64], *, seed: int = 0) -> float:
    """The share of rows [n, Rn] whose label changes when every number moves one step up or down at random.

    For a sample: it costs a second prediction. Compare with the same rate of reference rows.
    """
    if not len(rows):
        return 0.0
    signs = np.random.default_rng(seed).choice([-1.0, 1.0], rows.shape)
    return float(np.mean(predict(rows) != predict(rows + signs * steps)))
