"""How many times as often an event happens in one arm as in the other, judged at any time.

Two arms share the traffic at random, the candidate with weight w. If an event is ρ times as likely in the candidate,
then each event, whatever traffic and base rate do meanwhile, is the candidate's with probability

    p(ρ) = w ρ / (w ρ + 1 − w)

so the counts of events alone carry a likelihood of ρ, over all steps of a rollout with their different weights. A
mixture of its ratios to the boundary of the null hypothesis is an e-process: under that hypothesis the chance that it
*ever* exceeds 1/α is at most α (Ville's inequality), however often one looks. The mixture's weights do not touch this
bound, only the time until something is found: they fall off on both sides of a ratio of 2.5 for harm and of 1 for its
absence.

Source: Lindon & Malek, "Anytime-valid inference for multinomial count data", NeurIPS 2022 (arXiv 2011.03567). The
mixture over onsets is an e-detector's: Shin, Ramdas & Rinaldo 2023 (arXiv 2203.03532).

Example:
    At weight ½ and ratio 1 each event is the candidate's with probability ½. Of ten events nine are the candidate's:

    >>> round(float(harm([0.5], [9], [1], ratio=1.0)), 2)
    2.91

    which is evidence of e^2.91 ≈ 18 to one that the candidate's rate is higher; alarm at 100 to one, say.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["LARGEST", "SMALLEST", "Interval", "harm", "harm_since", "interval", "non_inferiority"]

SMALLEST, LARGEST = 0.05, 20.0
"""Ratios are looked for between these."""

_POINTS = 121
_FINE = 481
_USUAL_HARM = 2.5
_FALL_OFF = 1.5
_FROM_THE_START = 0.9

Floats = NDArray[np.float64]


class Interval(NamedTuple):
    """A confidence sequence's present interval for a ratio; `low` 0 and `high` infinite mean no bound on that side."""

    low: float
    high: float


def harm(weights: ArrayLike, candidate: ArrayLike, stable: ArrayLike, *, ratio: float = 1.1) -> Floats:
    """Log evidence against "the candidate's rate is at most `ratio` times stable's".

    Args:
        weights: `[J]`, the candidate's share of the units in each step, strictly between 0 and 1.
        candidate: `[…, J]`, events in the candidate's arm in each step.
        stable: `[…, J]`, events in stable's arm in each step.
        ratio: the largest ratio that is no harm.

    Returns:
        `[…]` natural logarithms; roll back when one reaches log(1/α).
    """
    ratios = _grid(ratio, LARGEST, _POINTS + 1)
    return _mixture(_log_likelihood(weights, candidate, stable, ratios), ratios, _USUAL_HARM)


def non_inferiority(weights: ArrayLike, candidate: ArrayLike, stable: ArrayLike, *, margin: float = 1.5) -> Floats:
    """Log evidence against "the candidate's rate is at least `margin` times stable's"; arguments as for `harm`.

    Promote when it reaches log(1/β).
    """
    ratios = _grid(margin, SMALLEST, _POINTS + 1)
    return _mixture(_log_likelihood(weights, candidate, stable, ratios), ratios, 1.0)


def harm_since(weights: ArrayLike, candidate: ArrayLike, stable: ArrayLike, *, ratio: float = 1.1) -> Floats:
    """Log evidence of harm that began at some time: `harm` over buckets of time `[…, T]`, mixed over its onsets.

    The evidence of an onset is that of the buckets since. The first bucket has nine tenths of the weight, later ones
    s = 1, 2, … share the rest as 1/(s(s+1)); together that is one, so the mixture is an e-process too. Late harm is not
    drowned by a long good time before it.
    """
    ratios = _grid(ratio, LARGEST, _POINTS + 1)
    since = _since(_log_likelihoods(weights, candidate, stable, ratios))
    evidence = _mixture(since, ratios, _USUAL_HARM)
    later = np.arange(1, evidence.shape[-1])
    log_weights = np.log(np.concatenate([[_FROM_THE_START], (1 - _FROM_THE_START) / (later * (later + 1.0))]))
    unspent = np.log((1 - _FROM_THE_START) / (later.size + 1.0))  # onsets still to come: their evidence is 1
    return np.logaddexp(logsumexp(evidence + log_weights), unspent)


def interval(weights: ArrayLike, candidate: ArrayLike, stable: ArrayLike, *, alpha: float = 0.05) -> Interval:
    """The ratios that the events so far leave possible; it holds at all times at once with probability 1 − `alpha`.

    Arguments as for `harm`, for one rollout (`[J]`). The interval is rounded outwards to a grid of 2.5 %.
    """
    ratios = _grid(SMALLEST, LARGEST, _FINE)
    likelihood = _log_likelihood(weights, candidate, stable, ratios)
    mixture = logsumexp(likelihood) - np.log(_FINE)
    possible = np.flatnonzero(mixture - likelihood < np.log(1 / alpha))
    first, last = (int(possible[0]), int(possible[-1])) if possible.size else (int(np.argmax(likelihood)),) * 2
    low = float(ratios[first - 1]) if first else 0.0
    high = float(ratios[last + 1]) if last + 1 < _FINE else np.inf
    return Interval(low, high)


def logsumexp(values: Floats) -> Floats:
    """The logarithm of the sum of exponentials over the last axis."""
    top = values.max(axis=-1, keepdims=True)
    total: Floats = top[..., 0] + np.log(np.exp(values - top).sum(axis=-1))
    return total


@lru_cache(64)
def _grid(first: float, last: float, points: int) -> Floats:
    """Ratios in geometric steps; one look at a rollout asks for the same ones many times."""
    found: Floats = np.geomspace(first, last, points)
    found.flags.writeable = False
    return found


def _mixture(likelihood: Floats, ratios: Floats, around: float) -> Floats:
    """The weighted mean likelihood of all ratios but the first, relative to that of the first: the null's boundary."""
    weights = np.exp(-_FALL_OFF * np.abs(np.log(ratios[1:] / around)))
    return logsumexp(likelihood[..., 1:] + np.log(weights / weights.sum())) - likelihood[..., 0]


def _log_likelihood(weights: ArrayLike, candidate: ArrayLike, stable: ArrayLike, ratios: Floats) -> Floats:
    """`[…, ratios]`, over all steps together."""
    theirs, others = _log_shares(weights, ratios)
    return np.asarray(candidate, np.float64) @ theirs + np.asarray(stable, np.float64) @ others


def _log_likelihoods(weights: ArrayLike, candidate: ArrayLike, stable: ArrayLike, ratios: Floats) -> Floats:
    """`[…, T, ratios]`, of each step by itself."""
    theirs, others = _log_shares(weights, ratios)
    by_step: Floats = (np.asarray(candidate, np.float64)[..., None] * theirs
                       + np.asarray(stable, np.float64)[..., None] * others)
    return by_step


def _log_shares(weights: ArrayLike, ratios: Floats) -> tuple[Floats, Floats]:
    """`[J, ratios]` each: the log probabilities that an event is the candidate's, and that it is stable's."""
    weight = np.asarray(weights, np.float64)
    if weight.ndim != 1 or not ((weight > 0) & (weight < 1)).all():
        raise ValueError(f"Weights: expected a list of shares between 0 and 1, both excluded, got {weights!r}. Leave "
                         "out steps in which only one version answered: they compare nothing.")
    odds: Floats = (weight / (1 - weight))[:, None] * ratios
    return np.log(odds) - np.log1p(odds), -np.log1p(odds)


def _since(by_step: NDArray[Any]) -> Floats:
    """Sums from each step to the last."""
    sums: Floats = np.flip(np.cumsum(np.flip(by_step, axis=-2), axis=-2), axis=-2)
    return sums
