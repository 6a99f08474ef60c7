"""A rollback on this host: cast the veto, wait until every live worker says that it obeys."""

from __future__ import annotations

import time
from typing import NamedTuple

from serinus.serving.board import BoardError, Reading, boards_in, is_owned, read
from serinus.serving.home import Home, RunFolder
from serinus.serving.veto import Veto, cast_veto

__all__ = ["Acknowledgement", "Rollback", "boards_of", "live_boards", "roll_back"]

_LOOK_S = 0.002


class Acknowledgement(NamedTuple):
    """When a worker obeyed, in seconds after the veto was cast; None: it has not."""

    pid: int
    seconds: float | None


class Rollback(NamedTuple):
    """What became of it on this host."""

    veto: Veto
    workers: tuple[Acknowledgement, ...]

    @property
    def complete(self) -> bool:
        """Whether every live worker obeys."""
        return all(worker.seconds is not None for worker in self.workers)


def live_boards(home: Home) -> list[Reading]:
    """The boards of all living workers of this home."""
    return [board for folder in home.servers() for board in boards_of(folder)]


def boards_of(run: RunFolder) -> list[Reading]:
    """The boards of the living workers of one server."""
    found = []
    for path in boards_in(run.boards):
        try:
            if is_owned(path):
                found.append(read(path))
        except (FileNotFoundError, BoardError):
            continue
    return found


def roll_back(home: Home, model: str, *, actor: str, reason: str, to: str | None = None,
              timeout_s: float = 2.0) -> Rollback:
    """Veto, then wait for the workers; needs neither store nor network.

    Raises `ControlRefused` when there is nothing to roll back.
    """
    started = time.monotonic()
    veto = cast_veto(home, model, actor=actor, reason=reason, to=to)
    obeyed: dict[int, float | None] = {}
    while True:
        boards = live_boards(home)
        for board in boards:
            if obeyed.get(board.pid) is None:
                done = board.veto_sequence >= veto.sequence
                obeyed[board.pid] = time.monotonic() - started if done else None
        if all(obeyed[board.pid] is not None for board in boards) or time.monotonic() - started > timeout_s:
            return Rollback(veto, tuple(Acknowledgement(board.pid, obeyed[board.pid]) for board in boards))
        time.sleep(_LOOK_S)
