"""Real backends keep the trace of a canary's request and give it back: Arize Phoenix and MLflow.

Marked slow: each has an environment of its own, 850 MB to install once, and takes half a minute to start. As root
Phoenix runs in a network namespace of its own, since its gRPC port listens on every address.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import socket
import struct
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from serinus.serving.telemetry import names
from tests.benchmarks.peers import MLFLOW
from tests.integration.client import Answer
from tests.integration.conftest import Start
from tests.integration.programs import free_port, running, venv
from tests.integration.rollouts import start_rollout
from tests.integration.server import Server, eventually
from tests.integration.zoo import CREDIT_ROWS

pytestmark = pytest.mark.slow

PHOENIX = "arize-phoenix==20.26.1"
HTTP, GRPC = 6006, 4317
PROJECT = "credit-service"
READ_FROM_MLFLOW = """
import json, sys
from mlflow import MlflowClient
trace = MlflowClient(sys.argv[1]).get_trace(f"tr-{sys.argv[2]}")
print(json.dumps({span.name: dict(span.attributes) for span in trace.data.spans}))
"""
_CLONE_NEWNET = 0x40000000
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 1


@pytest.fixture(scope="module")
def programs() -> Path:
    """The `bin` folder of Phoenix's environment."""
    return venv("phoenix", PHOENIX)


@pytest.fixture
def phoenix(programs: Path, tmp_path: Path) -> Iterator[str]:
    """Where Phoenix answers."""
    with phoenix_running(programs, tmp_path) as url:
        yield url


def test_a_canarys_trace_is_read_back(phoenix: str, home: Path, start: Start) -> None:
    """By its trace id, over Phoenix's REST interface: who answered, why, and every stage of the request."""
    server = start(home, environ=environ(phoenix))
    answer = ask_the_canary(server)
    spans = eventually(lambda: spans_of(phoenix, answer), 30)
    by_name = {span["name"]: span for span in spans}
    facts = by_name["POST /predict/{model}"]["attributes"]
    assert by_name.keys() >= {"POST /predict/{model}", "predict credit", "parse", "validate", "route", "render"}
    assert (facts[names.MODEL_NAME], facts[names.MODEL_VERSION], facts[names.ROLE]) == ("credit", "2", "candidate")
    assert (facts[names.FLAG_REASON], facts[names.DETAIL]) == ("split", "candidate")
    assert facts[names.REQUEST_ID] == answer.headers["x-request-id"]
    assert by_name["predict credit"]["parent_id"] == by_name["POST /predict/{model}"]["context"]["span_id"]


def test_mlflow_gives_it_back_too(home: Path, start: Start, tmp_path: Path) -> None:
    """By MLflow's own client, as a trace of its default experiment, with every span of the request."""
    programs, port = venv("mlflow", *MLFLOW.requirements), free_port()
    url, quiet = f"http://127.0.0.1:{port}", {"MLFLOW_DISABLE_TELEMETRY": "true", "PYTHONPATH": ""}
    command = [str(programs / "mlflow"), "server", "--backend-store-uri", f"sqlite:///{tmp_path}/mlflow.db",
               "--artifacts-destination", str(tmp_path / "artifacts"), "--host", "127.0.0.1", "--port", str(port),
               "--workers", "1"]
    with running(command, tmp_path, [port], 120, quiet | {"PATH": f"{programs}:{os.environ['PATH']}"}):
        server = start(home, environ=environ(url) | {"OTEL_EXPORTER_OTLP_HEADERS": "x-mlflow-experiment-id=0"})
        answer = ask_the_canary(server)
        trace_id = answer.headers["traceparent"].split("-")[1]

        def found() -> dict[str, Any]:
            done = subprocess.run([str(programs / "python"), "-c", READ_FROM_MLFLOW, url, trace_id], text=True,
                                  capture_output=True, env={**os.environ, **quiet}, timeout=60)
            return dict(json.loads(done.stdout)) if done.returncode == 0 else {}

        spans = eventually(found, 60)
    assert spans.keys() >= {"POST /predict/{model}", "predict credit", "parse", "render"}
    assert spans["POST /predict/{model}"][names.ROLE] == "candidate"


@contextmanager
def phoenix_running(programs: Path, folder: Path) -> Iterator[str]:
    """Phoenix on its usual ports, for itself where that is allowed."""
    settings = {"PHOENIX_WORKING_DIR": str(folder), "PHOENIX_HOST": "127.0.0.1", "PHOENIX_PORT": str(HTTP),
                "PHOENIX_GRPC_PORT": str(GRPC), "PHOENIX_TELEMETRY_ENABLED": "false",
                "PHOENIX_ALLOW_EXTERNAL_RESOURCES": "false", "PHOENIX_AGENTS_DISABLE_BASH": "true",
                "PHOENIX_DISABLE_AGENT_ASSISTANT": "true"}
    with private_network(), running([str(programs / "phoenix"), "serve"], folder, [HTTP, GRPC], 120, settings):
        yield f"http://127.0.0.1:{HTTP}"


@contextmanager
def private_network() -> Iterator[None]:
    """For root: a loopback of this thread's own, and of all that it starts."""
    if os.geteuid() != 0:
        yield
        return
    libc = ctypes.CDLL(None, use_errno=True)
    with Path("/proc/thread-self/ns/net").open() as before:
        assert libc.unshare(_CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())
        try:
            with socket.socket() as any_socket:
                name = struct.pack("16sh14x", b"lo", 0)
                (flags,) = struct.unpack_from("16xh", fcntl.ioctl(any_socket, _SIOCGIFFLAGS, name))
                fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", flags | _IFF_UP))
            yield
        finally:
            assert libc.setns(before.fileno(), _CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())


def environ(url: str) -> dict[str, str]:
    """What sends a server's traces to a project of Phoenix. It takes no other signal."""
    return {"OTEL_EXPORTER_OTLP_ENDPOINT": url, "OTEL_METRICS_EXPORTER": "none", "OTEL_BSP_SCHEDULE_DELAY": "200",
            "OTEL_RESOURCE_ATTRIBUTES": f"openinference.project.name={PROJECT}"}


def ask_the_canary(server: Server) -> Answer:
    """The first answer that the candidate gives, by a rollout's half of the traffic."""
    start_rollout(server, "credit", "2", "50")
    with server.client() as client:
        for number in range(200):
            answer = client.post("/predict/credit", CREDIT_ROWS, {"X-Routing-Key": str(number)})
            if answer.role == "candidate":
                return answer
    raise AssertionError("200 requests, and none met the candidate")


def spans_of(url: str, answer: Answer) -> list[dict[str, Any]]:
    """The spans of an answer's trace, once all are there."""
    trace_id = answer.headers["traceparent"].split("-")[1]
    try:
        with urllib.request.urlopen(f"{url}/v1/projects/{PROJECT}/spans?trace_id={trace_id}", timeout=10) as found:
            spans: list[dict[str, Any]] = json.load(found)["data"]
    except urllib.error.HTTPError:  # the project is made by its first trace
        return []
    return spans if len(spans) > 2 else []
