"""Whether both arms of a rollout got the same inputs, by what their monitors counted of the same stretch of time.

Each version's rows are counted in the bins of its own reference. Where the bins lie elsewhere, only what is certain is
compared: how many rows are below an edge of one is known of the other between two bounds. A difference counts when it
is larger than `LEAST` and confidence sequences of both shares, at `ALPHA` over all that is compared, lie apart. A
caller's rows are alike, so counts are brought down to as many as there were units.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from itertools import pairwise
from math import inf
from typing import Any, NamedTuple

from numpy.typing import NDArray

from serinus.monitors.features import MISSING, UNSEEN, VALUES, Feature
from serinus.monitors.profile import Profile
from serinus.monitors.sequential.confidence_sequences import probability_bounds

__all__ = ["ALPHA", "LEAST", "ArmInputs", "differences"]

ALPHA = 0.01
"""The chance that arms with the same inputs are ever taken for different ones."""
LEAST = 0.02
"""Smaller differences of shares explain little, and are nobody's excuse."""


class ArmInputs(NamedTuple):
    """What one arm's monitors counted: `table` has a line per feature of `profile`; `units` are callers and requests
    without a key."""

    profile: Profile
    table: NDArray[Any]
    units: int


class _Share(NamedTuple):
    """Rows of which something is certain, rows of which it is possible, and all."""

    least: int
    most: int
    rows: int


class _Difference(NamedTuple):
    gap: float
    sentence: str


def differences(candidate: ArmInputs, stable: ArmInputs) -> str:
    """The largest difference between the arms' inputs as a sentence; empty where none is sure."""
    compared = list(_compared(candidate, stable))
    found = [difference for name, theirs, others in compared
             if (difference := _difference(name, (theirs, candidate), (others, stable), ALPHA / len(compared)))]
    return max(found).sentence if found else ""


def _compared(candidate: ArmInputs, stable: ArmInputs) -> Iterator[tuple[str, _Share, _Share]]:
    """Everything that both can be asked about their inputs."""
    others = {feature.name: (feature, line) for feature, line in _inputs(stable)}
    alike = candidate.profile.digest == stable.profile.digest
    for feature, line in _inputs(candidate):
        other, its_line = others.get(feature.name, (feature, None))
        if its_line is None or other.kind != feature.kind:
            continue
        cuts = sorted({*feature.edges, *other.edges}) if feature.kind == "numeric" else []
        mine, its = _shares(feature, line, cuts, alike), _shares(other, its_line, cuts, alike)
        for what in mine.keys() & its.keys():
            yield f"{feature.name} is {what}", mine[what], its[what]


def _inputs(arm: ArmInputs) -> Iterator[tuple[Feature, NDArray[Any]]]:
    for feature, line in zip(arm.profile.features, arm.table, strict=True):
        if feature.side == "input" and feature.monitorable and not feature.is_learnt and line.sum() > 0:
            yield feature, line


def _shares(feature: Feature, line: NDArray[Any], cuts: list[float], alike: bool) -> Mapping[Hashable, _Share]:
    """By what is asked. Only profiles that are `alike` mean the same by what was never seen before."""
    rows = int(line.sum())
    exact = {"missing": int(line[MISSING])}
    if alike:
        exact["outside of the reference"] = int(line[UNSEEN])
    exact |= {repr(category): int(line[code]) for code, category in enumerate(feature.categories)}
    found: dict[Hashable, _Share] = {what: _Share(number, number, rows) for what, number in exact.items()}
    for cut in cuts:
        found[f"below {cut:.4g}"] = _below(feature, line, cut, rows - exact["missing"])
    return found


def _below(feature: Feature, line: NDArray[Any], cut: float, rows: int) -> _Share:
    """What is outside of the range may lie on either side."""
    ends = (feature.low, *feature.edges, inf)
    bins = list(zip(pairwise(ends), line[:VALUES].tolist(), strict=False))
    least = sum(number for (_, high), number in bins if high <= cut or cut > feature.high)
    most = sum(number for (low, _), number in bins if low < cut) + int(line[UNSEEN])
    return _Share(least, most, rows)


def _difference(what: str, candidate: tuple[_Share, ArmInputs], stable: tuple[_Share, ArmInputs],
                alpha: float) -> _Difference | None:
    theirs, others = _facing(candidate[0], stable[0])
    if not candidate[0].rows or not stable[0].rows:
        return None
    gap = abs(theirs / candidate[0].rows - others / stable[0].rows)
    if gap < LEAST:
        return None
    bounds = [probability_bounds(*_in_units(events, share.rows, arm.units), alpha / 2)
              for events, (share, arm) in ((theirs, candidate), (others, stable))]
    if bounds[0].low <= bounds[1].high and bounds[1].low <= bounds[0].high:
        return None
    return _Difference(gap, f"{what} in {100 * theirs / candidate[0].rows:.3g} % of the candidate's rows and "
                            f"{100 * others / stable[0].rows:.3g} % of stable's")


def _facing(candidate: _Share, stable: _Share) -> tuple[int, int]:
    """The ends of both ranges that lie closest; twice the same share where they overlap."""
    if candidate.least * stable.rows > stable.most * candidate.rows:
        return candidate.least, stable.most
    if candidate.most * stable.rows < stable.least * candidate.rows:
        return candidate.most, stable.least
    return 0, 0


def _in_units(events: int, rows: int, units: int) -> tuple[int, int]:
    whole = min(rows, max(units, 1))
    return round(events * whole / rows), whole
