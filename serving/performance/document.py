"""What is said of a model's performance, as one JSON document: drawn by pages, printed by commands, kept by metrics.

```
{model, at, task, measure, verdict, versions: [{version, role, task, measure, unit, rows, labelled, promised, measures,
 windows, estimates, calibration, slices, fairness, harm, change, quality, text}]}
window   {hour, rows, labelled, mature, measures: {name: measure}, estimate: {name: measure} | null, withdrawn}
measure  {value, low, high, rows, reason}
```
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from serinus.monitors.alerts import Condition, Fact
from serinus.monitors.calibration import Calibration, classwise
from serinus.monitors.label_free import Verdict
from serinus.monitors.metrics import HIGHER, Measure, Sums
from serinus.monitors.performance import FEWEST, OF_POSITIVE, Definition
from serinus.serving.ground_truth.resolution import alike
from serinus.serving.performance.realised import Window, together

if TYPE_CHECKING:
    from serinus.serving.performance.harm import HarmWatch
    from serinus.serving.performance.live import Live
    from serinus.serving.performance.promise import Promise
    from serinus.serving.performance.sample import Who

__all__ = ["MAIN", "calibration", "conditions", "judged", "main_measure", "measures", "of_model", "of_version"]

MAIN = ("accuracy", "rmse")
"""What is looked at first, of classifiers and of regressors."""

_CALIBRATED_ROWS = 1_000
_FURTHER_OFF = 0.05
"""By so much more than on the reference probabilities are off on average before alerts hear of it."""
_COHORTS = 2
"""So many of the latest hours have to be estimated as worse before alerts hear of it."""


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


def of_model(model: str, versions: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The document of a model; the stable version speaks first."""
    first = next((version for version in versions if version["role"] == "stable"), None)
    told = first or next(iter(versions), {"task": None, "measure": None, "text": ""})
    return {"model": model, "task": told["task"], "measure": told["measure"], "verdict": told["text"],
            "versions": list(versions)}


def of_version(who: Who, live: Live, names: Mapping[str, int], windows: Mapping[int, Window], ripe: Collection[int],
               novel: float | None, harm: HarmWatch | None) -> dict[str, Any]:
    """What is said of a version in a role.

    Args:
        who: which one.
        live: what was found out about it.
        names: how hours are written, oldest first.
        windows: those with truths.
        ripe: the hours of which enough is known to judge.
        novel: share of the recent rows that are unlike the reference.
        harm: its alarm.
    """
    definition = live.known.definition
    main = main_measure(definition)
    standing = live.estimates.told(main, novel) if main is not None else None
    if standing is not None and main is not None:
        latest = live.estimates.hours[max(live.estimates.hours)]
        standing["text"] = " ".join(filter(None, (_estimate_text(live.known.promise, main, latest), standing["text"])))
    sums = together((windows[hour] for hour in ripe), definition.digest) if definition is not None else None
    whole = definition.measure(sums) if definition is not None and sums is not None else {}
    parts = {"calibration": calibration(sums, definition) if definition is not None and sums is not None else None,
             "harm": harm.told() if harm is not None else None, "estimates": standing, "change": live.causes.change}
    quality = [_quality(verdict) for verdict in live.quality]
    told = [_hour(name, windows.get(hour), definition, hour in ripe, live.estimates.hours.get(hour), standing)
            for name, hour in names.items()]
    return {"version": who.version, "role": who.role, "task": definition.task if definition else None, "measure": main,
            "rows": sum(window.predictions for window in windows.values()),
            "labelled": sum(window.labelled for window in windows.values()),
            "unit": definition.unit if definition else "", "promised": _promised(live.known.promise, definition),
            "measures": measures(judged(whole)), "windows": told, **parts, "slices": live.causes.slices,
            "fairness": live.causes.fairness, "quality": quality,
            "text": " ".join(part["text"] for part in (parts["harm"], parts["change"], standing, *quality) if part)}


def _promised(promise: Promise | None, definition: Definition | None) -> dict[str, Any] | None:
    """What holds whichever class is declared as positive; promises are of the last one."""
    if promise is None:
        return None
    turned = definition is not None and definition.turned
    return {name: told for name, told in promise.measures.items() if not (turned and name in OF_POSITIVE)}


def _quality(verdict: Verdict) -> dict[str, Any]:
    now, then = verdict.now.value, verdict.then.value
    words = verdict.name.replace("_", " ")
    text = f"{words}: unknown, {verdict.now.rows:,} rows" if verdict.changed is None or now is None else (
        f"{words} is {now:.4g}, {then:.4g} on the reference{', which is another' if verdict.changed else ''}.")
    low, high = verdict.difference or (None, None)
    return {"measure": verdict.name, "now": verdict.now.to_json(), "then": verdict.then.to_json(), "low": low,
            "high": high, "changed": verdict.changed, "text": text}


def _hour(name: str, window: Window | None, definition: Definition | None, ripe: bool,
          estimate: Mapping[str, Any] | None, standing: Mapping[str, Any] | None) -> dict[str, Any]:
    found = definition.measure(together([window], definition.digest)) if (
        definition is not None and window is not None and ripe) else {}
    withdrawn = standing["reason"] if standing is not None and standing["withdrawn"] and not ripe else None
    shown = estimate if estimate and withdrawn is None else None
    rows = max([measure["rows"] for measure in (estimate or {}).values()], default=0)
    return {"hour": name, "rows": window.predictions if window is not None else rows,
            "labelled": window.labelled if window is not None else 0, "mature": ripe,
            "measures": measures(judged(found)), "estimate": shown, "withdrawn": withdrawn}


def conditions(who: Who, told: Mapping[str, Any], promise: Promise | None, tolerance: float) -> list[Condition]:
    """What alerts should know of a version: its loss, and what it is estimated to be."""
    found = []
    if told["harm"] is not None and told["harm"]["rows"]:
        found.append(_harmful(who, told["harm"]))
    if promise is not None and promise.calibration_error is not None and told["calibration"] is not None:
        found.append(_off(who, told["calibration"], promise.calibration_error))
    if told["quality"]:
        found.append(_of_quality(who, told["quality"]))
    latest = [window["estimate"] for window in told["windows"] if window["estimate"]][-_COHORTS:]
    if promise is not None and told["estimates"] is not None and len(latest) == _COHORTS:
        found.append(_estimated(who, told, promise, tolerance, latest))
    return found


def _harmful(who: Who, told: Mapping[str, Any]) -> Condition:
    facts: dict[str, Fact] = {"evidence": round(told["evidence"], 4), "rows": told["rows"], "outputs": True,
                              "promised": round(told["promised"], 6), "run_length": told["run_length"]}
    if told["loss"] is not None:
        facts["loss"] = round(told["loss"], 6)
    return Condition(who.model, who.version, "loss", "alarm", told["state"] == "alarm", told["text"], facts)


def _off(who: Who, told: Mapping[str, Any], promised: float) -> Condition:
    """Active where probabilities are clearly further off than on the reference."""
    rows = max(one["rows"] for one in told["classes"])
    active = rows >= _CALIBRATED_ROWS and told["error"] > promised + _FURTHER_OFF
    facts: dict[str, Fact] = {"error": round(told["error"], 6), "promised": round(promised, 6), "rows": rows}
    return Condition(who.model, who.version, "calibration", "alarm", active, told["text"], facts)


def _of_quality(who: Who, told: Sequence[Mapping[str, Any]]) -> Condition:
    changed = [one["text"] for one in told if one["changed"]]
    return Condition(who.model, who.version, "performance", "alarm", bool(changed),
                     " ".join(changed) or "The answers are like those of the reference.", {"outputs": True})


def _estimated(who: Who, told: Mapping[str, Any], promise: Promise, tolerance: float,
               latest: Sequence[Mapping[str, Any]]) -> Condition:
    """Active where the whole interval of each of the latest hours is worse than what was promised."""
    name = str(told["measure"])
    wanted = promise.measures[name]["value"]
    cells = [estimate.get(name) for estimate in latest]
    worse = [cell is not None and cell["rows"] >= FEWEST and _is_worse(cell, name, wanted, tolerance) for cell in cells]
    value = cells[-1]["value"] if cells[-1] is not None else None
    active = all(worse) and not told["estimates"]["withdrawn"]
    text = _estimate_text(promise, name, latest[-1]) or f"{name} cannot be estimated."
    facts: dict[str, Fact] = {"promised": wanted, "outputs": True}
    if value is not None:
        facts["estimate"] = value
    return Condition(who.model, who.version, "estimated_performance", "alarm", active, text, facts)


def _estimate_text(promise: Promise | None, name: str, estimate: Mapping[str, Any]) -> str:
    """What is estimated beside what was promised; empty where one of them is not known."""
    cell = estimate.get(name)
    if promise is None or cell is None or cell["value"] is None or cell["low"] is None:
        return ""
    return (f"Without truths, {name} is estimated at {cell['value']:.4g} ({cell['low']:.4g} to {cell['high']:.4g}) in "
            f"the latest hour; {promise.measures[name]['value']:.4g} was promised at registration.")


def _is_worse(cell: Mapping[str, Any], name: str, wanted: float, tolerance: float) -> bool:
    if cell["low"] is None:
        return False
    if name in HIGHER:
        return bool(cell["high"] < wanted - tolerance)
    return bool(cell["low"] > wanted * (1 + tolerance))
