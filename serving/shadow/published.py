"""What the shadow's process and the steward tell each other: counts of pairs, a mark around each call, and deaths."""

from __future__ import annotations

import mmap
import os
import socket
import struct
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from serinus.serving.files import write_atomically
from serinus.serving.home import RunFolder
from serinus.serving.shadow.pairs import PairCounts

__all__ = ["Mark", "MarkReading", "ShadowFiles", "source_of"]

FORMAT = 1
_MARK = struct.Struct("<QB64s")
LOAD, PREDICT = 1, 2


class MarkReading(NamedTuple):
    """What the shadow is doing: since when (monotonic ns), `LOAD` or `PREDICT`, and for which rollout."""

    since_ns: int
    kind: int
    rollout_id: str


class Mark:
    """Set around each call of a candidate; it outlives the process."""

    def __init__(self, path: Path) -> None:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(file, 0, _MARK.size)
            self._map = mmap.mmap(file, _MARK.size)
        finally:
            os.close(file)
        self.clear()

    def set(self, kind: int, rollout_id: str) -> None:
        """A call begins."""
        _MARK.pack_into(self._map, 0, time.monotonic_ns(), kind, rollout_id.encode())

    def clear(self) -> None:
        """The call came back."""
        _MARK.pack_into(self._map, 0, 0, 0, b"")


class ShadowFiles:
    """The files of one server's shadow, in its run folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def socket(self) -> Path:
        """Where the shadow takes copies from the workers."""
        return self.folder / "shadow.sock"

    @property
    def mark(self) -> Path:
        """What it is doing."""
        return self.folder / "mark"

    def doing(self) -> MarkReading | None:
        """What the shadow is doing, or was when it died; None for nothing."""
        try:
            since, kind, rollout_id = _MARK.unpack(self.mark.read_bytes())
        except (FileNotFoundError, struct.error):
            return None
        return MarkReading(since, kind, rollout_id.rstrip(b"\0").decode()) if since else None

    def publish(self, counts: Iterable[PairCounts], slices: Mapping[str, Iterable[str]]) -> None:
        """Tell all pairs of this server's life, and by which slices they are told apart."""
        write_atomically(self.folder / "pairs.json", orjson.dumps({
            "format": FORMAT, "rollouts": [each.to_json() for each in counts],
            "slices": {rollout_id: list(names) for rollout_id, names in slices.items()}}))

    def pairs(self) -> dict[str, PairCounts]:
        """What was told last, by rollout."""
        return {document["rollout_id"]: PairCounts.from_json(document)
                for document in self._read("pairs.json").get("rollouts", ())}

    def slices(self) -> dict[str, list[str]]:
        """The slices of each rollout for which they are fixed."""
        found: dict[str, list[str]] = self._read("pairs.json").get("slices", {})
        return found

    def deaths(self) -> dict[str, dict[str, Any]]:
        """By rollout: model, version, and how often the process died in calls of it."""
        found: dict[str, dict[str, Any]] = self._read("deaths.json")
        return found

    def note_death(self, rollout_id: str, model: str, version: str) -> int:
        """Count a death; how many there were of this rollout."""
        deaths = self.deaths()
        number = int(deaths.get(rollout_id, {}).get("number", 0)) + 1
        deaths[rollout_id] = {"model": model, "version": version, "number": number}
        write_atomically(self.folder / "deaths.json", orjson.dumps(deaths))
        return number

    def _read(self, name: str) -> dict[str, Any]:
        try:
            found: dict[str, Any] = orjson.loads((self.folder / name).read_bytes())
        except FileNotFoundError:
            return {}
        return found


def source_of(run: RunFolder) -> str:
    """A name for this life of this server, fit for file names."""
    return f"{socket.gethostname()}-{run.owner.read_text().replace(' ', '-')}"
