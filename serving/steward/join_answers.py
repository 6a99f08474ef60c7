"""Job: join ground truth, whenever it comes, to what both arms of a rollout answered: which answers were wrong.

A truth belongs to the step in which its request was assigned. Of a caller with a routing key one wrong answer counts,
his first one, and one answer of each arm: he is the unit. What is told is the state after a whole round, so a truth
that is revised counts as it stands.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import orjson
from numpy.typing import NDArray

from serinus.serving.ground_truth import State, resolve
from serinus.serving.ground_truth.resolution import alike
from serinus.serving.ids import prediction_id
from serinus.serving.rollout.answers import Answered, answers_in, read_answers
from serinus.serving.rollout.gathering import TRUTHS
from serinus.serving.rollout.state import RolloutRecord
from serinus.serving.steward.job import Shared
from serinus.serving.steward.ship_tallies import name_of
from serinus.serving.store import Conflict, Document

__all__ = ["JoinAnswers", "counts_of"]

_FORMAT = 1
_BUDGET_S = 0.1
_CHUNK = 500
_UNKNOWN, _RIGHT, _WRONG = -1, 0, 1

Line = tuple[int, int, str, int, int]
"""Step, bucket, part, arm and number."""


@dataclass
class _Round:
    """How far the answers of one rollout have been asked about."""

    work: Iterator[None] | None = None
    ended: float = float("-inf")


class JoinAnswers:
    """Every steward for the answers of its home; nobody else has them."""

    name = "join_answers"
    period_s = 0.5
    _REST_S = 2.0

    def __init__(self, budget_s: float = _BUDGET_S, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._budget_s = budget_s
        self._monotonic = monotonic
        self._rounds: dict[str, _Round] = {}

    def run(self, shared: Shared) -> None:
        """See `Job.run`."""
        found = answers_in(shared.home.pairs)
        self._rounds = {rollout_id: self._rounds.get(rollout_id) or _Round() for rollout_id in found}
        if not found:
            return
        running = {record.rollout_id: record for record in shared.store.records().values() if record.running}
        until = self._monotonic() + self._budget_s
        for rollout_id, paths in found.items():
            if rollout_id not in running:
                _forget(paths)
            elif self._monotonic() < until:
                self._join(shared, running[rollout_id], paths, until)

    def _join(self, shared: Shared, record: RolloutRecord, paths: Sequence[Path], until: float) -> None:
        mine = self._rounds[record.rollout_id]
        if mine.work is None and self._monotonic() - mine.ended < self._REST_S:
            return
        mine.work = mine.work or _round(shared, record, paths)
        while next(mine.work, mine) is not mine:
            if self._monotonic() >= until:
                return
        mine.work, mine.ended = None, self._monotonic()


def _round(shared: Shared, record: RolloutRecord, paths: Sequence[Path]) -> Iterator[None]:
    """Ask about everything once, with a breath now and then, and tell it."""
    found = []
    for path in paths:
        answered = read_answers(path)
        if answered is None:
            continue
        outcomes = np.full(len(answered.rows), _UNKNOWN, np.int8)
        for place in range(0, len(outcomes), _CHUNK):
            outcomes[place:place + _CHUNK] = _outcomes(shared, answered, place)
            yield
        found.append((answered, outcomes))
    _tell(shared, record, counts_of(found))


def counts_of(found: Iterable[tuple[Answered, NDArray[np.int8]]]) -> list[Line]:
    """How many answers with a truth each arm gave in each window, and how many were wrong; by slice too. Outcomes are
    1 for wrong, 0 for right, less for unknown."""
    rows, wrong, inside, strangers = [], [], defaultdict(list), 0
    for answered, outcomes in found:
        known = outcomes >= _RIGHT
        mine = answered.rows[known]
        units = mine["key"].copy()
        nobody = units == 0
        units[nobody] = np.arange(1, nobody.sum() + 1, dtype=np.uint64) + np.uint64(strangers)  # each his own
        strangers += int(nobody.sum())
        rows.append((mine, units))
        wrong.append(outcomes[known] == _WRONG)
        for number, name in enumerate(answered.slices):
            inside[name].append((len(rows) - 1, mine["slices"] >> np.uint64(number) & np.uint64(1) == 1))
    if not rows:
        return []
    every, units, failed = (np.concatenate(part) for part in ([mine for mine, _ in rows], [own for _, own in rows],
                                                              wrong))
    found_lines = _lines("ground_truth", every, units, failed)
    for name, parts in sorted(inside.items()):
        masks = dict(parts)
        mask = np.concatenate([masks.get(index, np.zeros(len(mine), bool)) for index, (mine, _) in enumerate(rows)])
        found_lines += _lines(f"slices:{name}", every[mask], units[mask], failed[mask])
    return found_lines


def _lines(part: str, rows: NDArray[np.void], units: NDArray[np.uint64], wrong: NDArray[np.bool_]) -> list[Line]:
    order = np.lexsort((rows["bucket"], rows["step"]))
    rows, units, wrong = rows[order], units[order], wrong[order]
    met = [place for arm in (0, 1) for place in _firsts(units, rows["arm"] == arm)]
    struck = _firsts(units, wrong)
    return [*_counted(f"{part}/units", rows[met]), *_counted(part, rows[struck])]


def _firsts(units: NDArray[np.uint64], where: NDArray[np.bool_]) -> NDArray[np.int64]:
    """The place of each unit's first row among those."""
    places = np.flatnonzero(where)
    return places[np.unique(units[places], return_index=True)[1]]


def _counted(part: str, rows: NDArray[np.void]) -> list[Line]:
    found: dict[tuple[int, int, int], int] = defaultdict(int)
    for step, bucket, arm in zip(*(rows[name].tolist() for name in ("step", "bucket", "arm")), strict=True):
        found[step, bucket, arm] += 1
    return [(step, bucket, part, arm, number) for (step, bucket, arm), number in sorted(found.items())]


def _outcomes(shared: Shared, answered: Answered, place: int) -> list[int]:
    rows, settings = answered.rows[place:place + _CHUNK], shared.settings.ground_truth
    ids = [prediction_id(row["uuid"].tobytes(), 0) for row in rows]
    known = shared.store.ground_truth(ids)
    found = []
    for name, label in zip(ids, rows["label"].tolist(), strict=True):
        truth = resolve(known[name], settings.conflict, settings.sources) if known.get(name) else None
        if truth is None or truth.state is not State.LABELLED:
            found.append(_UNKNOWN)
        else:
            found.append(_RIGHT if alike(truth.value) == alike(answered.labels[label]) else _WRONG)
    return found


def _tell(shared: Shared, record: RolloutRecord, lines: list[Line]) -> None:
    key = f"{record.model}/{name_of(shared.home)}"
    body = orjson.dumps({"format": _FORMAT, "rollout_id": record.rollout_id, "counts": lines})
    known = shared.store.document(TRUTHS, key)
    if (known is None and lines) or (known is not None and known.body != body):
        revision = known.revision if known else 0
        with suppress(Conflict):  # another steward of this home has told the same
            shared.store.put_document(Document(TRUTHS, key, revision + 1, body, time.time()),
                                      expected_revision=revision)


def _forget(paths: Iterable[Path]) -> None:
    """Nothing is judged by them any more."""
    for path in paths:
        path.unlink(missing_ok=True)
