"""Poisoning: a reference or labels that were changed so that a later model, or the monitor itself, learns wrongly.

A reference is guarded when it is registered: against the one before (a sudden change), against the first one (many
small steps in one direction: the boiling frog), and against itself (a block that stands apart, blocks that repeat).
Labels are guarded by source, by how often they contradict confident predictions. All of these are reasons for a
person to look, before the reference is approved or the labels train anything.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import log
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from serinus.monitors.features import MISSING, NAMED, UNSEEN, VALUES, WIDTH, Feature
from serinus.monitors.profile import Profile
from serinus.monitors.security.evasion import Excess, excess
from serinus.monitors.security.signals import TOLD

__all__ = ["Doubt", "LabelSources", "flips_near_boundary", "guard_reference", "rebinned"]

Floats = NDArray[np.float64]

CHANGE = 0.25
"""Population stability index from which a change is large, by the usual reading of it (Siddiqi 2006)."""

_FEW_ROWS = 0.5
_BLOCK_ROWS = 100
_SLACK = 0.02


class Doubt(NamedTuple):
    """A reason to look at a reference before it is approved. `feature` is empty where it is about the whole;
    `size` is a stability index or a share, for ordering."""

    kind: Literal["changed", "boiling_frog", "block_apart", "repeated_block", "fewer_rows", "features"]
    feature: str
    sentence: str
    size: float


def guard_reference(new: Profile, old: Profile, first: Profile | None = None) -> list[Doubt]:
    """What speaks against replacing `old` by `new`, largest first; `first` is the reference of the registration.

    Inputs are compared, not outputs: another version of the model may answer otherwise.
    """
    doubts = [*_structure(new, old), *_changes(new, old, first), *_blocks_apart(new), *_repeated_blocks(new)]
    return sorted(doubts, key=lambda doubt: -doubt.size)


def _structure(new: Profile, old: Profile) -> Iterator[Doubt]:
    if new.rows < _FEW_ROWS * old.rows:
        yield Doubt("fewer_rows", "", f"The new reference has {new.rows:,} rows, the one before {old.rows:,}: small "
                    "changes would be seen less well.", 1 - new.rows / old.rows)
    before, after = _kinds(old), _kinds(new)
    odd = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
    if odd:
        more = f" and {len(odd) - 5} more" if len(odd) > 5 else ""
        yield Doubt("features", "", f"Features came, went or changed their kind: {', '.join(odd[:5])}{more}.", 1.0)


def _kinds(profile: Profile) -> dict[str, str]:
    return {feature.name: feature.kind for feature in profile.features if feature.side == "input"}


def _changes(new: Profile, old: Profile, first: Profile | None) -> Iterator[Doubt]:
    then, begin = _distances(new, old), _distances(new, first) if first is not None else {}
    for name, step in then.items():
        if step >= CHANGE:
            yield Doubt("changed", name, f"{name} differs from the reference before by a stability index of "
                        f"{step:.2f} (large from {CHANGE}).", step)
        way = begin.get(name, 0.0)
        if way >= CHANGE > step:
            yield Doubt("boiling_frog", name, f"{name} has come a stability index of {way:.2f} away from the first "
                        f"reference, by steps that were each below {CHANGE}.", way)


def _distances(new: Profile, old: Profile) -> dict[str, float]:
    """The stability index of each feature that both have and whose bins can be compared."""
    before = {feature.name: at for at, feature in enumerate(old.features) if feature.side == "input"}
    found = {}
    for at, feature in enumerate(new.features):
        there = before.get(feature.name)
        if there is not None and _comparable(feature, old.features[there], same_salt=new.salt == old.salt):
            counts = rebinned(feature, new.counts[at].astype(np.float64), old.features[there])
            found[feature.name] = _stability_index(counts, old.counts[there].astype(np.float64))
    return found


def _comparable(feature: Feature, old: Feature, *, same_salt: bool) -> bool:
    """Whether bins mean the same: hashed categories of two salts do not."""
    hashed = any(str(name).startswith("#") for name in (*feature.categories, *old.categories))
    return feature.kind == old.kind and (same_salt or not hashed)


def _stability_index(counts: Floats, reference: Floats) -> float:
    """Σ(p − q)·ln(p/q) with half a row in each bin that either has, less what chance alone gives (Yurdakul 2018)."""
    used = (counts + reference) > 0
    rows, old_rows = counts.sum(), reference.sum()
    if not rows or not old_rows:
        return 0.0
    p, q = (each[used] + 0.5 for each in (counts, reference))
    p, q = p / p.sum(), q / q.sum()
    chance = (1 / rows + 1 / old_rows) * (used.sum() - 1)
    return max(0.0, float(np.sum((p - q) * np.log(p / q)) - chance))


def rebinned(feature: Feature, counts: Floats, old: Feature) -> Floats:
    """A feature's counts [18] in the bins of an older profile; within a numeric bin rows are taken as evenly spread."""
    if feature.kind == "categorical":
        return _recoded(feature, counts, old)
    found = np.zeros(WIDTH)
    found[MISSING], found[UNSEEN] = counts[MISSING], counts[UNSEEN]
    inside = counts[:len(feature.edges) + 1]
    if inside.sum() and feature.edges == old.edges:
        found[:len(inside)] = inside
    elif inside.sum():
        places = np.array([feature.low, *feature.edges, feature.high])
        below = np.interp(old.edges, places, np.concatenate([[0.0], np.cumsum(inside)]))
        found[:len(old.edges) + 1] = np.diff(below, prepend=0.0, append=inside.sum())
    return found


def _recoded(feature: Feature, counts: Floats, old: Feature) -> Floats:
    """Categories that the older profile names go to their old codes, all others to its two rare bins."""
    found = np.zeros(WIDTH)
    codes = {category: code for code, category in enumerate(old.categories)}
    for code, category in enumerate(feature.categories):
        found[codes.get(category, NAMED)] += counts[code]
    found[NAMED] += counts[NAMED:VALUES].sum() / 2
    found[NAMED + 1] += counts[NAMED:VALUES].sum() / 2
    found[MISSING], found[UNSEEN] = counts[MISSING], counts[UNSEEN]
    return found


def _blocks_apart(profile: Profile) -> Iterator[Doubt]:
    """Time blocks that differ from the rest by far more than the other blocks do: rows put in at one place."""
    for at, feature in enumerate(profile.features):
        blocks = profile.blocks[:, at].astype(np.float64)
        if feature.side == "joint" or len(blocks) < 3 or blocks.sum() < len(blocks) * _BLOCK_ROWS:
            continue
        sizes = np.array([_stability_index(block, blocks.sum(axis=0) - block) for block in blocks])
        worst = int(np.argmax(sizes))
        if sizes[worst] >= CHANGE and sizes[worst] >= 5 * np.median(sizes):
            yield Doubt("block_apart", feature.name, f"{feature.name} in time block {worst + 1} of {len(blocks)} "
                        f"differs from the other blocks, which agree, by a stability index of {sizes[worst]:.2f}.",
                        float(sizes[worst]))


def _repeated_blocks(profile: Profile) -> Iterator[Doubt]:
    """Blocks with the same counts in every feature: rows that were copied."""
    seen: dict[bytes, int] = {}
    for at, block in enumerate(profile.blocks):
        twin = seen.setdefault(block.tobytes(), at)
        varied = np.count_nonzero(block) > 2 * len(block)  # else equal counts are no wonder
        if twin != at and varied and block[0].sum() >= _BLOCK_ROWS:
            yield Doubt("repeated_block", "", f"Time blocks {twin + 1} and {at + 1} of {len(profile.blocks)} have the "
                        "same counts in every feature: rows were copied.", 1.0)


def flips_near_boundary(margins: Floats, contradicted: NDArray[np.bool_], reference_margins: Floats,
                        reference_contradicted: NDArray[np.bool_], *, nearest: float = 0.25) -> Excess:
    """Whether labels contradict the predictions too often where predictions are least sure (Biggio et al. 2012; Paudice
    et al. 2018, arXiv 1803.00992): among the rows with margins in the reference's nearest quarter. There a few
    flips move the boundary most, and are told least by the overall disagreement."""
    if not len(reference_margins) or not len(margins):
        return excess(0, 0, 0, 0)
    limit = np.quantile(reference_margins, nearest)
    live, reference = contradicted[margins <= limit], reference_contradicted[reference_margins <= limit]
    return excess(int(live.sum()), int((~live).sum()), int(reference.sum()), int((~reference).sum()))


class LabelSources:
    """Who gives labels that contradict confident predictions, as an e-process per source.

    A label may contradict a prediction of confidence c with probability 1.5·(1 − c) + 0.02, or 1.5 times the other
    sources' share, whichever is more; the evidence is that of a `Signal` with this bound, against (1 + 3·bound)/4.
    """

    def __init__(self) -> None:
        self._evidence: dict[str, float] = {}
        self._labels: dict[str, list[int]] = {}

    def add(self, source: str, contradicts: bool, confidence: float) -> bool:
        """Note one label; whether its source is told of now. Then its evidence starts anew."""
        told = self._judge(source, [(confidence, 1, int(contradicts))])
        self._note(source, 1, int(contradicts))
        return told

    def add_batch(self, batch: Mapping[str, Sequence[tuple[float, int, int]]], fewest_others: int = 0) -> set[str]:
        """Note labels whose order is not known: by source confidence, labels and contradictions. Gives the sources
        that are told of now; none is of which the others have given fewer labels than `fewest_others`."""
        for source, counts in batch.items():
            for _, labels, bad in counts:
                self._note(source, labels, bad)
        whole = sum(labels for labels, _ in self._labels.values())
        return {source for source, counts in batch.items()
                if whole - self._labels[source][0] >= fewest_others and self._judge(source, counts)}

    def _note(self, source: str, labels: int, bad: int) -> None:
        mine = self._labels.setdefault(source, [0, 0])
        mine[0] += labels
        mine[1] += bad

    def _judge(self, source: str, counts: Sequence[tuple[float, int, int]]) -> bool:
        others, evidence = 1.5 * self._share_of_others(source), max(self._evidence.get(source, 0.0), 0.0)
        for confidence, labels, bad in counts:
            bound = min(0.5, max(1.5 * (1 - confidence) + _SLACK, others))
            suspect = (1 + 3 * bound) / 4
            evidence += bad * log(suspect / bound) + (labels - bad) * log((1 - suspect) / (1 - bound))
        told = evidence >= TOLD
        self._evidence[source] = 0.0 if told else evidence
        return told

    def shares(self) -> dict[str, float]:
        """The share of contradictions of each source."""
        return {source: bad / labels for source, (labels, bad) in self._labels.items()}

    def _share_of_others(self, source: str) -> float:
        others = [counts for name, counts in self._labels.items() if name != source]
        labels = sum(counts[0] for counts in others)
        return sum(counts[1] for counts in others) / labels if labels else 0.0
