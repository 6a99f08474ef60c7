"""Where and why a version's loss is what it is: declared and found slices, gaps between groups, inputs or relation.

All of it looks at a sample of live rows whose truth came, so what is said of a slice has the sample's number of rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from serinus.monitors import intervals
from serinus.monitors.features import WIDTH
from serinus.monitors.harm import losses_of
from serinus.monitors.intervals import Interval
from serinus.monitors.loss_change import LossChange, explain_change
from serinus.monitors.performance import FEWEST, Definition
from serinus.monitors.profile import Profile
from serinus.monitors.slices import FoundSlice, Gap, class_gaps, discover, slice_names
from serinus.monitors.slices import fairness as gaps_between
from serinus.serving.ground_truth.resolution import alike
from serinus.serving.performance.document import judged, main_measure, measures
from serinus.serving.performance.promise import Promise
from serinus.serving.performance.sample import Rows

__all__ = ["Judged", "change", "declared_slices", "fairness", "found_slices"]

_MOST_VALUES, _MOST_CLASSES = 20, 20
_MOST_FOUND = 5
_MOST_ROWS = 6_000
"""Rows that a search looks at in one go: the steward has other work, too."""

Array = NDArray[Any]


class Judged(NamedTuple):
    """Rows whose truth is known, and their losses."""

    definition: Definition
    rows: Rows
    truth: Array
    losses: Array

    @classmethod
    def of(cls, definition: Definition, rows: Rows, truth: Array, scale: float = 1.0) -> Judged:
        """Hold answers against truths; what cannot be is left out."""
        losses = losses_of(definition, rows.outcomes(truth), scale)
        kept = np.flatnonzero(np.isfinite(losses))
        return cls(definition, rows.chosen(kept), truth[kept], losses[kept])

    def latest(self, most: int = _MOST_ROWS) -> Judged:
        """At most so many rows, the last ones."""
        return Judged(self.definition, self.rows.chosen(np.arange(len(self.rows))[-most:]), self.truth[-most:],
                      self.losses[-most:])


def declared_slices(found: Judged, keys: Sequence[str]) -> list[dict[str, Any]]:
    """Every value of the declared keys with its measures, the largest first; those of few rows are "unknown"."""
    named = slice_names(found.rows.declared, keys)
    largest = sorted(named, key=lambda name: (-int(named[name].sum()), name))[:_MOST_VALUES]
    return [_declared(found, name, named[name]) for name in largest]


def _declared(found: Judged, name: str, inside: Array) -> dict[str, Any]:
    places = np.flatnonzero(inside)
    definition, rows = found.definition, found.rows.chosen(places)
    measured = judged(definition.measure(definition.sums(rows.outcomes(found.truth[places]))))
    ours, theirs = found.losses[inside], found.losses[~inside]
    difference = _difference(ours, theirs)
    verdict = "unknown" if difference is None else "worse" if difference.low > 0 else "no worse"
    main = main_measure(definition)
    value = measured[main].value if main in measured else None
    text = f"{name}: unknown, {len(ours):,} rows with a truth" if verdict == "unknown" or value is None else (
        f"{name}: {main} {value:.4g} of {len(ours):,} rows, {verdict} than elsewhere")
    return {"slice": name, "kind": "declared", "rows": len(ours), "measures": measures(measured),
            "loss": float(ours.mean()) if len(ours) else None, "others": float(theirs.mean()) if len(theirs) else None,
            "low": difference.low if difference else None, "high": difference.high if difference else None,
            "verdict": verdict, "text": text}


def _difference(ours: Array, theirs: Array) -> Interval | None:
    """How much the mean loss of a slice is above that of the others; None where too few rows tell."""
    if min(len(ours), len(theirs)) < FEWEST:
        return None
    variance = float(ours.var(ddof=1)) / len(ours) + float(theirs.var(ddof=1)) / len(theirs)
    return intervals.around(float(ours.mean() - theirs.mean()), variance)


def found_slices(found: Judged, profile: Profile, features: Sequence[int]) -> list[dict[str, Any]]:
    """Slices that nobody declared where the loss is higher, tested on rows that had no part in finding them."""
    latest = found.latest()
    inputs = [column for column, place in enumerate(features) if profile.features[place].side == "input"]
    named = [profile.features[features[column]] for column in inputs]
    labels = [[label or f"bin {code}" for code, label in enumerate(feature.labels[:WIDTH])] for feature in named]
    slices = discover(latest.rows.codes[:, inputs], latest.losses, [feature.name for feature in named], labels,
                      most=_MOST_FOUND)
    return [_found(one, latest) for one in slices]


def _found(one: FoundSlice, judged_rows: Judged) -> dict[str, Any]:
    return {"slice": one.name, "kind": "found", "rows": one.rows, "measures": {}, "loss": one.loss,
            "others": one.others, "low": one.interval.low, "high": one.interval.high, "verdict": "worse",
            "p_value": one.p_value, "examples": [judged_rows.rows.ids[place] for place in one.examples],
            "text": f"{one.name}: loss {one.loss:.3g} of {one.rows:,} rows, {one.others:.3g} elsewhere"}


def fairness(found: Judged, keys: Sequence[str]) -> list[dict[str, Any]]:
    """Gaps between the values of declared inputs, of a classifier; of more than two classes the widest of each
    measure."""
    definition = found.definition
    if definition.task != "classification" or not 2 <= len(definition.labels) <= _MOST_CLASSES:
        return []
    positive = 1 if definition.positive is None else definition.labels.index(definition.positive)
    told = []
    for key in keys:
        named = slice_names(found.rows.declared, [key])
        largest = sorted(named, key=lambda name: -int(named[name].sum()))[:_MOST_VALUES]
        sums = {name: definition.sums(found.rows.chosen(np.flatnonzero(named[name])).outcomes(
            found.truth[named[name]])) for name in largest}
        gaps = gaps_between(sums, positive) if len(definition.labels) == 2 else class_gaps(
            sums, [alike(label) for label in definition.labels])
        told += [_gap(key, gap) for gap in gaps]
    return told


def _gap(key: str, gap: Gap) -> dict[str, Any]:
    words = gap.measure.replace("_", " ")
    text = f"{words} of {gap.groups[0]} and {gap.groups[1]}: unknown, too few rows" if gap.difference is None else (
        f"{words} is {gap.difference:.3g} higher for {gap.groups[0]} than for {gap.groups[1]}"
        f"{'' if gap.verdict == 'gap' else ', which may be chance'}")
    low, high = gap.interval or (None, None)
    return {"key": key, "measure": gap.measure, "groups": list(gap.groups), "difference": gap.difference, "low": low,
            "high": high, "verdict": gap.verdict, "text": text}


def change(found: Judged, promise: Promise) -> dict[str, Any]:
    """Why the loss differs from the reference's: other inputs, or another world."""
    latest = found.latest()
    explained = explain_change(promise.codes, promise.losses, latest.rows.codes, latest.losses)
    parts = {name: _part(explained, place) for place, name in enumerate(("total", "inputs", "relation"))}
    return {"verdict": explained.verdict, "rows": len(latest.rows), **parts, "text": _why(explained)}


def _part(explained: LossChange, place: int) -> dict[str, float] | None:
    interval = (explained.total, explained.inputs, explained.relation)[place]
    if interval is None or explained.values is None:
        return None
    return {"value": explained.values[place], "low": interval.low, "high": interval.high}


def _why(explained: LossChange) -> str:
    if explained.values is None:
        return f"Why the loss is what it is cannot be told. {explained.reason}"
    total, inputs, relation = explained.values
    moved = f"The mean loss moved by {total:+.3g} from the reference's"
    return {
        "no change": f"{moved}, which may be chance.",
        "inputs": f"{moved}: the inputs shifted ({inputs:+.3g}); what becomes of alike rows is as it was.",
        "relation": f"{moved}: what becomes of alike rows has changed ({relation:+.3g}), P(truth | row) is not what it "
                    "was.",
        "both": f"{moved}: the inputs shifted ({inputs:+.3g}), and what becomes of alike rows has changed "
                f"({relation:+.3g}).",
    }.get(explained.verdict, f"{moved}; whether by other inputs or by another world is not clear.")
