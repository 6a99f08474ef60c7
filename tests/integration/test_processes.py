"""A server starts, ends and lives beside others as a good process does."""

from __future__ import annotations

import signal
import threading
import time
from pathlib import Path

import pytest

from serinus.models import register
from tests.integration import zoo
from tests.integration.client import BROKEN, Answer
from tests.integration.conftest import Start
from tests.integration.server import Server, eventually
from tests.integration.zoo import CREDIT_ROWS

END_S = 6.0


@pytest.mark.parametrize("how", ["Ctrl-C", "SIGTERM"])
def test_requests_under_way_finish_before_the_end(home: Path, start: Start, user_code: None, how: str) -> None:
    """Ctrl-C (SIGINT to the whole group) and SIGTERM: slow answers still arrive whole, the exit code is 0, no trace."""
    from patience import Patient

    register(Patient().fit([[0.0]]), "slow", home=home)
    server = start(home)
    answers: list[Answer] = []
    threads = [threading.Thread(target=lambda: answers.append(_ask_slowly(server, 2.0))) for _ in range(4)]
    for thread in threads:
        thread.start()
    eventually(lambda: sum(board.in_flight for board in server.boards()) == 4)
    began = time.monotonic()
    if how == "Ctrl-C":
        server.signal_group(signal.SIGINT)
        assert server.wait(END_S) == 0
    else:
        assert server.stop(signal.SIGTERM, timeout=END_S) == 0
    server.assert_gone(timeout=1)
    print(f"\nended after {time.monotonic() - began:.2f} s")
    for thread in threads:
        thread.join()
    assert [(answer.status, answer.json()["predictions"]) for answer in answers] == [(200, [{"predict": 2.0}])] * 4
    assert "Traceback" not in server.output()


def test_draining_is_seen_by_load_balancers_first(home: Path, start: Start) -> None:
    """POST /api/drain, a preStop hook: no worker is ready any more, all still answer; idle clients delay no end."""
    server = start(home)
    (first,), (second,) = server.clients_of_each_worker().values()
    assert first.post("/api/drain", {}).status == 202
    for client in (first, second):
        eventually(lambda c=client: c.get("/readyz").status == 503, 3)
        assert client.get("/v2/health/ready").json()["error"] == "The server is draining."
        assert client.post("/predict/credit", CREDIT_ROWS).status == 200
    idle = [server.client().connect() for _ in range(20)]
    began = time.monotonic()
    assert server.stop(timeout=END_S) == 0
    print(f"\nended after {time.monotonic() - began:.2f} s beside {len(idle)} idle connections")
    assert not server.run_folder.path.exists()


def test_a_taken_port_is_said_in_one_sentence(home: Path, start: Start) -> None:
    """A second server on the port of the first: one sentence, exit code 1, and the first one answers on."""
    first = start(home)
    second = start(home, port=first.port, ready=False)
    assert second.wait(20) == 1
    assert second.output().strip() == (f"serinus: Cannot listen on 127.0.0.1:{first.port}: Address already in use. "
                                       "Choose another with --port (0: any free one) or --host (an IP address).")
    with first.client() as client:
        assert client.post("/predict/credit", CREDIT_ROWS).status == 200


def test_two_servers_with_homes_of_their_own(home: Path, tmp_path: Path, start: Start) -> None:
    """They share nothing: the end of one, with SIGKILL, is not noticed by the other."""
    first, second = start(home, ready=False), start(tmp_path / "another", ready=False)
    first.wait_until_ready()
    second.wait_for_banner()
    with first.client() as client:
        second.kill_everything()
        answers = [client.post("/predict/credit", CREDIT_ROWS).status for _ in range(50)]
        assert answers == [200] * 50
        assert first.ready_workers() == {board.pid for board in first.boards()}


def test_without_a_model_it_starts_and_serves_what_is_registered_later(tmp_path: Path, start: Start) -> None:
    """No model: not ready, with a sentence; a model that is registered while it runs is served without a restart."""
    server = start(tmp_path / "empty", ready=False)
    server.wait_for_banner()
    assert "No model is registered yet" in server.output()
    with server.client() as client:
        for path in ("/readyz", "/v2/health/ready"):
            answer = client.get(path)
            assert answer.status == 503
            assert b"No model is served. Register one" in answer.body
        assert client.get("/livez").status == 200
        assert client.post("/predict", CREDIT_ROWS).status == 503
        assert client.get("/api/models").json() == {"models": []}
    zoo.fill(server.home.path)
    server.wait_until_ready()
    for (client,) in server.clients_of_each_worker().values():
        assert client.post("/predict/credit", CREDIT_ROWS).status == 200
        assert client.get("/readyz").status == 200
        client.close()


def test_the_end_comes_while_it_starts(home: Path, start: Start) -> None:
    """Ctrl-C before the server was ready: nothing stays behind, and no trace is printed."""
    server = start(home, ready=False)
    eventually(lambda: server.find("serinus.serving.supervisor"), 20)
    server.signal_group(signal.SIGINT)
    server.wait(15)
    server.assert_gone(timeout=2)
    assert "Traceback" not in server.output()


def _ask_slowly(server: Server, seconds: float) -> Answer:
    with server.client() as client:
        try:
            return client.post("/predict/slow", {"rows": [[seconds]]})
        except BROKEN as error:
            return Answer(0, {}, repr(error).encode())
