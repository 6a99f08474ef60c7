"""Estimates of a version's performance by hour, and what the hours turned out to be when their truths came."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serinus.monitors.estimation import Comparison, Standing, standings
from serinus.monitors.intervals import Interval
from serinus.monitors.metrics import Measure, Sums
from serinus.monitors.performance import FEWEST, OF_POSITIVE, Definition
from serinus.serving.performance.promise import AnyEstimator, estimator_sums
from serinus.serving.performance.sample import Rows

__all__ = ["Estimates"]

_COHORTS = 24
"""By so many of the latest cohorts whose truths came the estimates are judged."""

Array = NDArray[Any]


@dataclass(frozen=True)
class Estimates:
    """What was estimated for each hour, and compared. A value: `estimate` and `compare` give the next one.

    Attributes:
        hours: by hour, the measures of the sample.
        compared: by hour, for each measure what was estimated and what was realised, of the same rows.
    """

    hours: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)
    compared: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)

    def estimate(self, hour: int, estimator: AnyEstimator, definition: Definition, rows: Rows) -> Estimates:
        """Estimate an hour by its sample. One that was estimated from more rows (the log is capped since) stays."""
        known = self.hours.get(hour, {})
        if len(rows) < max([measure["rows"] for measure in known.values()], default=0):
            return self
        sums = estimator_sums(estimator, definition, rows.outcomes(np.empty(0)), rows.numbers)
        found = {name: measure.to_json() for name, measure in _estimated(estimator, definition, sums).items()}
        return replace(self, hours={**self.hours, hour: found})

    def compare(self, hour: int, estimator: AnyEstimator, definition: Definition, rows: Rows,
                truth: Array) -> Estimates:
        """Compare with what rows whose truth came turned out to be: what would have been estimated of just them."""
        if len(rows) < FEWEST:
            return self
        outcomes = rows.outcomes(truth)
        estimated = _estimated(estimator, definition, estimator_sums(estimator, definition, outcomes, rows.numbers))
        realised = definition.measure(definition.sums(outcomes))
        found = {name: {**measure.to_json(), "realised": realised[name].value} for name, measure in estimated.items()
                 if name in realised and realised[name].value is not None}
        return replace(self, compared={**self.compared, hour: found})

    def compare_hour(self, hour: int, realised: Mapping[str, Measure]) -> Estimates:
        """Compare with what a whole hour turned out to be, long after its sample is gone."""
        found = {name: {**measure, "realised": realised[name].value} for name, measure in self.hours[hour].items()
                 if name in realised and realised[name].value is not None and realised[name].rows >= FEWEST}
        return replace(self, compared={**self.compared, hour: found}) if found else self

    def since(self, oldest_hour: int) -> Estimates:
        """Without what is older."""
        return Estimates(*({hour: found for hour, found in side.items() if hour >= oldest_hour}
                           for side in (self.hours, self.compared)))

    def standing(self, measure: str, novel: float | None) -> Standing | None:
        """Whether the estimates are to be believed; of all measures, as one calibration is behind them."""
        by_measure: dict[str, list[Comparison]] = {}
        for hour in sorted(self.compared)[-_COHORTS:]:
            for name, one in self.compared[hour].items():
                interval = None if one["low"] is None else Interval(one["low"], one["high"])
                estimated = Measure(one["value"], interval, one["rows"], one["reason"])
                by_measure.setdefault(name, []).append(Comparison(str(hour), estimated, one["realised"]))
        return standings({measure: [], **by_measure}, novel).get(measure)

    def told(self, measure: str, novel: float | None) -> dict[str, Any] | None:
        """How good the estimates were, as JSON values; None before there is one."""
        found = self.standing(measure, novel)
        if not self.hours or found is None:
            return None
        return {**found._asdict(), "measure": measure, "novel_share": novel, "text": _sentence(found, measure)}

    def to_json(self) -> dict[str, Any]:
        """Everything, as JSON values."""
        return {"hours": {str(hour): found for hour, found in self.hours.items()},
                "compared": {str(hour): found for hour, found in self.compared.items()}}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Estimates:
        """Read what `to_json` wrote."""
        return cls(*({int(hour): found for hour, found in document[side].items()} for side in ("hours", "compared")))


def _estimated(estimator: AnyEstimator, definition: Definition, sums: Sums) -> dict[str, Measure]:
    """Without what is of another class where one is declared as positive."""
    return {name: measure for name, measure in estimator.estimate(sums).items()
            if not (definition.turned and name in OF_POSITIVE)}


def _sentence(found: Standing, measure: str) -> str:
    if found.withdrawn:
        return f"Estimates are withdrawn. {found.reason}"
    if found.coverage is None or found.error is None:
        return "No estimate could be compared with truths yet."
    return (f"Of {found.cohorts} hours whose truths came, the interval of {measure} held the realised value in "
            f"{found.coverage:.0%}; the estimates were {found.error:.3g} off on average.")
