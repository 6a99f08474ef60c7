"""Gaps between groups of people: how often they are chosen, and how often rightly and wrongly, with intervals.

Of two classes the second is what people want or fear; its rate is the selection rate. Of more each is held against the
rest, with intervals for all classes together (Bonferroni), and recall is also averaged over the classes. A group with
too few rows is unknown, and so is every gap to it; unknown is never fair.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serinus.monitors.evaluation.check import Check, Status, worst
from serinus.monitors.evaluation.policy import Policy
from serinus.monitors.evaluation.slices import Part, parts_of
from serinus.monitors.evaluation.trial import Trial
from serinus.monitors.intervals import LEVEL, Interval, macro_difference, macro_mean, proportion, proportion_difference

__all__ = ["FairnessFound", "Gap", "Rate", "check_fairness"]

Mask = NDArray[np.bool_]

_MOST_CLASSES = 20


@dataclass(frozen=True)
class Rate:
    """One rate of one group; None where too few rows tell it."""

    group: str
    rows: int
    value: float | None
    interval: Interval | None


@dataclass(frozen=True)
class Gap:
    """One rate's largest gap between two groups of a column.

    Attributes:
        column: which groups.
        rate: selection rate, true positive rate, false positive rate, of two classes or of each of more; accuracy;
            macro recall.
        value, interval: the gap between the highest and the lowest rate.
        high, low: those two groups.
        status: against the policy's limit.
        rates: of each group.
    """

    column: str
    rate: str
    value: float | None
    interval: Interval | None
    high: str
    low: str
    status: Status
    rates: tuple[Rate, ...]


@dataclass(frozen=True)
class FairnessFound:
    """All gaps."""

    gaps: tuple[Gap, ...]
    max_gap: float


def check_fairness(trial: Trial, policy: Policy) -> Check:
    """Measure the gaps between the policy's groups."""
    groups = policy.fairness.groups
    if not groups:
        return Check("fairness", Status.NOT_RUN, "The policy names no groups (fairness.groups).")
    if not trial.classifies:
        return Check("fairness", Status.NOT_RUN, "Gaps are measured of classes, and the version predicts numbers.")
    absent = [name for name in groups if name not in trial.columns]
    if absent:
        return Check("fairness", Status.NOT_RUN, f"The data have no column {absent[0]!r}.")
    gaps = tuple(gap for name in groups for gap in _gaps(name, trial, policy))
    found = FairnessFound(gaps, policy.fairness.max_gap)
    status = worst(gap.status for gap in gaps)
    speaking = [gap for gap in gaps if gap.status is status]
    first = max(speaking, key=lambda gap: gap.value if gap.value is not None else -1.0)
    return Check("fairness", status, _said(first, policy), found, undecided=status is Status.NOT_RUN)


def _said(gap: Gap, policy: Policy) -> str:
    limit = f"{100 * policy.fairness.max_gap:g} points"
    if gap.value is None or gap.interval is None:
        return f"The {gap.rate} of some group of {gap.column} is unknown: fewer than {policy.fairness.min_rows} rows."
    span = f"{100 * gap.interval.low:.1f} to {100 * gap.interval.high:.1f}".replace("-", "−")
    said = f"The {gap.rate} of {gap.high} and {gap.low} are {100 * gap.value:.1f} points apart ({span})"
    words = {Status.PASS: f"less than {limit}", Status.FAIL: f"more than {limit}",
             Status.NOT_RUN: f"too few rows to say whether that is more than {limit}"}
    return f"{said}: {words[gap.status]}."


def _gaps(column: str, trial: Trial, policy: Policy) -> Iterator[Gap]:
    parts = parts_of(trial.columns, [column])
    right = trial.candidate.values == trial.truth
    everyone = np.ones(trial.rows, bool)
    if not trial.binary:
        yield _gap(column, "accuracy", parts, right, everyone, policy)
        yield _macro_gap(column, parts, right, trial, policy)
    classes = [1] if trial.binary else range(len(trial.classes)) if len(trial.classes) <= _MOST_CLASSES else []
    for place in classes:
        chosen, true = trial.candidate.values == place, trial.truth == place
        of = "" if trial.binary else f" of {trial.classes[place]}"
        for name, among in (("selection rate", everyone), ("true positive rate", true), ("false positive rate", ~true)):
            yield _gap(column, f"{name}{of}", parts, chosen, among, policy, len(classes))


def _macro_gap(column: str, parts: list[Part], right: Mask, trial: Trial, policy: Policy) -> Gap:
    """Of recall as a mean over the classes: a group that has too few rows of one class is unknown."""
    cells = [[(int((right & part.rows & (trial.truth == place)).sum()), int((part.rows & (trial.truth == place)).sum()))
              for place in range(len(trial.classes))] for part in parts]
    rates = tuple(_macro_rate(part.name, each, policy.fairness.min_rows)
                  for part, each in zip(parts, cells, strict=True))
    return _told(column, "macro recall", rates, lambda high, low: macro_difference(cells[high], cells[low]), policy)


def _macro_rate(group: str, cells: list[tuple[int, int]], least: int) -> Rate:
    fewest = min(units for _, units in cells)
    if fewest < least:
        return Rate(group, fewest, None, None)
    return Rate(group, sum(units for _, units in cells), *macro_mean(cells))


def _gap(column: str, name: str, parts: list[Part], events: Mask, among: Mask, policy: Policy,
         classes: int = 1) -> Gap:
    counts = [(int((events & among & part.rows).sum()), int((among & part.rows).sum())) for part in parts]
    rates = tuple(_rate(part.name, *count, policy.fairness.min_rows)
                  for part, count in zip(parts, counts, strict=True))
    level = 1 - (1 - LEVEL) / classes
    return _told(column, name, rates, lambda high, low: proportion_difference(*counts[high], *counts[low], level),
                 policy)


def _told(column: str, name: str, rates: tuple[Rate, ...], apart: Callable[[int, int], Interval | None],
          policy: Policy) -> Gap:
    """The gap between the highest and the lowest rate that are known; `apart` gives its interval."""
    known = [place for place, rate in enumerate(rates) if rate.value is not None]
    if len(known) < 2:
        return Gap(column, name, None, None, "", "", Status.NOT_RUN, rates)
    high = max(known, key=lambda place: rates[place].value or 0.0)
    low = min(known, key=lambda place: rates[place].value or 0.0)
    ends = apart(high, low) or Interval(-1.0, 1.0)
    status = _status(ends, policy.fairness.max_gap)
    if status is Status.PASS and len(known) < len(rates):
        status = Status.NOT_RUN
    value = (rates[high].value or 0.0) - (rates[low].value or 0.0)
    unknown = status is Status.NOT_RUN and len(known) < len(rates)
    return Gap(column, name, None if unknown else value, ends, rates[high].group, rates[low].group, status, rates)


def _status(ends: Interval, limit: float) -> Status:
    if ends.low > limit:
        return Status.FAIL
    return Status.PASS if ends.high < limit else Status.NOT_RUN


def _rate(group: str, events: int, rows: int, least: int) -> Rate:
    if rows < least:
        return Rate(group, rows, None, None)
    value = events / rows if rows else math.nan
    return Rate(group, rows, value, proportion(events, rows))
