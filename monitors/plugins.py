"""Custom monitors at work: those that installed packages offer, what a worker counts for them, how a steward judges.

```
worker   Watch(monitors).observe(record) → Watch.sums, a flat float64 array, over any buffer (a memory map)
tick     the array as it stands: cumulative, so a tick may come twice, late or never
steward  Judge.add(differences) → cuts windows, learns the first ones, asks `Monitor.finding` for each further one
```
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from hashlib import sha256
from importlib.metadata import entry_points
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serinus.models.signature import Signature
from serinus.monitors.errors import UnknownMonitor
from serinus.monitors.monitor import Finding, Monitor, Sums
from serinus.monitors.record import PredictionRecord

__all__ = ["GROUP", "Judge", "Standing", "Watch", "digest_of", "installed_monitors", "monitors_for"]

GROUP = "serinus.monitors"
"""The entry-point group in which an installed package offers its monitors."""

_MOST_FAILURES = 10
_KEPT = 48
_log = logging.getLogger("serinus.monitors")


@cache
def installed_monitors() -> tuple[Monitor, ...]:
    """Give the monitors of all installed packages, in the order of their names; one that cannot be made is logged."""
    made = [_made(point) for point in entry_points(group=GROUP)]
    monitors = sorted((monitor for monitor in made if monitor is not None), key=lambda monitor: monitor.name)
    for one, other in pairwise(monitors):
        if one.name == other.name:
            raise UnknownMonitor(f"Two installed packages offer a monitor {one.name!r}; uninstall one of them.")
    return tuple(monitors)


def _made(point: Any) -> Monitor | None:
    try:
        monitor: Monitor = point.load()()
    except Exception as error:  # somebody else's module: serving goes on without it
        _log.error("The monitor %s (%s) cannot be loaded, and nothing is watched for it: %s: %s",
                   point.name, point.value, type(error).__name__, error)
        return None
    return monitor


def monitors_for(signature: Signature) -> tuple[Monitor, ...]:
    """Give the installed monitors that watch a model of this signature."""
    return tuple(monitor for monitor in installed_monitors() if _wants(monitor, signature))


def _wants(monitor: Monitor, signature: Signature) -> bool:
    try:
        return monitor.watches(signature)
    except Exception:
        _log.exception("The monitor %s could not say whether it watches a model, and does not", monitor.name)
        return False


def digest_of(monitors: Sequence[Monitor]) -> str:
    """Name a layout of sums: what was counted for other monitors, or other sums of theirs, is no part of it."""
    layout = ";".join(f"{monitor.name}:{','.join(monitor.sums)}" for monitor in monitors)
    return f"monitors:{sha256(layout.encode()).hexdigest()}"


class Watch:
    """What one worker counted for some monitors, cumulative.

    A monitor that fails is somebody else's bug: it is logged once and left alone after ten failures in a row; its
    `rows` stand still then. The request it was shown was answered before.

    Args:
        monitors: in a fixed order, as `monitors_for` gives them.
        buffer: where the sums live: writable, 8 bytes for each; without it they live in this object.
    """

    def __init__(self, monitors: Sequence[Monitor], buffer: Any | None = None) -> None:
        self.monitors = tuple(monitors)
        size = self.size(monitors)
        self.sums: NDArray[np.float64] = np.zeros(size) if buffer is None else np.frombuffer(buffer, np.float64, size)
        self._slots = [(monitor, dict(zip(("rows", *monitor.sums), places, strict=True)))
                       for monitor, places in zip(self.monitors, _places(monitors), strict=True)]
        self._failures = dict.fromkeys((monitor.name for monitor in monitors), 0)

    @staticmethod
    def size(monitors: Sequence[Monitor]) -> int:
        """Give how many numbers the sums of these monitors are."""
        return sum(1 + len(monitor.sums) for monitor in monitors)

    def observe(self, record: PredictionRecord) -> None:
        """Show a record to every monitor and add what it says. Never raises."""
        for monitor, slots in self._slots:
            if self._failures[monitor.name] < _MOST_FAILURES:
                try:
                    self._add(record.rows, monitor.observe(record), slots)
                    self._failures[monitor.name] = 0
                except Exception as error:
                    self._failed(monitor, error)

    def _add(self, rows: int, added: Sums, slots: Mapping[str, int]) -> None:
        numbers = {slots[name]: float(number) for name, number in added.items()}
        if not all(map(math.isfinite, numbers.values())):
            raise ValueError(f"sums must be finite, got {dict(added)}")
        for slot, number in numbers.items():
            self.sums[slot] += number
        self.sums[slots["rows"]] += rows

    def _failed(self, monitor: Monitor, error: Exception) -> None:
        self._failures[monitor.name] += 1
        if self._failures[monitor.name] in (1, _MOST_FAILURES):
            left = " and is left alone now" if self._failures[monitor.name] == _MOST_FAILURES else ""
            _log.error("The monitor %s failed%s: %s: %s", monitor.name, left, type(error).__name__, error)


def _places(monitors: Sequence[Monitor]) -> list[range]:
    ends = np.cumsum([0, *(1 + len(monitor.sums) for monitor in monitors)]).tolist()
    return [range(start, end) for start, end in pairwise(ends)]


@dataclass(frozen=True)
class Standing:
    """Where one monitor stands with one model version.

    Attributes:
        open: sums of the window that is not full yet.
        reference: sums of the windows that say what is normal, the first ones there were.
        windows: how many windows are full, the reference's among them.
        finding: what was said of the last window that was judged; None while it learns.
        recent: the sums of the latest windows that were judged, for a chart.
    """

    open: Sums
    reference: tuple[Sums, ...] = ()
    windows: int = 0
    finding: Finding | None = None
    recent: tuple[Sums, ...] = ()

    def status(self, monitor: Monitor) -> str:
        """Say in a few words how things are: "learning, 12 of 20 windows", "ok", "alarm"."""
        if self.finding is not None:
            return "alarm" if self.finding.active else "ok"
        if len(self.reference) < monitor.learns:
            return f"learning, {len(self.reference)} of {monitor.learns} windows of {monitor.window:,} rows"
        return f"collecting a window of {monitor.window:,} rows"


class Judge:
    """Judges some monitors of one model version: a pure function of the differences it was given, in their order.

    Args:
        monitors: the same, in the same order, as those of the `Watch` whose sums come.
    """

    def __init__(self, monitors: Sequence[Monitor]) -> None:
        self.monitors = tuple(monitors)
        self.standings = {monitor.name: Standing(_sums(monitor, [0.0] * (1 + len(monitor.sums))))
                          for monitor in monitors}

    def add(self, difference: NDArray[np.float64]) -> list[Finding]:
        """Take what was newly counted, and give the findings of the windows that are full now."""
        found = []
        for monitor, places in zip(self.monitors, _places(self.monitors), strict=True):
            standing = _joined(self.standings[monitor.name], _sums(monitor, difference[places].tolist()))
            if standing.open["rows"] >= monitor.window:
                standing = _judged(standing, monitor)
                if standing.finding is not None:
                    found.append(standing.finding)
            self.standings[monitor.name] = standing
        return found

    @property
    def findings(self) -> list[Finding]:
        """What was said of the windows that were judged last, one for each monitor that judged any."""
        return [one.finding for one in self.standings.values() if one.finding is not None]

    def status(self) -> list[dict[str, Any]]:
        """Give what a page or a program shows of each monitor."""
        return [{"name": monitor.name, "about": monitor.about, "state": standing.status(monitor),
                 "windows": standing.windows, "recent": [dict(sums) for sums in standing.recent],
                 "finding": None if standing.finding is None else standing.finding.to_json()}
                for monitor in self.monitors for standing in (self.standings[monitor.name],)]

    def to_json(self) -> dict[str, Any]:
        """Give the whole state as JSON values."""
        return {name: {"open": dict(one.open), "reference": [dict(sums) for sums in one.reference],
                       "windows": one.windows, "recent": [dict(sums) for sums in one.recent],
                       "finding": None if one.finding is None else one.finding.to_json()}
                for name, one in self.standings.items()}

    def restore(self, document: Mapping[str, Any]) -> None:
        """Go on from what `to_json` wrote; monitors with other sums than then begin anew."""
        for monitor in self.monitors:
            kept = document.get(monitor.name)
            if kept is not None and set(kept["open"]) == {"rows", *monitor.sums}:
                finding = None if kept["finding"] is None else Finding.from_json(kept["finding"])
                self.standings[monitor.name] = Standing(
                    kept["open"], tuple(kept["reference"]), kept["windows"], finding, tuple(kept["recent"]))


def _sums(monitor: Monitor, numbers: Sequence[float]) -> Sums:
    return dict(zip(("rows", *monitor.sums), numbers, strict=True))


def _joined(standing: Standing, new: Sums) -> Standing:
    return replace(standing, open={name: number + new[name] for name, number in standing.open.items()})


def _judged(standing: Standing, monitor: Monitor) -> Standing:
    """Close the open window: one more to learn from, or one to judge."""
    window, empty = standing.open, dict.fromkeys(standing.open, 0.0)
    if len(standing.reference) < monitor.learns:
        return replace(standing, open=empty, windows=standing.windows + 1, reference=(*standing.reference, window))
    try:
        finding = monitor.finding(window, standing.reference)
    except Exception as error:  # unknown is never fine: it is said
        text = f"{monitor.name} could not judge a window of {window['rows']:,.0f} rows: {type(error).__name__}: {error}"
        finding = Finding(monitor.name, True, text, severity="warn")
    return replace(standing, open=empty, windows=standing.windows + 1, finding=finding,
                   recent=(*standing.recent, window)[-_KEPT:])
