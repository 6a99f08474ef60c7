"""Rollouts that judge themselves, on a real server with two workers: a sound version is promoted, a bad one stopped.

Nothing but the plan's step lengths is made shorter. The prediction log is off where a version is to pass its preflight
although it is bad: what depends on chance alone would be seen in the replay already.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from itertools import count, repeat
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pandas as pd
import pytest

from serinus.models import register
from serinus.models.registry import Registry
from serinus.models.version import ModelVersion
from serinus.serving.rollout import Judgement, Plan, RolloutRecord, controller
from serinus.serving.store import JournalEntry, SqliteStore
from tests.integration.client import Answer, Client, Crowd
from tests.integration.conftest import Start
from tests.integration.server import USER_CODE, Server, eventually

QUICK = Judgement(shadow=0, step_s=3, step_units=50, patience_s=60)
PLAN = Plan((1000, 5000), manual=False, judgement=QUICK)
THOROUGH = Plan((1000, 5000), manual=False, judgement=replace(QUICK, step_units=2000))
DETECTING = Plan((1000, 5000), manual=False, judgement=replace(QUICK, certify_from=10_000, step_units=20))
EVERY_PHASE = Plan((1000, 5000), manual=False, judgement=replace(
    QUICK, shadow=5000, shadow_s=2, shadow_pairs=20, soak_s=4, certify_from=10_000, step_units=20))
AT_ONCE = {"SERINUS_LOG_ENABLED": "false", "SERINUS_SHADOW_PRIORITY": "normal"}
CLIENTS, PAUSE_S = 4, 0.02
CALLERS = 2_000
LUCKY = next(seed for seed in count() if min(map(Random.random, repeat(Random(seed), 60))) > 0.05)
"""With it, nothing strikes while a version is registered, which would make it one of another signature."""


@dataclass(frozen=True)
class Kind:
    """What stable is like, what the candidate is like, and what its journal must say."""

    stable: dict[str, Any]
    candidate: dict[str, Any]
    said: str
    plan: Plan = PLAN
    labelled: bool = False
    """Whether callers tell the truth of each answer."""
    regions: bool = False
    """Whether a row has a region, which is "north" in 5 % of them."""


BAD = {
    "errors": Kind({"fault": "errors", "share": 0.01}, {"fault": "errors", "share": 0.03}, "worse by"),
    "slow": Kind({}, {"fault": "slow", "share": 0.1}, "latency:"),
    "nan": Kind({}, {"fault": "nan", "share": 0.02}, "invalid:"),
    "mix": Kind({"yes": 0.2}, {"yes": 0.4}, "mix:", THOROUGH),
    "segfault": Kind({}, {"fault": "segfault", "share": 0.005}, "died while"),
}
"""The sizes are those of the specification but for the mix (20 → 24 %), which takes minutes: see the slow test."""
SMALL_MIX = Kind({"yes": 0.2}, {"yes": 0.24}, "mix:pairs:", Plan((1000, 5000), manual=False, judgement=replace(
    QUICK, shadow=2000, shadow_pairs=4_000)))
"""Of a fifth of the requests: some 1,300 pairs are enough."""

LABELLED = {
    "wrong": Kind({}, {"fault": "wrong", "share": 0.05}, "ground_truth:", Plan(
        (1000, 5000), manual=False, judgement=replace(QUICK, step_s=20, patience_s=600)), labelled=True),
    "slice": Kind({}, {"fault": "wrong", "share": 0.2}, "slices:region=north", Plan(
        (1000, 5000), manual=False, judgement=replace(QUICK, step_s=120, patience_s=600)), labelled=True, regions=True),
}
"""Stable is wrong in 5 % of all rows; the candidate in 5 points more of them, or in 20 points more of one slice: two
minutes of a step have 200 rows of it at this rate."""


@pytest.fixture
def house(tmp_path: Path, user_code: None) -> Path:
    """An empty home; models are registered by each test."""
    return tmp_path / "house"


def _register(home: Path, name: str, *versions: dict[str, Any], regions: bool = False) -> str:
    """Register versions of a model; the digest of the last one."""
    from faulty import Faulty, Regional

    if regions:
        rows = pd.DataFrame({"x": np.linspace(0, 1, 100), "region": ["north", *["south"] * 19] * 5})
        fitted = [Regional(**version).fit(rows, ["no", "yes"] * 50) for version in versions]
        return [_registered(each, name, home=home, reference=rows) for each in fitted][-1].digest
    plain = [Faulty(**version).fit([[0.0], [1.0]], ["no", "yes"]) for version in versions]
    return [_registered(each, name, home=home) for each in plain][-1].digest


def _registered(fitted: Any, name: str, **how: Any) -> ModelVersion:
    random.seed(LUCKY)
    return register(fitted, name, **how)


@dataclass
class Rollout:
    """One rollout under way, as its store sees it."""

    store: SqliteStore
    model: str

    @property
    def record(self) -> RolloutRecord:
        found = self.store.record(self.model)
        assert found is not None
        return found

    def wait(self, *phases: str, timeout: float = 60.0) -> RolloutRecord:
        """Until it is in one of these phases."""
        eventually(lambda: self.record.phase in phases, timeout, lambda: f"{self.record}\n{self.told()}")
        return self.record

    def journal(self) -> list[JournalEntry]:
        """What happened; not what a later rollback would break, which is told beside it."""
        return [entry for entry in self.store.journal(self.model) if entry.kind != "reverse"]

    def told(self) -> str:
        return "\n".join(f"{entry.kind}: {entry.reason}" for entry in self.journal())


def _begin(server: Server, model: str, digest: str, plan: Plan = PLAN) -> Rollout:
    store = SqliteStore(server.home.store, create=False)
    controller.start(store, model, "2", digest, plan, "tester", now=time.time())
    return Rollout(store, model)


def _crowd(server: Server, model: str, *, callers: int = 0, pause: float = PAUSE_S) -> Crowd:
    """About 150 requests a second, each of another row; every second one with the key of one of `callers`."""
    rng = random.Random(model)

    def ask(client: Client, number: int) -> Answer:
        key = {"X-Routing-Key": f"caller-{rng.randrange(callers)}"} if callers and number % 2 else None
        return client.post(f"/predict/{model}", {"rows": [[rng.random()]]}, key)

    return Crowd([server.client() for _ in range(CLIENTS)], ask, pause=pause)


def _telling(server: Server, model: str, kind: Kind) -> Crowd:
    """The same, of callers who tell at once what was true: what stable says, but for 5 % of the rows."""
    rng = random.Random(model)

    def ask(client: Client, number: int) -> Answer:
        x = rng.random()
        row = {"x": x, "region": "north" if rng.random() < 0.05 else "south"} if kind.regions else [x]
        answer = client.post(f"/predict/{model}", {"rows": [row]})
        if answer.status == 200:
            true = "yes" if (x < 0.2) != (x * 991 % 1 < 0.05) else "no"
            name = answer.json()["prediction_ids"][0]
            said = client.post("/api/ground-truth", {"prediction_id": name, "value": true})
            assert said.status == 202, said.body
        return answer

    return Crowd([server.client() for _ in range(CLIENTS)], ask, pause=PAUSE_S)


def _met(crowd: Crowd) -> Counter[str]:
    """How many answers each version gave."""
    return Counter(exchange.answer.version for exchange in crowd.exchanges
                   if exchange.answer is not None and "x-model-version" in exchange.answer.headers)


SOUND = Kind({}, {"yes": 0.2001}, "", Plan((1000, 5000), manual=False, judgement=replace(QUICK, margin=4.0)))
"""One in twenty is slower than the 95th percentile: to exclude a ratio of 1.5 would take 4,500 requests."""
Running = dict[str, tuple[Rollout, Crowd]]


@contextmanager
def _side_by_side(folder: Path, kinds: dict[str, Kind]) -> Iterator[Running]:
    """A server on which all of these are rolled out at once."""
    with pytest.MonkeyPatch.context() as patch, ExitStack() as stack:
        patch.syspath_prepend(str(USER_CODE))
        digests = {name: _register(folder / "home", name, kind.stable, kind.candidate, regions=kind.regions)
                   for name, kind in kinds.items()}
        server = stack.enter_context(Server(folder / "home", folder, environ=AT_ONCE))
        crowds = {name: stack.enter_context(
            _telling(server, name, kind) if kind.labelled
            else _crowd(server, name, callers=CALLERS if name == "sound" else 0)) for name, kind in kinds.items()}
        yield {name: (_begin(server, name, digests[name], kind.plan), crowds[name]) for name, kind in kinds.items()}


@pytest.fixture(scope="module")
def busy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A sound version and every bad kind that kills nobody."""
    kinds = {"sound": SOUND, **{name: kind for name, kind in BAD.items() if name != "segfault"}}
    with _side_by_side(tmp_path_factory.mktemp("judged"), kinds) as running:
        yield running


def test_a_sound_version_is_promoted_on_evidence(busy: Running) -> None:
    """Through every step, each with its reason, counts and what is not known in the journal."""
    rollout, crowd = busy["sound"]
    assert rollout.wait("promoted", "rolled_back", "rejected", timeout=120).phase == "promoted", rollout.told()
    entries = rollout.journal()
    assert [entry.kind for entry in entries[1:]] == ["start", "advance", "advance", "promote"]
    verdict = entries[-1].body["verdict"]
    errors = next(check for check in verdict["checks"] if check["name"] == "errors")
    assert "no ground truth" in verdict["risk"]
    assert 100 < errors["candidate_units"] < _met(crowd)["2"], "a caller counts once"
    print(f"\nsound: promoted, {_met(crowd)}, {errors['text']}")


@pytest.mark.parametrize("name", [name for name in BAD if name != "segfault"])
def test_a_bad_version_is_stopped(busy: Running, name: str) -> None:
    """Before it is promoted, for the reason that it is bad, and its digest is quarantined."""
    rollout, crowd = busy[name]
    record = rollout.wait("promoted", "rolled_back", "rejected")
    assert record.phase == "rolled_back", rollout.told()
    assert BAD[name].said in record.reason or BAD[name].said in rollout.told()
    assert (record.stable, record.weight, len(record.quarantined)) == ("1", 0, 1)
    print(f"\n{name}: stopped after {_met(crowd)['2']} answers of the candidate: {rollout.journal()[-2].reason}")


@pytest.mark.slow
def test_truths_stop_a_version_that_is_less_accurate(tmp_path: Path) -> None:
    """On all rows, or in one slice of 5 %; another one with as many labels, and sound, is promoted on its accuracy."""
    kinds = {"sound": replace(SOUND, plan=LABELLED["wrong"].plan, labelled=True), **LABELLED}
    with _side_by_side(tmp_path, kinds) as running:
        for name, kind in kinds.items():
            rollout, crowd = running[name]
            record = rollout.wait("promoted", "rolled_back", "rejected", timeout=600)
            assert record.phase == ("promoted" if name == "sound" else "rolled_back"), f"{name}: {rollout.told()}"
            assert kind.said in rollout.told()
            print(f"\n{name}: {record.phase}, {_met(crowd)}: {rollout.journal()[-2].reason}")
        last = running["sound"][0].journal()[-1]
    assert "ground_truth (" in last.reason, last.reason


QUICKLY = {"sound-1": SOUND, "sound-2": SOUND} | {
    name: kind for name, kind in BAD.items() if name not in ("segfault", "mix")}


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("kinds", "timeout"), [
    (QUICKLY, 300.0), (LABELLED, 600.0), ({"segfault": BAD["segfault"]}, 300.0), ({"mix": SMALL_MIX}, 600.0),
], ids=["quick", "truths", "segfault", "mix"])
def test_every_kind_five_times(tmp_path: Path, kinds: dict[str, Kind], timeout: float, seed: int) -> None:
    """Each bad kind at the size of the specification, and two sound ones: five seeds, printed as lines of LIVE.md, with
    the answers that callers had from the candidate."""
    with _side_by_side(tmp_path, kinds) as running:
        for name, (rollout, crowd) in running.items():
            phase = rollout.wait("promoted", "rolled_back", "rejected", timeout=timeout).phase
            met = _met(crowd)
            print(f"\n| {name} | {seed} | {phase} | {met['2']:,} | {met['1']:,} |")
            assert phase == ("promoted" if kinds[name] is SOUND else "rolled_back"), rollout.told()


def test_a_version_that_kills_its_worker_is_taken_off_at_once(house: Path, start: Start) -> None:
    """The first mark that is left behind is enough: one worker dies (two, if both were hit before they could know),
    its successor never loads the candidate, and no other request is lost than those under way in it."""
    kind = BAD["segfault"]
    digest = _register(house, "segfault", kind.stable, kind.candidate)
    server = start(house, environ={"SERINUS_LOG_ENABLED": "false"})
    before = server.ready_workers()
    with _crowd(server, "segfault") as crowd:
        rollout = _begin(server, "segfault", digest)
        rollout.wait("rolled_back")
        eventually(lambda: len(server.ready_workers()) == 2, 90)
        crowd.wait_for(100)
    assert kind.said in rollout.told()
    deaths = len(before - server.ready_workers())
    lost = sum(exchange.answer is None for exchange in crowd.exchanges)
    assert 1 <= deaths <= 2
    assert lost <= CLIENTS * deaths
    print(f"\nsegfault: {deaths} workers died, {lost} requests lost, {_met(crowd)}")


@pytest.mark.slow
def test_the_death_of_the_steward_delays_and_changes_nothing(house: Path, start: Start) -> None:
    """SIGKILL right after every transition, from preflight over shadow, steps and soak to the end: each step is taken
    once, in order, and the candidate is promoted."""
    server = start(_with_sound(house), environ=AT_ONCE)
    with _crowd(server, "sound") as crowd:
        rollout = _begin(server, "sound", _digest(server, "sound"), EVERY_PHASE)
        _kill_at_every_transition(server, rollout, "promoted")
    assert [entry.kind for entry in rollout.journal()[1:]] == ["start", *["advance"] * 4, "promote"]
    phases = [entry.body["phase"] for entry in rollout.journal()[2:]]
    assert phases == ["shadow", "canary", "canary", "soak", "promoted"]
    assert {answer.status for answer in crowd.answers()} == {200}


@pytest.mark.slow
def test_the_death_of_the_steward_saves_no_bad_version(house: Path, start: Start) -> None:
    """Nor is it rolled back twice, and its artifact is in quarantine."""
    kind = BAD["errors"]
    digest = _register(house, "errors", kind.stable, kind.candidate)
    server = start(house, environ={"SERINUS_LOG_ENABLED": "false"})
    with _crowd(server, "errors"):
        rollout = _begin(server, "errors", digest)
        _kill_at_every_transition(server, rollout, "rolled_back")
    kinds = [entry.kind for entry in rollout.journal()[2:]]
    assert kinds[-2:] == ["roll_back", "rolled_back"] and set(kinds[:-2]) == {"advance"}, rollout.told()
    assert rollout.record.quarantined == (digest,)


def _kill_at_every_transition(server: Server, rollout: Rollout, end: str) -> None:
    seen = rollout.record.generation
    while rollout.record.phase != end:
        eventually(lambda: rollout.record.generation > seen, 120, rollout.told)  # noqa: B023
        seen = rollout.record.generation
        os.kill(server.steward(), signal.SIGKILL)


@pytest.mark.slow
def test_two_servers_lead_one_rollout(house: Path, start: Start) -> None:
    """On one store: one steward decides at a time, the other takes over when the first one's server is gone; callers
    of both meet the same versions, and every step is taken once."""
    home = _with_sound(house)
    servers = [start(home, environ={"SERINUS_LOG_ENABLED": "false"}) for _ in range(2)]
    with _crowd(servers[0], "sound"), _crowd(servers[1], "sound") as crowd:
        rollout = _begin(servers[0], "sound", _digest(servers[0], "sound"), DETECTING)
        rollout.wait("canary")
        decided = next(entry.actor for entry in rollout.journal() if entry.kind == "advance")
        leader = next(server for server in servers if decided.endswith(f"-{server.steward()}"))
        keys = [f"caller-{number}" for number in range(30)]
        met = [[_version(server, key) for key in keys] for server in servers]
        leader.kill_everything()
        rollout.wait("promoted", timeout=120)
    assert met[0] == met[1] and set(met[0]) == {"1", "2"}
    kinds = [entry.kind for entry in rollout.journal()[1:]]
    assert [kind for kind in kinds if kind not in ("hold", "resume")] == ["start", *["advance"] * 2, "promote"], kinds
    deciders = {entry.actor for entry in rollout.journal() if entry.kind in ("advance", "promote")}
    assert len(deciders) == 2, deciders
    assert {answer.status for answer in crowd.answers()} <= {200}


def _version(server: Server, key: str) -> str:
    with server.client() as client:
        return client.post("/predict/sound", {"rows": [[0.5]]}, {"X-Routing-Key": key}).version


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [4, 60])
def test_a_store_out_of_reach_delays_a_rollout(house: Path, start: Start, seconds: int) -> None:
    """Callers notice nothing and no step is taken meanwhile. After half a minute the candidate gets nothing, and on
    its return everything is held for the length of a step."""
    server = start(_with_sound(house))
    with _crowd(server, "sound") as crowd:
        rollout = _begin(server, "sound", _digest(server, "sound"), DETECTING)
        rollout.wait("canary")
        before = rollout.record
        _away(server, seconds)
        rollout.wait("promoted", timeout=120)
    kinds = [entry.kind for entry in rollout.journal() if entry.generation > before.generation]
    held = ["hold", "resume"] if seconds > 30 else []
    assert kinds[:len(held)] == held, rollout.told()
    assert kinds[-1] == "promote"
    assert {answer.status for answer in crowd.answers()} == {200}


def _away(server: Server, seconds: float) -> None:
    """Take the store away for a while, as a disk that is not mounted."""
    aside = server.home.path / "aside"
    aside.mkdir()
    for path in server.home.path.glob("store.db*"):
        path.rename(aside / path.name)
    server.home.store.mkdir()
    time.sleep(seconds)
    server.home.store.rmdir()
    for path in aside.iterdir():
        path.rename(server.home.path / path.name)
    aside.rmdir()


def _with_sound(home: Path) -> Path:
    """A home with two versions of a sound model."""
    _register(home, "sound", {}, {"yes": 0.2001})
    return home


def _digest(server: Server, model: str) -> str:
    return Registry(server.home.path).get(model, "2").digest
