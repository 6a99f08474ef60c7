"""Contrasts: the questions that the drift detector asks of a feature's 18 bins.

A contrast gives each bin a number g in [−1, 1], centred so that its mean under the reference is 0. Where the mean of g
among live rows is not 0, the feature has changed in the way the contrast looks at:

- *location*: the normal score of the bin's midrank (van der Waerden), so that all shapes of reference are treated like
  a normal one. Missing and unseen values count 0: they have contrasts of their own.
- *scale*: the squared logarithm of r/(1 − r), r the midrank: how far from the middle, on either side. A number outside
  the reference's range is as far out as can be.
- *bin b*: 1 in bin b and 0 elsewhere, less the bin's share; missing and unseen are bins too.

Only ordered (numeric) features have a location and a scale. All of it is linear in counts, so shares of tables that
were added are the shares of all rows together.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from serinus.monitors.features import MISSING, VALUES, WIDTH

__all__ = ["CONTRASTS", "LOCATION", "SCALE", "contrasts", "shares"]

LOCATION = 0
SCALE = 1
CONTRASTS = 2 + WIDTH
"""Location, scale, and one per bin."""

Array = NDArray[Any]


def shares(counts: Array) -> Array:
    """Return counts as shares of their rows, `[…, 18]`; all 0 where there are no rows."""
    table = np.asarray(counts, float)
    parts: Array = table / np.maximum(table.sum(-1, keepdims=True), 1.0)
    return parts


def contrasts(counts: Array, ordered: Array) -> Array:
    """Return g `[R, 20, 18]` of reference counts `[R, 18]`; location and scale are 0 where `ordered` is false."""
    p = shares(counts)
    ranks = _midranks(p[:, :VALUES])
    g = np.zeros((len(p), CONTRASTS, WIDTH))
    g[:, LOCATION, :VALUES] = _centred(_normal_scores(ranks), p[:, :VALUES])
    # Columns 0–15 and 17: everything but missing.
    known = np.delete(np.arange(WIDTH), MISSING)
    far = _distances(ranks)
    g[:, SCALE, known] = _centred(np.concatenate([far, far.max(1, keepdims=True)], 1), p[:, known])
    g[~np.asarray(ordered, bool), :2] = 0.0
    g[:, 2:] = np.eye(WIDTH) - p[:, :, None]
    return g


def _midranks(values: Array) -> Array:
    mass = values.sum(1, keepdims=True)
    ranks: Array = (np.cumsum(values, 1) - values / 2) / np.where(mass > 0, mass, 1.0)
    # Rounding may leave a rank a hair outside; a bin that no reference row reached is no further out than 1 in 64.
    return np.clip(np.where(mass > 0, ranks, 0.5), 1 / 64, 1 - 1 / 64)


def _normal_scores(ranks: Array) -> Array:
    """Return Φ⁻¹ of ranks as Tukey's lambda distribution has it, at most 0.02 off in [1/64, 63/64]."""
    scores: Array = 4.91 * (ranks**0.14 - (1 - ranks) ** 0.14)
    return scores


def _distances(ranks: Array) -> Array:
    distances: Array = np.log(ranks / (1 - ranks)) ** 2
    return distances


def _centred(scores: Array, p: Array) -> Array:
    """Return scores less their mean under p, so scaled that the largest is ±1."""
    mass = p.sum(1, keepdims=True)
    centred = scores - (scores * p).sum(1, keepdims=True) / np.where(mass > 0, mass, 1.0)
    largest = np.abs(centred).max(1, keepdims=True)
    scaled: Array = centred / np.where(largest > 1e-9, largest, 1.0) * (mass > 0)
    return scaled
