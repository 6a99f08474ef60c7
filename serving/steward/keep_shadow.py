"""Job: keep the shadow's process alive while a rollout wants one, and bring its pairs and deaths to the store."""

from __future__ import annotations

import logging
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from serinus.serving.errors import ControlRefused
from serinus.serving.home import RunFolder
from serinus.serving.processes import start_shadow
from serinus.serving.rollout.gathering import PAIRS
from serinus.serving.rollout.state import Phase, RolloutRecord
from serinus.serving.shadow.mirror import is_mirrored
from serinus.serving.shadow.pairs import PairCounts
from serinus.serving.shadow.published import PREDICT, MarkReading, ShadowFiles, source_of
from serinus.serving.snapshot import read_snapshot
from serinus.serving.steward.job import Shared
from serinus.serving.store import Conflict, Document, Store
from serinus.serving.veto import cast_veto, read_vetoes

__all__ = ["KeepShadow", "put_pairs"]

_log = logging.getLogger("serinus.shadow")
_SHIP_S = 1.0
_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 60.0
_LOAD_S = 300.0
_STARVED = 10
"""A call of a process that is waiting for the processor may take so many times longer."""
_DEATHS = 3
"""A candidate that takes its shadow down so often is taken off."""


@dataclass
class _Child:
    process: subprocess.Popen[bytes]
    started: float


class KeepShadow:
    """Every steward for its own server. `start` starts a shadow in a run folder."""

    name = "keep_shadow"
    period_s = 0.1

    def __init__(self, start: Callable[[RunFolder], subprocess.Popen[bytes]] = start_shadow,
                 monotonic: Callable[[], float] = time.monotonic) -> None:
        self._start = start
        self._monotonic = monotonic
        self._child: _Child | None = None
        self._pause = _PAUSE_S
        self._not_before = self._shipped = float("-inf")

    def run(self, shared: Shared) -> None:
        """See `Job.run`."""
        vetoed = read_vetoes(shared.home.vetoes).by_model
        records = read_snapshot(shared.home.snapshot).records
        wanted = [record for name, record in records.items() if is_mirrored(record) and name not in vetoed]
        files = ShadowFiles(shared.run.shadow)
        if self._child is not None:
            self._look_after(shared, files, records, wanted)
        elif wanted and self._monotonic() >= self._not_before:
            shared.run.shadow.mkdir(parents=True, exist_ok=True)
            files.mark.unlink(missing_ok=True)  # of a shadow that ended with an earlier steward
            self._child = _Child(self._start(shared.run), self._monotonic())
        if self._monotonic() - self._shipped >= _SHIP_S and shared.run.shadow.exists():
            self._shipped = self._monotonic()
            _ship(shared, files, records)

    def _look_after(self, shared: Shared, files: ShadowFiles, records: Mapping[str, RolloutRecord],
                    wanted: Iterable[RolloutRecord]) -> None:
        assert self._child is not None
        process = self._child.process
        if process.poll() is not None:
            self._bury(shared, files, records)
        elif not wanted:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(2)
            process.kill()
            process.wait()
            self._child = None
        elif (doing := files.doing()) is not None and self._hangs(shared, doing, process.pid):
            _log.error("The shadow is stopped: a call in it has not come back.")
            process.kill()

    def _hangs(self, shared: Shared, doing: MarkReading, pid: int) -> bool:
        took = (time.monotonic_ns() - doing.since_ns) / 1e9
        limit = shared.settings.shadow.deadline_seconds if doing.kind == PREDICT else _LOAD_S
        return took > limit * (_STARVED if _is_runnable(pid) else 1)

    def _bury(self, shared: Shared, files: ShadowFiles, records: Mapping[str, RolloutRecord]) -> None:
        """A shadow that died in a call of a candidate is that candidate's crash; any other death is nobody's."""
        assert self._child is not None
        now, code = self._monotonic(), self._child.process.returncode
        if now - self._child.started > _LONGEST_PAUSE_S:
            self._pause = _PAUSE_S
        self._not_before, self._child = now + self._pause, None
        doing = files.doing()
        record = None if doing is None or -code == signal.SIGTERM else _of(records, doing.rollout_id)
        if record is None or record.phase is Phase.FROZEN:  # else it is over after a few
            self._pause = min(2 * self._pause, _LONGEST_PAUSE_S)
        if record is None:
            _log.warning("The shadow's process ended with code %d; it is started again.", code)
            return
        number = files.note_death(record.rollout_id, record.model, str(record.candidate))
        _log.error("The shadow's process ended with code %d in a call of %s:%s, for the %d. time.", code, record.model,
                   record.candidate, number)
        if number >= _DEATHS and record.phase is not Phase.FROZEN:
            with suppress(ControlRefused):  # the rollout is over
                cast_veto(shared.home, record.model, actor="serinus",
                          reason=f"the shadow's process died {number} times in calls of it")


def put_pairs(store: Store, key: str, body: Mapping[str, Any], now: float) -> None:
    """Keep what is known of pairs under a key, where it is new."""
    data = orjson.dumps(body)
    known = store.document(PAIRS, key)
    if known is not None and known.body == data:
        return
    revision = known.revision if known is not None else 0
    with suppress(Conflict):  # somebody else's key by accident: tried again with the next count
        store.put_document(Document(PAIRS, key, revision + 1, data, now), expected_revision=revision)


def _ship(shared: Shared, files: ShadowFiles, records: Mapping[str, RolloutRecord]) -> None:
    """The pairs of rollouts that are still on record; a call that the shadow died of is a pair too."""
    deaths, pairs = files.deaths(), files.pairs()
    for record in records.values():
        counts, died = pairs.get(record.rollout_id), int(deaths.get(record.rollout_id, {}).get("number", 0))
        if counts is None and not died:
            continue
        counts = counts or PairCounts(record.rollout_id, record.model, str(record.stable), str(record.candidate), ())
        body = {**counts.to_json(), "pairs": counts.pairs + died, "died": died,
                "candidate_failed": counts.candidate_failed + died}
        put_pairs(shared.store, f"{record.model}/{source_of(shared.run)}", body, time.time())
    _forget(shared.store, records)


def _forget(store: Store, records: Mapping[str, RolloutRecord]) -> None:
    """Let go of pairs of rollouts after which another one began."""
    latest = {record.rollout_id for record in records.values()}
    for document in store.documents(PAIRS):
        if orjson.loads(document.body)["rollout_id"] not in latest:
            with suppress(Conflict):
                store.delete_document(PAIRS, document.key, expected_revision=document.revision)


def _of(records: Mapping[str, RolloutRecord], rollout_id: str) -> RolloutRecord | None:
    return next((record for record in records.values() if record.rollout_id == rollout_id), None)


def _is_runnable(pid: int) -> bool:
    """Whether a process computes or waits for the processor."""
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] == b"R"
    except OSError:
        return False
