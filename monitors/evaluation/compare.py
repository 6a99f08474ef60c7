"""Two versions on the same rows: each metric, its difference, and whether that is no worse than the policy allows.

The rule is non-inferiority: the candidate passes where the whole interval of the difference lies on the right side of
the margin, fails where it lies on the wrong one, and otherwise the rows are too few to tell.

| difference of | method |
|---|---|
| accuracy | McNemar's exact test; Newcombe's interval for paired proportions |
| ROC AUC | DeLong, of the rows' influences; of clusters' where rows belong together |
| every other | bootstrap of paired rows, or of whole clusters: 2,000 draws, their standard error |
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from serinus.monitors.evaluation.check import Check, Status, worst
from serinus.monitors.evaluation.metrics import Metric, metrics_of
from serinus.monitors.evaluation.policy import Policy
from serinus.monitors.evaluation.trial import Trial
from serinus.monitors.intervals import Interval, around, normal_quantile, paired_difference, proportion, within_unit
from serinus.monitors.paired import mcnemar, rows_needed

__all__ = ["Compared", "Comparison", "compare", "needed", "rounded", "verdict_on"]

Floats = NDArray[np.float64]

DRAWS = 2_000
_UNITS = 2_000
_AT_ONCE = 100
_FEW_CLUSTERS = 30
_POWER = 0.8416


@dataclass(frozen=True)
class Compared:
    """One metric of two versions.

    Attributes:
        metric, title: which one.
        higher: whether more is better.
        value, interval: the candidate's.
        current: the other's.
        difference, difference_interval: candidate less current.
        level: of the intervals.
        margin: by how much it may be worse, in the metric's own unit; None where it does not decide.
        floor: what it must reach; None where the policy has none.
        p: of "the two do not differ", where there is an exact test.
        method: how the interval of the difference was made.
        status, reason: what it says.
        rows_needed: how many rows would tell a difference of the margin from none.
    """

    metric: str
    title: str
    higher: bool
    value: float
    interval: Interval | None
    current: float
    difference: float
    difference_interval: Interval | None
    level: float
    margin: float | None
    floor: float | None
    p: float | None
    method: str
    status: Status
    reason: str
    rows_needed: int | None


@dataclass(frozen=True)
class Comparison:
    """All metrics of a trial.

    Attributes:
        against: what the candidate was held against.
        rows: how many rows were judged.
        clusters: of how many groups they are; None where rows stand alone.
        looks: how many versions were judged on these rows.
        level: of the intervals, widened for the looks.
        metrics: each metric.
        fixed, broke: rows that only the candidate, and only the current one, gets right; None for numbers.
    """

    against: str
    rows: int
    clusters: int | None
    looks: int
    level: float
    metrics: tuple[Compared, ...]
    fixed: int | None
    broke: int | None


class _Estimate(NamedTuple):
    """A metric of two versions, with what is known of its error."""

    value: float
    interval: Interval | None
    current: float
    difference: float
    difference_interval: Interval | None
    error: float
    """Standard error of the difference."""
    p: float | None
    method: str


def compare(trial: Trial, policy: Policy) -> Check:
    """Compare the candidate with the current version, or with a trivial answer where there is none."""
    level = trial.level(policy.level)
    compared = tuple(_judged(metric, found, trial, policy, level) for metric, found in _estimates(trial, level))
    fixed = broke = None
    if trial.classifies:
        ours, theirs = trial.candidate.values == trial.truth, trial.current.values == trial.truth
        fixed, broke = int((ours & ~theirs).sum()), int((theirs & ~ours).sum())
    clusters = None if trial.groups is None else len(np.unique(trial.groups))
    details = Comparison(trial.against, trial.rows, clusters, trial.looks, level, compared, fixed, broke)
    return _summed_up(details, trial)


def _summed_up(details: Comparison, trial: Trial) -> Check:
    deciding = [one for one in details.metrics if one.margin is not None or one.floor is not None]
    if not deciding:
        return Check("metrics", Status.NOT_RUN, "No metric that the policy names can be computed of these answers.",
                     details)
    status = worst(one.status for one in deciding)
    open_ = [one for one in deciding if one.status is Status.NOT_RUN]
    if status is Status.PASS and trial.trivial and not any(_better(one) for one in deciding):
        return Check("metrics", Status.NOT_RUN, f"It is not shown to be better than {trial.against}: give more rows, "
                     "or look whether it has learnt anything.", details, undecided=True)
    speaking = [one for one in deciding if one.status is status]
    few = details.clusters is not None and details.clusters < _FEW_CLUSTERS
    said = " ".join(one.reason for one in speaking) + (
        f" Only {details.clusters} groups: intervals are too narrow." if few else "")
    return Check("metrics", Status.WARN if few and status is Status.PASS else status, said, details,
                 undecided=bool(open_) and status is Status.NOT_RUN)


def _better(one: Compared) -> bool:
    ends = one.difference_interval
    return ends is not None and (ends.low > 0 if one.higher else ends.high < 0)


def _judged(metric: Metric, found: _Estimate, trial: Trial, policy: Policy, level: float) -> Compared:
    margin = policy.margins.get(metric.name)
    if margin is not None and metric.relative:
        margin *= abs(found.current)
    floor = policy.floors.get(metric.name)
    asked = None if margin is None or not margin > 0 else _needed(metric, found, trial, margin, level)
    parts: list[tuple[Status, str]] = []
    if margin is not None:
        parts.append(_against_current(metric, found, trial, margin, asked))
    if floor is not None:
        parts.append(_against_floor(metric, found, floor))
    status = worst(part[0] for part in parts) if parts else Status.PASS
    reason = " ".join(text for one, text in parts if one is status)
    return Compared(metric.name, metric.title, metric.higher, found.value, found.interval, found.current,
                    found.difference, found.difference_interval, level, margin, floor, found.p, found.method, status,
                    reason, asked)


def _against_current(metric: Metric, found: _Estimate, trial: Trial, margin: float,
                     asked: int | None) -> tuple[Status, str]:
    ends = found.difference_interval
    change = f"{metric.title} {_number(found.value)} against {_number(found.current)} of {trial.against}"
    if ends is None:
        return Status.NOT_RUN, f"{change}: no interval can be given."
    harm = Interval(-ends.high, -ends.low) if metric.higher else ends
    status = verdict_on(harm, margin)
    span = f"{_signed(ends.low)} to {_signed(ends.high)}"
    if status is Status.PASS:
        return status, f"{change}: no worse by more than {_number(margin)} ({span})."
    if status is Status.FAIL:
        return status, f"{change}: worse by more than {_number(margin)} ({span})."
    if asked is not None and asked > trial.rows:
        return status, (f"{change} ({span}): too few rows to decide: have {trial.rows:,}, need about "
                        f"{rounded(asked):,}.")
    return status, f"{change} ({span}): too near the margin of {_number(margin)} to decide on these rows."


def _against_floor(metric: Metric, found: _Estimate, floor: float) -> tuple[Status, str]:
    ends = found.interval
    word = "at least" if metric.higher else "at most"
    said = f"{metric.title} must be {word} {_number(floor)}"
    if ends is None:
        return Status.NOT_RUN, f"{said}: no interval can be given."
    status = verdict_on(Interval(floor - ends.high, floor - ends.low) if metric.higher
                        else Interval(ends.low - floor, ends.high - floor), 0.0)
    words = {Status.PASS: "it is", Status.FAIL: "it is not", Status.NOT_RUN: "too few rows to decide"}
    return status, f"{said}: {words[status]} ({_number(ends.low)} to {_number(ends.high)})."


def verdict_on(harm: Interval, margin: float) -> Status:
    """Say what an interval of harm means: within the margin, beyond it, or either."""
    if harm.high < margin:
        return Status.PASS
    return Status.FAIL if harm.low > margin else Status.NOT_RUN


def needed(error: float, rows: int, margin: float, level: float) -> int:
    """Give how many rows would tell a difference of `margin` from none, 8 times in 10, given the error of so many."""
    if not (math.isfinite(error) and margin > 0):
        return 0
    return math.ceil(rows * ((normal_quantile(level) + _POWER) * error / margin) ** 2)


def _needed(metric: Metric, found: _Estimate, trial: Trial, margin: float, level: float) -> int:
    if metric.name == "accuracy" and trial.groups is None:
        differ = (trial.candidate.values == trial.truth) != (trial.current.values == trial.truth)
        return rows_needed(float(differ.mean()), margin, level)
    return needed(found.error, trial.rows, margin, level)


def _estimates(trial: Trial, level: float) -> list[tuple[Metric, _Estimate]]:
    """Give the metrics that both versions have; what is drawn is drawn once for all of them."""
    both = [(metric, metric.columns(trial, trial.candidate), metric.columns(trial, trial.current))
            for metric in metrics_of(trial)]
    there = [(metric, ours, theirs) for metric, ours, theirs in both if ours is not None and theirs is not None]
    drawn = {metric.name for metric, _, _ in there
             if metric.name != "roc_auc" and not (metric.name == "accuracy" and trial.groups is None)}
    sums = _drawn_sums([part for metric, *parts in there if metric.name in drawn for part in parts], trial)
    found = []
    for metric, ours, theirs in there:
        if metric.name in drawn:
            found.append((metric, _drawn(metric, ours, theirs, (next(sums), next(sums)), trial, level)))
        else:
            found.append((metric, _accuracy(trial, level) if metric.name == "accuracy" else
                          _areas(ours, theirs, trial, level)))
    return found


def _accuracy(trial: Trial, level: float) -> _Estimate:
    ours, theirs = trial.candidate.values == trial.truth, trial.current.values == trial.truth
    both, gained, lost, neither = (int(cell.sum()) for cell in (ours & theirs, ours & ~theirs, theirs & ~ours,
                                                                ~ours & ~theirs))
    ends = paired_difference(both, gained, lost, neither, level)
    value, current = float(ours.mean()), float(theirs.mean())
    error = math.sqrt(max(gained + lost - (gained - lost) ** 2 / trial.rows, 0.0)) / trial.rows
    return _Estimate(value, proportion(both + gained, trial.rows, level), current, value - current, ends, error,
                     mcnemar(gained, lost), "McNemar’s exact test, Newcombe’s paired interval")


def _areas(ours: Floats, theirs: Floats, trial: Trial, level: float) -> _Estimate:
    """DeLong's method: the variance of a mean of influences, within each class; of clusters' sums where there are
    any."""
    value, current = float(ours[:, 1].mean()), float(theirs[:, 1].mean())
    variance, apart = (_variance(part, trial) for part in (ours[:, 1], ours[:, 1] - theirs[:, 1]))
    error = math.sqrt(apart)
    p = math.erfc(abs(value - current) / error / math.sqrt(2)) if error > 0 else None
    if value == current and error == 0:
        p = 1.0
    return _Estimate(value, within_unit(value, variance, trial.rows, level), current, value - current,
                     around(value - current, apart, level), error, p,
                     "DeLong" if trial.groups is None else "DeLong, of clusters")


def _variance(parts: Floats, trial: Trial) -> float:
    """The variance of a mean of influences; each class apart, as DeLong has it, where rows stand alone."""
    if trial.groups is not None:
        sums = _by_unit((parts - parts.mean())[:, None], _units(trial))
        return float((sums**2).sum()) / len(parts) ** 2 * len(sums) / max(len(sums) - 1, 1)
    if not trial.binary:
        return float(parts.var(ddof=1)) / len(parts)
    total = 0.0
    for side in (trial.truth == 1, trial.truth != 1):
        total += float(parts[side].var(ddof=1)) * side.sum() / len(parts) ** 2
    return total


def _drawn(metric: Metric, ours: Floats, theirs: Floats, sums: tuple[Floats, Floats], trial: Trial,
           level: float) -> _Estimate:
    value, current = float(metric.value(ours.sum(axis=0))), float(metric.value(theirs.sum(axis=0)))
    with np.errstate(over="ignore", invalid="ignore"):
        first, second = (metric.value(part) for part in sums)
        spread, error = _spread(first), _spread(first - second)
    what = "rows" if trial.groups is None else "clusters"
    return _Estimate(value, around(value, spread**2, level), current, value - current,
                     around(value - current, error**2, level), error, None, f"paired bootstrap of {what}")


def _drawn_sums(columns: list[Floats], trial: Trial) -> Iterator[Floats]:
    """Give the drawn sums of each of some tables of columns."""
    if not columns:
        return iter(())
    with np.errstate(over="ignore", invalid="ignore"):
        sums = _draws(_by_unit(np.hstack(columns), _units(trial)))
    return iter(np.split(sums, np.cumsum([table.shape[1] for table in columns])[:-1], axis=1))


def _spread(values: Floats) -> float:
    """The standard deviation of drawn values; those that are none (a class was never drawn) are passed over."""
    known = values[np.isfinite(values)]
    return float(known.std(ddof=1)) if len(known) > len(values) / 2 else math.nan


def _units(trial: Trial) -> NDArray[np.int64]:
    """What is drawn again as a whole: each row's cluster; rows alone, in random handfuls where they are many."""
    if trial.groups is not None:
        return np.asarray(np.unique(trial.groups, return_inverse=True)[1].reshape(-1), np.int64)
    if trial.rows <= _UNITS:
        return np.arange(trial.rows)
    return np.random.default_rng(0).permutation(trial.rows) % _UNITS


def _by_unit(columns: Floats, units: NDArray[np.int64]) -> Floats:
    sums = np.zeros((int(units.max(initial=-1)) + 1, columns.shape[1]))
    np.add.at(sums, units, columns)
    return sums


def _draws(units: Floats) -> Floats:
    """Sums of as many units, drawn with replacement, so many times."""
    draw, many = np.random.default_rng(1), len(units)
    parts: list[Floats] = []
    for _ in range(0, DRAWS, _AT_ONCE):
        chosen = draw.integers(0, many, (_AT_ONCE, many)) + many * np.arange(_AT_ONCE)[:, None]
        counts = np.bincount(chosen.ravel(), minlength=_AT_ONCE * many).reshape(_AT_ONCE, many)
        parts.append(counts @ units)
    return np.concatenate(parts)


def _number(value: float) -> str:
    return f"{value:.4g}"


def _signed(value: float) -> str:
    return f"{value:+.3g}".replace("-", "−")


def rounded(rows: int) -> int:
    """Give a number of rows by two digits: it is a guess.

    Example:
        >>> rounded(15_698)
        16000
    """
    unit = int("1" + "0" * max(len(str(rows)) - 2, 0))
    return math.ceil(rows / unit) * unit
