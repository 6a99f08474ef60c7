"""Job: bring what workers counted of rollouts into the store, and remove the tallies that nobody writes any more."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

import orjson

from serinus.serving.crashes import blame_all
from serinus.serving.files import locked, write_atomically
from serinus.serving.home import Home, RunFolder
from serinus.serving.rollout.callers import Callers, join, read_callers, write_callers
from serinus.serving.rollout.state import RolloutRecord
from serinus.serving.rollout.tally import (
    Part,
    TallyError,
    TallyReading,
    is_owned,
    part_name,
    read,
    step_name,
    tallies_in,
)
from serinus.serving.router import CANDIDATE, STABLE
from serinus.serving.steward.job import Shared
from serinus.serving.store import Conflict, CounterRow, Document, Store

__all__ = ["CALLER_COUNTS", "ShipTallies", "name_of"]

CALLER_COUNTS = "rollout.callers"
"""Kind of the documents with the counts of callers, by model and home. Each replaces the one before it: when the
sample is halved, counts fall."""

_FORMAT = 1
_ARMS = (STABLE, CANDIDATE)


class ShipTallies:
    """Every steward, for all workers of its home: counts only grow, so it does no harm when two ship the same."""

    name = "ship_tallies"
    period_s = 1.0

    def __init__(self) -> None:
        self._shipped: dict[Path, dict[tuple[str, CounterRow], int]] = {}

    def run(self, shared: Shared) -> None:
        """See `Job.run`."""
        running = {record.rollout_id: record for record in shared.store.records().values() if record.running}
        readings, left = [], []
        paths = {path: not is_owned(path) for path in _tallies(shared.home)}
        if any(paths.values()):
            blame_all(shared.home, shared.run)  # the calls that a worker died in are written into what it left
        for path, ended in paths.items():  # looked at before it is read: what is read of an ended one is all there is
            reading = _read(path, ended)
            if reading is not None:
                self._ship(shared.store, reading)
                readings.append(reading)
                left += [reading] if ended else []
        for record in running.values():
            mine = [reading for reading in readings if reading.rollout_id == record.rollout_id]
            dead = [reading for reading in left if reading.rollout_id == record.rollout_id]
            _ship_callers(shared, record, _keep(shared.home, record.rollout_id, dead), mine)
        for reading in left:
            reading.path.unlink(missing_ok=True)
        self._shipped = {reading.path: self._shipped[reading.path] for reading in readings}
        _forget(shared.home, running)

    def _ship(self, store: Store, reading: TallyReading) -> None:
        """What changed since it was last shipped."""
        known = self._shipped.setdefault(reading.path, {})
        news = {key: value for key, value in _rows(reading).items() if known.get(key) != value}
        for step_id in {step_id for step_id, _ in news}:
            store.upsert_counters(reading.rollout_id, step_id,
                                  {row: value for (step, row), value in news.items() if step == step_id})
        known.update(news)


def _tallies(home: Home) -> list[Path]:
    return [path for folder in sorted(home.run.glob("server-*")) for path in tallies_in(RunFolder(folder).tallies)]


def _read(path: Path, ended: bool) -> TallyReading | None:
    try:
        return read(path)
    except FileNotFoundError:
        return None
    except TallyError:
        if ended:  # its worker died while it made the file
            path.unlink(missing_ok=True)
        return None


def _rows(reading: TallyReading) -> dict[tuple[str, CounterRow], int]:
    """The counts of requests as rows of the store, by step."""
    counts = reading.counts.copy()
    if reading.windows:
        counts[-1, 1, Part.FAILURES] += reading.crashes
        counts[-1, 1, Part.ERRORS] += reading.crashes
    found = {}
    for window, arm, place in zip(*(axis.tolist() for axis in counts.nonzero()), strict=True):
        step, bucket = reading.windows[window]
        row = CounterRow(bucket, part_name(place), "", _ARMS[arm], reading.incarnation)
        found[step_name(reading.rollout_id, step), row] = int(counts[window, arm, place])
    return found


def _keep(home: Home, rollout_id: str, dead: list[TallyReading]) -> Callers:
    """All that dead workers knew of a rollout's callers; what the newly `dead` knew is added to it."""
    path = home.callers / rollout_id
    if not any(len(reading.callers) for reading in dead):
        return read_callers(path)
    with locked(home.callers / "lock"):
        callers = join([read_callers(path), *dead])
        write_callers(path, callers)
    return callers


def _ship_callers(shared: Shared, record: RolloutRecord, dead: Callers, readings: Iterable[TallyReading]) -> None:
    callers = join([dead, *readings])
    if not len(callers.lines):
        return
    counts = [[*window, part, arm, number] for (window, part, arm), number in callers.count().items()]
    body = orjson.dumps({"format": _FORMAT, "rollout_id": record.rollout_id, "level": callers.level, "counts": counts})
    key = f"{record.model}/{name_of(shared.home)}"
    known = shared.store.document(CALLER_COUNTS, key)
    if known is None or known.body != body:
        revision = known.revision if known else 0
        with suppress(Conflict):  # another steward of this home has shipped the same
            shared.store.put_document(Document(CALLER_COUNTS, key, revision + 1, body, time.time()),
                                      expected_revision=revision)


def name_of(home: Home) -> str:
    """A name for this home that outlives servers and host names."""
    path = home.callers / "name"
    with locked(home.callers / "lock"):
        if not path.exists():
            write_atomically(path, uuid.uuid4().hex.encode())
    return path.read_text()


def _forget(home: Home, running: Mapping[str, RolloutRecord]) -> None:
    """What dead workers knew of rollouts that are over."""
    for path in home.callers.glob("*"):
        if path.name not in {"lock", "name", *running}:
            path.unlink(missing_ok=True)
