"""The preflight: a candidate that is not fit never gets a request, and a fit one not before everything is ready."""

from __future__ import annotations

import shutil
import time as clocks
from collections.abc import Iterator
from dataclasses import replace

import orjson
import pytest

from serinus.models import register
from serinus.serving.board import Board, Labels
from serinus.serving.errors import ControlRefused
from serinus.serving.rollout import Phase, RolloutRecord, controller, verdicts
from serinus.serving.rollout.baseline import read_baselines
from serinus.serving.steward.commands import perform
from serinus.serving.steward.job import Shared
from serinus.serving.steward.preflight import Preflight, baseline_of
from tests.serving.steward.hosts import worker
from tests.serving.steward.trials import PLAN, judged, trying

__all__ = ["judged"]

ANSWERED = Labels("wine", "1", "stable", "/predict", "POST", 200, "")


@pytest.fixture
def board(judged: Shared, monkeypatch: pytest.MonkeyPatch) -> Iterator[Board]:
    """One living worker that has loaded stable."""
    judged.run.settings.write_text(judged.settings.model_dump_json())
    monkeypatch.setenv("SERINUS_SETTINGS", str(judged.run.settings))
    made = worker(judged, 1)
    made.level("loaded", "wine", "1", amount=1)
    yield made


def answer(board: Board, number: int) -> None:
    """Stable answers so many requests, in 7 ms each."""
    for _ in range(number):
        board.count(board.base(ANSWERED), 7_000_000, 1, 1)


def check(host: Shared, job: Preflight, *phases: Phase, board: Board | None = None) -> RolloutRecord:
    """Let the job work until the rollout is in one of these phases, while stable answers on `board`."""
    until = clocks.monotonic() + 30
    while True:
        job.run(host)
        if board is not None:
            answer(board, 50)
        record = host.store.record("wine")
        assert record is not None
        if record.phase in phases:
            return record
        assert clocks.monotonic() < until, verdicts.read(host.store, "wine")
        clocks.sleep(0.05)


def reason(host: Shared) -> str:
    latest = verdicts.read(host.store, "wine")
    return "" if latest is None else str(latest["reason"])


def test_a_fit_candidate_starts_when_everything_is_ready(judged: Shared, board: Board) -> None:
    """Not before every worker has loaded it; then with a baseline that the workers of the host know."""
    record, job = trying(judged), Preflight()
    job.run(judged)
    assert reason(judged) == "0 of 1 workers have loaded it."
    board.level("loaded", "wine", "2", amount=1)
    answer(board, 100)
    found = check(judged, job, Phase.CANARY, board=board)
    assert (found.weight, found.actor) == (1000, judged.holder)
    baseline = baseline_of(judged, record)
    assert baseline is not None
    assert baseline.requests >= 300 and baseline.errors == 0
    assert baseline.thresholds_ns[0] == 7_500_000
    assert read_baselines(judged.home.baselines) == {"wine": baseline}
    last = judged.store.journal("wine")[-1]
    assert "Nothing was logged" in last.reason
    assert last.body["baseline"]["requests"] == baseline.requests


def test_stable_must_have_answered_enough(judged: Shared, board: Board) -> None:
    """For five minutes that is waited for; then the rollout goes on without a comparison of latency, and says so."""
    board.level("loaded", "wine", "2", amount=1)
    now = clocks.time()
    trying(judged, now=now)
    answer(board, 1000)  # before anybody looked
    job = Preflight(lambda: now)
    until = clocks.monotonic() + 30
    while "0 of the 200" not in reason(judged) and clocks.monotonic() < until:
        job.run(judged)
        clocks.sleep(0.05)
    answer(board, 150)
    now += 299
    job.run(judged)
    assert "150 of the 200" in reason(judged)
    now += 2
    assert check(judged, job, Phase.CANARY).phase is Phase.CANARY
    assert "latency: stable had answered too little" in str(judged.store.journal("wine")[-1].body["text"])
    assert read_baselines(judged.home.baselines)["wine"].thresholds_ns == ()


def test_a_candidate_that_cannot_be_loaded_is_turned_away(judged: Shared, board: Board) -> None:
    """With the reason in the journal; nothing is quarantined, it may have been the memory."""
    board.level("unloadable", "wine", "2", amount=1)
    trying(judged)
    found = check(judged, Preflight(), Phase.REJECTED)
    assert "could not be loaded" in found.reason and "1 of 1 workers" in found.reason
    assert (found.candidate, found.quarantined) == (None, ())


def test_a_candidate_that_was_replaced_meanwhile_is_turned_away(judged: Shared, board: Board) -> None:
    """What was started is what is tried."""
    controller.start(judged.store, "wine", "2", "sha256:other", PLAN, "ana", now=clocks.time())
    assert "was replaced meanwhile" in check(judged, Preflight(), Phase.REJECTED).reason


def test_a_candidate_that_is_gone_is_turned_away(judged: Shared, board: Board) -> None:
    """The registry says so."""
    trying(judged)
    shutil.rmtree(judged.home.path / "models" / "wine" / "2")
    assert "2" in check(judged, Preflight(), Phase.REJECTED).reason


def test_a_candidate_with_other_inputs_is_turned_away(judged: Shared, board: Board) -> None:
    """It could not answer what callers send."""
    from sklearn.dummy import DummyRegressor

    register(DummyRegressor().fit([[0.0, 1.0]], [1.0]), "wine", home=judged.home.path)
    digest = judged.registry.get("wine", "3").digest
    controller.start(judged.store, "wine", "3", digest, PLAN, "ana", now=clocks.time())
    assert "cannot answer every request" in check(judged, Preflight(), Phase.REJECTED).reason


def test_only_the_leading_steward_checks(judged: Shared, board: Board) -> None:
    """The others tell their workers the baselines."""
    board.level("loaded", "wine", "2", amount=1)
    record = trying(judged)
    lease, judged.lease = judged.lease, None
    for _ in range(3):
        Preflight().run(judged)
    assert judged.store.record("wine") == record
    judged.lease = lease
    check(judged, Preflight(), Phase.CANARY, board=board)
    judged.home.baselines.unlink()
    judged.lease = None
    Preflight().run(judged)
    assert "wine" in read_baselines(judged.home.baselines)


def test_without_a_server_it_waits(judged: Shared) -> None:
    """For a worker to load it."""
    trying(judged)
    Preflight().run(judged)
    assert reason(judged) == "0 of 0 workers have loaded it."


def evaluated(host: Shared, verdict: str) -> None:
    """Keep an evaluation with version 2."""
    gate = {"verdict": verdict, "data": "test.csv", "sentence": "Accuracy fell.", "at": verdict}
    host.registry.attach(host.registry.get("wine", "2"), {f"gates/{verdict}/gate.json": orjson.dumps(gate)})


def started(host: Shared, gate: str = "no_fail", **more: object) -> RolloutRecord:
    """Start version 2 as a person does."""
    plan = replace(PLAN, judgement=replace(PLAN.judgement, gate=gate))  # type: ignore[type-var]
    return perform(host.store, host.registry, "wine", {"verb": "start", "version": "2", "plan": plan, "actor": "ana",
                                                       **more}).record


@pytest.mark.parametrize(("verdict", "gate", "sentence"), [
    ("fail", "no_fail", "The evaluation of wine:2 on test.csv fails: Accuracy fell."),
    ("undecided", "pass", "The evaluation of wine:2 on test.csv does not decide: Accuracy fell."),
    (None, "pass", "wine:2 was never evaluated, and its plan wants that it passes.")])
def test_a_version_that_fails_its_evaluation_is_refused(judged: Shared, board: Board, verdict: str | None, gate: str,
                                                        sentence: str) -> None:
    """Unless a person answers for it, which stands in the journal; also where only the preflight could see it."""
    if verdict is not None:
        evaluated(judged, verdict)
    with pytest.raises(ControlRefused) as raised:
        started(judged, gate)
    assert str(raised.value) == f"{sentence} Evaluate it anew, or use --force to answer for it yourself."
    started(judged, gate, force=True)
    Preflight().run(judged)
    assert "workers have loaded it" in reason(judged)
    assert judged.store.journal("wine")[-1].body["objection"] == sentence
    controller.abort(judged.store, "wine", "ana", now=clocks.time())
    plan = replace(PLAN, judgement=replace(PLAN.judgement, gate=gate))  # type: ignore[type-var]
    record = judged.store.record("wine")
    assert record is not None
    controller.acknowledge(judged.store, "wine", record.generation, "ana", now=clocks.time())
    trying(judged, plan)
    assert check(judged, Preflight(), Phase.REJECTED).reason == sentence


@pytest.mark.parametrize(("verdict", "gate", "said"), [
    (None, "no_fail", "Not known: it was never evaluated."), ("pass", "pass", "10 %."),
    ("undecided", "no_fail", "Not known: its evaluation does not decide."), ("fail", "ignore", "plan answers for it.")])
def test_what_its_evaluation_leaves_open_is_said(judged: Shared, board: Board, verdict: str | None, gate: str,
                                                 said: str) -> None:
    """In the journal, where it gets its first request."""
    if verdict is not None:
        evaluated(judged, verdict)
    board.level("loaded", "wine", "2", amount=1)
    started(judged, gate)
    check(judged, Preflight(), Phase.CANARY, board=board)
    assert str(judged.store.journal("wine")[-1].body["text"]).endswith(said)
