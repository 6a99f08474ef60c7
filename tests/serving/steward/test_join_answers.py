"""Ground truth finds what both arms of a rollout answered, and a less accurate candidate is taken off by it."""

from __future__ import annotations

import time
import uuid
from dataclasses import replace

import pytest

from serinus.serving.ids import IdSource, prediction_id
from serinus.serving.rollout import Judgement, Phase, Plan, RolloutRecord, controller
from serinus.serving.rollout.answers import NO_CLASS, AnswerWriter, Given, answers_in, blank_answers
from serinus.serving.rollout.gathering import TRUTHS, Counted, gather
from serinus.serving.rollout.tally import Window
from serinus.serving.rollout.transitions import RollBack
from serinus.serving.steward.job import Shared
from serinus.serving.steward.join_answers import JoinAnswers
from serinus.serving.steward.judge_rollouts import JudgeRollouts
from serinus.serving.store import GroundTruth
from tests.serving.steward.trials import PLAN, baseline_for, judged, past_preflight

__all__ = ["judged"]

LABELS = ("0", "1")


class Answers:
    """A canary of `wine` 2, and what a worker kept of it."""

    def __init__(self, host: Shared, plan: Plan = PLAN, labels: tuple[str, ...] = LABELS) -> None:
        self.host, self.record, self.labels = host, past_preflight(host, plan), labels
        self.baseline = baseline_for(host, self.record)
        self.now = 0.0
        self.job = JoinAnswers(monotonic=lambda: self.now)
        self._ids = IdSource()
        self._writers: dict[str, AnswerWriter] = {}

    def give(self, arm: int, label: int, *, key: int = 0, step: int = 0, bucket: int = 3_000_000, region: str = "south",
             worker: str = "00aa") -> str:
        """An answer's prediction id."""
        if worker not in self._writers:
            self._writers[worker] = AnswerWriter(self.host.home.pairs, self.record.rollout_id, worker, "wine",
                                                 self.labels, any_answer=not self.labels)
        uuid, _ = self._ids.next(time.time_ns())
        self._writers[worker].add(Given(uuid, key, label, Window(step, bucket), arm), {"region": region})
        return prediction_id(uuid, 0)

    def say(self, prediction: str, value: object, kind: str = "final", at: float = 0.0, name: str = "") -> None:
        self.host.store.add_ground_truths([GroundTruth(prediction, "crm", kind, value, at, time.time(), name)])

    def joined(self) -> dict[str, tuple[int, int, int, int]]:
        """By check: the candidate's wrong answers, its answers with a truth, and stable's."""
        for writer in self._writers.values():
            writer.close()
        self._writers = {}
        self.now += 5
        self.job.run(self.host)
        counted = Counted.of(self.record.rollout_id, {}, (), self.host.store.documents(TRUTHS))
        evidence = gather(self.record, counted, self.baseline, elapsed_s=0, silent_s=0)
        found: dict[str, tuple[int, int, int, int]] = {}
        for window in evidence.windows:
            for name, arms in window.events.items():
                if name.startswith(("ground_truth", "slices", "events")):
                    before = found.get(name, (0, 0, 0, 0))
                    found[name] = tuple(a + b for a, b in zip(before, arms, strict=True))  # type: ignore[assignment]
        return found


@pytest.fixture
def answers(judged: Shared) -> Answers:
    return Answers(judged)


def test_a_truth_says_whether_an_answer_was_right(answers: Answers) -> None:
    """`1.0` is the class `1`; what has no truth counts nowhere; a truth that is revised counts as it stands."""
    ids = [answers.give(1, 0), answers.give(1, 1), answers.give(0, 0), answers.give(0, 1), answers.give(0, 1)]
    assert answers.joined() == {}
    for prediction in ids[:4]:
        answers.say(prediction, 1.0, at=1.0)
    assert answers.joined() == {"ground_truth": (1, 2, 1, 2)}
    answers.say(ids[0], 1, at=1.0)
    answers.say(ids[2], None, "retract", at=2.0)
    assert answers.joined() == {"ground_truth": (1, 2, 0, 1)}
    answers.say(ids[1], 0, "revision", at=3.0)
    assert answers.joined() == {"ground_truth": (2, 2, 0, 1)}


def test_a_caller_counts_once_over_all_workers(answers: Answers) -> None:
    """His first wrong answer, and one answer of each arm; who has no key counts with every request."""
    for number in range(6):
        answers.say(answers.give(number % 2, 0, key=9, worker=f"00a{number}"), 1)
    assert answers.joined() == {"ground_truth": (0, 1, 1, 1)}
    for number in range(6):
        answers.say(answers.give(number % 2, 0, worker=f"00b{number}"), 1)
    assert answers.joined() == {"ground_truth": (3, 4, 4, 4)}


def test_truths_belong_to_the_step_of_their_request(answers: Answers) -> None:
    """However late they come."""
    answers.say(answers.give(1, 0, step=0), 1)
    answers.say(answers.give(1, 0, step=1, bucket=3_000_001), 1)
    answers.joined()
    (document,) = answers.host.store.documents(TRUTHS)
    assert b'[0,3000000,"ground_truth",1,1]' in document.body
    assert b'[1,3000001,"ground_truth",1,1]' in document.body


def test_slices_are_told_apart(answers: Answers) -> None:
    """By the inputs that each worker saw; the slice in which the candidate is worse is named."""
    for number in range(200):
        region = "north" if number % 10 == 0 else "south"
        answers.say(answers.give(number % 2, 0, region=region), int(region == "north"))
    found = answers.joined()
    assert found["slices:region=north"] == (0, 0, 20, 20)
    assert found["slices:region=south"] == (0, 100, 0, 80)


def test_a_less_accurate_candidate_is_rolled_back(answers: Answers) -> None:
    """Wrong in 30 of 100 where stable is in 45 of 900; and the answers are forgotten then."""
    for arm, number, wrong in ((1, 100, 30), (0, 900, 45)):
        for index in range(number):
            answers.say(answers.give(arm, 0), int(index < wrong))
    answers.joined()
    JudgeRollouts().run(answers.host)
    record = answers.host.store.record("wine")
    assert record is not None
    assert record.phase is Phase.ROLLING_BACK
    assert "ground_truth: 30 of 100 against 45 of 900" in record.reason
    answers.joined()
    assert not answers_in(answers.host.home.pairs)


@pytest.fixture
def events(judged: Shared) -> Answers:
    """A model that gives numbers, tried by a plan that names two kinds of events."""
    judgement = replace(PLAN.judgement or Judgement(), events=("complaint",), wanted_events=("click",))
    return Answers(judged, replace(PLAN, judgement=judgement), labels=())


def test_outcome_events_are_counted_in_both_arms(events: Answers) -> None:
    """Every answer is a unit, a caller counts once, however often he complains; other events count nowhere, and what
    was erased is no unit."""
    ids = [events.give(arm, NO_CLASS, key=key) for arm, key in ((1, 0), (1, 0), (0, 0), (0, 9), (0, 9))]
    assert events.joined() == {"events:complaint": (0, 2, 0, 2), "events:click": (0, 2, 0, 2)}
    for prediction in (ids[0], ids[3], ids[4], ids[4]):
        events.say(prediction, 1.0, "event", name="complaint")
    events.say(ids[1], 3.0, "event", name="click")
    events.say(ids[2], 5.0, "event", name="revenue")
    assert events.joined() == {"events:complaint": (1, 2, 1, 2), "events:click": (1, 2, 0, 2)}
    (path,) = answers_in(events.host.home.pairs)[events.record.rollout_id]
    assert blank_answers(path, {(uuid.UUID(ids[0][:36]).bytes, 0)}) == 1
    assert events.joined() == {"events:complaint": (0, 1, 1, 2), "events:click": (1, 1, 0, 2)}


@pytest.mark.parametrize(("name", "often", "reason"), [
    ("complaint", (30, 45), "events:complaint: 30 of 100 against 45 of 900"),
    ("click", (5, 450), "events:click: 5 of 100 against 450 of 900")])
def test_a_candidate_is_rolled_back_for_its_outcome_events(name: str, often: tuple[int, int], reason: str,
                                                           events: Answers) -> None:
    """For more complaints than stable's answers have, and for fewer clicks."""
    for arm, number, with_event in ((1, 100, often[0]), (0, 900, often[1])):
        for index in range(number):
            prediction = events.give(arm, NO_CLASS)
            if index < with_event:
                events.say(prediction, 1.0, "event", name=name)
    events.joined()
    JudgeRollouts().run(events.host)
    record = events.host.store.record("wine")
    assert record is not None
    assert (record.phase, reason in record.reason) == (Phase.ROLLING_BACK, True)


def test_a_round_may_take_several_turns(answers: Answers) -> None:
    """Another steward comes to the same."""
    for number in range(1_200):
        answers.say(answers.give(number % 2, 0), number % 4 == 0)
    whole = answers.joined()
    assert whole == {"ground_truth": (0, 600, 300, 600)}
    moments = iter(range(10**6))  # every second look at the clock is past the budget
    answers.job = JoinAnswers(budget_s=1.5, monotonic=lambda: answers.now + next(moments))
    for _ in range(4):
        assert answers.joined() == whole


def test_an_old_rollouts_truths_count_for_no_other(answers: Answers) -> None:
    """Its document stays until the next one is told, and is passed over."""
    answers.say(answers.give(1, 0), 1)
    assert answers.joined() == {"ground_truth": (1, 1, 0, 0)}
    controller.decide(answers.host.store, "wine", RollBack(actor="ana", reason="enough"), now=time.time())
    answers.record = RolloutRecord(**{**{name: getattr(answers.record, name) for name in
                                         RolloutRecord.__slots__}, "rollout_id": "next"})
    assert answers.joined() == {}
