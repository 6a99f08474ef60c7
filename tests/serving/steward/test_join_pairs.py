"""Ground truth finds its pairs, however late and however often it is said."""

from __future__ import annotations

import time

import pytest

from serinus.serving.ids import IdSource, prediction_id
from serinus.serving.rollout import Judgement, Plan, RolloutRecord, controller
from serinus.serving.rollout.evidence import Pairs
from serinus.serving.rollout.gathering import PAIRS, pairs_of
from serinus.serving.rollout.transitions import RollBack
from serinus.serving.shadow.ledger import LedgerWriter, ledgers_in
from serinus.serving.steward.job import Shared
from serinus.serving.steward.join_pairs import JoinPairs
from serinus.serving.store import GroundTruth
from tests.serving.steward.trials import judged, past_preflight

__all__ = ["judged"]

PLAN = Plan((1000,), manual=False, judgement=Judgement(shadow=1000))
LABELS = ("0", "1")


class Pair:
    """A rollout in its shadow, and pairs of it: stable's class, the candidate's, and whether it is in the slice."""

    def __init__(self, host: Shared, labels: tuple[str, ...] = LABELS) -> None:
        self.host = host
        self.record: RolloutRecord = past_preflight(host, PLAN)
        self.now = 0.0
        self.job = JoinPairs(monotonic=lambda: self.now)
        self._ids = IdSource()
        self._writer = LedgerWriter(host.home.pairs, self.record.rollout_id, "wine", "here-1", labels,
                                    ("region=north",))

    def add(self, stable: float, candidate: float, inside: bool = False) -> str:
        """The prediction's id, of row 3."""
        uuid, _ = self._ids.next(time.time_ns())
        self._writer.append([(uuid, 3, stable, candidate, int(inside))])
        return prediction_id(uuid, 3)

    def say(self, prediction: str, value: object, kind: str = "final", at: float = 0.0) -> None:
        self.host.store.add_ground_truths([GroundTruth(prediction, "crm", kind, value, at, time.time())])

    def joined(self) -> Pairs:
        self.now += 5
        self.job.run(self.host)
        return pairs_of(self.record.rollout_id, self.host.store.documents(PAIRS))[0]


@pytest.fixture
def pair(judged: Shared) -> Pair:
    return Pair(judged)


def test_a_truth_says_which_of_both_was_right(pair: Pair) -> None:
    """Pairs that agree, both wrong ones included, tell nothing but that they are labelled; `1.0` is the class `1`."""
    ids = [pair.add(0, 1, inside=True), pair.add(1, 0), pair.add(0, 0), pair.add(1, 1), pair.add(0, 1)]
    assert pair.joined() == Pairs(slices={"region=north": (0, 0)})
    for prediction in ids[:4]:
        pair.say(prediction, 0)
    found = pair.joined()
    assert (found.labelled, found.candidate_wrong, found.stable_wrong) == (4, 1, 1)
    assert found.slices == {"region=north": (1, 0)}
    pair.say(ids[4], 1.0)
    assert (pair.joined().labelled, pair.joined().stable_wrong) == (5, 2)


def test_a_revised_truth_counts_as_it_stands(pair: Pair) -> None:
    """Also one that is taken back."""
    prediction = pair.add(0, 1)
    pair.say(prediction, 0, at=1.0)
    assert pair.joined().candidate_wrong == 1
    pair.say(prediction, 1, "revision", at=2.0)
    found = pair.joined()
    assert (found.candidate_wrong, found.stable_wrong) == (0, 1)
    pair.say(prediction, None, "retract", at=3.0)
    assert pair.joined().labelled == 0


def test_another_steward_comes_to_the_same(pair: Pair) -> None:
    """Nothing is remembered that is not in ledger and store; what is told is always a whole round."""
    for number in range(1_200):
        pair.say(pair.add(0, number % 2), 0)
    whole = pair.joined()
    assert (whole.labelled, whole.candidate_wrong) == (1_200, 600)
    moments = iter(range(10**6))  # every second look at the clock is past the budget
    pair.job = JoinPairs(budget_s=1.5, monotonic=lambda: pair.now + next(moments))
    for _ in range(4):
        assert pair.joined() == whole


def test_a_ledger_goes_with_its_rollout(pair: Pair) -> None:
    """Once nothing is judged by it any more."""
    pair.add(0, 1)
    pair.joined()
    assert ledgers_in(pair.host.home.pairs)
    controller.decide(pair.host.store, "wine", RollBack(actor="ana", reason="enough"), now=time.time())
    pair.joined()
    assert not ledgers_in(pair.host.home.pairs)


def test_numbers_are_wrong_that_are_further_off_than_stable_mostly_was(judged: Shared) -> None:
    """The first hundred pairs with a truth say how far that is, and count no more; what is no number is far off."""
    pair = Pair(judged, labels=())
    for number in range(99):
        pair.say(pair.add(10 + number / 10, 10.0), 10)
    assert pair.joined() == Pairs()
    pair.say(pair.add(10 + 9.9, 10.0), 10)
    assert pair.joined() == Pairs(slices={"region=north": (0, 0)})  # 8 is what four in five of stable's stay within
    for stable, candidate, inside in ((10, 19, True), (19, 10, False), (19, 19, False), (17, 11, False),
                                      (10, float("nan"), False)):
        pair.say(pair.add(stable, candidate, inside), "10")
    pair.say(pair.add(10, 99), "no number")
    found = pair.joined()
    assert (found.labelled, found.candidate_wrong, found.stable_wrong) == (5, 2, 1)
    assert found.slices == {"region=north": (1, 0)}
    pair.job = JoinPairs(monotonic=lambda: pair.now)
    assert pair.joined() == found, "another steward measures by the same"
