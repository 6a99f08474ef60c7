"""Evidence is made of what the store holds: of requests, of callers and of pairs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import orjson
import pytest

from serinus.serving.rollout import Judgement, Phase, Plan, RolloutRecord
from serinus.serving.rollout.analysis import Action, judge
from serinus.serving.rollout.baseline import Baseline
from serinus.serving.rollout.callers import join
from serinus.serving.rollout.evidence import Arms, Evidence, Pairs
from serinus.serving.rollout.gathering import Counted, gather, pairs_of
from serinus.serving.rollout.tally import Part, Tally, part_name, read
from serinus.serving.store import CounterKey, Document

PLAN = Plan((1000, 5000), manual=False, judgement=Judgement(shadow=0, soak_s=10, holdback=500))
RECORD = RolloutRecord("wine", 3, "r1", Phase.CANARY, PLAN, step=1, step_id="r1/1", weight=5000, stable="1",
                       candidate="2")
ROLES = ("stable", "candidate")
BASELINE = Baseline("wine", "r1", (1, 2, 3), 1_000, 7, labels=("red", "white"))


def counters(*rows: tuple[str, int, str, str, int]) -> dict[CounterKey, int]:
    return {CounterKey(f"r1/{step}", bucket, check, "", arm): number for step, bucket, check, arm, number in rows}


def callers(*counts: tuple[int, int, str, int, int], rollout: str = "r1") -> Document:
    body = orjson.dumps({"format": 1, "rollout_id": rollout, "level": 0, "counts": [list(count) for count in counts]})
    return Document("rollout.callers", "wine/home", 1, body, 0.0)


def evidence(found: Counted, baseline: Baseline = BASELINE) -> Evidence:
    return gather(RECORD, found, baseline, elapsed_s=5.0, silent_s=1.0)


def test_windows_come_in_the_order_of_time_with_their_weights() -> None:
    """The soak last; its weight is what the holdback leaves."""
    found = evidence(Counted.of("r1", counters(
        ("soak", 30, "units", "stable", 1), ("1", 20, "units", "candidate", 5), ("0", 12, "units", "stable", 9),
        ("0", 11, "units", "stable", 8)), []))
    assert [(window.step_id, window.weight, window.stable) for window in found.windows] == [
        ("r1/0", 0.1, 8), ("r1/0", 0.1, 9), ("r1/1", 0.5, 0), ("r1/soak", 0.95, 1)]
    assert found.baseline_errors == (7, 1_000)


def test_requests_and_callers_are_both_units() -> None:
    """A caller is new once, and in each arm a unit of what can still happen to him there."""
    found = evidence(Counted.of("r1", counters(
        ("1", 20, "units", "candidate", 40), ("1", 20, "units", "stable", 50), ("1", 20, "errors", "candidate", 3),
        ("1", 20, "keyed", "candidate", 999)),
        [callers((1, 20, "new", 1, 5), (1, 20, "new", 0, 6), (1, 20, "errors", 0, 2), (1, 20, "errors/units", 0, 7),
                 (1, 20, "errors/units", 1, 8), (1, 20, "active", 1, 11)),
         callers((1, 20, "new", 1, 77), rollout="r0")]))
    (window,) = found.windows
    assert (window.candidate, window.stable) == (45, 56)
    assert window.events["errors"] == Arms(3, 48, 2, 57)
    assert found.step_units == 51


def test_everything_that_is_judged_is_there_from_the_start() -> None:
    """What did not happen has zero events, since what each check may spend depends on how many there are."""
    found = evidence(Counted.of("r1", counters(("0", 1, "units", "stable", 9), ("0", 1, "class:1", "stable", 9)), []))
    events = found.windows[0].events
    assert list(events) == ["failures", "errors", "invalid", "latency:p50", "latency:p95", "latency:p99", "mix:red",
                            "mix:white"]
    assert events["mix:white"] == Arms(0, 0, 9, 9)
    without = evidence(Counted.of("r1", counters(("0", 1, "units", "stable", 9)), []), Baseline("wine", "r1"))
    assert list(without.windows[0].events) == ["failures", "errors", "invalid"]


@pytest.mark.parametrize("classes", [20, 21])
def test_many_classes_share_the_last_entry(classes: int) -> None:
    """Up to 20 each have their own; of more the rest has one together."""
    baseline = Baseline("wine", "r1", labels=tuple(range(classes)))
    found = evidence(Counted.of("r1", counters(("0", 1, "class:20", "candidate", 4)), []), baseline)
    mix = {name: arms for name, arms in found.windows[0].events.items() if name.startswith("mix")}
    assert len(mix) == min(classes, 21)
    assert mix.get("mix:other", Arms(4, 4, 0, 0)) == Arms(4, 4, 0, 0)


def test_an_event_that_is_seen_before_its_unit_is_possible() -> None:
    """Workers count while they are read."""
    found = evidence(Counted.of("r1", counters(("0", 1, "errors", "candidate", 1)), []))
    assert found.windows[0].events["errors"] == Arms(1, 1, 0, 0)


def test_pairs_of_all_shadows_are_added_up() -> None:
    """Those of this rollout; classes and slices by name."""
    def told(rollout: str, **body: object) -> Document:
        return Document("rollout.pairs", "wine/x", 1, orjson.dumps({"rollout_id": rollout, **body}), 0.0)

    pairs, died = pairs_of("r1", [
        told("r1", pairs=5, labelled=2, candidate_wrong=1, flips={"red": [1, 2]}, died=1, source="one"),
        told("r1", pairs=7, candidate_failed=1, flips={"red": [1, 0], "white": [0, 1]}, slices={"north": [2, 0]}),
        told("r0", pairs=99, died=9)])
    assert pairs == Pairs(12, 2, 1, 0, 1, 0, {"red": (2, 2), "white": (0, 1)}, {"north": (2, 0)})
    assert died == 1
    assert pairs_of("r1", []) == (Pairs(), 0)


def _disturbed(folder: Path, rng: np.random.Generator, *, keyed: bool) -> bool:
    """Whether an A/A rollout is rolled back or held in which a few of 400 callers send most requests, and some always
    fail."""
    tally = Tally(folder, "00aa", "wine", "r1")
    tally.begin_step(1)
    share = 1 / np.arange(1, 401) ** 1.1
    keys, fails = rng.integers(1, 2**62, 400), rng.random(400) < 0.03
    for number in rng.choice(400, 3_000, p=share / share.sum()).tolist():
        arm, key = int(keys[number] % 2), int(keys[number]) if keyed else 0
        assigned = tally.assign(arm, key, 1)
        if fails[number]:
            tally.count(arm, key, assigned, Part.ERRORS)
    tally.close()
    reading = read(tally.path)
    tally.path.unlink()
    requests = counters(*(("1", 0, part_name(place), ROLES[arm], int(reading.counts[0, arm, place]))
                          for place in (Part.UNITS, Part.ERRORS) for arm in range(2)))
    joined = join([reading]).count().items()
    document = callers(*((*window, part, arm, number) for (window, part, arm), number in joined))
    found = evidence(Counted.of("r1", requests, [document]), Baseline("wine", "r1"))
    assert PLAN.judgement is not None
    return judge(PLAN.judgement, Phase.CANARY, 5000, found, step_id="r1/1").action in (Action.ROLL_BACK, Action.HOLD)


def test_heavy_callers_are_one_unit_each(tmp_path: Path) -> None:
    """150 A/A rollouts: counted by request, heavy callers have most of them rolled back, or held for a broken
    assignment; counted by caller, at most one in twenty (here: at most 7)."""
    rng = np.random.default_rng(12)
    by_request = sum(_disturbed(tmp_path, rng, keyed=False) for _ in range(150))
    by_caller = sum(_disturbed(tmp_path, rng, keyed=True) for _ in range(150))
    assert by_request > 75
    assert by_caller <= 7
