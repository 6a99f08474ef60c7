"""The way of the spans out of a worker: a bounded queue, and a thread that encodes and sends in batches."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from serinus import __version__
from serinus.serving.telemetry.encoder import TraceEncoder
from serinus.serving.telemetry.otlp import envelope, request_body
from serinus.serving.telemetry.outage import Outage, patience
from serinus.serving.telemetry.trace import Trace

__all__ = ["SpanQueue"]

_log = logging.getLogger("serinus.telemetry")


class SpanQueue:
    """A bounded queue and the thread that empties it. When it is full the oldest go, counted."""

    def __init__(self, send: Callable[[bytes], bool], resource: Mapping[str, Any],
                 on_counts: Callable[[int, int], None]) -> None:
        self.exported = 0
        self._refused = self._overrun = 0  # apart, for two threads count
        self._send = send
        self._envelope = envelope(resource, __version__)
        self._on_counts = on_counts
        self._batch = max(1, int(os.environ.get("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", 1024)) // 2)
        self._waiting: deque[Trace] = deque(maxlen=max(1, int(os.environ.get("OTEL_BSP_MAX_QUEUE_SIZE", 32_768)) // 2))
        self._delay_s = int(os.environ.get("OTEL_BSP_SCHEDULE_DELAY", 1000)) / 1000
        self._wake = threading.Event()
        self._closing = False
        self._outage = Outage("spans", "answers are not affected")
        self._encoder = TraceEncoder()
        self._thread = threading.Thread(target=self._run, name="serinus-spans", daemon=True)
        self._thread.start()

    def put(self, done: Trace) -> None:
        """Queue one request's spans; never blocks."""
        waiting = self._waiting
        if len(waiting) == waiting.maxlen:
            with contextlib.suppress(IndexError):  # emptied meanwhile
                self._overrun += waiting.popleft().spans
        waiting.append(done)
        if len(waiting) == self._batch:
            self._wake.set()

    @property
    def dropped(self) -> int:
        """Spans lost: the queue was full, or the backend did not take them."""
        return self._overrun + self._refused

    def close(self, timeout_s: float) -> None:
        """Stop after what is queued was sent, or `timeout_s` seconds at the latest."""
        self._closing = True
        self._wake.set()
        timeout_s = patience(timeout_s, self._outage)
        self._thread.join(timeout_s)
        if self._thread.is_alive():
            _log.warning("The OpenTelemetry backend did not take the last %d spans in %.0f s.",
                         sum(done.spans for done in self._waiting.copy()), timeout_s)

    def _run(self) -> None:
        while not self._closing or self._waiting:
            self._wake.wait(self._delay_s)
            self._wake.clear()
            while self._waiting:
                self._flush()
                if self._closing and self._outage.lasts:
                    return

    def _flush(self) -> None:
        batch: list[Trace] = []
        while self._waiting and len(batch) < self._batch:
            batch.append(self._waiting.popleft())
        try:
            sent = self._send(request_body(self._envelope, map(self._encoder.encode, batch)))
        except Exception:  # the exporter is a guest here: whatever it raises must not end the thread
            _log.debug("The span exporter raised", exc_info=True)
            sent = False
        self._count(sum(done.spans for done in batch), sent)

    def _count(self, spans: int, sent: bool) -> None:
        self.exported += spans if sent else 0
        self._refused += 0 if sent else spans
        self._outage.tell(sent, f"; {self.dropped} were lost")
        self._on_counts(self.exported, self.dropped)
