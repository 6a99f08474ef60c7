"""Clients: what each of them asked lately, in at most seven kilobytes, and which signals its rows give.

A client is a hash: who it is, is not kept. The table holds the most recent clients and forgets the others. Rows are
kept as sketches; the last eight also as standardised numbers, in memory only.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from serinus.monitors.security.baseline import HISTORY, WINDOW, Baseline
from serinus.monitors.security.extraction import NEAR, normality, smallest_distances
from serinus.monitors.security.inversion import RECENT, changes
from serinus.monitors.security.signals import TOLD, Signal

__all__ = ["CLIENTS", "Client", "Clients", "Told"]

Floats = NDArray[np.float64]

CLIENTS = 10_000
_KEPT_NUMBERS = 64
"""Of each of the last eight rows, so many numbers."""
_ODD = 0.05
_MASK = (1 << 64) - 1


class Told(NamedTuple):
    """A signal that a client gave: after how many of its rows, and how long ago the evidence began to grow (rows)."""

    client: str | int
    signal: Signal
    looked_at: int
    since: int


class Client:
    """What is known of one client."""

    __slots__ = ("began", "distances", "evidence", "looked_at", "recent", "requests", "rows", "rows_asked",
                 "sketches", "suspicion")

    def __init__(self, signals: int) -> None:
        self.requests = 0
        self.rows = 0
        self.looked_at = 0
        self.evidence = [0.0] * signals
        self.suspicion = 0.0
        """The evidence of the signal that has most."""
        self.began = [0] * signals
        """After which of its rows the evidence of each signal was last nil."""
        self.rows_asked: NDArray[np.uint64] = np.empty(0, np.uint64)
        """Hashes of the last rows, to know a repetition."""
        self.sketches: NDArray[np.uint64] = np.empty(0, np.uint64)
        self.recent: NDArray[np.float32] = np.empty((0, 0), np.float32)
        self.distances: list[int] = []

    def asked_before(self, row: Floats) -> bool:
        """Whether the very same row is among the last 256; else it is from now on."""
        name = np.uint64(hash(row.tobytes()) & _MASK)
        if (self.rows_asked == name).any():
            return True
        self.rows_asked = np.concatenate([self.rows_asked[1 - HISTORY:], [name]])
        return False


class Clients:
    """The table. Not thread-safe; one per model version and worker."""

    def __init__(self, baseline: Baseline, *, limit: int = CLIENTS) -> None:
        self._baseline = baseline
        self._signals = baseline.signals()
        self._limit = limit
        self._table: OrderedDict[str | int, Client] = OrderedDict()

    def __len__(self) -> int:
        return len(self._table)

    def __getitem__(self, name: str | int) -> Client:
        return self._table[name]

    def count(self, name: str | int, rows: int = 1) -> Client:
        """Note a request; the client that has been silent for longest is forgotten when there are too many."""
        client = self._table.get(name)
        if client is None:
            client = self._table[name] = Client(len(self._signals))
            if len(self._table) > self._limit:
                self._table.popitem(last=False)
        else:
            self._table.move_to_end(name)
        client.requests += 1
        client.rows += rows
        return client

    def look(self, name: str | int, numbers: Floats, margins: Floats | None = None,
             p_values: Floats | None = None) -> list[Told]:
        """Look at rows [n, Rn] of a client that `count` noted, with the margins of their answers and the novelty
        p-values where they are known. Returns the signals that they complete; their evidence starts anew."""
        client = self._table[name]
        standard = self._baseline.sketch.standardise(numbers)
        sketches = self._baseline.sketch.of(standard)
        numbers32 = standard[:, :_KEPT_NUMBERS].astype(np.float32)
        told: list[Told] = []
        for at, row in enumerate(numbers):
            if client.asked_before(row):
                continue  # who polls, retries or checks health asks the same again, and learns nothing by it
            near, odd, few, tiny = self._against_history(client, sketches[at:at + 1], numbers32[at])
            boundary = None if margins is None or self._baseline.margin is None else bool(
                margins[at] < self._baseline.margin)
            synthetic = None if p_values is None else bool(p_values[at] <= _ODD)
            told += self._weigh(name, client, (near, boundary, synthetic, odd, few, tiny))
        return told

    def _against_history(self, client: Client, sketch: NDArray[np.uint64],
                         row: NDArray[np.float32]) -> tuple[bool | None, bool | None, bool | None, bool | None]:
        """Near an earlier row, an odd window, few changes, a tiny step."""
        first = not len(client.sketches)
        distance = int(smallest_distances(sketch, client.sketches)[0])
        few, tiny = (False, False) if first else changes(row, client.recent)
        client.sketches = np.concatenate([client.sketches[1 - HISTORY:], sketch])
        client.recent = row[None] if first else np.concatenate([client.recent[1 - RECENT:], row[None]])
        return (None,) * 4 if first else (distance <= NEAR, self._window(client, distance), few, tiny)

    def _window(self, client: Client, distance: int) -> bool | None:
        """Whether the window that this distance completes is odd; None inside a window, or while history is short."""
        if len(client.sketches) < HISTORY:
            return None
        client.distances.append(distance)
        if len(client.distances) < WINDOW:
            return None
        odd = normality(np.array(client.distances)) < self._baseline.spread
        client.distances.clear()
        return odd

    def _weigh(self, name: str | int, client: Client, events: Sequence[bool | None]) -> list[Told]:
        client.looked_at += 1
        told = []
        for index, (signal, happened) in enumerate(zip(self._signals, events, strict=True)):
            if signal is None or happened is None:
                continue
            evidence = signal.add(client.evidence[index], happened)
            if evidence <= 0:
                client.began[index] = client.looked_at
            if evidence >= TOLD:
                told.append(Told(name, signal, client.looked_at, client.looked_at - client.began[index]))
                evidence, client.began[index] = 0.0, client.looked_at
            client.evidence[index] = evidence
        client.suspicion = max(client.evidence)
        return told
