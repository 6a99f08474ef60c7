"""What is held true of one prediction, after all that was sent about it.

Only what was sent counts, never the order in which it came: where the senders say when things happened, any order of
arrival, over any workers, gives the same.

| sent | held true |
|---|---|
| the same again | the same; a *duplicate* |
| a revision | the revision: it replaces what is older |
| a retraction | nothing of that source that is older |
| two final values | a *conflict*: by policy the latest, that of most, that of the first source, or none |
| only provisional values | the latest of them |
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Any, Literal, NamedTuple

from serinus.serving.store import GroundTruth

__all__ = ["PROBABILITY", "ConflictPolicy", "State", "Truth", "alike", "resolve"]

ConflictPolicy = Literal["latest", "majority", "source", "quarantine"]
PROBABILITY = "action_probability"
"""The event that tells with what probability somebody acted on a prediction, so that its truth could be learnt."""

_LEAST_PROBABILITY = 0.01


class State(StrEnum):
    """Where a prediction stands."""

    LABELLED = "labelled"
    """A truth is known and holds."""
    RETRACTED = "retracted"
    """A truth was known and was taken back."""
    QUARANTINED = "quarantined"
    """Final values contradict each other, and the policy is to believe none."""
    UNLABELLED = "unlabelled"
    """Events only."""


class Truth(NamedTuple):
    """What is held true of one prediction.

    `received` is when we learnt of it first, `updated` when last; `weight` is the sender's, divided by the probability
    of the action without which it would not have been learnt.
    """

    state: State
    value: Any = None
    received: float = 0.0
    updated: float = 0.0
    weight: float = 1.0
    provisional: bool = False
    duplicates: int = 0
    conflict: bool = False
    revised: bool = False
    events: Mapping[str, tuple[int, float]] = {}
    """By name: how often, and the sum of the values."""
    source: str = ""
    """Who sent the value that holds."""


def resolve(rows: Sequence[GroundTruth], policy: ConflictPolicy = "latest", sources: Sequence[str] = ()) -> Truth:
    """What is held true after `rows`, all of one prediction; `sources` in the order in which they are believed."""
    if len(rows) == 1 and rows[0].kind == "final":
        (row,) = rows
        return Truth(State.LABELLED, row.value, row.received_time, row.received_time, row.weight,
                     duplicates=row.copies - 1, source=row.source)
    labels = sorted((row for row in rows if row.kind != "event"), key=_place)
    events = _events(row for row in rows if row.kind == "event")
    copies = sum(row.copies - 1 for row in rows) + _repeated(labels)
    kept = _not_retracted(labels)
    given = [row for row in labels if row.kind != "retract"]
    if not kept:
        state = State.RETRACTED if given else State.UNLABELLED
        return Truth(state, duplicates=copies, events=events, updated=_latest(rows))
    revisions = [row for row in kept if row.kind == "revision"]
    finals = [row for row in kept if row.kind == "final"]
    candidates = [row for row in finals if not revisions or _place(row) > _place(revisions[-1])] + revisions[-1:]
    conflict = len({alike(row.value) for row in candidates}) > 1
    truth = Truth(State.LABELLED, received=min(row.received_time for row in given), updated=_latest(rows),
                  provisional=not candidates, duplicates=copies, conflict=conflict, revised=bool(revisions),
                  events=events)
    if conflict and policy == "quarantine":
        return truth._replace(state=State.QUARANTINED)
    chosen = _chosen(sorted(candidates, key=_place) or kept, policy if conflict else "latest", sources)
    return truth._replace(value=chosen.value, weight=chosen.weight / _probability(events), source=chosen.source)


def alike(value: Any) -> str:
    """The same text for what means the same: 1, 1.0, "1" and true; but no two labels that differ otherwise."""
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            text = str(value)
            return {"true": "1", "false": "0"}.get(text.lower(), text)
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def _place(row: GroundTruth) -> tuple[float, float, str]:
    """Older is less; the value makes the order complete."""
    return row.event_time or row.received_time, row.received_time, f"{row.source}\0{row.value!r}"


def _not_retracted(labels: Sequence[GroundTruth]) -> list[GroundTruth]:
    """What no later retraction of its own source took back."""
    until = {row.source: _place(row) for row in labels if row.kind == "retract"}
    return [row for row in labels
            if row.kind != "retract" and (row.source not in until or _place(row)[0] > until[row.source][0])]


def _chosen(rows: Sequence[GroundTruth], policy: ConflictPolicy, sources: Sequence[str]) -> GroundTruth:
    if policy == "majority":
        votes = Counter(alike(row.value) for row in rows)
        most = max(votes.values())
        return [row for row in rows if votes[alike(row.value)] == most][-1]
    if policy == "source":
        best = min(_rank(row, sources) for row in rows)
        return [row for row in rows if _rank(row, sources) == best][-1]
    return rows[-1]


def _rank(row: GroundTruth, sources: Sequence[str]) -> int:
    return sources.index(row.source) if row.source in sources else len(sources)


def _repeated(labels: Sequence[GroundTruth]) -> int:
    """What came again with another time."""
    return len(labels) - len({(row.source, row.kind, alike(row.value), row.kind == "revision" and row.event_time)
                              for row in labels})


def _events(rows: Iterable[GroundTruth]) -> dict[str, tuple[int, float]]:
    found: dict[str, tuple[int, float]] = {}
    for row in sorted(rows, key=_place):
        number, total = found.get(row.name, (0, 0.0))
        found[row.name] = number + 1, total + float(row.value)
    return found


def _probability(events: Mapping[str, tuple[int, float]]) -> float:
    """The logged probability of the action; one of less than a hundredth counts as that, so that no row counts for
    more than a hundred."""
    if PROBABILITY not in events:
        return 1.0
    number, total = events[PROBABILITY]
    return min(1.0, max(_LEAST_PROBABILITY, total / number))


def _latest(rows: Sequence[GroundTruth]) -> float:
    return max(row.received_time for row in rows)
