"""Crashes: a worker that died in a call of a candidate takes that candidate off the whole host, at once.

A mark on the board is set before a call and outlives the process. Whoever finds the board of a dead worker first, the
steward or the worker that is started in its place, casts the veto, before anybody loads the candidate again. What ends
with the whole server blames nobody: nobody looks at the boards of another server.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import suppress

from serinus.serving.board import BoardError, Reading, boards_in, is_owned, mark_tag, read
from serinus.serving.errors import ControlRefused
from serinus.serving.home import Home, RunFolder
from serinus.serving.rollout.state import Phase, RolloutRecord
from serinus.serving.rollout.tally import note_crashes
from serinus.serving.snapshot import read_snapshot
from serinus.serving.veto import cast_veto

__all__ = ["blame", "blame_all"]

_log = logging.getLogger("serinus.rollout")
_CANDIDATE = 2


def blame_all(home: Home, run: RunFolder) -> None:
    """Look at all boards of dead workers of this server."""
    for path in boards_in(run.boards):
        with suppress(FileNotFoundError, BoardError):
            if not is_owned(path):
                blame(home, run, read(path))


def blame(home: Home, run: RunFolder, dead: Reading) -> None:
    """Veto each candidate in whose calls a dead worker was, and write that into what it counted."""
    for record, calls in _accused(home, dead):
        note_crashes(run.tallies, dead.incarnation, record.rollout_id, calls)
        reason = f"worker {dead.pid} died while {calls} of its calls {'was' if calls == 1 else 'were'} under way"
        with suppress(ControlRefused):  # the rollout is over
            cast_veto(home, record.model, actor="serinus", reason=reason)
            _log.error("%s:%s is taken off: %s.", record.model, record.candidate, reason)


def _accused(home: Home, dead: Reading) -> Iterator[tuple[RolloutRecord, int]]:
    tags = [mark.tag for mark in dead.marks if mark.kind == _CANDIDATE]
    for record in read_snapshot(home.snapshot).records.values() if tags else ():
        calls = tags.count(mark_tag(record.model, str(record.candidate)))
        if calls and record.running and record.phase is not Phase.FROZEN:
            yield record, calls
