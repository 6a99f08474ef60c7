"""`serinus models load` and `unload` say what a running server did, in its own words where it refused."""

from __future__ import annotations

import pytest

from tests.serving.cli.conftest import Cli, FakeServer

LOAD, UNLOAD = "/v2/repository/models/iris/load", "/v2/repository/models/iris/unload"


def test_load(server: FakeServer, cli: Cli) -> None:
    """A model, or one version of it."""
    server.answer("POST", LOAD, {"name": "iris", "version": "1", "load": True})
    assert cli("models", "load", "iris").out == "iris:1 is loaded in every worker.\n"
    server.answer("POST", LOAD, {"name": "iris", "version": "2", "load": True})
    assert cli("models", "load", "iris:2", "--json").json["version"] == "2"
    assert [body for _, _, body, _ in server.asked] == [{}, {"parameters": {"version": "2"}}]


def test_unload(server: FakeServer, cli: Cli) -> None:
    """The same way."""
    server.answer("POST", UNLOAD, {"name": "iris", "unload": True})
    assert cli("models", "unload", "iris").out == "iris is unloaded in every worker.\n"
    server.answer("POST", UNLOAD, {"name": "iris", "version": "2", "unload": True})
    assert cli("models", "unload", "iris:2").out == "iris:2 is unloaded in every worker.\n"


def test_what_the_server_says(server: FakeServer, cli: Cli) -> None:
    """Its sentence, and exit code 1."""
    server.answer("POST", LOAD, {"error": "iris:1 needs about 9000 MB."}, 503)
    done = cli("models", "load", "iris")
    assert (done.code, done.err) == (1, "serinus: iris:1 needs about 9000 MB.\n")


def test_a_server_has_to_be_named(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is nothing to load in a home."""
    monkeypatch.delenv("SERINUS_URL", raising=False)
    done = cli("models", "load", "iris")
    assert done.code == 2
    assert done.err.startswith("serinus: No server is named: say `serinus models load iris --url http://HOST:PORT`")
