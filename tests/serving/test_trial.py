"""Trials: what a worker counts of a rollout's requests, and when it takes a candidate off by itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from serinus.models import Field, Signature, wrap
from serinus.serving.callers import Callers
from serinus.serving.errors import Cancelled, PredictionFailed, TimedOut
from serinus.serving.request import InferenceRequest
from serinus.serving.rollout import Judgement, Phase, Plan, RolloutRecord
from serinus.serving.rollout.answers import NO_CLASS, answers_in, read_answers
from serinus.serving.rollout.baseline import Baseline
from serinus.serving.rollout.tally import Part, TallyReading, is_owned, read, tallies_in
from serinus.serving.router import Choice, Loaded, Router, Target
from serinus.serving.shadow.slices import LEARNT_FROM
from serinus.serving.trial import Trials
from tests.serving.asgi import ROWS, Line, people_model

WINES = Signature((Field("x", "FP64", (-1,)),), (Field("kind", "BYTES", (-1,), labels=("red", "white")),
                                                 Field("chance", "FP64", (-1, 2))))
PLAN = Plan((1000, 5000), manual=False, judgement=Judgement(shadow=0))
RECORD = RolloutRecord("wine", 3, "r1", Phase.CANARY, PLAN, step_id="r1/0", weight=1000, stable="1", candidate="2")
BASELINE = Baseline("wine", "r1", (10, 20, 30), 10_000, 0, labels=("red", "white"))
FINE = {"kind": np.array(["red"]), "chance": np.array([[0.9, 0.1]])}


class Host:
    """A worker's router and trials, and what it vetoed."""

    def __init__(self, folder: Path) -> None:
        model = wrap(lambda inputs, outputs=None: {}, WINES)
        self.router = Router(lambda name, version: Loaded(model, "test", {}))
        for version in ("1", "2"):
            self.router.load("wine", version)
        self.vetoes: list[tuple[str, str]] = []
        self.folder, self.now_ns = folder, 0
        self.trials = Trials(folder, folder / "pairs", "00ab", 2, lambda model, why: self.vetoes.append((model, why)))

    def follow(self, record: RolloutRecord, baseline: Baseline | None = BASELINE) -> None:
        self.router.flip("wine", Target("1", record.candidate, record.weight, "salt", ()))
        self.trials.attach(self.router, {"wine": record}, {} if baseline is None else {"wine": baseline})

    def ask(self, role: str, outputs: dict[str, np.ndarray] | None = None, error: str = "", took: int = 5,
            key: int = 0, inputs: dict[str, np.ndarray] | None = None, uuid: bytes = b"u" * 16) -> None:
        """One request, from its assignment to its end."""
        route = self.router.routes["wine"]
        arm = route.candidate if role == "candidate" else route.stable
        assert arm is not None and arm.trial is not None
        choice = Choice(arm, "split", key)
        assigned = arm.trial.assign(choice, 1)
        if not error:
            request = InferenceRequest(inputs or {}, 1)
            arm.trial.answered(assigned, choice, request, FINE if outputs is None else outputs, uuid, self.now_ns)
            self.now_ns += 10**9
        arm.trial.settle(assigned, choice, error, took)

    @property
    def reading(self) -> TallyReading:
        (path,) = tallies_in(self.folder)
        return read(path)

    def counts(self, role: str) -> list[int]:
        """Units, failures, errors, invalid and slow ones of an arm."""
        counts = self.reading.counts[-1, int(role == "candidate")]
        return [int(counts[place]) for place in (Part.UNITS, Part.FAILURES, Part.ERRORS, Part.INVALID, Part.LATENCY)]


@pytest.fixture
def host(tmp_path: Path) -> Host:
    made = Host(tmp_path)
    made.follow(RECORD)
    return made


@pytest.mark.parametrize(("case", "counts"), [
    ({}, [1, 0, 0, 0, 0]), ({"took": 15}, [1, 0, 0, 0, 1]),
    ({"error": PredictionFailed.kind}, [1, 1, 1, 0, 0]), ({"error": TimedOut.kind, "took": 15}, [1, 0, 1, 0, 1]),
    ({"error": Cancelled.kind, "took": 15}, [1, 0, 0, 0, 0]),
    ({"outputs": {"kind": np.array(["blue"])}}, [1, 0, 0, 1, 0]),
    ({"outputs": {"chance": np.array([[np.nan, 1.0]])}}, [1, 0, 0, 1, 0]),
    ({"outputs": {"chance": np.array([[np.inf, -np.inf]])}}, [1, 0, 0, 1, 0]),
    ({"outputs": {"chance": np.array([[1e308, 1e308]])}}, [1, 0, 0, 0, 0]),
    ({"outputs": {"chance": np.full((1, 100), np.nan)}}, [1, 0, 0, 1, 0]),
    ({"outputs": {"chance": np.array([np.nan])}}, [1, 0, 0, 1, 0]),
    ({"outputs": {"chance": np.ones((2, 2))}}, [1, 0, 0, 1, 0]),
    ({"outputs": {"chance": np.array(1.0)}}, [1, 0, 0, 1, 0]),
])  # fmt: skip
@pytest.mark.parametrize("role", ["stable", "candidate"])
def test_each_end_of_a_request_is_counted(host: Host, case: dict[str, object], counts: list[int], role: str) -> None:
    """In the arm that it was given to: alike for both."""
    host.ask(role, **case)  # type: ignore[arg-type]
    assert host.counts(role) == counts
    assert host.counts({"stable": "candidate", "candidate": "stable"}[role]) == [0] * 5


def test_a_rollout_is_counted_from_its_first_step_to_its_end(host: Host) -> None:
    """Each step has a window of its own; after the end the tally is given up, and arms know nothing of it."""
    host.ask("candidate")
    host.follow(replace(RECORD, step=1, step_id="r1/1", weight=5000))
    host.ask("candidate")
    assert [window.step for window in host.reading.windows] == [0, 1]
    path = host.reading.path
    host.follow(replace(RECORD, phase=Phase.PROMOTED, stable="2", candidate=None, weight=0))
    assert not is_owned(path)
    assert all(arm.trial is None for arm in host.router.routes["wine"].arms)


def test_requests_that_name_a_version_are_left_out(tmp_path: Path) -> None:
    """By their address or as a listed caller: they were assigned to no arm, so they tell nothing of one."""
    line = Line(tmp_path, {"people": {"1": people_model("1"), "2": people_model("2")}},
                routing={"version_header": "X-Version", "version_callers": ["tester"]})
    line.pipeline.callers = Callers.wanted(line.settings.routing)
    line.serve("people", Target("1", "2", 5_000, "salt", ()))
    trials = Trials(tmp_path / "tallies", tmp_path / "pairs", "00ab", 1, lambda model, why: None)
    record = replace(RECORD, model="people", weight=5_000)
    trials.attach(line.router, {"people": record}, {"people": replace(BASELINE, model="people", labels=())})
    for number in range(10):
        pinned = {"x_routing_key": "tester", "x_version": "2"}
        for path, headers in (("/predict/people", {}), ("/predict/people", {"x_routing_key": f"caller-{number}"}),
                              ("/predict/people", pinned), ("/predict/people/versions/2", {}),
                              ("/predict/people/versions/2", {"x_routing_key": f"caller-{number}"})):
            assert line.call("POST", path, ROWS, **headers).status == 200
    (path,) = tallies_in(tmp_path / "tallies")
    found = read(path)
    assert found.counts[:, :, [Part.UNITS, Part.KEYED]].sum(axis=(0, 1)).tolist() == [10, 10]
    assert len(found.callers) == 10
    trials.close()
    line.close()


@pytest.mark.parametrize(("record", "baseline"), [
    (replace(RECORD, plan=Plan((1000,))), BASELINE), (RECORD, None), (RECORD, replace(BASELINE, rollout_id="r0")),
    (replace(RECORD, weight=0, phase=Phase.SHADOW), BASELINE), (replace(RECORD, candidate=None, weight=0), BASELINE)])
def test_nothing_is_counted_where_nothing_is_judged(tmp_path: Path, record: RolloutRecord,
                                                    baseline: Baseline | None) -> None:
    """A plan by hand, no baseline of this rollout, no share of the requests: not even a file is made."""
    host = Host(tmp_path)
    host.follow(record, baseline)
    assert all(arm.trial is None for arm in host.router.routes["wine"].arms)
    assert tallies_in(tmp_path) == []


def test_answers_are_kept_for_truths_that_come_later(host: Host) -> None:
    """With step, arm, class, key and slices; not those that are no answers."""
    inputs = {"x": np.array([1.0]), "region": np.array(["north"], object)}
    for number in range(LEARNT_FROM):
        host.ask("candidate" if number % 2 else "stable", key=number % 3, inputs=inputs, uuid=number.to_bytes(16))
    host.follow(replace(RECORD, step=1, step_id="r1/1", weight=5000))
    host.ask("candidate", {"kind": np.array(["white"])}, inputs={**inputs, "region": np.array(["south"], object)})
    for outputs in ({"kind": np.array(["blue"])}, {"chance": np.array([[0.5, 0.5]])}):
        host.ask("candidate", outputs)
    host.ask("candidate", error=PredictionFailed.kind)
    ((path,),) = answers_in(host.folder / "pairs").values()
    found = read_answers(path)
    assert found is not None
    assert found.rows["arm"].tolist() == [number % 2 for number in range(LEARNT_FROM)] + [1]
    assert found.rows["key"].tolist() == [number % 3 for number in range(LEARNT_FROM)] + [0]
    assert found.rows[["step", "label"]][-2:].tolist() == [(0, 0), (1, 1)]
    assert found.rows["uuid"][3].tobytes() == (3).to_bytes(16)


@pytest.mark.parametrize("labels", [("red", "white"), ()])
def test_every_answer_is_kept_for_events_that_the_plan_names(tmp_path: Path, labels: tuple[str, ...]) -> None:
    """Of numbers, too, and where a class was not asked for."""
    host, judgement = Host(tmp_path), Judgement(shadow=0, events=("complaint",))
    host.follow(replace(RECORD, plan=Plan((1000,), manual=False, judgement=judgement)),
                replace(BASELINE, labels=labels))
    for outputs in (FINE if labels else {"chance": FINE["chance"]}, {"chance": FINE["chance"]}):
        host.ask("candidate", outputs)
    host.trials.close()
    ((path,),) = answers_in(tmp_path / "pairs").values()
    found = read_answers(path)
    assert found is not None
    assert found.rows["label"].tolist() == ([0, NO_CLASS] if labels else [NO_CLASS, NO_CLASS])


def test_a_worker_vetoes_a_candidate_that_fails_again_and_again(host: Host) -> None:
    """By itself and once, and says why; stable may fail as it likes."""
    for _ in range(20):
        host.ask("stable", error=PredictionFailed.kind)
    assert host.vetoes == []
    for _ in range(5):
        host.ask("candidate", error=PredictionFailed.kind)
    ((model, why),) = host.vetoes
    assert model == "wine"
    assert "fails too often" in why


def test_one_callers_failures_are_one(host: Host) -> None:
    """His input may be what is wrong; other callers count."""
    for _ in range(50):
        host.ask("candidate", error=PredictionFailed.kind, key=8)
    assert host.vetoes == []
    for key in range(5):
        host.ask("candidate", error=PredictionFailed.kind, key=100 + key)
    assert len(host.vetoes) == 1


def test_a_frozen_rollout_is_counted_but_not_vetoed(host: Host) -> None:
    """Nothing automatic happens until a person acts."""
    host.follow(replace(RECORD, phase=Phase.FROZEN, held=Phase.CANARY))
    for _ in range(20):
        host.ask("candidate", error=PredictionFailed.kind)
    assert host.vetoes == []
    assert host.counts("candidate")[1] == 20


def test_a_sound_candidate_is_rarely_vetoed(tmp_path: Path) -> None:
    """200 rollouts of 2,000 calls of a version that fails as often as stable may: at most 1 in 100 is taken off (the
    workers' share of the budget is 1 in 800)."""
    rng = np.random.default_rng(6)
    vetoed = 0
    for number in range(200):
        host = Host(tmp_path / str(number))
        host.follow(RECORD, replace(BASELINE, requests=100_000, errors=1_000))
        observe = _failures(host)
        for failed in rng.random(2_000) < 0.01:
            observe(bool(failed))
        vetoed += bool(host.vetoes)
        host.trials.close()
    assert vetoed <= 2


def _failures(host: Host) -> Callable[[bool], None]:
    arm = host.router.routes["wine"].candidate
    assert arm is not None and arm.trial is not None
    trial, choice = arm.trial, Choice(arm, "split", 0)

    def observe(failed: bool) -> None:
        trial.settle(trial.assign(choice, 1), choice, PredictionFailed.kind if failed else "", 1)

    return observe


def test_a_full_disk_costs_the_counts_and_no_answer(tmp_path: Path) -> None:
    """Where no tally can be made, the rollout has no evidence from this worker, and its requests are answered."""
    blocked = tmp_path / "tallies"
    blocked.write_text("no folder")
    host = Host(blocked)
    host.follow(RECORD)
    host.follow(RECORD)
    assert all(arm.trial is None for arm in host.router.routes["wine"].arms)


def test_both_arms_run_as_the_slower_one_would(host: Host) -> None:
    """Else one of them would run in a thread because of one bad moment, and be slower by that alone."""
    route = host.router.routes["wine"]
    assert route.candidate is not None
    trial = route.stable.trial
    assert trial is not None and trial is route.candidate.trial
    route.stable.expected_ns[1], route.candidate.expected_ns[1] = 5.0, 9.0
    assert (trial.expected_ns(1, 100.0), trial.expected_ns(7, 100.0)) == (9.0, 100.0)
