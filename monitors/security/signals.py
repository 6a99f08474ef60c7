"""A signal: an event that is rare in honest use, counted per client until its evidence is out of all proportion.

Every look at a row gives 0 or 1. The evidence is a CUSUM of likelihood ratios between an honest share `bound` and a
suspicious share `suspect` (Page 1954), which is an e-detector (Shin, Ramdas & Rinaldo 2022, arXiv 2203.03532):

    M ← max(M, 1) · (suspect/bound if the event happened else (1 − suspect)/(1 − bound)),    told at M ≥ A.

While the event's probability, whatever came before, stays at or below `bound`, the expected number of looks until it
is told is at least A. That is a promise about honest clients only as far as `bound` is one: signals, none proof.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import log

__all__ = ["LOOKS", "TOLD", "Signal"]

LOOKS = 1_000_000
"""An honest client is told of once in so many looks at most, for one signal."""


@dataclass(frozen=True, slots=True)
class Signal:
    """What is watched for. `source` is the paper that the event comes from, or the attack that causes it.

    Attributes:
        name: low-cardinality, for metrics.
        meaning: one sentence for people.
        source: where the idea comes from.
        bound: the share of events that honest use may have.
        suspect: the share that it is tested against.
    """

    name: str
    meaning: str
    source: str
    bound: float
    suspect: float
    hit: float = field(init=False)
    miss: float = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "hit", log(self.suspect / self.bound))
        object.__setattr__(self, "miss", log((1 - self.suspect) / (1 - self.bound)))

    def bounded(self, share: float) -> Signal | None:
        """The signal for a population whose honest share is `share`: twice that is allowed, and never less than now.
        None where the event is too common to tell anything."""
        bound = max(self.bound, 2 * share)
        return None if bound > 0.5 else Signal(self.name, self.meaning, self.source, bound,
                                               max(self.suspect, (1 + bound) / 2))

    def add(self, evidence: float, happened: bool) -> float:
        """The evidence (ln M) after one more look."""
        return max(evidence, 0.0) + (self.hit if happened else self.miss)


TOLD = log(LOOKS)
"""Evidence at which a client is told of."""
