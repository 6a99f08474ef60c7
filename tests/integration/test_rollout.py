"""A rollout gives every caller one version, in all workers, and over restarts."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.client import Client
from tests.integration.conftest import Start
from tests.integration.rollouts import command, record, start_rollout, wait_until_followed
from tests.integration.server import Server, eventually, metric
from tests.integration.zoo import IRIS_INFER, IRIS_ROWS

MODEL = "iris"
KEYS = [f"customer-{number}" for number in range(2000)]


@pytest.fixture(scope="module")
def shared(filled_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server in a rollout of `iris` 2 that begins at 10 % of the traffic, for the tests that only look or step on."""
    folder = tmp_path_factory.mktemp("rollout")
    with Server(shutil.copytree(filled_home, folder / "home"), folder) as server:
        start_rollout(server, MODEL, "2", "10,30,50,70")
        yield server


@pytest.fixture
def pair(shared: Server) -> Iterator[list[Client]]:
    """One connection to each of the two workers."""
    clients = [client for (client,) in shared.clients_of_each_worker().values()]
    yield clients
    for client in clients:
        client.close()


def test_a_key_meets_one_version_in_both_workers(shared: Server, pair: list[Client]) -> None:
    """2,000 keys: both workers agree on each, and the candidate's share lies within five sigma of its weight."""
    before = _counted(shared)
    first, second = _versions_of_each(pair, KEYS)
    assert first == second
    assert all(_counted(shared)[pid] - before[pid] == len(KEYS) for pid in before)
    _assert_share(list(first.values()), record(shared, MODEL)["weight"])
    keyed = {"X-Routing-Key": next(key for key in KEYS if first[key] == "2")}
    answer = pair[0].post("/predict/iris", IRIS_ROWS, keyed)
    assert (answer.version, answer.role) == ("2", "candidate")
    inside = {**IRIS_INFER, "parameters": {"routing_key": keyed["X-Routing-Key"]}}
    assert pair[1].post("/v2/models/iris/infer", inside).version == "2"


def test_a_version_in_the_address_is_met_whatever_the_weight(pair: list[Client]) -> None:
    """Both versions answer under their own address, in both protocols and both workers."""
    for client in pair:
        for version, role in (("1", "stable"), ("2", "candidate")):
            for path, document in ((f"/predict/{MODEL}/versions/{version}", IRIS_ROWS),
                                   (f"/v2/models/{MODEL}/versions/{version}/infer", IRIS_INFER)):
                answer = client.post(path, document, {"X-Routing-Key": "anybody"})
                assert (answer.status, answer.version, answer.role) == (200, version, role)
        assert client.post("/predict/iris/versions/3", IRIS_ROWS).status == 404


def test_the_next_step_only_adds_keys(shared: Server, pair: list[Client]) -> None:
    """Who met the candidate in one step meets it in the next, and as many more do as the weight says."""
    before, _ = _versions_of_each(pair, KEYS)
    weight = record(shared, MODEL)["weight"]
    assert command(shared, MODEL, "promote", actor="tester").status == 202
    wait_until_followed(shared, MODEL)
    assert record(shared, MODEL)["weight"] == weight + 2000
    after = _versions_of_each(pair, KEYS)
    assert after[0] == after[1]
    assert all(after[0][key] == "2" for key in KEYS if before[key] == "2")
    _assert_share(list(after[0].values()), weight + 2000)


def test_requests_without_a_key_are_split_at_random(shared: Server, pair: list[Client]) -> None:
    """No key: each request is a draw of its own at the candidate's weight."""
    versions = [client.post("/predict/iris", IRIS_ROWS).version for client in pair for _ in range(500)]
    _assert_share(versions, record(shared, MODEL)["weight"])


def test_a_restart_keeps_every_key_where_it_was(home: Path, start: Start) -> None:
    """Started again without its store, a server gives the candidate nothing; with the store, the same keys."""
    first = start(home)
    salt = start_rollout(first, MODEL, "2", "10")["salt"]
    with first.client() as client:
        before = _versions(client, KEYS[:300])
    assert "2" in before.values()
    assert first.stop() == 0
    store, aside = first.home.store, first.home.store.with_name("aside.db")
    store.rename(aside)
    store.mkdir()  # neither a file nor a place where one could be made
    again = start(home)
    wait_until_followed(again, MODEL)
    clients = [client for (client,) in again.clients_of_each_worker().values()]
    for versions in _versions_of_each(clients, KEYS[:300]):
        assert set(versions.values()) == {"1"}
    store.rmdir()
    aside.rename(store)
    eventually(lambda: "2" in _versions(clients[0], KEYS[:300]).values(), 10)
    eventually(lambda: _versions_of_each(clients, KEYS[:300]) == [before, before], 5)
    assert record(again, MODEL)["salt"] == salt


def test_a_worker_that_cannot_read_the_candidate_stays_on_stable(home: Path, start: Start) -> None:
    """The artifact was tampered with after the start: a new worker refuses it, answers stable, counts it."""
    running = start(home)
    start_rollout(running, MODEL, "2", "10")
    (artifact,) = running.home.path.glob("models/iris/2/artifact/*")
    artifact.chmod(0o600)
    artifact.write_bytes(artifact.read_bytes() + b"!")
    victim, survivor = running.ready_workers()
    os.kill(victim, signal.SIGKILL)
    eventually(lambda: len(running.ready_workers() - {victim}) == 2, 20)
    clients = {pid: client for pid, (client,) in running.clients_of_each_worker().items()}
    eventually(lambda: running.output().count("iris:2 cannot be loaded"), 5)
    (fresh,) = clients.keys() - {survivor}
    assert set(_versions(clients[fresh], KEYS[:200]).values()) == {"1"}
    assert "2" in _versions(clients[survivor], KEYS[:200]).values()
    for client in clients.values():
        assert client.get("/v2/health/ready").status == 200
        assert metric(client.get("/metrics").body.decode(), "serinus_load_failures_total") == 1
    assert "got sha256:" in running.output()


def _versions_of_each(clients: list[Client], keys: list[str]) -> list[dict[str, str]]:
    """The same for each connection; in turns, so that none is idle long enough to be closed."""
    found: list[dict[str, str]] = [{} for _ in clients]
    for key in keys:
        for client, versions in zip(clients, found, strict=True):
            versions |= _versions(client, [key])
    return found


def _versions(client: Client, keys: list[str]) -> dict[str, str]:
    """Which version each key meets on this connection."""
    return {key: client.post("/predict/iris", IRIS_ROWS, {"X-Routing-Key": key}).version for key in keys}


def _assert_share(versions: list[str], weight: int) -> None:
    """The candidate's share lies within five sigma of its weight (basis points)."""
    number, share = len(versions), weight / 10_000
    assert abs(versions.count("2") - number * share) < 5 * (number * share * (1 - share)) ** 0.5


def _counted(server: Server) -> dict[int, int]:
    """Requests on each worker's board."""
    return {board.pid: sum(series.requests for series in board.series.values()) for board in server.boards()}
