"""`/metrics` counts every request once: over workers, their deaths and restarts."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from pathlib import Path

from tests.integration.client import BROKEN, Client
from tests.integration.conftest import Start
from tests.integration.server import Server, eventually, metric
from tests.integration.zoo import CREDIT_INFER, CREDIT_ROWS

REQUESTS = "http_server_request_duration_seconds_count"


def test_either_worker_gives_the_count_of_all(home: Path, start: Start) -> None:
    """The exact number of requests by route and status, whichever worker is asked, also after one was killed."""
    server = start(home)
    _send_to_each_worker(server, 40)
    _assert_counts(server, rows=40, infer=40, refused=20)
    victim = min(server.ready_workers())
    os.kill(victim, signal.SIGKILL)
    eventually(lambda: victim not in server.ready_workers() and len(server.ready_workers()) == 2, 20)
    _assert_counts(server, rows=40, infer=40, refused=20)
    _send_to_each_worker(server, 20)
    _assert_counts(server, rows=60, infer=60, refused=30)


def test_counts_never_decrease_while_workers_die(home: Path, start: Start) -> None:
    """A scraper that asks all the time sees every counter only grow, though workers are killed and replaced."""
    server = start(home)
    _send_to_each_worker(server, 30)
    with server.client() as client:
        seen = [metric(client.get("/metrics").body.decode(), REQUESTS)]
    stop = threading.Event()
    scraper = threading.Thread(target=_scrape, args=(server, seen, stop))
    scraper.start()
    try:
        for _ in range(2):
            victim = max(server.ready_workers())
            os.kill(victim, signal.SIGKILL)
            _send(server, 20)
            eventually(lambda v=victim: v not in server.ready_workers() and len(server.ready_workers()) == 2, 20)
    finally:
        stop.set()
        scraper.join()
    assert len(seen) > 50
    assert sorted(seen) == seen
    assert seen[0] == 74
    assert 74 + 20 <= seen[-1] <= 74 + 40


def test_a_second_server_on_the_same_home_counts_for_itself(home: Path, start: Start) -> None:
    """Two servers share models, log and vetoes, not their counts; the death of one disturbs the other in nothing."""
    first, second = start(home, ready=False), start(home)
    first.wait_until_ready()
    _send(first, 7)
    _send(second, 5)
    with first.client() as one, second.client() as other:
        assert metric(one.get("/metrics").body.decode(), REQUESTS) == 7
        assert metric(other.get("/metrics").body.decode(), REQUESTS) == 5
    second.kill_everything()
    _send(first, 3)
    with first.client() as one:
        assert metric(one.get("/metrics").body.decode(), REQUESTS) == 10
        assert one.post("/api/rollouts/credit/start", {"version": "2", "steps": "50"}).status == 202
        eventually(lambda: one.get("/v2/models/credit/versions/2/ready").status == 200)
        rolled_back = one.post("/api/rollouts/credit/rollback", {}).json()
    assert {worker["pid"] for worker in rolled_back["workers"]} == first.ready_workers()
    assert rolled_back["complete"]


def test_memory_is_told_of_what_is_loaded(home: Path, start: Start) -> None:
    """Each version's bytes while it is loaded, and nothing of it afterwards."""
    server = start(home)

    def held() -> dict[str, float]:
        with server.client() as client:
            text = client.get("/metrics").body.decode()
        return {name: metric(text, "serinus_model_memory_bytes", serinus_model_name=name)
                for name in ("credit", "iris")}

    eventually(lambda: held()["credit"])
    before = held()
    assert 10e6 < before["credit"] < 2e9  # scikit-learn and pandas came with it, into two workers
    with server.client(60) as client:
        assert client.post("/v2/repository/models/credit/unload", {}).status == 200
    eventually(lambda: held() == before | {"credit": 0})


def _send_to_each_worker(server: Server, number: int) -> None:
    """Half of the requests to each worker: `number` rows, `number` tensors, half as many refused ones."""
    for (client,) in server.clients_of_each_worker().values():
        for turn in range(number // 2):
            assert client.post("/predict/credit", CREDIT_ROWS).status == 200
            assert client.post("/v2/models/credit/infer", CREDIT_INFER).status == 200
            if turn % 2:
                assert client.post("/predict/credit", {"rows": [{}]}).status == 422
        client.close()


def _send(server: Server, number: int) -> None:
    with server.client() as client:
        for _ in range(number):
            _patiently(client, "/predict/credit")


def _patiently(client: Client, path: str) -> None:
    for _ in range(200):
        try:
            client.post(path, CREDIT_ROWS)
            return
        except BROKEN:
            time.sleep(0.05)
    raise AssertionError("nobody answered for ten seconds")


def _assert_counts(server: Server, *, rows: int, infer: int, refused: int) -> None:
    for (client,) in server.clients_of_each_worker().values():
        text = client.get("/metrics").body.decode()
        client.close()
        ok = {"http_response_status_code": "200", "serinus_model_name": "credit", "serinus_model_version": "1"}
        assert metric(text, REQUESTS, http_route="/predict/{model}", **ok) == rows
        assert metric(text, REQUESTS, http_route="/v2/models/{model}/infer", **ok) == infer
        assert metric(text, REQUESTS, error_type="invalid_input") == refused
        assert metric(text, REQUESTS) == rows + infer + refused
        assert metric(text, "serinus_log_frames_total") == rows + infer
        assert metric(text, "serinus_predict_duration_seconds_count") == rows + infer
        assert metric(text, "serinus_workers") == 2


def _scrape(server: Server, seen: list[float], stop: threading.Event) -> None:
    client = server.client()
    while not stop.is_set():
        with contextlib.suppress(*BROKEN):
            seen.append(metric(client.get("/metrics").body.decode(), REQUESTS))
        time.sleep(0.01)
    client.close()
