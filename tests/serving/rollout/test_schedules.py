"""Random schedules with crashes, restarts, clock skew, store outage, two stewards, lost and repeated counts: I1–I12.

What a run of 100,000 saw stands in SCHEDULES.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serinus.serving.rollout import Phase, RolloutRecord, controller, transitions
from serinus.serving.store import SqliteStore
from tests.serving.rollout import schedules as driver
from tests.serving.rollout.schedules import INVARIANTS, MOVES, Broken, Schedules, moves_of, run


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Schedules]:
    made = Schedules(tmp_path_factory.mktemp("schedules") / "store.db")
    yield made
    made.close()


def test_no_schedule_breaks_an_invariant() -> None:
    """400 schedules: every invariant is looked at, and what can go wrong went wrong."""
    seen = run(range(400))
    assert set(INVARIANTS) <= set(seen)
    wanted = {"rollbacks on evidence", "promotions on evidence", "rollbacks by a veto", "lost races",
              "restored records", "late and repeated counts", "store out of reach", "Fenced"}
    assert {name for name in wanted if not seen[name]} == set()


@pytest.mark.slow
def test_no_schedule_breaks_an_invariant_in_full() -> None:
    """5,000 of them; 100,000 by `python -m tests.serving.rollout.schedules`."""
    assert run(range(1_000, 6_000))["promotions on evidence"] > 50


@settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(st.sampled_from(sorted(MOVES)), st.integers(0, 2**32 - 1)), max_size=25))
def test_no_shrunk_schedule_breaks_one(shared: Schedules, moves: list[tuple[str, int]]) -> None:
    """The same out of hypothesis' hands, which would find the shortest one."""
    shared.play([("start", 1), *moves])


def _keeps_weight(state: RolloutRecord, event: Any, now: float) -> Any:
    record, commands = transitions.advance(state, event, now)
    return (replace(record, phase=Phase.SHADOW) if record.weight else record), commands


def _forgives(state: RolloutRecord, event: Any, now: float) -> Any:
    record, commands = transitions.advance(state, event, now)
    return (replace(record, quarantined=()) if record.quarantined else record), commands


def _goes_on(record: RolloutRecord, *_: Any) -> Any:
    return transitions.Advance(record.step_id, actor="impatience")


def _obeys_nothing(record: RolloutRecord, veto: Any, *, stale: bool, now: float) -> Any:
    return _real_decide(record, None, stale=stale, now=now)


def _believes_all(record: RolloutRecord, veto: Any, *, stale: bool, now: float) -> Any:
    return _real_decide(record, veto, stale=False, now=now)


def _forgets_the_previous(record: RolloutRecord, veto: Any, *, stale: bool, now: float) -> Any:
    target = _real_decide(record, veto, stale=stale, now=now)
    return None if target is None else target._replace(keep=())


def _jumps(record: RolloutRecord, veto: Any, *, stale: bool, now: float) -> Any:
    target = _real_decide(record, veto, stale=stale, now=now)
    return None if target is None else target._replace(weight=min(10_000, 2 * target.weight))


def _doubles(store: SqliteStore, rollout_id: str, step_id: str, rows: Any) -> None:
    _real_upsert(store, rollout_id, step_id, {row: 2 * count for row, count in rows.items()})


class _Unsalted:
    """Gives everybody another bucket each time."""

    def __init__(self, salt: str) -> None:
        self._next = 0

    def __call__(self, key: str) -> int:
        type(self).number = (getattr(type(self), "number", 0) + 3_001) % 10_000
        return int(type(self).number)


def _silent_goes_on(plan: Any, phase: Any, weight: int, evidence: Any, **more: Any) -> Any:
    return _real_judge(plan, phase, weight, replace(evidence, silent_s=0.0), **more)


def _swaps_blindly(store: SqliteStore, new: RolloutRecord, *, expected_generation: int, journal: Any,
                   epoch: int | None = None) -> None:
    """Neither the generation nor the epoch is looked at."""
    stored = store.record(new.model)
    _real_swap(store, new, expected_generation=min(stored.generation if stored else 0, new.generation - 1),
               journal=journal)


def _skips_in_the_journal(store: SqliteStore, new: RolloutRecord, *, journal: Any, **more: Any) -> None:
    _real_swap(store, new, journal=[replace(entry, generation=1) for entry in journal], **more)


_real_decide, _real_judge = driver.decide, driver.judge
_real_swap, _real_upsert = SqliteStore.swap, SqliteStore.upsert_counters


@pytest.mark.parametrize(("invariant", "where", "name", "planted"), [
    ("I1", driver, "decide", _forgets_the_previous), ("I2", driver, "decide", _jumps),
    ("I2", SqliteStore, "swap", _swaps_blindly), ("I3", driver, "Bucketer", _Unsalted),
    ("I4", driver, "decide", _obeys_nothing), ("I5", controller, "advance", _keeps_weight),
    ("I6", SqliteStore, "swap", _skips_in_the_journal), ("I7", driver, "judge", _silent_goes_on),
    ("I8", SqliteStore, "upsert_counters", _doubles), ("I9", driver, "next_event", _goes_on),
    ("I10", controller, "advance", _forgives),
    ("I12", driver, "decide", _believes_all),
])
def test_a_planted_fault_is_found(invariant: str, where: Any, name: str, planted: Callable[..., Any],
                                  shared: Schedules, monkeypatch: pytest.MonkeyPatch) -> None:
    """The driver can fail: with one rule broken, some schedule names the invariant. (I11 is held by the record itself,
    which cannot be made otherwise.)"""
    monkeypatch.setattr(where, name, planted)
    found = set()
    for seed in range(150):
        try:
            shared.play(moves_of(seed, 40))
        except Broken as error:
            found.add(str(error).partition(" ")[0])
            if invariant in found:
                return
    raise AssertionError(f"{invariant} was not found, but {found}")


def test_every_invariant_has_its_sentence(tmp_path: Path) -> None:
    """The file with what was seen names all of them."""
    told = (Path(__file__).parent / "SCHEDULES.md").read_text("utf-8")
    assert [name for name, sentence in INVARIANTS.items() if f"| {name}: {sentence} |" not in told] == []
