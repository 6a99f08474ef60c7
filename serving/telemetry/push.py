"""Metrics over OTLP: a thread of the steward hands what the boards count to OpenTelemetry's exporter now and then."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Gauge,
    HistogramDataPoint,
    Metric,
    MetricExporter,
    MetricExportResult,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.metrics.export import Histogram as HistogramData
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from serinus import __version__
from serinus.serving.telemetry.metrics import Family, Histogram, Point
from serinus.serving.telemetry.names import SCOPE
from serinus.serving.telemetry.outage import Outage, patience
from serinus.serving.telemetry.variables import destination, variable

__all__ = ["MetricsPush", "metrics_data"]

_log = logging.getLogger("serinus.telemetry")
_TIMEOUT_S = 3
_PERIOD_MS = 60_000
_CUMULATIVE = AggregationTemporality.CUMULATIVE


class MetricsPush:
    """Sends while it lives, every `OTEL_METRIC_EXPORT_INTERVAL` milliseconds and once at the end.

    A collector that does not answer costs nothing but its metrics; the next ones hold all counts anyway.
    """

    def __init__(self, resource: Mapping[str, Any], gather: Callable[[], list[Family]]) -> None:
        self._collect = gather
        self._resource = Resource.create(dict(resource))
        self._started_ns = time.time_ns()
        self._stopping = threading.Event()
        self._outage = Outage("metrics", "/metrics has them")
        self._exporter = _exporter()
        self._thread: threading.Thread | None = None
        if self._exporter is not None:
            self._thread = threading.Thread(target=self._run, name="serinus-metrics", daemon=True)
            self._thread.start()

    def close(self, timeout_s: float = 3.0) -> None:
        """Send once more, for at most `timeout_s` seconds."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(patience(timeout_s, self._outage))

    def _run(self) -> None:
        period_s = int(os.environ.get("OTEL_METRIC_EXPORT_INTERVAL") or _PERIOD_MS) / 1000
        while not self._stopping.wait(period_s):
            self._send()
        self._send()

    def _send(self) -> None:
        assert self._exporter is not None
        try:
            data = metrics_data(self._collect(), self._resource, self._started_ns, time.time_ns())
            sent = self._exporter.export(data) is MetricExportResult.SUCCESS
        except Exception:  # the exporter is a guest here, and the boards are others' files
            _log.debug("Metrics could not be sent", exc_info=True)
            sent = False
        self._outage.tell(sent)


def metrics_data(families: list[Family], resource: Resource, started_ns: int, now_ns: int) -> MetricsData:
    """The families as the SDK's own data, cumulative since `started_ns`."""
    metrics = [Metric(family.name, family.instrument.about, family.instrument.unit,
                      _data(family, started_ns, now_ns)) for family in families if family.points]
    scope = ScopeMetrics(InstrumentationScope(SCOPE, __version__), metrics, "")
    return MetricsData([ResourceMetrics(resource, [scope], "")])


def _data(family: Family, started_ns: int, now_ns: int) -> Any:
    if family.instrument.kind == "histogram":
        return HistogramData([_histogram(point, started_ns, now_ns) for point in family.points], _CUMULATIVE)
    numbers = [NumberDataPoint(dict(point.attributes), started_ns, now_ns, _number(point)) for point in family.points]
    return Sum(numbers, _CUMULATIVE, is_monotonic=True) if family.instrument.kind == "counter" else Gauge(numbers)


def _number(point: Point) -> float:
    assert not isinstance(point.value, Histogram)
    return point.value


def _histogram(point: Point, started_ns: int, now_ns: int) -> HistogramDataPoint:
    from opentelemetry.sdk.metrics import Exemplar

    found = point.value
    assert isinstance(found, Histogram)
    example = found.exemplar
    exemplars = [] if example is None else [
        Exemplar({}, example.duration_ns / 1e9, example.time_ns, example.span_id, example.trace_id)]
    return HistogramDataPoint(
        attributes=dict(point.attributes), start_time_unix_nano=started_ns, time_unix_nano=now_ns,
        count=sum(found.counts), sum=found.total,  # type: ignore[arg-type]  # None where values may be negative, as OTLP wants it
        bucket_counts=list(found.counts),
        explicit_bounds=list(found.bounds), min=None, max=None,  # type: ignore[arg-type]  # not kept; the encoder leaves them out
        exemplars=exemplars)


def _exporter() -> MetricExporter | None:
    chosen = destination("metrics")
    if chosen.problem:
        _log.warning("%s", chosen.problem)
    if chosen.exporter == "none":
        return None
    if chosen.exporter == "console":
        from opentelemetry.sdk.metrics.export import ConsoleMetricExporter

        return ConsoleMetricExporter()
    timeout = None if variable("metrics", "TIMEOUT")[0] else _TIMEOUT_S
    if chosen.protocol == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter as Grpc

        return Grpc(timeout=timeout)
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter as Http

    return Http(timeout=timeout)
