"""Signals: what is no proof against a candidate, and reason enough to hold its rollout until a person has looked.

    drift       the inputs of the model began to drift while the rollout ran: what is compared now may not be what comes
    estimate    without truths, the candidate is estimated to be clearly worse than stable in the same hour
    monitor     an installed monitor, such as a business metric, finds a window of the candidate unlike stable's windows

They are read from what the monitors keep, and from the model's journal: what began before the rollout did, or before a
person resumed it, holds nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from serinus.monitors.metrics import HIGHER
from serinus.monitors.monitor import Monitor, Sums
from serinus.monitors.performance import FEWEST
from serinus.serving.rollout.state import RolloutRecord
from serinus.serving.store import JournalEntry

__all__ = ["DRIFT", "ESTIMATE", "MONITOR", "SIGNALS", "Looked", "drift", "estimate", "looked", "monitored"]

DRIFT, ESTIMATE, MONITOR = "drift", "estimate", "monitor"
SIGNALS = (DRIFT, ESTIMATE, MONITOR)
"""Causes of a hold that prove nothing, so that no rollback follows however long they last."""
_HOUR_S = 3600.0


class Looked(NamedTuple):
    """When a person last looked at a rollout, by starting or resuming it, and the causes that were waived with it."""

    at: float
    waived: frozenset[str] = frozenset()


def looked(journal: Iterable[JournalEntry], record: RolloutRecord) -> Looked:
    """What the journal, oldest first, says of this rollout. The judge's own entries carry a verdict."""
    found, cause = Looked(0.0), ""
    for entry in journal:
        if entry.body.get("rollout_id") != record.rollout_id:
            continue
        if entry.kind == "start":
            found = Looked(entry.time)
        elif entry.kind == "hold":
            cause = entry.body.get("verdict", {}).get("cause", "")
        elif entry.kind == "resume" and "verdict" not in entry.body:
            found = Looked(entry.time, found.waived | {cause})
    return found


def drift(view: Mapping[str, Any] | None, since: float) -> str:
    """Why the stable version's monitor says that the model's inputs drift, where that began after `since`."""
    found = (view or {}).get("drift") or {}  # none while a reference is learnt
    began = found.get("since")
    if not found.get("alarm") or began is None or began < since:
        return ""
    moved = [feature["name"] for feature in found["features"] if feature["drifted"] and feature["side"] == "input"]
    if not moved:
        return ""
    return (f"The inputs of the model drift since the rollout began ({', '.join(moved[:5])}), so what is compared now "
            f"may not be what comes. {found['text']}")


def estimate(document: Mapping[str, Any] | None, record: RolloutRecord, since: float, tolerance: float) -> str:
    """How much worse than stable the candidate is estimated to be in the latest hour for which both were: where their
    intervals lie apart, and the values by more than `tolerance`."""
    versions = [] if document is None else document["versions"]
    arms = [_estimates(versions, record.candidate, "candidate", since),
            _estimates(versions, record.stable, "stable", since)]
    hours = arms[0].keys() & arms[1].keys()
    if not hours:
        return ""
    hour = max(hours)
    (name, theirs), (_, others) = (arm[hour] for arm in arms)
    if not _is_worse(name, theirs, others, tolerance):
        return ""
    return (f"Without truths, {name} of the candidate is estimated at {_told(theirs)}, of stable at {_told(others)}, "
            f"over the same hour. An estimate is no proof, so a person decides.")


def monitored(monitors: Iterable[Monitor], candidate: Mapping[str, Any], stable: Mapping[str, Any]) -> str:
    """What a monitor says of the candidate's latest full window when it is held against stable's latest ones, and does
    not say of stable's own; both arms by what the steward keeps of each monitor."""
    for monitor in monitors:
        theirs, others = (_windows(state.get(monitor.name), monitor) for state in (candidate, stable))
        if not theirs or len(others) < max(1, monitor.learns):
            continue
        reference = others[-monitor.learns:] if monitor.learns else []
        finding = monitor.finding(theirs[-1], reference)
        if finding.active and not monitor.finding(others[-1], reference).active:
            return (f"Of the candidate's latest {theirs[-1]['rows']:,.0f} rows, by what the same monitor counted of "
                    f"stable: {finding.text}")
    return ""


def _windows(kept: Mapping[str, Any] | None, monitor: Monitor) -> Sequence[Sums]:
    """The full windows of a version that are kept, oldest first; none of a monitor that had other sums then."""
    if kept is None or set(kept["open"]) != {"rows", *monitor.sums}:
        return ()
    return [*kept["reference"], *kept["recent"]]


def _estimates(versions: Iterable[Mapping[str, Any]], version: str | None, role: str,
               since: float) -> dict[str, tuple[str, Mapping[str, Any]]]:
    """By hour the name of the version's main measure, and what it is estimated at. Withdrawn estimates are none."""
    found = {}
    for told in versions:
        if told["version"] != version or told["role"] != role:
            continue
        name = told["measure"]
        for window in told["windows"]:
            cell = (window["estimate"] or {}).get(name)
            ends = datetime.fromisoformat(window["hour"]).timestamp() + _HOUR_S
            if cell is not None and cell["low"] is not None and cell["rows"] >= FEWEST and ends > since:
                found[window["hour"]] = name, cell
    return found


def _is_worse(name: str, theirs: Mapping[str, Any], others: Mapping[str, Any], tolerance: float) -> bool:
    if name in HIGHER:
        return bool(theirs["high"] < others["low"] and theirs["value"] < others["value"] - tolerance)
    return bool(theirs["low"] > others["high"] and theirs["value"] > others["value"] * (1 + tolerance))


def _told(cell: Mapping[str, Any]) -> str:
    return f"{cell['value']:.4g} ({cell['low']:.4g} to {cell['high']:.4g})"
