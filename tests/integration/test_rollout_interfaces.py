"""What people and programs see of rollouts over HTTP: tokens by scope, who acted, keys, pinned versions, gates."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from shutil import copytree
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from serinus.models import register
from tests.integration.client import Answer
from tests.integration.conftest import Start
from tests.integration.server import Server, eventually
from tests.integration.zoo import IRIS_INFER, IRIS_ROWS

TOKENS = [{"name": "ci", "scopes": ["operate"], "token": "ci-secret"}, {"name": "grafana", "token": "look-secret"},
          {"name": "shop", "scopes": ["infer"], "token": "shop-secret"}]
SETTINGS = {"SERINUS_CONTROL_TOKENS": json.dumps(TOKENS), "SERINUS_ROUTING_KEY_COOKIE": "uid",
            "SERINUS_ROUTING_VERSION_HEADER": "X-Version", "SERINUS_ROUTING_VERSION_CALLERS": "tester",
            "SERINUS_CONTROL_ALLOWED_HOSTS": "serinus.default"}
README = Path(__file__).parents[2] / "serving" / "rollout" / "README.md"


@pytest.fixture(scope="module")
def guarded(filled_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with three tokens, in a rollout of `iris` 2 to half of the callers that `ci` has started."""
    folder = tmp_path_factory.mktemp("guarded")
    with Server(copytree(filled_home, folder / "home"), folder, environ=SETTINGS) as server:
        answer = call(server, "POST", "/api/rollouts/iris/start", "ci-secret", {"version": "2", "steps": "50",
                                                                               "actor": "ana"})
        assert answer.status == 202, answer.body
        eventually(lambda: _followed(server), 60)
        yield server


def _followed(server: Server) -> bool:
    known = call(server, "GET", "/api/rollouts/iris", "look-secret").json()
    workers = known["workers"]
    return (known["record"]["phase"] == "canary" and len(workers) == server.workers_wanted
            and all(worker["ready"] and worker["follows"] for worker in workers))


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
    assert [entry["actor"] for entry in entries if entry["kind"] == "start"][-1] == "ana (token ci)"
    rest = call(guarded, "GET", f"/api/rollouts/iris/journal?after={entries[-2]['seq']}", "look-secret").json()
    assert rest["entries"][0] == entries[-1]
    assert call(guarded, "GET", "/api/rollouts/iris/journal?limit=many", "look-secret").status == 400


def test_gates_for_those_who_move_the_traffic_themselves(guarded: Server) -> None:
    """A rollout that a person takes is inconclusive: no harm is known, and nobody may go on or roll back by it."""
    found = call(guarded, "GET", "/api/rollouts/iris/analysis", "look-secret").json()
    assert (found["verdict"], found["candidate"], found["weight"], found["checks"]) == ("inconclusive", "2", 5000, [])
    for gate, status in (("no-harm", 200), ("advance", 409), ("rollback", 409), ("luck", 400)):
        payload = {"name": "iris", "namespace": "prod", "phase": "Progressing", "metadata": {"gate": gate}}
        assert call(guarded, "POST", "/api/rollouts/iris/analysis", "look-secret", payload).status == status
    assert call(guarded, "GET", "/api/rollouts/nobody/analysis", "look-secret").status == 404


def documented(what: str) -> Any:
    """The example of the rollouts' page that begins with this key, for a rollout of `credit`."""
    blocks = re.findall(r"```yaml\n(.*?)```", README.read_text("utf-8"), re.DOTALL)
    (found,) = [block for block in blocks if block.startswith(f"{what}:")]
    return yaml.safe_load(found.replace("rollouts/iris/", "rollouts/credit/"))[what]


def argo(server: Server) -> str:
    """What an AnalysisRun makes of the documented metric: its provider asks with GET and nothing but the headers it was
    given, takes anything but 2xx for an error, and compares what stands at the path."""
    (metric,) = documented("metrics")
    web = metric["provider"]["web"]
    assert set(web) <= {"url", "headers", "jsonPath", "method", "body", "timeoutSeconds", "insecure"}
    address = urlsplit(web["url"])
    headers = {entry["key"]: entry["value"].replace("{{args.token}}", "look-secret") for entry in web["headers"]}
    with server.client() as client:
        answer = client.send("GET", address.path, None, {"Host": address.netloc, "Accept-Encoding": "gzip",
                                                         "User-Agent": "Go-http-client/1.1", **headers})
    if not 200 <= answer.status < 300:
        return f"Error: {answer.body!r}"
    result = answer.json()[web["jsonPath"].removeprefix("{$.").removesuffix("}")]
    for condition, phase in (("failureCondition", "Failed"), ("successCondition", "Successful")):
        wanted = re.fullmatch(r'result == "(\w+)"', metric[condition])
        assert wanted is not None
        if result == wanted[1]:
            return phase
    return "Inconclusive"


def flagger(server: Server) -> dict[str, bool]:
    """By the documented webhooks' names: whether a POST with the documented payload is answered by 200 to 202, which is
    all that Flagger looks at. (The token is a proxy's to add.)"""
    found = {}
    for hook in documented("webhooks"):
        address = urlsplit(hook["url"])
        payload = {"name": "podinfo", "namespace": "test", "phase": "Progressing", "checksum": "85d557f47b",
                   "metadata": hook.get("metadata")}
        answer = call(server, "POST", address.path, "look-secret", payload, Host=address.netloc,
                      **{"User-Agent": "Go-http-client/1.1", "Accept-Encoding": "gzip"})
        assert answer.status in (200, 409), answer.body
        found[f"{hook['type']}: {hook['name']}"] = answer.status <= 202
    return found


def test_the_documented_examples_of_argo_and_flagger(guarded: Server) -> None:
    """From a rollout that nobody can judge yet over its promotion to its rollback, as both ask."""
    hooks = ["rollout: no harm", "confirm-promotion: evidence", "rollback: worse"]
    for verb, body, phase, gates in (
            ("start", {"version": "2", "steps": "50"}, "Inconclusive", (True, False, False)),
            ("promote", {"force": True}, "Successful", (True, True, False)),
            ("rollback", {}, "Failed", (False, False, True))):
        answer = call(guarded, "POST", f"/api/rollouts/credit/{verb}", "ci-secret", body)
        assert answer.status in (200, 202), answer.body
        eventually(lambda: argo(guarded) == phase, 10, lambda: argo(guarded))  # noqa: B023
        assert flagger(guarded) == dict(zip(hooks, gates, strict=True)), verb
    for wrong in ({"Host": "elsewhere.example"}, {}):
        assert call(guarded, "GET", "/api/rollouts/credit/analysis", "", None, **wrong).status in (401, 403)


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


ENDINGS = {"promoted": ("promote", {"force": True}, 0), "aborted": ("abort", {}, 3), "back": ("rollback", {}, 3),
           "paused": ("pause", {}, 4), "frozen": ("freeze", {}, 4), "endless": ("", {}, 5), "damaged": ("", {}, 3)}
"""By model: what is done to its rollout, and the exit code of who waits for its end."""


@pytest.mark.slow
def test_a_script_learns_how_a_rollout_ended(tmp_path: Path, user_code: None, start: Start) -> None:
    """`serinus rollout start --wait` has an exit code for every ending, and the last line says which it was."""
    from faulty import Faulty

    home = tmp_path / "house"
    for name in ENDINGS:
        for share in (0.2, 0.2001):
            register(Faulty(yes=share).fit([[0.0], [1.0]], ["no", "yes"]), name, home=home)
    (home / "models" / "damaged" / "2" / "artifact" / "model.joblib").write_bytes(b"no model at all")
    server = start(home)
    waiting = {name: _waiting(home, name) for name in ENDINGS}
    try:
        for name, (verb, body, _) in ENDINGS.items():
            if verb:
                eventually(lambda: _phase(server, name) == "canary", 60)  # noqa: B023
                answer = call(server, "POST", f"/api/rollouts/{name}/{verb}", "", body)
                assert answer.status in (200, 202), answer.body
        ended = {name: process.communicate(timeout=90) for name, process in waiting.items()}
    finally:
        for process in waiting.values():
            process.kill()
    codes = {name: process.returncode for name, process in waiting.items()}
    assert codes == {name: code for name, (_, _, code) in ENDINGS.items()}, ended
    assert "version 2 answers every request" in ended["promoted"][0].splitlines()[-1]
    assert "version 1 answers every request" in ended["back"][0].splitlines()[-1]
    assert "version 1 answers every request" in ended["damaged"][0].splitlines()[-1]
    assert "paused" in ended["paused"][0] and "frozen" in ended["frozen"][0]


def _waiting(home: Path, name: str) -> subprocess.Popen[str]:
    """The command; what is damaged is judged, so that its preflight sees it."""
    how = ["--steps", "50", "--shadow", "0"] if name == "damaged" else ["--manual", "--steps", "50"]
    seconds = "25" if name == "endless" else "80"
    return subprocess.Popen([sys.executable, "-m", "serinus", "rollout", "start", f"{name}:2", "--home", str(home),
                             "--no-wait", *how, "--wait", "--wait-timeout", seconds], stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True)


def _phase(server: Server, model: str) -> str:
    answer = call(server, "GET", f"/api/rollouts/{model}/status")
    return str(answer.json()["record"]["phase"]) if answer.status == 200 else ""
