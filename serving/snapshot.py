"""The snapshot: the rollout records as a file, written by the steward, read by workers. Workers never open the store.

It is also the host's last-known-good state: when everything restarts with the store out of reach, the workers
follow it. It is written before a change counts as acknowledged, and never replaced by an older generation.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import orjson

from serinus.serving.errors import SerinusError
from serinus.serving.files import locked, write_atomically
from serinus.serving.rollout.state import RolloutRecord

__all__ = ["Snapshot", "boot_id", "is_behind", "publish_snapshot", "read_snapshot", "write_snapshot"]

FORMAT = 1


class Snapshot(NamedTuple):
    """The records by model, and the monotonic time (ns) and boot at which the store last confirmed them."""

    records: Mapping[str, RolloutRecord]
    confirmed_ns: int
    boot: str

    def age_s(self) -> float:
        """Seconds since the store confirmed it; after a reboot it counts as just confirmed by nobody: infinite."""
        return (time.monotonic_ns() - self.confirmed_ns) / 1e9 if self.boot == boot_id() else float("inf")

    @property
    def generation(self) -> int:
        """The sum of the records' generations: it grows with every change."""
        return sum(record.generation for record in self.records.values())


NO_SNAPSHOT = Snapshot({}, 0, "")


def boot_id() -> str:
    """Name of this boot of the host: monotonic times compare within one boot only."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def read_snapshot(path: Path) -> Snapshot:
    """The snapshot at `path`; an empty one when there is none yet."""
    try:
        stored = orjson.loads(path.read_bytes())
    except FileNotFoundError:
        return NO_SNAPSHOT
    if stored.get("format") != FORMAT:
        raise SerinusError(f"{path} has format {stored.get('format')}, this program reads {FORMAT}: upgrade it.")
    records = {name: RolloutRecord.from_dict(record) for name, record in stored["records"].items()}
    return Snapshot(records, stored["confirmed_ns"], stored["boot"])


def is_behind(records: Mapping[str, RolloutRecord], known: Mapping[str, RolloutRecord]) -> bool:
    """Whether `records`, of a store that was lost or put back from a copy, lack something that workers `known`."""
    return any(name not in records or records[name].generation < record.generation for name, record in known.items())


def publish_snapshot(path: Path, records: Mapping[str, RolloutRecord]) -> Snapshot | None:
    """Replace the snapshot by `records`, unless they are behind it: then None, and nothing is written.

    The lock lets several stewards, and the command line, publish on one host without taking each other back.
    """
    with locked(path.with_suffix(".lock")):
        if is_behind(records, read_snapshot(path).records):
            return None
        return write_snapshot(path, records)


def write_snapshot(path: Path, records: Mapping[str, RolloutRecord]) -> Snapshot:
    """Replace the snapshot by `records`, as confirmed by the store now."""
    snapshot = Snapshot(dict(records), time.monotonic_ns(), boot_id())
    write_atomically(path, orjson.dumps({
        "format": FORMAT, "confirmed_ns": snapshot.confirmed_ns, "boot": snapshot.boot,
        "records": {name: record.to_dict() for name, record in snapshot.records.items()}}))
    return snapshot
