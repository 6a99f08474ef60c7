"""Loading and unloading by hand: every worker follows before the call is answered, and it ends with the server."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.integration.client import Answer, Client
from tests.integration.server import Server, eventually
from tests.integration.zoo import CREDIT_ROWS, IRIS_INFER

INDEX = "/v2/repository/index"


@pytest.fixture(scope="module")
def running(filled_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of this page's own, since what is loaded changes; each test leaves it as it began."""
    import shutil

    folder = tmp_path_factory.mktemp("repository")
    with Server(shutil.copytree(filled_home, folder / "home"), folder) as server:
        yield server


@pytest.fixture
def client(running: Server) -> Iterator[Client]:
    with running.client(60) as connection:
        yield connection
    for name in ("iris", "credit"):  # as it began: stable versions only
        with running.client(60) as connection:  # an idle one may have been closed meanwhile
            ask(connection, f"models/{name}/unload")
            assert ask(connection, f"models/{name}/load").status == 200


def ask(client: Client, what: str, document: Any = None, headers: Mapping[str, str] | None = None) -> Answer:
    """A call as tritonclient makes it: no content type, and perhaps no body."""
    body = b"" if document is None else json.dumps(document).encode()
    return client.send("POST", f"/v2/repository/{what}", body, headers)


def states(client: Client, **body: Any) -> dict[str, str]:
    rows = ask(client, "index", body or None).json()
    assert all(set(row) == {"name", "version", "state", "reason"} for row in rows)
    return {f"{row['name']}:{row['version']}": row["state"] for row in rows}


def everywhere(running: Server, path: str, document: Any) -> list[int]:
    """The status of a request in every worker."""
    found = []
    for clients in running.clients_of_each_worker().values():
        found.append(clients[0].post(path, document).status)
        clients[0].close()
    return found


def test_the_index_lists_every_version(client: Client) -> None:
    """What is not loaded says so; `ready` leaves it out; an empty body needs no content type."""
    assert states(client) == {"credit:1": "READY", "credit:2": "UNAVAILABLE",
                              "iris:1": "READY", "iris:2": "UNAVAILABLE"}
    assert states(client, ready=True) == {"credit:1": "READY", "iris:1": "READY"}
    assert [row["reason"] for row in ask(client, "index").json()] == ["", "It is not loaded."] * 2


def test_a_further_version_is_reached_by_its_address(client: Client, running: Server) -> None:
    """In every worker as soon as the call is answered, and gone as soon as it is unloaded; the other one stays."""
    path = "/v2/models/iris/versions/2/infer"
    assert everywhere(running, path, IRIS_INFER) == [404, 404]
    answer = ask(client, "models/iris/load", {"parameters": {"version": "2"}})
    assert (answer.status, answer.json()) == (200, {"name": "iris", "version": "2", "load": True})
    assert everywhere(running, path, IRIS_INFER) == [200, 200]
    assert client.post("/v2/models/iris/infer", IRIS_INFER).version == "1"
    assert client.get("/v2/models/iris").json()["versions"] == ["1", "2"]
    assert states(client)["iris:2"] == "READY"
    assert ask(client, "models/iris/unload", {"parameters": {"version": "2"}}).status == 200
    assert everywhere(running, path, IRIS_INFER) == [404, 404]
    assert everywhere(running, "/v2/models/iris/infer", IRIS_INFER) == [200, 200]


def test_unloaded_is_not_found_until_loaded_again(client: Client, running: Server) -> None:
    """By every protocol; the other models go on, and /api/models tells."""
    answer = ask(client, "models/iris/unload", {"parameters": {"unload_dependents": False}})
    assert (answer.status, answer.json()) == (200, {"name": "iris", "unload": True})
    assert everywhere(running, "/v2/models/iris/infer", IRIS_INFER) == [404, 404]
    assert client.post("/v2/models/iris/infer", IRIS_INFER).json()["error"].startswith("Model 'iris' is not served")
    assert client.get("/v2/models/iris/ready").status == 404
    assert client.post("/predict/credit", CREDIT_ROWS).status == 200
    assert states(client, ready=True) == {"credit:1": "READY"}
    assert {model["name"]: model["loaded"] for model in client.get("/api/models").json()["models"]} == {
        "credit": ["1"], "iris": []}
    assert ask(client, "models/iris/load").json() == {"name": "iris", "version": "1", "load": True}
    assert everywhere(running, "/v2/models/iris/infer", IRIS_INFER) == [200, 200]


def test_no_request_under_way_is_lost(client: Client, running: Server) -> None:
    """Whatever is asked while a model comes and goes is answered, or not found; nothing else happens."""
    found: list[int] = []
    stop = threading.Event()

    def go_on_asking() -> None:
        with running.client() as mine:
            while not stop.is_set():
                found.append(mine.post("/predict/credit", CREDIT_ROWS).status)

    askers = [threading.Thread(target=go_on_asking) for _ in range(4)]
    for asker in askers:
        asker.start()
    for _ in range(5):
        assert ask(client, "models/credit/unload").status == 200
        assert ask(client, "models/credit/load").status == 200
    stop.set()
    for asker in askers:
        asker.join()
    assert set(found) == {200, 404}


def test_a_worker_that_comes_later_follows_too(client: Client, running: Server) -> None:
    """What was asked for by hand outlives the worker that was asked."""
    assert ask(client, "models/iris/unload").status == 200
    assert ask(client, "models/credit/load", {"parameters": {"version": "2"}}).status == 200
    other = (running.ready_workers() - {running.worker_of(client)}).pop()
    os.kill(other, signal.SIGKILL)
    eventually(lambda: len(running.ready_workers() - {other}) == 2, 30)
    assert everywhere(running, "/v2/models/iris/infer", IRIS_INFER) == [404, 404]
    assert everywhere(running, "/predict/credit/versions/2", CREDIT_ROWS) == [200, 200]


def test_what_is_not_there(client: Client) -> None:
    """Each with a sentence, and nothing changed."""
    for what, document, status, sentence in (
        ("models/nope/load", None, 404, "No model is named 'nope'"),
        ("models/nope/unload", None, 404, "No model is named 'nope'"),
        ("models/iris/load", {"parameters": {"version": "7"}}, 404, "Model 'iris' has no version '7'"),
        ("models/iris/load", {"parameters": {"version": 7}}, 400, "parameters.version: expected a string"),
        ("models/iris/load", {"parameters": {"config": "{}"}}, 400, "Parameter 'config' is not known here"),
        ("models/iris/load", {"parameters": []}, 400, "parameters: expected a JSON object"),
        ("models/iris/load", [], 400, "The body: expected a JSON object"),
        ("models/iris/unload", {"parameters": {"version": "1"}}, 409, "iris:1 answers requests of 'iris'"),
        ("models/Iris!/load", None, 400, "'Iris!' is no model name"),
        ("index", {"ready": "yes"}, 400, "ready: expected true or false"),
        ("models/iris/reload", None, 404, "There is no POST /v2/repository/models/iris/reload here"),
    ):
        answer = ask(client, what, document)
        assert (answer.status, set(answer.json())) == (status, {"error"})
        assert answer.json()["error"].startswith(sentence)
    answer = client.get(INDEX)
    assert (answer.status, answer.headers["allow"]) == (405, "POST")
    assert states(client, ready=True) == {"credit:1": "READY", "iris:1": "READY"}


@pytest.mark.parametrize(
    ("headers", "status"),
    [({"Host": "evil.example"}, 403),
     ({"Origin": "https://evil.example"}, 403),
     ({"X-Forwarded-For": "10.0.0.1"}, 403),
     ({"Content-Type": "application/x-www-form-urlencoded"}, 415),
     ({"Content-Type": "text/plain"}, 415)])
def test_a_page_of_somebody_else_unloads_nothing(client: Client, headers: dict[str, str], status: int) -> None:
    """What changes the server needs what every control call needs; the index is as open as the metadata are."""
    answer = ask(client, "models/iris/unload", {}, headers)
    assert (answer.status, set(answer.json())) == (status, {"error"})
    assert client.get("/v2/models/iris/ready").status == 200
    assert ask(client, "index", {}, headers).status == 200


def test_why_a_version_could_not_be_loaded(client: Client, running: Server) -> None:
    """The call says it, the index too (to those who may change the server), and a later call tries again."""
    artifact = next((running.home.path / "models" / "iris" / "2" / "artifact").iterdir())
    good = artifact.read_bytes()
    artifact.chmod(0o600)
    artifact.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    document = {"parameters": {"version": "2"}}
    try:
        answer = ask(client, "models/iris/load", document)
        assert answer.status == 400
        assert answer.json()["error"].startswith("iris:2 could not be loaded: The files of iris:2 in ")
        reasons = [ask(client, "index", None, headers).json()[-1]["reason"] for headers in ({}, {"Host": "elsewhere"})]
        assert "changed after registration" in reasons[0]
        assert reasons[1] == "It could not be loaded; the server's log says why."
    finally:
        artifact.write_bytes(good)
    assert ask(client, "models/iris/load", document).status == 200
    assert client.post("/v2/models/iris/versions/2/infer", IRIS_INFER).status == 200
