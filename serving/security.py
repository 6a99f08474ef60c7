"""What one worker does about its clients: who asks, how fast, and whether their rows look like an attack.

A client is 64 bits of a keyed hash of the header that a gateway sets, else of `Authorization`, else of the peer's
address; nothing that names anybody is kept, logged or told. Every request is counted; the rows of a few are looked at,
and those of all requests of a client that has given evidence. A signal goes to the log and a metric: nobody is refused
because of one.
"""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, MutableMapping
from concurrent.futures import Future, ThreadPoolExecutor
from hashlib import blake2b
from pathlib import Path
from random import random
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serinus.monitors.profile import Profile
from serinus.monitors.referral import confidence_output
from serinus.monitors.security import Baseline, Clients, Told, margins
from serinus.serving.board import Board
from serinus.serving.client_limits import ClientLimits
from serinus.serving.errors import RateLimited
from serinus.serving.expectations import deployment_key
from serinus.serving.home import RunFolder
from serinus.serving.observer import Look, Watch
from serinus.serving.router import Arm
from serinus.serving.settings import SecuritySettings, Settings

__all__ = ["Security"]

_log = logging.getLogger("serinus.security")
Outputs = Mapping[str, NDArray[Any]]
Baselines = Callable[[str, str], Baseline | None]

_KNOWN = 10_000
"""Clients whose hashes are remembered, and whose signals are not repeated at once."""
_ROWS = 16
"""Rows of one request that are looked at, one after another."""
_LEARNT_ROWS = 2_000
_SUSPICION = 3.0
"""Evidence (a likelihood ratio of 20) from which all requests of a client are looked at."""
_REPEAT_S = 3600.0


class Security:
    """All clients of one worker. `key` is the deployment's secret, `limits` the file that workers share; `baselines`
    finds what honest rows of a model are like by the digest of its reference, or None."""

    def __init__(self, settings: SecuritySettings, key: bytes, board: Board, limits: Path,
                 baselines: Baselines = lambda model, digest: None) -> None:
        self._header = settings.client_header.lower().encode() if settings.client_header else None
        self._share = settings.look_share if settings.signals else 0.0
        self._signals = settings.signals
        self._key = key
        self._board = board
        self._baselines = baselines
        rate = settings.requests_per_second
        self._limits = None if rate is None else ClientLimits(limits, rate, settings.burst)
        self._names: OrderedDict[bytes, int] = OrderedDict()
        self._watched: dict[tuple[str, str], _Watched] = {}
        self._told: OrderedDict[tuple[str, str | int, str], float] = OrderedDict()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="serinus-security")

    @classmethod
    def wanted(cls, settings: Settings, board: Board, run: RunFolder, baselines: Baselines) -> Security | None:
        """None where no client has to be known from another."""
        signals = settings.security.signals and settings.monitors.enabled
        if not signals and settings.security.requests_per_second is None:
            return None
        return cls(settings.security, deployment_key(settings.home), board, run.clients, baselines)

    def admit(self, scope: MutableMapping[str, Any], headers: Mapping[bytes, bytes]) -> int:
        """The client of a request, as a number. Raises `RateLimited` where it asks too fast."""
        client = self._client(scope, headers)
        if self._limits is not None and (wait_ns := self._limits.wait_ns(client)):
            raise RateLimited(wait_ns / 1e9)
        return client

    def _client(self, scope: MutableMapping[str, Any], headers: Mapping[bytes, bytes]) -> int:
        who = headers.get(self._header) if self._header is not None else None
        if who is None:
            who = headers.get(b"authorization") or (scope.get("client") or ("",))[0].encode()
        known = self._names.get(who)
        if known is None:
            known = int.from_bytes(blake2b(who, digest_size=8, key=self._key[:64]).digest()) or 1
            self._names[who] = known
            if len(self._names) > _KNOWN:
                self._names.popitem(last=False)
        return known

    @property
    def learning(self) -> bool:
        """Whether it is not known yet of some version what honest rows look like."""
        return not self._watched or any(watched.clients is None for watched in self._watched.values())

    def look(self, client: int, arm: Arm, seen: Look | None, outputs: Outputs, rows: int) -> None:
        """Count an answered request, and look at its rows if it is one of those. Never raises."""
        if not self._signals or seen is None or not isinstance(arm.watch, Watch):
            return
        try:
            self._look(client, arm, arm.watch.profile, seen, outputs, rows)
        except Exception:  # what only remarks must not fail an answer
            self._signals = False
            _log.exception("Security signals failed; this worker gives none any more")

    def _look(self, client: int, arm: Arm, profile: Profile, seen: Look, outputs: Outputs, rows: int) -> None:
        watched = self._watched.get((arm.name, arm.version))
        if watched is None or watched.digest != profile.digest:
            finding = self._thread.submit(self._baselines, arm.name, profile.digest)
            watched = self._watched[arm.name, arm.version] = _Watched(
                profile, confidence_output(arm.signature), finding)
        if watched.clients is None:
            watched.learn(seen, outputs, rows, self._thread)
            return
        suspicious = watched.clients.count(client, rows).suspicion > _SUSPICION
        if suspicious or random() < self._share:
            for told in watched.look(client, seen, outputs, rows):
                self._tell(arm, told)

    def _tell(self, arm: Arm, told: Told) -> None:
        self._board.tally("signals", arm.name, arm.version, told.signal.name)
        key, now = (arm.name, told.client, told.signal.name), time.monotonic()
        if now - self._told.get(key, -_REPEAT_S) < _REPEAT_S:
            return
        self._told[key] = now
        self._told.move_to_end(key)
        if len(self._told) > _KNOWN:
            self._told.popitem(last=False)
        _log.warning("Client %016x of %s:%s may be probing it (%s): of %d rows looked at, the last %d were such that "
                     "%s. A signal, no proof.", told.client, arm.name, arm.version, told.signal.name, told.looked_at,
                     told.since, told.signal.meaning)

    def close(self) -> None:
        """Let the thread go and give the shared file up."""
        self._thread.shutdown(wait=False, cancel_futures=True)
        if self._limits is not None:
            self._limits.close()


class _Watched:
    """One version's clients, once it is known what honest rows look like: from its reference, where that was kept with
    it at registration, else from its first live rows."""

    def __init__(self, profile: Profile, confidence: str | None, finding: Future[Baseline | None]) -> None:
        self.digest = profile.digest
        self.clients: Clients | None = None
        self._encoder = profile.encoder
        self._confidence = confidence
        self._learnt: list[tuple[NDArray[np.float64], NDArray[np.float64] | None]] = []
        self._rows = 0
        self._finding: Future[Baseline | None] | None = finding

    def learn(self, seen: Look, outputs: Outputs, rows: int, thread: ThreadPoolExecutor) -> None:
        """Take what the reference says; where it says nothing, keep rows until there are enough of them."""
        if self._finding is not None and self._finding.done():
            baseline, self._finding = self._finding.result(), None
            self.clients = None if baseline is None else Clients(baseline)
        if self._finding is not None or self.clients is not None:
            return
        self._learnt.append(self._part(seen, outputs, rows, _LEARNT_ROWS)[:2])
        self._rows += len(self._learnt[-1][0])
        if self._rows >= _LEARNT_ROWS:
            numbers = np.concatenate([numbers for numbers, _ in self._learnt])
            known = [margins for _, margins in self._learnt if margins is not None]
            self._finding = thread.submit(Baseline.fit, numbers, np.concatenate(known) if known else None)
            self._learnt.clear()

    def look(self, client: int, seen: Look, outputs: Outputs, rows: int) -> list[Told]:
        """What the rows of a client show."""
        assert self.clients is not None
        return self.clients.look(client, *self._part(seen, outputs, rows))

    def _part(self, seen: Look, outputs: Outputs, rows: int, most: int = _ROWS) -> tuple[
            NDArray[np.float64], NDArray[np.float64] | None, NDArray[np.float64] | None]:
        """Numbers, margins and novelty p-values of some rows that follow one another."""
        start = int(random() * (seen.rows - most + 1)) if seen.rows > most else 0
        part = slice(start, start + most)
        numbers = self._encoder.numbers({name: array[part] if array.shape[:1] == (seen.rows,) else array
                                         for name, array in seen.inputs.items()})
        table = outputs.get(self._confidence) if self._confidence is not None else None
        if table is not None and table.shape[:1] != (rows,):
            table = None
        if table is not None:
            table = table[part] if seen.chosen is None else table[seen.chosen[part]]
        p = seen.p_values()
        return numbers, None if table is None else margins(table), None if p is None else p[part]
