"""What a drift monitor says: the state of the stream, of each feature, and the findings that alerts are made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

__all__ = ["WARM_UP", "DriftState", "FeatureState", "Finding", "Severity", "WindowSummary"]

Severity = Literal["ok", "warn", "alarm", "act"]

WARM_UP = 200
"""Below so many rows, numbers are shown but no window is judged; the e-detector may alarm at any time."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that people should hear of, as long as it is so. It names no model and holds no value of a row.

    Attributes:
        kind: "drift" (against the reference) or "sudden_change" (against the rows just before).
        severity: "warn", "alarm" or "act".
        text: one sentence.
        features: names, the strongest first.
        since: when it began, Unix time; None where rows came without a time.
        since_row: the observed row at which it began.
        evidence: 0 to 1.
    """

    kind: str
    severity: Severity
    text: str
    features: tuple[str, ...]
    since: float | None
    since_row: int | None
    evidence: float


@dataclass(frozen=True, slots=True)
class FeatureState:
    """One feature, in recent rows.

    Attributes:
        name, side: as in the profile.
        evidence: 0 to 1; 1 where the feature alone would have given the alarm.
        certain: whether it would.
        drifted: whether it is one of the open alarm's features.
        effect: population stability index, less what chance adds.
        shift: of the mean, in standard deviations of the reference; 0 for categories.
        direction: in words, such as "up 0.3 sd", "wider", "missing 0 % → 12 %"; empty where nothing stands out.
        missing, unseen: shares of missing and unseen values, and the reference's.
        missing_interval: Wilson's 95 % interval of `missing`.
        wasserstein: mean distance that values moved, in the feature's own unit, from bins; None where there is none.
        since_row, since: where its strongest bet began to grow, as a row and as Unix time.
        monitorable: whether the stated run length holds for it.
        reason: why not.
    """

    name: str
    side: str
    evidence: float
    certain: bool
    drifted: bool
    effect: float
    shift: float
    direction: str
    missing: float
    missing_reference: float
    missing_interval: tuple[float, float]
    unseen: float
    unseen_reference: float
    wasserstein: float | None
    since_row: int | None
    since: float | None
    monitorable: bool = True
    reason: str = ""


@dataclass(frozen=True, slots=True)
class WindowSummary:
    """A finished window, for charts.

    Attributes:
        kind: "64", "256", … rows, or "hour", "day", "week".
        start: first row of a window of rows, Unix time of a window of time.
        rows: how many it has.
        p: the smallest adjusted p-value of any feature.
        effect: the largest corrected PSI of any feature.
        drifted: names of the features that it says have changed, at the level of its kind.
    """

    kind: str
    start: float
    rows: int
    p: float
    effect: float
    drifted: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DriftState:
    """Where a stream stands.

    Attributes:
        alarm: whether an alarm is open.
        severity: "ok"; "warn" from half the evidence on; "alarm"; "act" if an alarmed feature moved by a PSI of 0.1.
        evidence: 0 to 1; 1 while an alarm is open.
        text: one sentence.
        features: all features, ranked: those of the alarm, then by evidence, then by effect.
        since, since_row: when the open alarm's change began, Unix time and row.
        rows: observed so far; `rows_since_alarm` of them after the last alarm.
        alarms: given so far.
        run_length: mean number of rows until a false alarm, at least.
        smallest_shift: of a mean, in standard deviations, that the rows so far would show with 80 % power.
        groups: evidence of inputs, outputs and joint features by themselves.
        windows: finished windows, latest last.
        findings: what alerts are made of; empty while all is well.
        reference: digest of the profile.
    """

    alarm: bool
    severity: Severity
    evidence: float
    text: str
    features: tuple[FeatureState, ...]
    since: float | None
    since_row: int | None
    rows: int
    rows_since_alarm: int
    alarms: int
    run_length: float
    smallest_shift: float
    groups: Mapping[str, float]
    windows: tuple[WindowSummary, ...]
    findings: tuple[Finding, ...]
    reference: str

    def to_json(self) -> dict[str, Any]:
        """Give the state as JSON values; an infinite shift is null."""
        document = asdict(self)
        document["smallest_shift"] = self.smallest_shift if self.smallest_shift < 1e6 else None
        return document
