"""Shadows on a real server with two workers: several at once, and what goes wrong in them touches no answer.

The prediction log is off, so that no preflight finds in logged requests what is to be seen in the shadow.
"""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from serinus.models import register
from serinus.models.registry import Registry
from serinus.serving.rollout import Judgement, Plan, controller
from serinus.serving.rollout.evidence import Pairs
from serinus.serving.rollout.gathering import PAIRS, pairs_of
from serinus.serving.rollout.state import RolloutRecord
from serinus.serving.store import SqliteStore
from tests.integration.client import Answer, Client, Crowd
from tests.integration.server import USER_CODE, Server, eventually, metric

LONG = Judgement(shadow=5000, shadow_pairs=10**6, shadow_s=3600)
SHORT = Judgement(shadow=5000, shadow_pairs=60, shadow_s=1, step_s=3600)
CANDIDATES: dict[str, dict[str, Any]] = {
    "sound": {"yes": 0.2001}, "wrong": {"fault": "other"}, "crashing": {"fault": "crash"}}


class Trial:
    """A server on which every candidate is in a shadow, and people who ask all of them."""

    def __init__(self, server: Server, store: SqliteStore) -> None:
        self.server = server
        self.store = store
        self.crowds: dict[str, Crowd] = {}
        self.outcomes: list[dict[str, str]] = []
        """What became of the predictions of `wrong`: stable is always right."""
        self.strange = threading.Event()
        """From when on the rows come that the crashing candidate cannot stand."""

    def asker(self, model: str) -> Any:
        rng = random.Random(model)

        def ask(client: Client, number: int) -> Answer:
            strange = model == "crashing" and self.strange.is_set()
            row = rng.random() + (1000 if strange else 0)
            answer = client.post(f"/predict/{model}", {"rows": [[row]]})
            if model == "wrong":
                (prediction,) = answer.json()["prediction_ids"]
                self.outcomes.append({"prediction_id": prediction, "value": "yes" if row < 0.2 else "no"})
            return answer

        return ask

    def record(self, model: str) -> RolloutRecord:
        record = self.store.record(model)
        assert record is not None
        return record

    def pairs(self, model: str) -> tuple[Pairs, int]:
        return pairs_of(self.record(model).rollout_id, self.store.documents(PAIRS))

    def told(self, model: str) -> str:
        return f"{self.pairs(model)}\n{self.record(model)}\n{self.server.output()[-3000:]}"

    def wait(self, model: str, phase: str) -> None:
        eventually(lambda: self.record(model).phase == phase, 60, lambda: self.told(model))


@pytest.fixture(scope="module")
def trial(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trial]:
    """All shadows at once, in one process."""
    folder = tmp_path_factory.mktemp("shadow")
    with pytest.MonkeyPatch.context() as patch, ExitStack() as stack:
        patch.syspath_prepend(str(USER_CODE))
        digests = {name: _register(folder / "home", name, candidate) for name, candidate in CANDIDATES.items()}
        server = stack.enter_context(Server(folder / "home", folder, environ={
            "SERINUS_SHADOW_PRIORITY": "normal", "SERINUS_LOG_ENABLED": "false"}))
        store = SqliteStore(server.home.store, create=False)
        made = Trial(server, store)
        for name in CANDIDATES:
            plan = Plan((1000,), manual=False, judgement=SHORT if name == "sound" else LONG)
            controller.start(store, name, "2", digests[name], plan, "tester", now=time.time())
            made.crowds[name] = stack.enter_context(
                Crowd([server.client() for _ in range(2)], made.asker(name), pause=0.01))
        yield made


def _register(home: Path, name: str, candidate: dict[str, Any]) -> str:
    from faulty import Faulty

    for version in ({}, candidate):
        register(Faulty(**version).fit([[0.0], [1.0]], ["no", "yes"]), name, home=home)
    return Registry(home).get(name, "2").digest


def test_a_sound_version_leaves_its_shadow_for_its_first_callers(trial: Trial) -> None:
    """Pairs are counted by class and reach the judgement."""
    trial.wait("sound", "canary")
    pairs, died = trial.pairs("sound")
    assert pairs.pairs >= SHORT.shadow_pairs
    assert (pairs.candidate_failed, pairs.stable_failed, died) == (0, 0, 0)
    assert set(pairs.flips) == {"no", "yes"}


@pytest.mark.slow
def test_a_shadow_that_is_killed_is_nobodys_fault(trial: Trial) -> None:
    """It is started again, the pairs go on where they were, and no candidate is blamed."""
    eventually(lambda: trial.pairs("wrong")[0].pairs > 20, 30, lambda: trial.told("wrong"))
    (before,) = trial.server.find("serinus.serving.shadow")
    os.kill(before, signal.SIGKILL)
    eventually(lambda: before not in trial.server.find("serinus.serving.shadow"), 10)
    time.sleep(1.2)  # what it told last is in the store
    known = trial.pairs("wrong")[0].pairs
    assert known > 20
    eventually(lambda: trial.pairs("wrong")[0].pairs > known, 30, lambda: trial.told("wrong"))
    assert trial.pairs("wrong")[1] <= 1, "unless it was just in a call"


def test_late_truth_finds_its_pairs_and_a_worse_version_never_meets_a_caller(trial: Trial) -> None:
    """The candidate says "yes" as often, and to the wrong rows: only its pairs with ground truth tell."""
    with trial.server.client() as client:
        while trial.record("wrong").phase == "shadow":
            outcomes, trial.outcomes = trial.outcomes, []
            if outcomes:
                assert client.post("/api/ground-truth", outcomes).status == 202
            time.sleep(0.5)
        text = client.get("/metrics").body.decode()
    assert trial.record("wrong").phase in ("rolling_back", "rolled_back"), trial.told("wrong")
    pairs, _ = trial.pairs("wrong")
    assert pairs.stable_wrong == 0 < pairs.candidate_wrong < pairs.labelled
    assert {answer.version for answer in trial.crowds["wrong"].answers()} == {"1"}
    assert metric(text, "serinus_shadow_disagreements_total", serinus_model_name="wrong") > 0
    assert metric(text, "serinus_shadow_share", serinus_model_name="crashing") > 0


def test_a_version_that_kills_its_shadow_is_taken_off_and_no_answer_was_touched(trial: Trial) -> None:
    """Every death counts against it; the third takes it off. All people got all their answers, from stable."""
    eventually(lambda: trial.pairs("crashing")[0].pairs > 0, 30, lambda: trial.told("crashing"))
    trial.strange.set()
    trial.wait("crashing", "rolled_back")
    _, died = trial.pairs("crashing")
    assert 1 <= died <= 3
    exchanges = trial.crowds["crashing"].exchanges
    assert all(exchange.answer is not None for exchange in exchanges)
    assert {(answer.status, answer.version) for answer in trial.crowds["crashing"].answers()} == {(200, "1")}
    assert len(trial.server.ready_workers()) == 2
