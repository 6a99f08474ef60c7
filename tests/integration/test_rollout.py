"""A rollout gives every caller one version, in all workers, and over restarts."""

from __future__ import annotations

import os
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


@pytest.fixture
def running(home: Path, start: Start) -> Server:
    """A server in the first step of a rollout of `iris` 2: 10 % of the traffic."""
    server = start(home)
    assert start_rollout(server, MODEL, "2", "10,30")["weight"] == 1000
    return server


@pytest.fixture
def pair(running: Server) -> Iterator[list[Client]]:
    """One connection to each of the two workers."""
    clients = [client for (client,) in running.clients_of_each_worker().values()]
    yield clients
    for client in clients:
        client.close()


def test_a_key_meets_one_version_in_both_workers(running: Server, pair: list[Client]) -> None:
    """2,000 keys: both workers agree on each, and the candidate's share lies within five sigma of 10 %."""
    before = _counted(running)
    first, second = _versions_of_each(pair, KEYS)
    assert first == second
    assert all(_counted(running)[pid] - before[pid] == len(KEYS) for pid in before)
    share = sum(version == "2" for version in first.values())
    assert abs(share - 200) < 5 * (2000 * 0.1 * 0.9) ** 0.5
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


def test_the_next_step_only_adds_keys(running: Server, pair: list[Client]) -> None:
    """Who met the candidate at 10 % meets it at 30 %, and so do about as many again twice over."""
    before, _ = _versions_of_each(pair, KEYS)
    assert command(running, MODEL, "promote", actor="tester").status == 202
    wait_until_followed(running, MODEL)
    assert record(running, MODEL)["weight"] == 3000
    after = _versions_of_each(pair, KEYS)
    assert after[0] == after[1]
    assert all(after[0][key] == "2" for key in KEYS if before[key] == "2")
    share = sum(version == "2" for version in after[0].values())
    assert abs(share - 600) < 5 * (2000 * 0.3 * 0.7) ** 0.5


def test_requests_without_a_key_are_split_at_random(pair: list[Client]) -> None:
    """No key: each request is a draw of its own at the candidate's weight."""
    versions = [client.post("/predict/iris", IRIS_ROWS).version for client in pair for _ in range(500)]
    assert abs(versions.count("2") - 100) < 5 * (1000 * 0.1 * 0.9) ** 0.5


def test_a_restart_keeps_every_key_where_it_was(running: Server, pair: list[Client], start: Start) -> None:
    """After a clean stop and a start the same keys meet the candidate again: same salt, same weight."""
    before, salt = _versions(pair[0], KEYS[:500]), record(running, MODEL)["salt"]
    assert running.stop() == 0
    again = start(running.home.path)
    wait_until_followed(again, MODEL)
    assert record(again, MODEL)["salt"] == salt
    for (client,) in again.clients_of_each_worker().values():
        eventually(lambda c=client: _versions(c, KEYS[:500]) == before, 5)


def test_weight_comes_back_only_when_the_store_has_confirmed_it(running: Server, start: Start) -> None:
    """Restarted with its store out of reach, a server gives the candidate nothing; with the store back, its weight."""
    assert running.stop() == 0
    store, aside = running.home.store, running.home.store.with_name("aside.db")
    store.rename(aside)
    store.mkdir()  # neither a file nor a place where one could be made
    again = start(running.home.path)
    for (client,) in again.clients_of_each_worker().values():
        assert set(_versions(client, KEYS[:300]).values()) == {"1"}
    store.rmdir()
    aside.rename(store)
    for (client,) in again.clients_of_each_worker().values():
        eventually(lambda c=client: "2" in _versions(c, KEYS[:300]).values(), 10)


def test_a_worker_that_cannot_read_the_candidate_stays_on_stable(running: Server, pair: list[Client]) -> None:
    """The artifact was tampered with after the start: a new worker refuses it, answers stable, counts it."""
    (artifact,) = running.home.path.glob("models/iris/2/artifact/*")
    artifact.chmod(0o600)
    artifact.write_bytes(artifact.read_bytes() + b"!")
    victim, survivor = running.worker_of(pair[0]), running.worker_of(pair[1])
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


def _counted(server: Server) -> dict[int, int]:
    """Requests on each worker's board."""
    return {board.pid: sum(series.requests for series in board.series.values()) for board in server.boards()}
