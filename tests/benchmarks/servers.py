"""The servers that are compared: how each is started, asked and checked."""

import hashlib
import os
import subprocess
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tests.benchmarks import peers
from tests.benchmarks.peers import PROGRAMS, Peer, Prepare
from tests.benchmarks.processes import free_port
from tests.benchmarks.subject import FrameSubject, Subject

CHECKOUT = Path(__file__).resolve().parent.parent.parent


@dataclass(frozen=True)
class Server:
    """One way of serving a model.

    In the command and the settings, `{port}`, `{model}`, `{home}` and the like are filled in at the start. `protocol`
    names the Subject's methods that write a request and judge the answer. Without a `peer`, the benchmark's own
    interpreter runs it. `is_model_server`: others wrote it to serve models.
    """

    name: str
    command: tuple[str, ...]
    ready: str = "/v2/health/ready"
    path: str = "/v2/models/breast/infer"
    protocol: str = "open_inference"
    settings: dict[str, str] = field(default_factory=dict)
    traced: bool = False
    subject: type[Subject] = Subject
    peer: Peer | None = None
    prepare: Prepare | None = None
    is_model_server: bool = False

    def start(self, port: int, home: Path, venvs: Path, sink: str | None) -> tuple[list[str], dict[str, str]]:
        """Make what it starts from in `home`, which is a new folder or one of an earlier start; return command and
        environment.
        """
        model = self.subject.artifact()
        python = self.peer.python(venvs) if self.peer else Path(sys.executable)
        folder = home / "peer"
        if self.prepare and not folder.exists():
            folder.mkdir()
            self.prepare(python, model, folder)
        places = {
            "port": str(port),
            "other_port": str(free_port()),
            "model": str(model),
            "digest": f"sha256:{hashlib.sha256(model.read_bytes()).hexdigest()}",
            "home": str(home / "serinus"),
            "folder": str(folder),
            "programs": str(PROGRAMS),
            "bin": str(python.parent),
        }
        filled = [word.format(**places) for word in self.command]
        settings = {name: value.format(**places) for name, value in self.settings.items()}
        own = self._peers_environment(python) if self.peer else _environment(home)
        exporter = {"OTEL_EXPORTER_OTLP_ENDPOINT": sink, "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"} if sink else {}
        return [str(python), *filled], {**_cleared(), "BENCHMARK_MODEL": str(model), **own, **exporter, **settings}

    def _peers_environment(self, python: Path) -> dict[str, str]:
        # Not the checkout: its folders' names are nobody's business there.
        return {"PYTHONPATH": str(PROGRAMS), "PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}"}


def _cleared() -> dict[str, str]:
    """Return the environment without anybody's settings."""
    prefixes = ("SERINUS_", "OTEL_", "BENTOML_", "MLSERVER_", "MLFLOW_", "UVICORN_", "KSERVE_", "VIRTUAL_ENV")
    return {key: value for key, value in os.environ.items() if not key.startswith(prefixes)}


def _environment(home: Path) -> dict[str, str]:
    return {"PYTHONPATH": str(CHECKOUT), "BENTOML_HOME": str(home / "bentoml"), "BENTOML_DO_NOT_TRACK": "true"}


WATCHES_NOTHING = {"SERINUS_MONITORS_ENABLED": "false"}
UNMONITORED = {"SERINUS_LOG_ENABLED": "false", "SERINUS_TELEMETRY_TRACES": "off", **WATCHES_NOTHING}


def _with_reference(python: Path, model: Path, folder: Path) -> None:
    """Register the model with its training rows as reference, as a careful user would."""
    from sklearn.datasets import load_breast_cancer

    reference = folder / "reference.csv"
    load_breast_cancer(as_frame=True).data.to_csv(reference, index=False)
    command = [str(python), "-m", "serinus", "models", "register", "breast", str(model), "--reference", str(reference)]
    home = folder.parent
    environment = {**_cleared(), **_environment(home)}
    subprocess.run([*command, "--home", str(home / "serinus")], env=environment, check=True, capture_output=True)


def _serinus(name: str, settings: dict[str, str], *, trust: tuple[str, ...] = (), **more: Any) -> Server:
    command = ("-m", "serinus", "serve", "{model}", "--name", "breast", "--workers", "1", "--port", "{port}")
    return Server(name, (*command, "--home", "{home}", *trust), settings=settings, **more)


def _sklearn(name: str, settings: dict[str, str]) -> Server:
    return _serinus(name, settings, trust=("--trust", "{digest}"), subject=FrameSubject)


def _mlserver(name: str, implementation: str, subject: type[Subject]) -> Server:
    return Server(
        name=name,
        command=("{bin}/mlserver", "start", "{folder}"),
        settings={"MLSERVER_HTTP_PORT": "{port}", "MLSERVER_GRPC_PORT": "{other_port}"},
        subject=subject,
        peer=peers.MLSERVER,
        prepare=peers.prepare_mlserver(implementation),
        is_model_server=True,
    )


QUIET = ("--no-access-log", "--log-level", "warning")
FLOOR = Server(
    name="floor",
    command=("-m", "uvicorn", "tests.benchmarks.floor:app", "--host", "127.0.0.1", "--port", "{port}")
    + ("--loop", "uvloop", "--http", "httptools", "--lifespan", "off", *QUIET),
)
BENTOML = Server(
    name="bentoml",
    command=("-m", "bentoml", "serve", "tests.benchmarks.bare_bentoml:Breast")
    + ("--host", "127.0.0.1", "--port", "{port}"),
    ready="/readyz",
    path="/predict",
    protocol="bentoml",
)
KSERVE = Server(
    name="kserve",
    command=("{programs}/kserve_model.py", "--http_port", "{port}", "--enable_grpc", "false")
    + ("--configure_logging", "false", "--enable_latency_logging", "false"),
    peer=peers.KSERVE,
    is_model_server=True,
)
LITSERVE = Server(
    name="litserve",
    command=("{programs}/litserve_api.py", "{port}"),
    ready="/health",
    path="/predict",
    protocol="rows",
    peer=peers.LITSERVE,
    is_model_server=True,
)
MLFLOW = Server(
    name="mlflow",
    command=("-m", "mlflow", "models", "serve", "-m", "{folder}/saved", "--env-manager", "local")
    + ("-h", "127.0.0.1", "-p", "{port}", "-w", "1"),
    ready="/ping",
    path="/invocations",
    protocol="mlflow",
    settings={"MLFLOW_DISABLE_TELEMETRY": "true", "UVICORN_ACCESS_LOG": "false"},
    peer=peers.MLFLOW,
    prepare=peers.prepare_mlflow,
    is_model_server=True,
)
FASTAPI = Server(
    name="fastapi",
    command=("-m", "uvicorn", "fastapi_app:app", "--host", "127.0.0.1", "--port", "{port}", *QUIET),
    ready="/ready",
    path="/predict",
    protocol="rows",
    peer=peers.FASTAPI,
)
FASTAPI_ASYNC = replace(FASTAPI, name="fastapi-async", path="/predict-async")
SERVERS = {
    server.name: server
    for server in (
        FLOOR,
        BENTOML,
        KSERVE,
        _mlserver("mlserver", "mlserver_model.Breast", Subject),
        LITSERVE,
        MLFLOW,
        FASTAPI,
        FASTAPI_ASYNC,
        _serinus("serinus-unmonitored", UNMONITORED),
        _serinus("serinus-log", {"SERINUS_TELEMETRY_TRACES": "off", **WATCHES_NOTHING}),
        _serinus("serinus-telemetry", {"SERINUS_LOG_ENABLED": "false", **WATCHES_NOTHING}),
        _serinus("serinus-telemetry-traced", {"SERINUS_LOG_ENABLED": "false", **WATCHES_NOTHING}, traced=True),
        _serinus("serinus-unwatched", WATCHES_NOTHING, prepare=_with_reference),
        _serinus("serinus-default", {}),
        _serinus("serinus-monitored", {}, prepare=_with_reference),
        _serinus("serinus-traced", {}, traced=True, prepare=_with_reference),
        _mlserver("mlserver-sklearn", "mlserver_sklearn.SKLearnModel", FrameSubject),
        _sklearn("serinus-sklearn-unmonitored", UNMONITORED),
        _sklearn("serinus-sklearn-default", {}),
    )
}
"""In the order in which a round measures them. `serinus-telemetry` and `-traced` after it keep no log;
`serinus-default` is what a user gets: it logs, traces to nobody, and learns what is normal from the first rows;
`serinus-unwatched`, `-monitored` and `-traced` were registered with a reference, so that values are validated, and the
first of them has its monitors switched off."""
