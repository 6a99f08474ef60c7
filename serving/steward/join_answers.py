"""Job: join ground truth, whenever it comes, to what both arms of a rollout answered: which answers were wrong, and
which had an outcome event that the plan names.

A truth belongs to the step in which its request was assigned. Of a caller with a routing key one wrong answer counts,
his first one, and one answer of each arm: he is the unit. The same of events, but that every answer is a unit: nobody
tells of a complaint that was not made. What is told is the state after a whole round, so a truth that is revised counts
as it stands.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import orjson
from numpy.typing import NDArray

from serinus.serving.ground_truth import State, resolve
from serinus.serving.ground_truth.resolution import alike
from serinus.serving.ids import prediction_id
from serinus.serving.rollout.answers import NO_CLASS, Answered, answers_in, read_answers
from serinus.serving.rollout.gathering import TRUTHS
from serinus.serving.rollout.state import RolloutRecord
from serinus.serving.steward.job import Shared
from serinus.serving.steward.ship_tallies import name_of
from serinus.serving.store import Conflict, Document

__all__ = ["JoinAnswers", "Joined", "counts_of", "event_counts"]

_FORMAT = 1
_BUDGET_S = 0.1
_CHUNK = 500
_UNKNOWN, _RIGHT, _WRONG = -1, 0, 1

Line = tuple[int, int, str, int, int]
"""Step, bucket, part, arm and number."""


class Joined(NamedTuple):
    """The answers of a file with what became of them: `outcomes` are 1 for wrong, 0 for right, less for unknown;
    `events` has a column for each event that is compared, 1 where the answer had it."""

    answered: Answered
    outcomes: NDArray[np.int8]
    events: NDArray[np.bool_]


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
    assert record.plan is not None and record.plan.judgement is not None
    names, found = record.plan.judgement.all_events, []
    for path in paths:
        answered = read_answers(path)
        if answered is None:
            continue
        number = len(answered.rows)
        joined = Joined(answered, np.full(number, _UNKNOWN, np.int8), np.zeros((number, len(names)), bool))
        for place in range(0, number, _CHUNK):
            _look_up(shared, joined, names, place)
            yield
        found.append(joined)
    _tell(shared, record, counts_of(found) + event_counts(found, names))


def event_counts(found: Sequence[Joined], names: Sequence[str]) -> list[Line]:
    """How many answers each arm gave in each window, and how many had each of these events."""
    if not found or not names:
        return []
    kept = [joined.answered.rows["bucket"] > 0 for joined in found]  # erased ones are blank
    rows = np.concatenate([joined.answered.rows[there] for joined, there in zip(found, kept, strict=True)])
    had = np.concatenate([joined.events[there] for joined, there in zip(found, kept, strict=True)])
    units, _ = _units(rows, 0)
    return [line for number, name in enumerate(names)
            for line in _lines(f"events:{name}", rows, units, had[:, number])]


def counts_of(found: Iterable[Joined]) -> list[Line]:
    """How many answers with a truth each arm gave in each window, and how many were wrong; by slice too."""
    rows, wrong, inside, strangers = [], [], defaultdict(list), 0
    for answered, outcomes, _ in found:
        known = outcomes >= _RIGHT
        mine = answered.rows[known]
        units, strangers = _units(mine, strangers)
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


def _units(rows: NDArray[np.void], strangers: int) -> tuple[NDArray[np.uint64], int]:
    """Whose each row is: his key's hash, or where there is none a number of its own, after that many `strangers`."""
    units = rows["key"].copy()
    nobody = units == 0
    units[nobody] = np.arange(1, nobody.sum() + 1, dtype=np.uint64) + np.uint64(strangers)
    return units, strangers + int(nobody.sum())


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


def _look_up(shared: Shared, joined: Joined, names: Sequence[str], place: int) -> None:
    """Ask what became of some of the answers, from that place on."""
    answered, settings = joined.answered, shared.settings.ground_truth
    rows = answered.rows[place:place + _CHUNK]
    ids = [prediction_id(row["uuid"].tobytes(), 0) for row in rows]
    known = shared.store.ground_truth(ids)
    for index, (name, label) in enumerate(zip(ids, rows["label"].tolist(), strict=True), place):
        if not known.get(name):
            continue
        truth = resolve(known[name], settings.conflict, settings.sources)
        joined.events[index] = [event in truth.events for event in names]
        if truth.state is State.LABELLED and label != NO_CLASS:
            right = alike(truth.value) == alike(answered.labels[label])
            joined.outcomes[index] = _RIGHT if right else _WRONG


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
