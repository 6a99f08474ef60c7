"""Extraction: a client that asks in order to rebuild the model, or to find its boundary.

Honest rows come from the world; an extractor's rows are made. They lie unusually close to earlier ones (a search), or
unusually evenly (a synthetic set), near the decision boundary, or where no reference row is.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serinus.monitors.novelty import Scaling
from serinus.monitors.packing import pack, unpack
from serinus.monitors.security.signals import Signal

__all__ = ["BOUNDARY", "NEAR", "NEAR_DUPLICATES", "STRUCTURED", "SYNTHETIC", "Sketch", "margins", "normality",
           "smallest_distances"]

Floats = NDArray[np.float64]
Sketches = NDArray[np.uint64]

NEAR = 3
"""Bits of 64 that two sketches may differ in and still be near."""

NEAR_DUPLICATES = Signal(
    "near_duplicates", "rows lie close to the client's last 256 rows, without being the same",
    "Chen, Carlini & Wagner 2019, Stateful detection of black-box adversarial attacks (arXiv 1907.05587)", 0.2, 0.6)
BOUNDARY = Signal(
    "boundary", "answers lie at the decision boundary, within the tenth of the reference that is nearest to it",
    "Lowd & Meek 2005, Adversarial learning; Tramèr et al. 2016 (arXiv 1609.02943), section 5", 0.2, 0.6)
SYNTHETIC = Signal(
    "synthetic_rows", "rows are unlike the reference: their novelty p-value is at most 0.05",
    "Tramèr et al. 2016, Stealing machine learning models: equation solving with random rows", 0.2, 0.6)
STRUCTURED = Signal(
    "structured_queries", "distances to the nearest earlier row, in windows of 64, are not spread as natural rows' are",
    "Juuti et al. 2019, PRADA (arXiv 1805.02628)", 0.1, 0.7)

_BITS = 64
_SAMPLE = 512
_RADIUS = 0.1
"""Near means nearer than this share of the usual distance to the nearest row."""


@dataclass(frozen=True, eq=False)
class Sketch:
    """64 bits of a row: signs of random Fourier features. Rows nearer than about a tenth of the usual distance to the
    nearest neighbour differ in at most three bits, others in about 32."""

    scaling: Scaling
    directions: Floats
    phases: Floats

    @classmethod
    def fit(cls, numbers: Floats, *, seed: int = 0) -> Sketch:
        """Draw directions for reference rows [m, Rn]. A bit flips between rows at distance d with probability
        ≈ 0.25·d/h, so that h = 5.3·radius gives three flips of 64 at the radius."""
        random = np.random.default_rng(seed)
        scaling = Scaling.fit(numbers)
        width = 5.3 * _RADIUS * _nearest(scaling.standardise(numbers[random.permutation(len(numbers))[:_SAMPLE]]))
        directions = random.standard_normal((numbers.shape[1], _BITS)) / width
        return cls(scaling, directions, random.uniform(0, 2 * np.pi, _BITS))

    def standardise(self, numbers: Floats) -> Floats:
        """Rows in robust standard deviations, as `of` wants them."""
        return self.scaling.standardise(numbers)

    def of(self, standard: Floats) -> Sketches:
        """The sketch of each standardised row [n, Rn]."""
        positive = np.cos(standard @ self.directions + self.phases) > 0
        return np.packbits(positive, axis=1).view(np.uint64)[:, 0]

    def to_json(self) -> dict[str, Any]:
        """As a JSON object."""
        return {"centre": pack(self.scaling.centre), "weight": pack(self.scaling.weight),
                "directions": pack(self.directions), "phases": pack(self.phases)}

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Sketch:
        """The same sketch again."""
        return cls(Scaling(unpack(document["centre"]), unpack(document["weight"])), unpack(document["directions"]),
                   unpack(document["phases"]))


def _nearest(standard: Floats) -> float:
    """Median distance of a row to the nearest other one that differs; 1 without any."""
    squares = np.einsum("ij,ij->i", standard, standard)
    distances = squares[:, None] + squares - 2 * standard @ standard.T
    distances[distances < 1e-9 * (1 + squares[:, None])] = np.inf
    nearest = np.sqrt(distances.min(axis=1, initial=np.inf))
    found = nearest[np.isfinite(nearest)]
    return float(np.median(found)) if found.size else 1.0


def smallest_distances(sketch: Sketches, earlier: Sketches) -> NDArray[np.int64]:
    """Bits that each sketch differs in from the most similar earlier one; 64 without any."""
    differing = np.bitwise_xor(sketch[:, None], earlier[None, :])
    return np.asarray(_bit_count(differing).min(axis=1, initial=_BITS), np.int64)


def _bit_count(words: Sketches) -> NDArray[np.int64]:
    if hasattr(np, "bitwise_count"):  # numpy 2
        return np.asarray(np.bitwise_count(words), np.int64)
    return np.asarray(_BITS_OF_BYTE[words[..., None].view(np.uint8)].sum(axis=-1, dtype=np.int64))


_BITS_OF_BYTE = np.array([byte.bit_count() for byte in range(256)], np.uint8)


def margins(probabilities: NDArray[Any]) -> Floats:
    """How far each row is from another answer: largest minus second largest probability of [n, classes], or twice the
    distance from one half where there is one number per row."""
    if probabilities.ndim == 1 or probabilities.shape[1] == 1:
        return np.asarray(np.abs(2 * probabilities.reshape(len(probabilities)).astype(np.float64) - 1))
    largest = np.partition(probabilities.astype(np.float64), -2, axis=1)[:, -2:]
    return np.asarray(largest[:, 1] - largest[:, 0])


def normality(values: NDArray[Any]) -> float:
    """Shapiro & Francia's W': squared correlation of the ordered values with normal scores; 1 is exactly normal.

    It stands for the Shapiro–Wilk statistic of PRADA and needs no tables. Constant values give 0.
    """
    ordered = np.sort(np.asarray(values, np.float64))
    centred = ordered - ordered.mean()
    spread = float(centred @ centred)
    scores = _normal_scores(len(ordered))
    return 0.0 if spread == 0 else float((centred @ scores) ** 2 / (spread * (scores @ scores)))


@lru_cache
def _normal_scores(count: int) -> Floats:
    """Blom's approximation of the expected order statistics."""
    normal = NormalDist()
    return np.array([normal.inv_cdf((rank - 0.375) / (count + 0.25)) for rank in range(1, count + 1)])
