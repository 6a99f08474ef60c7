"""What we take from BentoML, and what BentoML's own tools get from us."""

from __future__ import annotations

import inspect
import os
import random
import signal
import socket
import string
import sys
from collections.abc import Iterator
from pathlib import Path

import bentoml
import pytest
from bentoml.exceptions import BentoMLException

from serinus.serving.board import start_ticks
from tests.integration.server import Server, eventually, metric
from tests.integration.zoo import CREDIT_ROWS


def test_bentomls_client_predicts(server: Server) -> None:
    """`bentoml.SyncHTTPClient(url).predict(rows=[…])` finds its schema; with several models the error names them."""
    with (bentoml.SyncHTTPClient(f"http://127.0.0.1:{server.port}") as client,
          pytest.raises(BentoMLException, match="credit, iris")):
        client.predict(rows=CREDIT_ROWS["rows"])


def test_bentomls_paths_are_still_bentomls(server: Server) -> None:
    """Health and schema answer beside our own paths, from both workers."""
    for (client,) in server.clients_of_each_worker().values():
        assert client.get("/livez").status == 200
        assert client.get("/readyz").status == 200
        schema = client.get("/schema.json").json()
        assert [route["route"] for route in schema["routes"]] == ["/predict"]
        assert client.get("/").json() == {"status": "alive"}
        client.close()


def test_bentomls_metrics_stand_below_ours(server: Server) -> None:
    """Exact over both workers, by the paths that BentoML answers; what we answer it does not count."""
    before = _bentomls(server, "bentoml_service_request_total", endpoint="/schema.json")
    for (client,) in server.clients_of_each_worker().values():
        for _ in range(3):
            assert client.get("/schema.json").status == 200
            assert client.post("/predict/credit", CREDIT_ROWS).status == 200
        client.close()
    named = {"endpoint": "/schema.json", "http_response_code": "200", "runner_name": "serinus_service"}
    assert _bentomls(server, "bentoml_service_request_total", **named) == before + 6
    assert _bentomls(server, "bentoml_service_request_duration_seconds_count", **named) == before + 6
    assert _bentomls(server, "bentoml_service_request_in_progress") == 0
    assert not [line for line in _page(server).splitlines() if line.startswith("bentoml") and "/predict" in line]


def test_a_scan_adds_no_series(server: Server) -> None:
    """A thousand invented paths, some below and around those that exist, by several methods: all are refused, and
    /metrics is as long as before."""
    dice = random.Random(5)
    for (client,) in server.clients_of_each_worker().values():
        for path in ("/livez", "/docs.json", "/static_content/index.css"):
            assert client.get(path).status == 200
        client.close()
    before = _series(server)
    with server.client() as client:
        for number in range(1000):
            word = "".join(dice.choices(string.ascii_lowercase, k=12))
            path = (f"/{word}", f"/{word}/{word}", f"/static_content/{word}", f"/static_content/../{word}",
                    f"/livez/{word}", f"/schema.json%2f{word}", f"/static_content/{word}/../index.css",
                    f"/static_content/index.css/{word}")[number % 8]
            assert client.send(("GET", "HEAD", "POST", "DELETE")[number // 8 % 4], path, None, {}).status == 404, path
            assert client.get(f"/livez?{word}").status == 200
    assert _series(server) == before


def test_the_hook_is_where_we_use_it() -> None:
    """BentoML's worker serves what `Service.to_asgi` returns: the seam on which the dispatcher stands."""
    from _bentoml_impl.worker import service as worker
    from _bentoml_sdk import Service

    assert list(inspect.signature(Service.to_asgi).parameters)[:2] == ["self", "is_main"]
    assert ".to_asgi(" in inspect.getsource(worker)


def test_the_service_overrides_the_hook() -> None:
    """The Bento's entry is a BentoML service whose application is ours."""
    from _bentoml_sdk import Service

    from serinus.serving.service import SerinusService, service

    assert isinstance(service, Service)
    assert type(service) is SerinusService
    assert SerinusService.to_asgi is not Service.to_asgi


@pytest.fixture
def plain(home: Path, tmp_path: Path) -> Iterator[Server]:
    """`bentoml serve` on the service, without our parent process."""
    with _plain_server(home, tmp_path) as running:
        yield running


def _plain_server(home: Path, tmp_path: Path) -> Server:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environ = {"SERINUS_HOME": str(home), "SERINUS_SERVER_DEFAULT_MODEL": "credit",
               "BENTOML_HOME": str(tmp_path / "bentoml"), "BENTOML_DO_NOT_TRACK": "true"}
    command = [sys.executable, "-m", "bentoml", "serve", "serinus.bento:service", "--host", "127.0.0.1", "--port",
               str(port), "--working-dir", str(tmp_path)]
    return Server(home, tmp_path, environ=environ, command=command, port=port)


def test_plain_bentoml_serve_has_one_steward(plain: Server) -> None:
    """A worker starts the steward; there is one, control calls and metrics work, and it ends with the server.

    Its run folder bears the start time, so that "draining", say, is not taken over by the next one with the same pid.
    """
    assert len(plain.find("serinus.serving.steward")) == 1
    assert [plain.run_folder.path] == list(plain.home.run.glob("server-*"))
    assert plain.run_folder.path.name == f"server-{plain.pid}-{start_ticks(plain.pid)}"
    with bentoml.SyncHTTPClient(f"http://127.0.0.1:{plain.port}") as bentomls:
        _assert_answers(bentomls)
    with plain.client() as client:
        assert client.post("/api/rollouts/credit/start", {"version": "2", "steps": "50"}).status == 202
        eventually(lambda: client.get("/v2/models/credit/versions/2/ready").status == 200)
        assert client.post("/api/rollouts/credit/rollback", {}).json()["complete"]
        assert "serinus_log_frames_total 1" in client.get("/metrics").body.decode()
    assert plain.stop(signal.SIGTERM, timeout=15) == 0
    plain.assert_gone(timeout=3)
    assert "Traceback" not in plain.output()


def test_the_steward_is_replaced_when_its_worker_dies(plain: Server) -> None:
    """The steward dies with the worker that started it; the other worker starts one, and only one."""
    (before,) = plain.find("serinus.serving.steward")
    owner = int(Path(f"/proc/{before}/stat").read_text().rpartition(")")[2].split()[1])
    assert owner in plain.ready_workers()
    os.kill(owner, signal.SIGKILL)
    eventually(lambda: [pid for pid in plain.find("serinus.serving.steward") if pid != before], 10)
    eventually(lambda: len(plain.ready_workers() - {owner}) == 2, 20)
    eventually(lambda: len(plain.find("serinus.serving.steward")) == 1, 5)
    with plain.client() as client:
        eventually(lambda: client.post("/api/rollouts/credit/pause", {}).status == 409, 5)


def _page(server: Server) -> str:
    with server.client() as client:
        return client.get("/metrics").body.decode()


def _bentomls(server: Server, name: str, **labels: str) -> float:
    return metric(_page(server), name, **labels)


def _series(server: Server) -> set[str]:
    """All but what the steward finds out in its own time."""
    return {line.rpartition(" ")[0] for line in _page(server).splitlines()
            if not line.startswith(("#", "serinus_performance", "serinus_drift"))}


def _assert_answers(client: bentoml.SyncHTTPClient) -> None:
    """BentoML's own client gets our answer."""
    answer = client.predict(rows=CREDIT_ROWS["rows"])
    assert answer["model"] == "credit"
    assert answer["predictions"][0]["predict"] in ("yes", "no")
    assert len(answer["prediction_ids"]) == 1
