"""Job: let go of files of the key index whose predictions the log has let go of."""

from __future__ import annotations

import logging

from serinus.serving.files import is_locked
from serinus.serving.prediction_log import entries
from serinus.serving.prediction_log.keys import key_files
from serinus.serving.steward.job import Shared

_SLACK_NS = 24 * 3600 * 10**9
_log = logging.getLogger("serinus.steward")


class CapKeys:
    """A file goes when it was written last a day before the oldest record of the log; one that is still written
    stays."""

    name = "cap_keys"
    period_s = 300.0

    def run(self, shared: Shared) -> None:
        """See `Job.run`."""
        files = key_files(shared.home.keys)
        oldest = min((entry.last_ns for entry in entries(shared.home.log)), default=0) if files else 0
        for path in files:
            if path.stat().st_mtime_ns < oldest - _SLACK_NS and not is_locked(path):
                path.unlink(missing_ok=True)
                _log.info("The log has let go of what %s stands for: removed.", path.name)
