"""A rollback takes the version off within 100 ms in every worker, with and without store and steward."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from serinus.models import register
from serinus.serving.home import Home
from serinus.serving.rollout import RolloutRecord
from serinus.serving.snapshot import publish_snapshot, read_snapshot
from tests.integration.client import Answer, Client, Crowd
from tests.integration.conftest import Start
from tests.integration.rollouts import candidate_loaded, command, record, start_rollout, wait_until_followed
from tests.integration.server import CHECKOUT, Server, eventually
from tests.integration.zoo import CREDIT_INFER, CREDIT_ROWS

LIMIT_S = 0.1
T = TypeVar("T")


class Watch:
    """Notes when the veto appeared on disk: the moment from which the clock runs."""

    def __init__(self, home: Home) -> None:
        self._path = home.vetoes
        self._before = self._sequence()
        self.cast = 0.0
        self._thread = threading.Thread(target=self._look)
        self._thread.start()

    def moment(self) -> float:
        """Wall clock time of the veto."""
        self._thread.join()
        assert self.cast, "no veto was cast"
        return self.cast

    def _look(self) -> None:
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            if self._sequence() > self._before:
                self.cast = time.time()
                return
            time.sleep(0.0005)

    def _sequence(self) -> int:
        try:
            return int(json.loads(self._path.read_bytes())["sequence"])
        except FileNotFoundError:
            return 0


@pytest.fixture
def running(home: Path, start: Start) -> Server:
    """A server that gives half of the traffic to `credit` 2."""
    server = start(home)
    start_rollout(server, "credit", "2", "50")
    return server


@pytest.fixture(scope="module")
def lasting(filled_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that outlives its rollbacks."""
    folder = tmp_path_factory.mktemp("rollback")
    with Server(shutil.copytree(filled_home, folder / "home"), folder) as server:
        yield server


@pytest.fixture
def trying(lasting: Server) -> Server:
    """The lasting server, which gives half of the traffic to `credit` 2 once more."""
    start_rollout(lasting, "credit", "2", "50")
    return lasting


def test_by_http(trying: Server) -> None:
    """POST …/rollback: from the veto on, nothing admitted 100 ms later gets the candidate, in either worker."""
    answer = _roll_back_under_load(trying, lambda: command(trying, "credit", "rollback", reason="test"))
    document = answer.json()
    assert (answer.status, document["stable"], document["complete"]) == (200, "1", True)
    assert {worker["pid"] for worker in document["workers"]} == trying.ready_workers()
    assert all(worker["seconds"] <= LIMIT_S for worker in document["workers"])
    eventually(lambda: record(trying, "credit")["phase"] == "rolled_back", 5)


def test_by_command(trying: Server) -> None:
    """`serinus rollback` does the same from a process of its own, and waits for both workers."""
    done = json.loads(_roll_back_under_load(trying, lambda: _run_command(trying, "rollback", "credit", "--json")))
    assert done["complete"]
    assert {worker["pid"] for worker in done["workers"]} == trying.ready_workers()
    assert all(worker["seconds"] <= LIMIT_S for worker in done["workers"])
    eventually(lambda: record(trying, "credit")["phase"] == "rolled_back", 5)


def test_without_a_steward(trying: Server) -> None:
    """The steward was killed just before: the workers obey the veto within 100 ms all the same."""
    steward = trying.steward()

    def kill_and_roll_back() -> Answer:
        os.kill(steward, signal.SIGKILL)
        return command(trying, "credit", "rollback")

    assert _roll_back_under_load(trying, kill_and_roll_back).json()["complete"]
    eventually(lambda: record(trying, "credit")["phase"] == "rolled_back", 10)
    _assert_only("1", trying)


def test_with_the_store_deleted(running: Server, start: Start) -> None:
    """The store's files vanish: the rollback is as fast, and a restart without them keeps the candidate off."""
    def delete_and_roll_back() -> Answer:
        for path in running.home.path.glob("store.db*"):
            path.unlink(missing_ok=True)
        return command(running, "credit", "rollback")

    assert _roll_back_under_load(running, delete_and_roll_back).json()["complete"]
    running.kill_everything()
    for path in running.home.path.glob("store.db*"):
        path.unlink()
    again = start(running.home.path)
    _assert_only("1", again)
    eventually(lambda: record(again, "credit")["candidate"] is None or record(again, "credit")["weight"] == 0, 5)
    _assert_only("1", again)


def test_with_the_store_out_of_reach(running: Server, start: Start) -> None:
    """The store cannot be opened, then everything is killed: rollback and restart hold, also when it is back."""
    aside = running.home.path / "aside.db"
    store = running.home.store
    store.rename(aside)
    for path in running.home.path.glob("store.db-*"):
        path.unlink()
    store.mkdir()
    assert _roll_back_under_load(running, lambda: command(running, "credit", "rollback")).json()["complete"]
    running.kill_everything()
    again = start(running.home.path)
    _assert_only("1", again)
    store.rmdir()
    aside.rename(store)  # the old store, which knows of no rollback and says 50 %
    eventually(lambda: record(again, "credit")["phase"] in ("rolling_back", "rolled_back"), 5)
    _assert_only("1", again)


def test_survives_a_kill_right_after(running: Server, start: Start) -> None:
    """Everything is killed the moment the rollback is answered: after a restart the candidate still gets nothing."""
    assert command(running, "credit", "rollback").status == 200
    running.kill_everything()
    again = start(running.home.path)
    _assert_only("1", again)
    eventually(lambda: record(again, "credit")["phase"] == "rolled_back", 5)
    _assert_only("1", again)


def test_after_a_promotion(running: Server, start: Start) -> None:
    """Inside the window the previous version is back at once, and it is still there after a restart."""
    assert command(running, "credit", "promote", force=True, actor="tester").status == 202
    wait_until_followed(running, "credit")
    _assert_only("2", running)
    answer = _roll_back_under_load(running, lambda: command(running, "credit", "rollback"))
    assert (answer.json()["stable"], answer.json()["complete"]) == ("1", True)
    running.kill_everything()
    again = start(running.home.path)
    _assert_only("1", again)
    eventually(lambda: record(again, "credit")["stable"] == "1", 5)
    _assert_only("1", again)


def test_while_another_model_is_being_loaded(home: Path, start: Start, user_code: None) -> None:
    """A version of another model that takes seconds to load holds no rollback up."""
    from patience import Heavy

    register(Heavy().fit([[0.0]]), "heavy", home=home)
    register(Heavy(2.0).fit([[0.0]]), "heavy", home=home)
    server = start(home)
    start_rollout(server, "credit", "2", "50")

    def load_and_roll_back() -> Answer:
        assert command(server, "heavy", "start", version="2", steps="50").status == 202
        time.sleep(0.3)  # both workers have begun to load it
        answer = command(server, "credit", "rollback")
        with server.client() as client:
            assert not candidate_loaded(client, "heavy", "2")
        return answer

    assert _roll_back_under_load(server, load_and_roll_back).json()["complete"]
    with server.client() as client:
        eventually(lambda: candidate_loaded(client, "heavy", "2"), 10)


def test_with_nothing_to_roll_back(lasting: Server) -> None:
    """Without a rollout or a previous version the answer is 409 and one sentence, and nothing changes."""
    answer = command(lasting, "iris", "rollback")
    assert answer.status == 409
    assert answer.json()["detail"].endswith(".")
    assert command(lasting, "nobody", "rollback").status == 404


def test_two_publishers_never_take_the_snapshot_back(tmp_path: Path) -> None:
    """Stewards of two servers on one home publish what each read a moment ago: the workers never see an older one."""
    path = tmp_path / "snapshot.json"
    publish_snapshot(path, {"m": RolloutRecord("m", 1, stable="1")})
    latest = [1]
    seen: list[int] = []

    def publish() -> None:
        while latest[0] < 150:
            known = latest[0]
            time.sleep(0.001)  # what it read grows old before it is written
            publish_snapshot(path, {"m": RolloutRecord("m", known, stable="1")})

    def watch() -> None:
        while latest[0] < 150:
            seen.append(read_snapshot(path).generation)

    threads = [threading.Thread(target=work) for work in (publish, publish, watch)]
    for thread in threads:
        thread.start()
    while latest[0] < 150:
        latest[0] += 1
        publish_snapshot(path, {"m": RolloutRecord("m", latest[0], stable="1")})
    for thread in threads:
        thread.join()
    assert seen == sorted(seen)
    assert read_snapshot(path).generation == 150


def _roll_back_under_load(server: Server, act: Callable[[], T]) -> T:
    """Roll `credit` back while both workers are asked by many; assert and print how long the other version lasted."""
    watch = Watch(server.home)
    pairs = server.clients_of_each_worker(2)
    clients = [client for pair in pairs.values() for client in pair]
    pid_of = [pid for pid, pair in pairs.items() for _ in pair]
    with Crowd(clients, _ask, pause=0.001) as crowd:
        crowd.wait_for(200)
        result = act()
        cast = watch.moment()
        crowd.wait_for(600)
    assert all(exchange.answer is not None for exchange in crowd.exchanges)
    gone = "2"
    latest = {pid: max((exchange.sent - cast for exchange in crowd.exchanges
                        if pid_of[exchange.client] == pid and exchange.answer.version == gone), default=None)
              for pid in pairs}
    after = {pid: sum(exchange.sent - cast > LIMIT_S for exchange in crowd.exchanges if pid_of[exchange.client] == pid)
             for pid in pairs}
    print("\nlast request admitted to version 2, ms after the veto: "
          + ", ".join(f"worker {pid}: {seconds * 1e3:.1f}" for pid, seconds in latest.items()))
    assert all(seconds is not None and seconds <= LIMIT_S for seconds in latest.values())
    assert all(number >= 50 for number in after.values())
    return result


def _run_command(server: Server, *arguments: str) -> str:
    """What a `serinus` command on the server's home prints."""
    done = subprocess.run([sys.executable, "-m", "serinus", *arguments, "--home", str(server.home.path)], check=True,
                          capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(CHECKOUT)})
    return done.stdout


def _ask(client: Client, number: int) -> Answer:
    key = {"X-Routing-Key": f"k{number}"}
    if number % 3:
        return client.post("/predict/credit", CREDIT_ROWS, key)
    return client.post("/v2/models/credit/infer", CREDIT_INFER, key)


def _assert_only(version: str, server: Server) -> None:
    """Every worker answers with this version alone."""
    for (client,) in server.clients_of_each_worker().values():
        answers = [_ask(client, number) for number in range(100)]
        client.close()
        assert {(200, version)} == {(answer.status, answer.version) for answer in answers}
