"""Why the loss changed: other inputs, or another world.

The mean loss of a window differs from the reference's for two reasons, and they want different cures:

```
window − reference  =  (reference, reweighted to the window's inputs − reference)     inputs: harder rows
                    +  (window − reference, reweighted to the window's inputs)        relation: P(truth | row) changed
```

Reweighting rakes: reference rows get weights with which every feature has the window's share in every bin (Deming &
Stephan 1940), the least that must change. A shift of how features go together, with none by themselves, is not seen
as one of the inputs; give such a pair, or the score, as a feature of its own. Where the reference has hardly any row
like the window's, nothing can be told apart, and the verdict is "unknown".
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from serinus.monitors.intervals import LEVEL, Interval, around
from serinus.monitors.performance import FEWEST

__all__ = ["LossChange", "explain_change", "raked"]

Array = NDArray[Any]
Sample = tuple[Array, Array]
Verdict = Literal["no change", "inputs", "relation", "both", "unclear", "unknown"]

_ROUNDS = 50
_CLOSE = 1e-4
_MOST_NOVEL = 0.1
_LARGEST_WEIGHT = 50.0


class LossChange(NamedTuple):
    """A change of the mean loss in its two parts.

    Attributes:
        verdict: "inputs", "relation", "both", "no change"; "unclear" where there is a change that neither part alone
            explains with certainty; "unknown" where there are too few rows, or none like them in the reference.
        total: window less reference.
        inputs: what other inputs explain, None where that is unknown.
        relation: what is left.
        rows_like_it: how many reference rows the reweighted ones are worth.
        reason: of "unknown", as a sentence.
    """

    verdict: Verdict
    total: Interval | None
    inputs: Interval | None
    relation: Interval | None
    values: tuple[float, float, float] | None
    rows_like_it: float
    reason: str = ""


def explain_change(codes: Array, losses: Array, window_codes: Array, window_losses: Array,
                   level: float = LEVEL) -> LossChange:
    """Explain the difference of two mean losses.

    Args:
        codes: bins of the reference's features `[n, F]`, small integers.
        losses: of the reference's rows, `[n]`, not the ones that the model was fitted to.
        window_codes: the window's bins `[m, F]`.
        window_losses: `[m]`.
        level: of the intervals.
    """
    ours, theirs = _known(codes, losses), _known(window_codes, window_losses)
    if min(len(ours[1]), len(theirs[1])) < FEWEST:
        return _unknown(f"{len(ours[1]):,} reference rows and {len(theirs[1]):,} of the window have a loss; "
                        f"{FEWEST} of each are needed.")
    novel = _novel_share(ours[0], theirs[0])
    if novel > _MOST_NOVEL:
        return _unknown(f"{novel:.0%} of the window's rows have a value that no reference row has.")
    weights = raked(ours[0], theirs[0])
    like = float(weights.sum() ** 2 / (weights**2).sum()) if weights.any() else 0.0
    if like < FEWEST:
        return _unknown(f"Only about {like:.0f} reference rows are like the window's.", like)
    return _explained(ours, weights, theirs, like, level)


def _known(codes: Array, losses: Array) -> Sample:
    loss = np.asarray(losses, float)
    kept = np.isfinite(loss)
    return np.asarray(codes, np.int64)[kept], np.clip(loss[kept], -1e100, 1e100)


def _unknown(reason: str, like: float = 0.0) -> LossChange:
    return LossChange("unknown", None, None, None, None, like, reason)


def _novel_share(codes: Array, window: Array) -> float:
    seen = [np.isin(window[:, place], codes[:, place]) for place in range(window.shape[1])]
    return float(1 - np.mean(np.all(seen, axis=0))) if seen else 0.0


def raked(codes: Array, window: Array) -> Array:
    """Give the reference's rows weights with which each feature's bins have the window's shares, mean 1.

    Example:
        >>> raked(np.array([[0], [0], [0], [1]]), np.array([[0], [1]])).round(2).tolist()
        [0.67, 0.67, 0.67, 2.0]
    """
    weights = np.ones(len(codes))
    wanted = [_shares(column, None, int(max(column.max(), other.max())) + 1)
              for column, other in zip(window.T, codes.T, strict=True)]
    for _ in range(_ROUNDS):
        moved = 0.0
        for column, shares in zip(codes.T, wanted, strict=True):
            have = _shares(column, weights, len(shares))
            ratio = np.where(have > 0, shares / np.where(have > 0, have, 1.0), 1.0)
            weights = weights * ratio[column]
            moved = max(moved, float(np.abs(shares - have)[have > 0].max(initial=0.0)))
        if not weights.any():  # no reference row has the window's bins together
            return weights
        weights = np.minimum(weights / weights.mean(), _LARGEST_WEIGHT)
        if moved < _CLOSE:
            break
    return np.asarray(weights / weights.mean())


def _shares(column: Array, weights: Array | None, length: int) -> Array:
    counted = np.bincount(column, weights, length)
    shares: Array = counted / counted.sum()
    return shares


def _explained(reference: Sample, weights: Array, window: Sample, like: float, level: float) -> LossChange:
    """The parts, with the errors that they have as regression estimates (Cassel, Särndal & Wretman 1976)."""
    before, expected, now = reference[1].mean(), weights @ reference[1] / weights.sum(), window[1].mean()
    fitted, fitted_window = _fitted(reference, window[0])
    left, left_window = reference[1] - fitted, window[1] - fitted_window
    n, m = len(left), len(left_window)
    total = around(now - before, reference[1].var(ddof=1) / n + window[1].var(ddof=1) / m, level)
    moved = fitted.var(ddof=1) / n + fitted_window.var(ddof=1) / m
    inputs = around(expected - before, moved + float((((weights - 1) * left) ** 2).sum()) / n**2, level)
    relation = around(now - expected, left_window.var(ddof=1) / m + float(((weights * left) ** 2).sum()) / n**2, level)
    values = float(now - before), float(expected - before), float(now - expected)
    return LossChange(_verdict(total, inputs, relation), total, inputs, relation, values, like)


def _fitted(reference: Sample, window: Array) -> tuple[Array, Array]:
    """The loss that bins suggest, by a sum of one effect per bin fitted to the reference, for both."""
    codes, losses = reference
    sizes = np.maximum(codes.max(0), window.max(0)) + 1
    starts = np.cumsum([0, *sizes[:-1]])
    ours, theirs = np.zeros((len(codes), sizes.sum())), np.zeros((len(window), sizes.sum()))
    for columns, table in ((codes, ours), (window, theirs)):
        np.put_along_axis(table, columns + starts, 1.0, axis=1)
    scale = max(float(np.abs(losses).max()), 1e-300)
    target = (losses - losses.mean()) / scale
    effects = np.linalg.solve(ours.T @ ours + np.eye(ours.shape[1]), ours.T @ target) * scale
    return ours @ effects, theirs @ effects


def _verdict(total: Interval | None, inputs: Interval | None, relation: Interval | None) -> Verdict:
    if total is None or inputs is None or relation is None:
        return "unknown"
    by_inputs, by_relation = not inputs.holds(0.0), not relation.holds(0.0)
    if by_inputs and by_relation:
        return "both"
    if by_relation:
        return "relation"
    if total.holds(0.0):
        return "no change"
    return "inputs" if by_inputs else "unclear"
