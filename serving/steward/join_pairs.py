"""Job: join ground truth, whenever it comes, to the pairs of shadows: which of both versions was right.

A rollout's ledger is asked for again and again, some hundred pairs at a time, so a truth that is revised counts as it
stands. What is told is the state after a whole round.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serinus.serving.ground_truth import State, resolve
from serinus.serving.ground_truth.resolution import alike
from serinus.serving.ids import prediction_id
from serinus.serving.rollout.state import Phase, RolloutRecord
from serinus.serving.settings import GroundTruthSettings
from serinus.serving.shadow.ledger import Ledger, ledgers_in, read_ledger
from serinus.serving.steward.job import Shared
from serinus.serving.steward.keep_shadow import put_pairs
from serinus.serving.store import GroundTruth

__all__ = ["JoinPairs"]

_BUDGET_S = 0.1
_CHUNK = 500
_UNKNOWN, _ALIKE, _CANDIDATE_WRONG, _STABLE_WRONG = -1, 0, 1, 2


@dataclass
class _Round:
    """How far one ledger has been asked about."""

    outcomes: NDArray[np.int8] = field(default_factory=lambda: np.empty(0, np.int8))
    place: int = 0
    begun: float = 0.0


class JoinPairs:
    """Every steward for the ledgers of its home: they lie beside the log, and are nobody else's."""

    name = "join_pairs"
    period_s = 0.5
    _REST_S = 2.0

    def __init__(self, budget_s: float = _BUDGET_S, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._budget_s = budget_s
        self._monotonic = monotonic
        self._rounds: dict[Path, _Round] = {}

    def run(self, shared: Shared) -> None:
        """See `Job.run`."""
        paths = ledgers_in(shared.home.pairs)
        self._rounds = {path: self._rounds.get(path) or _Round() for path in paths}
        records = shared.store.records().values() if paths else ()
        until = self._monotonic() + self._budget_s
        for path in sorted(paths, key=lambda path: self._rounds[path].begun):
            if self._monotonic() >= until:
                return
            with suppress(FileNotFoundError):
                if self._is_due(path) and (ledger := read_ledger(path)) is not None:
                    self._join(shared, ledger, records, until)

    def _is_due(self, path: Path) -> bool:
        known = self._rounds[path]
        return known.place > 0 or self._monotonic() - known.begun >= self._REST_S or not known.begun

    def _join(self, shared: Shared, ledger: Ledger, records: Sequence[RolloutRecord] | Any, until: float) -> None:
        record = next((record for record in records if record.rollout_id == ledger.rollout_id), None)
        if record is None or not (record.running or record.phase is Phase.PROMOTED):
            ledger.path.unlink(missing_ok=True)  # nothing is judged by it any more
            return
        known = self._rounds[ledger.path]
        more = len(ledger.rows) - len(known.outcomes)
        known.outcomes = np.concatenate([known.outcomes, np.full(more, _UNKNOWN, np.int8)])
        if known.place == 0:
            known.begun = self._monotonic()
        while known.place < len(ledger.rows):
            part = ledger.rows[known.place:known.place + _CHUNK]
            known.outcomes[known.place:known.place + len(part)] = _outcomes(
                shared, part, [alike(label) for label in ledger.labels], shared.settings.ground_truth)
            known.place += len(part)
            if self._monotonic() >= until and known.place < len(ledger.rows):
                return
        known.place = 0
        if len(known.outcomes):
            put_pairs(shared.store, f"{ledger.model}/{ledger.source}/truth", _told(ledger, known.outcomes), time.time())


def _outcomes(shared: Shared, rows: NDArray[Any], labels: Sequence[str], settings: GroundTruthSettings) -> list[int]:
    ids = [prediction_id(row["uuid"].tobytes(), int(row["row"])) for row in rows]
    known = shared.store.ground_truth(ids)
    return [_outcome(known.get(name, ()), labels[row["stable"]], labels[row["candidate"]], settings)
            for name, row in zip(ids, rows, strict=True)]


def _outcome(truths: Sequence[GroundTruth], stable: str, candidate: str, settings: GroundTruthSettings) -> int:
    truth = resolve(truths, settings.conflict, settings.sources) if truths else None
    if truth is None or truth.state is not State.LABELLED:
        return _UNKNOWN
    value = alike(truth.value)
    if (stable == value) == (candidate == value):
        return _ALIKE
    return _CANDIDATE_WRONG if stable == value else _STABLE_WRONG


def _told(ledger: Ledger, outcomes: NDArray[np.int8]) -> dict[str, Any]:
    """The counts of a whole round, in the words of `Pairs`."""
    worse, better = outcomes == _CANDIDATE_WRONG, outcomes == _STABLE_WRONG
    bits = ledger.rows["slices"]
    slices = {}
    for number, name in enumerate(ledger.slices):
        inside = bits >> np.uint64(number) & np.uint64(1) == 1
        slices[name] = [int((worse & inside).sum()), int((better & inside).sum())]
    return {"rollout_id": ledger.rollout_id, "labelled": int((outcomes != _UNKNOWN).sum()),
            "candidate_wrong": int(worse.sum()), "stable_wrong": int(better.sum()), "slices": slices}
