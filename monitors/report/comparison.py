"""What a report says of each feature and of each window: frozen facts, computed from counts alone."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from enum import StrEnum
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from serinus.monitors.counts import Counts
from serinus.monitors.distances import ChiSquared, Distance, Measured, Wasserstein
from serinus.monitors.distances.boundaries import boundaries_of
from serinus.monitors.features import MISSING, UNSEEN, Feature
from serinus.monitors.profile import Profile
from serinus.monitors.windows import WindowResult, WindowTest, holm, wilson

__all__ = ["Bin", "Comparison", "Rate", "Verdict", "WindowComparison", "compare", "compare_windows", "formatted"]

_SHAPE = 0
"""The question of `WindowTest` whose dispersion a distance takes over."""
_TOP = 3
_TELLING = 0.005
_FEW_UNSEEN = 0.01
_SMALL_SHIFT = 0.2


class Verdict(StrEnum):
    """What is said of a feature."""

    DRIFTED = "drifted"
    """It has changed, surely, and by enough to matter."""
    SLIGHT = "slight"
    """It has changed, surely, but by less than matters."""
    SAME = "same"
    """Nothing that chance would not do."""
    ABSENT = "absent"
    """Its column is gone."""
    UNKNOWN = "unknown"
    """It cannot be judged; the reason is beside it."""


class Rate(NamedTuple):
    """A share on both sides; `low` to `high` is Wilson's 95 % interval of the current one."""

    reference: float
    current: float
    low: float
    high: float


class Bin(NamedTuple):
    """One bin by name, with its share of the rows on both sides."""

    label: str
    reference: float
    current: float


@dataclass(frozen=True)
class Comparison:
    """One feature before and now.

    Attributes:
        name, field, side, kind: the feature's.
        verdict: what is said of it, for the `reason`.
        p: Holm's adjusted p-value, over all features.
        psi: population stability index, less what chance adds.
        shift: of the mean, in the reference's standard deviations; None for categories.
        means: of reference and current, in the feature's unit; None for categories.
        wasserstein: how far values moved, in the feature's unit; None for categories, and where more than one value
            in a hundred lies outside the reference's range, so that nobody knows.
        missing, unseen: rates of missing and unseen values.
        bins: all bins that hold anything, in order.
        change: what changed most, in words.
        distance, threshold: of the distance that was asked for; None without one.
        moments: whether the unit is a time, and means are to be read as such.
    """

    name: str
    field: str
    side: str
    kind: str
    verdict: Verdict
    reason: str
    p: float | None
    psi: float | None
    shift: float | None
    means: tuple[float, float] | None
    wasserstein: float | None
    missing: Rate
    unseen: Rate
    bins: tuple[Bin, ...]
    change: str
    distance: float | None = None
    threshold: float | None = None
    moments: bool = False

    @property
    def changed(self) -> bool:
        """Whether it counts for the verdict of the report."""
        return self.verdict in (Verdict.DRIFTED, Verdict.ABSENT)

    def to_json(self) -> dict[str, Any]:
        """Give the facts as JSON values."""
        rates = {name: rate._asdict() for name, rate in (("missing", self.missing), ("unseen", self.unseen))}
        return {**asdict(self), **rates, "bins": [each._asdict() for each in self.bins]}


@dataclass(frozen=True)
class WindowComparison:
    """One window of time against the reference.

    Attributes:
        start: its beginning, in ISO 8601.
        rows: how many there are.
        drifted: names of the features that drifted.
        psi: of every feature of the report, in its order.
    """

    start: str
    rows: int
    drifted: tuple[str, ...]
    psi: tuple[float, ...]


def compare(
    profile: Profile, current: Counts, test: WindowTest, *, effect: float, level: float,
    distance: Distance | None = None, absent: frozenset[str] = frozenset(),
) -> list[Comparison]:
    """Compare all features; those whose field is `absent` are judged by that alone."""
    result = test.test(current.table, level)
    p_values, measured = result.p, None
    boundaries = boundaries_of(profile.features)
    if distance is not None:
        measured = _measured(distance, profile, current, test, boundaries, level)
        p_values = holm(np.nan_to_num(measured.p_values, nan=1.0))
    wasserstein = Wasserstein().values(profile.counts, current.table, boundaries)
    shifts = _shifts(profile, current)
    every = []
    for row, feature in enumerate(profile.features):
        facts = _Facts(row, profile, current, result, float(p_values[row]), float(shifts[row]), float(wasserstein[row]),
                       measured)
        every.append(_comparison(feature, facts, effect, level, gone=feature.field in absent))
    return every


def compare_windows(
    profile: Profile, windows: Mapping[datetime, Counts], test: WindowTest, every: Sequence[Comparison], *,
    effect: float, level: float,
) -> list[WindowComparison]:
    """Compare each window of time with the reference; features that could not be compared in all, in none of them."""
    found = []
    judged = np.array([one.p is not None for one in every], bool)
    for start, counts in windows.items():
        result = test.test(counts.table, level)
        drifted = result.drifted & (result.psi >= effect) & judged
        names = tuple(name for name, yes in zip(profile.names, drifted, strict=True) if yes)
        found.append(WindowComparison(start.strftime("%Y-%m-%dT%H:%MZ"), counts.rows, names,
                                      tuple(round(float(value), 6) for value in result.psi)))
    return found


class _Facts(NamedTuple):
    """What was computed for all features, and the row of one."""

    row: int
    profile: Profile
    current: Counts
    result: WindowResult
    p: float
    shift: float
    wasserstein: float
    measured: Measured | None

    @property
    def tables(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The feature's counts before and now."""
        return self.profile.counts[self.row], self.current.table[self.row]


def _measured(
    distance: Distance, profile: Profile, current: Counts, test: WindowTest, boundaries: NDArray[np.float64],
    level: float,
) -> Measured:
    """Measure by the distance that was asked for; categories have no order, so an ordered one leaves them to χ²."""
    rows = max(current.rows, 1)
    spread: NDArray[np.float64] | float = 1.0
    if len(test.sizes):
        spread = test.inflation[int(np.abs(np.log(test.sizes / rows)).argmin()), _SHAPE]
    counts, alpha = (profile.counts, current.table), level / max(len(profile.features), 1)
    found = distance.measure(*counts, alpha=alpha, boundaries=boundaries, dispersion=spread)
    if not distance.ordered:
        return found
    other = ChiSquared().measure(*counts, alpha=alpha, dispersion=spread)
    numeric, gone = profile.ordered, _missing_p(*counts, spread)
    p_values = np.where(numeric, np.minimum(2 * np.fmin(found.p_values, gone), 1.0), other.p_values)
    return Measured(np.where(numeric, found.values, other.values),
                    np.where(numeric, found.thresholds, other.thresholds), p_values)


def _missing_p(
    reference: NDArray[np.int64], window: NDArray[np.int64], dispersion: NDArray[np.float64] | float
) -> NDArray[np.float64]:
    """Test what an ordered distance leaves out: the shares of values, of missing and of unseen ones."""
    folded = np.zeros((2, *reference.shape), np.int64)
    for side, counts in enumerate((reference, window)):
        folded[side, :, MISSING:] = counts[:, MISSING:]
        folded[side, :, 0] = counts[:, :MISSING].sum(-1)
    return ChiSquared().measure(folded[0], folded[1], dispersion=dispersion).p_values


def _shifts(profile: Profile, current: Counts) -> NDArray[np.float64]:
    with np.errstate(invalid="ignore"):
        shifts: NDArray[np.float64] = current.shifts() - profile.tally().shifts()
    return shifts


def _comparison(feature: Feature, facts: _Facts, effect: float, level: float, *, gone: bool) -> Comparison:
    before, now = facts.tables
    psi = float(facts.result.psi[facts.row])
    verdict, reason = _verdict(feature, facts, effect, level, gone=gone)
    judged = verdict not in (Verdict.ABSENT, Verdict.UNKNOWN)
    numeric = feature.kind == "numeric" and judged and _seen(now) > 0
    bins = _bins(feature, before, now)
    measured = facts.measured
    return Comparison(
        feature.name, feature.field, feature.side, feature.kind, verdict, reason,
        p=facts.p if judged else None,
        psi=psi if judged else None,
        shift=facts.shift if numeric else None,
        means=_means(feature, facts) if numeric else None,
        wasserstein=_finite(facts.wasserstein) if numeric and now[UNSEEN] <= _FEW_UNSEEN * now.sum() else None,
        missing=_rate(before, now, MISSING),
        unseen=_rate(before, now, UNSEEN),
        bins=bins,
        change=_change(feature, facts, bins) if judged else reason,
        distance=None if measured is None or not judged else _finite(float(measured.values[facts.row])),
        threshold=None if measured is None or not judged else _finite(float(measured.thresholds[facts.row])),
        moments=feature.view == "time",
    )


def _verdict(feature: Feature, facts: _Facts, effect: float, level: float, *, gone: bool) -> tuple[Verdict, str]:
    before, now = facts.tables
    if gone and feature.side == "input":
        return Verdict.ABSENT, "the column is gone"
    if gone:
        return Verdict.UNKNOWN, "the current data has no such column"
    if not feature.monitorable:
        return Verdict.UNKNOWN, feature.reason
    if not before.sum() or not now.sum():
        return Verdict.UNKNOWN, "there are no rows to compare"
    if facts.p > level:
        return Verdict.SAME, ""
    return (Verdict.DRIFTED if facts.result.psi[facts.row] >= effect else Verdict.SLIGHT), ""


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _seen(counts: NDArray[np.int64]) -> int:
    return int(counts.sum() - counts[MISSING])


def _means(feature: Feature, facts: _Facts) -> tuple[float, float]:
    before = float(facts.profile.sums[facts.row, 0]) / max(_seen(facts.tables[0]), 1)
    return feature.centre + before * feature.scale, feature.centre + (before + facts.shift) * feature.scale


def _rate(before: NDArray[np.int64], now: NDArray[np.int64], code: int) -> Rate:
    rows = [int(counts.sum()) for counts in (before, now)]
    low, high = wilson(int(now[code]), rows[1])
    return Rate(float(before[code] / max(rows[0], 1)), float(now[code] / max(rows[1], 1)), low, high)


def _bins(feature: Feature, before: NDArray[np.int64], now: NDArray[np.int64]) -> tuple[Bin, ...]:
    shares = [counts / max(int(counts.sum()), 1) for counts in (before, now)]
    return tuple(Bin(label, float(p), float(q)) for label, p, q in zip(_labels(feature), *shares, strict=True)
                 if label and (p > 0 or q > 0))


def _labels(feature: Feature) -> Sequence[str]:
    """Name the bins; those of a time by dates, not by seconds."""
    if feature.view != "time" or not feature.edges:
        return feature.labels
    dates = [formatted(edge, moment=True) for edge in feature.edges]
    inner = [f"{one} to {other}" for one, other in pairwise(dates)]
    values = [f"before {dates[0]}", *inner, f"from {dates[-1]}"]
    return (*values, *[""] * (MISSING - len(values)), "missing", "unseen")


def _change(feature: Feature, facts: _Facts, bins: Sequence[Bin]) -> str:
    """Say in words what changed most: the direction of numbers, the bins of categories, what is missing."""
    phrases = []
    if feature.kind == "numeric" and abs(facts.shift) >= 0.01 and _seen(facts.tables[1]):
        phrases.append(f"{'up' if facts.shift > 0 else 'down'} {abs(facts.shift):.2f} sd")
    special = {"missing", "unseen"}
    moved = sorted(bins, key=lambda each: -abs(each.current - each.reference))
    chosen = [each for each in moved if each.label in special or feature.kind == "categorical"]
    for each in [each for each in chosen if abs(each.current - each.reference) >= _TELLING][:_TOP]:
        phrases.append(f"{each.label} {_percent(each.reference)} → {_percent(each.current)}")
    told = len(phrases) > 1 or (phrases and abs(facts.shift) >= _SMALL_SHIFT)
    if not told and moved and moved[0] not in chosen and abs(moved[0].current - moved[0].reference) >= _TELLING:
        phrases.append(f"{moved[0].label}: {_percent(moved[0].reference)} → {_percent(moved[0].current)}")
    return ", ".join(phrases)


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"


def formatted(value: float, *, moment: bool = False) -> str:
    """Give a number for reading, or a time as a date."""
    if moment:
        try:
            return datetime.fromtimestamp(value, UTC).strftime("%Y-%m-%d")
        except (OverflowError, OSError, ValueError):
            return f"{value:.4g} s"
    return f"{value:,.0f}" if 1_000 <= abs(value) < 1e9 else f"{value:.4g}"
