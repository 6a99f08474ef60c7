"""The harm alarm of a version: every truth counts once, in the order in which the steward learns of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serinus.monitors.harm import LEVELS, HarmAlarm, HarmEvidence
from serinus.serving.performance.promise import Promise
from serinus.serving.performance.realised import Window

__all__ = ["HarmWatch", "alarm_of"]

_BEYOND = 5.0
"""Evidence is cut at the alarm and so much more, in logarithms: what is well again is seen before long."""

Counts = NDArray[np.int64]


def alarm_of(promise: Promise, tolerance: float, run_length: float) -> HarmAlarm | None:
    """The alarm that watches a promise; None where it promises so little that no loss would break it."""
    return HarmAlarm(promise.promised, tolerance, run_length) if promise.promised + tolerance < 1 else None


@dataclass(frozen=True)
class HarmWatch:
    """What was counted, and the evidence in it. A value: `step` gives the next one.

    Attributes:
        alarm: what is watched, and against which promise.
        evidence: gathered so far.
        counted: by hour, the losses that are in it.
    """

    alarm: HarmAlarm
    evidence: HarmEvidence
    counted: Mapping[int, Counts] = field(default_factory=dict)

    @classmethod
    def begin(cls, alarm: HarmAlarm) -> HarmWatch:
        """Without any evidence."""
        return cls(alarm, alarm.start())

    def step(self, windows: Mapping[int, Window]) -> HarmWatch:
        """Take in what came since: a loss that was taken back, or revised, is not taken out again."""
        counted = {hour: np.maximum(window.losses, self.counted.get(hour, 0)) for hour, window in windows.items()}
        new = sum((losses - self.counted.get(hour, 0) for hour, losses in counted.items()), np.zeros(LEVELS, np.int64))
        if not new.any():
            return self
        evidence = self.alarm.step(self.evidence, new)
        most = math.log(self.alarm.run_length) + _BEYOND
        return replace(self, evidence=replace(evidence, logs=np.minimum(evidence.logs, most)), counted=counted)

    @property
    def active(self) -> bool:
        """Whether an alarm is open."""
        return self.alarm.alarms(self.evidence)

    def recent(self) -> tuple[float | None, int]:
        """The mean loss, and number, of the rows that the alarm is about: the latest hours that hold them."""
        wanted, whole = max(self.alarm.since(self.evidence), 1), np.zeros(LEVELS, np.int64)
        for hour in sorted(self.counted, reverse=True):
            if whole.sum() >= wanted:
                break
            whole += self.counted[hour]
        rows = int(whole.sum())
        return (float(whole @ np.arange(LEVELS)) / (LEVELS - 1) / rows if rows else None), rows

    def told(self) -> dict[str, Any]:
        """As JSON values for readers."""
        loss, rows = self.recent()
        state = "collecting" if not self.evidence.rows else "alarm" if self.active else "ok"
        return {"state": state, "loss": loss, "loss_rows": rows, "promised": self.alarm.promised,
                "tolerance": self.alarm.tolerance, "run_length": self.alarm.run_length, "rows": self.evidence.rows,
                "evidence": self.alarm.meter(self.evidence), "since_rows": self.alarm.since(self.evidence),
                "text": self._text(state, loss, rows)}

    def _text(self, state: str, loss: float | None, rows: int) -> str:
        limit = self.alarm.promised + self.alarm.tolerance
        if state == "collecting" or loss is None:
            return f"No truth yet; at most {limit:.1%} loss was promised."
        how = "more than" if state == "alarm" else "within"
        return (f"The loss is {loss:.1%} in the latest {rows:,} rows with a truth, {how} the {limit:.1%} that "
                f"registration promised{'' if state == 'ok' else ' at most'}; one false alarm in "
                f"{self.alarm.run_length:,.0f} such rows is expected.")

    def to_json(self) -> dict[str, Any]:
        """Everything, as JSON values."""
        return {"promised": self.alarm.promised, "tolerance": self.alarm.tolerance,
                "run_length": self.alarm.run_length, "evidence": self.evidence.to_json(),
                "counted": {str(hour): {str(level): int(losses[level]) for level in np.flatnonzero(losses)}
                            for hour, losses in self.counted.items()}}

    @classmethod
    def from_json(cls, alarm: HarmAlarm, document: Mapping[str, Any]) -> HarmWatch:
        """Go on with what `to_json` gave; from the beginning where it was about another promise."""
        if (document["promised"], document["tolerance"], document["run_length"]) != (
                alarm.promised, alarm.tolerance, alarm.run_length):
            return cls.begin(alarm)
        counted = {int(hour): _dense(levels) for hour, levels in document["counted"].items()}
        return cls(alarm, HarmEvidence.from_json(document["evidence"]), counted)


def _dense(levels: Mapping[str, int]) -> Counts:
    counts = np.zeros(LEVELS, np.int64)
    for level, rows in levels.items():
        counts[int(level)] = rows
    return counts
