"""What monitors say, as conditions for alerts: one for each kind that a monitor can find, active or not."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from serinus.monitors.alerts import SEVERITIES, Condition, Fact, Severity
from serinus.monitors.drift_state import DriftState, FeatureState, Finding

__all__ = ["of_drift"]

_KINDS = ("drift", "sudden_change")
_SHOWN = 5
_MORE_MISSING = 0.05
_UNIT_SLIP_SD = 5.0


def of_drift(state: DriftState, model: str, version: str) -> list[Condition]:
    """The conditions of a drift monitor: an inactive one for a kind says that its watcher lives and all is well."""
    found = [_active(finding, state, model, version) for finding in state.findings]
    quiet = [kind for kind in _KINDS if kind not in {finding.kind for finding in state.findings}]
    return [*found, *(Condition(model, version, kind, "warn", False, state.text) for kind in quiet)]


def _active(finding: Finding, state: DriftState, model: str, version: str) -> Condition:
    named = set(finding.features)
    every = [feature for feature in state.features if feature.name in named]
    # Joint features move with any other: they are named only where nothing else did.
    moved = [feature for feature in every if feature.side != "joint"] or every
    facts: dict[str, Fact] = {"evidence": round(finding.evidence, 4), "rows": state.rows,
                              "run_length": int(state.run_length), "reference": state.reference,
                              "outputs": any(feature.side == "output" for feature in moved)}
    if finding.since is not None:
        facts["since"] = finding.since
    if pattern := _pattern(moved):
        facts["pattern"] = pattern
    directions = "; ".join(f"{one.name} {one.direction}" for one in moved[:_SHOWN] if one.direction)
    if directions:
        facts["moved"] = directions
    return Condition(model, version, finding.kind, _severity(finding), True, finding.text, facts,
                     tuple(sorted(feature.name for feature in moved)))


def _severity(finding: Finding) -> Severity:
    return next(severity for severity in SEVERITIES if severity == finding.severity)


def _pattern(moved: Sequence[FeatureState]) -> str:
    """What looks like a fault of the pipeline rather than like a change of the world, where half of the features that
    moved look so: many more missing values, a mean that is five standard deviations away, as after another unit, or
    many more values that the reference never had."""
    for pattern, shows in (("missing", _is_missing), ("unit_slip", _is_far), ("unseen", _is_unseen)):
        if _half(shows(feature) for feature in moved if feature.side == "input"):
            return pattern
    return ""


def _is_missing(feature: FeatureState) -> bool:
    return feature.missing_interval[0] > feature.missing_reference + _MORE_MISSING


def _is_unseen(feature: FeatureState) -> bool:
    return feature.unseen > feature.unseen_reference + 2 * _MORE_MISSING


def _is_far(feature: FeatureState) -> bool:
    return abs(feature.shift) >= _UNIT_SLIP_SD


def _half(answers: Iterable[bool]) -> bool:
    found = list(answers)
    return sum(found) * 2 >= len(found) > 0
