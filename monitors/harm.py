"""The harm alarm: the realised loss is higher than it was promised at registration, with a stated run length.

Drift of a feature is context; harm is that answers are wrong more often. With losses ℓ in [0, 1], the promise ℓ₀ (an
upper confidence bound from registration) and a tolerance, the product of 1 + λ(ℓ − ℓ₀ − tolerance) over rows grows
only if the mean loss is higher than ℓ₀ + tolerance (Podkopaev & Ramdas 2022, arXiv 2110.06177). It starts anew with
every row (Shiryaev and Roberts; Shin, Ramdas & Rinaldo 2023), for six stakes λ whose mean is taken:

    E[rows until the first false alarm] ≥ run_length,  while E[ℓ | past] ≤ ℓ₀ + tolerance,

whatever the losses' law and however labels were delayed, as long as *which* labels come does not depend on them.
Losses are rounded down to 255ths and counted, so many sources add up before the alarm looks at them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serinus.monitors.errors import InvalidData
from serinus.monitors.performance import Definition, Outcomes
from serinus.monitors.sequential.e_detector import STAKES

__all__ = ["LEVELS", "HarmAlarm", "HarmEvidence", "loss_counts", "losses_of", "promised_loss"]

LEVELS = 256
"""Losses are counted at so many levels from 0 to 1."""

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class HarmEvidence:
    """What the alarm has gathered: a value that `HarmAlarm.step` takes and gives.

    Attributes:
        logs: log M of every stake `[6]`; −∞ before the first row.
        rows: rows since the beginning.
        age: rows since each stake was last at its start `[6]`.
    """

    logs: Array
    rows: int
    age: Array

    def to_json(self) -> dict[str, Any]:
        """Give the evidence as JSON values."""
        logs = [value if math.isfinite(value) else None for value in self.logs.tolist()]
        return {"logs": logs, "rows": self.rows, "age": self.age.tolist()}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> HarmEvidence:
        """Read what `to_json` wrote. Raises InvalidData where it is of another number of stakes."""
        logs = [-math.inf if value is None else float(value) for value in document["logs"]]
        if len(logs) != len(STAKES) or len(document["age"]) != len(STAKES):
            raise InvalidData(f"The evidence of a harm alarm has {len(STAKES)} stakes, got {len(logs)}; start anew.")
        return cls(np.array(logs), int(document["rows"]), np.array(document["age"], np.int64))


@dataclass(frozen=True)
class HarmAlarm:
    """Watches counts of losses against a promise.

    Args:
        promised: ℓ₀, the mean loss that registration promises (`promised_loss`).
        tolerance: by how much more nobody minds.
        run_length: mean number of labelled rows until a false alarm, at least.

    Example:
        >>> alarm = HarmAlarm(promised=0.1, tolerance=0.02)
        >>> worse = alarm.step(alarm.start(), loss_counts(np.repeat([0.0, 1.0], [120, 80])))
        >>> alarm.alarms(worse)
        True
    """

    promised: float
    tolerance: float = 0.0
    run_length: float = 1_000_000.0
    _table: Array = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        limit = self.promised + self.tolerance
        if not 0 <= self.promised < 1 or self.tolerance < 0 or limit >= 1:
            raise InvalidData(f"A harm alarm needs a promised loss and a tolerance that add up to less than 1, got "
                              f"{self.promised:g} and {self.tolerance:g}.")
        gains = np.arange(LEVELS) / (LEVELS - 1) - limit
        stakes = np.asarray(STAKES) / max(limit, 1 / LEVELS)
        object.__setattr__(self, "_table", np.log1p(stakes * gains[:, None]))

    def start(self) -> HarmEvidence:
        """Return no evidence."""
        return HarmEvidence(np.full(len(STAKES), -np.inf), 0, np.zeros(len(STAKES), np.int64))

    def step(self, evidence: HarmEvidence, counts: Array) -> HarmEvidence:
        """Return the evidence after rows with these counts of losses `[256]`."""
        rows = int(counts.sum())
        if not rows:
            return evidence
        fresh = evidence.logs < math.log(rows)
        logs = np.logaddexp(evidence.logs, math.log(rows)) + counts @ self._table
        return HarmEvidence(logs, evidence.rows + rows, np.where(fresh, rows, evidence.age + rows))

    def log_mean(self, evidence: HarmEvidence) -> float:
        """Return the log of the mean M over the stakes."""
        top = float(evidence.logs.max())
        return top + math.log(float(np.exp(evidence.logs - top).mean())) if math.isfinite(top) else -math.inf

    def alarms(self, evidence: HarmEvidence) -> bool:
        """Tell whether the mean has reached the run length."""
        return self.log_mean(evidence) >= math.log(self.run_length)

    def meter(self, evidence: HarmEvidence) -> float:
        """Return the evidence between 0 (what honest rows give) and 1 (alarm)."""
        floor = math.log(float(np.mean(1 / np.asarray(STAKES))) * 10)
        height = math.log(self.run_length) - floor
        return min(max((self.log_mean(evidence) - floor) / max(height, 1e-9), 0.0), 1.0)

    def since(self, evidence: HarmEvidence) -> int:
        """Return for how many rows the strongest stake has grown: where the harm seems to have begun."""
        return int(evidence.age[evidence.logs.argmax()])


def loss_counts(losses: Array) -> NDArray[np.int64]:
    """Count losses in [0, 1] by level, rounded down; those beyond count as 0 and 1, those that are no number not."""
    known = np.asarray(losses, float)
    levels = np.floor(np.clip(known[~np.isnan(known)], 0.0, 1.0) * (LEVELS - 1) + 1e-9).astype(np.int64)
    return np.bincount(levels, minlength=LEVELS)


def promised_loss(losses: Array, alpha: float = 0.01) -> float:
    """The upper bound of the mean loss that registration promises, wrong with probability `alpha` at most.

    Maurer and Pontil's empirical Bernstein bound (2009, arXiv 0907.3740), for any law on [0, 1].

    Example:
        >>> round(promised_loss(np.repeat([0.0, 1.0], [900, 100])), 3)
        0.143
    """
    known = np.asarray(losses, float)
    known = np.clip(known[~np.isnan(known)], 0.0, 1.0)
    if len(known) < 2:
        raise InvalidData(f"A promise needs the losses of two rows or more, got {len(known)}.")
    log = math.log(2 / alpha)
    reach = math.sqrt(2 * float(known.var(ddof=1)) * log / len(known)) + 7 * log / (3 * (len(known) - 1))
    return min(float(known.mean()) + reach, 1.0)


def losses_of(definition: Definition, rows: Outcomes, scale: float = 1.0) -> Array:
    """Losses in [0, 1]: 1 for a wrong answer; of a number |error| / `scale`, at most 1. NaN where truth is missing.

    Args:
        definition: what is measured.
        rows: with their truth.
        scale: the error that is as bad as can be, such as three times the reference's root mean square.
    """
    if definition.task == "regression":
        errors = np.abs(np.asarray(rows.answers, float) - np.asarray(rows.truth, float)) / scale
        return np.asarray(np.minimum(errors, 1.0))
    truth, known = definition.places(rows.truth)
    answers, _ = definition.places(rows.answers)
    return np.where(known, (truth != answers) | (truth == len(definition.labels)), np.nan).astype(float)
