"""The servers that run on a home, as their run folders and boards tell."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator

from serinus.serving.board import Reading, is_owned, read_all
from serinus.serving.doctor.check import Check, counted, hours, ok, problem, warning
from serinus.serving.files import is_locked
from serinus.serving.home import Home, RunFolder
from serinus.serving.settings import Settings

__all__ = ["log_rate", "look_at_servers"]

_SILENT_S = 5.0
_SETTLED_S = 60.0
_TICKS = os.sysconf("SC_CLK_TCK")


def look_at_servers(home: Home) -> Iterator[Check]:
    """A line for each: its workers, the last sign of life, what it lost."""
    found = home.servers()
    if not found:
        yield ok("servers", f"None runs on {home.path}.")
    for run in found:
        with contextlib.suppress(FileNotFoundError):  # it ended meanwhile
            yield from _server(run)


def log_rate(home: Home) -> float:
    """Bytes a second that the servers of this home wrote to the prediction log since they began; 0 where none has run
    for a minute."""
    rate = 0.0
    for run in home.servers():
        with contextlib.suppress(FileNotFoundError):  # it ended meanwhile
            if (age_s := _age_s(run)) >= _SETTLED_S:
                rate += read_all(run.boards)[0][0].get("log_bytes", 0) / age_s
    return rate


def _server(run: RunFolder) -> Iterator[Check]:
    (counters, _), readings = read_all(run.boards)
    living = [reading for reading in readings if is_owned(reading.path)]
    wanted, ready = _workers(run), sum(reading.ready for reading in living)
    who = f"Process {_pid(run)}"
    says = f"{who}, for {hours(_age_s(run))}: {ready} of {wanted or len(living)} workers ready"
    silent = max(map(_silent_s, living), default=0.0)
    if silent > _SILENT_S:
        yield warning("servers", f"{says}, one of them silent for {silent:.0f} s.",
                      "Its event loop hangs; after a minute it is killed and replaced.")
    elif ready < (wanted or 1):
        yield warning("servers", f"{says}.", "If they are not starting, the server's own log says why.")
    else:
        yield ok("servers", f"{says}; last sign of life {silent:.1f} s ago.")
    if not is_locked(run.steward_lock):
        yield warning("servers", f"{who} has no steward now: answers go on, rollouts do not.", "It is started again at "
                                                                                               "once, unless it fails.")
    yield from _losses(who, counters)


def _losses(who: str, counters: dict[str, int]) -> Iterator[Check]:
    if lost := counters.get("log_failures", 0):
        yield problem("servers", f"{who} could not write {counted(lost, 'record')} to the prediction log.",
                      "Look at the disk and at the folder's permissions.")
    if lost := counters.get("spans_dropped", 0):
        yield warning("servers", f"{who} lost {counted(lost, 'span')} and sent {counters.get('spans_exported', 0)}.",
                      "Look at its collector: it was away, or too slow.")
    if lost := counters.get("load_failures", 0):
        yield warning("servers", f"{who} could not load a version ({counted(lost, 'time')}).",
                      "Its own log says which, and why.")


def _workers(run: RunFolder) -> int:
    """How many it was told to have; 0 where that cannot be read."""
    try:
        return Settings.model_validate_json(run.settings.read_bytes()).server.workers
    except (OSError, ValueError):
        return 0


def _pid(run: RunFolder) -> int:
    return int(run.owner.read_text().split()[0])


def _age_s(run: RunFolder) -> float:
    ticks = int(run.owner.read_text().split()[1])
    return max(0.001, time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / _TICKS)


def _silent_s(reading: Reading) -> float:
    return (time.monotonic_ns() - reading.heartbeat_ns) / 1e9
