"""What is found out about live rows over time: estimates by hour, and, once truths came, where and why loss is lost."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from serinus.monitors.label_free import Verdict
from serinus.monitors.performance import OF_POSITIVE, Definition
from serinus.monitors.profile import Profile
from serinus.serving.performance.causes import Judged, change, declared_slices, fairness, found_slices
from serinus.serving.performance.estimates import Estimates
from serinus.serving.performance.promise import Promise
from serinus.serving.performance.quality import Quality
from serinus.serving.performance.realised import Window, together
from serinus.serving.performance.sample import Hour, Rows, novel_share

__all__ = ["Causes", "Known", "Live"]

_ESTIMATES_AT_ONCE = 4
_LATE_AT_ONCE = 20
_REST = 19.0
"""After each piece of work, so many times as long as it took of the processor."""
_NOVEL_HOURS = 3
_QUALITY_HOURS = 3

Array = NDArray[Any]
Became = Callable[[Rows], tuple[Rows, Array]]
"""The rows with the outcome events that they had, and their truths."""


class Known(NamedTuple):
    """What does not change of a version; `profile` is the reference's that promise or quality was made with."""

    definition: Definition | None = None
    promise: Promise | None = None
    quality: Quality | None = None
    profile: Profile | None = None
    features: tuple[int, ...] = ()


class Causes(NamedTuple):
    """What is said of slices, groups and the reason of a change."""

    slices: list[dict[str, Any]]
    fairness: list[dict[str, Any]]
    change: dict[str, Any] | None


@dataclass
class Live:
    """One version in one role, by its samples.

    Attributes:
        known: what does not change of it.
        estimates: by hour.
        causes: found when last looked.
        quality: of answers that nobody labels, when last looked.
    """

    known: Known
    estimates: Estimates = field(default_factory=Estimates)
    causes: Causes = field(default_factory=lambda: Causes([], [], None))
    quality: list[Verdict] = field(default_factory=list)
    _estimated: dict[int, int] = field(default_factory=dict)
    _judged: dict[int, tuple[tuple[int, int], Judged]] = field(default_factory=dict)
    _due: dict[str, float] = field(default_factory=dict)
    _stale: bool = False

    def estimate(self, hours: Mapping[int, Hour]) -> bool:
        """Estimate the hours whose sample has grown, the latest first; whether anything changed."""
        promise, definition = self.known.promise, self.known.definition
        if promise is None or promise.estimator is None or definition is None or self._rests("estimate"):
            return False
        began, before = time.thread_time(), self.estimates
        changed = [hour for hour in sorted(hours, reverse=True) if self._estimated.get(hour) != hours[hour].revision]
        for hour in changed[:_ESTIMATES_AT_ONCE]:
            self._estimated[hour] = hours[hour].revision
            rows = hours[hour].rows()
            if rows is not None:
                self.estimates = self.estimates.estimate(hour, promise.estimator, definition, rows)
        self._rest("estimate", began)
        return self.estimates is not before

    def judge(self, hours: Mapping[int, Hour], windows: Mapping[int, Window], ripe: set[int], became: Became) -> bool:
        """Hold the sample of one hour against the truths that came; whether estimates were compared."""
        definition = self.known.definition
        if definition is None or self._rests("judge"):
            return False
        self._judged = {hour: found for hour, found in self._judged.items() if hour in hours}
        wanted = [hour for hour in sorted(ripe & hours.keys(), reverse=True)
                  if self._judged.get(hour, (None,))[0] != (hours[hour].revision, windows[hour].revision)]
        rows = hours[wanted[0]].rows() if wanted else None
        if rows is None:
            return self._compare_late(windows, ripe - hours.keys())
        began, hour = time.thread_time(), wanted[0]
        scale = self.known.promise.scale if self.known.promise is not None else 1.0
        judged = Judged.of(definition, *became(rows), scale)
        self._judged[hour] = (hours[hour].revision, windows[hour].revision), judged
        self._stale = True
        before, promise = self.estimates, self.known.promise
        if promise is not None and promise.estimator is not None:
            self.estimates = before.compare(hour, promise.estimator, definition, judged.rows, judged.truth)
        self._rest("judge", began)
        return self.estimates is not before

    def _compare_late(self, windows: Mapping[int, Window], ripe: set[int]) -> bool:
        """Compare hours whose truths came when their sample was gone."""
        definition = self.known.definition
        if definition is None:
            return False
        late = (self.estimates.hours.keys() & ripe) - self.estimates.compared.keys()
        for hour in sorted(late)[:_LATE_AT_ONCE]:
            found = definition.measure(together([windows[hour]], definition.digest))
            realised = {name: one for name, one in found.items() if not (definition.turned and name in OF_POSITIVE)}
            self.estimates = self.estimates.compare_hour(hour, realised)
        return bool(late)

    def look_for_causes(self, slices: tuple[str, ...], groups: tuple[str, ...]) -> None:
        """Look again where truths came since."""
        if not self._stale or self._rests("causes") or self.known.definition is None:
            return
        began, self._stale = time.thread_time(), False
        parts = [self._judged[hour][1] for hour in sorted(self._judged) if len(self._judged[hour][1].rows)]
        if parts:
            whole = Judged(self.known.definition, Rows.together([part.rows for part in parts]),
                           np.concatenate([part.truth for part in parts]),
                           np.concatenate([part.losses for part in parts]))
            self.causes = self._causes(whole, slices, groups)
        self._rest("causes", began)

    def _causes(self, whole: Judged, slices: tuple[str, ...], groups: tuple[str, ...]) -> Causes:
        found = declared_slices(whole, slices)
        if self.known.profile is not None:
            found += found_slices(whole, self.known.profile, self.known.features)
        changed = change(whole, self.known.promise) if self.known.promise is not None else None
        return Causes(found, fairness(whole, groups), changed)

    def look_at_quality(self, hours: Mapping[int, Hour]) -> None:
        """Hold the latest hours' rows against the reference, where nobody labels them."""
        if self.known.quality is None or self._rests("quality"):
            return
        began = time.thread_time()
        found = [hours[hour].rows() for hour in sorted(hours)[-_QUALITY_HOURS:]]
        parts = [part for part in found if part is not None]
        self.quality = self.known.quality.compare(Rows.together(parts)) if parts else []
        self._rest("quality", began)

    def novel_share(self, hours: Mapping[int, Hour]) -> float | None:
        """Of the latest hours' rows, the share that is unlike the reference."""
        rows = [hours[hour].rows() for hour in sorted(hours)[-_NOVEL_HOURS:]]
        return novel_share(part for part in rows if part is not None)

    def _rests(self, what: str) -> bool:
        return time.monotonic() < self._due.get(what, float("-inf"))

    def _rest(self, what: str, began: float) -> None:
        self._due[what] = time.monotonic() + _REST * (time.thread_time() - began)
