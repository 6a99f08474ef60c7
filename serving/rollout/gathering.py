"""Makes the evidence of a rollout from what the store holds: counts of requests, of callers, and of pairs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import orjson

from serinus.serving.rollout.baseline import Baseline
from serinus.serving.rollout.evidence import NO_PAIRS, Arms, Evidence, Pairs, Window
from serinus.serving.rollout.state import FULL_WEIGHT, Plan, RolloutRecord
from serinus.serving.rollout.tally import CLASSES, PARTS, SOAK_STEP, Part, part_name, step_name, step_number
from serinus.serving.store import CounterKey, Document

__all__ = ["PAIRS", "TRUTHS", "Counted", "gather", "pairs_of"]

PAIRS = "rollout.pairs"
"""Kind of the documents in which shadows tell their pairs, by model and source. The body is the JSON of a rollout's id,
of `Pairs`, and of `died`: how often the shadow's process was lost."""

TRUTHS = "rollout.truths"
"""Kind of the documents with what both arms answered right and wrong, by model and home: the JSON of a rollout's id and
of `counts`, each a step, a bucket, a part, an arm and a number."""

_ROLES = {"stable": 0, "candidate": 1}
_ALWAYS = ("failures", "errors", "invalid")
_UNITS = "/units"
_BY_TRUTH = ("ground_truth", "slices:")


@dataclass
class Counted:
    """Counts by step, bucket and arm."""

    numbers: dict[tuple[int, int], dict[str, list[int]]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(lambda: [0, 0])))

    def add(self, step: int, bucket: int, part: str, arm: int, number: int) -> None:
        """Add to one count."""
        self.numbers[step, bucket][part][arm] += number

    @property
    def total(self) -> int:
        """A number that grows whenever anything is counted."""
        return sum(sum(arms) for parts in self.numbers.values() for part, arms in parts.items()
                   if part in ("units", "keyed"))

    @classmethod
    def of(cls, rollout_id: str, counters: Mapping[CounterKey, int], callers: Iterable[Document],
           truths: Iterable[Document] = ()) -> Counted:
        """What the store holds of a rollout."""
        counted = cls()
        for key, number in counters.items():
            counted.add(step_number(key.step_id), key.bucket, key.check, _ROLES[key.arm], number)
        for prefix, documents in (("caller:", callers), ("", truths)):
            for document in documents:
                body = orjson.loads(document.body)
                for step, bucket, part, arm, number in body["counts"] if body["rollout_id"] == rollout_id else ():
                    counted.add(step, bucket, f"{prefix}{part}", arm, number)
        return counted


def gather(record: RolloutRecord, counted: Counted, baseline: Baseline, *, pairs: Pairs = NO_PAIRS,
           shadow_failed: int = 0, elapsed_s: float, silent_s: float,
           signals: Mapping[str, str] = MappingProxyType({})) -> Evidence:
    """The evidence of a rollout that judges itself."""
    assert record.plan is not None
    windows = tuple(_window(record, record.plan, step, bucket, counted.numbers[step, bucket], baseline)
                    for step, bucket in sorted(counted.numbers))
    here = step_number(record.step_id)
    active = sum(parts["units"][1] + parts["caller:active"][1]
                 for (step, _), parts in counted.numbers.items() if step == here)
    return Evidence(windows, pairs, shadow_failed, elapsed_s, silent_s, (baseline.errors, baseline.requests),
                    step_units=active, signals=signals)


def _window(record: RolloutRecord, plan: Plan, step: int, bucket: int, parts: Mapping[str, list[int]],
            baseline: Baseline) -> Window:
    """Requests without a key and callers with one are both units."""
    units, new = parts["units"], parts["caller:new"]
    events = {name: _arms(parts, name) for name in _ALWAYS}
    if baseline.thresholds_ns:
        events |= {name: _arms(parts, name) for name in PARTS[Part.LATENCY:]}
    events |= _mix(parts, baseline)
    events |= _by_truth(parts)
    events |= _outcome_events(parts, plan)
    return Window(_weight(plan, step), units[1] + new[1], units[0] + new[0], events, step_name(record.rollout_id, step))


def _arms(parts: Mapping[str, list[int]], name: str) -> Arms:
    """Workers count while they are read, so an event may be seen before its unit."""
    events = [own + keyed for own, keyed in zip(parts[name], parts[f"caller:{name}"], strict=True)]
    units = [own + keyed for own, keyed in zip(parts["units"], parts[f"caller:{name}/units"], strict=True)]
    return Arms(events[1], max(units[1], events[1]), events[0], max(units[0], events[0]))


def _mix(parts: Mapping[str, list[int]], baseline: Baseline) -> dict[str, Arms]:
    """One entry per class, also of those that nobody gave yet: what each may spend must not change."""
    names = [str(label) for label in baseline.labels[:CLASSES]]
    if len(baseline.labels) > CLASSES:
        names.append("other")
    counts = [[parts[part_name(place)][arm] + parts[f"caller:{part_name(place)}"][arm] for arm in range(2)]
              for place in range(Part.CLASS, Part.CLASS + len(names))]
    given = [sum(arms) for arms in zip(*counts, strict=True)] if counts else [0, 0]
    return {f"mix:{name}": Arms(arms[1], given[1], arms[0], given[0])
            for name, arms in zip(names, counts, strict=True)}


def _by_truth(parts: Mapping[str, list[int]]) -> dict[str, Arms]:
    """Answers that are known to be right or wrong."""
    names = [name.removesuffix(_UNITS) for name in parts if name.startswith(_BY_TRUTH) and name.endswith(_UNITS)]
    return {name: _told(parts, name) for name in sorted(names)}


def _outcome_events(parts: Mapping[str, list[int]], plan: Plan) -> dict[str, Arms]:
    """One entry for each event that the plan names, also of those that never came: what each may spend must not
    change."""
    names = [f"events:{name}" for name in plan.judgement.all_events] if plan.judgement else []
    return {name: _told(parts, name) for name in names}


def _told(parts: Mapping[str, list[int]], name: str) -> Arms:
    """What was told later, with its own units."""
    return Arms(parts[name][1], max(parts[name + _UNITS][1], parts[name][1]), parts[name][0],
                max(parts[name + _UNITS][0], parts[name][0]))


def _weight(plan: Plan, step: int) -> float:
    """The candidate's share in a step."""
    if step == SOAK_STEP:
        return 1 - (plan.judgement.holdback if plan.judgement else 0) / FULL_WEIGHT
    return plan.steps[step] / FULL_WEIGHT


def pairs_of(rollout_id: str, documents: Iterable[Document]) -> tuple[Pairs, int]:
    """The pairs that all shadows of a rollout told, and how often their processes died."""
    total, died = NO_PAIRS, 0
    for document in documents:
        body = orjson.loads(document.body)
        if body["rollout_id"] == rollout_id:
            died += body.get("died", 0)
            total = _sum(total, Pairs(**{name: body[name] for name in Pairs._fields if name in body}))
    return total, died


def _sum(a: Pairs, b: Pairs) -> Pairs:
    return Pairs(a.pairs + b.pairs, a.labelled + b.labelled, a.candidate_wrong + b.candidate_wrong,
                 a.stable_wrong + b.stable_wrong, a.candidate_failed + b.candidate_failed,
                 a.stable_failed + b.stable_failed, _by_name(a.flips, b.flips), _by_name(a.slices, b.slices))


def _by_name(*parts: Mapping[str, Iterable[int]]) -> dict[str, tuple[int, int]]:
    found: dict[str, tuple[int, int]] = {}
    for part in parts:
        for name, (first, second) in part.items():
            before = found.get(name, (0, 0))
            found[name] = before[0] + first, before[1] + second
    return found
