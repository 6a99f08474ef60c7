"""The servers that are compared: how each is started, asked and checked."""

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.benchmarks.subject import Subject

CHECKOUT = Path(__file__).resolve().parent.parent.parent


@dataclass(frozen=True)
class Server:
    """One way of serving the model; `{port}`, `{model}` and `{home}` in the command are filled in at the start."""

    name: str
    command: tuple[str, ...]
    ready: str
    path: str
    body: Callable[[Subject], str]
    check: Callable[[Subject, Any], None]
    settings: dict[str, str] = field(default_factory=dict)
    traced: bool = False

    def argv(self, port: int, model: Path, home: Path) -> list[str]:
        """Return the command with its places filled in."""
        filled = (word.format(port=port, model=model, home=home) for word in self.command)
        return [sys.executable, "-m", *filled]

    def environment(self, model: Path, home: Path, sink: str | None) -> dict[str, str]:
        """Return an environment without anybody's settings, with our own."""
        settings = ("SERINUS_", "OTEL_", "BENTOML_")
        kept = {key: value for key, value in os.environ.items() if not key.startswith(settings)} | {
            "PYTHONPATH": str(CHECKOUT),
            "BENCHMARK_MODEL": str(model),
            "BENTOML_HOME": str(home / "bentoml"),
            "BENTOML_DO_NOT_TRACK": "true",
        }
        if sink:
            kept |= {"OTEL_EXPORTER_OTLP_ENDPOINT": sink, "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}
        return kept | self.settings


def _serinus(name: str, *, log: bool, traces: bool, traced: bool = False) -> Server:
    return Server(
        name=name,
        command=("serinus", "serve", "{model}", "--name", "breast", "--workers", "1", "--port", "{port}")
        + ("--home", "{home}"),
        ready="/v2/health/ready",
        path="/v2/models/breast/infer",
        body=Subject.open_inference_body,
        check=Subject.check_open_inference,
        settings={
            "SERINUS_LOG_ENABLED": "true" if log else "false",
            "SERINUS_TELEMETRY_TRACES": "on" if traces else "off",
        },
        traced=traced,
    )


FLOOR = Server(
    name="floor",
    command=("uvicorn", "tests.benchmarks.floor:app", "--host", "127.0.0.1", "--port", "{port}")
    + ("--loop", "uvloop", "--http", "httptools", "--lifespan", "off", "--no-access-log", "--log-level", "warning"),
    ready="/v2/health/ready",
    path="/v2/models/breast/infer",
    body=Subject.open_inference_body,
    check=Subject.check_open_inference,
)
BENTOML = Server(
    name="bentoml",
    command=("bentoml", "serve", "tests.benchmarks.bare_bentoml:Breast", "--host", "127.0.0.1", "--port", "{port}"),
    ready="/readyz",
    path="/predict",
    body=Subject.bentoml_body,
    check=Subject.check_bentoml,
)
SERVERS = {
    server.name: server
    for server in (
        FLOOR,
        BENTOML,
        _serinus("serinus-bare", log=False, traces=False),
        _serinus("serinus-log", log=True, traces=False),
        _serinus("serinus-traced-no-exporter", log=True, traces=True),
        _serinus("serinus-traced", log=True, traces=True, traced=True),
    )
}
