"""Job: kill a worker that has not shown a sign of life for a minute; the supervisor starts another."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import time

from serinus.serving.board import BoardError, boards_in, is_owned, read, start_ticks
from serinus.serving.steward.job import Shared

_log = logging.getLogger("serinus.steward")
_SILENT_S = 60.0


class WatchHeartbeats:
    """A worker beats twice a second from its event loop; a minute of silence means that the loop hangs."""

    name = "watch_heartbeats"
    period_s = 5.0

    def run(self, shared: Shared) -> None:
        """See `Job.run`."""
        for path in boards_in(shared.run.boards):
            with contextlib.suppress(FileNotFoundError, BoardError, ProcessLookupError):
                board = read(path)
                silent_s = (time.monotonic_ns() - board.heartbeat_ns) / 1e9
                if silent_s > _SILENT_S and is_owned(path) and start_ticks(board.pid) == board.start_ticks:
                    _log.error("Worker %d has been silent for %.0f s: killed.", board.pid, silent_s)
                    os.kill(board.pid, signal.SIGKILL)
