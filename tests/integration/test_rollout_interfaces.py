"""What people and programs see of rollouts over HTTP: tokens by scope, who acted, keys, pinned versions, gates."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest

from tests.integration.client import Answer
from tests.integration.server import Server
from tests.integration.zoo import IRIS_INFER, IRIS_ROWS

TOKENS = [{"name": "ci", "scopes": ["operate"], "token": "ci-secret"}, {"name": "grafana", "token": "look-secret"},
          {"name": "shop", "scopes": ["infer"], "token": "shop-secret"}]
SETTINGS = {"SERINUS_CONTROL_TOKENS": json.dumps(TOKENS), "SERINUS_ROUTING_KEY_COOKIE": "uid",
            "SERINUS_ROUTING_VERSION_HEADER": "X-Version", "SERINUS_ROUTING_VERSION_CALLERS": "tester"}


@pytest.fixture(scope="module")
def guarded(filled_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with three tokens, in a rollout of `iris` 2 to half of the callers that `ci` has started."""
    folder = tmp_path_factory.mktemp("guarded")
    with Server(copytree(filled_home, folder / "home"), folder, environ=SETTINGS) as server:
        answer = call(server, "POST", "/api/rollouts/iris/start", "ci-secret", {"version": "2", "steps": "50",
                                                                               "actor": "ana"})
        assert answer.status == 202, answer.body
        yield server


def call(server: Server, method: str, path: str, token: str = "", body: Any = None, **headers: str) -> Answer:
    given = {"Content-Type": "application/json", **headers} | ({"Authorization": f"Bearer {token}"} if token else {})
    with server.client() as client:
        return client.send(method, path, None if body is None else json.dumps(body).encode(), given)


def ask(server: Server, **headers: str) -> Answer:
    return call(server, "POST", "/predict/iris", "shop-secret", IRIS_ROWS, **headers)


@pytest.mark.parametrize(("token", "read", "operate", "infer"), [
    ("", 401, 401, 401), ("wrong", 401, 401, 401), ("look-secret", 200, 403, 401), ("ci-secret", 200, 409, 401),
    ("shop-secret", 403, 403, 200)])
def test_a_token_opens_its_own_doors(token: str, read: int, operate: int, infer: int, guarded: Server) -> None:
    """Each of the three scopes by itself; no answer and no output of the server shows a token."""
    got = [call(guarded, "GET", "/api/rollouts/iris/status", token),
           call(guarded, "POST", "/api/rollouts/credit/pause", token, {}),
           call(guarded, "POST", "/predict/iris", token, IRIS_ROWS),
           call(guarded, "POST", "/v2/models/iris/infer", token, IRIS_INFER)]
    assert [answer.status for answer in got] == [read, operate, infer, infer]
    assert not any(b"-secret" in answer.body for answer in got) and "-secret" not in guarded.output()


def test_the_journal_names_the_token(guarded: Server) -> None:
    """Whoever the holder says that he is, it stands beside what is known."""
    entries = call(guarded, "GET", "/api/rollouts/iris/journal?limit=100", "look-secret").json()["entries"]
    assert [(entry["kind"], entry["actor"]) for entry in entries][-1] == ("start", "ana (token ci)")
    rest = call(guarded, "GET", f"/api/rollouts/iris/journal?after={entries[-1]['seq']}", "look-secret").json()
    assert rest == {"entries": []}
    assert call(guarded, "GET", "/api/rollouts/iris/journal?limit=many", "look-secret").status == 400


def test_gates_for_those_who_move_the_traffic_themselves(guarded: Server) -> None:
    """A rollout that a person takes is inconclusive: no harm is known, and nobody may go on or roll back by it."""
    found = call(guarded, "GET", "/api/rollouts/iris/analysis", "look-secret").json()
    assert (found["verdict"], found["candidate"], found["weight"], found["checks"]) == ("inconclusive", "2", 5000, [])
    for gate, status in (("no-harm", 200), ("advance", 409), ("rollback", 409), ("luck", 400)):
        payload = {"name": "iris", "namespace": "prod", "phase": "Progressing", "metadata": {"gate": gate}}
        assert call(guarded, "POST", "/api/rollouts/iris/analysis", "look-secret", payload).status == status
    assert call(guarded, "GET", "/api/rollouts/nobody/analysis", "look-secret").status == 404


def test_a_cookie_is_a_routing_key(guarded: Server) -> None:
    """The same cookie meets the same version as the same header."""
    keys = [f"caller-{number}" for number in range(40)]
    by_cookie = [ask(guarded, Cookie=f"theme=dark; uid={key}").version for key in keys]
    assert set(by_cookie) == {"1", "2"}
    assert by_cookie == [ask(guarded, **{"X-Routing-Key": key}).version for key in keys]


def test_a_listed_caller_may_name_the_version(guarded: Server) -> None:
    """The tester gets what is asked for; others get what everybody gets, whatever they send."""
    for version in ("1", "2"):
        assert ask(guarded, **{"X-Routing-Key": "tester", "X-Version": version}).version == version
    assert ask(guarded, **{"X-Routing-Key": "tester", "X-Version": "9"}).status == 404
    plain = ask(guarded, **{"X-Routing-Key": "somebody"}).version
    assert {ask(guarded, **{"X-Routing-Key": "somebody", "X-Version": other}).version for other in "12"} == {plain}
