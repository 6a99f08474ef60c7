"""What is said of a model's performance, as one JSON document: drawn by pages, printed by commands, kept by metrics.

```
{model, at, task, measure, verdict, versions: [{version, role, rows, labelled, measures, windows, estimates,
 calibration, slices, fairness, harm, change, quality}]}
window   {hour, rows, labelled, mature, measures: {name: measure}, estimate: {name: measure} | null, withdrawn}
measure  {value, low, high, rows, reason}
```
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from serinus.monitors.calibration import Calibration, classwise
from serinus.monitors.metrics import Measure, Sums
from serinus.monitors.performance import FEWEST, Definition
from serinus.serving.ground_truth.resolution import alike

__all__ = ["MAIN", "calibration", "judged", "main_measure", "measures"]

MAIN = ("accuracy", "rmse")
"""What is looked at first, of classifiers and of regressors."""


def main_measure(definition: Definition | None) -> str | None:
    """The measure that is looked at first."""
    return None if definition is None else MAIN[definition.task == "regression"]


def measures(found: Mapping[str, Measure]) -> dict[str, Any]:
    """Measures as JSON values."""
    return {name: measure.to_json() for name, measure in found.items()}


def judged(found: Mapping[str, Measure]) -> dict[str, Measure]:
    """The same, of which those of fewer than 50 rows say "unknown"."""
    return {name: measure if measure.rows >= FEWEST or measure.reason else measure._replace(
        reason=f"unknown: {measure.rows} rows with a truth, at least {FEWEST} are needed")
        for name, measure in found.items()}


def calibration(sums: Sums, definition: Definition) -> dict[str, Any] | None:
    """How far probabilities are right, by class; None where there are none, or too few rows."""
    found = classwise(sums)
    labels = definition.labels if len(found) == len(definition.labels) else (_positive(definition),)
    told = [{"class": alike(label), **_calibrated(one)}
            for label, one in zip(labels, found, strict=False) if one is not None]
    if not told:
        return None
    worst = max(told, key=lambda one: one["error"])
    return {"error": worst["error"], "text": worst["text"], "classes": told}


def _positive(definition: Definition) -> Any:
    return definition.labels[-1] if definition.positive is None else definition.positive


def _calibrated(one: Calibration) -> dict[str, Any]:
    bins = [{"rows": each.rows, "said": each.said, "happened": each.happened, "low": each.interval.low,
             "high": each.interval.high} for each in one.bins]
    return {"rows": one.rows, "error": one.error, "raw_error": one.raw_error, "noise": one.noise, "bias": one.bias,
            "slope": one.slope, "intercept": one.intercept, "brier": one.brier._asdict(), "text": one.sentence,
            "bins": bins}


def sentences(parts: Iterable[str | None]) -> str:
    """What there is to say, one after another."""
    return " ".join(part for part in parts if part)
