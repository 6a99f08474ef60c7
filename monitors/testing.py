"""The contracts of monitors and distances as suites that anybody can run: `check_monitor`, `check_distance`.

A rule is a function that yields one (holds, sentence) per check; the first that does not hold is raised with its
sentence, and the report counts the rest. A rule that cannot apply says why, and the report repeats it.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serinus.monitors.distances.boundaries import unit_boundaries
from serinus.monitors.distances.distance import Distance
from serinus.monitors.features import MISSING, VALUES, WIDTH
from serinus.monitors.monitor import Finding, Monitor, Sums
from serinus.monitors.plugins import Judge, Watch
from serinus.monitors.record import PredictionRecord

__all__ = ["DISTANCE_RULES", "MONITOR_RULES", "ContractBroken", "Coverage", "check_distance", "check_monitor"]

Checks = Iterator[tuple[bool, str]]

_WORD = re.compile(r"[a-z][a-z0-9_]{0,62}")
_MOST_SUMS = 256
_WINDOWS = 200
_LONGEST = 500
"""Characters of a finding's text."""


class ContractBroken(AssertionError):
    """A monitor, distance or notifier breaks a rule of its contract.

    Attributes:
        rule: the rule's name, one of `MONITOR_RULES`, `DISTANCE_RULES` or `notifiers.testing.RULES`.
    """

    def __init__(self, rule: str, sentence: str) -> None:
        super().__init__(f"{rule}: {sentence}")
        self.rule = rule


@dataclass(frozen=True)
class Coverage:
    """What a suite looked at.

    Attributes:
        subject: the name of what was checked.
        checks: how many checks each rule made, by the rule's name.
        left_out: the rules that did not apply, and why.
    """

    subject: str
    checks: Mapping[str, int]
    left_out: Mapping[str, str]

    @property
    def total(self) -> int:
        """How many checks were made."""
        return sum(self.checks.values())

    def __str__(self) -> str:
        lines = [f"{self.subject}: {self.total} checks of {len(self.checks)} rules held"]
        lines += [f"  {rule}: {count}" for rule, count in self.checks.items()]
        return "\n".join(lines + [f"  {rule}: left out, {why}" for rule, why in self.left_out.items()])


class _NotApplicable(Exception):
    """The rule has nothing to look at; the text says why."""


@dataclass(frozen=True)
class _Case:
    """One monitor with records of a usual day, and of a day that it should tell."""

    monitor: Monitor
    records: Sequence[PredictionRecord]
    changed: Sequence[PredictionRecord]

    def observe(self, record: PredictionRecord, monitor: Monitor | None = None) -> dict[str, float]:
        """Let it observe a copy: no rule suffers from what a monitor does to the record."""
        return dict((monitor or self.monitor).observe(_copied(record)))


def check_monitor(
    monitor: Monitor, records: Sequence[PredictionRecord], changed: Sequence[PredictionRecord] = ()
) -> Coverage:
    """Try every rule of the contract on a monitor.

    Args:
        monitor: the monitor.
        records: at least twenty of a model that it watches, as they come when all is well.
        changed: records of a time of which it should say that something is wrong; without them that rule is left out.

    Raises ContractBroken at the first check that does not hold, and ValueError for too few records.
    """
    if len(records) < 20:
        raise ValueError(f"Wanted at least twenty records, got {len(records)}: fewer prove nothing.")
    return _covered(monitor.name, _MONITOR_RULES, _Case(monitor, records, changed))


def check_distance(distance: Distance) -> Coverage:
    """Try every rule of the contract on a distance. Raises ContractBroken at the first check that does not hold."""
    return _covered(distance.name, _DISTANCE_RULES, distance)


def _covered(subject: str, rules: Mapping[str, Callable[[Any], Checks]], case: Any) -> Coverage:
    checks, left_out = {}, {}
    for name, rule in rules.items():
        try:
            checks[name] = _count(name, rule(case))
        except _NotApplicable as why:
            left_out[name] = str(why)
    return Coverage(subject, checks, left_out)


def _count(name: str, checks: Checks) -> int:
    count = 0
    try:
        for holds, sentence in checks:
            if not holds:
                raise ContractBroken(name, sentence)
            count += 1
    except (ContractBroken, _NotApplicable):
        raise
    except Exception as error:
        raise ContractBroken(name, f"it raised {type(error).__name__}: {error}") from error
    return count


def _names(subject: Any) -> Checks:
    yield (isinstance(subject.name, str) and bool(_WORD.fullmatch(subject.name)),
           f"`name` must be a word of a-z, 0-9 and _, got {subject.name!r}.")
    try:
        other = type(subject)()
    except TypeError as error:
        yield False, f"an entry point makes it without arguments, and that raised {error}."
    else:
        yield other.name == subject.name, f"made anew it must have the same name, got {other.name!r}."


def _monitor_identity(case: _Case) -> Checks:
    monitor = case.monitor
    yield from _names(monitor)
    yield bool(monitor.about.strip()) and "\n" not in monitor.about, "`about` must say in a line what it watches."
    yield (0 < len(monitor.sums) <= _MOST_SUMS and len(set(monitor.sums)) == len(monitor.sums),
           f"`sums` must be one to {_MOST_SUMS} different names, got {len(monitor.sums)}.")
    yield "rows" not in monitor.sums, "`rows` is counted for it: leave it out of `sums`."
    yield monitor.window >= 1 and monitor.learns >= 0, "`window` must be at least 1, and `learns` at least 0."


def _adds_numbers(case: _Case) -> Checks:
    for record in case.records:
        added = case.observe(record)
        unknown = sorted(set(added) - set(case.monitor.sums))
        yield not unknown, f"observe must add to the sums {', '.join(case.monitor.sums)} only, got {unknown}."
        yield (all(math.isfinite(float(number)) for number in added.values()),
               f"observe must add finite numbers, got {added}.")


def _keeps_nothing(case: _Case) -> Checks:
    first = [case.observe(record) for record in case.records]
    again = [case.observe(record) for record in reversed(case.records)][::-1]
    other = [case.observe(record, type(case.monitor)()) for record in case.records]
    yield first == again, "the same records in another order must add the same: keep nothing on `self`."
    yield first == other, "the same records must add the same in another worker."


def _leaves_the_record(case: _Case) -> Checks:
    for record in map(_copied, case.records[:5]):
        before = _shown(record)
        case.monitor.observe(record)
        yield _shown(record) == before, "observe must not change the arrays of the record: others read them too."


def _odd_records(case: _Case) -> Checks:
    for what, record in _odd(case.records[0]):
        added = case.observe(record)
        yield (all(math.isfinite(float(number)) for number in added.values()),
               f"a record with {what} must add finite numbers, got {added}.")


def _findings(case: _Case) -> Checks:
    reference = _windows(case, case.records, case.monitor.learns, seed=1)
    empty = dict.fromkeys(("rows", *case.monitor.sums), 0.0)
    windows = [*_windows(case, case.records, 3, seed=2), empty, {**empty, "rows": float(case.monitor.window)}]
    for window in windows:
        for known in (reference, [empty] * case.monitor.learns):
            finding = case.monitor.finding(window, known)
            yield from _finding_holds(case.monitor, finding)
            yield finding == case.monitor.finding(window, known), "the same window must be judged the same again."


def _finding_holds(monitor: Monitor, finding: object) -> Checks:
    yield isinstance(finding, Finding), f"finding must give a Finding, got {type(finding).__name__}."
    assert isinstance(finding, Finding)
    yield finding.kind == monitor.name, f"a finding's kind must be the monitor's name, got {finding.kind!r}."
    yield (0 < len(finding.text) <= _LONGEST and "\n" not in finding.text,
           f"a finding's text must be one sentence, got {finding.text!r}.")
    told = Finding.from_json(json.loads(json.dumps(finding.to_json(), allow_nan=False)))
    yield told == finding, "a finding must come back the same from JSON: give facts that are text, numbers or booleans."


def _survives_a_restart(case: _Case) -> Checks:
    parts = [_difference(case, case.records, seed) for seed in range(case.monitor.learns + 3)]
    through, stopped = Judge([case.monitor]), Judge([case.monitor])
    for part in parts:
        through.add(part)
        stopped.add(part)
        restarted = Judge([case.monitor])
        restarted.restore(json.loads(json.dumps(stopped.to_json(), allow_nan=False)))
        stopped = restarted
    yield through.to_json() == stopped.to_json(), "with a restart after each window the outcome must be the same."


def _quiet(case: _Case) -> Checks:
    if not case.monitor.learns:
        raise _NotApplicable("it learns no reference")
    reference = _windows(case, case.records, case.monitor.learns, seed=3)
    windows = _windows(case, case.records, _WINDOWS, seed=4)
    active = sum(case.monitor.finding(window, reference).active for window in windows)
    yield active <= _WINDOWS // 20, f"{active} of {_WINDOWS} windows like the reference's raised an alarm, wanted 5 %."


def _heard(case: _Case) -> Checks:
    if not case.changed:
        raise _NotApplicable("no changed records were given")
    reference = _windows(case, case.records, case.monitor.learns, seed=5)
    for window in _windows(case, case.changed, 3, seed=6):
        finding = case.monitor.finding(window, reference)
        yield finding.active, f"a window of the changed records must raise an alarm, got {finding.text!r}."


_MONITOR_RULES: Mapping[str, Callable[[_Case], Checks]] = {
    "identity": _monitor_identity,
    "adds numbers": _adds_numbers,
    "keeps nothing": _keeps_nothing,
    "leaves the record": _leaves_the_record,
    "odd records": _odd_records,
    "findings": _findings,
    "survives a restart": _survives_a_restart,
    "quiet": _quiet,
    "heard": _heard,
}
MONITOR_RULES = tuple(_MONITOR_RULES)
"""The names of the rules of `check_monitor`, in the order in which they are tried."""


def _difference(case: _Case, records: Sequence[PredictionRecord], seed: int) -> NDArray[np.float64]:
    """Give the sums of one full window of records drawn anew."""
    watch, generator = Watch([case.monitor]), np.random.default_rng(seed)
    while watch.sums[0] < case.monitor.window:
        before = watch.sums[0]
        for place in generator.integers(0, len(records), len(records)):
            watch.observe(_copied(records[place]))
        if watch.sums[0] == before:
            raise ContractBroken("adds numbers", "no record could be observed.")
    return watch.sums


def _windows(case: _Case, records: Sequence[PredictionRecord], count: int, seed: int) -> list[Sums]:
    """Give the sums of some windows of records drawn anew."""
    added = [{"rows": float(record.rows), **case.observe(record)} for record in records]
    table = np.array([[sums.get(name, 0.0) for name in ("rows", *case.monitor.sums)] for sums in added])
    size = math.ceil(case.monitor.window / max(table[:, 0].mean(), 1.0))
    drawn = np.random.default_rng(seed).integers(0, len(table), (count, size))
    return [dict(zip(("rows", *case.monitor.sums), table[places].sum(0).tolist(), strict=True)) for places in drawn]


def _copied(record: PredictionRecord) -> PredictionRecord:
    return record._replace(inputs=_each(record.inputs, np.copy), outputs=_each(record.outputs, np.copy))


def _shown(record: PredictionRecord) -> list[bytes]:
    arrays = [*record.inputs.items(), *record.outputs.items()]
    return [name.encode() + (repr(array.tolist()).encode() if array.dtype == object else array.tobytes())
            for name, array in arrays]


def _odd(record: PredictionRecord) -> Iterator[tuple[str, PredictionRecord]]:
    yield "no rows", record._replace(rows=0, inputs=_each(record.inputs, lambda array: array[:0]),
                                     outputs=_each(record.outputs, lambda array: array[:0]))
    yield "no outputs, which nobody asked for", record._replace(outputs={})
    for what, value in (("only NaN", math.nan), ("infinite values", math.inf), ("enormous values", 1e300),
                        ("enormous negative values", -1e300)):
        fill = partial(_filled, value=value)
        yield what, record._replace(inputs=_each(record.inputs, fill), outputs=_each(record.outputs, fill))


def _each(arrays: Mapping[str, NDArray[Any]], change: Callable[[NDArray[Any]], NDArray[Any]]) -> dict[str, Any]:
    return {name: change(array) for name, array in arrays.items()}


def _filled(array: NDArray[Any], value: float) -> NDArray[Any]:
    """Fill the floats with a value, and objects with gaps."""
    if array.dtype == object:
        return np.full(array.shape, None, dtype=object)
    with np.errstate(over="ignore"):
        return np.full(array.shape, value).astype(array.dtype) if array.dtype.kind == "f" else array


def _distance_identity(distance: Distance) -> Checks:
    yield from _names(distance)
    yield (isinstance(distance.ordered, bool) and isinstance(distance.quadratic, bool),
           "`ordered` and `quadratic` must be True or False.")


def _shape(distance: Distance) -> Checks:
    reference, window, boundaries = _counts(900, 3), _counts(300, 3, seed=1), unit_boundaries(3)
    flat = distance.values(reference, window, boundaries)
    yield np.shape(flat) == (3,), f"values of 3 features must have shape (3,), got {np.shape(flat)}."
    many = distance.values(np.stack([reference] * 2), np.stack([window] * 2), boundaries)
    yield (np.shape(many) == (2, 3) and np.allclose(many, flat),
           "values of [2, 3, 18] must be those of [3, 18] twice: work along the last axis.")


def _zero(distance: Distance) -> Checks:
    counts = _counts(1_000, 5)
    for times in (1, 7):
        values = distance.measure(counts, times * counts).values
        yield bool(np.all(np.abs(values) < 1e-6)), f"equal shares must have distance 0, got {values.max():.3g}."


def _grows(distance: Distance) -> Checks:
    start, end = _peak(2, 960), _peak(12, 960)
    mixed = [start - start * part // 4 + end * part // 4 for part in range(5)]
    values = [float(distance.measure(start, window).values[0]) for window in mixed]
    for smaller, larger in pairwise(values):
        yield 0 <= smaller < larger < math.inf, f"more rows in another bin must be further away, got {values}."


def _by_feature(distance: Distance) -> Checks:
    reference, window = _counts(800, 4), _counts(200, 4, seed=1)
    together = distance.measure(reference, window)
    for row in range(4):
        alone = distance.measure(reference[row : row + 1], window[row : row + 1])
        for name in ("values", "thresholds", "p_values"):
            same = np.allclose(getattr(alone, name)[0], getattr(together, name)[row])
            yield bool(same), f"{name} of a feature must not depend on the other features."


def _leaves_the_counts(distance: Distance) -> Checks:
    counts = [_counts(500, 2), _counts(100, 2, seed=1)]
    for each in counts:
        each.flags.writeable = False
    once, again = distance.measure(*counts), distance.measure(*counts)
    for name in ("values", "thresholds", "p_values"):
        yield bool(np.array_equal(getattr(once, name), getattr(again, name))), f"{name} must be the same every time."


def _missing_rows(distance: Distance) -> Checks:
    reference, window = _counts(1_000, 1), _counts(300, 1, seed=1)
    gone = window.copy()
    gone[:, MISSING] += 300
    before, after = (distance.measure(reference, each).values[0] for each in (window, gone))
    if distance.ordered:
        yield before == after, "an ordered distance must leave the missing out."
    else:
        yield after > before, "missing values that the reference does not have must be seen."


def _extremes(distance: Distance) -> Checks:
    none, one, peak = np.zeros((1, WIDTH), np.int64), _peak(0, 1), _peak(3, 500)
    for reference, window in ((none, peak), (peak, none), (none, none)):
        measured = distance.measure(reference, window)
        yield (bool(np.isnan(measured.values[0]) and not measured.drifted[0]),
               f"without rows on a side the value must be NaN, which is unknown, got {measured.values[0]}.")
    for reference, window in ((one, one), (peak, one), (one, peak), (peak, _peak(9, 500)), (peak, _peak(3, 10**11))):
        measured = distance.measure(reference, window)
        yield (bool(np.isfinite([measured.values, measured.thresholds, measured.p_values]).all()),
               f"{window.sum():,} rows against {reference.sum():,} must give finite numbers.")
        yield 0.0 <= measured.p_values[0] <= 1.0, f"a p-value must lie in 0…1, got {measured.p_values[0]}."


def _error_rate(distance: Distance) -> Checks:
    for rows in (100, 2_000):
        measured = distance.measure(_counts(3_000, _WINDOWS, seed=2), _counts(rows, _WINDOWS, seed=3), alpha=0.05)
        share = float(measured.drifted.mean())
        yield (0.005 <= share <= 0.11,
               f"of unchanged windows of {rows} rows about 5 % should exceed the threshold at 0.05, got {share:.1%}.")
        yield (bool(np.mean(measured.drifted == (measured.p_values < 0.05)) >= 0.97),
               "a value beyond the threshold must have a p-value below alpha, and no other.")


def _power(distance: Distance) -> Checks:
    shares = np.r_[np.linspace(1, 3, VALUES), 0, 0] / np.linspace(1, 3, VALUES).sum()
    window = np.random.default_rng(4).multinomial(2_000, shares, size=20)
    seen = float(distance.measure(_counts(5_000, 20), window).drifted.mean())
    yield seen >= 0.9, f"2,000 rows with a slope of 1 to 3 over the bins must be seen, got {seen:.0%} of 20 windows."


_DISTANCE_RULES: Mapping[str, Callable[[Distance], Checks]] = {
    "identity": _distance_identity,
    "shape": _shape,
    "zero": _zero,
    "grows": _grows,
    "by feature": _by_feature,
    "leaves the counts": _leaves_the_counts,
    "missing rows": _missing_rows,
    "extremes": _extremes,
    "error rate": _error_rate,
    "power": _power,
}
DISTANCE_RULES = tuple(_DISTANCE_RULES)
"""The names of the rules of `check_distance`, in the order in which they are tried."""


def _counts(rows: int, features: int, seed: int = 0) -> NDArray[np.int64]:
    """Give counts of evenly filled value bins."""
    shares = np.r_[np.full(VALUES, 1 / VALUES), 0.0, 0.0]
    return np.random.default_rng(seed).multinomial(rows, shares, size=features)


def _peak(code: int, rows: int) -> NDArray[np.int64]:
    counts = np.zeros((1, WIDTH), np.int64)
    counts[0, code] = rows
    return counts
