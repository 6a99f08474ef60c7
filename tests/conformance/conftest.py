"""What the suite asks: a server of its own with the models of the zoo, or any server by `--base-url`.

The environments of client libraries lie in a folder that outlives the run: `CONFORMANCE_VENVS`, else in the user's
cache.
"""

import json
import os
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from serinus.serving.files import locked
from tests.benchmarks.peers import Peer
from tests.conformance import zoo
from tests.integration.server import Server

Outcomes = dict[str, Any]
"""What the cases of a client's program gave: {"gave": …} or {"raised": name of the error, "said": its text}."""

_CLIENTS = Path(__file__).with_name("clients")
_PATIENCE_S = 120


def pytest_addoption(parser: pytest.Parser) -> None:
    """Known where this folder is named on the command line."""
    parser.addoption("--base-url", default=None, help="Ask this server, not one that the suite starts.")


@pytest.fixture(scope="session")
def base_url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of the server that is asked, without a slash at its end."""
    given = request.config.getoption("--base-url", default=None)
    if given:
        yield given.rstrip("/")
        return
    folder = tmp_path_factory.mktemp("conformance")
    zoo.fill(folder / "home")
    with Server(folder / "home", folder, environ={"SERINUS_SERVER_DEFAULT_MODEL": "iris"}) as server:
        url = f"http://127.0.0.1:{server.port}"
        ask(f"{url}/v2/repository/models/iris/load", b'{"parameters": {"version": "2"}}')
        yield url


@pytest.fixture(scope="session")
def own_server(request: pytest.FixtureRequest) -> bool:
    """Whether the server that is asked is the suite's own, so that it is certainly a Serinus with the zoo's models."""
    return not request.config.getoption("--base-url", default=None)


@pytest.fixture
def served(base_url: str, own_server: bool) -> Callable[..., None]:
    """Skip the test unless the server has a model: `served("iris")`, `served("iris", "2")`. Ours has them all."""
    def check(name: str, version: str | None = None) -> None:
        path = f"/v2/models/{name}" + (f"/versions/{version}" if version else "")
        try:
            ask(base_url + path)
        except urllib.error.HTTPError as error:
            assert not own_server, f"{path} answers {error.code}"
            pytest.skip(f"{base_url}{path} answers {error.code}; see README.md for the models that this needs")

    return check


@pytest.fixture(scope="session")
def venvs() -> Path:
    """Return the folder that keeps the clients' environments."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("CONFORMANCE_VENVS") or Path(cache, "serinus-conformance", "venvs"))


@pytest.fixture(scope="session")
def outcomes(base_url: str, venvs: Path) -> Callable[[Peer, str], Outcomes]:
    """Run a program of `clients/` in a client's own environment against the server: `outcomes(peer, "triton.py")`."""
    known: dict[str, Outcomes] = {}

    def run(client: Peer, program: str) -> Outcomes:
        if program not in known:
            with locked(venvs / f"{client.name}.lock"):
                client.install(venvs)
            known[program] = _run(client.python(venvs), program, base_url)
        return known[program]

    return run


def ask(url: str, body: bytes | None = None) -> Any:
    """GET, or POST of a body; the JSON value of the answer. Raises `urllib.error.HTTPError`."""
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"} if body is not None else {})
    with urllib.request.urlopen(request, timeout=60) as response:
        return json.loads(response.read() or b"null")


def _run(python: Path, program: str, base_url: str) -> Outcomes:
    environment = {**os.environ, "PYTHONPATH": str(_CLIENTS), "PYTHONDONTWRITEBYTECODE": "1"}
    given = {"url": base_url, "iris_columns": zoo.IRIS_COLUMNS, "iris_rows": zoo.IRIS_ROWS}
    done = subprocess.run([str(python), str(_CLIENTS / program)], input=json.dumps(given), capture_output=True,
                          text=True, env=environment, timeout=_PATIENCE_S)
    assert done.returncode == 0, done.stderr[-4000:]
    return dict(json.loads(done.stdout))
