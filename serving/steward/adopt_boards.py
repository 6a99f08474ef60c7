"""Job: add the boards of dead workers to the server's totals."""

from __future__ import annotations

import logging
from contextlib import suppress

from serinus.serving.board import BoardError, adopt, boards_in, is_owned, read
from serinus.serving.crashes import blame
from serinus.serving.steward.job import Shared

_log = logging.getLogger("serinus.steward")


class AdoptBoards:
    """A board whose lock is free has lost its owner; a mark left on it is a call that died with the worker."""

    name = "adopt_boards"
    period_s = 0.5

    def run(self, shared: Shared) -> None:
        """See `Job.run`."""
        for path in boards_in(shared.run.boards):
            if is_owned(path):
                continue
            with suppress(FileNotFoundError, BoardError):
                blame(shared.home, shared.run, read(path))  # before the marks are gone
            if (reading := adopt(path)) is not None and reading.marks:
                roles = ", ".join("candidate" if mark.kind == 2 else "stable" for mark in reading.marks)
                _log.error("Worker %d died while a predict call was under way (%s).", reading.pid, roles)
