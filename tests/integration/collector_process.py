"""A collector in a process of its own, to be killed and started again on its port.

`python -m tests.integration.collector_process PROTOCOL PORT FILE` writes down the trace id of every SERVER span.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Self

from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.integration.server import CHECKOUT, eventually
from tests.serving.telemetry.receivers import Receiver

__all__ = ["CollectorProcess"]


class CollectorProcess:
    """Runs while its `with` block does, but for the time between `kill` and `start`."""

    def __init__(self, folder: Path, protocol: str, port: int) -> None:
        self.port = port
        self.environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}",
                        "OTEL_EXPORTER_OTLP_PROTOCOL": protocol}
        self._protocol = protocol
        self._file = folder / f"traces-{port}.txt"
        self._file.touch()
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> None:
        """Start it, and wait until it listens."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__, self._protocol, str(self.port), str(self._file)], cwd=CHECKOUT,
            env={**os.environ, "PYTHONPATH": str(CHECKOUT)}, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "listens\n"

    def kill(self) -> None:
        """SIGKILL: no answer to what is under way, no farewell."""
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        self._process.communicate()

    def traces(self) -> list[str]:
        """The trace ids of the SERVER spans that came so far."""
        return [line for line in self._file.read_text().split("\n")[:-1] if line]

    def wait_for(self, trace_id: str) -> None:
        """Until a trace has come."""
        eventually(lambda: trace_id in self.traces(), 20, lambda: f"trace {trace_id} did not come")


class _Writing(Receiver):
    def __init__(self, protocol: str, port: int, file: Path) -> None:
        super().__init__(protocol, port)
        self._out = file.open("a")

    def take(self, request: Any) -> None:
        spans = [span for part in getattr(request, "resource_spans", ()) for scope in part.scope_spans
                 for span in scope.spans]
        self._out.write("".join(f"{span.trace_id.hex()}\n" for span in spans if span.kind == Span.SPAN_KIND_SERVER))
        self._out.flush()


def main() -> None:
    """Listen until killed."""
    protocol, port, file = sys.argv[1:]
    with _Writing(protocol, int(port), Path(file)):
        print("listens", flush=True)
        while True:
            time.sleep(60)


if __name__ == "__main__":
    main()
