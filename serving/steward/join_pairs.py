"""Job: join ground truth, whenever it comes, to the pairs of shadows: which of both versions was right.

A rollout's ledger is asked for again and again, some hundred pairs at a time, so a truth that is revised counts as it
stands. What is told is the state after a whole round. Of a regression an answer is wrong that is off by more than four
in five of stable's were: the first hundred pairs with a truth say how much that is, and count no more.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from math import inf, isfinite, nan
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import orjson
from numpy.typing import NDArray

from serinus.serving.ground_truth import State, resolve
from serinus.serving.ground_truth.resolution import alike
from serinus.serving.ids import prediction_id
from serinus.serving.rollout.gathering import PAIRS
from serinus.serving.rollout.state import Phase, RolloutRecord
from serinus.serving.shadow.ledger import Ledger, ledgers_in, read_ledger
from serinus.serving.steward.job import Shared
from serinus.serving.steward.keep_shadow import put_pairs
from serinus.serving.store import Store

__all__ = ["JoinPairs"]

_BUDGET_S = 0.1
_CHUNK = 500
_MEASURED_BY, _QUANTILE = 100, 0.8

Floats = NDArray[np.float64]


@dataclass
class _Round:
    """How far one ledger has been asked about. `off` is how far both answers are from the truth: 0 for a class that is
    right, infinity for one that is wrong, NaN without a truth."""

    off: Floats = field(default_factory=lambda: np.empty((0, 2)))
    place: int = 0
    begun: float = 0.0


class _Measure(NamedTuple):
    """By how much an answer must be off to be wrong, and from which pair of the ledger on it is counted."""

    off_by: float = 0.0
    counted_from: int = 0


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
        more = len(ledger.rows) - len(known.off)
        known.off = np.concatenate([known.off, np.full((more, 2), np.nan)])
        if known.place == 0:
            known.begun = self._monotonic()
        while known.place < len(ledger.rows):
            part = ledger.rows[known.place:known.place + _CHUNK]
            known.off[known.place:known.place + len(part)] = _off(shared, part, ledger.labels)
            known.place += len(part)
            if self._monotonic() >= until and known.place < len(ledger.rows):
                return
        known.place = 0
        if len(known.off):
            key = f"{ledger.model}/{ledger.source}/truth"
            measure = _Measure() if ledger.labels else _measure(shared.store, key, ledger.rollout_id, known.off)
            put_pairs(shared.store, key, _told(ledger, known.off, measure), time.time())


def _off(shared: Shared, rows: NDArray[Any], labels: Sequence[str]) -> list[tuple[float, float]]:
    settings = shared.settings.ground_truth
    ids = [prediction_id(row["uuid"].tobytes(), int(row["row"])) for row in rows]
    known = shared.store.ground_truth(ids)
    names = [alike(label) for label in labels]
    found = []
    for name, row in zip(ids, rows, strict=True):
        truths = known.get(name, ())
        truth = resolve(truths, settings.conflict, settings.sources) if truths else None
        if truth is None or truth.state is not State.LABELLED:
            found.append((nan, nan))
        elif labels:
            value = alike(truth.value)
            found.append((0.0 if names[int(row["stable"])] == value else inf,
                          0.0 if names[int(row["candidate"])] == value else inf))
        else:
            found.append((_distance(row["stable"], truth.value), _distance(row["candidate"], truth.value)))
    return found


def _distance(answer: float, truth: Any) -> float:
    """Infinite for an answer that is no number, NaN for a truth that is none."""
    try:
        true = float(truth)
    except (TypeError, ValueError):
        return nan
    if not isfinite(true):
        return nan
    return abs(float(answer) - true) if isfinite(answer) else inf


def _measure(store: Store, key: str, rollout_id: str, off: Floats) -> _Measure | None:
    """What was measured once is kept; None before there is enough to measure by."""
    document = store.document(PAIRS, key)
    told = {} if document is None else orjson.loads(document.body)
    if told.get("rollout_id") == rollout_id and "off_by" in told:
        return _Measure(told["off_by"], told["counted_from"])
    known = np.flatnonzero(~np.isnan(off[:, 0]))[:_MEASURED_BY]
    if len(known) < _MEASURED_BY:
        return None
    by = float(np.quantile(off[known, 0], _QUANTILE, method="higher"))
    return _Measure(by if isfinite(by) else 0.0, int(known[-1]) + 1)


def _told(ledger: Ledger, off: Floats, measure: _Measure | None) -> dict[str, Any]:
    """The counts of a whole round, in the words of `Pairs`."""
    if measure is None:
        return {"rollout_id": ledger.rollout_id, "labelled": 0}
    off, bits = off[measure.counted_from:], ledger.rows["slices"][measure.counted_from:len(off)]
    known = ~np.isnan(off[:, 0])
    wrong = off > measure.off_by
    worse, better = known & wrong[:, 1] & ~wrong[:, 0], known & wrong[:, 0] & ~wrong[:, 1]
    slices = {}
    for number, name in enumerate(ledger.slices):
        inside = bits >> np.uint64(number) & np.uint64(1) == 1
        slices[name] = [int((worse & inside).sum()), int((better & inside).sum())]
    told = {"rollout_id": ledger.rollout_id, "labelled": int(known.sum()), "candidate_wrong": int(worse.sum()),
            "stable_wrong": int(better.sum()), "slices": slices}
    return told if ledger.labels else told | measure._asdict()
