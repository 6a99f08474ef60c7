"""The shadow's process is kept alive while it is wanted, and what it dies of is laid at the right door."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace

import orjson
import pytest

from serinus.serving.home import RunFolder
from serinus.serving.rollout import Judgement, Plan, RolloutRecord
from serinus.serving.rollout.gathering import PAIRS, pairs_of
from serinus.serving.shadow.pairs import PairCounts
from serinus.serving.shadow.published import PREDICT, Mark, ShadowFiles
from serinus.serving.steward.job import Shared
from serinus.serving.steward.keep_shadow import KeepShadow
from serinus.serving.veto import cast_veto, read_vetoes
from tests.serving.steward.trials import judged, past_preflight, trying

__all__ = ["judged"]

PLAN = Plan((1000,), manual=False, judgement=Judgement(shadow=1000))


class Keeper:
    """The job with a clock of its own; its shadow says it is in a call of `rollout_id`, and sleeps."""

    def __init__(self, host: Shared) -> None:
        self.host, self.now = host, 0.0
        self.rollout_id = ""
        self.children: list[subprocess.Popen[bytes]] = []
        self.job = KeepShadow(self._start, lambda: self.now)
        self.files = ShadowFiles(host.run.shadow)

    def _start(self, run: RunFolder) -> subprocess.Popen[bytes]:
        mark = Mark(self.files.mark)
        if self.rollout_id:
            mark.set(PREDICT, self.rollout_id)
        self.children.append(subprocess.Popen(["sleep", "60"]))
        return self.children[-1]

    def turn(self, seconds: float = 2.0) -> None:
        self.now += seconds
        self.job.run(self.host)

    def kill(self) -> None:
        self.children[-1].kill()
        self.children[-1].wait()
        self.turn(0)

    def died(self, record: RolloutRecord) -> int:
        return pairs_of(record.rollout_id, self.host.store.documents(PAIRS))[1]

    def end(self) -> None:
        for child in self.children:
            child.kill()
            child.wait()


@pytest.fixture
def keeper(judged: Shared) -> Iterator[Keeper]:
    made = Keeper(judged)
    yield made
    made.end()


def test_it_runs_while_a_rollout_wants_it(keeper: Keeper) -> None:
    """Not before the shadow's phase; one process, however often one looks; none any more after a veto."""
    trying(keeper.host, PLAN)
    keeper.turn()
    assert not keeper.children
    cast_veto(keeper.host.home, "wine", actor="ana", reason="enough")
    keeper.turn()
    assert not keeper.children


def test_a_death_in_a_call_is_the_candidates_and_the_third_takes_it_off(keeper: Keeper) -> None:
    """Each is a pair in which the candidate alone failed."""
    record = past_preflight(keeper.host, PLAN)
    keeper.rollout_id = record.rollout_id
    keeper.turn()
    for number in (1, 2, 3):
        assert "wine" not in read_vetoes(keeper.host.home.vetoes).by_model
        assert len(keeper.children) == number
        keeper.kill()
        keeper.turn()
    veto = read_vetoes(keeper.host.home.vetoes).by_model["wine"]
    assert (veto.version, veto.stable) == ("2", "1")
    pairs, died = pairs_of(record.rollout_id, keeper.host.store.documents(PAIRS))
    assert (pairs.pairs, pairs.candidate_failed, died) == (3, 3, 3)
    keeper.turn(100)
    assert len(keeper.children) == 3


def test_any_other_death_is_nobodys_and_is_followed_by_longer_and_longer_pauses(keeper: Keeper) -> None:
    """0.5 s, then 1 s, then 2 s."""
    record = past_preflight(keeper.host, PLAN)
    keeper.turn()
    for pause in (0.5, 1.0, 2.0):
        keeper.kill()
        before = len(keeper.children)
        keeper.turn(pause - 0.1)
        assert len(keeper.children) == before
        keeper.turn(0.2)
        assert len(keeper.children) == before + 1
    keeper.turn()
    assert keeper.died(record) == 0


def test_a_call_that_sleeps_past_its_deadline_is_ended(keeper: Keeper) -> None:
    """And counted like a death in it; one that only waits for the processor has ten times as long."""
    settings = keeper.host.settings
    keeper.host.settings = settings.model_copy(
        update={"shadow": settings.shadow.model_copy(update={"deadline_seconds": 0.05})})
    record = past_preflight(keeper.host, PLAN)
    keeper.rollout_id = record.rollout_id
    keeper.turn()
    time.sleep(0.1)
    keeper.turn()
    assert keeper.children[0].wait(5) == -signal.SIGKILL
    keeper.turn(0)
    keeper.turn()
    assert keeper.died(record) == 1


def test_it_ends_with_the_rollout(keeper: Keeper) -> None:
    """It is asked to end, once, and no other is begun."""
    past_preflight(keeper.host, PLAN)
    for _ in range(3):
        keeper.turn()
    (child,) = keeper.children
    assert child.poll() is None
    cast_veto(keeper.host.home, "wine", actor="ana", reason="enough")
    keeper.turn()
    assert (child.returncode, len(keeper.children)) == (-signal.SIGTERM, 1)


def test_pairs_are_told_to_the_store_and_forgotten_after_the_next_rollout(keeper: Keeper) -> None:
    """What is told grows with what is published; an older rollout's is let go."""
    record = past_preflight(keeper.host, PLAN)
    keeper.turn()
    counts = PairCounts(record.rollout_id, "wine", "1", "2", ("red",), pairs=5)
    for number in (5, 9):
        keeper.files.publish([replace(counts, pairs=number), replace(counts, rollout_id="older")], {})
        keeper.turn()
        assert pairs_of(record.rollout_id, keeper.host.store.documents(PAIRS))[0].pairs == number
    (document,) = keeper.host.store.documents(PAIRS)
    keeper.host.store.put_document(replace(document, key="wine/elsewhere", revision=1,
                                           body=orjson.dumps({"rollout_id": "older"})), expected_revision=0)
    keeper.turn()
    assert [each.key for each in keeper.host.store.documents(PAIRS)] == [document.key]


def test_a_mark_of_an_earlier_stewards_shadow_blames_nobody(keeper: Keeper) -> None:
    """A shadow ends with its steward, perhaps in a call; the next one's death is judged by its own mark."""
    record = past_preflight(keeper.host, PLAN)
    keeper.host.run.shadow.mkdir(parents=True)
    earlier = Keeper(keeper.host)
    earlier.rollout_id = record.rollout_id
    earlier.turn()
    earlier.end()
    keeper.turn()
    keeper.kill()
    keeper.turn()
    assert keeper.died(record) == 0
