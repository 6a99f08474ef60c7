"""Ticks of monitors: what a sheet says, as a message to the store, and what such messages say that is new.

A tick carries all that one worker's life has counted for one version with one reference profile since its sheet began.
So a tick that comes twice changes nothing, one that is lost is made up for by the next, and the order does not matter:
the ledger keeps the furthest tick of each sheet and gives what was added to it.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from serinus.monitors.counts import Counts
from serinus.serving.ids import prediction_id
from serinus.serving.sheet import SheetReading
from serinus.serving.store import Tick

__all__ = ["KIND", "Example", "Ledger", "News", "Told", "of_ticks", "to_tick"]

KIND = "monitor"
FORMAT = 1
_EXAMPLES = 8
_TOMBSTONE_S = 24 * 3600


class Example(NamedTuple):
    """One unusual row: its prediction id, when (Unix seconds), its novelty p-value, and the feature that adds most
    to it (index in the profile; -1: unknown)."""

    prediction: str
    time: float
    p: float
    feature: int


class Told(NamedTuple):
    """A monitor's tick, read."""

    sheet: str
    """Names one sheet: a worker's life, a version, a profile."""
    model: str
    version: str
    digest: str
    sequence: int
    interval: int
    seen: int
    counts: Counts
    examples: tuple[Example, ...]
    unusual: int
    ended: bool
    """Whether its worker is gone or has begun another sheet: nothing follows."""


def to_tick(reading: SheetReading, interval: int, *, ended: bool) -> Tick:
    """A sheet as a tick of the second `interval`."""
    examples = [[prediction_id(row.prediction_uuid, row.row), row.time_ns / 1e9, row.p, row.feature]
                for row in reading.unusual[-_EXAMPLES:]]
    body = {"kind": KIND, "format": FORMAT, "model": reading.model, "version": reading.version,
            "digest": reading.digest, "seen": reading.seen, "counts": packed(reading.counts), "examples": examples,
            "unusual": reading.unusual_rows, "ended": ended}
    sheet = f"{reading.incarnation}/{reading.model}:{reading.version}/{reading.digest}"
    return Tick(sheet, 2 * reading.sequence + ended, interval, body)  # the end is a tick of its own


def of_ticks(ticks: Iterable[Tick]) -> list[Told]:
    """Those of `ticks` that monitors sent, in a known format."""
    return [_read(tick) for tick in ticks if tick.body.get("kind") == KIND and tick.body.get("format") == FORMAT]


def _read(tick: Tick) -> Told:
    body = tick.body
    return Told(tick.incarnation, body["model"], body["version"], body["digest"], tick.sequence, tick.interval,
                body["seen"], unpacked(body["counts"]), tuple(Example(*row) for row in body["examples"]),
                body["unusual"], body["ended"])


class News(NamedTuple):
    """What ticks added: rows answered, and counts of those that were observed."""

    seen: int
    counts: Counts
    unusual: int


@dataclass
class Ledger:
    """The furthest tick of each sheet of one version and profile. `news` changes it."""

    known: dict[str, tuple[int, int, int, Counts]] = field(default_factory=dict)
    """By sheet: sequence, rows answered, unusual rows, counts."""
    ended: dict[str, int] = field(default_factory=dict)
    """Sheets that have ended, with their last interval: a repeated last tick is not taken for a new sheet's."""

    def is_new(self, tick: Told) -> bool:
        """Whether a tick says more of its sheet than was known."""
        return tick.sheet not in self.ended and tick.sequence > self.known.get(tick.sheet, (-1,))[0]

    def news(self, ticks: Iterable[Told], features: int) -> News:
        """What these ticks add to what was known: the same for any order of them, and nothing when repeated."""
        seen, unusual, total = 0, 0, Counts(features)
        for tick in sorted(ticks, key=lambda tick: (tick.sheet, tick.sequence)):
            if not self.is_new(tick) or tick.counts.features != features:
                continue
            before = self.known.get(tick.sheet, (-1, 0, 0, None))
            seen += tick.seen - before[1]
            unusual += tick.unusual - before[2]
            total += tick.counts if before[3] is None else tick.counts - before[3]
            if tick.ended:
                self.known.pop(tick.sheet, None)
                self.ended[tick.sheet] = tick.interval
            else:
                self.known[tick.sheet] = tick.sequence, tick.seen, tick.unusual, tick.counts
        return News(seen, total, unusual)

    def forget(self, before_interval: int) -> None:
        """Let go of sheets that ended so long ago that no tick of theirs can come."""
        limit = before_interval - _TOMBSTONE_S
        self.ended = {sheet: interval for sheet, interval in self.ended.items() if interval >= limit}

    def to_json(self) -> dict[str, Any]:
        """As a JSON object."""
        known = {sheet: [sequence, seen, unusual, packed(counts)]
                 for sheet, (sequence, seen, unusual, counts) in self.known.items()}
        return {"known": known, "ended": self.ended}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Ledger:
        """What `to_json` gave."""
        known = {sheet: (sequence, seen, unusual, unpacked(counts))
                 for sheet, (sequence, seen, unusual, counts) in document["known"].items()}
        return cls(known, dict(document["ended"]))


def packed(counts: Counts) -> str:
    """Counts as short text: most of their bytes are zero."""
    return base64.b85encode(zlib.compress(counts.to_bytes(), 1)).decode()


def unpacked(text: str) -> Counts:
    """What `packed` gave."""
    return Counts.from_bytes(zlib.decompress(base64.b85decode(text)))
