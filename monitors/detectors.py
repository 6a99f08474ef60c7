"""Detectors of a profile: its e-detector, and one for every season cell where the profile has seasons.

With seasons, the contrasts of a step are centred at what is normal for its hour and kind of day, and its dead zone is
that of the cell's own rows; the bets are the same, so the evidence goes on from one cell to the next. A cell of less
than 500 rows is filled up with the whole reference. What a window is compared with is the mixture of cells that its
rows came from.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from serinus.monitors.contrasts import LOCATION, contrasts, shares
from serinus.monitors.dead_zone import critical_value, dead_zone, estimate_error
from serinus.monitors.features import VALUES, Feature
from serinus.monitors.profile import Profile
from serinus.monitors.sequential.e_detector import EDetector

__all__ = ["GROUPS", "TOO_WIDE", "Detectors", "estimated", "season_of", "weights_of", "width"]

Floats = NDArray[np.float64]

GROUPS = {"input": 0.5, "output": 0.25, "joint": 0.25}
"""What part of the mean each side has, if it is there: 2,000 inputs do not drown one prediction."""

TOO_WIDE = 0.25
"""A dead zone of more standard deviations hides what users call drift."""

_CELL = 500
_KEPT = 8


def weights_of(features: Sequence[Feature]) -> Floats:
    """Return the features' weights `[R]`, adding up to 1; 0 for those that cannot be monitored."""
    sides = np.array([feature.side if feature.monitorable else "" for feature in features])
    weights = np.zeros(len(features))
    for side, part in GROUPS.items():
        weights[sides == side] = part / max(int((sides == side).sum()), 1)
    return weights / max(float(weights.sum()), np.finfo(float).tiny)


def season_of(time: float) -> int:
    """Return the season cell of a Unix time: its hour in UTC, weekends after working days."""
    # 1970 began on a Thursday.
    return int(time % 86_400 // 3_600) + 24 * ((time // 86_400 + 3) % 7 >= 5)


def width(reference: NDArray[np.int64], ordered: NDArray[np.bool_], zone: Floats) -> Floats:
    """Return how wide each feature's dead zone is in standard deviations `[R]`: of its location or its largest bin."""
    p, g = shares(reference), contrasts(reference, ordered)
    deviations = np.sqrt(np.maximum((p[:, None] * g**2).sum(-1), 1e-12))
    at = np.where(ordered & (np.abs(g[:, LOCATION]).max(1) > 0), LOCATION, 2 + p[:, :VALUES].argmax(1))
    rows = np.arange(len(p))
    # A feature with one value has no deviation; its share is measured against that of a fair coin.
    constant = p[:, :VALUES].max(1) >= 1 - 1e-9
    relative: Floats = zone[rows, at].max(1) / np.where(constant, 0.5, deviations[rows, at])
    return relative


def estimated(profile: Profile) -> Floats:
    """Return the part of the dead zone that comes from the reference's size alone, `[R, 20, 2]`."""
    counts = profile.counts
    return estimate_error(counts, contrasts(counts, profile.ordered), critical_value(len(counts)))


class Detectors:
    """Gives the detector of a time.

    Args:
        profile: the reference.
        run_length: mean number of rows until a false alarm, at least.
        tolerance: the least ε of every contrast.
        raised: by what each feature's dead zone is multiplied `[R]`; see `self_check`.
    """

    def __init__(
        self, profile: Profile, run_length: float, tolerance: float = 0.0, raised: Floats | None = None
    ) -> None:
        self._profile, self._run_length, self._tolerance = profile, run_length, tolerance
        self._raised = np.ones(len(profile.features)) if raised is None else raised
        self._weights = weights_of(profile.features)
        zone = dead_zone(profile.blocks, profile.ordered, tolerance=tolerance) * self._raised[:, None, None]
        self.pooled = self._detector(profile.counts, zone)
        """Of the reference as a whole."""
        self._of_cell = lru_cache(_KEPT)(self._cell_detector)

    @property
    def seasonal(self) -> bool:
        """Whether the profile has seasons."""
        return self._profile.seasons is not None

    def at(self, time: float | None) -> EDetector:
        """Return the detector for rows of this Unix time."""
        return self.pooled if time is None or not self.seasonal else self._of_cell(season_of(time))

    def expected(self, time: float | None) -> Floats:
        """Return what is normal at this Unix time: shares `[R, 18]`."""
        return shares(self.pooled.reference if time is None or not self.seasonal else self._cell(season_of(time)))

    def _cell(self, cell: int) -> NDArray[np.int64]:
        assert self._profile.seasons is not None
        table = self._profile.seasons[cell]
        lacking = np.maximum(_CELL - table.sum(-1, keepdims=True), 0)
        filled: NDArray[np.int64] = table + np.rint(lacking * shares(self._profile.counts)).astype(np.int64)
        return filled

    def _cell_detector(self, cell: int) -> EDetector:
        table, ordered = self._cell(cell), self._profile.ordered
        zone = estimate_error(table, contrasts(table, ordered), critical_value(len(table)))
        return self._detector(table, np.maximum(zone, self._tolerance) * self._raised[:, None, None])

    def _detector(self, reference: NDArray[np.int64], zone: Floats) -> EDetector:
        return EDetector(reference, self._profile.ordered, zone, self._weights, self._run_length)
