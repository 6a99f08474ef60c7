"""Crashes: a worker that died in a call of a candidate takes that candidate off the whole host, at once.

A mark on the board is set before a call and outlives the process. Whoever finds the board of a dead worker first, the
steward or the worker that is started in its place, casts the veto, before anybody loads the candidate again. A death
that is found when the candidate has just been promoted takes it back to the version before. What ends with the whole
server blames nobody: nobody looks at the boards of another server.
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
    """Write into what a dead worker counted in how many calls of a candidate it was, and take each such candidate off,
    but for one whose rollout is frozen: a person decides there."""
    for record, version, calls in _accused(home, dead):
        note_crashes(run.tallies, dead.incarnation, record.rollout_id, calls)
        if record.phase is not Phase.FROZEN:
            _take_off(home, record, version, f"worker {dead.pid} died while {calls} of its calls "
                                             f"{'was' if calls == 1 else 'were'} under way")


def _take_off(home: Home, record: RolloutRecord, version: str, reason: str) -> None:
    try:
        cast_veto(home, record.model, actor="serinus", reason=reason)
        _log.error("%s:%s is taken off: %s.", record.model, version, reason)
    except ControlRefused as error:  # nothing is kept to go back to
        _log.error("%s:%s stays, although %s: %s", record.model, version, reason, error)


def _accused(home: Home, dead: Reading) -> Iterator[tuple[RolloutRecord, str, int]]:
    tags = [mark.tag for mark in dead.marks if mark.kind == _CANDIDATE]
    for record in read_snapshot(home.snapshot).records.values() if tags else ():
        version = str(_tried(record))
        if calls := tags.count(mark_tag(record.model, version)):
            yield record, version, calls


def _tried(record: RolloutRecord) -> str | None:
    """The version that is on trial, or was until it was promoted."""
    if record.phase is Phase.PROMOTED:
        return record.stable
    return record.candidate if record.running else None
