"""An OpenTelemetry collector that keeps every span, metric and log record it is sent."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import AsyncIterator
from typing import Any, Self

from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from oteltap import OtelTapHttpProtobufReceiver, OtelTapHttpProtobufReceiverSettings

from tests.integration.server import eventually

__all__ = ["Collector", "attributes"]


class Collector:
    """Listens on a free port while its `with` block runs."""

    def __init__(self) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.spans: list[Span] = []
        self.metrics: list[Metric] = []
        self.lines: list[LogRecord] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._receive(),))
        self._up, self._done = threading.Event(), asyncio.Event()

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._up.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._done.set)
        self._thread.join(10)
        self._loop.close()

    @property
    def environ(self) -> dict[str, str]:
        """The standard variables that send a process's spans here, twice a second."""
        return {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{self.port}", "OTEL_BSP_SCHEDULE_DELAY": "500"}

    def of_kind(self, kind: int) -> list[Span]:
        """The spans of this kind."""
        return [span for span in list(self.spans) if span.kind == kind]

    def wait_for_spans(self, number: int, timeout: float = 15.0) -> None:
        """Until so many spans have come."""
        eventually(lambda: len(self.spans) >= number, timeout, lambda: f"{len(self.spans)} of {number} spans came")

    async def _receive(self) -> None:
        settings = OtelTapHttpProtobufReceiverSettings(http_port=self.port)
        async with OtelTapHttpProtobufReceiver(settings) as receiver:
            keeping = [asyncio.create_task(_keep(*way)) for way in (
                (receiver.stream_traces(), self.spans), (receiver.stream_metrics(), self.metrics),
                (receiver.stream_logs(), self.lines))]
            await asyncio.sleep(0)  # it listens to the streams before anything can be sent
            self._up.set()
            await self._done.wait()
            for task in keeping:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task


async def _keep(stream: AsyncIterator[Any], kept: list[Any]) -> None:
    async for one in stream:
        kept.append(one)


def attributes(one: Any) -> dict[str, Any]:
    """The attributes of a span, log record, data point or resource as Python values."""
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in one.attributes}
