"""Job: keep the prediction log below its size cap by removing its oldest finished segments."""

from __future__ import annotations

import logging

from serinus.serving.prediction_log import is_open, segments
from serinus.serving.steward.job import Shared

_log = logging.getLogger("serinus.steward")


class CapLog:
    """Oldest by the time of their last record; one that is still written is never removed."""

    name = "cap_log"
    period_s = 30.0

    def run(self, shared: Shared) -> None:
        """See `Job.run`."""
        home = shared.home
        found = sorted((path.stat().st_mtime, path.stat().st_size, path)
                       for folder in (home.log, home.shadow_log) for path in segments(folder))
        excess = sum(size for _, size, _ in found) - shared.settings.log.cap_bytes
        for _, size, path in found:
            if excess <= 0:
                return
            if not is_open(path):
                path.unlink(missing_ok=True)
                excess -= size
                _log.warning("The prediction log is over log.cap_bytes: removed %s (%d bytes).", path.name, size)
