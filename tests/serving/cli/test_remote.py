"""Acting on a running server: what is sent, and what becomes of its answers."""

from __future__ import annotations

from typing import Any

import pytest

from serinus.serving.rollout.state import RolloutRecord
from tests.serving.cli.conftest import FakeServer

_RECORD = RolloutRecord.initial("iris", "1", 1.0).to_dict()


def test_a_start_is_one_call_with_who_why_and_the_plan(cli: Any, server: FakeServer) -> None:
    """And then the server is asked until its workers follow."""
    server.answer("POST", "/api/rollouts/iris/start", {"record": _RECORD, "notice": None}, 202)
    said = cli("rollout", "start", "iris:2", "--manual", "--steps", "5", "--actor", "ci", "--reason", "try")
    assert said.code == 0 and "1 of 1 workers follow after" in said.out
    assert [asked[:3] for asked in server.asked if asked[0] == "POST"] == [
        ("POST", "/api/rollouts/iris/start",
         {"version": "2", "plan": {"steps": [5.0], "rollback_window_s": 604800.0}, "force": False, "actor": "ci",
          "reason": "try"})]


def test_the_journal_is_read_page_by_page(cli: Any, server: FakeServer) -> None:
    """A long one comes in pages of a thousand."""
    def entry(seq: int) -> dict[str, Any]:
        return {"model": "iris", "kind": "step", "time": 0.0, "generation": seq, "actor": "ana", "reason": "",
                "body": {"text": f"Event {seq}."}, "seq": seq}

    path = "/api/rollouts/iris/journal?after={}&limit=1000"
    server.answer("GET", path.format(0), {"entries": [entry(seq) for seq in range(1, 1001)]})
    server.answer("GET", path.format(1000), {"entries": [entry(1001)]})
    lines = cli("rollout", "journal", "iris").out.splitlines()
    assert len(lines) == 1001 and "Event 1001. By ana" in lines[-1]


def test_the_token_comes_from_the_environment(cli: Any, server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """It stands on no command line."""
    monkeypatch.setenv("SERINUS_CONTROL_TOKEN", "secret")
    cli("rollout", "status", "iris")
    assert server.asked[-1][3] == "Bearer secret"


def test_a_rollback_prints_what_the_server_says(cli: Any, server: FakeServer) -> None:
    """Its exit code too."""
    server.answer("POST", "/api/rollouts/iris/rollback", {
        "model": "iris", "stable": "1", "version": "2", "complete": False,
        "workers": [{"pid": 7, "seconds": 0.0123}, {"pid": 8, "seconds": None}]})
    said = cli("rollback", "iris")
    assert said.code == 3
    assert said.out.splitlines()[:2] == ["iris: version 1 answers again in 1 of 2 workers after 12 ms.",
                                         "  Process 7 obeyed after 12 ms."]


def test_an_alert_is_looked_after_from_elsewhere(cli: Any, server: FakeServer) -> None:
    """Under the name of who does."""
    server.answer("POST", "/api/alerts/3f/acknowledge", {"alert": {"id": "3f0a", "acknowledged_by": "ana (token ops)"}})
    assert cli("alerts", "ack", "3f", "--actor", "ana").out == "ana (token ops) looks after alert 3f0a.\n"
    assert server.asked[-1][2] == {"actor": "ana"}


def test_a_refusal_is_the_servers_own_sentence(cli: Any, server: FakeServer) -> None:
    """Problem details become one sentence and exit code 1."""
    server.answer("POST", "/api/rollouts/iris/promote", {"detail": "Cannot promote now."}, 409)
    said = cli("rollout", "promote", "iris")
    assert (said.code, said.out, said.err) == (1, "", "serinus: Cannot promote now.\n")


def test_another_kind_of_server_is_recognised(cli: Any, server: FakeServer) -> None:
    """An answer that is no JSON of ours is not shown as it came."""
    server.answers["GET", "/api/rollouts/iris"] = 502, b"<html>"
    assert "answered 502" in cli("rollout", "status", "iris").err


@pytest.mark.parametrize(("url", "sentence"), [
    ("http://127.0.0.1:1", "cannot be asked"), ("127.0.0.1:3000", "expected http://HOST:PORT"),
])
def test_a_server_that_is_not_there(url: str, sentence: str, cli: Any) -> None:
    """One sentence, exit code 1."""
    said = cli("rollout", "status", "iris", "--url", url)
    assert said.code == 1 and sentence in said.err
