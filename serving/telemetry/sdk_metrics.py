"""The same metrics by the SDK's own instruments, for users who have set a global MeterProvider.

What the boards count is told by observable instruments: it costs nothing until the user's reader asks. There is no such
instrument for histograms, so the times of a request are recorded as it ends, and only under such a provider.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

from opentelemetry import metrics, trace
from opentelemetry.context import Context
from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

from serinus import __version__
from serinus.serving.board import Labels
from serinus.serving.telemetry import names
from serinus.serving.telemetry.metrics import BOUNDS, Family, Histogram, request_attributes, version_attributes
from serinus.serving.telemetry.names import METRICS
from serinus.serving.telemetry.trace import SpanContextIds

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics import MeterProvider

__all__ = ["SdkHistograms", "SdkMetrics", "flush_metrics", "users_meters"]

_FRESH_S = 0.5


def users_meters() -> MeterProvider | None:
    """The global MeterProvider, where somebody has set one of the SDK."""
    provider: Any = metrics.get_meter_provider()
    sdk = sys.modules.get("opentelemetry.sdk.metrics")  # whoever set one has imported it
    return provider if sdk is not None and isinstance(provider, sdk.MeterProvider) else None


def flush_metrics(timeout_s: float = 3.0) -> None:
    """Have the user's provider send what it holds, for at most so long: a worker's process ends by a signal, which runs
    no exit handlers."""
    if (provider := users_meters()) is not None:
        # In a thread, for an exporter takes no notice of a time-out.
        flushing = threading.Thread(target=provider.force_flush, name="serinus-flush-metrics", daemon=True)
        flushing.start()
        flushing.join(timeout_s)


class SdkMetrics:
    """Observable instruments of a user's provider, which tell what `gather` finds whenever their reader asks."""

    def __init__(self, provider: MeterProvider, gather: Callable[[], list[Family]]) -> None:
        self._gather: Callable[[], list[Family]] | None = gather
        self._gathered_s = float("-inf")
        self._families: dict[str, Family] = {}
        self._lock = threading.Lock()
        meter = provider.get_meter(names.SCOPE, __version__)
        for name, instrument in METRICS.items():
            make = {"counter": meter.create_observable_counter, "gauge": meter.create_observable_gauge}
            if instrument.kind in make:
                make[instrument.kind](name, [partial(self._observe, name)], instrument.unit, instrument.about)

    def close(self, timeout_s: float = 3.0) -> None:
        """Have the last counts sent, and keep them: the boards go, and a counter must not fall back."""
        flush_metrics(timeout_s)
        self.freeze()

    def freeze(self) -> None:
        """Go on telling the counters as they are now, and no gauges: what they measured ends."""
        with self._lock:
            self._refresh()
            self._gather = None

    def _observe(self, name: str, _: CallbackOptions) -> Iterable[Observation]:
        with self._lock:
            if time.monotonic() - self._gathered_s > _FRESH_S:  # one look at the boards for all instruments
                self._refresh()
            if self._gather is None and METRICS[name].kind == "gauge":
                return []
            return list(_observations(self._families[name]))

    def _refresh(self) -> None:
        if self._gather is not None:
            self._families = {family.name: family for family in self._gather()}
            self._gathered_s = time.monotonic()


class SdkHistograms:
    """Histograms of a user's provider, recorded as each request ends: a few microseconds each."""

    def __init__(self, provider: MeterProvider) -> None:
        meter = provider.get_meter(names.SCOPE, __version__)
        made = {name: meter.create_histogram(name, METRICS[name].unit, METRICS[name].about,
                                             explicit_bucket_boundaries_advisory=bounds)
                for name, bounds in BOUNDS.items()}
        self._request = made["http.server.request.duration"]
        self._predict = made["serinus.predict.duration"]
        self._queue = made["serinus.queue.duration"]
        self._batch = made["serinus.batch.rows"]

    def record(self, labels: Labels, ids: SpanContextIds | None, duration_ns: int, predict_ns: int) -> None:
        """One request that was answered. `predict_ns` < 0: no model was called."""
        context = _context(ids)
        self._request.record(duration_ns / 1e9, _request(labels), context)
        if predict_ns >= 0:
            self._predict.record(predict_ns / 1e9, _version(labels), context)

    def record_shared(self, labels: Labels, ids: SpanContextIds | None, queue_ns: int, batch_rows: int) -> None:
        """That it waited `queue_ns` for a call of `batch_rows` rows."""
        context = _context(ids)
        self._queue.record(queue_ns / 1e9, _version(labels), context)
        self._batch.record(batch_rows, _version(labels), context)


def _observations(family: Family) -> Iterator[Observation]:
    for point in family.points:
        assert not isinstance(point.value, Histogram)
        yield Observation(point.value, point.attributes)


@lru_cache(1024)
def _request(labels: Labels) -> dict[str, str | int]:
    return dict(request_attributes(labels))


@lru_cache(1024)
def _version(labels: Labels) -> dict[str, str | int]:
    return dict(version_attributes(labels))


def _context(ids: SpanContextIds | None) -> Context | None:
    """The request's span as the current one, so that an exemplar names its trace."""
    if ids is None:
        return None
    flags = TraceFlags(TraceFlags.SAMPLED if ids.sampled else TraceFlags.DEFAULT)
    span = ids.span or NonRecordingSpan(SpanContext(ids.trace_id, ids.span_id, is_remote=False, trace_flags=flags))
    return trace.set_span_in_context(span)
