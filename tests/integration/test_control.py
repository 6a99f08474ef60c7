"""Who may make control calls over real HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.integration.client import Answer
from tests.integration.conftest import Start
from tests.integration.server import Server
from tests.integration.zoo import CREDIT_ROWS

PROMOTE = "/api/rollouts/credit/promote"


def _promote(server: Server, headers: Mapping[str, str], body: bytes = b"{}") -> Answer:
    with server.client() as client:
        return client.send("POST", PROMOTE, body, headers)


def test_the_host_itself_may(server: Server) -> None:
    """An ordinary call reaches the rollout's rules, which find nothing to promote."""
    answer = _promote(server, {"Content-Type": "application/json"})
    assert answer.status == 409
    assert answer.json()["detail"].endswith(".")
    assert _promote(server, {"Content-Type": "application/json; charset=utf-8"}).status == 409


@pytest.mark.parametrize(
    ("headers", "status"),
    [({"Host": "evil.example"}, 403),
     ({"Host": "127.0.0.1.evil.example:80"}, 403),
     ({"Host": ""}, 403),
     ({"Origin": "https://evil.example"}, 403),
     ({"Origin": "null"}, 403),
     ({"Content-Type": "text/plain"}, 415),
     ({"Content-Type": "application/x-www-form-urlencoded"}, 415),
     ({"Content-Type": ""}, 415),
     ({"Forwarded": "for=203.0.113.7"}, 403),
     ({"X-Forwarded-For": "203.0.113.7"}, 403),
     ({"X-Real-IP": "203.0.113.7"}, 403)])
def test_pages_and_proxies_may_not(server: Server, headers: dict[str, str], status: int) -> None:
    """A page of another origin, a rebound name, a form, a proxied call: refused with a problem, nothing changed."""
    answer = _promote(server, {"Content-Type": "application/json", **headers})
    assert answer.status == status
    assert answer.json()["status"] == status


def test_reading_is_guarded_by_host_too(server: Server) -> None:
    """A rebound name must not even read the state."""
    with server.client() as client:
        assert client.get("/api/models").status == 200
        assert client.get("/api/models", {"Host": "evil.example"}).status == 403


def test_inference_is_open_to_any_host_name(server: Server) -> None:
    """The guard is for control calls: a prediction may come through any name and proxy."""
    with server.client() as client:
        answer = client.post("/predict/credit", CREDIT_ROWS, {"Host": "models.example", "Forwarded": "for=203.0.113.7"})
    assert answer.status == 200


def test_bodies_that_are_no_json_objects_are_named(server: Server) -> None:
    """A broken, foreign or huge body is the caller's mistake: 400 and a sentence."""
    for body in (b"{", b"[1]", b'"x"', b"{" + b" " * (1 << 20) + b"}"):
        assert _promote(server, {"Content-Type": "application/json"}, body).status == 400


def test_beyond_loopback_a_token_is_needed(home: Path, start: Start) -> None:
    """Bound to every address, control calls are closed without a token, while predictions are answered."""
    server = start(home, flags=["--host", "0.0.0.0"])
    assert _promote(server, {"Content-Type": "application/json"}).status == 403
    assert "SERINUS_CONTROL_TOKEN" in server.output()
    with server.client() as client:
        assert client.get("/api/models").status == 403
        assert client.post("/predict/credit", CREDIT_ROWS).status == 200


def test_the_token_opens_what_it_closes(home: Path, start: Start) -> None:
    """With a token set: none or a wrong one is 401, the right one is heard; it is never printed."""
    token = "correct-horse-battery-staple"
    server = start(home, flags=["--host", "0.0.0.0"], environ={"SERINUS_CONTROL_TOKEN": token})
    json_type = {"Content-Type": "application/json"}
    assert _promote(server, json_type).status == 401
    assert _promote(server, json_type | {"Authorization": "Bearer wrong"}).status == 401
    assert _promote(server, json_type | {"Authorization": f"Bearer {token}"}).status == 409
    proxied = json_type | {"Authorization": f"Bearer {token}", "Forwarded": "for=203.0.113.7"}
    assert _promote(server, proxied).status == 409
    assert token not in server.output()
    assert not any(token in line for line in server.processes().values())
    for path in server.run_folder.path.rglob("*"):
        assert path.stat().st_mode & 0o077 == 0 or path.is_symlink() or token not in _text(path)


def _text(path: Path) -> str:
    return path.read_text(errors="replace") if path.is_file() else ""
