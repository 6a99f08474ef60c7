"""Job: keep the prediction log below its size cap and its age by removing what is oldest of it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from serinus.serving.prediction_log import Entry, is_open
from serinus.serving.prediction_log.compaction import remove
from serinus.serving.prediction_log.manifest import exclusive
from serinus.serving.prediction_log.reader import stored
from serinus.serving.steward.job import Shared

_log = logging.getLogger("serinus.steward")
_DAY_NS = 86_400 * 10**9


class CapLog:
    """Oldest by the time of their last record, segments and Parquet files alike; one that is still written is never
    removed."""

    name = "cap_log"
    period_s = 30.0

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock

    def run(self, shared: Shared) -> None:
        """See `Job.run`."""
        home, log = shared.home, shared.settings.log
        found = sorted(kept for folder in (home.log, home.shadow_log) for kept in stored(folder))
        excess = sum(size for _, size, _ in found) - log.cap_bytes
        limit = int(self._clock() * 1e9 - log.keep_days * _DAY_NS) if log.keep_days else 0
        for last_ns, size, entry in found:
            if last_ns >= limit and excess <= 0:
                return
            if _let_go(entry):
                excess -= size
                why = "older than log.keep_days" if last_ns < limit else "over log.cap_bytes"
                _log.warning("The prediction log is %s: removed %s (%d bytes).", why, entry.name, size)


def _let_go(entry: Entry) -> bool:
    """Unless it is written, or others change the log just now: then the next turn does it."""
    if is_open(entry.path):
        return False
    with exclusive(entry.folder, wait=False) as mine:
        if mine:
            remove(entry.folder, entry.name)
        return mine
