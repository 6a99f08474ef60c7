"""The worker's side of the shadow: which requests are copied, and how the copies leave.

A request is chosen before the model is called, and takes a place in a bounded queue then or never: what has to be
dropped is dropped before anybody knows how the request ends, else the pairs would be a biased sample. The copies leave
between requests by a socket that never blocks. Where too many are dropped, the share is halved, and halved again, and
then nothing is mirrored for a while.
"""

from __future__ import annotations

import logging
import socket
import time
from collections import deque
from collections.abc import Iterable, Mapping
from itertools import islice
from pathlib import Path
from random import random
from typing import Any

from numpy.typing import NDArray

from serinus.monitors.record import PredictionRecord
from serinus.serving.board import Board
from serinus.serving.errors import Cancelled
from serinus.serving.files import reachable
from serinus.serving.request import InferenceRequest
from serinus.serving.rollout.state import FULL_WEIGHT, RolloutRecord
from serinus.serving.router import Choice, Router
from serinus.serving.shadow.copies import MESSAGE_BYTES, pack
from serinus.serving.telemetry import SpanContextIds

__all__ = ["Copy", "Mirror", "Mirrors", "Throttle"]

_log = logging.getLogger("serinus.shadow")

Outputs = Mapping[str, NDArray[Any]]
_QUEUE = 256
_PER_TURN = 32
_LARGEST = MESSAGE_BYTES // 2
_CONNECT_S = 0.5
_SEND_BYTES = 1 << 20
_NO_ID = bytes(16)


class Throttle:
    """Which part of the wanted share is mirrored: 1, halved while too much is dropped, 0 for a minute below 1/16."""

    WINDOW_S, CALM_S, OFF_S = 2.0, 20.0, 60.0
    _DROPPED, _LEAST, _SMALLEST = 0.05, 5, 1 / 16

    def __init__(self, now: float) -> None:
        self.part = 1.0
        self._since = self._changed = now
        self._chosen = self._dropped = 0

    def chosen(self) -> None:
        """A request was chosen."""
        self._chosen += 1

    def dropped(self) -> None:
        """There was no room for it."""
        self._dropped += 1

    def turn(self, now: float) -> None:
        """Look back on what was dropped; `now` in monotonic seconds."""
        if self.part == 0 and now - self._changed >= self.OFF_S:
            self._set(self._SMALLEST, now)
        if now - self._since < self.WINDOW_S:
            return
        if self._dropped >= self._LEAST and self._dropped > self._DROPPED * self._chosen:
            self._set(self.part / 2 if self.part > self._SMALLEST else 0.0, now)
        elif 0 < self.part < 1 and not self._dropped and now - self._changed >= self.CALM_S:
            self._set(self.part * 2, now)
        self._since, self._chosen, self._dropped = now, 0, 0

    def _set(self, part: float, now: float) -> None:
        self.part, self._changed = part, now


class Copy:
    """A request that is mirrored, from before its outcome is known until that is told."""

    __slots__ = ("_mirror", "_request", "outputs", "uuid")

    def __init__(self, mirror: Mirror, request: InferenceRequest) -> None:
        self._mirror = mirror
        self._request = request
        self.outputs: Outputs | None = None
        self.uuid = _NO_ID

    def answered(self, uuid: bytes, outputs: Outputs) -> None:
        """Stable's answer and its id."""
        self.uuid, self.outputs = uuid, outputs

    def settle(self, error: str, request_id: str, choice: Choice, ids: SpanContextIds | None, started_ns: int,
               took_ns: int) -> None:
        """How the request ended: `error` is its kind, empty for an answer; the model's call took `took_ns`."""
        if self.outputs is None and error == Cancelled.kind:  # nobody knows how it would have ended
            self._mirror.release()
            return
        arm, request, traced = choice.arm, self._request, ids is not None and ids.sampled
        self._mirror.put(PredictionRecord(
            self.uuid, request_id, started_ns, max(0, took_ns), arm.name, arm.version, arm.role, request.rows,
            request.inputs, self.outputs or {}, choice.key_hash,
            ids.trace_id if traced and ids is not None else 0, ids.span_id if traced and ids is not None else 0))


class Mirror:
    """One rollout's shadow, as this worker sees it. `share` of the requests are to be copied, between 0 and 1."""

    def __init__(self, rollout_id: str, labels: tuple[str, str], share: float, board: Board, now: float) -> None:
        self.rollout_id = rollout_id
        self.share = share
        self.throttle = Throttle(now)
        self.absent = True
        """Whether there is no shadow to send to."""
        self._labels = labels
        self._board = board
        self._held = 0
        self._waiting: deque[PredictionRecord] = deque()

    def take(self, request: InferenceRequest, choice: Choice) -> Copy | None:
        """Choose a request, or not. It is asked before the model is."""
        if random() >= self.share * self.throttle.part or choice.reason == "targeting_match":
            return None
        self._tally("shadow_copies")
        self.throttle.chosen()
        if self.absent or self._held >= _QUEUE:
            self._drop("absent" if self.absent else "full")
            return None
        if sum(array.nbytes for array in request.inputs.values()) > _LARGEST:
            self._tally("shadow_dropped", "large")
            return None
        self._held += 1
        return Copy(self, request)

    def release(self) -> None:
        """A copy is not wanted after all."""
        self._held -= 1
        self._tally("shadow_dropped", "cancelled")

    def put(self, record: PredictionRecord) -> None:
        """Let a copy wait for the next turn."""
        self._waiting.append(record)

    def turn(self, connection: socket.socket | None, now: float) -> bool:
        """Send what waits, as far as there is room; False where the shadow is gone."""
        self.throttle.turn(now)
        self.absent = connection is None
        while self._waiting and connection is not None:
            message, packed = pack(self.rollout_id, islice(self._waiting, _PER_TURN))
            if packed:
                sent = _sent(connection, message)
                if sent is None:
                    return False
                if not sent:
                    return True
            else:
                self._tally("shadow_dropped", "large")
            for _ in range(packed or 1):
                self._waiting.popleft()
                self._held -= 1
            if packed < _PER_TURN:
                continue
            return True  # the rest has time until the next turn: requests come first
        return True

    def tell(self) -> None:
        """Say on the board which share is mirrored."""
        self._board.level("shadow_share", *self._labels, amount=round(self.share * self.throttle.part * FULL_WEIGHT))

    def close(self) -> None:
        """Nothing is mirrored any more."""
        self._waiting.clear()
        self._board.level("shadow_share", *self._labels, amount=0)

    def _drop(self, reason: str) -> None:
        if reason == "full":
            self.throttle.dropped()
        self._tally("shadow_dropped", reason)

    def _tally(self, name: str, *more: str) -> None:
        self._board.tally(name, *self._labels, *more)


class Mirrors:
    """All mirrors of one worker, and its connection to the shadow that listens at `path`."""

    def __init__(self, path: Path, board: Board) -> None:
        self._path = path
        self._board = board
        self._mirrors: dict[str, Mirror] = {}
        self._connection: socket.socket | None = None
        self._tried = float("-inf")

    def attach(self, router: Router, records: Mapping[str, RolloutRecord], vetoed: Iterable[str] = ()) -> None:
        """Let the stable arm of every model that has a shadow know its mirror."""
        wanted, now = {}, time.monotonic()
        for name, route in router.routes.items():
            record = records.get(name)
            mirror = None
            if record is not None and is_mirrored(record) and name not in vetoed:
                mirror = self._mirrors.get(record.rollout_id) or Mirror(
                    record.rollout_id, (name, str(record.candidate)), 0.0, self._board, now)
                mirror.share = record.shadow_weight / FULL_WEIGHT
                wanted[record.rollout_id] = mirror
            for arm in route.arms:
                arm.mirror = mirror if arm is route.stable else None
        for rollout_id in self._mirrors.keys() - wanted.keys():
            self._mirrors[rollout_id].close()
        self._mirrors = wanted
        if not wanted:
            self._disconnect()

    def turn(self) -> None:
        """Send what waits. Called often, between requests; it never blocks."""
        if not self._mirrors:
            return
        now = time.monotonic()
        if self._connection is None and now - self._tried >= _CONNECT_S:
            self._tried = now
            self._connection = _connected(self._path)
        for mirror in self._mirrors.values():
            if not mirror.turn(self._connection, now):
                self._disconnect()
            mirror.tell()

    def close(self) -> None:
        """Nothing is mirrored any more."""
        for mirror in self._mirrors.values():
            mirror.close()
        self._mirrors = {}
        self._disconnect()

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def is_mirrored(record: RolloutRecord) -> bool:
    """Whether a rollout wants a shadow."""
    return record.running and record.shadow_weight > 0 and record.candidate is not None


def _connected(path: Path) -> socket.socket | None:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    connection.setblocking(False)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BYTES)
    try:
        with reachable(path) as name:
            connection.connect(name)
    except OSError:  # not there yet, not any more, or too busy to listen
        connection.close()
        return None
    return connection


def _sent(connection: socket.socket, message: bytes) -> bool | None:
    """Whether a message was taken; None where nobody listens any more."""
    try:
        connection.send(message)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True
