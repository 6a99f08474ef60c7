"""An OpenTelemetry collector that keeps every span it is sent."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from typing import Any, Self

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
            keeping = asyncio.create_task(self._keep(receiver))
            await asyncio.sleep(0)  # it listens to the stream before anything can be sent
            self._up.set()
            await self._done.wait()
            keeping.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await keeping

    async def _keep(self, receiver: OtelTapHttpProtobufReceiver) -> None:
        async for span in receiver.stream_traces():
            self.spans.append(span)


def attributes(span: Span) -> dict[str, Any]:
    """A span's attributes as Python values."""
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in span.attributes}
