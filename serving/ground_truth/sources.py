"""Who gives truths that contradict confident answers: counted in each window, judged over all of a version's.

A truth that a poisoner sends looks like any other; a source whose truths contradict sure answers far more often than
those of the others do is told of. Of one source alone nothing is said: a model that got worse looks the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from serinus.monitors.alerts import Condition, Fact
from serinus.monitors.security import LabelSources

__all__ = ["Counts", "condition", "count_sources", "merged_sources"]

KIND = "label_source"

_BINS = 20
_MOST = 20
"""Sources of a window that are counted; those of most truths."""
_FEWEST_OTHERS = 50

Counts = Mapping[str, NDArray[np.int64]]
"""By source: truths, and those that contradict the answer, by the answer's confidence in twentieths `[2, 20]`."""


def count_sources(sources: Sequence[str], right: NDArray[np.bool_],
                  scores: NDArray[np.float64]) -> dict[str, list[list[int]]]:
    """Count rows by source, as JSON values; `scores` are probabilities `[n, K]`, or of one of two classes `[n]`."""
    sure = scores.max(1) if scores.ndim == 2 else np.maximum(scores, 1 - scores)
    bins = np.minimum((np.nan_to_num(sure) * _BINS).astype(int).clip(0), _BINS - 1)
    names, places = np.unique(np.asarray(sources, "U"), return_inverse=True)
    kept = np.sort(np.argsort(-np.bincount(places, minlength=len(names)), kind="stable")[:_MOST])
    return {str(names[one]): [np.bincount(bins[chosen], minlength=_BINS).tolist()
                              for chosen in (places == one, (places == one) & ~right)] for one in kept}


def merged_sources(parts: Iterable[Mapping[str, Sequence[Sequence[int]]]]) -> dict[str, NDArray[np.int64]]:
    """Add what the segments of a window gave."""
    found: dict[str, NDArray[np.int64]] = {}
    for part in parts:
        for source, counts in part.items():
            found[source] = found.get(source, np.zeros((2, _BINS), np.int64)) + np.array(counts, np.int64)
    return found


def condition(model: str, version: str, windows: Sequence[Counts]) -> Condition | None:
    """What alerts should know of a version's sources, from its windows in their order; None where one alone is known.
    """
    judged, told = LabelSources(), set[str]()
    for window in windows:
        batch = {source: [((at + 0.5) / _BINS, int(rows), int(wrong)) for at, (rows, wrong) in enumerate(counts.T)
                          if rows] for source, counts in window.items()}
        told |= judged.add_batch(batch, _FEWEST_OTHERS)
    shares = judged.shares()
    if len(shares) < 2:
        return None
    said = ", ".join(f"{source} ({shares[source]:.1%})" for source in sorted(told))
    text = f"Truths of {said} contradict confident answers far more often than those of other sources." if told else (
        f"Truths of {len(shares)} sources contradict confident answers about equally often.")
    facts: dict[str, Fact] = {"sources": len(shares), "told": len(told)}
    return Condition(model, version, KIND, "alarm", bool(told), text, facts)
