"""A business metric: the mean of a named number per prediction, with an alarm when it is too high or too low."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from serinus.monitors.monitor import Finding, Monitor, Sums
from serinus.monitors.record import PredictionRecord

__all__ = ["BusinessMetric"]

_FEWEST = 2
"""Reference windows that hold a value; of one alone nobody can tell how much they vary."""
_LARGEST = 1e100
"""Larger values count as this, so that sums of squares stay finite."""
_ENOUGH = 30


class BusinessMetric(Monitor):
    """Watches the mean of `values`. A subclass gives `name`, `about`, `values`, and what else it wants otherwise.

    The means of the reference's windows say how much a mean varies by itself, trends and busy hours within the
    reference included. With K of them, mean μ and standard deviation s (at least that of independent rows), the mean x
    of a new window gives

        t = (x − μ) / (s·√(1 + 1/K))            Student's t with K − 1 degrees of freedom, two-sided

    and the alarm is raised where its probability is below window / run_length: so one false alarm in `run_length`
    rows is expected at most, as long as nothing changes.

    Attributes:
        unit: of the values, for sentences.
        run_length: rows between two false alarms.
        low, high: values beyond count as these, so that one wild value does not make the mean.
        tolerance: by how much of the reference's mean the mean may change before anybody is told, such as 0.05.
    """

    sums = ("count", "total", "squares")
    unit: str = ""
    run_length: int = 1_000_000
    low: float = -_LARGEST
    high: float = _LARGEST
    tolerance: float = 0.0

    @abstractmethod
    def values(self, record: PredictionRecord) -> ArrayLike:
        """Give a number for each row that counts; NaN and infinite ones are left out.

        A request may ask for some outputs only: where what is needed is not there, give nothing, `()`.
        """
        ...

    def observe(self, record: PredictionRecord) -> Sums:
        """Add number, sum and sum of squares of the values."""
        values = np.asarray(self.values(record), dtype=np.float64).ravel()
        values = np.clip(values[np.isfinite(values)], self.low, self.high)
        return {"count": len(values), "total": float(values.sum()), "squares": float(values @ values)}

    def finding(self, window: Sums, reference: Sequence[Sums]) -> Finding:
        """Judge a window's mean; see the class."""
        known = [sums for sums in reference if sums["count"] > 0]
        if len(known) < _FEWEST:
            return self._says(False, f"the reference's windows hold too few values to know what is normal "
                                     f"({len(known)} of {len(reference)} have any).")
        if window["count"] == 0:
            return self._without_values(window, known)
        means = np.array([sums["total"] / sums["count"] for sums in known])
        mean, normal = window["total"] / window["count"], float(means.mean())
        low, high = self._limits(means, normal, _row_variance(known), window)
        text = f"the mean is {_number(mean)}{self._unit()}, expected {_number(low)} to {_number(high)}{self._unit()}."
        facts = {"mean": mean, "normal": normal, "low": low, "high": high, "count": window["count"]}
        return self._says(not low <= mean <= high, text, **facts)

    def _limits(self, means: Floats, normal: float, row_variance: float, window: Sums) -> Limits:
        from scipy.special import stdtrit

        alpha = min(self.window / self.run_length, 1.0)
        spread = math.sqrt(max(float(means.var(ddof=1)), row_variance / window["count"]) * (1 + 1 / len(means)))
        reach = max(float(stdtrit(len(means) - 1, 1 - alpha / 2)) * spread, self.tolerance * abs(normal))
        return Limits(normal - reach, normal + reach)

    def _without_values(self, window: Sums, known: Sequence[Sums]) -> Finding:
        usual = min(sums["count"] for sums in known)
        return self._says(usual >= _ENOUGH, f"none of {_number(window['rows'])} rows has a value; in the reference at "
                                            f"least {_number(usual)} had.")

    def _says(self, active: bool, text: str, **facts: float) -> Finding:
        return Finding(self.name, active, f"{self.name}: {text}", facts=facts)

    def _unit(self) -> str:
        return f" {self.unit}" if self.unit else ""


class Limits(NamedTuple):
    """Between which means all is well."""

    low: float
    high: float


Floats = np.ndarray[tuple[int, ...], np.dtype[np.float64]]


def _row_variance(windows: Sequence[Sums]) -> float:
    """Give the variance of single values within windows."""
    inner = sum(max(sums["squares"] - sums["total"] ** 2 / sums["count"], 0.0) for sums in windows)
    return inner / max(sum(sums["count"] for sums in windows) - len(windows), 1.0)


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1_000 else f"{value:.4g}"
